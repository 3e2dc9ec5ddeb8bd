//! What members' nodes ask one another about replicas: who holds a version, what a check of it finds, whether one more
//! member would keep it. Only active members are answered.

use std::{sync::Arc, time::Duration};

use cid::Cid;
use hansa_kv::Batch;
use hansa_types::{DcId, Member};

use crate::{
    Responder, SharingError,
    contracts::records_of,
    message::{Answer, REPORTED_CIDS_MAX, ROOTS_MAX, Request, decode, encode},
    replicate::{Table, Task, Verdict, VersionId, recorded},
    sharing::{Holding, Inner},
};

/// How long a peer may take to say whether it holds something.
const HOLDS_SECONDS_MAX: u64 = 5;
/// How long an owner may take to hear that its versions are kept.
const TELLING_SECONDS_MAX: u64 = 5;
/// How many members besides the owner may be asked to keep a version.
const OTHERS_MAX: u32 = 255;

impl Responder {
    fn table(&self) -> Table {
        Table(Arc::clone(&self.kv))
    }

    /// Answers a member that is active.
    pub(crate) async fn about_replicas(
        &self,
        asking: &Member,
        request: Request,
    ) -> Result<Answer, SharingError> {
        match request {
            Request::Holds { roots } => self.holds(roots).await,
            Request::Check { root } => self.check(asking.dc_id, root).await,
            Request::Keep { object, version, others } => {
                self.keep(asking, VersionId::new(object, version), others).await
            }
            Request::Kept { roots } => {
                roots.iter().take(ROOTS_MAX).for_each(|root| self.notices.kept(asking.dc_id, root));
                Ok(Answer::Noted)
            }
            Request::Key { .. } => Ok(Answer::Failed { why: "a key is asked for elsewhere".to_owned() }),
        }
    }

    async fn holds(&self, roots: Vec<Cid>) -> Result<Answer, SharingError> {
        let table = self.table();
        let look_up = move || roots.into_iter().map(|root| holds(&table, &root)).collect();
        Ok(Answer::Holds { whole: Inner::blocking(look_up).await? })
    }

    async fn check(&self, asking: DcId, root: Cid) -> Result<Answer, SharingError> {
        if !self.store.is_pinned(&root)? {
            return Ok(Answer::Checked { blocks: 0, bytes: 0, damaged: vec![], missing: vec![root] });
        }
        let _line = self.lines.take(asking).await;
        let _one = self.checking.lock().await;
        let mut report = Inner::check_dag(&self.store, root).await?;
        report.damaged.truncate(REPORTED_CIDS_MAX);
        report.missing.truncate(REPORTED_CIDS_MAX);
        let (blocks, bytes) = (report.blocks, report.bytes);
        Ok(Answer::Checked { blocks, bytes, damaged: report.damaged, missing: report.missing })
    }

    /// Takes on a version that its owner wants kept here. What is not final on this node's chain is not taken on yet; the
    /// owner asks again.
    async fn keep(&self, asking: &Member, id: VersionId, others: u32) -> Result<Answer, SharingError> {
        let answer = |whole| Ok(Answer::Holds { whole: vec![whole] });
        if asking.dc_id != id.object.owner {
            return Ok(Answer::Failed { why: "only the owner may ask for a replica".to_owned() });
        }
        let Some(task) = self.recorded(id).await? else { return answer(false) };
        let table = self.table();
        if table.given_up(id)?.is_some() {
            return Ok(Answer::Failed { why: "what was recorded is no object".to_owned() });
        }
        let others = others.min(OTHERS_MAX);
        if let Some(mut replica) = table.replica(id)?.filter(|replica| replica.whole) {
            if replica.others < others {
                replica.others = others;
                let mut batch = Batch::new();
                Table::add_replica(&mut batch, id, &replica);
                self.kv.write(batch)?;
            }
            return answer(true);
        }
        if table.pending(id)?.is_none() {
            let mut batch = Batch::new();
            Table::add_pending(&mut batch, &task, others);
            self.kv.write(batch)?;
        }
        self.notices.ask(task);
        answer(false)
    }

    /// A version as this node's chain has it.
    async fn recorded(&self, id: VersionId) -> Result<Option<Task>, SharingError> {
        match self.contracts.record(id.object, Some(id.version)).await {
            Ok(_) => {}
            Err(SharingError::UnknownObject(_) | SharingError::UnknownVersion(..)) => return Ok(None),
            Err(error) => return Err(error),
        }
        let events = self.contracts.chain.events(records_of(id.object)).await?;
        Ok(events.iter().filter_map(|event| recorded(&event.log)).find(|task| task.id == id))
    }
}

fn holds(table: &Table, root: &Cid) -> Result<bool, SharingError> {
    match root.hash().digest().try_into() {
        Ok(digest) => table.holds(digest),
        Err(_) => Ok(false),
    }
}

impl Inner {
    /// Tells an owner that everything below some roots is kept here. It finds out by asking if this is lost.
    pub(crate) async fn tell_kept(&self, owner: DcId, roots: Vec<Cid>) {
        let Ok(owner) = self.contracts.member(owner).await else { return };
        let told = self.swarm.ask(owner.card.network_key, encode(&Request::Kept { roots }));
        let _ = tokio::time::timeout(Duration::from_secs(TELLING_SECONDS_MAX), told).await;
    }

    /// Whether a member's node says that it holds everything below `root`.
    pub(crate) async fn peer_holds(&self, member: &Member, root: Cid) -> bool {
        self.peer_holdings(member, vec![root]).await == [Holding::Whole]
    }

    /// What a member's node says it holds of what is below each of at most 500 roots, in their order.
    pub(crate) async fn peer_holdings(&self, member: &Member, roots: Vec<Cid>) -> Vec<Holding> {
        let count = roots.len();
        self.ask_holdings(member, &Request::Holds { roots }, count, HOLDS_SECONDS_MAX).await
    }

    /// What a member's node answers to a question about `count` holdings.
    pub(crate) async fn ask_holdings(
        &self,
        member: &Member,
        request: &Request,
        count: usize,
        seconds_max: u64,
    ) -> Vec<Holding> {
        let asked = self.swarm.ask(member.card.network_key, encode(request));
        let answer = tokio::time::timeout(Duration::from_secs(seconds_max), asked).await;
        match answer.ok().and_then(Result::ok).as_deref().and_then(decode) {
            Some(Answer::Holds { whole }) if whole.len() == count => {
                whole.into_iter().map(|whole| if whole { Holding::Whole } else { Holding::Partly }).collect()
            }
            _ => vec![Holding::Unknown; count],
        }
    }

    /// Why no node can keep a version, if this node has found that out.
    pub(crate) fn verdict(&self, id: VersionId) -> Result<Option<Verdict>, SharingError> {
        self.table().given_up(id)
    }
}
