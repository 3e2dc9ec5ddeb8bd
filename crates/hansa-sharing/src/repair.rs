//! Repair of this node's own blocks from other members' (E5).

use std::collections::HashSet;

use cid::Cid;
use hansa_api::{Fault, FaultLayer, Progress, ProgressSink, RepairReport, Stage};
use hansa_types::{DcId, Member, MemberStatus, ObjectId};

use crate::{Sharing, SharingError, allocate, replicate::VersionId, sharing::Inner, verify::MALFORMED};

impl Sharing {
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
        for id in self.0.targets(me, object, None).await? {
            // A pin whose record never became final is no replica of anything.
            let Some(record) = self.0.known_record(id).await? else { continue };
            let root = hansa_envelope::root_cid(record.root);
            if self.0.store.is_pinned(&root)? {
                self.0.repair_version(me, id, root, &mut report, &progress).await?;
            }
        }
        Ok(report)
    }
}

impl Inner {
    async fn repair_version(
        &self,
        me: DcId,
        id: VersionId,
        root: Cid,
        report: &mut RepairReport,
        progress: &ProgressSink,
    ) -> Result<(), SharingError> {
        let sources = self.sources(me, Some(id.object)).await?;
        let mut hopeless = HashSet::new();
        loop {
            let found = Self::check_dag(&self.store, root).await?;
            let mut mended = false;
            for cid in found
                .damaged
                .iter()
                .chain(&found.missing)
                .filter(|cid| !hopeless.contains(*cid))
                .copied()
                .collect::<Vec<_>>()
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
                let fault = |cid: &Cid, detail: &str| Fault {
                    layer: FaultLayer::Ipfs,
                    dc_id: me,
                    version: Some(id.version),
                    cid: Some(cid.to_string()),
                    height: None,
                    detail: detail.to_owned(),
                };
                let lost = |cid| fault(cid, "corrupt, and no other member has it");
                report.remaining.extend(found.damaged.iter().map(lost));
                let lost = |cid| fault(cid, "missing, and no other member has it");
                report.remaining.extend(found.missing.iter().map(lost));
                report.remaining.extend(found.malformed.iter().map(|cid| fault(cid, MALFORMED)));
                if found.is_healthy() {
                    self.table().mark_held(root.hash().digest().try_into().unwrap_or_default())?;
                    self.kv.sync()?;
                }
                return Ok(());
            }
        }
    }

    /// The other active members, those first that ought to have the object.
    pub(crate) async fn sources(
        &self,
        me: DcId,
        object: Option<ObjectId>,
    ) -> Result<Vec<Member>, SharingError> {
        let members = self.contracts.chain.members().await?;
        let allocated = object.map(|object| allocate(object, &members)).unwrap_or_default();
        let mut sources: Vec<Member> = members
            .iter()
            .filter(|member| member.status == MemberStatus::Active && member.dc_id != me)
            .cloned()
            .collect();
        sources.sort_by_key(|member| !allocated.contains(&member.dc_id));
        Ok(sources)
    }

    /// Fetches a block anew from the first member that has it.
    pub(crate) async fn repair_block(&self, cid: Cid, sources: &[Member]) -> Result<bool, SharingError> {
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
