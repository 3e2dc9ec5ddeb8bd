//! The agreement engine's store of certificates: an archive for recent heights, and the ledger for all others.
//!
//! The archive is durable before a block is passed to the ledger. It has an index in memory and two open files for each section, so it
//! covers a window of recent heights. Each certificate is also written to the ledger, without a flush of its own. A section is pruned
//! once its certificates are durable in the ledger; an archive of the whole chain, as earlier versions kept it, shrinks in the same
//! way. Certificates are not verified here.

use bytes::Bytes;
use commonware_codec::{DecodeExt as _, Encode as _};
use commonware_consensus::{marshal::store::Certificates, types::Height};
use commonware_runtime::{Clock, Handle, Metrics, Spawner, Storage};
use commonware_storage::{
    archive::{Archive as _, Error, Identifier, prunable},
    translator::EightCap,
};
use hansa_ledger::{Ledger, LedgerError};

use crate::{
    application::offload,
    block_archive::{MARGIN_BLOCKS, SECTION_BLOCKS},
    digest::BlockDigest,
    types::{Finalization, Scheme},
};

type Archive<E> = prunable::Archive<EightCap, E, BlockDigest, Finalization>;

/// A failed access to a certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateStoreError {
    #[error("the archive of certificates failed")]
    Archive(#[from] Error),
    #[error("the ledger cannot be read or written")]
    Ledger(#[from] LedgerError),
    #[error("the ledger holds a malformed certificate")]
    Undecodable(#[from] commonware_codec::Error),
}

/// The archive, backed by the ledger.
pub(crate) struct CertificateStore<E: Storage + Metrics + Clock> {
    context: E,
    archive: Archive<E>,
    ledger: Ledger,
}

impl<E: Storage + Metrics + Clock + Spawner> CertificateStore<E> {
    pub(crate) fn new(context: E, archive: Archive<E>, ledger: Ledger) -> Self {
        Self { context, archive, ledger }
    }

    /// Writes to the ledger. Never returns if the runtime stops.
    async fn write(
        &self,
        work: impl FnOnce(&Ledger) -> Result<(), LedgerError> + Send + 'static,
    ) -> Result<(), LedgerError> {
        let ledger = self.ledger.clone();
        match offload(&self.context, move || work(&ledger)).await {
            Some(outcome) => outcome,
            None => core::future::pending().await,
        }
    }

    fn in_ledger(&self, height: u64) -> Result<Option<Finalization>, CertificateStoreError> {
        let encoded = self.ledger.certificate(height)?.map(Bytes::from);
        Ok(encoded.map(Finalization::decode).transpose()?)
    }

    /// The end of the oldest section, if it is below the window.
    fn expired(&self) -> Option<u64> {
        let window = self.ledger.head().number().saturating_sub(MARGIN_BLOCKS);
        let oldest = self.archive.first_index()? / SECTION_BLOCKS;
        let end = oldest.saturating_add(1).saturating_mul(SECTION_BLOCKS);
        // At startup the engine searches the archive for the newest certificate at or below its height, so a section stays until a later
        // one has a certificate below the window.
        let (next, _) = Certificates::ranges_from(&self.archive, Height::new(end)).next()?;
        (next.get().max(end) <= window).then_some(end)
    }

    /// Prunes the oldest section if it is below the window; one at a time, so that no block waits long.
    async fn shrink(self) -> Result<Self, CertificateStoreError> {
        let Some(end) = self.expired() else { return Ok(self) };
        let mut missing = Vec::new();
        for height in self.archive.first_index().unwrap_or(end)..end {
            // The ledger's copy is missing after a crash, or from earlier versions.
            if self.ledger.certificate(height)?.is_none()
                && let Some(certificate) = Certificates::get(&self.archive, Identifier::Index(height)).await?
            {
                missing.push((height, certificate.encode().to_vec()));
            }
        }
        self.write(move |ledger| {
            missing.into_iter().try_for_each(|(height, encoded)| ledger.keep_certificate(height, encoded))?;
            ledger.flush()
        })
        .await?;
        let archive = self.archive.prune(end).await?;
        Ok(Self { archive, ..self })
    }
}

impl<E: Storage + Metrics + Clock + Spawner> Certificates for CertificateStore<E> {
    type BlockDigest = BlockDigest;
    type Commitment = BlockDigest;
    type Scheme = Scheme;
    type Error = CertificateStoreError;

    async fn put(
        self,
        height: Height,
        digest: BlockDigest,
        certificate: &Finalization,
    ) -> Result<Self, CertificateStoreError> {
        let (number, encoded) = (height.get(), certificate.encode().to_vec());
        self.write(move |ledger| ledger.keep_certificate(number, encoded)).await?;
        let archive = Certificates::put(self.archive, height, digest, certificate).await?;
        Self { archive, ..self }.shrink().await
    }

    async fn sync(self) -> Result<Self, CertificateStoreError> {
        let archive = Certificates::sync(self.archive).await?;
        Ok(Self { archive, ..self })
    }

    async fn start_sync(self) -> Result<(Self, Handle<()>), CertificateStoreError> {
        let (archive, durable) = Certificates::start_sync(self.archive).await?;
        Ok((Self { archive, ..self }, durable))
    }

    async fn get(
        &self,
        id: Identifier<'_, BlockDigest>,
    ) -> Result<Option<Finalization>, CertificateStoreError> {
        let height = match id {
            Identifier::Index(height) => Some(height),
            Identifier::Key(digest) => self.ledger.number_of((*digest).into())?,
        };
        let Some(height) = height else { return Ok(Certificates::get(&self.archive, id).await?) };
        match Certificates::get(&self.archive, Identifier::Index(height)).await? {
            Some(certificate) => Ok(Some(certificate)),
            None => self.in_ledger(height),
        }
    }

    async fn has(&self, height: Height) -> Result<bool, CertificateStoreError> {
        Ok(Certificates::has(&self.archive, height).await?
            || self.ledger.certificate(height.get())?.is_some())
    }

    async fn prune(self, _: Height) -> Result<Self, CertificateStoreError> {
        // Pruning follows the ledger's head instead.
        Ok(self)
    }

    fn last_index(&self) -> Option<Height> {
        Certificates::last_index(&self.archive)
    }

    fn ranges_from(&self, from: Height) -> impl Iterator<Item = (Height, Height)> {
        Certificates::ranges_from(&self.archive, from)
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use commonware_runtime::{Runner as _, Supervisor as _, buffer::paged::CacheRef, deterministic};
    use commonware_utils::{NZU16, NZU64, NZUsize};
    use hansa_kv::MemoryStore;
    use hansa_ledger::Proposal;

    use super::*;
    use crate::tests::fixture;

    type Store = CertificateStore<deterministic::Context>;

    async fn archive(context: deterministic::Context) -> Archive<deterministic::Context> {
        let config = prunable::Config {
            translator: EightCap,
            metadata_partition: "metadata".into(),
            key_partition: "key".into(),
            key_page_cache: CacheRef::new(NZU16!(4_096), NZUsize!(16)),
            value_partition: "value".into(),
            compression: None,
            codec_config: (),
            items_per_section: NZU64!(SECTION_BLOCKS),
            key_write_buffer: NZUsize!(4_096),
            value_write_buffer: NZUsize!(4_096),
            replay_buffer: NZUsize!(4_096),
        };
        Archive::init(context, config).await.unwrap()
    }

    fn grow(ledger: &Ledger, height: u64) {
        while ledger.head().number() < height {
            let parent = ledger.head();
            let proposal = Proposal {
                parent: parent.hash(),
                timestamp: parent.header().timestamp,
                prevrandao: B256::ZERO,
                beneficiary: Address::ZERO,
                consensus: Default::default(),
                filling_time: None,
            };
            ledger.finalise(&ledger.propose(proposal).unwrap()).unwrap();
        }
    }

    /// Heights without a certificate of their own.
    fn is_skipped(height: u64) -> bool {
        height.is_multiple_of(7) || height.is_multiple_of(SECTION_BLOCKS)
    }

    fn certificate(height: u64) -> Finalization {
        fixture::certificate(1, BlockDigest::from(B256::with_last_byte(height as u8)))
    }

    async fn put(store: Store, height: u64) -> Store {
        let certificate = certificate(height);
        let digest = certificate.proposal.payload;
        Certificates::put(store, Height::new(height), digest, &certificate).await.unwrap()
    }

    /// Earlier versions kept the certificates of the whole chain in the archive, and none in the ledger.
    #[test]
    fn an_archive_of_the_whole_chain_shrinks_to_a_window_and_nothing_is_lost() {
        deterministic::Runner::default().start(|context| async move {
            const HEAD: u64 = 4 * SECTION_BLOCKS + 20;
            let ledger = fixture::lone_ledger(MemoryStore::new());
            grow(&ledger, HEAD);
            let shared = certificate(1);
            let mut old = archive(context.child("old")).await;
            for height in (1..HEAD).filter(|height| !is_skipped(*height)) {
                let key = BlockDigest::from(B256::from(alloy_primitives::U256::from(height)));
                old = Certificates::put(old, Height::new(height), key, &shared).await.unwrap();
            }
            let mut store = CertificateStore::new(context.child("store"), old, ledger.clone());
            let mut begins = Vec::new();
            for height in (HEAD..).filter(|height| !is_skipped(*height)).take(4) {
                store = put(store, height).await;
                begins.push(store.archive.first_index().unwrap() / SECTION_BLOCKS);
            }
            assert_eq!(begins, [1, 2, 2, 2], "a section at a time, up to the window");
            let store = Certificates::sync(store).await.unwrap();
            drop(store);

            let reopened = archive(context.child("again")).await;
            assert_eq!(reopened.first_index(), Some(2 * SECTION_BLOCKS + 1));
            let store = CertificateStore::new(context.child("reopened"), reopened, ledger.clone());
            for height in 1..HEAD {
                let found = store.get(Identifier::Index(height)).await.unwrap();
                assert_eq!(found.is_some(), !is_skipped(height), "{height}");
                assert_eq!(store.has(Height::new(height)).await.unwrap(), found.is_some(), "{height}");
            }
            let early = BlockDigest::from(ledger.block(9).unwrap().unwrap().hash());
            assert!(store.get(Identifier::Key(&early)).await.unwrap() == Some(shared));
            assert!(ledger.certificate(HEAD + 1).unwrap().is_some(), "new ones go to the ledger at once");
        });
    }

    /// A node that catches up by parents has long gaps between certificates. The engine needs the newest one below its height.
    #[test]
    fn the_newest_certificate_below_the_window_stays_in_the_archive() {
        deterministic::Runner::default().start(|context| async move {
            let ledger = fixture::lone_ledger(MemoryStore::new());
            grow(&ledger, 5 * SECTION_BLOCKS);
            let archive = archive(context.child("archive")).await;
            let mut store = CertificateStore::new(context.child("store"), archive, ledger.clone());
            for height in [5, 6, 5 * SECTION_BLOCKS] {
                store = put(store, height).await;
            }
            assert_eq!(store.archive.first_index(), Some(5));
            grow(&ledger, 7 * SECTION_BLOCKS);
            store = put(store, 7 * SECTION_BLOCKS).await;
            assert_eq!(store.archive.first_index(), Some(5 * SECTION_BLOCKS));
        });
    }
}
