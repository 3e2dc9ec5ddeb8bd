//! A node's service that keeps objects in memory, unencrypted: what the REST interface is tested against.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
};

use alloy_primitives::B256;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use hansa_api::{
    Allowance, Ballot, BallotPreview, BallotState, Check, Checks, Code, Collected, Content, ContentEntry,
    Download, Fault, FaultLayer, Fetching, GrantRequest, Health, IndexStatus, Invitation, KnownSuite,
    LogEntry, LogKind, Motion, NodeStatus, ObjectKind, ObjectPage, ObjectSummary, ObjectsRequest, Problem,
    Progress, ProgressSink, PutMeta, PutReceipt, QuotaStatus, Recorded, RepairReport, RequestCount, Service,
    Stage, Standing, StoredBlock, SuiteStatus, Tally, ValidatorSet, VerifyReport, VerifyRequest,
};
use hansa_types::{DcId, Endpoints, MemberStatus, ObjectId, Version, Visibility};
use tokio::sync::watch;

pub(crate) fn dc(value: u32) -> DcId {
    DcId::new(value).unwrap()
}

type Files = Vec<(ContentEntry, Vec<u8>)>;

#[derive(Default)]
pub(crate) struct Vault {
    objects: Mutex<BTreeMap<u64, Vec<(PutMeta, Files)>>>,
    pub(crate) calls: Mutex<Vec<String>>,
    /// How often something was opened.
    pub(crate) openings: AtomicU32,
    /// How often it was asked what is being fetched.
    asked: watch::Sender<u32>,
    checks: Mutex<Checks>,
}

/// An object that no socket's buffers hold.
pub(crate) const LARGE: u64 = 98;
pub(crate) const LARGE_MIB: usize = 64;
/// An object whose opening goes on until the vault has been asked twice how far it is.
pub(crate) const AWAITED: u64 = 99;

impl Vault {
    fn objects(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<(PutMeta, Files)>>> {
        self.objects.lock().unwrap()
    }

    fn note(&self, call: impl Into<String>) {
        self.calls.lock().unwrap().push(call.into());
    }

    /// From here on the node cannot do its work.
    pub(crate) fn fail_health(&self) {
        let figures = Default::default();
        self.checks.lock().unwrap().consensus =
            Check::not_ok(Standing::Failed, "the chain stands still", "start the others", figures);
    }

    /// What was put as a version of an object.
    pub(crate) fn stored(&self, number: u64, version: usize) -> (PutMeta, Files) {
        self.objects()[&number][version - 1].clone()
    }

    async fn store(
        &self,
        number: u64,
        meta: PutMeta,
        mut content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem> {
        let read = move || {
            let mut files = Files::new();
            while let Some(entry) = content.next_entry()? {
                let (mut bytes, mut buffer) = (Vec::new(), vec![0; 10_000]);
                loop {
                    match content.read(&mut buffer)? {
                        0 => break,
                        n => bytes.extend_from_slice(&buffer[..n]),
                    }
                    progress(Progress::bytes(Stage::Encrypt, bytes.len() as u64, entry.size));
                }
                files.push((entry, bytes));
            }
            Ok::<_, std::io::Error>(files)
        };
        let files = tokio::task::spawn_blocking(read).await.unwrap();
        let files = files.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
        let size = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        let count = files.iter().filter(|(entry, _)| !entry.directory).count() as u64;
        let mut objects = self.objects();
        let versions = objects.entry(number).or_default();
        versions.push((meta, files));
        Ok(PutReceipt {
            id: ObjectId { owner: dc(1), number },
            version: Version(versions.len() as u32),
            cid: "bafy".to_owned(),
            size,
            files: count,
            transaction: B256::repeat_byte(1),
            block: 3,
            seconds: 0.5,
            replicas: vec![dc(1), dc(2), dc(3)],
            asked: 2,
        })
    }
}

fn unknown(object: ObjectId) -> Problem {
    Problem::new(Code::UnknownObject, format!("there is no object {object}"))
}

fn large(id: ObjectId) -> Download {
    let piece = Bytes::from(vec![7; 1 << 20]);
    let size = (LARGE_MIB * piece.len()) as u64;
    let entry =
        ContentEntry { path: "large".to_owned(), directory: false, executable: false, size: Some(size) };
    let pieces = (0..LARGE_MIB).map(move |_| Ok(piece.clone()));
    Download {
        id,
        version: Version(1),
        name: entry.path.clone(),
        kind: ObjectKind::File,
        entries: vec![entry],
        content: futures::stream::iter(pieces).boxed(),
    }
}

fn recorded() -> Recorded {
    Recorded { transactions: vec![B256::repeat_byte(2)], block: 4 }
}

pub(crate) fn suspend(member: u32) -> Motion {
    Motion::Standing { member: dc(member), standing: MemberStatus::Suspended }
}

fn ballot(id: u64, motion: Motion) -> Ballot {
    Ballot {
        id,
        motion,
        name: "member-5".to_owned(),
        opened_by: dc(1),
        opened_at: 8,
        closes_at: 9,
        state: BallotState::Open,
        tally: Tally { in_favour: 1, against: 0, electorate: 4 },
        voted: vec![dc(1)],
        admitted: None,
    }
}

#[async_trait]
impl Service for Vault {
    async fn status(&self) -> Result<NodeStatus, Problem> {
        Err(Problem::new(Code::NotReady, "the ledger is being opened"))
    }

    fn health(&self) -> Health {
        Health::of("1", self.checks.lock().unwrap().clone())
    }

    fn metrics(&self, requests: &[RequestCount]) -> String {
        let shown = requests.iter().map(|of| format!("{} {}: {}", of.endpoint, of.status, of.count));
        shown.collect::<Vec<_>>().join(", ")
    }

    async fn invitation(&self, member: DcId) -> Result<Invitation, Problem> {
        Err(Problem::new(Code::UnknownMember, format!("there is no member {member}")))
    }

    async fn open_ballot(&self, motion: Motion) -> Result<Ballot, Problem> {
        Ok(ballot(1, motion))
    }

    async fn suite(&self) -> Result<SuiteStatus, Problem> {
        let known = KnownSuite { version: 2, digest: B256::repeat_byte(2), ready: vec![dc(1)] };
        Ok(SuiteStatus { version: 1, pending: None, known: vec![known] })
    }

    async fn quota(&self) -> Result<QuotaStatus, Problem> {
        let used_up =
            Allowance { member: dc(1), bytes_left: Some(0), slots_left: None, free_at: Some(1_800_000_000) };
        Ok(QuotaStatus { bytes_per_second: 1_024, slots_per_second: 0, members: vec![used_up] })
    }

    async fn set_endpoints(&self, endpoints: Endpoints) -> Result<Recorded, Problem> {
        self.note(format!("endpoints {}", endpoints.consensus_endpoint));
        Ok(Recorded { transactions: vec![B256::repeat_byte(3)], block: 7 })
    }

    async fn preview_ballot(&self, motion: Motion) -> Result<BallotPreview, Problem> {
        Ok(BallotPreview {
            motion,
            name: "member-5".to_owned(),
            electorate: 4,
            needed: 3,
            before: ValidatorSet::default(),
            after: ValidatorSet::default(),
            committee: ValidatorSet::default(),
            refused: None,
        })
    }

    async fn ballots(&self) -> Result<Vec<Ballot>, Problem> {
        Ok(vec![ballot(2, suspend(3)), ballot(1, suspend(2))])
    }

    async fn vote(&self, id: u64, support: bool) -> Result<Ballot, Problem> {
        self.note(format!("vote {id} {support}"));
        if id == 9 { Err(Problem::new(Code::AlreadyVoted, "voted")) } else { Ok(ballot(id, suspend(2))) }
    }

    async fn objects(&self, request: ObjectsRequest) -> Result<ObjectPage, Problem> {
        let summary = |(number, versions): (&u64, &Vec<(PutMeta, Files)>)| ObjectSummary {
            id: ObjectId { owner: dc(1), number: *number },
            version: Version(versions.len() as u32),
            name: versions.last().and_then(|(meta, _)| meta.name.clone()),
            kind: versions.last().map(|(meta, _)| meta.kind),
            size: None,
            size_class: 4_096,
            visibility: Visibility::Listed,
            shared_with: Vec::new(),
            grants: Vec::new(),
            cid: "bafy".to_owned(),
            created_at: 1,
            valid_until: None,
            readable: true,
        };
        if request.at_least.is_some() {
            self.note(format!("objects {request:?}"));
        }
        let limit = request.limit.unwrap_or(0) as usize;
        let skip = request.cursor.map_or(0, |cursor| cursor.parse::<usize>().unwrap());
        let all = self.objects();
        let end = skip + limit;
        let next = (end < all.len()).then(|| end.to_string());
        let objects = all.iter().map(summary).skip(skip).take(limit).collect();
        Ok(ObjectPage { objects, next, height: 7 })
    }

    async fn index(&self) -> Result<IndexStatus, Problem> {
        Ok(IndexStatus { database: "sqlite".to_owned(), height: Some(6), head: 7, ..IndexStatus::default() })
    }

    async fn rebuild_index(&self) -> Result<IndexStatus, Problem> {
        self.note("rebuild index".to_owned());
        Ok(IndexStatus { database: "sqlite".to_owned(), head: 7, ..IndexStatus::default() })
    }

    async fn summary(&self, object: ObjectId) -> Result<ObjectSummary, Problem> {
        let request = ObjectsRequest { limit: Some(1_000), ..ObjectsRequest::default() };
        let list = Service::objects(self, request).await?;
        list.objects.into_iter().find(|summary| summary.id == object).ok_or_else(|| unknown(object))
    }

    async fn put(
        &self,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem> {
        let number = self.objects().len() as u64 + 1;
        self.store(number, meta, content, progress).await
    }

    async fn update(
        &self,
        object: ObjectId,
        meta: PutMeta,
        content: Box<dyn Content>,
        progress: ProgressSink,
    ) -> Result<PutReceipt, Problem> {
        // Refuses before it has read anything, as the real one does.
        if object.owner != dc(1) {
            return Err(Problem::new(Code::NotOwner, format!("{object} is not ours")));
        }
        if !self.objects().contains_key(&object.number) {
            return Err(unknown(object));
        }
        let name = self.objects()[&object.number].last().and_then(|(meta, _)| meta.name.clone());
        self.store(object.number, PutMeta { name: meta.name.or(name), ..meta }, content, progress).await
    }

    async fn open(
        &self,
        object: ObjectId,
        version: Option<Version>,
        ask_owner: bool,
    ) -> Result<Download, Problem> {
        self.openings.fetch_add(1, Ordering::Relaxed);
        if object.number == AWAITED {
            let mut asked = self.asked.subscribe();
            let before = *asked.borrow();
            asked.wait_for(|times| *times >= before + 2).await.unwrap();
        }
        if object.number == LARGE {
            return Ok(large(object));
        }
        if ask_owner {
            return Err(Problem::new(Code::KeyRefused, "the owner says no"));
        }
        let objects = self.objects();
        let versions = objects.get(&object.number).ok_or_else(|| unknown(object))?;
        let version = version.unwrap_or(Version(versions.len() as u32));
        let (meta, files) = versions.get((version.0 as usize).wrapping_sub(1)).ok_or_else(|| {
            Problem::new(Code::UnknownVersion, format!("{object} has no version {version}"))
        })?;
        let entries = files.iter().map(|(entry, bytes)| ContentEntry {
            size: (!entry.directory).then_some(bytes.len() as u64),
            ..entry.clone()
        });
        // Pieces that respect no file's end; an object named `broken` ends too early.
        let mut bytes: Vec<u8> = files.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        if meta.name.as_deref() == Some("broken") {
            bytes.truncate(bytes.len() / 2);
        }
        let pieces: Vec<_> = bytes.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Ok(Download {
            id: object,
            version,
            name: meta.name.clone().unwrap_or_default(),
            kind: meta.kind,
            entries: entries.collect(),
            content: futures::stream::iter(pieces).boxed(),
        })
    }

    async fn log(&self, object: ObjectId) -> Result<Vec<LogEntry>, Problem> {
        if !self.objects().contains_key(&object.number) {
            return Err(unknown(object));
        }
        let entry = LogEntry {
            kind: LogKind::Refused,
            version: Some(Version(1)),
            dc_id: Some(dc(3)),
            reason: Some("notGranted".to_owned()),
            refused_by: None,
            detail: "no grant".to_owned(),
            block: 5,
            timestamp: 6,
            transaction: B256::ZERO,
        };
        Ok(vec![entry])
    }

    async fn fetching(&self) -> Result<Vec<Fetching>, Problem> {
        self.asked.send_modify(|times| *times += 1);
        let (id, version) = (ObjectId { owner: dc(1), number: AWAITED }, Version(2));
        Ok(vec![Fetching { id, version, progress: Progress::bytes(Stage::Fetch, 3, Some(9)) }])
    }

    async fn stored_blocks(&self, _: ObjectId) -> Result<Vec<StoredBlock>, Problem> {
        Ok(vec![StoredBlock { cid: "bafk".to_owned(), bytes: 10, file: None }])
    }

    async fn share(&self, object: ObjectId, grants: GrantRequest) -> Result<Recorded, Problem> {
        self.note(format!("share {object} {:?} {}", grants.to, grants.deposit));
        Ok(recorded())
    }

    async fn revoke(&self, object: ObjectId, from: DcId) -> Result<Recorded, Problem> {
        self.note(format!("revoke {object} {from}"));
        Ok(recorded())
    }

    async fn set_visibility(&self, object: ObjectId, visibility: Visibility) -> Result<Recorded, Problem> {
        self.note(format!("visibility {object} {visibility:?}"));
        Ok(recorded())
    }

    async fn verify(
        &self,
        object: Option<ObjectId>,
        _: VerifyRequest,
        progress: ProgressSink,
    ) -> Result<VerifyReport, Problem> {
        for done in 0..3 {
            progress(Progress { stage: Stage::Verify, done, total: Some(3), unit: "blocks".to_owned() });
        }
        let fault = Fault {
            layer: FaultLayer::Ipfs,
            dc_id: dc(2),
            version: Some(Version(1)),
            cid: Some("bafk".to_owned()),
            height: None,
            detail: "corrupt".to_owned(),
        };
        Ok(VerifyReport {
            id: object,
            blocks: 3,
            bytes: 30,
            nodes: vec![dc(1), dc(2)],
            faults: vec![fault],
            height: 7,
            ..VerifyReport::default()
        })
    }

    async fn repair(&self, object: Option<ObjectId>, _: ProgressSink) -> Result<RepairReport, Problem> {
        Ok(RepairReport { id: object, repaired: vec!["bafk".to_owned()], remaining: Vec::new() })
    }

    async fn collect_garbage(&self) -> Result<Collected, Problem> {
        Ok(Collected { blocks: 2, bytes: 20 })
    }
}
