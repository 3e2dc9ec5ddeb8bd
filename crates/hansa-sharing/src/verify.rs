//! Verification from the chain down to each replica's blocks (E2).
//!
//! What is wrong with one version is a finding about that version; the others are verified all the same.
//!
//! Another member's replica is believed on evidence only: its blocks are fetched from it and hashed here. Where one does
//! not come, its node is asked what it found on its disk, for the words of the report.

use std::collections::{BTreeSet, HashSet};

use alloy_primitives::B256;
use bytes::Bytes;
use cid::Cid;
use futures::{StreamExt, stream};
use hansa_api::{
    BlockFile, Fault, FaultLayer, GivenUp, Progress, ProgressSink, Stage, StoredBlock, VerifyReport,
    VerifyRequest, VerifyScope,
};
use hansa_content::{BlockStore, DAG_CBOR, DAG_PB, DagReport, links};
use hansa_contracts::abi;
use hansa_envelope::{Kind, ObjectRoot, root_cid};
use hansa_ports::SwarmFault;
use hansa_types::{DcId, Member, MemberStatus, ObjectId, Version};

use crate::{
    Sharing, SharingError, allocate,
    content::decrypt,
    message::{Answer, Request, decode, encode},
    replicate::{Bounds, Verdict, VersionId},
    sharing::Inner,
};

/// Replicas read from the disk at once.
const PAGE: usize = 1024;
/// Blocks under way from one member at the same time.
const WINDOW: usize = 8;

/// Faults in a report; more are counted.
const FAULTS_MAX: usize = 10_000;
/// Versions given up in a report.
const GIVEN_UP_MAX: usize = 1_000;
/// Object numbers read from the chain at once.
const NUMBERS: u64 = 1_000;

pub(crate) const MALFORMED: &str =
    "malformed: the bytes hash to the block's CID and are not what it says; its owner recorded no object";

/// Collects what is found.
struct Findings {
    report: VerifyReport,
    /// What is in the report.
    seen: HashSet<(DcId, Version, Option<Cid>, String)>,
    nodes: BTreeSet<DcId>,
    progress: ProgressSink,
}

impl Findings {
    fn fault(
        &mut self,
        layer: FaultLayer,
        dc_id: DcId,
        version: Version,
        cid: Option<Cid>,
        detail: impl Into<String>,
    ) {
        let detail = detail.into();
        if self.report.faults.len() >= FAULTS_MAX {
            self.report.faults_more = self.report.faults_more.saturating_add(1);
        } else if self.seen.insert((dc_id, version, cid, detail.clone())) {
            let cid = cid.map(|cid| cid.to_string());
            let fault = Fault { layer, dc_id, version: Some(version), cid, height: None, detail };
            self.report.faults.push(fault);
        }
    }

    fn read(&mut self, blocks: u64, bytes: u64) {
        self.report.blocks = self.report.blocks.saturating_add(blocks);
        self.report.bytes = self.report.bytes.saturating_add(bytes);
        (self.progress)(Progress::bytes(Stage::Verify, self.report.bytes, None));
    }
}

impl Sharing {
    /// Compares an object's records, and every replica's blocks with them. Where `object` is `None`: of all versions of this
    /// member's own objects, and of all that this node keeps for others. Faults are a result, not an error.
    ///
    /// # Errors
    /// When the object or version does not exist, or this node itself fails.
    pub async fn verify(
        &self,
        object: Option<ObjectId>,
        request: VerifyRequest,
        progress: ProgressSink,
    ) -> Result<VerifyReport, SharingError> {
        let me = self.0.contracts.me().await?.dc_id;
        let height = self.0.contracts.chain.head().await?.number;
        let report = VerifyReport { id: object, height, ..VerifyReport::default() };
        let mut findings = Findings { report, seen: HashSet::new(), nodes: BTreeSet::new(), progress };
        for id in self.0.targets(me, object, request.version).await? {
            let count = match id.object.owner == me {
                true => &mut findings.report.own_versions,
                false => &mut findings.report.replica_versions,
            };
            *count = count.saturating_add(1);
            self.0.verify_version(me, id, request.scope, &mut findings).await?;
        }
        if object.is_none() {
            let given_up = self.0.table().all_given_up(None, GIVEN_UP_MAX)?;
            findings.report.given_up = given_up.into_iter().map(given_up_version).collect();
        }
        if let (Some(object), Some(digest)) = (object, request.copy_digest) {
            self.verify_copy(me, object, request.version, digest, &mut findings).await?;
        }
        findings.report.nodes = findings.nodes.into_iter().collect();
        Ok(findings.report)
    }

    /// Compares the business system's copy of a file (its SHA-256) with an own object (E3).
    async fn verify_copy(
        &self,
        me: DcId,
        object: ObjectId,
        version: Option<Version>,
        digest: B256,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        let record = self.0.contracts.record(object, version).await?;
        let version = Version(record.version);
        if me != object.owner {
            return Err(SharingError::NotOwner(object));
        }
        let key = self.0.keyring.key(object, record.keyEpoch)?;
        let key = key.ok_or(SharingError::KeyMissing { object, epoch: record.keyEpoch })?;
        let opened = self.unlock(object, &record, &key).await?;
        if opened.manifest.kind != Kind::File {
            findings.fault(
                FaultLayer::DataCentre,
                me,
                version,
                None,
                "a folder has no single digest to compare",
            );
            return Ok(());
        }
        let mut content = opened.content();
        let mut sum = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        while let Some(piece) = content.next().await {
            sum.update(&piece?);
        }
        if sum.finish().as_ref() != digest.as_slice() {
            findings.fault(FaultLayer::DataCentre, me, version, None, "the copy differs from the object");
        }
        Ok(())
    }

    /// The blocks of an object's newest version that are on this node's disk.
    ///
    /// # Errors
    /// When the object does not exist.
    pub async fn stored_blocks(&self, object: ObjectId) -> Result<Vec<StoredBlock>, SharingError> {
        let root = root_cid(self.0.contracts.record(object, None).await?.root);
        let store = self.0.store.clone();
        Inner::blocking(move || walk_local(&store, root)).await
    }
}

impl Inner {
    /// The versions to look at: the named ones, or all own ones and all that this node keeps for others.
    pub(crate) async fn targets(
        &self,
        me: DcId,
        object: Option<ObjectId>,
        version: Option<Version>,
    ) -> Result<BTreeSet<VersionId>, SharingError> {
        let Some(object) = object else {
            let mut targets = self.kept_versions()?;
            targets.extend(self.own_versions(me).await?);
            return Ok(targets);
        };
        let latest = self.contracts.latest(object).await?;
        match version {
            None => Ok((1..=latest.0).map(|v| VersionId::new(object, Version(v))).collect()),
            Some(version) if version.0 >= 1 && version <= latest => {
                Ok([VersionId::new(object, version)].into())
            }
            Some(version) => Err(SharingError::UnknownVersion(object, version)),
        }
    }

    /// All other members' versions whose roots are pinned here.
    fn kept_versions(&self) -> Result<BTreeSet<VersionId>, SharingError> {
        let mut kept = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.table().replicas(after, PAGE)?;
            kept.extend(page.iter().map(|(id, _)| *id));
            after = page.last().map(|(id, _)| *id);
            if page.len() < PAGE {
                return Ok(kept);
            }
        }
    }

    /// All versions of this member's objects that the chain has.
    async fn own_versions(&self, me: DcId) -> Result<Vec<VersionId>, SharingError> {
        let mut own = Vec::new();
        let mut skip = 0_u64;
        loop {
            let numbers = self.contracts.numbers_after(me, skip, NUMBERS).await?;
            for number in &numbers {
                let object = ObjectId { owner: me, number: *number };
                let latest = self.contracts.latest(object).await?;
                own.extend((1..=latest.0).map(|version| VersionId::new(object, Version(version))));
            }
            skip = skip.saturating_add(numbers.len() as u64);
            if (numbers.len() as u64) < NUMBERS {
                return Ok(own);
            }
        }
    }

    /// A version's record; `None` where the chain has none.
    pub(crate) async fn known_record(
        &self,
        id: VersionId,
    ) -> Result<Option<abi::RecordedVersion>, SharingError> {
        match self.contracts.record(id.object, Some(id.version)).await {
            Err(SharingError::UnknownObject(_) | SharingError::UnknownVersion(..)) => Ok(None),
            other => other.map(Some),
        }
    }

    async fn verify_version(
        &self,
        me: DcId,
        id: VersionId,
        scope: VerifyScope,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        let VersionId { object, version } = id;
        // A pin whose record never became final is no replica of anything.
        let Some(record) = self.known_record(id).await? else { return Ok(()) };
        let root = root_cid(record.root);
        let commitment = self.contracts.commitment(object, &record).await?;
        if commitment.is_none() {
            let detail = "the record in the contract's state differs from the event on the chain";
            findings.fault(FaultLayer::Consortium, me, version, None, detail);
        }
        if let Some(verdict) = self.verdict(id)? {
            let detail = format!("given up: {verdict}");
            findings.fault(FaultLayer::Ipfs, object.owner, version, Some(root), detail);
            return Ok(());
        }
        let members = self.contracts.chain.members().await?;
        let allocated = allocate(object, &members);
        if allocated.contains(&me) || self.store.is_pinned(&root)? {
            self.verify_here(me, object, &record, commitment, findings).await?;
        }
        if scope == VerifyScope::Local {
            return Ok(());
        }
        for member in members.iter().filter(|m| m.status == MemberStatus::Active && m.dc_id != me) {
            if allocated.contains(&member.dc_id) || self.peer_holds(member, root).await {
                self.verify_there(member, version, root, findings).await?;
            }
        }
        Ok(())
    }

    /// Reads everything below a root from a store.
    pub(crate) async fn check_dag(store: &BlockStore, root: Cid) -> Result<DagReport, SharingError> {
        let store = store.clone();
        Self::blocking(move || Ok(store.check_dag(&root, |_| ())?)).await
    }

    /// This node's own blocks, and for an own object the content behind them.
    async fn verify_here(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        commitment: Option<B256>,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        findings.nodes.insert(me);
        let (version, root) = (Version(record.version), root_cid(record.root));
        let report = Self::check_dag(&self.store, root).await?;
        findings.read(report.blocks, report.bytes);
        for cid in &report.damaged {
            findings.fault(
                FaultLayer::Ipfs,
                me,
                version,
                Some(*cid),
                "corrupt: the bytes do not hash to the block's CID",
            );
        }
        for cid in &report.missing {
            findings.fault(FaultLayer::Ipfs, me, version, Some(*cid), "missing from the block store");
        }
        for cid in &report.malformed {
            findings.fault(FaultLayer::Ipfs, object.owner, version, Some(*cid), MALFORMED);
        }
        if me == object.owner
            && report.is_healthy()
            && let Some(commitment) = commitment
        {
            self.verify_content(me, object, record, commitment, findings).await?;
        }
        Ok(())
    }

    /// Decrypts an own object and compares it with its manifest and the commitment on the chain.
    async fn verify_content(
        &self,
        me: DcId,
        object: ObjectId,
        record: &abi::RecordedVersion,
        commitment: B256,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        let version = Version(record.version);
        let Some(key) = self.keyring.key(object, record.keyEpoch)? else {
            findings.fault(FaultLayer::DataCentre, me, version, None, "this node has lost the object's key");
            return Ok(());
        };
        let (store, chain_id) = (self.store.clone(), self.contracts.chain.chain_id());
        let root_digest = record.root;
        let outcome = Self::blocking(move || {
            check_content(&store, root_digest, commitment, &key, chain_id, object, version)
        })
        .await;
        match outcome {
            Ok(()) => Ok(()),
            Err(SharingError::Damaged { what, .. }) => {
                findings.fault(FaultLayer::Consortium, me, version, None, what);
                Ok(())
            }
            Err(other) => Err(other),
        }
    }

    /// Another member's blocks, fetched from it one by one.
    async fn verify_there(
        &self,
        member: &Member,
        version: Version,
        root: Cid,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        findings.nodes.insert(member.dc_id);
        let peer = member.card.network_key;
        let mut walk = Walk::new(root);
        while let Some(batch) = walk.next() {
            let fetches =
                batch.into_iter().map(|cid| async move { (cid, self.swarm.fetch_from(peer, cid).await) });
            let mut fetched = stream::iter(fetches).buffer_unordered(WINDOW);
            while let Some((cid, outcome)) = fetched.next().await {
                let bytes = match outcome {
                    Ok(bytes) => {
                        findings.read(1, bytes.len() as u64);
                        Some(bytes)
                    }
                    Err(SwarmFault::Unreachable) => {
                        let detail = "unreachable: its node does not answer";
                        findings.fault(FaultLayer::Ipfs, member.dc_id, version, None, detail);
                        return Ok(());
                    }
                    Err(_) => {
                        walk.absent.insert(cid);
                        self.structure(cid).await
                    }
                };
                if let Some(bytes) = bytes {
                    walk.enter(&cid, &bytes);
                }
            }
        }
        for cid in &walk.malformed {
            findings.fault(FaultLayer::Ipfs, member.dc_id, version, Some(*cid), MALFORMED);
        }
        if !walk.waiting.is_empty() {
            let detail = "more blocks below the root than an object of its size has; the rest was not read";
            findings.fault(FaultLayer::Ipfs, member.dc_id, version, Some(root), detail);
        }
        if !walk.absent.is_empty() {
            self.name_faults(member, version, root, &walk.absent, findings).await;
        }
        Ok(())
    }

    /// What is below a block that a replica did not give, from anywhere else.
    async fn structure(&self, cid: Cid) -> Option<Bytes> {
        if !matches!(cid.codec(), DAG_CBOR | DAG_PB) {
            return None;
        }
        self.swarm.fetch(cid, &[]).await.ok()
    }

    /// Says of each block that did not come whether it is damaged or missing, as far as its node tells.
    async fn name_faults(
        &self,
        member: &Member,
        version: Version,
        root: Cid,
        absent: &BTreeSet<Cid>,
        findings: &mut Findings,
    ) {
        let answer = self.swarm.ask(member.card.network_key, encode(&Request::Check { root })).await;
        let damaged = match answer.ok().as_deref().and_then(decode) {
            Some(Answer::Checked { damaged, .. }) => damaged.into_iter().collect(),
            _ => BTreeSet::new(),
        };
        for cid in absent {
            let detail = if damaged.contains(cid) {
                "corrupt: its node found that the bytes do not hash to the block's CID"
            } else {
                "missing: its node does not serve the block"
            };
            findings.fault(FaultLayer::Ipfs, member.dc_id, version, Some(*cid), detail);
        }
    }
}

/// The way through another member's replica, as far as an object of its size goes.
struct Walk {
    waiting: Vec<Cid>,
    seen: HashSet<Cid>,
    absent: BTreeSet<Cid>,
    malformed: Vec<Cid>,
    root: Cid,
    /// How many more blocks are read.
    blocks_left: u64,
}

impl Walk {
    fn new(root: Cid) -> Self {
        Self {
            waiting: vec![root],
            seen: HashSet::from([root]),
            absent: BTreeSet::new(),
            malformed: Vec::new(),
            root,
            blocks_left: 1,
        }
    }

    /// The next blocks to fetch; none at the end, or when an object of this size has no more.
    fn next(&mut self) -> Option<Vec<Cid>> {
        let count = WINDOW.min(usize::try_from(self.blocks_left).unwrap_or(WINDOW));
        let batch = self.waiting.split_off(self.waiting.len().saturating_sub(count));
        self.blocks_left = self.blocks_left.saturating_sub(batch.len() as u64);
        (!batch.is_empty()).then_some(batch)
    }

    /// Takes in what is below a block.
    fn enter(&mut self, cid: &Cid, bytes: &Bytes) {
        if *cid == self.root {
            match ObjectRoot::decode(bytes) {
                Ok(root) => self.blocks_left = Bounds::of_sealed(root.content_length).blocks,
                Err(_) => return self.malformed.push(*cid),
            }
        }
        match links(cid, bytes) {
            Ok(below) => {
                let new = below.into_iter().map(|link| link.cid).filter(|cid| self.seen.insert(*cid));
                self.waiting.extend(new);
            }
            Err(_) => self.malformed.push(*cid),
        }
    }
}

fn given_up_version((id, verdict): (VersionId, Verdict)) -> GivenUp {
    GivenUp { id: id.object, version: id.version, reason: verdict.to_string() }
}

fn check_content(
    store: &BlockStore,
    root_digest: B256,
    commitment: B256,
    key: &hansa_envelope::AudienceKey,
    chain_id: u64,
    object: ObjectId,
    version: Version,
) -> Result<(), SharingError> {
    let damaged = |e| SharingError::opening(object, e);
    let bytes = store.expect(&root_cid(root_digest)).map_err(|e| SharingError::reading(object, e))?;
    let root = hansa_envelope::ObjectRoot::decode(&bytes).map_err(damaged)?;
    let data_key = root.data_key(key, chain_id, object, version).map_err(damaged)?;
    let keys = root.unlock(&data_key).map_err(damaged)?;
    let signed = crate::content::read_manifest(store, &root, &keys, chain_id, object, version)?;
    let manifest = signed.manifest();
    if keys.plaintext_commitment(&manifest.digest(), manifest.size)? != commitment {
        return Err(SharingError::damaged(object, "the commitment on the chain is to other content"));
    }
    decrypt(store, &root, &keys, manifest, &mut |_| true)
}

fn walk_local(store: &BlockStore, root: Cid) -> Result<Vec<StoredBlock>, SharingError> {
    let mut seen = HashSet::from([root]);
    let mut waiting = vec![root];
    let mut blocks = Vec::new();
    while let Some(cid) = waiting.pop() {
        let Some(bytes) = store.size(&cid)? else { continue };
        let file =
            store.file(&cid)?.map(|at| BlockFile { path: at.path.display().to_string(), offset: at.offset });
        blocks.push(StoredBlock { cid: cid.to_string(), bytes, file });
        if !matches!(cid.codec(), DAG_CBOR | DAG_PB) {
            continue;
        }
        if let Ok(Some(bytes)) = store.get(&cid) {
            // A malformed block has nothing below it.
            let below = links(&cid, &bytes).unwrap_or_default().into_iter().map(|link| link.cid);
            waiting.extend(below.filter(|cid| seen.insert(*cid)));
        }
    }
    Ok(blocks)
}
