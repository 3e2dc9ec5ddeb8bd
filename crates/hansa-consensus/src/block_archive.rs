//! The agreement engine's store of final blocks: an archive for recent blocks, and the ledger for all others.
//!
//! The ledger stores every final block, so the archive holds blocks until they are executed, and a margin after that. Blocks that are
//! not final are not stored here.

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

/// Blocks that are pruned together.
pub(crate) const SECTION_BLOCKS: u64 = 512;
/// Executed blocks that stay in the archive, more than the engine looks back.
pub(crate) const MARGIN_BLOCKS: u64 = 1_024;

type Archive<E> = prunable::Archive<EightCap, E, BlockDigest, Arc<ChainBlock>>;

/// A failed access to a final block.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlockArchiveError {
    #[error("the archive of blocks failed")]
    Archive(#[from] Error),
    #[error("the ledger cannot be read")]
    Ledger(#[from] LedgerError),
    #[error("the ledger holds a block without consensus data")]
    Undecodable(#[from] commonware_codec::Error),
}

/// The archive, backed by the ledger.
pub(crate) struct BlockArchive<E: Storage + Metrics + Clock> {
    archive: Archive<E>,
    ledger: Ledger,
    rules: BlockRules,
}

impl<E: Storage + Metrics + Clock> BlockArchive<E> {
    pub(crate) fn new(archive: Archive<E>, ledger: Ledger, rules: BlockRules) -> Self {
        Self { archive, ledger, rules }
    }

    fn in_ledger(
        &self,
        id: &Identifier<'_, BlockDigest>,
    ) -> Result<Option<Arc<ChainBlock>>, BlockArchiveError> {
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

impl<E: Storage + Metrics + Clock> Blocks for BlockArchive<E> {
    type Block = Arc<ChainBlock>;
    type Error = BlockArchiveError;

    async fn put(self, digest: BlockDigest, block: &Arc<ChainBlock>) -> Result<Self, BlockArchiveError> {
        let archive = Blocks::put(self.archive, digest, block).await?;
        let store = Self { archive, ..self };
        match block.block().number() {
            number if number.is_multiple_of(SECTION_BLOCKS) => {
                store.prune(Height::new(number.saturating_sub(MARGIN_BLOCKS))).await
            }
            _ => Ok(store),
        }
    }

    async fn sync(self) -> Result<Self, BlockArchiveError> {
        let archive = Blocks::sync(self.archive).await?;
        Ok(Self { archive, ..self })
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), BlockArchiveError> {
        let (archive, durable) = Blocks::start_sync(self.archive).await?;
        Ok((Self { archive, ..self }, durable))
    }

    async fn get(
        &self,
        id: Identifier<'_, BlockDigest>,
    ) -> Result<Option<Arc<ChainBlock>>, BlockArchiveError> {
        let known = match &id {
            Identifier::Index(number) => Blocks::get(&self.archive, Identifier::Index(*number)).await?,
            Identifier::Key(digest) => Blocks::get(&self.archive, Identifier::Key(digest)).await?,
        };
        match known {
            Some(block) => Ok(Some(block)),
            None => self.in_ledger(&id),
        }
    }

    async fn prune(self, min: Height) -> Result<Self, BlockArchiveError> {
        // Blocks that the ledger does not have must stay.
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
