//! Stores a stream of blocks: hashes and writes on several threads in bounded memory, durable at the end.
//!
//! Flushing each file costs a wait for the disk, so there are more threads than cores. The order of blocks is not kept.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::store::{Entry, Stored};
use crate::{Block, BlockStore, Cid, ContentError, Hold, RAW};

/// What a thread is to do.
pub(crate) enum Job {
    /// Store a block.
    Store(Block),
    /// Hash bytes to a raw block and store it.
    Hash { index: u64, bytes: Bytes },
}

/// A job done.
struct Done {
    entry: Option<Entry>,
    leaf: Option<Leaf>,
}

/// A raw block that was made of bytes given by index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) index: u64,
    pub(crate) cid: Cid,
    pub(crate) size: u64,
}

/// Writes blocks that arrive one after the other. Without [`BlockWriter::finish`] some of them may not be kept.
pub struct BlockWriter {
    store: BlockStore,
    hold: Arc<Hold>,
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<Done, ContentError>>,
    threads: Vec<JoinHandle<()>>,
    stored: Stored,
    leaves: Vec<Leaf>,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Starts the writing threads.
    pub fn new(store: &BlockStore) -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let count = cores.saturating_mul(4).clamp(4, 32);
        let (jobs, queue) = sync_channel(cores);
        let (done, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let hold = Arc::new(store.hold());
        let spawn = |_| {
            let (store, hold, queue, done) =
                (store.clone(), Arc::clone(&hold), Arc::clone(&queue), done.clone());
            thread::spawn(move || work(&store, &hold, &queue, &done))
        };
        let threads = (0..count).map(spawn).collect();
        Self {
            store: store.clone(),
            jobs: Some(jobs),
            results,
            threads,
            stored: Stored::default(),
            leaves: Vec::new(),
            hold,
        }
    }

    /// Hands a block over; waits while the threads are busy.
    ///
    /// # Errors
    /// Those of [`BlockStore::put_many`], possibly for a block pushed before.
    pub fn push(&mut self, block: Block) -> Result<(), ContentError> {
        self.submit(Job::Store(block))
    }

    pub(crate) fn submit(&mut self, job: Job) -> Result<(), ContentError> {
        let jobs = self.jobs.as_ref().ok_or(ContentError::WriterLost)?;
        jobs.send(job).map_err(|_| ContentError::WriterLost)?;
        while let Ok(done) = self.results.try_recv() {
            self.take(done)?;
        }
        if self.stored.is_full() {
            self.store.index(std::mem::take(&mut self.stored), false)?;
        }
        Ok(())
    }

    fn take(&mut self, done: Result<Done, ContentError>) -> Result<(), ContentError> {
        let done = done?;
        self.stored.push(done.entry);
        self.leaves.extend(done.leaf);
        Ok(())
    }

    /// Leaves finished since this was called last, in any order.
    pub(crate) fn drain_leaves(&mut self) -> impl Iterator<Item = Leaf> + '_ {
        self.leaves.drain(..)
    }

    /// Waits until everything submitted is written, and returns the leaves that were not drained yet.
    pub(crate) fn settle(&mut self) -> Result<Vec<Leaf>, ContentError> {
        self.jobs = None;
        while let Ok(done) = self.results.recv() {
            self.take(done)?;
        }
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| ContentError::WriterLost)?;
        }
        Ok(std::mem::take(&mut self.leaves))
    }

    /// Waits until every block is durable, the last `extra` blocks included. The hold covers all of them.
    pub(crate) fn finish_with(mut self, extra: &[Block]) -> Result<Arc<Hold>, ContentError> {
        self.settle()?;
        for block in extra {
            let entry = self.store.store_once(block, &self.hold)?;
            self.stored.push(entry);
        }
        self.store.index(std::mem::take(&mut self.stored), true)?;
        Ok(Arc::clone(&self.hold))
    }

    /// Waits until every block is durable. The hold covers all of them.
    ///
    /// # Errors
    /// Those of [`BlockStore::put_many`].
    pub fn finish(self) -> Result<Arc<Hold>, ContentError> {
        self.finish_with(&[])
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

fn work(
    store: &BlockStore,
    hold: &Hold,
    queue: &Mutex<Receiver<Job>>,
    done: &Sender<Result<Done, ContentError>>,
) {
    loop {
        let Ok(job) = queue.lock().recv() else { return };
        if done.send(perform(store, hold, job)).is_err() {
            return;
        }
    }
}

fn perform(store: &BlockStore, hold: &Hold, job: Job) -> Result<Done, ContentError> {
    let (block, index) = match job {
        Job::Store(block) => (block, None),
        Job::Hash { index, bytes } => (Block::new(RAW, bytes)?, Some(index)),
    };
    let entry = store.store_once(&block, hold)?;
    let leaf = index.map(|index| Leaf { index, cid: *block.cid(), size: block.bytes().len() as u64 });
    Ok(Done { entry, leaf })
}
