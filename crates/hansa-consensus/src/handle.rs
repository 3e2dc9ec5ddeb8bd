//! The handle on an agreement engine, which runs in a thread and a runtime of its own.
//!
//! A panic in the engine ends its thread, not the process.

use std::{
    any::Any,
    fs,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use commonware_codec::DecodeExt as _;
use commonware_macros::select;
use commonware_runtime::{Metrics as _, Runner as _, Spawner as _, Supervisor as _, tokio as engine_runtime};
use tokio::sync::watch;

use crate::{
    block::BlockRules,
    ceremony,
    config::Config,
    engine::{self, Node},
    error::ConsensusError,
    genesis,
    handshake::Handshakes,
    network::{Channels, SILENCE_MAX, TcpNetwork, message_bytes_max, tcp_config},
    release::{GroupKey, KeyReleases, ingress::Inbox},
    secrets::SealedSecrets,
    status::{Status, StatusBoard},
    types::PrivateKey,
};

/// Timeout of a clean stop.
const STOP: Duration = Duration::from_secs(5);

/// A thread with a stop signal and its outcome.
pub(crate) struct Worker<T> {
    thread: Option<JoinHandle<Result<T, ConsensusError>>>,
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
}

/// Signals the end of the thread on drop, also after a panic.
struct Ended(watch::Sender<bool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Runs `work` in a thread of its own. Its receiver becomes `true` when it should stop.
    pub(crate) fn spawn(
        name: &str,
        work: impl FnOnce(watch::Receiver<bool>) -> Result<T, ConsensusError> + Send + 'static,
    ) -> Result<Self, ConsensusError> {
        let (stop, stopping) = watch::channel(false);
        let (ended, ending) = watch::channel(false);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let _ended = Ended(ended);
            work(stopping)
        });
        let thread = thread.map_err(ConsensusError::Thread)?;
        Ok(Self { thread: Some(thread), stop, ended: ending })
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        let _ = ended.wait_for(|ended| *ended).await;
    }

    pub(crate) fn join(mut self) -> Result<T, ConsensusError> {
        let Some(thread) = self.thread.take() else {
            return Err(ConsensusError::Stopped("it has been joined before".into()));
        };
        match thread.join() {
            Ok(outcome) => outcome,
            Err(panic) => Err(ConsensusError::Stopped(message_of(panic.as_ref()))),
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".into())
}

/// Resolves when the engine should stop.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        tracing::debug!("the engine's handle was dropped");
    }
}

/// The engine's form of a secret key.
pub(crate) fn private_key(bytes: &[u8; 32]) -> Result<PrivateKey, ConsensusError> {
    PrivateKey::decode(bytes::Bytes::copy_from_slice(bytes)).map_err(|_| ConsensusError::SecretKey)
}

/// Encodes a running engine's metrics.
type Encoder = Arc<dyn Fn() -> String + Send + Sync>;

/// A running agreement engine. Dropping it requests a stop without waiting.
pub struct Engine {
    worker: Worker<()>,
    board: StatusBoard,
    handshakes: Handshakes,
    releases: KeyReleases,
    encoder: watch::Receiver<Option<Encoder>>,
}

impl Engine {
    /// Starts the engine in a thread of its own and returns at once. The engine then opens its stores, connects and catches up.
    ///
    /// # Errors
    /// If the configuration or the genesis file is unusable, or the secret store cannot be opened.
    pub fn start(config: Config) -> Result<Self, ConsensusError> {
        let signer = private_key(&config.secret_key)?;
        config.timing.check()?;
        let file = config.ledger.genesis();
        let (releases, inbox) = KeyReleases::new(GroupKey::of(file, config.ledger.genesis_block().hash())?);
        fs::create_dir_all(&config.store)
            .map_err(|source| ConsensusError::Secrets { path: config.store.display().to_string(), source })?;
        let secrets = SealedSecrets::open(config.store.join("secrets"), &config.storage_key)?;
        ceremony::clear(&config.store)?;
        let board = StatusBoard::default();
        let (running, encoder) = watch::channel(None);
        let handshakes = Handshakes::default();
        let ties = Ties { board: board.clone(), handshakes: handshakes.clone(), releases: inbox };
        let worker =
            Worker::spawn("consensus", move |stop| run(config, signer, secrets, ties, running, stop))?;
        Ok(Self { worker, board, handshakes, releases, encoder })
    }

    /// The status with change notification.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.board.subscribe()
    }

    /// The members with a failed last handshake, and the cause.
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Deposits sealed to the group key, and their release by the consortium.
    pub const fn releases(&self) -> &KeyReleases {
        &self.releases
    }

    /// A reader of the engine's metrics in the Prometheus text format; empty before the start and after the end.
    pub fn metrics(&self) -> impl Fn() -> String + Send + Sync + 'static {
        let encoder = self.encoder.clone();
        move || {
            let encoder = encoder.borrow().clone();
            encoder.map(|encode| encode()).unwrap_or_default()
        }
    }

    /// Requests a stop. [`Engine::join`] waits for it.
    pub fn shutdown(&self) {
        self.worker.stop();
    }

    /// Resolves when the engine has ended. [`Engine::join`] returns the cause.
    pub async fn ended(&self) {
        self.worker.ended().await;
    }

    /// Waits for the engine's end, which without a request only comes from a failure. Blocks the calling thread.
    ///
    /// # Errors
    /// The cause of an unrequested end.
    pub fn join(self) -> Result<(), ConsensusError> {
        self.worker.join()
    }
}

/// The links of a running engine to its [`Engine`].
struct Ties {
    board: StatusBoard,
    handshakes: Handshakes,
    releases: Inbox,
}

fn run(
    config: Config,
    signer: PrivateKey,
    secrets: SealedSecrets,
    ties: Ties,
    running: watch::Sender<Option<Encoder>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ConsensusError> {
    let runtime = engine_runtime::Config::new()
        .with_worker_threads(config.settings.worker_threads.max(1))
        .with_max_blocking_threads(64)
        .with_read_write_timeout(SILENCE_MAX)
        .with_storage_directory(config.store.join("engine"));
    engine_runtime::Runner::new(runtime).start(|context| async move {
        let block = config.ledger.genesis_block();
        let namespace = hansa_proof::namespace(config.ledger.chain_id(), block.hash());
        let rules = BlockRules { genesis: genesis::block(config.ledger.genesis(), block)? };
        let longest = message_bytes_max(&rules);
        let settings = tcp_config(signer.clone(), &namespace, config.listen, longest, ties.handshakes);
        let (mut network, oracle) = TcpNetwork::new(context.child("network"), settings);
        let channels = Channels::register(|channel, quota| network.register(channel, quota));
        let mut network = network.start();
        let node = Node {
            signer,
            ledger: config.ledger,
            transport: oracle.clone(),
            blocker: oracle,
            secrets,
            settings: config.settings,
            timing: config.timing,
            board: ties.board,
            judge: config.judge,
            releases: ties.releases,
            partition: "node".into(),
        };
        let mut parts = engine::start(context.child("engine"), node, channels).await?;
        let metrics = context.child("metrics");
        running.send_replace(Some(Arc::new(move || metrics.encode())));
        let outcome = select! {
            () = stopped(&mut stop) => Ok(()),
            outcome = &mut parts => outcome.unwrap_or_else(|error| {
                Err(ConsensusError::Stopped(format!("its supervisor failed: {error}")))
            }),
            _ = &mut network => Err(ConsensusError::Stopped("the network ended; is the address in use?".into())),
        };
        running.send_replace(None);
        if let Err(error) = context.stop(0, Some(STOP)).await {
            tracing::debug!(%error, "the engine's runtime did not stop cleanly");
        }
        outcome
    })
}
