//! Verification from the chain down to each replica's blocks (E2), and repair of this node's own (E5).
//!
//! Another member's replica is believed on evidence only: its blocks are fetched from it and hashed here. Where one does
//! not come, its node is asked what it found on its disk, for the words of the report.

use std::collections::{BTreeSet, HashSet};

use alloy_primitives::B256;
use bytes::Bytes;
use cid::Cid;
use futures::{StreamExt, stream};
use hansa_content::{BlockStore, DAG_CBOR, DAG_PB, links};
use hansa_contracts::abi;
use hansa_envelope::{Kind, root_cid};
use hansa_types::{
    DcId, Member, MemberStatus, ObjectId, Version,
    api::{
        BlockFile, Fault, FaultLayer, Progress, RepairReport, Stage, StoredBlock, VerifyReport,
        VerifyRequest, VerifyScope,
    },
};

use crate::{
    ProgressSink, Sharing, SharingError, SwarmFault, allocate,
    content::decrypt,
    message::{Answer, Request, decode, encode},
    replicate,
    sharing::Inner,
};

/// Blocks under way from one member at the same time.
const WINDOW: usize = 8;

/// One version to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    object: ObjectIdOrd,
    version: u32,
}

type ObjectIdOrd = (DcId, u64);

impl Target {
    fn new(object: ObjectId, version: Version) -> Self {
        Self { object: (object.owner, object.number), version: version.0 }
    }

    fn id(self) -> (ObjectId, Version) {
        (ObjectId { owner: self.object.0, number: self.object.1 }, Version(self.version))
    }
}

/// Collects what is found.
struct Findings {
    report: VerifyReport,
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
        let cid = cid.map(|cid| cid.to_string());
        let fault = Fault { layer, dc_id, version: Some(version), cid, height: None, detail: detail.into() };
        if !self.report.faults.contains(&fault) {
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
    /// Compares an object's records, and every replica's blocks with them; of all that this node keeps where `object` is
    /// `None`. Faults are a result, not an error.
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
        let report = VerifyReport { id: object, blocks: 0, bytes: 0, nodes: vec![], faults: vec![], height };
        let mut findings = Findings { report, nodes: BTreeSet::new(), progress };
        for target in self.0.targets(object, request.version).await? {
            self.0.verify_version(me, target, request.scope, &mut findings).await?;
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

    /// Replaces this node's damaged and missing blocks of an object, or of all that it keeps, by healthy ones from other
    /// members.
    ///
    /// # Errors
    /// When the object does not exist, or this node itself fails. What could not be repaired is in the report.
    pub async fn repair(
        &self,
        object: Option<ObjectId>,
        progress: ProgressSink,
    ) -> Result<RepairReport, SharingError> {
        let me = self.0.contracts.me().await?.dc_id;
        let mut report = RepairReport { id: object, repaired: Vec::new(), remaining: Vec::new() };
        for target in self.0.targets(object, None).await? {
            let (object, version) = target.id();
            let root = root_cid(self.0.contracts.record(object, Some(version)).await?.root);
            if self.0.store.is_pinned(&root)? {
                self.0.repair_version(me, object, version, root, &mut report, &progress).await?;
            }
        }
        Ok(report)
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
    /// The versions to look at: the named ones, or all that this node keeps.
    async fn targets(
        &self,
        object: Option<ObjectId>,
        version: Option<Version>,
    ) -> Result<BTreeSet<Target>, SharingError> {
        let Some(object) = object else {
            let pins = self.store.pins()?;
            let kept = pins.iter().filter_map(|pin| replicate::parse_label(&pin.label));
            return Ok(kept.map(|(object, version)| Target::new(object, version)).collect());
        };
        let latest = self.contracts.latest(object).await?;
        match version {
            None => Ok((1..=latest.0).map(|v| Target::new(object, Version(v))).collect()),
            Some(version) if version.0 >= 1 && version <= latest => Ok([Target::new(object, version)].into()),
            Some(version) => Err(SharingError::UnknownVersion(object, version)),
        }
    }

    async fn verify_version(
        &self,
        me: DcId,
        target: Target,
        scope: VerifyScope,
        findings: &mut Findings,
    ) -> Result<(), SharingError> {
        let (object, version) = target.id();
        let record = match self.contracts.record(object, Some(version)).await {
            // A pin whose record never became final is no replica of anything.
            Err(SharingError::UnknownObject(_) | SharingError::UnknownVersion(..)) => return Ok(()),
            other => other?,
        };
        let root = root_cid(record.root);
        let commitment = self.contracts.commitment(object, &record).await?;
        if commitment.is_none() {
            let detail = "the record in the contract's state differs from the event on the chain";
            findings.fault(FaultLayer::Consortium, me, version, None, detail);
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
        let store = self.store.clone();
        let report = Self::blocking(move || Ok(store.check_dag(&root, |_| ())?)).await?;
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
        let mut seen = HashSet::from([root]);
        let mut waiting = vec![root];
        let mut absent = Vec::new();
        while !waiting.is_empty() {
            let batch: Vec<Cid> = waiting.split_off(waiting.len().saturating_sub(WINDOW));
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
                        findings.fault(
                            FaultLayer::Ipfs,
                            member.dc_id,
                            version,
                            None,
                            "unreachable: its node does not answer",
                        );
                        return Ok(());
                    }
                    Err(_) => {
                        absent.push(cid);
                        self.structure(cid).await
                    }
                };
                let below = bytes.and_then(|bytes| links(&cid, &bytes).ok()).unwrap_or_default();
                waiting.extend(below.into_iter().map(|link| link.cid).filter(|cid| seen.insert(*cid)));
            }
        }
        if !absent.is_empty() {
            self.name_faults(member, version, root, &absent, findings).await;
        }
        Ok(())
    }

    /// What is below a block that a replica did not give, from anywhere else.
    async fn structure(&self, cid: Cid) -> Option<Bytes> {
        if !matches!(cid.codec(), DAG_CBOR | DAG_PB) {
            return None;
        }
        self.swarm.fetch(cid).await.ok()
    }

    /// Says of each block that did not come whether it is damaged or missing, as far as its node tells.
    async fn name_faults(
        &self,
        member: &Member,
        version: Version,
        root: Cid,
        absent: &[Cid],
        findings: &mut Findings,
    ) {
        let answer = self.swarm.ask(member.card.network_key, encode(&Request::Check { root })).await;
        let damaged = match answer.ok().as_deref().and_then(decode) {
            Some(Answer::Checked { damaged, .. }) => damaged,
            _ => Vec::new(),
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

    async fn repair_version(
        &self,
        me: DcId,
        object: ObjectId,
        version: Version,
        root: Cid,
        report: &mut RepairReport,
        progress: &ProgressSink,
    ) -> Result<(), SharingError> {
        let sources = self.sources(me, object).await?;
        let mut hopeless = HashSet::new();
        loop {
            let store = self.store.clone();
            let found = Self::blocking(move || Ok(store.check_dag(&root, |_| ())?)).await?;
            let faults: Vec<(Cid, &str)> = found
                .damaged
                .iter()
                .map(|cid| (*cid, "corrupt"))
                .chain(found.missing.iter().map(|cid| (*cid, "missing")))
                .collect();
            let mut mended = false;
            for (cid, _) in
                faults.iter().filter(|(cid, _)| !hopeless.contains(cid)).copied().collect::<Vec<_>>()
            {
                if self.repair_block(cid, &sources).await? {
                    mended = true;
                    report.repaired.push(cid.to_string());
                    progress(Progress {
                        stage: Stage::Repair,
                        done: report.repaired.len() as u64,
                        total: None,
                        unit: "blocks".to_owned(),
                    });
                } else {
                    hopeless.insert(cid);
                }
            }
            // What is below a mended block is seen only by looking again.
            if !mended {
                report.remaining.extend(faults.into_iter().map(|(cid, what)| Fault {
                    layer: FaultLayer::Ipfs,
                    dc_id: me,
                    version: Some(version),
                    cid: Some(cid.to_string()),
                    height: None,
                    detail: format!("{what}, and no other member has it"),
                }));
                if found.is_healthy() {
                    replicate::mark_held(&*self.kv, root)?;
                    self.kv.sync()?;
                }
                return Ok(());
            }
        }
    }

    /// The other active members, those first that ought to have the object.
    async fn sources(&self, me: DcId, object: ObjectId) -> Result<Vec<Member>, SharingError> {
        let members = self.contracts.chain.members().await?;
        let allocated = allocate(object, &members);
        let mut sources: Vec<Member> = members
            .iter()
            .filter(|member| member.status == MemberStatus::Active && member.dc_id != me)
            .cloned()
            .collect();
        sources.sort_by_key(|member| !allocated.contains(&member.dc_id));
        Ok(sources)
    }

    async fn repair_block(&self, cid: Cid, sources: &[Member]) -> Result<bool, SharingError> {
        for member in sources {
            if let Ok(healthy) = self.swarm.fetch_from(member.card.network_key, cid).await {
                let store = self.store.clone();
                Self::blocking(move || Ok(store.repair(&cid, healthy)?)).await?;
                tracing::info!(%cid, from = %member.dc_id, "repaired a block");
                return Ok(true);
            }
        }
        Ok(false)
    }
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
    let context = hansa_envelope::DekContext {
        chain_id,
        object,
        version,
        epoch: root.key_epoch,
        key_commitment: root.key_commitment,
    };
    let keys = root.unlock(key, context).map_err(damaged)?;
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
            let below = links(&cid, &bytes)?.into_iter().map(|link| link.cid);
            waiting.extend(below.filter(|cid| seen.insert(*cid)));
        }
    }
    Ok(blocks)
}
