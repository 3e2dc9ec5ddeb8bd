//! The node, the members, the ballots.

use axum::{Json, extract::State};
use hansa_types::{
    DcId, Member,
    api::{Ballot, Health, Invitation, JoinBallotRequest, NodeStatus, VoteRequest},
};

use super::{
    Gate,
    problem::{Body, Path, Refusal},
};

type Answer<T> = Result<Json<T>, Refusal>;

pub(crate) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

pub(crate) async fn status(State(gate): State<Gate>) -> Answer<NodeStatus> {
    Ok(Json(gate.service().status().await?))
}

pub(crate) async fn list(State(gate): State<Gate>) -> Json<Vec<Member>> {
    Json(gate.ledger().members().to_vec())
}

pub(crate) async fn invitation(State(gate): State<Gate>, Path(member): Path<DcId>) -> Answer<Invitation> {
    Ok(Json(gate.service().invitation(member).await?))
}

pub(crate) async fn open_join_ballot(
    State(gate): State<Gate>,
    Body(request): Body<JoinBallotRequest>,
) -> Answer<Ballot> {
    Ok(Json(gate.service().open_join_ballot(request.card).await?))
}

pub(crate) async fn ballots(State(gate): State<Gate>) -> Answer<Vec<Ballot>> {
    Ok(Json(gate.service().ballots().await?))
}

pub(crate) async fn vote(
    State(gate): State<Gate>,
    Path(ballot): Path<u64>,
    Body(vote): Body<VoteRequest>,
) -> Answer<Ballot> {
    Ok(Json(gate.service().vote(ballot, vote.support).await?))
}
