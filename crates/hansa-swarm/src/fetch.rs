//! Fetching: single blocks, everything below a root, a certain member's replica. What arrives was verified before; what is
//! fetched is durable before it is reported as done.

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

/// Blocks wanted at the same time by one fetch.
const WANTED_MAX: usize = 96;
/// Blocks looked up in the store at a time.
const LOOKUPS: usize = 512;

/// How far a fetch has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FetchProgress {
    /// Different blocks that are here, whether fetched or found.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes known to be needed, those that are here included. It grows as nodes arrive; from a file's root on it is right.
    pub bytes_known: u64,
}

/// Is called after each block of a fetch.
pub type FetchProgressFn = Arc<dyn Fn(FetchProgress) + Send + Sync>;

/// How much may be below a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchBounds {
    /// Bytes of all its blocks.
    pub bytes_max: u64,
    /// Different blocks. Each costs memory while a fetch runs, however short it is.
    pub blocks_max: u64,
}

impl FetchBounds {
    /// No bounds: for roots of this node's own.
    pub const NONE: Self = Self { bytes_max: u64::MAX, blocks_max: u64::MAX };

    const fn admit(&self, bytes_known: u64, blocks_known: u64) -> bool {
        bytes_known <= self.bytes_max && blocks_known <= self.blocks_max
    }
}

/// Everything below a root is here and durable.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Different blocks that the root reaches.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Keeps the blocks, those that were here before included, from being collected; pin the root before dropping it, or before
    /// fetching.
    pub hold: Arc<Hold>,
}

impl Swarm {
    /// A block: from the store if it is here, otherwise from any member that has it. It is stored, not pinned.
    ///
    /// # Errors
    /// [`SwarmError::NotFound`] when nobody has given it within [`crate::Limits::fetch_idle`]; [`SwarmError::Content`],
    /// [`SwarmError::Stopped`].
    pub async fn fetch(&self, cid: Cid) -> Result<Bytes, SwarmError> {
        self.fetch_likely(cid, &[]).await
    }

    /// Like [`Swarm::fetch`], and asks those first who probably have the block.
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

    /// A block from one member and nobody else, not even this node's store, and not stored: to repair, or to see what that
    /// member holds.
    ///
    /// # Errors
    /// [`SwarmError::NotConnected`], [`SwarmError::NotFound`] if it has not got it or does not answer within
    /// [`crate::Limits::fetch_idle`], [`SwarmError::Stopped`].
    pub async fn fetch_from(&self, peer: NetworkKey, cid: Cid) -> Result<Bytes, SwarmError> {
        let session = self.session_with(peer)?;
        single(session, Some(peer), cid).await.map(Block::into_bytes)
    }

    /// Everything below a root: raw leaves, dag-pb and dag-cbor. What is in the store already is not fetched again, so a fetch
    /// that failed resumes when it is called again.
    ///
    /// # Errors
    /// [`SwarmError::NotFound`] when no block has arrived for [`crate::Limits::fetch_idle`]; [`SwarmError::TooSlow`];
    /// [`SwarmError::Stopped`]; [`SwarmError::Content`]: [`ContentError::Malformed`] and [`ContentError::UnsupportedHash`] say that
    /// the root can never be fetched, by nobody. What had arrived by then is stored.
    pub async fn fetch_dag(&self, root: Cid, progress: FetchProgressFn) -> Result<Fetched, SwarmError> {
        self.fetch_dag_within(root, FetchBounds::NONE, &[], progress).await
    }

    /// Like [`Swarm::fetch_dag`], and gives up as soon as it is known that the bounds do not allow what is below the root.
    /// Those who are likely to have it are asked for it at once; everybody else only for what they do not have.
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
        let mut walk = Walk::new(root, bounds, Pace::new(self.limits()), progress, Arc::clone(&found))?;
        let mut session = self.session(likely)?;
        let writer = Writer::start(self.store());
        let walked = walk.run(self.store(), &mut session, &writer).await;
        drop(session);
        // The store's own failure first: a walk that stopped because of it knows less.
        let hold = writer.finish().await?;
        walked?;
        hold.absorb(&found);
        Ok(Fetched { blocks: walk.done.blocks, bytes: walk.done.bytes, hold })
    }
}

/// Waits for a session's one block.
async fn single(mut session: Session, peer: Option<NetworkKey>, cid: Cid) -> Result<Block, SwarmError> {
    session.want(vec![cid])?;
    match (session.next().await?, peer) {
        (Delivery::Block(block, _), _) => Ok(block),
        (Delivery::Outcome(Outcome::NotConnected(_)), Some(peer)) => Err(SwarmError::NotConnected(peer)),
        (Delivery::Outcome(_), _) => Err(SwarmError::NotFound(cid)),
    }
}

/// A block that is here and healthy; damage counts as absence, since the block is about to be fetched.
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

/// When a fetch has to be done, given what it has brought.
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

    /// None where that is further away than time goes.
    fn deadline(&self, bytes: u64) -> Option<Instant> {
        let seconds = bytes.checked_div(self.bytes_per_second_min)?;
        self.began.checked_add(self.grace)?.checked_add(Duration::from_secs(seconds))
    }
}

/// A block still to be had.
#[derive(Clone, Copy)]
struct Pending {
    cid: Cid,
    /// Whether its digest is new to the walk, rather than another name of one.
    is_first: bool,
    /// Its bytes are part of what is known to be needed.
    counted: bool,
}

/// A block that was found in the store.
struct Here {
    pending: Pending,
    size: u64,
    links: Vec<Link>,
}

/// The way from the root down.
struct Walk {
    root: Cid,
    bounds: FetchBounds,
    pace: Pace,
    /// Not looked up yet; the last one is next, so that files come in order.
    frontier: Vec<Pending>,
    /// Not here; the last one is next.
    missing: Vec<Pending>,
    wanted: HashMap<Cid, Pending>,
    visited: Visited,
    /// Keeps what has been found here: nobody else may, and a collection may be under way.
    found: Arc<Hold>,
    done: FetchProgress,
    progress: FetchProgressFn,
}

impl Walk {
    fn new(
        root: Cid,
        bounds: FetchBounds,
        pace: Pace,
        progress: FetchProgressFn,
        found: Arc<Hold>,
    ) -> Result<Self, ContentError> {
        let mut visited = Visited::default();
        visited.visit(&root)?;
        Ok(Self {
            root,
            bounds,
            pace,
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
            while self.missing.len() < WANTED_MAX && !self.frontier.is_empty() {
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

    /// What the session brings next, unless the whole fetch has been too slow by then.
    async fn next(&self, session: &mut Session) -> Result<Delivery, SwarmError> {
        let Some(deadline) = self.pace.deadline(self.done.bytes) else { return session.next().await };
        let late = SwarmError::TooSlow(self.root);
        if Instant::now() >= deadline {
            return Err(late);
        }
        timeout_at(deadline, session.next()).await.unwrap_or(Err(late))
    }

    /// Sorts the next part of the frontier into what is here and what is missing.
    async fn look_up(&mut self, store: &BlockStore) -> Result<(), SwarmError> {
        let from = self.frontier.len().saturating_sub(LOOKUPS);
        let batch = self.frontier.split_off(from);
        let found = Arc::clone(&self.found);
        let (here, missing) = blocking(store, move |store| sort(store, batch, &found)).await?;
        for Here { pending, size, links } in here {
            self.arrived(pending, size, links)?;
        }
        self.missing.extend(missing);
        Ok(())
    }

    /// Keeps as much wanted as is allowed.
    fn want(&mut self, session: &Session) -> Result<(), SwarmError> {
        // In portions, so that want lists have more than one entry.
        if self.wanted.len() > WANTED_MAX.saturating_mul(3) / 4 {
            return Ok(());
        }
        let count = WANTED_MAX.saturating_sub(self.wanted.len()).min(self.missing.len());
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
        // What nodes state about the blocks below them may be too little, never more than the owner meant.
        if !self.bounds.admit(self.done.bytes_known.max(self.done.bytes), self.visited.len()) {
            return Err(SwarmError::TooLarge(self.root));
        }
        (self.progress)(self.done);
        Ok(())
    }
}

/// What of these is here, with its links, and what is not, in the order given.
fn sort(
    store: &BlockStore,
    batch: Vec<Pending>,
    found: &Hold,
) -> Result<(Vec<Here>, Vec<Pending>), ContentError> {
    let (mut here, mut missing) = (Vec::new(), Vec::new());
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
            Some((size, links)) => here.push(Here { pending, size, links }),
            None => missing.push(pending),
        }
    }
    Ok((here, missing))
}

/// A thread that takes arriving blocks to the store.
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

    /// Hands a block over; waits while the store is slower than the network. A thread that failed says why at the end.
    async fn push(&self, block: Block, budget: Budget) -> Result<(), SwarmError> {
        self.blocks.send((block, budget)).await.map_err(|_| SwarmError::Content(ContentError::WriterLost))
    }

    async fn finish(self) -> Result<Arc<Hold>, SwarmError> {
        drop(self.blocks);
        Ok(self.thread.await.map_err(|_| SwarmError::Stopped)??)
    }
}
