//! Keeps web pages out.
//!
//! A page in a member's browser can open a WebSocket to its node without asking anybody, and would read a chain that only
//! members may read. Browsers say which page asks; programs say nothing.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::http::StatusCode;
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use tower::{Layer, Service};

/// Puts [`NoPages`] around the server's service.
#[derive(Clone, Copy)]
pub(crate) struct KeepPagesOut;

impl<S> Layer<S> for KeepPagesOut {
    type Service = NoPages<S>;

    fn layer(&self, inner: S) -> NoPages<S> {
        NoPages { inner }
    }
}

/// Refuses requests that carry an `Origin`.
#[derive(Clone)]
pub(crate) struct NoPages<S> {
    inner: S,
}

impl<S> Service<HttpRequest> for NoPages<S>
where
    S: Service<HttpRequest, Response = HttpResponse>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = HttpResponse;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        if !request.headers().contains_key("origin") {
            return Box::pin(self.inner.call(request));
        }
        let mut refusal = HttpResponse::new(HttpBody::from("web pages may not use this interface\n"));
        *refusal.status_mut() = StatusCode::FORBIDDEN;
        Box::pin(async move { Ok(refusal) })
    }
}
