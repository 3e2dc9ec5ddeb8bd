//! Who may call the REST interface, and what it answers to what it cannot read.

use std::sync::Arc;

use alloy_primitives::keccak256;
use hansa_api::{Code, Collected, GrantRequest, Motion, Problem, Standing, VerifyRequest};
use hansa_client::{Client, ClientError, OpenOptions};
use hansa_gateway::{AUTHORISED, Endpoint, RestLimits, RestServer, Token, endpoints};
use hansa_ledger::Ledger;
use hansa_types::{Endpoints, ObjectId, Version, Visibility};
use reqwest::{Method, StatusCode, header};

use crate::{
    chain::{certify, grow, ledger, signed_card},
    vault::{AWAITED, Vault, dc, suspend},
};

pub(crate) struct Rest {
    pub(crate) server: RestServer,
    pub(crate) token: Token,
    pub(crate) vault: Arc<Vault>,
    pub(crate) client: Client,
    ledger: Ledger,
}

impl Rest {
    pub(crate) async fn new() -> Self {
        Self::with(RestLimits::default()).await
    }

    pub(crate) async fn with(limits: RestLimits) -> Self {
        let (token, vault) = (Token::random(), Arc::new(Vault::default()));
        let listen = "127.0.0.1:0".parse().unwrap();
        let (limits, ledger) = (RestLimits { json_bytes: 10_000, ..limits }, ledger());
        let server = RestServer::start(listen, token.clone(), ledger.clone(), vault.clone(), limits);
        let server = server.await.unwrap();
        let client = Client::new(&format!("http://{}", server.address()), token.reveal()).unwrap();
        Self { server, token, vault, client, ledger }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.address())
    }

    fn request(&self, endpoint: &Endpoint) -> reqwest::RequestBuilder {
        let path = endpoint
            .path
            .replace("{owner}", "1")
            .replace("{number}", "1")
            .replace("{dc}", "2")
            .replace("{id}", "1");
        reqwest::Client::new().request(endpoint.method.parse::<Method>().unwrap(), self.url(&path))
    }
}

pub(crate) async fn problem(response: reqwest::Response) -> Problem {
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let status = response.status().as_u16();
    let problem: Problem = response.json().await.unwrap();
    assert_eq!(problem.status, status);
    assert!(!problem.message.is_empty() && !problem.hint.is_empty());
    problem
}

#[tokio::test]
async fn every_endpoint_refuses_who_has_not_the_token() {
    let rest = Rest::new().await;
    let mut uncovered = Vec::new();
    let mut refused = 0;
    for endpoint in endpoints() {
        let wrong =
            [None, Some(format!("Bearer {}", Token::random().reveal())), Some("Basic dTpw".to_owned())];
        for authorisation in wrong {
            let mut request = rest.request(&endpoint);
            if let Some(value) = &authorisation {
                request = request.header(header::AUTHORIZATION, value);
            }
            let response = request.body("{}").send().await.unwrap();
            if response.status() != StatusCode::UNAUTHORIZED {
                uncovered.push(format!("{} {}", endpoint.method, endpoint.path));
                break;
            }
            assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
            // The answer to HEAD has no body.
            if endpoint.method != "HEAD" {
                assert_eq!(problem(response).await.code, Code::Unauthenticated);
            }
            refused += 1;
        }
    }
    // The endpoints for anyone say how the node stands and hold no secret; every other one is in the test above.
    uncovered.retain(|line| !["GET /v1/health", "GET /metrics"].contains(&line.as_str()));
    let golden = include_str!("../uncovered-authz-endpoints.txt");
    assert_eq!(uncovered.join("\n"), golden.trim(), "endpoints without an authorisation test");
    assert_eq!(refused, 3 * AUTHORISED);
    assert!(rest.vault.calls.lock().unwrap().is_empty(), "nothing reached the service");
}

#[tokio::test]
async fn every_endpoint_answers_its_member() {
    let rest = Rest::new().await;
    for endpoint in endpoints() {
        let request = rest.request(&endpoint).bearer_auth(rest.token.reveal());
        let status = request.send().await.unwrap().status();
        assert!(
            ![401, 404, 405].contains(&status.as_u16()) || endpoint.path.contains('{'),
            "{endpoint:?}: {status}"
        );
        assert_ne!(status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn unreadable_requests_are_problems() {
    let rest = Rest::new().await;
    let http = reqwest::Client::new();
    let json = |method: Method, path: &str, body: &str| {
        let request = http.request(method, rest.url(path)).bearer_auth(rest.token.reveal());
        request.header(header::CONTENT_TYPE, "application/json").body(body.to_owned()).send()
    };
    let (get, post) = (Method::GET, Method::POST);
    let large = format!("{{\"support\":true,\"x\":\"{}\"}}", "x".repeat(20_000));
    let cases = [
        (get.clone(), "/v1/nothing", "", Code::NoSuchEndpoint),
        (get.clone(), "/", "", Code::NoSuchEndpoint),
        (Method::PATCH, "/v1/objects", "", Code::MethodNotAllowed),
        (post.clone(), "/v1/ballots/1/votes", "{", Code::Malformed),
        (post.clone(), "/v1/ballots/1/votes", "{}", Code::Malformed),
        (post.clone(), "/v1/ballots/1/votes", "{\"support\":true,\"twice\":true}", Code::Malformed),
        (post.clone(), "/v1/ballots/x/votes", "{\"support\":true}", Code::Malformed),
        (post.clone(), "/v1/ballots/1/votes", &large, Code::TooLarge),
        (post.clone(), "/v1/ballots", "{\"kind\":\"join\",\"card\":{\"name\":\"x\"}}", Code::Malformed),
        (
            post.clone(),
            "/v1/ballots",
            "{\"kind\":\"standing\",\"member\":0,\"standing\":\"removed\"}",
            Code::Malformed,
        ),
        (
            post.clone(),
            "/v1/ballots/preview",
            "{\"kind\":\"standing\",\"member\":1,\"standing\":\"removed\",\"x\":1}",
            Code::Malformed,
        ),
        (post.clone(), "/v1/objects/1/1/grants", "{\"to\":[0]}", Code::Malformed),
        (post.clone(), "/v1/objects/1/1/grants", "{\"to\":[]}", Code::Malformed),
        (post.clone(), "/v1/objects/1/1/visibility", "{\"visibility\":\"some\"}", Code::Malformed),
        (get.clone(), "/v1/objects/0/1", "", Code::Malformed),
        (get.clone(), "/v1/objects/1/0/log", "", Code::Malformed),
        (get.clone(), "/v1/objects/1/1?version=last", "", Code::Malformed),
        (get.clone(), "/v1/objects/1/1?ask=nobody", "", Code::Malformed),
        (get.clone(), "/v1/objects/1/18446744073709551616", "", Code::Malformed),
        (get.clone(), "/v1/objects/1/%ff/log", "", Code::Malformed),
        (get.clone(), "/v1/blocks?limit=-1", "", Code::Malformed),
        (get.clone(), "/v1/blocks/77", "", Code::UnknownBlock),
        (get.clone(), "/v1/blocks/77/certificate", "", Code::UnknownBlock),
        (get.clone(), "/v1/blocks/77/proof", "", Code::UnknownBlock),
        (get.clone(), "/v1/blocks/0/proof", "", Code::NotCertified),
        (get.clone(), "/v1/blocks/-1/proof", "", Code::Malformed),
        (get, "/v1/status", "", Code::NotReady),
        (post, "/v1/objects", "{}", Code::Malformed),
    ];
    for (method, path, body, code) in cases {
        let answer = problem(json(method, path, body).await.unwrap()).await;
        assert_eq!(answer.code, code, "{path} {body}: {answer}");
    }
    // What the caller sent is repeated in part at most.
    let long = "x".repeat(5_000);
    for (method, path, body) in [
        (Method::GET, format!("/v1/{long}"), String::new()),
        (Method::GET, format!("/v1/objects?{long}=1"), String::new()),
        (Method::POST, "/v1/ballots/1/votes".to_owned(), format!("{{\"{long}\":1}}")),
    ] {
        let answer = problem(json(method, &path, &body).await.unwrap()).await;
        assert!(answer.message.chars().count() <= 1_001 && answer.message.ends_with('…'), "{answer}");
    }
    let text = http
        .post(rest.url("/v1/ballots/1/votes"))
        .bearer_auth(rest.token.reveal())
        .body("{\"support\":true}");
    assert_eq!(problem(text.send().await.unwrap()).await.code, Code::UnsupportedMedia);
}

#[tokio::test]
async fn requests_are_counted_by_endpoint_and_labels_are_not_the_callers() {
    let rest = Rest::new().await;
    for path in ["/v1/health", "/v1/health", "/v1/objects/1/1", "/v1/objects/1/2", "/any", "/thing"] {
        reqwest::get(rest.url(path)).await.unwrap();
    }
    let answer = reqwest::get(rest.url("/metrics")).await.unwrap();
    assert!(
        answer.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text")
    );
    let expected = "/v1/health 200: 2, /v1/objects/{owner}/{number} 401: 2, other 404: 2";
    assert_eq!(answer.text().await.unwrap(), expected);
}

#[tokio::test]
async fn the_client_speaks_for_its_member() {
    let rest = Rest::new().await;
    let client = &rest.client;
    let object = "1/1".parse().unwrap();
    assert_eq!(client.health().await.unwrap().status, Standing::Ok);
    rest.vault.fail_health();
    let answer = reqwest::get(rest.url("/v1/health")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health = client.health().await.unwrap();
    assert_eq!((health.status, health.complaints()[0].reason), (Standing::Failed, "the chain stands still"));
    assert_eq!(client.status().await.unwrap_err().code(), Some(Code::NotReady));
    let members = client.members().await.unwrap();
    assert_eq!(members.iter().map(|m| m.dc_id.value()).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(client.invitation(dc(5)).await.unwrap_err().code(), Some(Code::UnknownMember));
    for motion in [Motion::Join { card: signed_card(5) }, suspend(5)] {
        assert_eq!(client.open_ballot(&motion).await.unwrap().motion, motion);
        assert_eq!(client.preview_ballot(&motion).await.unwrap().motion, motion);
    }
    let suite = client.suite().await.unwrap();
    assert_eq!((suite.version, suite.known[0].version, suite.pending), (1, 2, None));
    let quota = client.quota().await.unwrap();
    assert_eq!((quota.bytes_per_second, quota.members[0].bytes_left), (1_024, Some(0)));
    let endpoints = Endpoints { consensus_endpoint: "a:1".into(), swarm_endpoint: "/dns/a/tcp/2".into() };
    assert_eq!(client.set_endpoints(&endpoints).await.unwrap().block, 7);
    assert_eq!(client.ballots().await.unwrap().len(), 2);
    assert_eq!(client.vote(1, true).await.unwrap().id, 1);
    assert_eq!(client.vote(9, false).await.unwrap_err().code(), Some(Code::AlreadyVoted));
    assert_eq!(client.log(object).await.unwrap_err().code(), Some(Code::UnknownObject));
    assert_eq!(client.stored_blocks(object).await.unwrap()[0].cid, "bafk");
    let grants = GrantRequest { to: vec![dc(2)], expires_at: None, max_openings: None, deposit: true };
    assert_eq!(client.share(object, &grants).await.unwrap().block, 4);
    client.revoke(object, dc(2)).await.unwrap();
    client.set_visibility(object, Visibility::Members).await.unwrap();
    let calls = rest.vault.calls.lock().unwrap().clone();
    let expected = [
        "endpoints a:1",
        "vote 1 true",
        "vote 9 false",
        "share 1/1 [DcId(2)] true",
        "revoke 1/1 2",
        "visibility 1/1 Members",
    ];
    assert_eq!(calls, expected);
    assert_eq!(client.block(0).await.unwrap().number, 0);
    assert_eq!(client.blocks(None, 5).await.unwrap().len(), 1);
    assert_eq!(client.block(1).await.unwrap_err().code(), Some(Code::UnknownBlock));
    let mut reports = Vec::new();
    let report =
        client.verify(Some(object), &VerifyRequest::default(), |p| reports.push(p.done)).await.unwrap();
    assert!(!report.is_clean());
    assert_eq!(reports, [0, 1, 2]);
    assert_eq!(client.verify(None, &VerifyRequest::default(), drop).await.unwrap().id, None);
    assert_eq!(client.repair(Some(object), drop).await.unwrap().repaired, ["bafk"]);
    assert_eq!(client.collect_garbage().await.unwrap(), Collected { blocks: 2, bytes: 20 });
    let owner = OpenOptions { ask_owner: true, ..OpenOptions::default() };
    assert_eq!(client.open(object, owner).await.unwrap_err().code(), Some(Code::KeyRefused));
}

/// A block's proof goes on to the next block with a certificate.
#[tokio::test]
async fn proofs_lead_to_a_certified_block() {
    let rest = Rest::new().await;
    let (client, blocks) = (&rest.client, [(); 3].map(|()| grow(&rest.ledger)));
    assert_eq!(client.block_proof(2).await.unwrap_err().code(), Some(Code::NotCertified));
    certify(&rest.ledger, &blocks[1]);
    let certificate = client.certificate(2).await.unwrap();
    assert_eq!((certificate.hash, certificate.view, certificate.parent_view), (blocks[1].hash(), 9, 8));
    assert_eq!(client.certificate(1).await.unwrap_err().code(), Some(Code::NotCertified));
    for (number, headers) in [(1, 2), (2, 1)] {
        let proof = client.block_proof(number).await.unwrap();
        assert_eq!((proof.block.headers.len(), &proof.block.certificate), (headers, &certificate));
        assert_eq!(keccak256(&proof.block.headers[0]), blocks[number as usize - 1].hash());
        assert_eq!(keccak256(&proof.genesis), rest.ledger.genesis_block().hash());
        assert_eq!(proof.committee, None);
    }
    assert_eq!(client.block_proof(3).await.unwrap_err().code(), Some(Code::NotCertified));
}

#[tokio::test]
async fn an_opening_tells_how_far_the_node_is() {
    let rest = Rest::new().await;
    let awaited = ObjectId { owner: dc(1), number: AWAITED };
    for (version, is_told) in [(None, true), (Some(Version(2)), true), (Some(Version(1)), false)] {
        let mut reports = Vec::new();
        let options = OpenOptions { version, ..OpenOptions::default() };
        let opened = rest.client.open_with_progress(awaited, options, |p| reports.push((p.done, p.total)));
        assert_eq!(opened.await.unwrap_err().code(), Some(Code::UnknownObject));
        assert_eq!(reports.contains(&(3, Some(9))), is_told, "{version:?}");
    }
}

#[tokio::test]
async fn a_node_that_is_away_or_another_server_is_told_apart() {
    let rest = Rest::new().await;
    let wrong = Client::new(&rest.url(""), Token::random().reveal()).unwrap();
    assert_eq!(wrong.ballots().await.unwrap_err().code(), Some(Code::Unauthenticated));
    let address = rest.server.address();
    rest.server.stop().await;
    let error = rest.client.ballots().await.unwrap_err();
    assert!(error.is_unreachable() && error.hint().is_some(), "{error}");
    assert!(matches!(Client::new("localhost", "x"), Err(ClientError::Address(_))));
    assert!(!format!("{:?}", rest.client).contains(rest.token.reveal()), "{address}");
}
