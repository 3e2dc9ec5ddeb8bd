//! What the REST interface asks of the node, answered by its parts: objects by `hansa-sharing`, ballots by the
//! governance contract.

use std::sync::Arc;

use alloy_sol_types::{SolCall, SolEvent as _};
use async_trait::async_trait;
use futures::StreamExt as _;
use hansa_adapters::LedgerChain;
use hansa_api::{
    Ballot, BallotPreview, Code, Collected, Content, ContentEntry, Download, Fetching, GrantRequest, Health,
    IndexStatus, Invitation, LogEntry, Motion, NodeStatus, ObjectKind, ObjectPage, ObjectSummary,
    ObjectsRequest, Problem, ProgressSink, PutMeta, PutReceipt, QuotaStatus, Recorded, RepairReport,
    RequestCount, Service, StoredBlock, SuiteStatus, VerifyReport, VerifyRequest,
};
use hansa_contracts::{GOVERNANCE, REGISTRY, abi};
use hansa_envelope::{EntryKind, Kind};
use hansa_gateway::Calls;
use hansa_ledger::LedgerError;
use hansa_ports::Chain as _;
use hansa_sharing::{OpenMode, OpenedObject, Sharing};
use hansa_types::{DcId, Endpoints, ObjectId, SwarmKey, Version, Visibility};

use crate::{
    ballots,
    catalogue::Catalogue,
    identity::invite,
    metrics::Figures,
    status::{HealthReader, StatusReader},
    upgrades,
};

/// Ballots that one answer lists.
const BALLOTS_MAX: u64 = 1_000;

/// Ballots that one call of the contract reads; with their cards some 120 kB.
const BALLOTS_PAGE: u64 = 50;

/// Reads the agreement engine's metrics in the Prometheus text format.
pub(crate) type EngineMetrics = Box<dyn Fn() -> String + Send + Sync>;

/// The node's operations for its own member.
pub(crate) struct NodeService {
    pub(crate) sharing: Sharing,
    pub(crate) catalogue: Catalogue,
    pub(crate) chain: Arc<LedgerChain>,
    pub(crate) status: StatusReader,
    pub(crate) health: HealthReader,
    /// Reads the agreement engine's own metrics.
    pub(crate) engine_metrics: EngineMetrics,
    /// What JSON-RPC has answered.
    pub(crate) calls: Arc<Calls>,
    pub(crate) swarm_key: SwarmKey,
}

impl NodeService {
    async fn ballot(&self, id: u64) -> Result<Ballot, Problem> {
        let found: abi::Ballot = self.read(abi::Governance::ballotCall { id }).await?;
        ballots::described(found, &self.status.ledger.members())
    }

    /// Why a suite would be given up at its height, where the motion is an upgrade.
    async fn unfit_suite(&self, motion: &Motion) -> Result<Option<String>, Problem> {
        let Motion::Upgrade { digest, .. } = *motion else { return Ok(None) };
        let ledger = self.status.ledger.clone();
        let tried = tokio::task::spawn_blocking(move || ledger.rehearse_suite(digest)).await;
        let tried = tried.map_err(|_| Problem::new(Code::NotReady, "the node is stopping"))?;
        tried.or_else(|error| match error {
            LedgerError::SuiteMissing { .. } => Ok(Some(error.to_string())),
            error => Err(Problem::new(Code::Internal, error.to_string())),
        })
    }

    /// Calls the governance contract at the finalised head.
    async fn read<C: SolCall>(&self, call: C) -> Result<C::Return, Problem> {
        let output = self.chain.call(GOVERNANCE, call.abi_encode().into()).await.map_err(ballots::problem)?;
        C::abi_decode_returns(&output).map_err(|e| {
            Problem::new(Code::Internal, format!("the governance contract's answer cannot be read: {e}"))
        })
    }
}

fn download(opened: OpenedObject) -> Download {
    let manifest = &opened.manifest;
    let entries = manifest
        .entries
        .iter()
        .map(|entry| ContentEntry {
            path: entry.path.clone(),
            directory: entry.kind == EntryKind::Directory,
            executable: entry.executable,
            size: Some(entry.size),
        })
        .collect();
    Download {
        id: opened.object,
        version: opened.version,
        name: manifest.name.clone(),
        kind: match manifest.kind {
            Kind::File => ObjectKind::File,
            Kind::Directory => ObjectKind::Directory,
        },
        entries,
        content: opened.content().map(|piece| piece.map_err(|error| error.problem())).boxed(),
    }
}

#[async_trait]
impl Service for NodeService {
    async fn status(&self) -> Result<NodeStatus, Problem> {
        Ok(self.status.read())
    }

    fn health(&self) -> Health {
        self.health.read()
    }

    fn metrics(&self, requests: &[RequestCount]) -> String {
        let (replication, store) = (self.sharing.replication(), self.sharing.store_figures());
        let (status, health, engine) = (self.status.read(), self.health.read(), (self.engine_metrics)());
        let figures = Figures {
            status: &status,
            health: &health,
            final_height: self.status.final_height(),
            heard_seconds_ago: self.status.heard_seconds_ago(),
            fetches: self.sharing.fetching().len(),
            replication: &replication,
            store: &store,
            requests,
            calls: &self.calls,
            engine: &engine,
        };
        figures.text()
    }

    async fn invitation(&self, member: DcId) -> Result<Invitation, Problem> {
        let members = self.status.ledger.members();
        let unknown = || Problem::new(Code::UnknownMember, format!("there is no member {member}"));
        let found = members.iter().find(|m| m.dc_id == member).ok_or_else(unknown)?;
        invite(self.status.ledger.genesis(), &self.swarm_key, found)
            .map_err(|error| Problem::new(Code::UnknownMember, error.to_string()))
    }

    async fn open_ballot(&self, motion: Motion) -> Result<Ballot, Problem> {
        if let Some(reason) = self.preview_ballot(motion.clone()).await?.refused {
            return Err(Problem::new(Code::MotionRefused, reason));
        }
        let receipt =
            self.chain.submit(GOVERNANCE, ballots::opening(&motion)?).await.map_err(ballots::problem)?;
        let opened = receipt.logs.iter().find_map(|log| abi::Governance::BallotOpened::decode_log(log).ok());
        let opened =
            opened.ok_or_else(|| Problem::new(Code::Internal, "the governance contract opened no ballot"))?;
        self.ballot(opened.id).await
    }

    async fn preview_ballot(&self, motion: Motion) -> Result<BallotPreview, Problem> {
        let opened = self.chain.call(GOVERNANCE, ballots::opening(&motion)?).await.map_err(ballots::problem);
        let refused = match opened {
            Ok(_) => self.unfit_suite(&motion).await?,
            Err(problem) if problem.code == Code::MotionRefused => Some(problem.message),
            // The contract refuses a candidate for its card alone.
            Err(problem) if problem.code == Code::TransactionFailed => {
                return Err(Problem::new(Code::BadCard, problem.message));
            }
            Err(problem) => return Err(problem),
        };
        let committee = self.status.consensus.borrow().committee.clone();
        Ok(ballots::preview(motion, &self.status.ledger.members(), &committee, refused))
    }

    async fn suite(&self) -> Result<SuiteStatus, Problem> {
        upgrades::status(&self.status.ledger, &self.chain).await.map_err(ballots::problem)
    }

    async fn quota(&self) -> Result<QuotaStatus, Problem> {
        let quotas = self.status.ledger.quotas();
        let quotas = quotas.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        Ok(ballots::quota(&quotas))
    }

    async fn set_endpoints(&self, endpoints: Endpoints) -> Result<Recorded, Problem> {
        endpoints.check().map_err(|error| Problem::new(Code::BadCard, error.to_string()))?;
        let call = abi::ConsortiumRegistry::setEndpointsCall {
            consensusEndpoint: endpoints.consensus_endpoint,
            swarmEndpoint: endpoints.swarm_endpoint,
        };
        let receipt =
            self.chain.submit(REGISTRY, call.abi_encode().into()).await.map_err(ballots::problem)?;
        Ok(Recorded { transactions: vec![receipt.transaction], block: receipt.block })
    }

    async fn ballots(&self) -> Result<Vec<Ballot>, Problem> {
        let mut found: Vec<abi::Ballot> = Vec::new();
        for offset in (0..BALLOTS_MAX).step_by(BALLOTS_PAGE as usize) {
            let page = self.read(abi::Governance::ballotsCall { offset, limit: BALLOTS_PAGE }).await?;
            let is_last = (page.len() as u64) < BALLOTS_PAGE;
            // A ballot that opened meanwhile moves the others to the next page.
            let oldest = found.last().map_or(u64::MAX, |ballot| ballot.id);
            found.extend(page.into_iter().filter(|ballot| ballot.id < oldest));
            if is_last {
                break;
            }
        }
        let members = self.status.ledger.members();
        found.into_iter().map(|ballot| ballots::described(ballot, &members)).collect()
    }

    async fn vote(&self, ballot: u64, support: bool) -> Result<Ballot, Problem> {
        let call = abi::Governance::voteCall { id: ballot, support };
        self.chain.submit(GOVERNANCE, call.abi_encode().into()).await.map_err(ballots::problem)?;
        self.ballot(ballot).await
    }

    async fn objects(&self, request: ObjectsRequest) -> Result<ObjectPage, Problem> {
        self.catalogue.objects(request).await
    }

    async fn index(&self) -> Result<IndexStatus, Problem> {
        Ok(self.catalogue.status())
    }

    async fn rebuild_index(&self) -> Result<IndexStatus, Problem> {
        self.catalogue.index.rebuild();
        Ok(self.catalogue.status())
    }

    async fn summary(&self, object: ObjectId) -> Result<ObjectSummary, Problem> {
        self.sharing.summary(object).await.map_err(|e| e.problem())
    }

    async fn put(
        &self,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem> {
        self.sharing.put(meta, content, progress).await.map_err(|e| e.problem())
    }

    async fn update(
        &self,
        object: ObjectId,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem> {
        self.sharing.update(object, meta, content, progress).await.map_err(|e| e.problem())
    }

    async fn open(
        &self,
        object: ObjectId,
        version: Option<Version>,
        ask_owner: bool,
    ) -> Result<Download, Problem> {
        let how = if ask_owner { OpenMode::AskOwnerOnly } else { OpenMode::Ordinary };
        self.sharing.open(object, version, how).await.map(download).map_err(|e| e.problem())
    }

    async fn log(&self, object: ObjectId) -> Result<Vec<LogEntry>, Problem> {
        self.sharing.log(object).await.map_err(|e| e.problem())
    }

    async fn fetching(&self) -> Result<Vec<Fetching>, Problem> {
        Ok(self.sharing.fetching())
    }

    async fn stored_blocks(&self, object: ObjectId) -> Result<Vec<StoredBlock>, Problem> {
        self.sharing.stored_blocks(object).await.map_err(|e| e.problem())
    }

    async fn share(&self, object: ObjectId, grants: GrantRequest) -> Result<Recorded, Problem> {
        self.sharing.share(object, grants).await.map_err(|e| e.problem())
    }

    async fn revoke(&self, object: ObjectId, from: DcId) -> Result<Recorded, Problem> {
        self.sharing.revoke(object, from).await.map_err(|e| e.problem())
    }

    async fn set_visibility(&self, object: ObjectId, visibility: Visibility) -> Result<Recorded, Problem> {
        self.sharing.set_visibility(object, visibility).await.map_err(|e| e.problem())
    }

    async fn verify(
        &self,
        object: Option<ObjectId>,
        request: VerifyRequest,
        progress: ProgressSink,
    ) -> Result<VerifyReport, Problem> {
        self.sharing.verify(object, request, progress).await.map_err(|e| e.problem())
    }

    async fn repair(
        &self,
        object: Option<ObjectId>,
        progress: ProgressSink,
    ) -> Result<RepairReport, Problem> {
        self.sharing.repair(object, progress).await.map_err(|e| e.problem())
    }

    async fn collect_garbage(&self) -> Result<Collected, Problem> {
        self.sharing.collect_garbage().await.map_err(|e| e.problem())
    }
}
