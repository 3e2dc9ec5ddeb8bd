//! Requests that must not mean something else than they say: terms, parameters, promised sizes and digests, questions.

use std::sync::atomic::Ordering;

use hansa_api::{Code, ObjectSort, ObjectsRequest, header};
use hansa_client::{PutOptions, Source};
use hansa_types::{DcId, ObjectId, Visibility};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::rest::{Rest, problem};

/// SHA-256 of `abc` (FIPS 180-4).
const ABC: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

fn request(rest: &Rest, method: Method, path: &str) -> RequestBuilder {
    reqwest::Client::new().request(method, rest.url(path)).bearer_auth(rest.token.reveal())
}

fn upload(rest: &Rest, method: Method, path: &str, meta: &serde_json::Value, body: &[u8]) -> RequestBuilder {
    let meta = meta.to_string();
    let meta = percent_encoding::utf8_percent_encode(&meta, percent_encoding::NON_ALPHANUMERIC);
    request(rest, method, path)
        .header("content-type", "application/octet-stream")
        .header(header::META, meta.to_string())
        .body(body.to_vec())
}

async fn put(rest: &Rest, name: &str, bytes: &'static [u8]) -> ObjectId {
    rest.client.put(Source::reader(name, bytes), &PutOptions::default(), drop).await.unwrap().id
}

async fn refused(request: RequestBuilder, status: StatusCode, code: Code, what: &str) {
    let answer: Response = request.send().await.unwrap();
    assert_eq!(answer.status(), status, "{what}");
    assert_eq!(problem(answer).await.code, code, "{what}");
}

#[tokio::test]
async fn a_question_about_an_object_uses_no_opening_up() {
    let rest = Rest::new().await;
    put(&rest, "größe", b"abc").await;
    let answer = request(&rest, Method::HEAD, "/v1/objects/1/1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(
        (&answer.headers()[header::VERSION], &answer.headers()[header::KIND]),
        (&"1".parse().unwrap(), &"file".parse().unwrap())
    );
    assert_eq!(rest.vault.openings.load(Ordering::Relaxed), 0);
    let absent = request(&rest, Method::HEAD, "/v1/objects/1/9").send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    let answer = request(&rest, Method::GET, "/v1/objects/1/1").send().await.unwrap();
    let named = answer.headers()["content-disposition"].to_str().unwrap();
    assert_eq!(named, "attachment; filename=\"gr__e\"; filename*=UTF-8''gr%C3%B6%C3%9Fe");
    assert_eq!(rest.vault.openings.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn failures_known_before_the_content_have_their_own_status() {
    let rest = Rest::new().await;
    let meta = json!({ "name": "x", "kind": "file" });
    let cases = [
        ("/v1/objects/2/1", StatusCode::FORBIDDEN, Code::NotOwner),
        ("/v1/objects/1/9", StatusCode::NOT_FOUND, Code::UnknownObject),
        ("/v1/objects/1/0", StatusCode::BAD_REQUEST, Code::Malformed),
    ];
    for (path, status, code) in cases {
        refused(upload(&rest, Method::PUT, path, &meta, b"abc"), status, code, path).await;
    }
}

#[tokio::test]
async fn content_that_is_not_what_was_announced_is_never_recorded() {
    let rest = Rest::new().await;
    let of = |size: u64| json!({ "name": "x", "kind": "file", "size": size });
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    for (size, body) in [(4, &b"abc"[..]), (2, b"abc"), (0, b"abc"), (1, b"")] {
        let request = upload(&rest, Method::POST, "/v1/objects", &of(size), body);
        refused(request, unprocessable, Code::ContentMismatch, &format!("{size} bytes for {body:?}")).await;
    }
    for (name, value) in
        [("content-digest", format!("sha-256=:{ABC}:")), ("digest", format!("SHA-256={ABC}"))]
    {
        let request = upload(&rest, Method::POST, "/v1/objects", &of(3), b"abd").header(name, &value);
        refused(request, unprocessable, Code::ContentMismatch, name).await;
    }
    let (bad, media) = (StatusCode::BAD_REQUEST, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for (name, value, status, code) in [
        ("content-range", "bytes 0-2/6", bad, Code::Malformed),
        ("content-digest", "md5=:AAAA:", bad, Code::Malformed),
        ("content-encoding", "gzip", media, Code::UnsupportedMedia),
    ] {
        let request = upload(&rest, Method::POST, "/v1/objects", &of(3), b"abc").header(name, value);
        refused(request, status, code, name).await;
    }
    assert!(rest.client.objects(&ObjectsRequest::default()).await.unwrap().objects.is_empty());
    let kept = upload(&rest, Method::POST, "/v1/objects", &of(3), b"abc")
        .header("content-digest", format!("sha-256=:{ABC}:"));
    assert_eq!(kept.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(rest.client.objects(&ObjectsRequest::default()).await.unwrap().objects.len(), 1);
}

#[tokio::test]
async fn terms_that_would_allow_nothing_or_something_else_are_refused() {
    let rest = Rest::new().await;
    let cases = [
        (json!({ "to": [2], "maxOpenings": 0 }), "maxOpenings"),
        (json!({ "to": [2], "expiresAt": 0 }), "has passed"),
        (json!({ "to": [2], "expiresAt": 1_700_000_000 }), "has passed"),
        (json!({ "to": [2], "expiresAt": 1_900_000_000_000_u64 }), "milliseconds"),
    ];
    for (terms, words) in cases {
        let answer =
            request(&rest, Method::POST, "/v1/objects/1/1/grants").json(&terms).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{terms}");
        let problem = problem(answer).await;
        assert!(problem.message.contains(words), "{terms}: {problem}");
    }
    for end in [0, 1, 1_700_000_000, 1_900_000_000_000_u64] {
        let meta = json!({ "name": "x", "kind": "file", "validUntil": end });
        let request = upload(&rest, Method::POST, "/v1/objects", &meta, b"abc");
        refused(request, StatusCode::BAD_REQUEST, Code::Malformed, &format!("validUntil {end}")).await;
    }
    assert!(rest.vault.calls.lock().unwrap().is_empty(), "nothing was shared");
}

#[tokio::test]
async fn the_choice_of_a_list_arrives_as_it_was_made() {
    let rest = Rest::new().await;
    let choice = ObjectsRequest {
        limit: Some(1_000),
        cursor: Some("7".to_owned()),
        owner: DcId::new(3),
        visibility: Some(Visibility::Members),
        grantee: DcId::new(4),
        name: Some("a&b=ü %".to_owned()),
        sort: Some(ObjectSort::Name),
        at_least: Some(u64::MAX),
    };
    let page = rest.client.objects(&choice).await.unwrap();
    assert_eq!((page.objects.len(), page.next, page.height), (0, None, 7));
    assert_eq!(*rest.vault.calls.lock().unwrap(), [format!("objects {choice:?}")]);
    assert_eq!(rest.client.index().await.unwrap().height, Some(6));
    assert_eq!(rest.client.rebuild_index().await.unwrap().height, None);
}

#[tokio::test]
async fn query_parameters_that_mean_nothing_here_are_refused_with_the_known_ones() {
    let rest = Rest::new().await;
    put(&rest, "x", b"abc").await;
    let cases = [
        (Method::GET, "/v1/fetches?sort=name", "\"sort\"; this endpoint takes none"),
        (Method::GET, "/v1/objects?limit=5&nam=x", "\"nam\"; this endpoint takes limit and cursor and owner"),
        (Method::GET, "/v1/objects?limit=0", "`limit` is 1 to 1000"),
        (Method::GET, "/v1/objects?limit=1001", "`limit` is 1 to 1000"),
        (Method::GET, "/v1/objects?sort=size", "size"),
        (Method::GET, "/v1/objects?owner=0", ""),
        (Method::GET, "/v1/objects?at_least=-1", ""),
        (Method::GET, "/v1/objects/1/1?name=x", "\"name\"; this endpoint takes version and ask"),
        (Method::GET, "/v1/objects/1/1?version=1&ver%73ion=2", "\"ver%73ion\""),
        (Method::GET, "/v1/blocks?form=1", "\"form\"; this endpoint takes from and limit"),
        (Method::POST, "/v1/objects?name=x", "\"name\""),
        (Method::DELETE, "/v1/objects/1/1/grants/2?force", "\"force\""),
    ];
    for (method, path, words) in cases {
        let answer = request(&rest, method, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        let problem = problem(answer).await;
        assert!(problem.message.contains(words), "{path}: {problem}");
    }
    assert_eq!(rest.vault.openings.load(Ordering::Relaxed), 0);
    for path in ["/v1/objects?", "/v1/objects/1/1?version=1", "/v1/blocks?limit=1&from=0"] {
        assert_eq!(
            request(&rest, Method::GET, path).send().await.unwrap().status(),
            StatusCode::OK,
            "{path}"
        );
    }
}
