//! Where the agreement engine finds final blocks: its own archive for the newest, the ledger for all others.
//!
//! The ledger keeps every final block anyway, so the archive only has to bridge the time until a block has been executed
//! and to hold a margin after that. Neither is ever asked for a block that is not final.

use std::sync::Arc;

use alloy_primitives::B256;
use commonware_consensus::{marshal::store::Blocks, types::Height};
use commonware_runtime::{Clock, Handle, Metrics, Storage};
use commonware_storage::{
    archive::{Error, Identifier, prunable},
    translator::EightCap,
};
use hansa_ledger::{Ledger, LedgerError};
use hansa_types::Block;

use crate::{
    block::{BlockRules, ChainBlock},
    digest::BlockDigest,
};

/// Blocks that the archive drops together.
pub(crate) const SECTION_BLOCKS: u64 = 512;
/// Executed blocks that stay in the archive, more than the engine looks back on its own account.
pub(crate) const MARGIN_BLOCKS: u64 = 1_024;

type Archive<E> = prunable::Archive<EightCap, E, BlockDigest, Arc<ChainBlock>>;

/// Why a final block cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShelfError {
    #[error("the archive of blocks failed")]
    Archive(#[from] Error),
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("the ledger holds a block without consensus data")]
    Undecodable(#[from] commonware_codec::Error),
}

/// The archive and, behind it, the ledger.
pub(crate) struct Shelf<E: Storage + Metrics + Clock> {
    archive: Archive<E>,
    ledger: Ledger,
    rules: BlockRules,
}

impl<E: Storage + Metrics + Clock> Shelf<E> {
    pub(crate) fn new(archive: Archive<E>, ledger: Ledger, rules: BlockRules) -> Self {
        Self { archive, ledger, rules }
    }

    fn in_ledger(&self, id: &Identifier<'_, BlockDigest>) -> Result<Option<Arc<ChainBlock>>, ShelfError> {
        let block: Option<Block> = match id {
            Identifier::Index(number) => self.ledger.block(*number)?,
            Identifier::Key(digest) => self.ledger.block_by_hash(B256::from(**digest))?,
        };
        Ok(match block {
            None => None,
            Some(block) if block.number() == 0 => Some(Arc::new(self.rules.genesis.clone())),
            Some(block) => Some(Arc::new(ChainBlock::new(block)?)),
        })
    }
}

impl<E: Storage + Metrics + Clock> Blocks for Shelf<E> {
    type Block = Arc<ChainBlock>;
    type Error = ShelfError;

    async fn put(self, digest: BlockDigest, block: &Arc<ChainBlock>) -> Result<Self, ShelfError> {
        let archive = Blocks::put(self.archive, digest, block).await?;
        let shelf = Self { archive, ..self };
        match block.block().number() {
            number if number.is_multiple_of(SECTION_BLOCKS) => {
                shelf.prune(Height::new(number.saturating_sub(MARGIN_BLOCKS))).await
            }
            _ => Ok(shelf),
        }
    }

    async fn sync(self) -> Result<Self, ShelfError> {
        let archive = Blocks::sync(self.archive).await?;
        Ok(Self { archive, ..self })
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), ShelfError> {
        let (archive, durable) = Blocks::start_sync(self.archive).await?;
        Ok((Self { archive, ..self }, durable))
    }

    async fn get(&self, id: Identifier<'_, BlockDigest>) -> Result<Option<Arc<ChainBlock>>, ShelfError> {
        let known = match &id {
            Identifier::Index(number) => Blocks::get(&self.archive, Identifier::Index(*number)).await?,
            Identifier::Key(digest) => Blocks::get(&self.archive, Identifier::Key(digest)).await?,
        };
        match known {
            Some(block) => Ok(Some(block)),
            None => self.in_ledger(&id),
        }
    }

    async fn prune(self, min: Height) -> Result<Self, ShelfError> {
        // What the ledger does not have yet must stay.
        let executed = Height::new(self.ledger.head().number());
        let archive = Blocks::prune(self.archive, min.min(executed)).await?;
        Ok(Self { archive, ..self })
    }

    fn missing_items(&self, start: Height, max: usize) -> Vec<Height> {
        Blocks::missing_items(&self.archive, start, max)
    }

    fn next_gap(&self, value: Height) -> (Option<Height>, Option<Height>) {
        Blocks::next_gap(&self.archive, value)
    }

    fn last_index(&self) -> Option<Height> {
        Blocks::last_index(&self.archive)
    }
}
