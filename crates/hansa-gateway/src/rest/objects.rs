//! Objects: put, open, share, verify.

use axum::{Json, body::Body as RawBody, extract::State, http::HeaderMap, response::Response};
use hansa_api::{
    Code, Fetching, GrantRequest, IndexStatus, LogEntry, ObjectPage, ObjectSummary, ObjectsRequest, Problem,
    Recorded, StoredBlock, VerifyRequest, VisibilityRequest,
};
use hansa_types::{DcId, ObjectId, Version};
use serde::Deserialize;

use super::{
    Gate, download,
    drain::Drained,
    problem::{Body, Path, Query, Refusal},
    promise::Promise,
    stream::{self, Begin, OnLeave},
    times, upload,
};

type Answer<T> = Result<Json<T>, Refusal>;

fn object((owner, number): (DcId, u64)) -> Result<ObjectId, Refusal> {
    match number {
        0 => Err(Refusal::new(Code::Malformed, "an object's number is at least 1")),
        number => Ok(ObjectId { owner, number }),
    }
}

/// The chain's time.
fn now(gate: &Gate) -> u64 {
    gate.ledger().head().header().timestamp
}

/// Objects of a page when `limit` is missing.
const PAGE: u32 = 100;
/// Most objects of a page.
const PAGE_MAX: u32 = 1_000;

pub(crate) async fn list(
    State(gate): State<Gate>,
    Query(request): Query<ObjectsRequest>,
) -> Answer<ObjectPage> {
    let limit = request.limit.unwrap_or(PAGE);
    if !(1..=PAGE_MAX).contains(&limit) {
        return Err(Refusal::new(Code::Malformed, format!("`limit` is 1 to {PAGE_MAX}")));
    }
    let request = ObjectsRequest { limit: Some(limit), ..request };
    Ok(Json(gate.service().objects(request).await?))
}

pub(crate) async fn index(State(gate): State<Gate>) -> Answer<IndexStatus> {
    Ok(Json(gate.service().index().await?))
}

pub(crate) async fn rebuild_index(State(gate): State<Gate>) -> Answer<IndexStatus> {
    Ok(Json(gate.service().rebuild_index().await?))
}

pub(crate) async fn summary(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
) -> Answer<ObjectSummary> {
    Ok(Json(gate.service().summary(object(path)?).await?))
}

pub(crate) async fn put(
    State(gate): State<Gate>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Refusal> {
    let body = Drained::new(body);
    let (meta, promise) = (upload::named(upload::meta(&headers, now(&gate))?)?, Promise::read(&headers)?);
    let place = stream::place(&gate)?;
    let begin = if promise.has_digests() { Begin::AfterContent } else { Begin::WithReports };
    let (content, breakage) = upload::content(&meta, promise, body);
    let service = gate.service().clone();
    stream::respond(place, OnLeave::Finish, begin, |progress| async move {
        service.put(meta, content, progress).await.map_err(|problem| breakage.explain(problem))
    })
    .await
}

pub(crate) async fn update(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Refusal> {
    let body = Drained::new(body);
    let object = object(path)?;
    let (meta, promise) = (upload::meta(&headers, now(&gate))?, Promise::read(&headers)?);
    let place = stream::place(&gate)?;
    let begin = if promise.has_digests() { Begin::AfterContent } else { Begin::WithReports };
    let (content, breakage) = upload::content(&meta, promise, body);
    let service = gate.service().clone();
    stream::respond(place, OnLeave::Finish, begin, move |progress| async move {
        service.update(object, meta, content, progress).await.map_err(|problem| breakage.explain(problem))
    })
    .await
}

/// How to open.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Opening {
    /// The latest when missing.
    version: Option<Version>,
    /// Only the owner's node is asked, not the chain.
    ask: Option<Asked>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Owner,
}

pub(crate) async fn open(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
    Query(opening): Query<Opening>,
) -> Result<Response, Refusal> {
    let place = stream::place(&gate)?;
    let download =
        gate.service().open(object(path)?, opening.version, opening.ask == Some(Asked::Owner)).await?;
    Ok(download::respond(download, place))
}

/// What is known of an object without an opening: asking is not reading, and must not use an opening up.
pub(crate) async fn describe(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
) -> Result<Response, Refusal> {
    Ok(download::describe(&gate.service().summary(object(path)?).await?))
}

pub(crate) async fn fetching(State(gate): State<Gate>) -> Answer<Vec<Fetching>> {
    Ok(Json(gate.service().fetching().await?))
}

pub(crate) async fn log(State(gate): State<Gate>, Path(path): Path<(DcId, u64)>) -> Answer<Vec<LogEntry>> {
    Ok(Json(gate.service().log(object(path)?).await?))
}

pub(crate) async fn stored_blocks(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
) -> Answer<Vec<StoredBlock>> {
    Ok(Json(gate.service().stored_blocks(object(path)?).await?))
}

pub(crate) async fn share(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
    Body(grants): Body<GrantRequest>,
) -> Answer<Recorded> {
    if grants.to.is_empty() {
        return Err(Refusal::new(Code::Malformed, "`to` names nobody"));
    }
    if grants.max_openings == Some(0) {
        let problem = Problem::new(Code::Malformed, "`maxOpenings` is 0, which would allow nothing");
        return Err(problem.with_hint("Give 1 or more, or leave it out for any number of openings.").into());
    }
    if let Some(expiry) = grants.expires_at {
        times::check("expiresAt", expiry)?;
        times::check_ahead("expiresAt", expiry, now(&gate))?;
    }
    Ok(Json(gate.service().share(object(path)?, grants).await?))
}

pub(crate) async fn revoke(
    State(gate): State<Gate>,
    Path((owner, number, from)): Path<(DcId, u64, DcId)>,
) -> Answer<Recorded> {
    Ok(Json(gate.service().revoke(object((owner, number))?, from).await?))
}

pub(crate) async fn set_visibility(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
    Body(request): Body<VisibilityRequest>,
) -> Answer<Recorded> {
    Ok(Json(gate.service().set_visibility(object(path)?, request.visibility).await?))
}

async fn verification(
    gate: &Gate,
    object: Option<ObjectId>,
    request: VerifyRequest,
) -> Result<Response, Refusal> {
    let place = stream::place(gate)?;
    let service = gate.service().clone();
    stream::respond(place, OnLeave::Abandon, Begin::WithReports, move |progress| async move {
        service.verify(object, request, progress).await
    })
    .await
}

pub(crate) async fn verify(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
    Body(request): Body<VerifyRequest>,
) -> Result<Response, Refusal> {
    verification(&gate, Some(object(path)?), request).await
}

pub(crate) async fn verify_all(
    State(gate): State<Gate>,
    Body(request): Body<VerifyRequest>,
) -> Result<Response, Refusal> {
    verification(&gate, None, request).await
}

async fn repairing(gate: &Gate, object: Option<ObjectId>) -> Result<Response, Refusal> {
    let place = stream::place(gate)?;
    let service = gate.service().clone();
    stream::respond(place, OnLeave::Finish, Begin::WithReports, move |progress| async move {
        service.repair(object, progress).await
    })
    .await
}

pub(crate) async fn repair(
    State(gate): State<Gate>,
    Path(path): Path<(DcId, u64)>,
) -> Result<Response, Refusal> {
    repairing(&gate, Some(object(path)?)).await
}

pub(crate) async fn repair_all(State(gate): State<Gate>) -> Result<Response, Refusal> {
    repairing(&gate, None).await
}

pub(crate) async fn collect_garbage(State(gate): State<Gate>) -> Result<Response, Refusal> {
    let place = stream::place(&gate)?;
    let service = gate.service().clone();
    stream::respond(place, OnLeave::Finish, Begin::WithReports, move |_| async move {
        service.collect_garbage().await
    })
    .await
}
