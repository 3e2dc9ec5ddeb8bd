//! Stores a stream of blocks: hashes and writes on several threads in bounded memory, durable at the end.
//!
//! Writes of large blocks wait for the disk, so there are more threads than cores. They start with the first large block; a stream of
//! small blocks needs none. The order of blocks is not preserved.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use crate::store::{Entry, INLINE_BYTES_MAX, IndexBatch};
use crate::{Block, BlockStore, Cid, ContentError, Hold, RAW, Staged};

/// A job of a writing thread.
pub(crate) enum Job {
    /// Store a block.
    Store(Block),
    /// Hash bytes to a raw block and store it.
    Hash { index: u64, bytes: Bytes },
}

/// The result of a job.
struct Done {
    entry: Option<Entry>,
    leaf: Option<Leaf>,
}

/// A raw block and its index in the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf {
    pub(crate) index: u64,
    pub(crate) cid: Cid,
    pub(crate) size: u64,
}

/// Writes a stream of blocks. Without [`BlockWriter::finish`] some of them are lost.
pub struct BlockWriter {
    store: BlockStore,
    hold: Arc<Hold>,
    workers: Option<Workers>,
    stored: IndexBatch,
    leaves: Vec<Leaf>,
}

/// The writing threads and their channels. They end with the job queue.
struct Workers {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Result<Done, ContentError>>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").finish_non_exhaustive()
    }
}

impl Job {
    fn bytes(&self) -> &Bytes {
        match self {
            Self::Store(block) => block.bytes(),
            Self::Hash { bytes, .. } => bytes,
        }
    }
}

impl Workers {
    fn start(store: &BlockStore, hold: &Arc<Hold>) -> Self {
        let cores = thread::available_parallelism().map_or(2, usize::from);
        let count = cores.saturating_mul(4).clamp(4, 32);
        let (jobs, queue) = sync_channel(cores);
        let (done, results) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let spawn = |_| {
            let (store, hold, queue, done) =
                (store.clone(), Arc::clone(hold), Arc::clone(&queue), done.clone());
            thread::spawn(move || work(&store, &hold, &queue, &done))
        };
        Self { jobs: Some(jobs), results, threads: (0..count).map(spawn).collect() }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // The panic of a thread is already printed, and this drop cannot return it.
            let _ = thread.join();
        }
    }
}

impl BlockWriter {
    /// Begins a stream.
    pub fn new(store: &BlockStore) -> Self {
        Self {
            store: store.clone(),
            hold: Arc::new(store.hold()),
            workers: None,
            stored: IndexBatch::default(),
            leaves: Vec::new(),
        }
    }

    /// Submits a block; waits while the queue is full.
    ///
    /// # Errors
    /// Those of [`BlockStore::put_many`], possibly for a block pushed before.
    pub fn push(&mut self, block: Block) -> Result<(), ContentError> {
        self.submit(Job::Store(block))
    }

    pub(crate) fn submit(&mut self, job: Job) -> Result<(), ContentError> {
        if job.bytes().len() <= INLINE_BYTES_MAX {
            let done = perform(&self.store, &self.hold, job);
            self.take(done)?;
        } else {
            let workers = self.workers.get_or_insert_with(|| Workers::start(&self.store, &self.hold));
            let jobs = workers.jobs.as_ref().ok_or(ContentError::WriterLost)?;
            jobs.send(job).map_err(|_| ContentError::WriterLost)?;
        }
        while let Some(done) = self.workers.as_ref().and_then(|workers| workers.results.try_recv().ok()) {
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

    /// Leaves finished since the last call, in any order.
    pub(crate) fn drain_leaves(&mut self) -> impl Iterator<Item = Leaf> + '_ {
        self.leaves.drain(..)
    }

    /// Waits until all submitted blocks are written; returns the remaining leaves.
    pub(crate) fn settle(&mut self) -> Result<Vec<Leaf>, ContentError> {
        if let Some(mut workers) = self.workers.take() {
            workers.jobs = None;
            while let Ok(done) = workers.results.recv() {
                self.take(done)?;
            }
            for thread in workers.threads.drain(..) {
                thread.join().map_err(|_| ContentError::WriterLost)?;
            }
        }
        Ok(std::mem::take(&mut self.leaves))
    }

    /// Waits until all blocks and `extra` are written, and stages those that are not indexed. The hold covers all of them.
    pub(crate) fn finish_staged(
        mut self,
        extra: &[Block],
        staged: &mut Staged,
    ) -> Result<Arc<Hold>, ContentError> {
        self.settle()?;
        for block in extra {
            let entry = self.store.store_once(block, &self.hold)?;
            self.stored.push(entry);
        }
        staged.0.append(self.stored);
        Ok(self.hold)
    }

    /// Waits until all blocks are durable. The hold covers all of them.
    ///
    /// # Errors
    /// Those of [`BlockStore::put_many`].
    pub fn finish(self) -> Result<Arc<Hold>, ContentError> {
        let (store, mut staged) = (self.store.clone(), Staged::default());
        let hold = self.finish_staged(&[], &mut staged)?;
        store.index(staged.0, true)?;
        Ok(hold)
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
