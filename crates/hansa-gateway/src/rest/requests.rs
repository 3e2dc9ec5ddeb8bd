//! Counts REST requests by endpoint and status, for the metrics.

use std::collections::BTreeMap;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use hansa_api::RequestCount;
use parking_lot::Mutex;

use super::Gate;

/// Requests answered since the start. The labels come from the table of endpoints, so there are only so many.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<(String, u16), u64>>);

impl Requests {
    /// The counts, by endpoint and status.
    pub(crate) fn counted(&self) -> Vec<RequestCount> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|((endpoint, status), count)| RequestCount {
                endpoint: endpoint.clone(),
                status: *status,
                count: *count,
            })
            .collect()
    }

    fn count(&self, path: &str, status: u16) {
        let mut counts = self.0.lock();
        let count = counts.entry((path.to_owned(), status)).or_default();
        *count = count.saturating_add(1);
    }
}

/// Counts a request when its answer begins.
pub(crate) async fn count(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let path = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    gate.0.requests.count(path.as_ref().map_or("other", MatchedPath::as_str), response.status().as_u16());
    response
}
