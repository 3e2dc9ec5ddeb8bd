//! The node, the members, the ballots.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use hansa_api::{
    Ballot, BallotPreview, Health, Invitation, Motion, NodeStatus, QuotaStatus, Recorded, Standing,
    SuiteStatus, VoteRequest,
};
use hansa_types::{DcId, Endpoints, Member};

use super::{
    Gate,
    problem::{Body, Path, Refusal},
};

type Answer<T> = Result<Json<T>, Refusal>;

/// 503 where the node cannot do its work, so that monitors and load balancers need not read the answer.
pub(crate) async fn health(State(gate): State<Gate>) -> (StatusCode, Json<Health>) {
    let health = gate.service().health();
    let status = match health.status {
        Standing::Ok | Standing::Warning => StatusCode::OK,
        Standing::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(health))
}

/// Needs no token, as monitoring systems hold none: figures only, no names of objects, no secrets.
pub(crate) async fn metrics(State(gate): State<Gate>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], gate.service().metrics(&gate.0.requests.counted()))
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

pub(crate) async fn set_endpoints(
    State(gate): State<Gate>,
    Body(endpoints): Body<Endpoints>,
) -> Answer<Recorded> {
    Ok(Json(gate.service().set_endpoints(endpoints).await?))
}

pub(crate) async fn quota(State(gate): State<Gate>) -> Answer<QuotaStatus> {
    Ok(Json(gate.service().quota().await?))
}

pub(crate) async fn suite(State(gate): State<Gate>) -> Answer<SuiteStatus> {
    Ok(Json(gate.service().suite().await?))
}

pub(crate) async fn open_ballot(State(gate): State<Gate>, Body(motion): Body<Motion>) -> Answer<Ballot> {
    Ok(Json(gate.service().open_ballot(motion).await?))
}

pub(crate) async fn preview_ballot(
    State(gate): State<Gate>,
    Body(motion): Body<Motion>,
) -> Answer<BallotPreview> {
    Ok(Json(gate.service().preview_ballot(motion).await?))
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
