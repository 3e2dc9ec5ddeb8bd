//! The table of endpoints. Everything in it asks for the token, except what says that it does not.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    handler::Handler,
    http::Method,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{MethodFilter, MethodRouter, on},
};
use hansa_api::Code;

use super::{Gate, blocks, drain::Drained, members, objects, problem::Refusal, requests};

/// Who may call an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// Anyone who reaches the port.
    Open,
    /// Whoever has the node's token.
    Token,
}

/// One line of the table, for documentation and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// HTTP method.
    pub method: &'static str,
    /// Path, with `{…}` for its variable segments.
    pub path: &'static str,
    /// Whether it asks for the token.
    pub authorised: bool,
}

struct Route {
    method: Method,
    path: &'static str,
    access: Access,
    /// The query parameters it takes.
    parameters: &'static [&'static str],
    handler: MethodRouter<Gate>,
}

impl Route {
    /// The same, taking query parameters.
    fn with(self, parameters: &'static [&'static str]) -> Self {
        Self { parameters, ..self }
    }
}

fn route<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Option<Route>
where
    H: Handler<T, Gate>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).ok()?;
    Some(Route { method, path, access, parameters: &[], handler: on(filter, handler) })
}

/// Parameters of the list of objects.
const OBJECTS: &[&str] = &["limit", "cursor", "owner", "visibility", "grantee", "name", "sort", "at_least"];

/// Every endpoint there is: the router is made from this and from nothing else.
fn table() -> impl Iterator<Item = Route> {
    use Access::{Open, Token};
    const OBJECT: &str = "/v1/objects/{owner}/{number}";
    let (get, post, put, delete) = (Method::GET, Method::POST, Method::PUT, Method::DELETE);
    [
        route(get.clone(), "/v1/health", Open, members::health),
        route(get.clone(), "/metrics", Open, members::metrics),
        route(get.clone(), "/v1/status", Token, members::status),
        route(get.clone(), "/v1/members", Token, members::list),
        route(get.clone(), "/v1/members/{dc}/invitation", Token, members::invitation),
        route(post.clone(), "/v1/members/self/endpoints", Token, members::set_endpoints),
        route(get.clone(), "/v1/suite", Token, members::suite),
        route(get.clone(), "/v1/quota", Token, members::quota),
        route(get.clone(), "/v1/ballots", Token, members::ballots),
        route(post.clone(), "/v1/ballots", Token, members::open_ballot),
        route(post.clone(), "/v1/ballots/preview", Token, members::preview_ballot),
        route(post.clone(), "/v1/ballots/{id}/votes", Token, members::vote),
        route(get.clone(), "/v1/objects", Token, objects::list).map(|list| list.with(OBJECTS)),
        route(get.clone(), "/v1/index", Token, objects::index),
        route(post.clone(), "/v1/index/rebuild", Token, objects::rebuild_index),
        route(post.clone(), "/v1/objects", Token, objects::put),
        route(get.clone(), "/v1/fetches", Token, objects::fetching),
        route(put, OBJECT, Token, objects::update),
        route(get.clone(), OBJECT, Token, objects::open).map(|open| open.with(&["version", "ask"])),
        route(Method::HEAD, OBJECT, Token, objects::describe),
        route(get.clone(), "/v1/objects/{owner}/{number}/summary", Token, objects::summary),
        route(get.clone(), "/v1/objects/{owner}/{number}/log", Token, objects::log),
        route(get.clone(), "/v1/objects/{owner}/{number}/blocks", Token, objects::stored_blocks),
        route(post.clone(), "/v1/objects/{owner}/{number}/grants", Token, objects::share),
        route(delete, "/v1/objects/{owner}/{number}/grants/{dc}", Token, objects::revoke),
        route(post.clone(), "/v1/objects/{owner}/{number}/visibility", Token, objects::set_visibility),
        route(post.clone(), "/v1/objects/{owner}/{number}/verify", Token, objects::verify),
        route(post.clone(), "/v1/objects/{owner}/{number}/repair", Token, objects::repair),
        route(post.clone(), "/v1/verify", Token, objects::verify_all),
        route(post.clone(), "/v1/repair", Token, objects::repair_all),
        route(post, "/v1/collect-garbage", Token, objects::collect_garbage),
        route(get.clone(), "/v1/blocks", Token, blocks::list).map(|list| list.with(&["from", "limit"])),
        route(get.clone(), "/v1/blocks/{number}", Token, blocks::one),
        route(get.clone(), "/v1/blocks/{number}/certificate", Token, blocks::certificate),
        route(get, "/v1/blocks/{number}/proof", Token, blocks::proof),
    ]
    .into_iter()
    .flatten()
}

/// The number of endpoints that ask for the token.
pub const AUTHORISED: usize = 33;

/// The table, for documentation and tests.
pub fn endpoints() -> Vec<Endpoint> {
    let line = |route: Route| Endpoint {
        method: match route.method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::HEAD => "HEAD",
            _ => "DELETE",
        },
        path: route.path,
        authorised: route.access == Access::Token,
    };
    table().map(line).collect()
}

pub(crate) fn router(gate: Gate) -> Router {
    let (mut open, mut closed) = (Router::new(), Router::new());
    for Route { path, access, parameters, handler, .. } in table() {
        let handler = handler
            .layer(middleware::from_fn(move |request, next| check_parameters(parameters, request, next)));
        match access {
            Access::Open => open = open.route(path, handler),
            Access::Token => closed = closed.route(path, handler),
        }
    }
    let closed = closed.layer(middleware::from_fn_with_state(gate.clone(), authorise));
    open.merge(closed)
        .fallback(no_such_endpoint)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(gate.limits().json_bytes))
        .layer(middleware::from_fn(private))
        .layer(middleware::from_fn_with_state(gate.clone(), requests::count))
        .with_state(gate)
}

/// Lets a request pass only with the node's token; before anything of it is read.
async fn authorise(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    if gate.0.token.admits(request.headers()) {
        return next.run(request).await;
    }
    drop(Drained::new(request.into_body()));
    Refusal::new(Code::Unauthenticated, "this endpoint asks for the node's token").into_response()
}

/// Refuses a query parameter that the endpoint does not take: an answer that ignored it would look like what was asked
/// for.
async fn check_parameters(known: &'static [&'static str], request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let keys =
        query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    let Some(unknown) = keys.into_iter().find(|key| !known.contains(key)).map(str::to_owned) else {
        return next.run(request).await;
    };
    drop(Drained::new(request.into_body()));
    let taken = match known {
        [] => "this endpoint takes none".to_owned(),
        known => format!("this endpoint takes {}", known.join(" and ")),
    };
    Refusal::new(Code::Malformed, format!("there is no query parameter {unknown:?}; {taken}")).into_response()
}

/// Answers are for the caller alone, not for a cache or for a guess at what they contain.
async fn private(request: Request, next: Next) -> Response {
    use axum::http::{HeaderValue, header};
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn no_such_endpoint(request: Request) -> Refusal {
    Refusal::new(Code::NoSuchEndpoint, format!("there is no {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Refusal {
    Refusal::new(
        Code::MethodNotAllowed,
        format!("{} does not take {}", request.uri().path(), request.method()),
    )
}
