//! Speaks a node's REST interface for the command line and for tests.
//!
//! Typed requests and answers in the words of [`hansa_api`], progress of long operations, content in constant
//! memory. Files arrive complete or not at all, and replace nothing that was not named. No retries: the caller knows whether
//! doing it again is right.

mod destination;
mod error;
mod feed;
mod left_out;
mod open;
mod pack;
mod put;
mod scratch;
mod unpack;
mod wire;

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use hansa_api::{
    Ballot, BallotPreview, BlockSummary, Collected, Fetching, GrantRequest, Health, IndexStatus, Invitation,
    LogEntry, Motion, NodeStatus, ObjectPage, ObjectSummary, ObjectsRequest, Progress, QuotaStatus, Recorded,
    RepairReport, StoredBlock, SuiteStatus, VerifyReport, VerifyRequest, VisibilityRequest, VoteRequest,
};
use hansa_types::{BlockProof, Certificate, DcId, Endpoints, Member, ObjectId, Version, Visibility};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::Serialize;

use self::wire::Wire;

pub use self::{
    destination::Destination,
    error::ClientError,
    left_out::LeftOut,
    open::{Opened, Saved},
    pack::Special,
    put::{PutOptions, Source},
};

/// How often an opening asks how far it is.
const FETCHING_INTERVAL: Duration = Duration::from_millis(250);

/// A member's connection to its own node. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Client {
    wire: Wire,
}

/// How to open an object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// The latest where `None`.
    pub version: Option<Version>,
    /// Skips the opening on the chain and asks the owner's node alone.
    pub ask_owner: bool,
}

impl Client {
    /// A client for the node at `base` (`http://HOST:PORT`) with its token.
    ///
    /// # Errors
    /// When `base` is no such URL or the token is no header value.
    pub fn new(base: &str, token: &str) -> Result<Self, ClientError> {
        Ok(Self { wire: Wire::new(base, token)? })
    }

    /// Whether the node can do its work; also where it answers that it cannot.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.wire.fetch_any(Method::GET, "health").await
    }

    /// How the node stands.
    ///
    /// # Errors
    /// The node's, or that it cannot be reached; so for every method.
    pub async fn status(&self) -> Result<NodeStatus, ClientError> {
        self.wire.fetch(Method::GET, "status").await
    }

    /// The consortium's members.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn members(&self) -> Result<Vec<Member>, ClientError> {
        self.wire.fetch(Method::GET, "members").await
    }

    /// The invitation of an admitted member.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn invitation(&self, member: DcId) -> Result<Invitation, ClientError> {
        self.wire.fetch(Method::GET, &format!("members/{member}/invitation")).await
    }

    /// Changes where this member's node is reached.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn set_endpoints(&self, endpoints: &Endpoints) -> Result<Recorded, ClientError> {
        self.wire.send("members/self/endpoints", endpoints).await
    }

    /// Versions of the system contracts: in force, decided, and known to the node.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn suite(&self) -> Result<SuiteStatus, ClientError> {
        self.wire.fetch(Method::GET, "suite").await
    }

    /// The quotas of all members.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn quota(&self) -> Result<QuotaStatus, ClientError> {
        self.wire.fetch(Method::GET, "quota").await
    }

    /// Opens a ballot.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn open_ballot(&self, motion: &Motion) -> Result<Ballot, ClientError> {
        self.wire.send("ballots", motion).await
    }

    /// Previews the consequences of a ballot. Sends nothing to the chain.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn preview_ballot(&self, motion: &Motion) -> Result<BallotPreview, ClientError> {
        self.wire.send("ballots/preview", motion).await
    }

    /// All ballots.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn ballots(&self) -> Result<Vec<Ballot>, ClientError> {
        self.wire.fetch(Method::GET, "ballots").await
    }

    /// Casts this member's vote.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn vote(&self, ballot: u64, support: bool) -> Result<Ballot, ClientError> {
        self.wire.send(&format!("ballots/{ballot}/votes"), &VoteRequest { support }).await
    }

    /// A page of the objects.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn objects(&self, request: &ObjectsRequest) -> Result<ObjectPage, ClientError> {
        self.wire.fetch(Method::GET, &format!("objects?{}", query(request))).await
    }

    /// How the node's index stands.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn index(&self) -> Result<IndexStatus, ClientError> {
        self.wire.fetch(Method::GET, "index").await
    }

    /// Has the node's index read the chain again from its genesis block. Does not wait for the end.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn rebuild_index(&self) -> Result<IndexStatus, ClientError> {
        self.wire.fetch(Method::POST, "index/rebuild").await
    }

    /// One object as the list shows it. Nothing is opened by it.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn object(&self, object: ObjectId) -> Result<ObjectSummary, ClientError> {
        self.wire.fetch(Method::GET, &format!("objects/{object}/summary")).await
    }

    /// The versions whose blocks the node is fetching from other members: what an opening waits for.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn fetching(&self) -> Result<Vec<Fetching>, ClientError> {
        self.wire.fetch(Method::GET, "fetches").await
    }

    /// An object's history, oldest first.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn log(&self, object: ObjectId) -> Result<Vec<LogEntry>, ClientError> {
        self.wire.fetch(Method::GET, &format!("objects/{object}/log")).await
    }

    /// The blocks of an object's latest version that this node keeps.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn stored_blocks(&self, object: ObjectId) -> Result<Vec<StoredBlock>, ClientError> {
        self.wire.fetch(Method::GET, &format!("objects/{object}/blocks")).await
    }

    /// A finalised block in short.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn block(&self, number: u64) -> Result<BlockSummary, ClientError> {
        self.wire.fetch(Method::GET, &format!("blocks/{number}")).await
    }

    /// The certificate of a block that has one of its own.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn certificate(&self, number: u64) -> Result<Certificate, ClientError> {
        self.wire.fetch(Method::GET, &format!("blocks/{number}/certificate")).await
    }

    /// The proof of a block and of its writer. The caller checks it with `hansa-proof`.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn block_proof(&self, number: u64) -> Result<BlockProof, ClientError> {
        self.wire.fetch(Method::GET, &format!("blocks/{number}/proof")).await
    }

    /// Finalised blocks from a height on; the last ones where `from` is `None`.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn blocks(&self, from: Option<u64>, limit: u32) -> Result<Vec<BlockSummary>, ClientError> {
        let from = from.map(|from| format!("&from={from}")).unwrap_or_default();
        self.wire.fetch(Method::GET, &format!("blocks?limit={limit}{from}")).await
    }

    /// Grants.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn share(&self, object: ObjectId, grants: &GrantRequest) -> Result<Recorded, ClientError> {
        self.wire.send(&format!("objects/{object}/grants"), grants).await
    }

    /// Takes a grant back.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn revoke(&self, object: ObjectId, from: DcId) -> Result<Recorded, ClientError> {
        self.wire.fetch(Method::DELETE, &format!("objects/{object}/grants/{from}")).await
    }

    /// Sets who may open an object.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn set_visibility(
        &self,
        object: ObjectId,
        visibility: Visibility,
    ) -> Result<Recorded, ClientError> {
        self.wire.send(&format!("objects/{object}/visibility"), &VisibilityRequest { visibility }).await
    }

    /// Compares replicas with the chain; all that this node keeps where `object` is `None`. Faults are a result.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn verify(
        &self,
        object: Option<ObjectId>,
        request: &VerifyRequest,
        progress: impl FnMut(Progress),
    ) -> Result<VerifyReport, ClientError> {
        let request = self.wire.request(Method::POST, &operation(object, "verify")).json(request);
        self.wire.long(request, progress).await
    }

    /// Replaces this node's damaged and missing blocks; of everything where `object` is `None`.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn repair(
        &self,
        object: Option<ObjectId>,
        progress: impl FnMut(Progress),
    ) -> Result<RepairReport, ClientError> {
        let request = self.wire.request(Method::POST, &operation(object, "repair")).body(Bytes::new());
        self.wire.long(request, progress).await
    }

    /// Removes the node's blocks that no version needs.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn collect_garbage(&self) -> Result<Collected, ClientError> {
        let request = self.wire.request(Method::POST, "collect-garbage").body(Bytes::new());
        self.wire.long(request, |_| {}).await
    }

    /// Opens an object. Its content follows as it is read.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn open(&self, object: ObjectId, options: OpenOptions) -> Result<Opened, ClientError> {
        let mut query = Vec::new();
        query.extend(options.version.map(|version| format!("version={version}")));
        query.extend(options.ask_owner.then(|| "ask=owner".to_owned()));
        let path = format!("objects/{object}?{}", query.join("&"));
        let response = self.wire.answer(self.wire.request(Method::GET, &path)).await?;
        Opened::new(object, response)
    }

    /// Like [`Client::open`]; `progress` is told how far the node is with what it has to fetch from other members first.
    ///
    /// # Errors
    /// See [`Client::status`].
    pub async fn open_with_progress(
        &self,
        object: ObjectId,
        options: OpenOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<Opened, ClientError> {
        let is_it =
            |f: &&Fetching| f.id == object && options.version.is_none_or(|version| f.version == version);
        let mut opened = pin!(self.open(object, options));
        loop {
            let asked = async {
                tokio::time::sleep(FETCHING_INTERVAL).await;
                self.fetching().await
            };
            tokio::select! {
                biased;
                opened = &mut opened => return opened,
                // An opening does not fail because the node cannot say how far it is.
                fetching = asked => {
                    let furthest = fetching.iter().flatten().filter(is_it).max_by_key(|f| f.progress.done);
                    furthest.into_iter().for_each(|f| progress(f.progress.clone()));
                }
            }
        }
    }
}

/// Parameters as a query. Numbers and words are written as they are in JSON.
fn query(parameters: &impl Serialize) -> String {
    let fields = match serde_json::to_value(parameters) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => return String::new(),
    };
    let pair = |(key, value): (String, serde_json::Value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{key}={}", utf8_percent_encode(&text, NON_ALPHANUMERIC))
    };
    fields.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

fn operation(object: Option<ObjectId>, verb: &str) -> String {
    match object {
        Some(object) => format!("objects/{object}/{verb}"),
        None => verb.to_owned(),
    }
}
