//! Errors as HTTP answers. The only place where a status is chosen.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Request, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use hansa_api::{Code, Problem};
use serde::de::DeserializeOwned;

/// Characters of a message on its way out. Longer ones repeat what the caller sent.
const MESSAGE_CHARS_MAX: usize = 1_000;

/// An error on its way out.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) Problem);

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Problem::new(code, message))
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

/// The status for each code.
pub(crate) const fn status(code: Code) -> StatusCode {
    match code {
        Code::Malformed | Code::UploadInterrupted | Code::UnsafePath | Code::BadCard => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::NotOwner | Code::AccessRefused | Code::KeyRefused | Code::KeyMissing | Code::NotMember => {
            StatusCode::FORBIDDEN
        }
        Code::NoSuchEndpoint
        | Code::UnknownObject
        | Code::UnknownVersion
        | Code::UnknownGrant
        | Code::UnknownBallot
        | Code::UnknownMember
        | Code::UnknownBlock
        | Code::NotCertified => StatusCode::NOT_FOUND,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Expired => StatusCode::GONE,
        Code::BallotClosed
        | Code::AlreadyVoted
        | Code::MotionRefused
        | Code::TransactionFailed
        | Code::TransactionRefused => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::ContentMismatch => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Busy => StatusCode::TOO_MANY_REQUESTS,
        Code::ContentDamaged | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::OwnerUnreachable | Code::ContentUnavailable | Code::NotReady | Code::ChainBusy => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::NotFinal => StatusCode::GATEWAY_TIMEOUT,
        Code::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = status(self.0.code);
        let is_busy = matches!(self.0.code, Code::Busy | Code::ChainBusy);
        let problem = Problem { status: status.as_u16(), message: shortened(self.0.message), ..self.0 };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if is_busy {
            // The message gives milliseconds where they are known; the header knows whole seconds.
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

fn shortened(mut message: String) -> String {
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// A JSON body, refused with a problem when it cannot be read.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(refusal_of(&rejection)),
        }
    }
}

fn refusal_of(rejection: &JsonRejection) -> Refusal {
    let code = match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Code::TooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMedia,
        _ => Code::Malformed,
    };
    Refusal::new(code, rejection.body_text())
}

/// Path segments, refused with a problem when they cannot be read.
pub(crate) struct Path<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Path::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refusal::new(Code::Malformed, rejection.body_text())),
        }
    }
}

/// Query parameters, refused with a problem when they cannot be read.
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Refusal::new(Code::Malformed, rejection.body_text())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fmt::Write as _, fs, path::Path};

    use super::*;

    /// The reference page of errors, as the codes say it.
    fn page() -> String {
        let mut page = "<!-- Made from the table of codes by a test of hansa-gateway; do not edit. -->\n\n# Errors\n\n\
            Every error is `application/problem+json` (RFC 9457) with `type`, `title`, `status`, `detail`, `hint` and the \
            number `code`. Programs rely on the number: it never changes its meaning. An error in the middle of a \
            stream is its last line, with the status that it would have had.\n\n\
            | code | status | title | hint |\n|---|---|---|---|\n"
            .to_owned();
        for code in Code::ALL {
            let status = status(*code).as_u16();
            writeln!(page, "| {} | {status} | {} | {} |", code.number(), code.title(), code.hint()).unwrap();
        }
        page
    }

    #[test]
    fn the_reference_page_is_fresh() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/errors.md");
        let expected = page();
        if fs::read_to_string(&file).ok().as_deref() != Some(expected.as_str()) {
            fs::write(&file, expected).unwrap();
            panic!("docs/reference/errors.md was not up to date; it has been written anew, commit it");
        }
    }
}
