//! Blocks, transactions, receipts, and proofs of blocks.

use alloy_eips::{BlockId, BlockNumberOrTag, eip2718::Encodable2718};
use alloy_primitives::{B256, Bytes, U64};
use alloy_rpc_types_eth::{Block as RpcBlock, Index, TransactionReceipt};
use hansa_types::{Block, BlockProof, Certificate};

use super::{
    Chain,
    args::{Args, height},
    convert::{self, Transaction},
    error::RpcError,
};

type Answer<T> = Result<Option<T>, RpcError>;

fn block_at(chain: &Chain, tag: BlockNumberOrTag) -> Answer<Block> {
    Ok(chain.ledger.block(height(&chain.ledger, tag))?)
}

fn show(chain: &Chain, block: &Block, full: bool) -> Result<RpcBlock<Transaction>, RpcError> {
    if !full {
        return Ok(convert::block(block, None));
    }
    let senders = chain.ledger.senders(block.number())?.unwrap_or_default();
    Ok(convert::block(block, Some(&senders)))
}

pub(crate) fn by_number(chain: &Chain, args: &mut Args<'_>) -> Answer<RpcBlock<Transaction>> {
    let (tag, full) = (args.required()?, args.optional()?.unwrap_or(false));
    block_at(chain, tag)?.map(|block| show(chain, &block, full)).transpose()
}

pub(crate) fn by_hash(chain: &Chain, args: &mut Args<'_>) -> Answer<RpcBlock<Transaction>> {
    let (hash, full) = (args.required()?, args.optional()?.unwrap_or(false));
    chain.ledger.block_by_hash(hash)?.map(|block| show(chain, &block, full)).transpose()
}

fn count(block: Block) -> U64 {
    U64::from(block.transactions().len())
}

pub(crate) fn count_by_number(chain: &Chain, args: &mut Args<'_>) -> Answer<U64> {
    Ok(block_at(chain, args.required()?)?.map(count))
}

pub(crate) fn count_by_hash(chain: &Chain, args: &mut Args<'_>) -> Answer<U64> {
    Ok(chain.ledger.block_by_hash(args.required()?)?.map(count))
}

pub(crate) fn uncles_by_number(chain: &Chain, args: &mut Args<'_>) -> Answer<U64> {
    Ok(block_at(chain, args.required()?)?.map(|_| U64::ZERO))
}

pub(crate) fn uncles_by_hash(chain: &Chain, args: &mut Args<'_>) -> Answer<U64> {
    Ok(chain.ledger.block_by_hash(args.required()?)?.map(|_| U64::ZERO))
}

pub(crate) fn transaction(chain: &Chain, args: &mut Args<'_>) -> Answer<Transaction> {
    let hash: B256 = args.required()?;
    // The pool first: a transaction that becomes final in between is then found in the ledger.
    let pending = chain.pool.get(&hash);
    Ok(match chain.ledger.transaction(hash)? {
        Some(located) => Some(convert::located(located)),
        None => pending.map(|tx| convert::pending(&tx)),
    })
}

pub(crate) fn raw_transaction(chain: &Chain, args: &mut Args<'_>) -> Answer<Bytes> {
    let hash: B256 = args.required()?;
    let pending = chain.pool.get(&hash);
    Ok(match chain.ledger.transaction(hash)? {
        Some(located) => Some(located.transaction.encoded_2718().into()),
        None => pending.map(|tx| tx.transaction.encoded_2718().into()),
    })
}

fn at_index(chain: &Chain, block: Option<Block>, index: Index) -> Answer<Transaction> {
    let Some(block) = block else { return Ok(None) };
    let Some(transaction) = block.transactions().get(index.0) else { return Ok(None) };
    let senders = chain.ledger.senders(block.number())?.unwrap_or_default();
    Ok(senders.get(index.0).map(|sender| convert::in_block(&block, index.0 as u64, transaction, *sender)))
}

pub(crate) fn transaction_by_number(chain: &Chain, args: &mut Args<'_>) -> Answer<Transaction> {
    let block = block_at(chain, args.required()?)?;
    at_index(chain, block, args.required()?)
}

pub(crate) fn transaction_by_block_hash(chain: &Chain, args: &mut Args<'_>) -> Answer<Transaction> {
    let block = chain.ledger.block_by_hash(args.required()?)?;
    at_index(chain, block, args.required()?)
}

pub(crate) fn receipt(chain: &Chain, args: &mut Args<'_>) -> Answer<TransactionReceipt> {
    Ok(chain.ledger.receipt(args.required()?)?.map(convert::receipt))
}

pub(crate) fn receipts(chain: &Chain, args: &mut Args<'_>) -> Answer<Vec<TransactionReceipt>> {
    let Some(number) = number(chain, args)? else { return Ok(None) };
    Ok(chain
        .ledger
        .receipts(number)?
        .map(|receipts| receipts.iter().cloned().map(convert::receipt).collect()))
}

/// The height of the block that a parameter names.
fn number(chain: &Chain, args: &mut Args<'_>) -> Answer<u64> {
    Ok(match args.required()? {
        BlockId::Number(tag) => Some(height(&chain.ledger, tag)),
        BlockId::Hash(hash) => chain.ledger.number_of(hash.block_hash)?,
    })
}

/// The certificate of the block itself; a block without one is final with a later block.
pub(crate) fn certificate(chain: &Chain, args: &mut Args<'_>) -> Answer<Certificate> {
    let Some(number) = number(chain, args)? else { return Ok(None) };
    Ok(chain.ledger.finality_certificate(number)?)
}

pub(crate) fn proof(chain: &Chain, args: &mut Args<'_>) -> Answer<BlockProof> {
    let Some(number) = number(chain, args)? else { return Ok(None) };
    Ok(chain.ledger.block_proof(number)?)
}
