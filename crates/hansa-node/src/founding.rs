//! Takes part in the founders' key generation when the home's genesis file has no group key yet.

use std::collections::BTreeMap;

use hansa_consensus::{Ceremony, CeremonyConfig, CeremonyProgress, Trouble};
use hansa_envelope::MemberKeys;
use hansa_types::{Genesis, NetworkKey, printable};
use zeroize::Zeroizing;

use crate::{FolderLock, Home, NodeConfig, NodeError, Secrecy, health::words, write_file};

/// The complete genesis: the home's own if it is complete, or else what the ceremony makes of the draft. A founder that
/// is stopped in between starts the ceremony again.
pub(crate) async fn complete(
    home: &Home,
    config: &NodeConfig,
    keys: &MemberKeys,
    storage_key: &Zeroizing<[u8; 32]>,
    draft: Genesis,
    lock: &FolderLock,
) -> Result<Genesis, NodeError> {
    if !draft.group.is_empty() {
        return Ok(draft);
    }
    hansa_contracts::check_draft(&draft)?;
    tracing::info!(founders = draft.founders.len(), "founding: making the group key with the other founders");
    let ceremony = Ceremony::start(CeremonyConfig {
        secret_key: Zeroizing::new(*keys.network_secret()),
        draft: draft.clone(),
        store: home.claim_consensus(keys.network_key())?,
        storage_key: storage_key.clone(),
        listen: config.consensus_listen,
    })?;
    let mut progress = ceremony.progress();
    let mut handshakes = ceremony.handshakes().subscribe();
    let mut causes = String::new();
    loop {
        tokio::select! {
            changed = progress.changed() => {
                if changed.is_err() {
                    break;
                }
                match &*progress.borrow_and_update() {
                    CeremonyProgress::WaitingFor(names) => tracing::info!(?names, "founding: waiting for founders"),
                    CeremonyProgress::Lingering(names) => tracing::debug!(?names, "founding: staying for founders"),
                    other => tracing::debug!(?other, "founding"),
                }
            }
            Ok(()) = handshakes.changed() => {
                let found = explained(&draft, &handshakes.borrow_and_update());
                if found != causes && !found.is_empty() {
                    tracing::warn!("founding: {found}");
                }
                causes = found;
            }
        }
        say(lock, &progress.borrow(), &causes);
    }
    let joined = tokio::task::spawn_blocking(move || ceremony.join()).await;
    let genesis = joined.map_err(|_| NodeError::Interrupted)??;
    write_file(&home.genesis_file(), genesis.to_json().as_bytes(), Secrecy::Public)?;
    tracing::info!("founding: the group key is made");
    Ok(genesis)
}

/// Notes for `hansa status`, which the node cannot answer yet, what it waits for.
fn say(lock: &FolderLock, progress: &CeremonyProgress, causes: &str) {
    let doing = match progress {
        CeremonyProgress::WaitingFor(names) | CeremonyProgress::Lingering(names) => {
            let names: Vec<String> = names.iter().map(|name| printable(name)).collect();
            format!("founding: waiting for {}", names.join(", "))
        }
        _ => "founding: making the group key with the other founders".to_owned(),
    };
    let text = if causes.is_empty() { doing } else { format!("{doing}; {causes}") };
    if let Err(problem) = lock.say(&text) {
        tracing::debug!(%problem, "the lock file cannot be written");
    }
}

/// Why founders cannot be reached, as far as their handshakes tell; empty where they tell nothing.
fn explained(draft: &Genesis, troubles: &BTreeMap<NetworkKey, Trouble>) -> String {
    let named = draft.founders.iter().filter_map(|founder| {
        let name = printable(&founder.name);
        match troubles.get(&founder.network_key)? {
            // At this stage only a draft that differs makes signatures differ.
            Trouble::Signature => Some(format!("{name} has another draft of genesis.json")),
            // The founder that turns connections away says why in its own log.
            Trouble::TurnedAway => None,
            clock @ Trouble::Clock { .. } => Some(format!("{name}: {}", words(*clock))),
        }
    });
    let causes: Vec<String> = named.collect();
    let differs = draft.founders.iter().any(|f| troubles.get(&f.network_key) == Some(&Trouble::Signature));
    let mut text = causes.join("; ");
    if differs {
        let digest = draft.digest();
        text.push_str(&format!(
            "; all founders must start from the same file: this node's has the digest {digest}, the others' logs name theirs"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{Address, B256};
    use hansa_contracts::draft_genesis;
    use hansa_types::{ClusterId, Limits, MemberCard};

    use super::*;

    #[test]
    fn founders_with_another_draft_are_named() {
        let founder = |name: &str, byte: u8| MemberCard {
            name: name.into(),
            cluster: ClusterId(1),
            account: Address::repeat_byte(byte),
            network_key: NetworkKey(B256::repeat_byte(byte)),
            encryption_key: Default::default(),
            consensus_endpoint: String::new(),
            swarm_endpoint: String::new(),
        };
        let draft = draft_genesis(7, 1, Limits::default(), vec![founder("riga", 1), founder("visby", 2)]);
        let key = |byte| NetworkKey(B256::repeat_byte(byte));
        let troubles = BTreeMap::from([
            (key(1), Trouble::Signature),
            (key(2), Trouble::Clock { ahead_ms: 60_000 }),
            (key(3), Trouble::TurnedAway),
        ]);
        let text = explained(&draft, &troubles);
        let start = "riga has another draft of genesis.json; visby: its clock is 60 s ahead of this node's; ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains(&draft.digest().to_string()), "{text}");
        assert_eq!(explained(&draft, &BTreeMap::from([(key(1), Trouble::TurnedAway)])), "");
    }
}
