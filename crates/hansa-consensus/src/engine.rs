//! The assembly of a node's agreement engine.
//!
//! It is generic over runtime, network and secret store, so that the deterministic simulation runs the same assembly as production. It
//! starts actors and supervises them.

use core::num::{NonZeroU16, NonZeroU64, NonZeroUsize};
use std::{sync::Arc, time::Duration};

use commonware_broadcast::buffered;
use commonware_consensus::{
    Reporters,
    marshal::{self, Start, core::Actor as MarshalActor, resolver::p2p as backfill, standard::Inline},
    simplex::config::{ForwardPolicy, SkipBudget, SkipPolicy},
    types::{Epoch, ViewDelta},
};
use commonware_cryptography::{
    Digested, Digestible as _, Signer as _, bls12381::dkg::feldman_desmedt::Reveal,
    certificate::ConstantProvider,
};
use commonware_glue::dkg::{SecretStore, fence::Fence, orchestrator, reshare, state_sync::Plan};
use commonware_macros::select;
use commonware_p2p::{AddressableManager, Blocker, Receiver, Sender};
use commonware_parallel::Sequential;
use commonware_runtime::{Clock, Handle, Metrics, Network, Spawner, Storage, buffer::paged::CacheRef};
use commonware_storage::{archive::prunable, translator::EightCap};
use commonware_utils::{NZDuration, NZU16, NZU64, NZUsize};
use hansa_ledger::Ledger;
use hansa_types::ReleaseJudge;
use rand_core::CryptoRng;

use crate::{
    application::Application,
    block::{BlockRules, ChainBlock},
    block_archive::{BlockArchive, SECTION_BLOCKS},
    budget::{Allowance, FromValidators},
    certificate_store::CertificateStore,
    committee::Committees,
    config::{ConsensusSettings, Timing},
    elector::{Beginnings, Draw},
    epoch_barrier::EpochBarrier,
    error::ConsensusError,
    finaliser::{Deliveries, Finaliser},
    genesis, gossip,
    journals::Journals,
    network::Channels,
    observer::Observer,
    pacing::Pacing,
    peers::MemberPeers,
    presence::Presence,
    registrar::Schemes,
    release::{
        actor::{self, Actor as ReleaseActor},
        ingress::Inbox,
    },
    seeds::SeedBook,
    status::StatusBoard,
    types::{Epochs, PARTICIPANTS_MAX, PrivateKey, PublicKey, SHARING_MODE, Scheme},
};

const PAGE_BYTES: NonZeroU16 = NZU16!(4_096);
const BUFFER_BYTES: NonZeroUsize = NZUsize!(256 * 1024);
const MAILBOX: NonZeroUsize = NZUsize!(1_024);
const SECTION_ITEMS: NonZeroU64 = NZU64!(SECTION_BLOCKS);
/// Retained views of an epoch, for peers that lag.
const VIEWS_KEPT: ViewDelta = ViewDelta::new(64);
/// Maximum number of unacknowledged final blocks, which are executed again after a crash.
const UNACKNOWLEDGED_MAX: NonZeroUsize = NZUsize!(64);
/// Missing blocks in concurrent backfill.
const REPAIRS: NonZeroUsize = NZUsize!(64);
/// Broadcast budget of a validator for a while: two seconds of its sustained rate.
const BROADCAST_BURST_SECONDS: u64 = 2;

/// The node-specific parts of the assembly.
pub(crate) struct Node<M, X, SS> {
    pub(crate) signer: PrivateKey,
    pub(crate) ledger: Ledger,
    pub(crate) transport: M,
    pub(crate) blocker: X,
    pub(crate) secrets: SS,
    pub(crate) settings: ConsensusSettings,
    pub(crate) timing: Timing,
    pub(crate) board: StatusBoard,
    /// The policy by which this node releases keys.
    pub(crate) judge: Arc<dyn ReleaseJudge>,
    /// This node's own requests for releases.
    pub(crate) releases: Inbox,
    /// Prefix of all partitions in the runtime's storage, which simulated nodes share.
    pub(crate) partition: String,
}

/// Shared settings of all parts.
struct Site {
    me: PublicKey,
    partition: String,
    rules: BlockRules,
    namespace: Vec<u8>,
    epoch_blocks: NonZeroU64,
    pages: CacheRef,
    /// Verifies certificates of every epoch, because the group key never changes.
    verifier: Scheme,
}

impl Site {
    fn new(
        signer: &PrivateKey,
        ledger: &Ledger,
        partition: String,
        settings: &ConsensusSettings,
    ) -> Result<Self, ConsensusError> {
        let file = ledger.genesis();
        let block = ledger.genesis_block();
        let namespace = hansa_proof::namespace(file.chain_id, block.hash());
        let group = *genesis::first_epoch(file)?.output.public().public();
        let epoch_blocks = NonZeroU64::new(file.limits.epoch_blocks).filter(|blocks| blocks.get() >= 4);
        let epoch_blocks = epoch_blocks.ok_or(ConsensusError::Setting {
            name: "epochBlocks",
            reason: "an epoch has at least 4 blocks",
        })?;
        Ok(Self {
            me: signer.public_key(),
            partition,
            rules: BlockRules { genesis: genesis::block(file, block)? },
            verifier: Scheme::certificate_verifier(&namespace, group),
            namespace,
            epoch_blocks,
            pages: CacheRef::new(PAGE_BYTES, pages_of(settings.page_cache_mib)),
        })
    }

    fn epochs(&self) -> Epochs {
        Epochs::new(self.epoch_blocks)
    }

    fn partition(&self, name: &str) -> String {
        format!("{}-{name}", self.partition)
    }

    fn archive<C>(&self, name: &str, codec_config: C) -> prunable::Config<EightCap, C> {
        let name = self.partition(name);
        prunable::Config {
            translator: EightCap,
            metadata_partition: format!("{name}-metadata"),
            key_partition: format!("{name}-key"),
            key_page_cache: self.pages.clone(),
            value_partition: format!("{name}-value"),
            compression: None,
            codec_config,
            items_per_section: SECTION_ITEMS,
            key_write_buffer: BUFFER_BYTES,
            value_write_buffer: BUFFER_BYTES,
            replay_buffer: BUFFER_BYTES,
        }
    }

    fn marshal_config(
        &self,
    ) -> marshal::Config<ConstantProvider<Scheme, Epoch>, Epochs, Sequential, ChainBlock, Digested<ChainBlock>>
    {
        let genesis = &self.rules.genesis;
        marshal::Config {
            provider: ConstantProvider::new(self.verifier.clone()),
            epocher: self.epochs(),
            start: Start::Genesis(Digested::precomputed(genesis.clone(), genesis.digest())),
            partition_prefix: self.partition("marshal"),
            mailbox_size: MAILBOX,
            view_retention: VIEWS_KEPT,
            prunable_items_per_section: SECTION_ITEMS,
            page_cache: self.pages.clone(),
            replay_buffer: BUFFER_BYTES,
            key_write_buffer: BUFFER_BYTES,
            value_write_buffer: BUFFER_BYTES,
            block_codec_config: self.rules.clone(),
            max_repair: REPAIRS,
            max_pending_acks: UNACKNOWLEDGED_MAX,
            strategy: Sequential,
        }
    }

    fn backfill_config<M, X>(
        &self,
        peers: &MemberPeers<M>,
        blocker: X,
    ) -> backfill::Config<PublicKey, MemberPeers<M>, X>
    where
        M: AddressableManager<PublicKey = PublicKey>,
        X: Blocker<PublicKey = PublicKey>,
    {
        backfill::Config {
            public_key: self.me.clone(),
            peer_provider: peers.clone(),
            blocker,
            mailbox_size: MAILBOX,
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            priority_requests: false,
            priority_responses: false,
        }
    }

    fn simplex_config(&self, timing: &Timing, beginnings: Beginnings) -> orchestrator::SimplexConfig<Draw> {
        orchestrator::SimplexConfig {
            elector: Draw(beginnings),
            mailbox_size: MAILBOX,
            replay_buffer: BUFFER_BYTES,
            write_buffer: BUFFER_BYTES,
            page_cache: self.pages.clone(),
            leader_timeout: timing.leader_timeout,
            certification_timeout: timing.view_timeout,
            timeout_retry: timing.leader_timeout.checked_div(2).unwrap_or(timing.leader_timeout),
            fetch_timeout: NZDuration!(Duration::from_secs(2)),
            fetch_retry_delay: Duration::from_millis(100),
            view_retention: VIEWS_KEPT,
            skip: SkipPolicy::Enabled { timeout: timing.absence, budget: SkipBudget::Participants },
            // The leader broadcasts its block; nodes that miss it fetch it.
            forward: ForwardPolicy::Disabled,
            track_historical_votes: false,
        }
    }
}

/// The pages of the cache; one at least.
fn pages_of(mib: usize) -> NonZeroUsize {
    const PAGES_PER_MIB: usize = 1024 * 1024 / PAGE_BYTES.get() as usize;
    NonZeroUsize::new(mib.saturating_mul(PAGES_PER_MIB)).unwrap_or(NonZeroUsize::MIN)
}

/// Starts a node; the handle resolves when the first part of it stops.
///
/// # Errors
/// If the genesis file is unusable.
pub(crate) async fn start<E, M, X, SS, S, R>(
    context: E,
    node: Node<M, X, SS>,
    channels: Channels<S, R>,
) -> Result<Handle<Result<(), ConsensusError>>, ConsensusError>
where
    E: Spawner + CryptoRng + Metrics + Clock + Storage + Network,
    M: AddressableManager<PublicKey = PublicKey>,
    X: Blocker<PublicKey = PublicKey> + Sync,
    SS: SecretStore,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    node.timing.check()?;
    let site = Site::new(&node.signer, &node.ledger, node.partition, &node.settings)?;
    let (board, pacing, presence) =
        (node.board.clone(), Pacing::default(), Presence::new(node.settings.silent));
    let mut peers = MemberPeers::new(node.transport.clone(), site.me.clone());
    peers.update(&node.ledger.members());
    let head = node.ledger.head();
    pacing.finalised(head.number(), head.hash(), context.current());
    board.finalised(head.number(), head.hash(), context.current(), None);

    let (buffer_engine, buffer) = buffered::Engine::new(
        context.child("broadcast"),
        buffered::Config {
            public_key: site.me.clone(),
            mailbox_size: MAILBOX,
            deque_size: node.settings.broadcast_blocks,
            priority: true,
            codec_config: site.rules.clone(),
            peer_provider: peers.clone(),
            strategy: Sequential,
        },
    );
    let (sender, receiver) = channels.broadcast;
    let allowance = Allowance::of_mib(node.settings.broadcast_mib_per_second, BROADCAST_BURST_SECONDS);
    let receiver = FromValidators::new(context.child("judge"), receiver, peers.clone(), allowance);
    let buffer_handle = buffer_engine.start((sender, receiver));
    let settings = site.backfill_config(&peers, node.blocker.clone());
    let backfill = backfill::init(context.child("backfill"), settings, channels.backfill);

    // Threshold certificates have a fixed length, so their codec needs no configuration.
    let certificates = site.archive("finalisations", ());
    let certificates = prunable::Archive::init(context.child("finalisations"), certificates)
        .await
        .map_err(|error| ConsensusError::Stopped(format!("the archive of certificates: {error}")))?;
    let certificates =
        CertificateStore::new(context.child("certificates"), certificates, node.ledger.clone());
    let blocks = site.archive("blocks", site.rules.clone());
    let blocks = prunable::Archive::init(context.child("blocks"), blocks)
        .await
        .map_err(|error| ConsensusError::Stopped(format!("the archive of blocks: {error}")))?;
    let blocks = BlockArchive::new(blocks, node.ledger.clone(), site.rules.clone());
    let (marshal_actor, marshal, _) =
        MarshalActor::init(context.child("marshal"), certificates, blocks, site.marshal_config()).await;

    let schemes = Schemes::new(&site.namespace, board.clone(), site.epoch_blocks);
    let terms = schemes.terms().subscribe();
    let committees = Committees::new(node.ledger.clone(), pacing.clone());
    let (fence, gate) = Fence::new();
    let (reshare_actor, reshare) = reshare::Actor::new(
        context.child("reshare"),
        reshare::Config {
            signer: node.signer.clone(),
            manager: peers.clone(),
            blocker: node.blocker.clone(),
            participants_provider: committees.clone(),
            secret_store: node.secrets,
            strategy: Sequential,
            registrar: schemes.clone(),
            marshal: marshal.clone(),
            state_sync: Plan::disabled(),
            fence,
            namespace: site.namespace.clone().leak(),
            sharing_mode: SHARING_MODE,
            reveal: Reveal::V1,
            mailbox_size: MAILBOX,
            partition_prefix: site.partition("reshare"),
            page_cache: site.pages.clone(),
            write_buffer: BUFFER_BYTES,
            replay_buffer: BUFFER_BYTES,
            max_participants: PARTICIPANTS_MAX,
            blocks_per_epoch: site.epoch_blocks,
        },
    );
    let reshare_handle = reshare_actor.start(channels.dkg);

    let seeds = SeedBook::new(site.verifier.clone());
    let application = Application {
        ledger: node.ledger.clone(),
        seeds: seeds.clone(),
        committees,
        pacing: pacing.clone(),
        timing: node.timing,
    };
    let application = reshare::Application::new(application, reshare.clone(), site.epoch_blocks);
    let barrier = EpochBarrier::new(schemes.clone(), node.timing.epoch_wait);
    let beginnings = Beginnings::new(node.ledger.clone(), site.epoch_blocks.get());
    let inline = Inline::new(context.child("application"), application, marshal.clone(), site.epochs());
    let observer = context.child("witness");
    let observer = Observer::new(observer, inline, seeds, board.clone(), presence.clone(), barrier);
    let (orchestrator_actor, orchestrator) = orchestrator::Actor::new(
        context.child("orchestrator"),
        orchestrator::Config {
            oracle: node.blocker.clone(),
            manager: peers.clone(),
            provider: schemes,
            marshal: marshal.clone(),
            application: observer,
            strategy: Sequential,
            simplex: site.simplex_config(&node.timing, beginnings.clone()),
            gate,
            state_sync: Plan::disabled(),
            blocks_per_epoch: site.epoch_blocks,
            mailbox_size: MAILBOX,
            partition_prefix: site.partition("simplex"),
        },
    );
    let journals = Journals::new(context.child("journals"), site.partition("simplex"), site.epoch_blocks);
    let progress = pacing.progress();
    context.child("retention").spawn(move |_| journals.run(progress));
    let orchestrator_handle =
        orchestrator_actor.start(channels.vote, channels.certificate, channels.resolver);

    let (deliveries, inbox) = Deliveries::new(pacing.clone(), board.clone(), beginnings);
    let reporters = Reporters::from((deliveries, Reporters::from((orchestrator, reshare))));
    let marshal_handle = marshal_actor.start(reporters, buffer, backfill);

    let outbound = gossip::Outbound {
        pool: node.ledger.pool().clone(),
        peers: peers.clone(),
        me: site.me.clone(),
        sender: channels.gossip.0,
        board: board.clone(),
        presence,
        settings: node.settings.clone(),
    };
    let outbound_handle = context.child("gossip_out").spawn(move |context| outbound.run(context));
    let inbound = gossip::Inbound {
        pool: node.ledger.pool().clone(),
        receiver: channels.gossip.1,
        settings: node.settings.clone(),
        blocker: node.blocker.clone(),
    };
    let inbound_handle = context.child("gossip_in").spawn(move |context| inbound.run(context));
    let (sender, receiver) = channels.release;
    let releases = actor::Config {
        me: site.me.clone(),
        judge: node.judge,
        settings: node.settings,
        terms,
        progress: pacing.progress(),
        inbox: node.releases,
        sender,
        receiver,
        blocker: node.blocker,
    };
    let release_handle =
        context.child("release").spawn(move |context| ReleaseActor::new(context, releases).run());
    let finaliser = Finaliser { ledger: node.ledger, pacing, board, peers };
    let finaliser = context.child("finaliser").spawn(move |context| finaliser.run(context, inbox));

    let parts = Handle::select([
        buffer_handle,
        reshare_handle,
        orchestrator_handle,
        marshal_handle,
        outbound_handle,
        inbound_handle,
        release_handle,
    ]);
    Ok(context.child("supervisor").spawn(move |_| supervise(finaliser, parts)))
}

/// Resolves when the first part of a node stops, with the cause if it is known.
async fn supervise(
    finaliser: Handle<Result<(), hansa_ledger::LedgerError>>,
    parts: impl Future<Output = Result<(), commonware_runtime::Error>>,
) -> Result<(), ConsensusError> {
    let mut finaliser = finaliser;
    let mut parts = Box::pin(parts);
    select! {
        outcome = &mut finaliser => match outcome {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(ConsensusError::Stopped("the finaliser ended".into())),
        },
        outcome = &mut parts => match outcome {
            // All parts end when the runtime stops; the finaliser may have the cause.
            Ok(()) => match futures::FutureExt::now_or_never(&mut finaliser) {
                Some(Ok(Err(error))) => Err(error.into()),
                _ => Err(ConsensusError::Stopped("a part of it ended".into())),
            },
            Err(error) => Err(ConsensusError::Stopped(format!("a part of it failed: {error}"))),
        },
    }
}
