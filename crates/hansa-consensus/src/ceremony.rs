//! Lets the founders generate the group key with one another, before the first block.
//!
//! Each founder runs [`Ceremony`] with the same draft of the genesis file. They wait for one another, deal shares over
//! authenticated connections and agree on the outcome on a short chain of its own; nobody ever holds the whole key. All
//! end up with the same genesis file, and each with its own share in the sealed store that the engine opens later.
//! A founder that crashes can start again in the same folder.

use core::num::NonZeroU64;
use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use commonware_codec::Encode as _;
use commonware_consensus::types::Epoch;
use commonware_cryptography::{Signer as _, bls12381::dkg::feldman_desmedt::Reveal};
use commonware_glue::dkg::{SecretStore as _, bootstrap, network::Manager as _, types::EpochOutcome};
use commonware_macros::select;
use commonware_p2p::{Receiver, Recipients, Sender, TrackedPeers, max_message_size};
use commonware_parallel::Sequential;
use commonware_runtime::{
    IoBuf, Runner as _, Spawner as _, Supervisor as _, buffer::paged::CacheRef, tokio as engine_runtime,
};
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize};
use hansa_types::Genesis;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::{
    error::ConsensusError,
    genesis::{ceremony_namespace, directory, founders, network_key},
    handle::{Worker, private_key, stopped},
    handshake::Handshakes,
    network::{Channels, SILENCE_MAX, TcpNetwork, tcp_config},
    peers::MemberPeers,
    secrets::SealedSecrets,
    types::{Directory, EpochInfo, PrivateKey, PublicKey, SHARING_MODE, SHARING_VERSION, Variant},
};

/// How often a founder says how far it is.
const PRESENCE: Duration = Duration::from_millis(200);
/// How long a founder that is done stays for another that has fallen silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it stays after everybody is done, so that everybody learns of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// What a founder needs for the ceremony.
#[derive(Clone)]
pub struct CeremonyConfig {
    /// This founder's ed25519 secret key (32 bytes), whose public half the draft names.
    pub secret_key: Zeroizing<[u8; 32]>,
    /// The genesis file without a group key; the same on every founder.
    pub draft: Genesis,
    /// Folder for consensus, the same that [`Config::store`](crate::Config::store) will name.
    pub store: PathBuf,
    /// AES-256 key that seals secrets at rest, the same that the engine will get.
    pub storage_key: Zeroizing<[u8; 32]>,
    /// Address to listen on; the others dial what the draft says.
    pub listen: SocketAddr,
}

/// How far a ceremony is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CeremonyProgress {
    /// Opening its folder.
    #[default]
    Starting,
    /// Waiting for founders that have not been heard of: their names.
    WaitingFor(Vec<String>),
    /// Dealing shares and agreeing on the outcome.
    Generating,
    /// This founder has its share and stays for those that do not yet: their names.
    Lingering(Vec<String>),
    /// Done.
    Completed,
}

/// A founder's part in the ceremony, running in a thread of its own. Dropping it ends it; it can be started again.
pub struct Ceremony {
    worker: Worker<Genesis>,
    progress: watch::Receiver<CeremonyProgress>,
    handshakes: Handshakes,
}

impl Ceremony {
    /// Starts this founder's part and returns at once.
    ///
    /// # Errors
    /// When the draft, the keys or the folder cannot be used.
    pub fn start(config: CeremonyConfig) -> Result<Self, ConsensusError> {
        let signer = private_key(&config.secret_key)?;
        config
            .draft
            .check()
            .map_err(|_| ConsensusError::Ceremony("the draft is not a valid genesis file"))?;
        if founders(&config.draft)?.position(&signer.public_key()).is_none() {
            return Err(ConsensusError::NotAFounder);
        }
        let own = SealedSecrets::open(config.store.join("ceremony-secrets"), &config.storage_key)?;
        let engine = SealedSecrets::open(config.store.join("secrets"), &config.storage_key)?;
        let (note, progress) = watch::channel(CeremonyProgress::Starting);
        let handshakes = Handshakes::default();
        let notes = Notes { progress: note, handshakes: handshakes.clone() };
        let worker = Worker::spawn("ceremony", move |stop| run(config, signer, own, engine, notes, stop))?;
        Ok(Self { worker, progress, handshakes })
    }

    /// How far it is; changes are signalled.
    pub fn progress(&self) -> watch::Receiver<CeremonyProgress> {
        self.progress.clone()
    }

    /// The founders whose last handshake failed, and why.
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Tells it to stop before it is done.
    pub fn shutdown(&self) {
        self.worker.stop();
    }

    /// Resolves when it has ended.
    pub async fn ended(&self) {
        self.worker.ended().await;
    }

    /// Waits for the end and returns the complete genesis file, the same on every founder. Blocks the calling thread.
    ///
    /// # Errors
    /// Why there is none.
    pub fn join(self) -> Result<Genesis, ConsensusError> {
        self.worker.join()
    }
}

/// Removes what the ceremony left in `store`, once the engine has what it needs of it.
pub(crate) fn clear(store: &Path) -> Result<(), ConsensusError> {
    let secrets = store.join("ceremony-secrets");
    if secrets.exists() {
        SealedSecrets::open(secrets.clone(), &[0; 32])?.erase_before(u64::MAX)?;
    }
    for folder in [secrets, store.join("ceremony")] {
        match fs::remove_dir_all(&folder) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ConsensusError::Secrets { path: folder.display().to_string(), source });
            }
            _ => {}
        }
    }
    Ok(())
}

/// How far a founder says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Stage {
    Present = 0,
    Done = 1,
    AllDone = 2,
}

impl Stage {
    fn read(message: &[u8]) -> Option<Self> {
        match message {
            [0] => Some(Self::Present),
            [1] => Some(Self::Done),
            [2] => Some(Self::AllDone),
            _ => None,
        }
    }
}

/// What the founders know of one another.
struct Roll {
    names: BTreeMap<PublicKey, String>,
    heard: BTreeMap<PublicKey, Stage>,
}

impl Roll {
    fn new(draft: &Genesis, me: &PublicKey) -> Self {
        let names = draft.founders.iter().filter_map(|founder| {
            let key = crate::genesis::public_key(founder.network_key)?;
            (key != *me).then(|| (key, founder.name.clone()))
        });
        Self { names: names.collect(), heard: BTreeMap::new() }
    }

    fn note(&mut self, founder: PublicKey, stage: Stage) {
        if self.names.contains_key(&founder) {
            let known = self.heard.entry(founder).or_insert(stage);
            *known = stage.max(*known);
        }
    }

    /// The names of those that have not said that they are as far as `stage`.
    fn missing(&self, stage: Stage) -> Vec<String> {
        let behind = |key: &PublicKey| self.heard.get(key).is_none_or(|heard| *heard < stage);
        self.names.iter().filter(|(key, _)| behind(key)).map(|(_, name)| name.clone()).collect()
    }
}

/// The founders' presence, spoken and heard.
struct Presence<S, R> {
    sender: S,
    receiver: R,
    roll: Roll,
    stage: Stage,
}

impl<S, R> Presence<S, R>
where
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    /// Speaks once and listens until it is time to speak again.
    async fn round(&mut self, clock: &impl commonware_runtime::Clock) -> Result<bool, ConsensusError> {
        let _ = self.sender.send(Recipients::All, IoBuf::from(vec![self.stage as u8]), true);
        let mut until = Box::pin(clock.sleep(PRESENCE));
        let mut heard = false;
        loop {
            select! {
                () = &mut until => return Ok(heard),
                message = self.receiver.recv() => {
                    let (founder, message) = message
                        .map_err(|_| ConsensusError::Stopped("the network ended; is the address in use?".into()))?;
                    if let Some(stage) = Stage::read(message.as_ref()) {
                        self.roll.note(founder, stage);
                        heard |= stage < Stage::Done;
                    }
                },
            }
        }
    }

    /// Speaks and listens for ever.
    async fn keep(&mut self, clock: &impl commonware_runtime::Clock) -> ConsensusError {
        loop {
            if let Err(error) = self.round(clock).await {
                return error;
            }
        }
    }
}

/// Blocks of the ceremony's own chain: long enough for every dealing to be acknowledged in the first half, and for every
/// founder to lead a block in the second.
fn chain_blocks(founders: usize) -> NonZeroU64 {
    let blocks = u64::try_from(founders).unwrap_or(u64::MAX).saturating_mul(24).max(128);
    NonZeroU64::new(blocks).unwrap_or(NonZeroU64::MIN)
}

/// Where a running ceremony notes what it sees.
struct Notes {
    progress: watch::Sender<CeremonyProgress>,
    handshakes: Handshakes,
}

fn run(
    config: CeremonyConfig,
    signer: PrivateKey,
    own: SealedSecrets,
    engine: SealedSecrets,
    notes: Notes,
    mut stop: watch::Receiver<bool>,
) -> Result<Genesis, ConsensusError> {
    let runtime = engine_runtime::Config::new()
        .with_worker_threads(1)
        .with_max_blocking_threads(32)
        .with_read_write_timeout(SILENCE_MAX)
        .with_storage_directory(config.store.join("ceremony"));
    engine_runtime::Runner::new(runtime).start(|context| async move {
        let outcome = select! {
            () = stopped(&mut stop) => Err(ConsensusError::Ceremony("it was stopped")),
            outcome = perform(&context, config, signer, own, engine, notes) => outcome,
        };
        if let Err(error) = context.stop(0, Some(Duration::from_secs(2))).await {
            tracing::debug!(%error, "some parts of the ceremony were cut short");
        }
        outcome
    })
}

async fn perform(
    context: &engine_runtime::Context,
    config: CeremonyConfig,
    signer: PrivateKey,
    mut own: SealedSecrets,
    mut engine: SealedSecrets,
    notes: Notes,
) -> Result<Genesis, ConsensusError> {
    let Notes { progress: note, handshakes } = notes;
    let me = signer.public_key();
    let participants = founders(&config.draft)?;
    let places = directory(&config.draft);
    let count = u32::try_from(participants.len()).ok().and_then(core::num::NonZeroU32::new);
    let count = count.ok_or(ConsensusError::Ceremony("there are no founders"))?;
    let longest =
        max_message_size(&[bootstrap::max_payload_size::<Variant, Directory>(count, SHARING_VERSION)]);
    let namespace = ceremony_namespace(&config.draft);
    let settings = tcp_config(signer.clone(), &namespace, config.listen, longest, handshakes);
    let (mut network, oracle) = TcpNetwork::new(context.child("network"), settings);
    let channels = Channels::register(|channel, quota| network.register(channel, quota));
    network.start();
    let mut peers = MemberPeers::new(oracle.clone(), me.clone());
    let _ = peers.track(Epoch::zero(), TrackedPeers::primary(participants.clone()), &places);
    let (sender, receiver) = channels.gossip;
    let roll = Roll::new(&config.draft, &me);
    let mut presence = Presence { sender, receiver, roll, stage: Stage::Present };

    // A founder that already has its share must not wait for others that have left.
    let resumed = own.get_share(Epoch::zero()).await.is_some();
    loop {
        let missing = presence.roll.missing(Stage::Present);
        if missing.is_empty() || resumed {
            break;
        }
        if note.send_if_modified(|progress| replace(progress, CeremonyProgress::WaitingFor(missing.clone())))
        {
            tracing::info!(founders = missing.join(", "), "waiting for founders");
        }
        presence.round(context).await?;
    }
    note.send_replace(CeremonyProgress::Generating);
    tracing::info!("all founders are present; generating the group key");

    let (_handle, completion) = bootstrap::Engine::<_, Variant, _, _, _, _, _>::new(
        context.child("bootstrap"),
        bootstrap::Config {
            signer,
            manager: peers,
            blocker: oracle,
            secret_store: own.clone(),
            strategy: Sequential,
            namespace: namespace.leak(),
            sharing_mode: SHARING_MODE,
            reveal: Reveal::V1,
            max_supported_mode: SHARING_VERSION,
            partition_prefix: "ceremony".into(),
            page_cache: CacheRef::new(NZU16!(4_096), NZUsize!(256)),
            write_buffer: NZUsize!(64 * 1024),
            replay_buffer: NZUsize!(64 * 1024),
            mailbox_size: NZUsize!(1_024),
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            items_per_section: NZU64!(256),
            participants,
            directory: places,
            blocks_per_epoch: chain_blocks(config.draft.founders.len()),
        },
    )
    .start(
        channels.vote,
        channels.certificate,
        channels.resolver,
        channels.backfill,
        channels.broadcast,
        channels.dkg,
    );
    let completion = select! {
        completion = completion => completion.map_err(|_| ConsensusError::Ceremony("its engine stopped"))?,
        error = presence.keep(context) => return Err(error),
    };
    let info = accepted(completion.info)?;
    let share = own.get_share(Epoch::zero()).await;
    let share = share.ok_or(ConsensusError::Ceremony("this founder got no share"))?;
    engine.put_share(Epoch::zero(), share).await;
    linger(context, &mut presence, &note).await?;
    note.send_replace(CeremonyProgress::Completed);
    tracing::info!(member = %network_key(&me), "the group key has been generated");
    Ok(Genesis { group: info.output.encode().into(), ..config.draft })
}

fn replace(progress: &mut CeremonyProgress, new: CeremonyProgress) -> bool {
    let changed = *progress != new;
    *progress = new;
    changed
}

/// The outcome, if it is one to found a consortium on.
fn accepted(info: Option<EpochInfo>) -> Result<EpochInfo, ConsensusError> {
    let info = info.ok_or(ConsensusError::Ceremony("the founders did not agree on a key"))?;
    if info.outcome != EpochOutcome::Success {
        return Err(ConsensusError::Ceremony("too few founders dealt shares"));
    }
    if !info.output.revealed().is_empty() {
        return Err(ConsensusError::Ceremony("a founder was absent, so that its share became public"));
    }
    Ok(info)
}

/// Stays until every founder is done, since those that are not need the others.
async fn linger<S, R>(
    clock: &impl commonware_runtime::Clock,
    presence: &mut Presence<S, R>,
    note: &watch::Sender<CeremonyProgress>,
) -> Result<(), ConsensusError>
where
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    presence.stage = Stage::Done;
    let mut silent_since = clock.current();
    let mut leave = None;
    loop {
        if presence.round(clock).await? {
            silent_since = clock.current();
        }
        let now = clock.current();
        let missing = presence.roll.missing(Stage::Done);
        if missing.is_empty() {
            presence.stage = Stage::AllDone;
            let leave = *leave.get_or_insert(now.checked_add(FAREWELL).unwrap_or(now));
            if presence.roll.missing(Stage::AllDone).is_empty() || now >= leave {
                // Said once more, for those that listen now.
                presence.round(clock).await?;
                return Ok(());
            }
            continue;
        }
        if now.duration_since(silent_since).is_ok_and(|silence| silence > PATIENCE) {
            tracing::warn!(founders = missing.join(", "), "leaving without word from founders");
            return Ok(());
        }
        note.send_if_modified(|progress| replace(progress, CeremonyProgress::Lingering(missing)));
    }
}
