//! Distributed generation of the group key by the founders, before the first block.
//!
//! Each founder runs [`Ceremony`] with the same draft of the genesis file. The founders wait for each other, deal shares over
//! authenticated connections, and agree on the outcome on a short chain of its own. No node ever has the whole key. The result is the
//! same genesis file on every founder, and a share in each founder's sealed store, which the engine opens later. A crashed founder can
//! start again in the same folder.

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

/// Interval of presence messages.
const PRESENCE: Duration = Duration::from_millis(200);
/// Time for which a completed founder waits for a silent one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Time for which a founder stays after all have completed, so that all learn of it.
const FAREWELL: Duration = Duration::from_secs(2);

/// Configuration of a founder's ceremony.
#[derive(Clone)]
pub struct CeremonyConfig {
    /// This founder's ed25519 secret key (32 bytes); its public key is in the draft.
    pub secret_key: Zeroizing<[u8; 32]>,
    /// The genesis file without a group key; the same on every founder.
    pub draft: Genesis,
    /// Folder of consensus, the same as [`Config::store`](crate::Config::store).
    pub store: PathBuf,
    /// AES-256 key that seals secrets at rest, the same as the engine's.
    pub storage_key: Zeroizing<[u8; 32]>,
    /// Listen address; the others dial the endpoint in the draft.
    pub listen: SocketAddr,
}

/// Progress of a ceremony.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CeremonyProgress {
    /// Opening its folder.
    #[default]
    Starting,
    /// Waiting for the named founders, which have not been heard.
    WaitingFor(Vec<String>),
    /// Dealing shares and agreeing on the outcome.
    Generating,
    /// This founder has its share and stays for the named founders without one.
    Lingering(Vec<String>),
    /// Done.
    Completed,
}

/// A founder's part of the ceremony, in a thread of its own. Dropping it stops it; it can be started again.
pub struct Ceremony {
    worker: Worker<Genesis>,
    progress: watch::Receiver<CeremonyProgress>,
    handshakes: Handshakes,
}

impl Ceremony {
    /// Starts this founder's part and returns at once.
    ///
    /// # Errors
    /// If the draft, the keys or the folder are unusable.
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

    /// The progress with change notification.
    pub fn progress(&self) -> watch::Receiver<CeremonyProgress> {
        self.progress.clone()
    }

    /// The founders with a failed last handshake, and the cause.
    pub fn handshakes(&self) -> &Handshakes {
        &self.handshakes
    }

    /// Requests a stop.
    pub fn shutdown(&self) {
        self.worker.stop();
    }

    /// Resolves when the ceremony has ended.
    pub async fn ended(&self) {
        self.worker.ended().await;
    }

    /// Waits for the end; returns the complete genesis file, the same on every founder. Blocks the calling thread.
    ///
    /// # Errors
    /// The cause of a failed ceremony.
    pub fn join(self) -> Result<Genesis, ConsensusError> {
        self.worker.join()
    }
}

/// Removes the ceremony's files in `store`. The share is in the sealed store.
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

/// The stage that a founder reports.
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

/// The reported stages of all founders.
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

    /// The names of the founders that have not reached `stage`.
    fn missing(&self, stage: Stage) -> Vec<String> {
        let behind = |key: &PublicKey| self.heard.get(key).is_none_or(|heard| *heard < stage);
        self.names.iter().filter(|(key, _)| behind(key)).map(|(_, name)| name.clone()).collect()
    }
}

/// The exchange of presence messages.
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
    fn new((sender, receiver): (S, R), roll: Roll) -> Self {
        Self { sender, receiver, roll, stage: Stage::Present }
    }

    /// Sends one message and receives until the next is due.
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

    /// Sends and receives for ever.
    async fn keep(&mut self, clock: &impl commonware_runtime::Clock) -> ConsensusError {
        loop {
            if let Err(error) = self.round(clock).await {
                return error;
            }
        }
    }
}

/// Length of the ceremony's chain: every dealing is acknowledged in the first half, and every founder leads a block in the second.
fn chain_blocks(founders: usize) -> NonZeroU64 {
    let blocks = u64::try_from(founders).unwrap_or(u64::MAX).saturating_mul(24).max(128);
    NonZeroU64::new(blocks).unwrap_or(NonZeroU64::MIN)
}

/// Shared state of a running ceremony.
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
            tracing::debug!(%error, "the ceremony's runtime did not stop cleanly");
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
    let longest = longest_message(participants.len())?;
    let namespace = ceremony_namespace(&config.draft);
    let settings = tcp_config(signer.clone(), &namespace, config.listen, longest, handshakes);
    let (mut network, oracle) = TcpNetwork::new(context.child("network"), settings);
    let channels = Channels::register(|channel, quota| network.register(channel, quota));
    network.start();
    let mut peers = MemberPeers::new(oracle.clone(), me.clone());
    let _ = peers.track(Epoch::zero(), TrackedPeers::primary(participants.clone()), &places);
    let mut presence = Presence::new(channels.gossip, Roll::new(&config.draft, &me));

    // A founder with a share must not wait for others that have left.
    if own.get_share(Epoch::zero()).await.is_none() {
        await_founders(context, &mut presence, &note).await?;
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
    hand_over_share(&mut own, &mut engine).await?;
    linger(context, &mut presence, &note).await?;
    note.send_replace(CeremonyProgress::Completed);
    tracing::info!(member = %network_key(&me), "the group key has been generated");
    Ok(Genesis { group: info.output.encode().into(), ..config.draft })
}

/// Length of the longest message that the ceremony's engine may send.
fn longest_message(founders: usize) -> Result<u32, ConsensusError> {
    let count = u32::try_from(founders).ok().and_then(core::num::NonZeroU32::new);
    let count = count.ok_or(ConsensusError::Ceremony("there are no founders"))?;
    Ok(max_message_size(&[bootstrap::max_payload_size::<Variant, Directory>(count, SHARING_VERSION)]))
}

/// Waits until every founder is present.
async fn await_founders<S, R>(
    clock: &impl commonware_runtime::Clock,
    presence: &mut Presence<S, R>,
    note: &watch::Sender<CeremonyProgress>,
) -> Result<(), ConsensusError>
where
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    loop {
        let missing = presence.roll.missing(Stage::Present);
        if missing.is_empty() {
            return Ok(());
        }
        if note.send_if_modified(|progress| replace(progress, CeremonyProgress::WaitingFor(missing.clone())))
        {
            tracing::info!(founders = missing.join(", "), "waiting for founders");
        }
        presence.round(clock).await?;
    }
}

/// Puts the share that the ceremony generated where the engine finds it.
async fn hand_over_share(own: &mut SealedSecrets, engine: &mut SealedSecrets) -> Result<(), ConsensusError> {
    let share = own.get_share(Epoch::zero()).await;
    let share = share.ok_or(ConsensusError::Ceremony("this founder got no share"))?;
    engine.put_share(Epoch::zero(), share).await;
    Ok(())
}

fn replace(progress: &mut CeremonyProgress, new: CeremonyProgress) -> bool {
    let changed = *progress != new;
    *progress = new;
    changed
}

/// The outcome, if it is a complete one.
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

/// Stays until every founder has completed, because the others need this one.
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
                // Sent once more for founders that listen only now.
                presence.round(clock).await?;
                return Ok(());
            }
            continue;
        }
        if now.duration_since(silent_since).is_ok_and(|silence| silence > PATIENCE) {
            tracing::warn!(founders = missing.join(", "), "leaving although some founders are silent");
            return Ok(());
        }
        note.send_if_modified(|progress| replace(progress, CeremonyProgress::Lingering(missing)));
    }
}
