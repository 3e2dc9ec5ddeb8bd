//! Doubles: validators that release deposits at once; and, named by their fault, a member whose calls are sent first by another
//! program, a node whose power fails, a source that waits for something to happen.

use hansa_adapters::LedgerJudge;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
};

use alloy_primitives::{Address, B256, Bytes};
use async_trait::async_trait;
use hansa_api::{Content, ContentEntry};
use hansa_kv::{Batch, Fill, KeyRange, KvError, KvSnapshot, KvStore, MemoryStore, Order, Pair, Space};
use hansa_ledger::{BlockRef, CallOutcome, CallRequest, Ledger};
use hansa_ports::{
    Chain, ChainError, ChainHead, ChainReceipt, DepositFault, Depository, Event, EventFilter, EventPage,
};
use hansa_types::{CAPSULE_BYTES, Deposit, Member, NetworkKey, ReleaseId, ReleaseJudge as _, ReleaseVerdict};
use parking_lot::Mutex;

use crate::spaces;

/// Validators that judge by the consortium's one ledger. Their deposits are bound to an identity and hide nothing.
pub(super) struct Validators {
    judge: LedgerJudge,
    chain: B256,
    /// Whose node asks.
    asking: NetworkKey,
    pub(super) down: AtomicBool,
    /// Deposits that were opened.
    pub(super) released: AtomicU32,
    /// What was in them.
    pub(super) contents: Mutex<Vec<Vec<u8>>>,
}

impl Validators {
    pub(super) fn new(ledger: &Ledger, asking: NetworkKey) -> Self {
        let chain = ledger.genesis_block().hash();
        let (down, released, contents) = Default::default();
        Self { judge: LedgerJudge::new(ledger.clone()), chain, asking, down, released, contents }
    }

    /// What the validators say to a question of this node.
    pub(super) fn judge(&self, opening: u64, id: &ReleaseId) -> ReleaseVerdict {
        self.judge.judge(self.asking, opening, id)
    }
}

fn capsule(id: &ReleaseId) -> [u8; CAPSULE_BYTES] {
    let mut capsule = [0; CAPSULE_BYTES];
    capsule[..58].copy_from_slice(&id.encode());
    capsule
}

#[async_trait]
impl Depository for Validators {
    fn chain(&self) -> B256 {
        self.chain
    }

    fn seal(&self, id: &ReleaseId, inner: &[u8]) -> Result<Vec<u8>, DepositFault> {
        Ok(Deposit { capsule: capsule(id), sealed: [inner, &[0; 16]].concat().into() }.encode())
    }

    async fn open(&self, id: &ReleaseId, opening: u64, deposit: &[u8]) -> Result<Vec<u8>, DepositFault> {
        if self.down.load(Ordering::SeqCst) {
            return Err(DepositFault::Unavailable("no quorum".to_owned()));
        }
        match self.judge(opening, id) {
            ReleaseVerdict::Release => {}
            ReleaseVerdict::NotYet => return Err(DepositFault::Unavailable("not yet".to_owned())),
            ReleaseVerdict::Refused(why) => return Err(DepositFault::Refused(why.to_string())),
        }
        let deposit = Deposit::decode(deposit).ok().filter(|deposit| deposit.capsule == capsule(id));
        let deposit = deposit.ok_or_else(|| DepositFault::Refused("another identity".to_owned()))?;
        self.released.fetch_add(1, Ordering::SeqCst);
        let content = deposit.sealed[..deposit.sealed.len() - 16].to_vec();
        self.contents.lock().push(content.clone());
        Ok(content)
    }
}

/// A chain with a fault.
pub(super) struct Faulty {
    pub(super) chain: Arc<dyn Chain>,
    pub(super) fault: Fault,
}

pub(super) enum Fault {
    /// A second account sends every call before the first one does.
    FrontRunner(Arc<dyn Chain>),
    /// Transactions fail when the power does: before they are sent, or after they are final.
    Powered(Arc<Power>),
    /// Calls are answered at once, so that a caller that waits is known to wait for something else.
    Prompt(Ledger),
}

#[async_trait]
impl Chain for Faulty {
    fn chain_id(&self) -> u64 {
        self.chain.chain_id()
    }

    async fn block_hash(&self, number: u64) -> Result<Option<B256>, ChainError> {
        self.chain.block_hash(number).await
    }

    async fn head(&self) -> Result<ChainHead, ChainError> {
        self.chain.head().await
    }

    async fn reached(&self, height: u64) -> Result<ChainHead, ChainError> {
        self.chain.reached(height).await
    }

    async fn members(&self) -> Result<Arc<Vec<Member>>, ChainError> {
        self.chain.members().await
    }

    async fn call(&self, to: Address, data: Bytes) -> Result<Bytes, ChainError> {
        let Fault::Prompt(ledger) = &self.fault else { return self.chain.call(to, data).await };
        let request = CallRequest { to: Some(to), data, ..CallRequest::default() };
        match ledger.call(BlockRef::Head, request) {
            Ok(CallOutcome::Success { output, .. }) => Ok(output),
            other => Err(ChainError::Unavailable(format!("{other:?}"))),
        }
    }

    async fn submit(&self, to: Address, input: Bytes) -> Result<ChainReceipt, ChainError> {
        let gone = || ChainError::Unavailable("the power is gone".to_owned());
        match &self.fault {
            Fault::FrontRunner(runner) => drop(runner.submit(to, input.clone()).await),
            Fault::Powered(power) => power.step().ok_or_else(gone)?,
            Fault::Prompt(_) => {}
        }
        let receipt = self.chain.submit(to, input).await;
        if let Fault::Powered(power) = &self.fault {
            power.step().ok_or_else(gone)?;
        }
        receipt
    }

    async fn events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError> {
        self.chain.events(filter).await
    }

    async fn event_page(&self, filter: EventFilter, limit: usize) -> Result<EventPage, ChainError> {
        self.chain.event_page(filter, limit).await
    }

    async fn last_events(&self, filter: EventFilter) -> Result<Vec<Event>, ChainError> {
        self.chain.last_events(filter).await
    }
}

/// Power for a number of steps.
#[derive(Default)]
pub(super) struct Power {
    steps: AtomicU32,
    failed: AtomicBool,
}

impl Power {
    pub(super) fn steps(steps: u32) -> Arc<Self> {
        Arc::new(Self { steps: steps.into(), failed: AtomicBool::default() })
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Uses up a step; none is left for ever once the power has failed.
    fn step(&self) -> Option<()> {
        let left = self.steps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        self.failed.fetch_or(left.is_err(), Ordering::SeqCst);
        left.ok().map(drop)
    }
}

/// A store whose writes end with the power. What was not flushed by then survives the end of the process alone, and not
/// that of the machine.
pub(super) struct PoweredStore {
    power: Arc<Power>,
    memory: MemoryStore,
    disk: MemoryStore,
    unflushed: Mutex<Vec<Batch>>,
    flushes: AtomicU32,
}

fn copy(store: &MemoryStore) -> MemoryStore {
    let copied = MemoryStore::new();
    for space in hansa_content::SPACES.into_iter().chain(spaces()) {
        let mut batch = Batch::new();
        for (key, value) in store.scan(space, KeyRange::all(), Order::Ascending, usize::MAX).unwrap() {
            batch.put(space, key, value);
        }
        copied.write(batch).unwrap();
    }
    copied
}

impl PoweredStore {
    pub(super) fn new(content: &MemoryStore, power: &Arc<Power>) -> Arc<Self> {
        let (power, unflushed, flushes) = (Arc::clone(power), Mutex::default(), AtomicU32::default());
        Arc::new(Self { power, memory: copy(content), disk: copy(content), unflushed, flushes })
    }

    /// What is left of it: after the end of the process, or after that of the machine.
    pub(super) fn survivor(&self, machine_ended: bool) -> &MemoryStore {
        if machine_ended { &self.disk } else { &self.memory }
    }

    /// How often it waited for the disk.
    pub(super) fn flushes(&self) -> u32 {
        self.flushes.load(Ordering::SeqCst)
    }

    fn step(&self) -> Result<(), KvError> {
        self.power.step().ok_or(KvError::UnknownSpace(Space::new("no power")))
    }

    fn flush(&self) -> Result<(), KvError> {
        self.flushes.fetch_add(1, Ordering::SeqCst);
        self.unflushed.lock().drain(..).try_for_each(|batch| self.disk.write(batch))
    }
}

impl KvStore for PoweredStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.memory.get(space, key)
    }

    fn contains(&self, space: Space, key: &[u8]) -> Result<bool, KvError> {
        self.memory.contains(space, key)
    }

    fn scan(&self, space: Space, range: KeyRange, order: Order, limit: usize) -> Result<Vec<Pair>, KvError> {
        self.memory.scan(space, range, order, limit)
    }

    fn write(&self, batch: Batch) -> Result<(), KvError> {
        self.write_buffered(batch)?;
        self.flush()
    }

    fn write_buffered(&self, batch: Batch) -> Result<(), KvError> {
        self.step()?;
        self.unflushed.lock().push(batch.clone());
        self.memory.write(batch)
    }

    fn ingest(&self, _: Space, _: Fill<'_>) -> Result<(), KvError> {
        panic!("objects are not ingested")
    }

    fn sync(&self) -> Result<(), KvError> {
        self.step()?;
        self.flush()
    }

    fn snapshot(&self) -> Box<dyn KvSnapshot> {
        self.memory.snapshot()
    }
}

/// One file that says when it is read, and goes on when it is told to.
pub(super) struct Waiting {
    content: Option<&'static [u8]>,
    reading: Option<tokio::sync::oneshot::Sender<()>>,
    go: mpsc::Receiver<()>,
}

impl Waiting {
    /// The source, its report, and the way to let it go on.
    pub(super) fn new(
        content: &'static [u8],
    ) -> (Box<Self>, tokio::sync::oneshot::Receiver<()>, mpsc::Sender<()>) {
        let (reading, reads) = tokio::sync::oneshot::channel();
        let (goes, go) = mpsc::channel();
        (Box::new(Self { content: Some(content), reading: Some(reading), go }), reads, goes)
    }
}

impl Content for Waiting {
    fn next_entry(&mut self) -> io::Result<Option<ContentEntry>> {
        let entry =
            ContentEntry { path: "waiting".to_owned(), directory: false, executable: false, size: None };
        Ok(self.content.is_some().then_some(entry))
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reading) = self.reading.take() {
            reading.send(()).unwrap();
            self.go.recv().unwrap();
        }
        let Some(content) = self.content.take() else { return Ok(0) };
        buffer[..content.len()].copy_from_slice(content);
        Ok(content.len())
    }
}
