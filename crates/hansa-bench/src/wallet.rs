//! Signs protect transactions ahead of time, in a thread for each member, so that signing neither paces the load nor takes
//! processor time from the nodes while they are measured. A load longer than the stock has the rest signed meanwhile.

use std::time::Duration;

use alloy_consensus::TxEip1559;
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, TxKind, U256};
use alloy_sol_types::SolCall as _;
use hansa_contracts::{abi, data_store_of};
use hansa_envelope::MemberKeys;
use hansa_types::DcId;
use serde_json::json;
use tokio::sync::mpsc;

use crate::{BenchError, network::Member, rpc::Rpc};

/// Most transactions signed ahead for each member; they take 0.7 kB each.
const AHEAD_MAX: usize = 1_000_000;
/// Transactions signed at a time once the stock is used up.
const ORDER: usize = 500;
/// Gas for one protect transaction, also one that creates a segment; unused gas costs nothing.
const GAS: u64 = 300_000;

/// A signed protect transaction.
pub(crate) struct Signed {
    pub(crate) hash: B256,
    /// EIP-2718 bytes.
    pub(crate) raw: Box<[u8]>,
}

/// One member's signed transactions, in the order of their nonces.
pub(crate) struct Supply {
    orders: mpsc::UnboundedSender<usize>,
    signed: mpsc::UnboundedReceiver<Signed>,
    /// Signed or ordered, and not yet taken.
    ordered: usize,
    /// How many to have before a measurement.
    ahead: usize,
}

struct Wallet {
    keys: MemberKeys,
    chain_id: u64,
    store: Address,
    nonce: u64,
    number: u64,
}

impl Supply {
    /// Starts signing for a member whose development key `hansa up` wrote, about `wanted` transactions ahead.
    pub(crate) async fn open(
        member: &Member,
        chain_id: u64,
        rpc: &Rpc,
        wanted: usize,
    ) -> Result<Self, BenchError> {
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
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let (sender, signed) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            while let Some(count) = ordered.blocking_recv() {
                let signed = (0..count).map_while(|_| wallet.protect());
                signed.for_each(|signed| drop(sender.send(signed)));
            }
        });
        Ok(Self { orders, signed, ordered: 0, ahead: wanted.min(AHEAD_MAX) })
    }

    fn order(&mut self, count: usize) -> Result<(), BenchError> {
        self.ordered += count;
        self.orders.send(count).map_err(|_| BenchError::Generator)
    }

    /// Waits until as many are signed as a measurement needs.
    pub(crate) async fn stock(&mut self) -> Result<(), BenchError> {
        self.order(self.ahead.saturating_sub(self.ordered))?;
        while self.signed.len() < self.ordered {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The next `count` transactions.
    pub(crate) async fn take(&mut self, count: usize) -> Result<Vec<Signed>, BenchError> {
        // Ordered before it is needed, so that a load beyond the stock does not wait for each signature.
        if self.ordered < count + ORDER {
            self.order(count.max(ORDER))?;
        }
        let mut signed = Vec::with_capacity(count);
        while signed.len() < count {
            signed.push(self.signed.recv().await.ok_or(BenchError::Generator)?);
        }
        self.ordered -= count;
        Ok(signed)
    }
}

fn read_keys(text: &str) -> Result<MemberKeys, BenchError> {
    let mut account = [0; 32];
    hex::decode_to_slice(text.trim().trim_start_matches("0x"), &mut account)
        .map_err(|_| BenchError::Generator)?;
    // Only the account signs here; the other secrets are never used.
    MemberKeys::from_secrets([1; 32], account, [1; 32], [1; 32])
        .map_err(|e| BenchError::Storage(e.to_string()))
}

impl Wallet {
    /// A record as `hansa put` writes it, in a transaction of the member's account.
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
        let call = abi::DataStore::putCall { r: record };
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
        Some(Signed { hash: *signed.hash(), raw: signed.encoded_2718().into() })
    }
}
