//! One node from start to stop.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use hansa_adapters::{LedgerChain, LedgerJudge, PeerRequests, SwarmNode};
use hansa_consensus::{Config as ConsensusConfig, Engine};
use hansa_content::BlockStore;
use hansa_envelope::MemberKeys;
use hansa_gateway::{Network, RestServer, RpcServer, Token};
use hansa_kv::{FjallOptions, FjallStore, Watched};
use hansa_ledger::{FinalisedBlock, Ledger, LedgerConfig};
use hansa_sharing::{Parts, Responder, Sharing, SpaceFn, disk_space};
use hansa_swarm::{Config as SwarmConfig, Swarm, SwarmMember};
use hansa_types::{Genesis, Member, MemberStatus, NetworkKey, Suite};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::broadcast::{Receiver, error::RecvError},
    task::JoinHandle,
};
use zeroize::Zeroizing;

use crate::{
    FolderLock, Home, NodeConfig, NodeError,
    adapters::{ConsensusTip, EngineDepository},
    catalogue::Catalogue,
    clock, founding,
    identity::{open_keys, read_genesis, read_swarm_key},
    logging,
    service::NodeService,
    status::{HealthReader, StatusReader, free_bytes},
    storage::Failures,
    upgrades, watchdog,
};

/// Runs the node of this home until SIGINT or SIGTERM, or until a part of it fails. After [`NodeError::ClockSetBack`] it can be run
/// again at once, by another process.
///
/// # Errors
/// Why it could not start, or what failed.
pub async fn run(home: Home) -> Result<(), NodeError> {
    logging::start();
    let data = home.data();
    run_until_stopped(home).await.map_err(|error| error.explained(&data, free_bytes(&data)))
}

async fn run_until_stopped(home: Home) -> Result<(), NodeError> {
    let config = home.config()?;
    let keys = open_keys(&home, &config)?;
    let draft = read_genesis(&home)?;
    let storage_key = Zeroizing::new(*keys.storage_key()?.derive("consensus")?.expose());
    // Before anything is touched that another node in this folder would be using.
    let lock = FolderLock::take(&home.data())?;
    home.claim_data()?;
    check_ports(&config)?;
    let mut stop = Stop::install()?;
    let genesis = tokio::select! {
        genesis = founding::complete(&home, &config, &keys, &storage_key, draft, &lock) => genesis?,
        () = stop.requested() => return Ok(()),
    };
    lock.say("opening its databases").map_err(|source| NodeError::Write { path: home.data(), source })?;
    let mut failures = Failures::new(home.data());
    let node = Node::start(&home, &config, keys, storage_key, genesis, &failures).await?;
    lock.say("running").map_err(|source| NodeError::Write { path: home.data(), source })?;
    let failed = tokio::select! {
        () = stop.requested() => {
            tracing::info!("stopping");
            None
        }
        failure = failures.first() => Some(failure),
        outdated = upgrades::outdated(node.ledger.clone(), node.ledger.subscribe()) => Some(outdated),
        behind = clock::set_back() => Some(NodeError::ClockSetBack { seconds: behind.as_secs() }),
        () = node.engine.ended() => {
            tracing::error!("consensus ended");
            upgrades::next_is_unknown(&node.ledger)
        }
    };
    if let Some(failure) = &failed {
        tracing::error!("{failure}; stopping");
    }
    let stopped = node.stop().await;
    // Consensus says of a write that failed under it only that it ended.
    failed.or_else(|| failures.earlier()).map_or(stopped, Err)
}

/// Makes sure that the ports can be had, before parts start that fail over them one by one and say less.
fn check_ports(config: &NodeConfig) -> Result<(), NodeError> {
    let ports = [
        ("consensus_listen", config.consensus_listen),
        ("rest_listen", config.rest_listen),
        ("rpc_listen", config.rpc_listen),
    ];
    for (setting, address) in ports {
        TcpListener::bind(address).map(drop).map_err(listen_failed(setting, address))?;
    }
    Ok(())
}

/// The signals that ask a node to stop.
struct Stop {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Stop {
    fn install() -> Result<Self, NodeError> {
        let failed = NodeError::Signals;
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    async fn requested(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// A running node's parts, in the order of their starting.
struct Node {
    ledger: Ledger,
    engine: Engine,
    swarm: Swarm,
    tasks: Vec<JoinHandle<()>>,
    rpc: RpcServer,
    rest: RestServer,
}

impl Node {
    async fn start(
        home: &Home,
        config: &NodeConfig,
        keys: MemberKeys,
        storage_key: Zeroizing<[u8; 32]>,
        genesis: Genesis,
        failures: &Failures,
    ) -> Result<Self, NodeError> {
        let started = Instant::now();
        let mut stores = hansa_ledger::open_stores(&home.data().join("ledger"))?;
        stores.blocks = Watched::new(stores.blocks, failures.alarm());
        stores.nodes = Watched::new(stores.nodes, failures.alarm());
        let suites = upgrades::known(home)?;
        let ledger = Ledger::open_with(stores, &genesis, ledger_config(config, &keys, suites))?;
        if let Some(outdated) = upgrades::next_is_unknown(&ledger) {
            return Err(outdated);
        }
        let engine = Engine::start(ConsensusConfig {
            secret_key: Zeroizing::new(*keys.network_secret()),
            ledger: ledger.clone(),
            store: home.claim_consensus(keys.network_key())?,
            storage_key,
            listen: config.consensus_listen,
            settings: config.consensus.clone(),
            timing: config.consensus.timing(),
            judge: Arc::new(LedgerJudge::new(ledger.clone())),
        })?;
        let spaces = [&hansa_content::SPACES[..], &hansa_sharing::spaces()].concat();
        let objects = FjallStore::open(home.data().join("objects"), &spaces, FjallOptions::default())?;
        let kv = Watched::new(Arc::new(objects), failures.alarm());
        let blocks = BlockStore::open_watched(kv.clone(), &home.data().join("blocks"), failures.alarm())?;
        let chain = Arc::new(LedgerChain::new(ledger.clone(), keys.clone()));
        let tip = ConsensusTip::watch(engine.status(), ledger.subscribe());
        let responder = Responder::new(chain.clone(), tip, keys.clone(), kv.clone(), blocks.clone())?;
        let recording = responder.start_recording();
        let swarm_key = read_swarm_key(home)?;
        // Before the members are read, or a change in between would be missed.
        let registry = ledger.subscribe();
        let swarm = Swarm::start(SwarmConfig {
            secret: *keys.network_secret(),
            swarm_key: swarm_key.clone(),
            listen: vec![config.swarm_listen.clone()],
            members: swarm_members(&ledger.members(), keys.network_key()),
            store: blocks.clone(),
            responder: Arc::new(PeerRequests(responder.clone())),
            limits: config.swarm.clone(),
        })
        .await?;
        let sharing = Sharing::new(Parts {
            chain: chain.clone(),
            swarm: Arc::new(SwarmNode(swarm.clone())),
            depository: Arc::new(EngineDepository(engine.releases().clone())),
            keys: keys.clone(),
            kv: kv.clone(),
            store: blocks,
            responder,
            space: disk_space_of(home),
            settings: config.sharing(),
        })?;
        let mut tasks = vec![
            sharing.start_replication(),
            sharing.start_scrubbing(),
            sharing.start_rewrapping(),
            tokio::spawn(follow_registry(ledger.clone(), swarm.clone(), registry, keys.network_key())),
            recording,
            tokio::spawn(upgrades::announce(ledger.clone(), chain.clone(), keys.account())),
        ];
        if config.collection.interval_hours > 0 {
            let every = Duration::from_hours(u64::from(config.collection.interval_hours));
            tasks.push(sharing.start_collecting(every));
        }
        let catalogue = Catalogue::new(home, &config.index, ledger.clone(), chain.clone(), sharing.clone())?;
        tasks.extend(catalogue.start(kv).await?);
        let status = StatusReader {
            started,
            name: config.name.clone(),
            account: keys.account(),
            network_key: keys.network_key(),
            ledger: ledger.clone(),
            consensus: engine.status(),
            swarm: swarm.clone(),
        };
        let (handshakes, index) = (engine.handshakes().clone(), catalogue.index.clone());
        let health =
            HealthReader::new(status.clone(), handshakes, config, home.data(), sharing.clone(), index);
        tasks.push(tokio::spawn(watchdog::look_for_keys(health.clone())));
        tasks.push(tokio::spawn(watchdog::watch(health.clone(), ledger.subscribe())));
        let rpc = RpcServer::start(
            config.rpc_listen,
            ledger.clone(),
            Arc::new(status.clone()) as Arc<dyn Network>,
            config.rpc.clone(),
        )
        .await
        .map_err(listen_failed("rpc_listen", config.rpc_listen))?;
        let token = Token::parse(&home.token()?).ok_or_else(|| NodeError::Config {
            path: home.token_file(),
            problem: "not a token of 64 hexadecimal digits; delete it and make a new one".into(),
        })?;
        let engine_metrics = Box::new(engine.metrics());
        let service = NodeService {
            sharing,
            catalogue,
            chain,
            status,
            health,
            engine_metrics,
            calls: rpc.calls(),
            swarm_key,
        };
        let rest =
            RestServer::start(config.rest_listen, token, ledger.clone(), Arc::new(service), config.rest)
                .await
                .map_err(listen_failed("rest_listen", config.rest_listen))?;
        tracing::info!(rest = %rest.address(), rpc = %rpc.address(), "the node is up");
        Ok(Self { ledger, engine, swarm, tasks, rpc, rest })
    }

    /// Stops the parts in the opposite order: no new work, then no peers, then no blocks.
    async fn stop(self) -> Result<(), NodeError> {
        self.rest.stop().await;
        self.rpc.stop().await;
        for task in &self.tasks {
            task.abort();
        }
        self.swarm.shutdown().await;
        self.engine.shutdown();
        let engine = self.engine;
        let joined = tokio::task::spawn_blocking(move || engine.join()).await;
        joined.map_err(|_| NodeError::Interrupted)??;
        Ok(())
    }
}

fn disk_space_of(home: &Home) -> SpaceFn {
    let folder = home.data();
    Arc::new(move || disk_space(&folder))
}

fn listen_failed(setting: &'static str, address: SocketAddr) -> impl FnOnce(std::io::Error) -> NodeError {
    move |source| NodeError::Listen { setting, address: address.to_string(), source }
}

/// Every member makes the same nodes of the trie in the same blocks; each begins to count them elsewhere, so that not all of
/// them are busy with writing them at once.
fn ledger_config(node: &NodeConfig, keys: &MemberKeys, suites: Vec<Suite>) -> LedgerConfig {
    let [share, ..] = keys.network_key().0.0;
    let mut config = LedgerConfig { suites, pool: node.pool.clone(), ..node.ledger.config() };
    config.state.unwritten_nodes_ahead = config.state.unwritten_nodes_max / 256 * usize::from(share);
    config
}

/// Who may be in the swarm: every member that is not removed. A node that was removed itself dials nobody.
fn swarm_members(members: &[Member], own: NetworkKey) -> Vec<SwarmMember> {
    let is_removed =
        |member: &Member| member.card.network_key == own && member.status == MemberStatus::Removed;
    if members.iter().any(is_removed) {
        return Vec::new();
    }
    members
        .iter()
        .filter(|member| member.status != MemberStatus::Removed)
        .map(|member| SwarmMember {
            key: member.card.network_key,
            endpoint: member.card.swarm_endpoint.clone(),
        })
        .collect()
}

/// Lets the swarm's doors follow the registry: admitted at once, cut off at once (A5).
async fn follow_registry(
    ledger: Ledger,
    swarm: Swarm,
    mut blocks: Receiver<Arc<FinalisedBlock>>,
    own: NetworkKey,
) {
    loop {
        let changed = match blocks.recv().await {
            Ok(block) => block.registry_changed,
            Err(RecvError::Lagged(_)) => true,
            Err(RecvError::Closed) => return,
        };
        if changed && let Err(problem) = swarm.set_members(swarm_members(&ledger.members(), own)).await {
            tracing::warn!(%problem, "the swarm did not take over the registry's members");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewHome, create_home};

    #[test]
    fn a_port_that_is_taken_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("acme"));
        create_home(&home, &NewHome::local("acme")).unwrap();
        let config = home.config().unwrap();
        check_ports(&config).unwrap();
        let _taken = TcpListener::bind(config.rest_listen).unwrap();
        let problem = check_ports(&config).unwrap_err().to_string();
        assert!(problem.contains(&config.rest_listen.to_string()), "{problem}");
        assert!(problem.contains("rest_listen"), "{problem}");
    }
}
