//! Waits for the replicas of a version that was just recorded (E6). Members are asked in the order of the allocation; for
//! one that is away or slow the next one is asked. Keepers tell when they have all; asking is the fallback.

use std::time::Duration;

use cid::Cid;
use futures::{StreamExt, stream::FuturesUnordered};
use hansa_api::{Progress, ProgressSink, Stage};
use hansa_types::{DcId, Member};
use tokio::time::{Instant, sleep_until, timeout};

use crate::{
    REPLICAS_OTHER, SharingError,
    allocation::rank,
    message::Request,
    notices::Awaited,
    replicate::VersionId,
    sharing::{Holding, Inner},
};

/// How long a member may take to answer before it counts as silent.
const ANSWER_SECONDS_MAX: u64 = 2;
/// How often a member may be silent before it counts as away.
const SILENCES_MAX: u32 = 2;
/// How many times the receipt waits for late members.
const LATE_MAX: u64 = 5;

/// A version whose replicas are waited for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) id: VersionId,
    pub(crate) root: Cid,
    /// Bytes that each keeper has to fetch.
    pub(crate) bytes: u64,
    /// How many members besides the owner are to keep it; `None`: as the allocation says.
    pub(crate) others: Option<u32>,
}

/// Who keeps a version.
pub(crate) struct Keepers {
    /// All known keepers, the owner included, in the order of their `dcId`.
    pub(crate) members: Vec<DcId>,
    /// How many besides the owner were asked for.
    pub(crate) asked: u32,
}

impl Inner {
    /// Waits until as many other members as wanted keep all of a version, or the missing ones are away or late.
    pub(crate) async fn await_keepers(
        &self,
        wanted: Wanted,
        progress: &ProgressSink,
    ) -> Result<Keepers, SharingError> {
        let members = self.contracts.chain.members().await?;
        let order = rank(wanted.id.object, &members);
        let asked = wanted.others.unwrap_or_else(|| count(order.len().min(REPLICAS_OTHER)));
        let awaited = self.notices.await_keepers(wanted.root);
        let mut keepers = vec![wanted.id.object.owner];
        let mut candidates = order.iter().zip(0..).filter_map(|(id, place)| {
            let member = members.iter().find(|member| member.dc_id == *id)?;
            Some(self.persuade(member, place, asked, wanted, &awaited))
        });
        let mut asking = FuturesUnordered::new();
        let settings = &self.settings.replication;
        let transfer = wanted.bytes.checked_div(settings.late_bytes_per_second).unwrap_or_default();
        let late = Duration::from_secs(settings.late_seconds.saturating_add(transfer));
        let (mut spare, mut lates) = (0_u32, 0);
        let mut next_late = Instant::now().checked_add(late);
        loop {
            let kept = count(keepers.len()).saturating_sub(1);
            report(progress, kept, asked);
            if kept >= asked || lates >= LATE_MAX {
                break;
            }
            while count(asking.len()) < asked.saturating_sub(kept).saturating_add(spare)
                && let Some(candidate) = candidates.next()
            {
                asking.push(candidate);
            }
            if asking.is_empty() {
                break;
            }
            tokio::select! {
                Some((id, keeps)) = asking.next() => if keeps { keepers.push(id) },
                () = sleep_until(next_late.unwrap_or_else(Instant::now)) => {
                    (spare, lates) = (spare.saturating_add(1), lates.saturating_add(1));
                    next_late = Instant::now().checked_add(late);
                }
            }
        }
        keepers.sort_unstable();
        Ok(Keepers { members: keepers, asked })
    }

    /// Waits for one member to keep all; `false` when it is away or declines. Members of the allocation fetch by themselves,
    /// others have to be asked for it.
    async fn persuade(
        &self,
        member: &Member,
        place: usize,
        others: u32,
        wanted: Wanted,
        awaited: &Awaited,
    ) -> (DcId, bool) {
        let VersionId { object, version } = wanted.id;
        let (request, mut wait_first) = if place < REPLICAS_OTHER {
            (Request::Holds { roots: vec![wanted.root] }, true)
        } else {
            (Request::Keep { object, version, others }, false)
        };
        let settings = &self.settings.replication;
        let (mut pause, mut silences) = (settings.keeper_poll_min, 0_u32);
        loop {
            if wait_first {
                if timeout(pause, awaited.kept_by(member.dc_id)).await.is_ok() {
                    return (member.dc_id, true);
                }
                pause = pause.saturating_mul(2).min(settings.keeper_poll_max);
            }
            wait_first = true;
            silences = match self.ask_holdings(member, &request, 1, ANSWER_SECONDS_MAX).await[..] {
                [Holding::Whole] => return (member.dc_id, true),
                [Holding::Partly] => 0,
                _ => silences.saturating_add(1),
            };
            if silences >= SILENCES_MAX {
                return (member.dc_id, false);
            }
        }
    }
}

fn count(members: usize) -> u32 {
    u32::try_from(members).unwrap_or(u32::MAX)
}

fn report(progress: &ProgressSink, kept: u32, asked: u32) {
    progress(Progress {
        stage: Stage::Replicate,
        done: u64::from(kept),
        total: Some(u64::from(asked)),
        unit: "replicas".to_owned(),
    });
}
