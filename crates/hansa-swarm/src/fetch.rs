//! Fetches of single blocks, of whole DAGs, and of one member's replica. Received blocks are already verified. A fetch
//! returns after its blocks are durable. Nothing is pinned.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cid::Cid;
use hansa_content::{Block, BlockStore, BlockWriter, ContentError, Hold, Link, RAW, Visit, Visited, links};
use hansa_types::NetworkKey;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::actor::Delivery;
use crate::bitswap::{Budget, Outcome};
use crate::handle::Session;
use crate::{Limits, Swarm, SwarmError};

/// Blocks looked up in the store in one batch.
const LOOKUPS: usize = 512;

/// Progress of a fetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Number of distinct blocks present, fetched or found in the store.
    pub blocks: u64,
    /// Bytes of these blocks.
    pub bytes: u64,
    /// Bytes of all blocks known so far. It grows as nodes arrive, and is final once the root of a file has arrived.
    pub bytes_known: u64,
}

/// A callback after each block of a fetch.
pub type FetchProgressFn = Arc<dyn Fn(FetchProgress) + Send + Sync>;

/// Maximum size of a DAG.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchBounds {
    /// Total bytes of all blocks.
    pub bytes_max: u64,
    /// Number of distinct blocks, each of which costs memory during a fetch.
    pub blocks_max: u64,
}

impl FetchBounds {
    /// No bounds, for this node's own roots.
    pub const NONE: Self = Self { bytes_max: u64::MAX, blocks_max: u64::MAX };

    const fn admit(&self, bytes_known: u64, blocks_known: u64) -> bool {
        bytes_known <= self.bytes_max && blocks_known <= self.blocks_max
    }
}

/// A fetched DAG, durable.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Number of distinct blocks.
    pub blocks: u64,
    /// Bytes of all blocks.
    pub bytes: u64,
    /// Protects all blocks from collection. Pin the root before dropping it, or before the fetch.
    pub hold: Arc<Hold>,
}

impl Swarm {
    /// A block from the store, or else from any member. It is stored, not pinned.
    ///
    /// # Errors
    /// [`SwarmError::NotFound`] if no member delivers it within [`crate::Limits::fetch_idle`]; [`SwarmError::Content`],
    /// [`SwarmError::Stopped`].
    pub async fn fetch(&self, cid: Cid) -> Result<Bytes, SwarmError> {
        self.fetch_likely(cid, &[]).await
    }

    /// Like [`Swarm::fetch`]; asks the likely providers first.
    ///
    /// # Errors
    /// As [`Swarm::fetch`].
    pub async fn fetch_likely(&self, cid: Cid, likely: &[NetworkKey]) -> Result<Bytes, SwarmError> {
        if let Some(bytes) = blocking(self.store(), move |store| get_healthy(store, &cid)).await? {
            return Ok(bytes);
        }
        let session = self.session(likely)?;
        let block = single(session, None, cid).await?;
        let stored = block.clone();
        blocking(self.store(), move |store| store.put(&stored)).await?;
        Ok(block.into_bytes())
    }

    /// A block from one member, past this node's store in both directions: for repair and verification of replicas.
    ///
    /// # Errors
    /// [`SwarmError::NotConnected`], [`SwarmError::NotFound`] if the member lacks the block or does not answer within
    /// [`crate::Limits::fetch_idle`], [`SwarmError::Stopped`].
    pub async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmError> {
        let session = self.session_with(peer)?;
        single(session, Some(peer), cid).await.map(Block::into_bytes)
    }

    /// Fetches a DAG of raw, dag-pb and dag-cbor blocks. Blocks in the store are not fetched again, so a repeated call resumes a failed
    /// fetch.
    ///
    /// # Errors
    /// [`SwarmError::NotFound`] if no block arrives for [`crate::Limits::fetch_idle`]; [`SwarmError::TooSlow`]; [`SwarmError::Stopped`];
    /// [`SwarmError::Content`], of which [`ContentError::Malformed`] and [`ContentError::UnsupportedHash`] mean that no fetch of this root
    /// can succeed. Blocks received before an error are stored.
    pub async fn fetch_dag(&self, root: Cid, progress: FetchProgressFn) -> Result<Fetched, SwarmError> {
        self.fetch_dag_within(root, FetchBounds::NONE, &[], progress).await
    }

    /// Like [`Swarm::fetch_dag`] within bounds: it fails as soon as the DAG is known to exceed them. Likely providers are asked for
    /// blocks at once, all other peers only for blocks that these lack.
    ///
    /// # Errors
    /// Besides those of [`Swarm::fetch_dag`], [`SwarmError::TooLarge`].
    pub async fn fetch_dag_within(
        &self,
        root: Cid,
        bounds: FetchBounds,
        likely: &[NetworkKey],
        progress: FetchProgressFn,
    ) -> Result<Fetched, SwarmError> {
        let found = Arc::new(self.store().hold());
        let mut walk = Walk::new(
            root,
            bounds,
            Pace::new(self.limits()),
            self.limits().fetch_blocks,
            progress,
            Arc::clone(&found),
        )?;
        let mut session = self.session(likely)?;
        let writer = Writer::start(self.store());
        let walked = walk.run(self.store(), &mut session, &writer).await;
        drop(session);
        // The writer's error comes first: it can be the cause of the walk's.
        let hold = writer.finish().await?;
        walked?;
        hold.absorb(&found);
        Ok(Fetched { blocks: walk.done.blocks, bytes: walk.done.bytes, hold })
    }
}

/// Waits for the only block of a session.
async fn single(mut session: Session, peer: Option<NetworkKey>, cid: Cid) -> Result<Block, SwarmError> {
    session.want(vec![cid])?;
    match (session.next().await?, peer) {
        (Delivery::Block(block, _), _) => Ok(block),
        (Delivery::Outcome(Outcome::NotConnected(_)), Some(peer)) => Err(SwarmError::NotConnected(peer)),
        (Delivery::Outcome(_), _) => Err(SwarmError::NotFound(cid)),
    }
}

/// An intact block of the store. A damaged one counts as absent, because it is fetched next.
fn get_healthy(store: &BlockStore, cid: &Cid) -> Result<Option<Bytes>, ContentError> {
    match store.get(cid) {
        Err(ContentError::Damaged(_) | ContentError::File { .. }) => Ok(None),
        result => result,
    }
}

async fn blocking<T: Send + 'static>(
    store: &BlockStore,
    work: impl FnOnce(&BlockStore) -> Result<T, ContentError> + Send + 'static,
) -> Result<T, SwarmError> {
    let store = store.clone();
    let result = tokio::task::spawn_blocking(move || work(&store)).await;
    Ok(result.map_err(|_| SwarmError::Stopped)??)
}

/// The minimum rate of a fetch.
#[derive(Clone, Copy)]
struct Pace {
    began: Instant,
    grace: Duration,
    bytes_per_second_min: u64,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            began: Instant::now(),
            grace: limits.fetch_idle.saturating_mul(2),
            bytes_per_second_min: limits.fetch_bytes_per_second_min.max(1),
        }
    }

    /// The deadline after `bytes`; `None` if it is not representable.
    fn deadline(&self, bytes: u64) -> Option<Instant> {
        let seconds = bytes.checked_div(self.bytes_per_second_min)?;
        self.began.checked_add(self.grace)?.checked_add(Duration::from_secs(seconds))
    }
}

/// A block of the DAG that is not processed yet.
#[derive(Clone, Copy)]
struct Pending {
    cid: Cid,
    /// Whether the digest is new to the walk; otherwise the CID is an alias.
    is_first: bool,
    /// Whether `bytes_known` includes its bytes.
    counted: bool,
}

/// A block in the store.
struct Present {
    pending: Pending,
    size: u64,
    links: Vec<Link>,
}

/// The walk of a DAG from its root.
struct Walk {
    root: Cid,
    bounds: FetchBounds,
    pace: Pace,
    /// Outstanding wants.
    wanted_max: usize,
    /// Blocks to look up, a stack, so that files arrive in order.
    frontier: Vec<Pending>,
    /// Absent blocks, a stack.
    missing: Vec<Pending>,
    wanted: HashMap<Cid, Pending>,
    visited: Visited,
    /// Protects the blocks found in the store from a concurrent collection.
    found: Arc<Hold>,
    done: FetchProgress,
    progress: FetchProgressFn,
}

impl Walk {
    fn new(
        root: Cid,
        bounds: FetchBounds,
        pace: Pace,
        wanted_max: usize,
        progress: FetchProgressFn,
        found: Arc<Hold>,
    ) -> Result<Self, ContentError> {
        let mut visited = Visited::default();
        visited.visit(&root)?;
        Ok(Self {
            root,
            bounds,
            pace,
            wanted_max,
            frontier: vec![Pending { cid: root, is_first: true, counted: false }],
            missing: Vec::new(),
            wanted: HashMap::new(),
            visited,
            found,
            done: FetchProgress::default(),
            progress,
        })
    }

    async fn run(
        &mut self,
        store: &BlockStore,
        session: &mut Session,
        writer: &Writer,
    ) -> Result<(), SwarmError> {
        loop {
            while self.missing.len() < self.wanted_max && !self.frontier.is_empty() {
                self.look_up(store).await?;
            }
            self.want(session)?;
            if self.wanted.is_empty() {
                return Ok(());
            }
            match self.next(session).await? {
                Delivery::Block(block, budget) => {
                    if let Some(pending) = self.wanted.remove(block.cid()) {
                        let links = links(block.cid(), block.bytes())?;
                        self.arrived(pending, block.bytes().len() as u64, links)?;
                        writer.push(block, budget).await?;
                    }
                }
                Delivery::Outcome(Outcome::NotFound(_, cid)) => return Err(SwarmError::NotFound(cid)),
                Delivery::Outcome(_) => {}
            }
        }
    }

    /// The session's next event, or an error if the fetch is too slow.
    async fn next(&self, session: &mut Session) -> Result<Delivery, SwarmError> {
        let Some(deadline) = self.pace.deadline(self.done.bytes) else { return session.next().await };
        let late = SwarmError::TooSlow(self.root);
        if Instant::now() >= deadline {
            return Err(late);
        }
        timeout_at(deadline, session.next()).await.unwrap_or(Err(late))
    }

    /// Looks the next batch of the frontier up in the store.
    async fn look_up(&mut self, store: &BlockStore) -> Result<(), SwarmError> {
        let from = self.frontier.len().saturating_sub(LOOKUPS);
        let batch = self.frontier.split_off(from);
        let found = Arc::clone(&self.found);
        let (present, missing) = blocking(store, move |store| partition(store, batch, &found)).await?;
        for Present { pending, size, links } in present {
            self.arrived(pending, size, links)?;
        }
        self.missing.extend(missing);
        Ok(())
    }

    /// Fills the outstanding wants.
    fn want(&mut self, session: &Session) -> Result<(), SwarmError> {
        // In batches, so that want lists have several entries.
        if self.wanted.len() > self.wanted_max.saturating_mul(3) / 4 {
            return Ok(());
        }
        let count = self.wanted_max.saturating_sub(self.wanted.len()).min(self.missing.len());
        let mut cids = self.missing.split_off(self.missing.len().saturating_sub(count));
        cids.reverse();
        self.wanted.extend(cids.iter().map(|pending| (pending.cid, *pending)));
        match cids.is_empty() {
            true => Ok(()),
            false => session.want(cids.into_iter().map(|pending| pending.cid).collect()),
        }
    }

    fn arrived(&mut self, pending: Pending, size: u64, links: Vec<Link>) -> Result<(), SwarmError> {
        if pending.is_first {
            self.done.blocks = self.done.blocks.saturating_add(1);
            self.done.bytes = self.done.bytes.saturating_add(size);
            if !pending.counted {
                self.done.bytes_known = self.done.bytes_known.saturating_add(size);
            }
        }
        for link in links.into_iter().rev() {
            let visit = self.visited.visit(&link.cid)?;
            if visit == Visit::Again {
                continue;
            }
            if let (false, Some(size)) = (pending.counted, link.size) {
                self.done.bytes_known = self.done.bytes_known.saturating_add(size);
            }
            let counted = pending.counted || link.size.is_some();
            self.frontier.push(Pending { cid: link.cid, is_first: visit == Visit::First, counted });
        }
        // Sizes claimed by nodes can be too small; an owner has no reason to claim more.
        if !self.bounds.admit(self.done.bytes_known.max(self.done.bytes), self.visited.len()) {
            return Err(SwarmError::TooLarge(self.root));
        }
        (self.progress)(self.done);
        Ok(())
    }
}

/// Splits a batch into blocks in the store, with their links, and absent ones; the order is preserved.
fn partition(
    store: &BlockStore,
    batch: Vec<Pending>,
    found: &Hold,
) -> Result<(Vec<Present>, Vec<Pending>), ContentError> {
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for pending in batch {
        found.cover(&pending.cid)?;
        let found = match pending.cid.codec() {
            RAW => store.size(&pending.cid)?.map(|size| (size, Vec::new())),
            _ => match get_healthy(store, &pending.cid)? {
                Some(bytes) => Some((bytes.len() as u64, links(&pending.cid, &bytes)?)),
                None => None,
            },
        };
        match found {
            Some((size, links)) => present.push(Present { pending, size, links }),
            None => missing.push(pending),
        }
    }
    Ok((present, missing))
}

/// A thread that writes received blocks to the store.
struct Writer {
    blocks: mpsc::Sender<(Block, Budget)>,
    thread: JoinHandle<Result<Arc<Hold>, ContentError>>,
}

impl Writer {
    fn start(store: &BlockStore) -> Self {
        let (blocks, mut queue) = mpsc::channel::<(Block, Budget)>(2);
        let store = store.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let mut writer = BlockWriter::new(&store);
            while let Some((block, budget)) = queue.blocking_recv() {
                writer.push(block)?;
                drop(budget);
            }
            writer.finish()
        });
        Self { blocks, thread }
    }

    /// Passes a block to the thread; waits while the store is slower than the network. The thread's error is returned by
    /// [`Self::finish`].
    async fn push(&self, block: Block, budget: Budget) -> Result<(), SwarmError> {
        self.blocks.send((block, budget)).await.map_err(|_| SwarmError::Content(ContentError::WriterLost))
    }

    async fn finish(self) -> Result<Arc<Hold>, SwarmError> {
        drop(self.blocks);
        Ok(self.thread.await.map_err(|_| SwarmError::Stopped)??)
    }
}
