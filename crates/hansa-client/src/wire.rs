//! Requests, answers and streams of lines over HTTP.

use std::{io, time::Duration};

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use hansa_api::{Line, Problem, Progress};
use reqwest::{Method, RequestBuilder, Response, header::HeaderValue};
use serde::{Serialize, de::DeserializeOwned};

use crate::ClientError;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest line of a long operation's answer.
const LINE_BYTES: usize = 64 * 1024 * 1024;
/// Longest error that is read.
const PROBLEM_BYTES: usize = 64 * 1024;

/// The connection and the token.
#[derive(Clone)]
pub(crate) struct Wire {
    http: reqwest::Client,
    base: String,
    token: HeaderValue,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Wire {
    pub(crate) fn new(base: &str, token: &str) -> Result<Self, ClientError> {
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("http://") && !base.starts_with("https://") {
            return Err(ClientError::Address(format!("{base:?} is no http:// URL")));
        }
        let mut token = HeaderValue::from_str(&format!("Bearer {}", token.trim()))
            .map_err(|_| ClientError::Address("the token holds characters that no token has".to_owned()))?;
        token.set_sensitive(true);
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build()
            .map_err(|error| ClientError::Address(error.to_string()))?;
        Ok(Self { http, base, token })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let token = self.token.clone();
        self.http
            .request(method, format!("{}/v1/{path}", self.base))
            .header(reqwest::header::AUTHORIZATION, token)
    }

    /// Sends a request without a body, and reads JSON.
    pub(crate) async fn fetch<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        json(self.answer(self.request(method, path)).await?).await
    }

    /// Sends a request without a body, and reads JSON whatever the answer's status.
    pub(crate) async fn fetch_any<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let response = self.request(method, path).send().await.map_err(|source| self.failed(source))?;
        json(response).await
    }

    /// Posts JSON, and reads JSON.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        json(self.answer(self.request(Method::POST, path).json(body)).await?).await
    }

    /// Sends a request; an answer with an error status becomes an error.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| self.failed(source))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(problem(response).await)
    }

    fn failed(&self, error: reqwest::Error) -> ClientError {
        match error.is_connect() {
            true => ClientError::Unreachable { base: self.base.clone(), source: error },
            false => broken(error),
        }
    }

    /// Sends a request that is answered line by line: progress, and at last a result or an error.
    pub(crate) async fn long<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        mut progress: impl FnMut(Progress),
    ) -> Result<T, ClientError> {
        let mut pieces = self.answer(request).await?.bytes_stream();
        let mut buffer = BytesMut::new();
        let mut searched = 0;
        loop {
            while let Some(end) = newline(&buffer, searched) {
                let line = buffer.split_to(end);
                buffer.advance(1);
                searched = 0;
                match serde_json::from_slice::<Line<T>>(&line) {
                    Ok(Line::Progress(report)) => progress(report),
                    Ok(Line::Result(result)) => return Ok(result),
                    Ok(Line::Error(problem)) => return Err(problem.into()),
                    Err(error) => return Err(ClientError::Protocol(error.to_string())),
                }
            }
            searched = buffer.len();
            if buffer.len() > LINE_BYTES {
                return Err(ClientError::Protocol("a line is too long".to_owned()));
            }
            match pieces.next().await {
                Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Err(broken(error)),
                None => return Err(ClientError::Broken(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }
}

fn newline(buffer: &[u8], from: usize) -> Option<usize> {
    let rest = buffer.get(from..)?;
    rest.iter().position(|byte| *byte == b'\n').map(|at| from.saturating_add(at))
}

pub(crate) fn broken(error: reqwest::Error) -> ClientError {
    ClientError::Broken(io::Error::other(error))
}

pub(crate) async fn json<T: DeserializeOwned>(response: Response) -> Result<T, ClientError> {
    let bytes = response.bytes().await.map_err(broken)?;
    serde_json::from_slice(&bytes).map_err(|error| ClientError::Protocol(error.to_string()))
}

/// Reads an error answer; one that is no problem document is told by its status.
async fn problem(response: Response) -> ClientError {
    let status = response.status();
    let mut pieces = response.bytes_stream();
    let mut body = BytesMut::new();
    while let Some(Ok(piece)) = pieces.next().await {
        if body.len().saturating_add(piece.len()) > PROBLEM_BYTES {
            break;
        }
        body.extend_from_slice(&piece);
    }
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => problem.into(),
        Err(_) => ClientError::Protocol(format!("status {status}; is this the node's REST interface?")),
    }
}
