//! Signs protect transactions ahead of time, in a thread for each member, so that signing does not pace the load.

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_sol_types::SolCall as _;
use hansa_contracts::{abi, data_store_of, signing_hash};
use hansa_envelope::MemberKeys;
use hansa_types::DcId;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{BenchError, network::Member, rpc::Rpc};

/// Transactions signed ahead for each member.
const AHEAD: usize = 20_000;
/// Gas for one protect transaction; unused gas costs nothing.
const GAS: u64 = 250_000;

/// A signed protect transaction.
pub(crate) struct Signed {
    /// `0x…`, as receipts and blocks name it.
    pub(crate) hash: String,
    /// `0x…` EIP-2718 bytes.
    pub(crate) raw: String,
}

/// One member's signed transactions, in the order of their nonces.
pub(crate) struct Supply(mpsc::Receiver<Signed>);

struct Wallet {
    keys: MemberKeys,
    chain_id: u64,
    store: Address,
    nonce: u64,
    number: u64,
}

impl Supply {
    /// Starts signing for a member whose development key `hansa up` wrote.
    pub(crate) async fn open(member: &Member, chain_id: u64, rpc: &Rpc) -> Result<Self, BenchError> {
        let dc = DcId::new(member.dc_id).ok_or(BenchError::Generator)?;
        let keys = read_keys(&std::fs::read_to_string(&member.account_key_file)?)?;
        let count = rpc.call("eth_getTransactionCount", json!([keys.account(), "pending"])).await?;
        let nonce = count.as_str().and_then(|hex| u64::from_str_radix(hex.trim_start_matches("0x"), 16).ok());
        let mut wallet = Wallet {
            keys,
            chain_id,
            store: data_store_of(dc),
            nonce: nonce.unwrap_or_default(),
            number: 1 << 32,
        };
        let (sender, receiver) = mpsc::channel(AHEAD);
        std::thread::spawn(move || {
            while let Some(signed) = wallet.protect()
                && sender.blocking_send(signed).is_ok()
            {}
        });
        Ok(Self(receiver))
    }

    /// The next `count` transactions.
    pub(crate) async fn take(&mut self, count: usize) -> Result<Vec<Signed>, BenchError> {
        let mut signed = Vec::with_capacity(count);
        while signed.len() < count {
            signed.push(self.0.recv().await.ok_or(BenchError::Generator)?);
        }
        Ok(signed)
    }
}

fn read_keys(text: &str) -> Result<MemberKeys, BenchError> {
    let mut account = [0; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut account)
        .map_err(|_| BenchError::Generator)?;
    // Only the account signs here; the other two keys are never used.
    MemberKeys::from_secrets([1; 32], account, [1; 32]).map_err(|e| BenchError::Storage(e.to_string()))
}

impl Wallet {
    /// A record as `hansa put` writes it: EIP-712 signed by the member, in a transaction of the member's account.
    fn protect(&mut self) -> Option<Signed> {
        let record = abi::Record {
            number: self.number,
            version: 1,
            root: B256::random(),
            commitment: B256::random(),
            visibility: 1,
            keyEpoch: 1,
            sizeClass: 1 << 20,
            createdAt: 1_750_000_000,
            validUntil: 0,
        };
        let signature = self.keys.sign_digest(signing_hash(&record, self.chain_id, self.store)).ok()?;
        let call =
            abi::DataStore::putCall { r: record, signature: Bytes::copy_from_slice(&signature.as_bytes()) };
        let transaction = TxEip1559 {
            chain_id: self.chain_id,
            nonce: self.nonce,
            gas_limit: GAS,
            to: TxKind::Call(self.store),
            value: U256::ZERO,
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signed = self.keys.sign_transaction(transaction).ok()?;
        self.nonce += 1;
        self.number += 1;
        Some(Signed {
            hash: signed.hash().to_string(),
            raw: format!("0x{}", hex::encode(signed.encoded_2718())),
        })
    }
}
