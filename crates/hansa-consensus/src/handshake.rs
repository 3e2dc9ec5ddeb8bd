//! Diagnosis of failed handshakes, for operators.
//!
//! A handshake fails if the clocks or genesis files of two nodes differ; the engine only closes the connection. A diagnosis is a claim:
//! before a handshake succeeds, the other side's identity is not proven. No decision depends on it.

use std::collections::BTreeMap;

use commonware_cryptography::{handshake::sake::Error as SakeError, transcript::Transcript};
use commonware_runtime::{Clock, Sink, Stream};
use commonware_stream::{
    sake::{Error, Sake},
    utils::codec::Error as FrameError,
};
use hansa_types::NetworkKey;
use rand_core::CryptoRng;
use tokio::sync::watch;

use crate::{
    genesis::network_key,
    peers::PEERS_MAX,
    types::{PrivateKey, PublicKey},
};

/// The cause of a failed handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The member's clock is this many milliseconds ahead of this node's; negative: behind.
    Clock {
        /// The member's time minus this node's.
        ahead_ms: i64,
    },
    /// The signature is for another chain, because the genesis files differ, or by an impostor.
    Signature,
    /// The member's node closed the connection: this node is not in its registry, or it sees one of the causes above.
    TurnedAway,
}

/// The members with a failed last handshake. Clones share the state.
#[derive(Clone, Debug, Default)]
pub struct Handshakes(watch::Sender<BTreeMap<NetworkKey, Trouble>>);

impl Handshakes {
    /// The failures with change notification.
    pub fn subscribe(&self) -> watch::Receiver<BTreeMap<NetworkKey, Trouble>> {
        self.0.subscribe()
    }

    /// Removes connected members: of two simultaneous connections, one is refused.
    pub fn settle(&self, connected: &[NetworkKey]) {
        self.0.send_if_modified(|troubles| {
            let before = troubles.len();
            troubles.retain(|key, _| !connected.contains(key));
            troubles.len() != before
        });
    }

    fn note(&self, member: &PublicKey, outcome: Result<(), &Error>) {
        let key = network_key(member);
        self.0.send_if_modified(|troubles| match (outcome.map_err(trouble), troubles.get(&key)) {
            (Ok(()), _) => troubles.remove(&key).is_some(),
            (Err(None), _) => false,
            // The known cause is more specific.
            (Err(Some(Trouble::TurnedAway)), Some(_)) => false,
            (Err(Some(_)), None) if troubles.len() >= PEERS_MAX => false,
            (Err(Some(trouble)), _) => troubles.insert(key, trouble) != Some(trouble),
        });
    }
}

/// The cause that an error of a handshake indicates, if any.
fn trouble(error: &Error) -> Option<Trouble> {
    match error {
        Error::HandshakeError(SakeError::InvalidTimestamp(theirs, allowed)) => {
            let theirs = i64::try_from(*theirs).unwrap_or(i64::MAX);
            let ours = allowed.start.saturating_add(HANDSHAKE_AGE_MAX_MS);
            let ours = i64::try_from(ours).unwrap_or(i64::MAX);
            Some(Trouble::Clock { ahead_ms: theirs.saturating_sub(ours) })
        }
        Error::HandshakeError(SakeError::InvalidSignature) => Some(Trouble::Signature),
        Error::Frame(FrameError::RecvFailed(_)) => Some(Trouble::TurnedAway),
        _ => None,
    }
}

/// Maximum age of a handshake's message in milliseconds.
pub(crate) const HANDSHAKE_AGE_MAX_MS: u64 = 20_000;

/// A handshake with recorded outcomes.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) inner: Sake<PrivateKey>,
    pub(crate) notes: Handshakes,
}

impl commonware_stream::Handshake for Watched {
    type PublicKey = PublicKey;
    type Error = Error;

    fn public_key(&self) -> PublicKey {
        self.inner.public_key()
    }

    async fn dial<E, I, O>(
        self,
        context: E,
        namespace: &[u8],
        peer: PublicKey,
        stream: &mut I,
        sink: &mut O,
    ) -> Result<Transcript, Error>
    where
        E: Clock + CryptoRng,
        I: Stream,
        O: Sink,
    {
        let outcome = self.inner.dial(context, namespace, peer.clone(), stream, sink).await;
        self.notes.note(&peer, outcome.as_ref().map(drop));
        outcome
    }

    async fn listen<E, I, O, B, F>(
        self,
        context: E,
        namespace: &[u8],
        bouncer: B,
        stream: &mut I,
        sink: &mut O,
    ) -> Result<(PublicKey, Transcript), Error>
    where
        E: Clock + CryptoRng,
        I: Stream,
        O: Sink,
        B: FnOnce(PublicKey) -> F + Send,
        F: Future<Output = bool> + Send,
    {
        let mut admitted = None;
        let claimed = &mut admitted;
        let bouncer = move |peer: PublicKey| async move {
            let admits = bouncer(peer.clone()).await;
            *claimed = admits.then_some(peer);
            admits
        };
        let outcome = self.inner.listen(context, namespace, bouncer, stream, sink).await;
        match (&outcome, admitted) {
            // A broken connection says nothing about its sender.
            (Err(Error::Frame(_)), _) | (_, None) => {}
            (outcome, Some(peer)) => self.notes.note(&peer, outcome.as_ref().map(drop)),
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use commonware_cryptography::{Signer as _, ed25519};
    use commonware_runtime::Error as RuntimeError;

    use super::*;

    #[test]
    fn the_last_failure_of_each_member_is_kept_until_a_handshake_succeeds() {
        let handshakes = Handshakes::default();
        let member = ed25519::PrivateKey::from_seed(1).public_key();
        let note = |error: SakeError| handshakes.note(&member, Err(&error.into()));
        let noted = || handshakes.subscribe().borrow().get(&network_key(&member)).copied();
        // An hour ahead of a node whose clock reads 100 s.
        note(SakeError::InvalidTimestamp(3_700_000, 80_000..110_000));
        assert_eq!(noted(), Some(Trouble::Clock { ahead_ms: 3_600_000 }));
        note(SakeError::InvalidTimestamp(10_000, 80_000..110_000));
        assert_eq!(noted(), Some(Trouble::Clock { ahead_ms: -90_000 }));
        note(SakeError::InvalidSignature);
        assert_eq!(noted(), Some(Trouble::Signature));
        note(SakeError::InvalidEphemeralKey);
        handshakes.note(&member, Err(&Error::Frame(FrameError::RecvFailed(RuntimeError::Closed))));
        assert_eq!(noted(), Some(Trouble::Signature), "later failures say less");
        handshakes.note(&member, Ok(()));
        assert_eq!(noted(), None);
        note(SakeError::InvalidSignature);
        handshakes.settle(&[network_key(&member)]);
        assert_eq!(noted(), None);
    }

    #[test]
    fn the_notes_do_not_grow_beyond_the_members() {
        let handshakes = Handshakes::default();
        for seed in 0..PEERS_MAX as u64 + 10 {
            let member = ed25519::PrivateKey::from_seed(seed).public_key();
            handshakes.note(&member, Err(&SakeError::InvalidSignature.into()));
        }
        assert_eq!(handshakes.subscribe().borrow().len(), PEERS_MAX);
    }
}
