//! Admits wallets and libraries, keeps foreign web pages out.
//!
//! A page in a member's browser can open a WebSocket to its node without asking anybody, and would read a chain that
//! only members may read. Browsers say in `Origin` which page asks; most programs send none. Admitted are requests
//! without an origin, of browser extensions (a wallet's background page), of the node's own address (some libraries
//! send it), and of the pages that the node's configuration lists.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_MAX_AGE, HOST, ORIGIN, VARY,
    },
};
use jsonrpsee::server::{HttpBody, HttpRequest, HttpResponse};
use tower::{Layer, Service};

/// Schemes of extensions. A web page cannot have one of them.
const EXTENSIONS: &[&str] = &[
    "chrome-extension://",
    "moz-extension://",
    "safari-web-extension://",
    "ms-browser-extension://",
    "extension://",
];

/// What a refused page is told.
const REFUSED: &str =
    "this page may not use the node; the operator admits it with `origins` under [rpc] in hansa.toml\n";

/// Puts [`Gated`] around the server's service.
#[derive(Clone)]
pub(crate) struct Gatekeeper(Arc<[String]>);

impl Gatekeeper {
    /// Admits these pages beside programs and extensions; `*` admits all.
    pub(crate) fn new(pages: Vec<String>) -> Self {
        Self(pages.iter().map(|page| page.trim_end_matches('/').to_owned()).collect())
    }

    fn admits(&self, origin: &str, host: Option<&str>) -> bool {
        EXTENSIONS.iter().any(|scheme| origin.starts_with(scheme))
            || host.is_some_and(|host| is_own(origin, host))
            || self.0.iter().any(|page| page == "*" || page.eq_ignore_ascii_case(origin))
    }
}

/// Whether an origin is the address that the request went to. An address in figures or `localhost` only: any other
/// name can be made to point here by whoever serves the page.
fn is_own(origin: &str, host: &str) -> bool {
    let Some(of_page) = origin.strip_prefix("http://").or(origin.strip_prefix("https://")) else {
        return false;
    };
    let name = host.rsplit_once(':').map_or(host, |(name, port)| match port.parse::<u16>() {
        Ok(_) => name,
        Err(_) => host,
    });
    let address = name.trim_start_matches('[').trim_end_matches(']');
    of_page.eq_ignore_ascii_case(host)
        && (name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok())
}

impl<S> Layer<S> for Gatekeeper {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Gated<S> {
        Gated { inner, gatekeeper: self.clone() }
    }
}

/// Refuses requests of pages that are not admitted.
#[derive(Clone)]
pub(crate) struct Gated<S> {
    inner: S,
    gatekeeper: Gatekeeper,
}

impl<S> Service<HttpRequest> for Gated<S>
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
        let headers = request.headers();
        let Some(origin) = headers.get(ORIGIN).cloned() else { return Box::pin(self.inner.call(request)) };
        let host = headers.get(HOST).and_then(|host| host.to_str().ok());
        if !origin.to_str().is_ok_and(|origin| self.gatekeeper.admits(origin, host)) {
            return Box::pin(async { Ok(answer(StatusCode::FORBIDDEN, REFUSED)) });
        }
        if request.method() == Method::OPTIONS {
            // What a browser asks before it sends JSON for a page.
            return Box::pin(async {
                let mut response = answer(StatusCode::NO_CONTENT, "");
                share(response.headers_mut(), origin);
                Ok(response)
            });
        }
        let answered = self.inner.call(request);
        Box::pin(async {
            let mut response = answered.await?;
            share(response.headers_mut(), origin);
            Ok(response)
        })
    }
}

fn answer(status: StatusCode, text: &'static str) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(text));
    *response.status_mut() = status;
    response
}

/// Tells the browser that the page may read the answer.
fn share(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("3600"));
    // Chrome asks this way whether a public page may reach a private address.
    headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_addresses_extensions_and_listed_pages_are_admitted() {
        let gatekeeper = Gatekeeper::new(vec!["https://app.example/".to_owned()]);
        let check = |origin: &str, host: &str, expected: bool| {
            assert_eq!(gatekeeper.admits(origin, Some(host)), expected, "{origin} at {host}");
        };
        check("chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", "127.0.0.1:8545", true);
        check("moz-extension://3a1b", "127.0.0.1:8545", true);
        check("http://127.0.0.1:8545", "127.0.0.1:8545", true);
        check("http://localhost:8545", "localhost:8545", true);
        check("http://[::1]:8545", "[::1]:8545", true);
        check("https://app.example", "127.0.0.1:8545", true);
        check("http://127.0.0.1:3000", "127.0.0.1:8545", false);
        check("http://localhost:8545", "127.0.0.1:8545", false);
        check("https://app.example.evil", "127.0.0.1:8545", false);
        check("null", "127.0.0.1:8545", false);
        // A name that its owner points at this machine (DNS rebinding).
        check("http://evil.example:8545", "evil.example:8545", false);
        assert!(Gatekeeper::new(vec!["*".to_owned()]).admits("https://any.example", None));
    }
}
