//! Encodings of stored records.
//!
//! Numbers are 8 bytes, big-endian. A block's receipts are an RLP list of
//! `[sender, type, succeeded, cumulativeGas, gas, firstLogIndex, [log…]]`; bloom filters are computed again when read.
//! A transaction's place is block number ‖ index (4 bytes).

use alloy_consensus::{Receipt, ReceiptEnvelope, Transaction};
use alloy_eips::eip2718::{Decodable2718, Typed2718};
use alloy_primitives::{Address, Bytes, Log};
use alloy_rlp::{Decodable, Encodable, Header, RlpDecodable, RlpEncodable};

use hansa_kv::KvStore;
use hansa_types::{Block, SignedTransaction};

use crate::{BLOCKS, LedgerError, TransactionReceipt};

#[derive(Debug, PartialEq, Eq, RlpEncodable, RlpDecodable)]
pub(crate) struct StoredReceipt {
    pub(crate) sender: Address,
    pub(crate) kind: u8,
    pub(crate) succeeded: bool,
    pub(crate) cumulative_gas: u64,
    pub(crate) gas: u64,
    pub(crate) first_log_index: u64,
    pub(crate) logs: Vec<Log>,
}

/// The same fields, borrowed, so that logs are not copied to be encoded.
#[derive(RlpEncodable)]
struct ReceiptRef<'a> {
    sender: &'a Address,
    kind: u8,
    succeeded: bool,
    cumulative_gas: u64,
    gas: u64,
    first_log_index: u64,
    logs: Logs<'a>,
}

struct Logs<'a>(&'a [Log]);

impl Encodable for Logs<'_> {
    fn encode(&self, out: &mut dyn alloy_rlp::BufMut) {
        alloy_rlp::encode_list(self.0, out);
    }

    fn length(&self) -> usize {
        alloy_rlp::list_length(self.0)
    }
}

pub(crate) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub(crate) fn place(number: u64, index: u64) -> Vec<u8> {
    let mut place = number.to_be_bytes().to_vec();
    // A block has far fewer than 2³² transactions: it is limited in bytes.
    place.extend_from_slice(&u32::try_from(index).unwrap_or(u32::MAX).to_be_bytes());
    place
}

pub(crate) fn read_place(bytes: &[u8]) -> Option<(u64, u64)> {
    let (block, index) = bytes.split_at_checked(8)?;
    let index = u32::from_be_bytes(index.try_into().ok()?);
    Some((number(block)?, u64::from(index)))
}

pub(crate) fn encode_receipts(receipts: &[TransactionReceipt]) -> Vec<u8> {
    let references: Vec<_> = receipts
        .iter()
        .map(|receipt| ReceiptRef {
            sender: &receipt.sender,
            kind: receipt.receipt.ty(),
            succeeded: receipt.receipt.status(),
            cumulative_gas: receipt.receipt.cumulative_gas_used(),
            gas: receipt.gas_used,
            first_log_index: receipt.first_log_index,
            logs: Logs(receipt.receipt.logs()),
        })
        .collect();
    let mut out = Vec::new();
    alloy_rlp::encode_list(&references, &mut out);
    out
}

pub(crate) fn decode_receipts(mut bytes: &[u8]) -> Option<Vec<StoredReceipt>> {
    Vec::<StoredReceipt>::decode(&mut bytes).ok()
}

/// One receipt of a block, without reading the others.
pub(crate) fn decode_receipt(mut bytes: &[u8], index: u64) -> Option<StoredReceipt> {
    let list = Header::decode_bytes(&mut bytes, true).ok()?;
    StoredReceipt::decode(&mut nth_item(list, index)?).ok()
}

/// One transaction of an encoded block, without reading the others.
pub(crate) fn decode_transaction(mut block: &[u8], index: u64) -> Option<SignedTransaction> {
    let mut fields = Header::decode_bytes(&mut block, true).ok()?;
    skip_item(&mut fields)?;
    let list = Header::decode_bytes(&mut fields, true).ok()?;
    let envelope = Header::decode_bytes(&mut nth_item(list, index)?, false).ok()?;
    SignedTransaction::decode_2718_exact(envelope).ok()
}

/// The header of an encoded block.
pub(crate) fn decode_header(mut block: &[u8]) -> Option<alloy_consensus::Header> {
    let mut fields = Header::decode_bytes(&mut block, true).ok()?;
    alloy_consensus::Header::decode(&mut fields).ok()
}

fn nth_item(mut list: &[u8], index: u64) -> Option<&[u8]> {
    for _ in 0..index {
        skip_item(&mut list)?;
    }
    Some(list)
}

fn skip_item(items: &mut &[u8]) -> Option<()> {
    let header = Header::decode(items).ok()?;
    *items = items.get(header.payload_length..)?;
    Some(())
}

pub(crate) fn load_block(store: &dyn KvStore, number: u64) -> Result<Option<Block>, LedgerError> {
    let Some(bytes) = store.get(BLOCKS, &number.to_be_bytes())? else { return Ok(None) };
    Block::decode(&Bytes::from(bytes)).map(Some).map_err(|_| LedgerError::Damaged { what: "block" })
}

/// Combines a stored receipt with its block and transaction.
pub(crate) fn complete(
    stored: StoredReceipt,
    block: &BlockPlace,
    transaction: &SignedTransaction,
    transaction_index: u64,
) -> Option<TransactionReceipt> {
    let StoredReceipt { sender, kind, succeeded, cumulative_gas, gas, first_log_index, logs } = stored;
    if kind != transaction.ty() {
        return None;
    }
    let receipt =
        Receipt { status: succeeded.into(), cumulative_gas_used: cumulative_gas, logs }.with_bloom();
    let receipt = match kind {
        0 => ReceiptEnvelope::Legacy(receipt),
        1 => ReceiptEnvelope::Eip2930(receipt),
        2 => ReceiptEnvelope::Eip1559(receipt),
        _ => return None,
    };
    Some(TransactionReceipt {
        receipt,
        transaction_hash: *transaction.tx_hash(),
        transaction_index,
        block_hash: block.hash,
        block_number: block.number,
        timestamp: block.timestamp,
        sender,
        to: transaction.to(),
        contract_address: transaction.is_create().then(|| sender.create(transaction.nonce())),
        gas_used: gas,
        first_log_index,
    })
}

/// The block's place, as each of its receipts repeats it.
#[derive(Clone, Copy)]
pub(crate) struct BlockPlace {
    pub(crate) hash: alloy_primitives::B256,
    pub(crate) number: u64,
    pub(crate) timestamp: u64,
}

impl BlockPlace {
    pub(crate) fn of(block: &Block) -> Self {
        Self { hash: block.hash(), number: block.number(), timestamp: block.header().timestamp }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256, hex};
    use proptest::prelude::*;

    use super::*;

    fn stored() -> StoredReceipt {
        let log = Log::new_unchecked(
            Address::repeat_byte(2),
            vec![B256::repeat_byte(3)],
            Bytes::from_static(&[4, 5]),
        );
        StoredReceipt {
            sender: Address::repeat_byte(1),
            kind: 2,
            succeeded: true,
            cumulative_gas: 100_000,
            gas: 60_000,
            first_log_index: 7,
            logs: vec![log],
        }
    }

    fn located(index: u64) -> TransactionReceipt {
        let stored = stored();
        TransactionReceipt {
            receipt: ReceiptEnvelope::Eip1559(
                Receipt { status: true.into(), cumulative_gas_used: 100_000, logs: stored.logs }.with_bloom(),
            ),
            transaction_hash: B256::ZERO,
            transaction_index: index,
            block_hash: B256::ZERO,
            block_number: 1,
            timestamp: 0,
            sender: stored.sender,
            to: None,
            contract_address: None,
            gas_used: 60_000,
            first_log_index: 7,
        }
    }

    /// Data folders of earlier versions must stay readable: a change here needs a migration.
    #[test]
    fn encodings_are_pinned() {
        let pinned = hex!(
            "f85ff85d940101010101010101010101010101010101010101020183"
            "0186a082ea6007f83cf83a9402020202020202020202020202020202"
            "02020202e1a003030303030303030303030303030303030303030303"
            "03030303030303030303820405"
        );
        assert_eq!(hex::encode(encode_receipts(&[located(0)])), hex::encode(pinned));
        assert_eq!(place(258, 772), hex!("000000000000010200000304"));
        assert_eq!(read_place(&place(258, 772)), Some((258, 772)));
    }

    #[test]
    fn one_receipt_is_found_among_many() {
        let encoded = encode_receipts(&[located(0), located(1), located(2)]);
        assert_eq!(decode_receipts(&encoded).unwrap().len(), 3);
        assert!((0..3).all(|index| decode_receipt(&encoded, index) == Some(stored())));
        assert_eq!(decode_receipt(&encoded, 3), None);
        assert_eq!(decode_receipts(&encode_receipts(&[])), Some(Vec::new()));
    }

    proptest! {
        #[test]
        fn damaged_records_are_refused_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..120),
            flipped in any::<prop::sample::Index>(),
            index in 0_u64..5,
        ) {
            let mut damaged = encode_receipts(&[located(0), located(1)]);
            let at = flipped.index(damaged.len());
            damaged[at] ^= 0x81;
            for record in [bytes.as_slice(), damaged.as_slice()] {
                let _ = (decode_receipts(record), decode_receipt(record, index));
                let _ = (decode_transaction(record, index), decode_header(record));
                let _ = (number(record), read_place(record));
            }
        }
    }
}
