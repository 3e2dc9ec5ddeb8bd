//! The production path: a ceremony and a network of engines over loopback TCP, each in threads of its own.

mod organisation;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use alloy_consensus::{SignableTransaction as _, TxEip1559};
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall as _;
use hansa_contracts::{GOVERNANCE, abi::Governance};
use hansa_kv::MemoryStore;
use hansa_ledger::Ledger;
use hansa_proof::{ProofError, Verifier};
use hansa_types::{
    DcId, Genesis, NetworkKey, ReleaseId, ReleaseJudge, ReleaseVerdict, ReleasedKey, SignedTransaction,
};
use tempfile::TempDir;
use zeroize::Zeroizing;

use self::organisation::{CHAIN_ID, Organisation, draft, ledger};
use hansa_consensus::{Ceremony, CeremonyConfig, Config, Engine, Seat, Timing, Trouble};

/// Far more than any step takes, so that a standstill ends the test.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(organisation: &Organisation, ledger: Ledger, folder: &TempDir) -> Config {
    Config {
        secret_key: Zeroizing::new(organisation.network_secret()),
        ledger,
        store: folder.path().to_owned(),
        storage_key: Zeroizing::new([9; 32]),
        listen: listens_at(organisation),
        settings: hansa_consensus::ConsensusSettings { worker_threads: 1, ..Default::default() },
        timing: Timing { heartbeat: Duration::from_millis(100), ..Timing::default() },
        judge: Arc::new(Generous),
    }
}

/// Signs for everybody.
struct Generous;

impl ReleaseJudge for Generous {
    fn judge(&self, _: NetworkKey, _: u64, _: &ReleaseId) -> ReleaseVerdict {
        ReleaseVerdict::Release
    }
}

/// The committee releases a deposit to a node.
async fn releases(engine: &Engine, ledger: &Ledger) {
    let id = ReleaseId {
        chain: ledger.genesis_block().hash(),
        object: "1/42".parse().unwrap(),
        key: ReleasedKey::Epoch(1),
        grantee: DcId::new(5),
        grant_nonce: 1,
    };
    let releases = engine.releases();
    let deposit = releases.group_key().seal(&id, b"inner").unwrap();
    let obtained = tokio::time::timeout(PATIENCE, releases.obtain(id, 1)).await.expect("no release");
    assert_eq!(releases.group_key().open(&id, &obtained.unwrap(), &deposit).unwrap(), b"inner");
}

/// Every other node is registered by a name, which the others look up.
fn reachable_by(seed: u8, endpoint: String) -> String {
    if seed.is_multiple_of(2) { endpoint.replace("127.0.0.1", "localhost") } else { endpoint }
}

impl Organisation {
    /// A transaction of this organisation's account.
    fn transaction(&self, nonce: u64, to: Address, input: Vec<u8>) -> SignedTransaction {
        let transaction = TxEip1559 {
            chain_id: CHAIN_ID,
            nonce,
            gas_limit: 16_000_000,
            to: TxKind::Call(to),
            value: U256::ZERO,
            input: input.into(),
            ..Default::default()
        };
        let signature = self.sign(transaction.signature_hash());
        transaction.into_signed(signature).into()
    }

    /// Asks for the admission of another organisation: its first ballot, and this organisation's first transaction.
    fn proposes(&self, applicant: &Self) -> SignedTransaction {
        let call = Governance::openJoinCall { card: applicant.signed_card() };
        self.transaction(0, GOVERNANCE, call.abi_encode())
    }

    /// Votes for that admission.
    fn approves(&self, nonce: u64) -> SignedTransaction {
        let call = Governance::voteCall { id: 1, support: true };
        self.transaction(nonce, GOVERNANCE, call.abi_encode())
    }
}

/// Where an organisation's node listens.
fn listens_at(organisation: &Organisation) -> SocketAddr {
    organisation.card.consensus_endpoint.replace("localhost", "127.0.0.1").parse().unwrap()
}

/// A loopback address that was free a moment ago.
fn free_endpoint() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// The hash of the final block at a height.
fn hash_at(ledger: &Ledger, height: u64) -> B256 {
    ledger.block(height).unwrap().unwrap().hash()
}

async fn reaches(engine: &Engine, height: u64) {
    let mut status = engine.status();
    let reached = status.wait_for(|status| status.height >= height);
    tokio::time::timeout(PATIENCE, reached).await.expect("the chain stands still").unwrap();
}

/// A consortium on loopback: folders, ledgers and engines of its organisations.
struct Consortium {
    organisations: Vec<Organisation>,
    folders: Vec<TempDir>,
    ledgers: Vec<Ledger>,
    engines: Vec<Engine>,
}

impl Consortium {
    /// The genesis file that the founders make together.
    async fn found(founders: &[Organisation], folders: &[TempDir]) -> Genesis {
        let draft = draft(founders, 16);
        let start = |(founder, folder): (&Organisation, &TempDir)| {
            Ceremony::start(CeremonyConfig {
                secret_key: Zeroizing::new(founder.network_secret()),
                draft: draft.clone(),
                store: folder.path().to_owned(),
                storage_key: Zeroizing::new([9; 32]),
                listen: listens_at(founder),
            })
        };
        let ceremonies: Vec<_> = founders.iter().zip(folders).map(|pair| start(pair).unwrap()).collect();
        let mut files = Vec::new();
        for ceremony in ceremonies {
            files.push(tokio::task::spawn_blocking(|| ceremony.join()).await.unwrap().unwrap());
        }
        assert!(files.iter().all(|file| *file == files[0] && !file.group.is_empty()));
        files.remove(0)
    }

    async fn start(founders: u8, others: u8) -> Self {
        let organisations: Vec<_> =
            (1..=founders + others).map(|i| Organisation::new(i, reachable_by(i, free_endpoint()))).collect();
        let folders: Vec<_> = organisations.iter().map(|_| tempfile::tempdir().unwrap()).collect();
        let genesis = Self::found(&organisations[..usize::from(founders)], &folders).await;
        let ledgers = organisations.iter().map(|_| ledger(MemoryStore::new(), &genesis)).collect();
        let mut consortium = Self { organisations, folders, ledgers, engines: Vec::new() };
        for index in 0..consortium.organisations.len() {
            let engine = consortium.engine(index);
            consortium.engines.push(engine);
        }
        consortium
    }

    fn engine(&self, index: usize) -> Engine {
        Engine::start(config(&self.organisations[index], self.ledgers[index].clone(), &self.folders[index]))
            .unwrap()
    }

    /// Hands a transaction to one member's node and waits until all `nodes` have executed it.
    async fn execute(&self, at: usize, transaction: SignedTransaction, nodes: &[usize]) {
        let hash = *transaction.tx_hash();
        self.ledgers[at].pool().add(transaction).unwrap();
        for node in nodes {
            let mut status = self.engines[*node].status();
            let executed = status.wait_for(|_| self.ledgers[*node].receipt(hash).unwrap().is_some());
            let executed = tokio::time::timeout(PATIENCE, executed).await;
            executed.expect("the transaction was not executed").unwrap();
            assert!(self.ledgers[*node].receipt(hash).unwrap().unwrap().receipt.status(), "it reverted");
        }
    }

    async fn stop(engine: Engine) {
        engine.shutdown();
        tokio::task::spawn_blocking(|| engine.join()).await.unwrap().unwrap();
    }

    fn check_equal(&self, nodes: &[usize], height: u64) {
        for height in 1..=height {
            for node in nodes {
                assert_eq!(hash_at(&self.ledgers[*node], height), hash_at(&self.ledgers[0], height));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn founders_agree_admit_a_member_and_do_without_one_over_tcp() {
    let mut net = Consortium::start(4, 1).await;
    for founder in &net.engines[..4] {
        reaches(founder, 20).await;
        assert_eq!(founder.status().borrow().seat, Seat::Validator);
    }
    net.check_equal(&[1, 2, 3], 20);

    // The fifth has been knocking all the time with the right genesis file. Nobody answers before it is admitted.
    let outsider = net.engines[4].status().borrow().clone();
    assert_eq!((outsider.height, outsider.connected), (0, Vec::new()));
    net.execute(0, net.organisations[0].proposes(&net.organisations[4]), &[0, 1, 2, 3]).await;
    for (index, nonce) in [(0, 1), (1, 0), (2, 0)] {
        net.execute(index, net.organisations[index].approves(nonce), &[0, 1, 2, 3]).await;
    }
    let height = net.ledgers[0].head().number();
    reaches(&net.engines[4], height).await;
    assert_eq!(net.engines[4].status().borrow().seat, Seat::Follower);
    net.check_equal(&[4], height);
    // What its users hand in reaches the validators, and everybody executes it.
    let own = net.organisations[4].transaction(0, net.organisations[0].card.account, Vec::new());
    net.execute(4, own, &[0, 1, 2, 3, 4]).await;
    releases(&net.engines[4], &net.ledgers[4]).await;

    // A validator stops; the others go on; it returns and catches up.
    Consortium::stop(net.engines.remove(3)).await;
    let height = net.ledgers[0].head().number();
    reaches(&net.engines[0], height + 10).await;
    let returned = net.engine(3);
    net.engines.insert(3, returned);
    reaches(&net.engines[3], height + 20).await;
    net.check_equal(&[1, 2, 3], height + 10);
    releases(&net.engines[0], &net.ledgers[0]).await;

    let ledger = &net.ledgers[0];
    // An outsider believes what the nodes have made final by the genesis file alone.
    let proof = ledger.block_proof(height).unwrap().expect("no height near the head has a certificate");
    let verifier = Verifier::new(ledger.genesis()).unwrap();
    assert_eq!(verifier.block(&proof).unwrap().hash, hash_at(ledger, height));
    let another = verifier.certificate(B256::ZERO, &proof.block.certificate);
    assert!(matches!(another, Err(ProofError::Signature(_))));
    for engine in net.engines {
        Consortium::stop(engine).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn founders_with_different_drafts_notice_each_other() {
    let founders: Vec<_> = (1..=4).map(|i| Organisation::new(i, free_endpoint())).collect();
    let draft = draft(&founders, 16);
    let other = Genesis { timestamp: draft.timestamp + 1, ..draft.clone() };
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let start = |index: usize, draft: &Genesis| {
        Ceremony::start(CeremonyConfig {
            secret_key: Zeroizing::new(founders[index].network_secret()),
            draft: draft.clone(),
            store: folders[index].path().to_owned(),
            storage_key: Zeroizing::new([9; 32]),
            listen: founders[index].card.consensus_endpoint.parse().unwrap(),
        })
        .unwrap()
    };
    let ceremonies = [start(0, &draft), start(1, &other)];
    for (ceremony, founder) in ceremonies.iter().zip([&founders[1], &founders[0]]) {
        let mut handshakes = ceremony.handshakes().subscribe();
        let noticed = handshakes
            .wait_for(|troubles| troubles.get(&founder.card.network_key) == Some(&Trouble::Signature));
        tokio::time::timeout(PATIENCE, noticed).await.expect("nothing was noticed").unwrap();
    }
}
