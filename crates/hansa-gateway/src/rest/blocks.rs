//! The chain's blocks in short, and their proofs.

use axum::{Json, extract::State};
use hansa_api::{BlockSummary, Code};
use hansa_ledger::{Ledger, LedgerError};
use hansa_types::{Block, BlockProof, Certificate};
use serde::Deserialize;

use super::{
    Gate,
    problem::{Path, Query, Refusal},
};

/// Which blocks to list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Range {
    /// The lowest height; the last `limit` blocks when missing.
    from: Option<u64>,
    /// How many; 20 when missing, at most 1,000.
    limit: Option<u64>,
}

fn summary(block: &Block) -> BlockSummary {
    let header = block.header();
    BlockSummary {
        number: header.number,
        hash: block.hash(),
        parent: header.parent_hash,
        state_root: header.state_root,
        timestamp: header.timestamp,
        transactions: u32::try_from(block.transactions().len()).unwrap_or(u32::MAX),
        gas_used: header.gas_used,
        proposer: header.beneficiary,
    }
}

/// Reads the ledger on a blocking thread.
async fn read<T: Send + 'static>(
    ledger: &Ledger,
    work: impl FnOnce(&Ledger) -> Result<T, LedgerError> + Send + 'static,
) -> Result<T, Refusal> {
    let ledger = ledger.clone();
    match tokio::task::spawn_blocking(move || work(&ledger)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Refusal::new(Code::Internal, error.to_string())),
        Err(error) => Err(Refusal::new(Code::Internal, error.to_string())),
    }
}

pub(crate) async fn list(
    State(gate): State<Gate>,
    Query(range): Query<Range>,
) -> Result<Json<Vec<BlockSummary>>, Refusal> {
    let limit = range.limit.unwrap_or(20).min(gate.limits().blocks);
    let blocks = read(gate.ledger(), move |ledger| {
        let head = ledger.head().number();
        let from = range.from.unwrap_or(head.saturating_add(1).saturating_sub(limit));
        let to = from.saturating_add(limit).min(head.saturating_add(1));
        let mut blocks = Vec::new();
        for number in from..to {
            blocks.extend(ledger.block(number)?.map(|block| summary(&block)));
        }
        Ok(blocks)
    });
    Ok(Json(blocks.await?))
}

pub(crate) async fn one(
    State(gate): State<Gate>,
    Path(number): Path<u64>,
) -> Result<Json<BlockSummary>, Refusal> {
    let block = read(gate.ledger(), move |ledger| ledger.block(number)).await?;
    let found = block.map(|block| Json(summary(&block)));
    found.ok_or_else(|| Refusal::new(Code::UnknownBlock, format!("block {number} is not final here")))
}

pub(crate) async fn certificate(
    State(gate): State<Gate>,
    Path(number): Path<u64>,
) -> Result<Json<Certificate>, Refusal> {
    let found = proven(&gate, number, move |ledger| ledger.finality_certificate(number)).await?;
    let missing = format!("block {number} has no certificate of its own; it is final with a later block");
    found.map(Json).ok_or_else(|| Refusal::new(Code::NotCertified, missing))
}

pub(crate) async fn proof(
    State(gate): State<Gate>,
    Path(number): Path<u64>,
) -> Result<Json<BlockProof>, Refusal> {
    let found = proven(&gate, number, move |ledger| ledger.block_proof(number)).await?;
    let missing = format!("this node has no certificate of block {number} or of one soon after it");
    found.map(Json).ok_or_else(|| Refusal::new(Code::NotCertified, missing))
}

/// Reads evidence for a final block above genesis.
async fn proven<T: Send + 'static>(
    gate: &Gate,
    number: u64,
    work: impl FnOnce(&Ledger) -> Result<Option<T>, LedgerError> + Send + 'static,
) -> Result<Option<T>, Refusal> {
    if number == 0 {
        let genesis = "block 0 follows from the genesis file; nobody wrote or certified it";
        return Err(Refusal::new(Code::NotCertified, genesis));
    }
    if number > gate.ledger().head().number() {
        return Err(Refusal::new(Code::UnknownBlock, format!("block {number} is not final here")));
    }
    read(gate.ledger(), work).await
}
