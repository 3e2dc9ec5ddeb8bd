//! Takes part in the founders' key generation when the home's genesis file has no group key yet.

use hansa_consensus::{Ceremony, CeremonyConfig, CeremonyProgress};
use hansa_envelope::MemberKeys;
use hansa_types::Genesis;
use zeroize::Zeroizing;

use crate::{Home, NodeConfig, NodeError, Secrecy, write_file};

/// The complete genesis: the home's own if it is complete, or else what the ceremony makes of the draft. A founder that
/// is stopped in between starts the ceremony again.
pub(crate) async fn complete(
    home: &Home,
    config: &NodeConfig,
    keys: &MemberKeys,
    storage_key: &Zeroizing<[u8; 32]>,
    draft: Genesis,
) -> Result<Genesis, NodeError> {
    if !draft.group.is_empty() {
        return Ok(draft);
    }
    tracing::info!(founders = draft.founders.len(), "founding: making the group key with the other founders");
    let ceremony = Ceremony::start(CeremonyConfig {
        secret_key: Zeroizing::new(*keys.network_secret()),
        draft,
        store: home.data().join("consensus"),
        storage_key: storage_key.clone(),
        listen: config.consensus_listen,
    })?;
    let mut progress = ceremony.progress();
    while progress.changed().await.is_ok() {
        match &*progress.borrow_and_update() {
            CeremonyProgress::WaitingFor(names) => tracing::info!(?names, "founding: waiting for founders"),
            CeremonyProgress::Lingering(names) => tracing::debug!(?names, "founding: staying for founders"),
            other => tracing::debug!(?other, "founding"),
        }
    }
    let joined = tokio::task::spawn_blocking(move || ceremony.join()).await;
    let genesis = joined.map_err(|_| NodeError::Interrupted)??;
    write_file(&home.genesis_file(), genesis.to_json().as_bytes(), Secrecy::Public)?;
    tracing::info!("founding: the group key is made");
    Ok(genesis)
}
