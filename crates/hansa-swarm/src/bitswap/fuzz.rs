//! Random sequences of inputs for the two state machines, decoded from bytes: for the fuzz target and a property test. Only invariants
//! are checked, not progress.

use std::time::{Duration, Instant};

use bytes::Bytes;
use cid::Cid;
use hansa_content::{DAG_CBOR, RAW};
use libp2p::PeerId;
use multihash::Multihash;

use super::ledger::{Job, Ledgers};
use super::wants::{Outcome, SessionId, Wants};
use super::{Entry, Kind, Message, Presence, key_of};

const IDLE: Duration = Duration::from_secs(30);
const PEERS: u8 = 3;
const SESSIONS: u8 = 4;

/// The bytes of a sequence, followed by zeros.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn peer(&mut self) -> PeerId {
        let name = [self.byte() % PEERS; 36];
        let hash = Multihash::wrap(0, &name).expect("invariant: 36 bytes fit");
        PeerId::from_multihash(hash).expect("invariant: a short identity is a peer")
    }

    fn session(&mut self) -> SessionId {
        SessionId(u64::from(self.byte() % SESSIONS))
    }

    /// A CID with one of 32 digests and one of two codecs.
    fn cid(&mut self) -> Cid {
        let byte = self.byte();
        let hash = Multihash::wrap(0x12, &[byte & 31; 32]).expect("invariant: 32 bytes fit");
        Cid::new_v1(if byte & 0x80 == 0 { RAW } else { DAG_CBOR }, hash)
    }

    fn entry(&mut self) -> Entry {
        let byte = self.byte();
        let kind = if byte & 1 == 0 { Kind::Block } else { Kind::Have };
        Entry { cid: self.cid(), kind, cancel: byte & 2 != 0, send_dont_have: byte & 4 != 0 }
    }

    /// A message decoded from the next bytes, if it is valid.
    fn message(&mut self) -> Option<Message> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        Message::decode(Bytes::copy_from_slice(bytes)).ok()
    }
}

/// The two state machines and their clock.
struct Machines {
    now: Instant,
    wants: Wants,
    ledgers: Ledgers,
    jobs: Vec<Job>,
}

impl Machines {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 12 {
            0 => self.wants.connected(script.peer(), self.now),
            1 => {
                let peer = script.peer();
                self.wants.disconnected(peer, self.now);
                self.ledgers.forget(&peer);
            }
            2 => self.wants.lost(script.peer(), self.now),
            3 => self.wants.unsupported(script.peer(), self.now),
            4 => {
                let (id, byte) = (script.session(), script.byte());
                let only = (byte & 1 != 0).then(|| script.peer());
                self.wants.close(id);
                self.wants.open(id, only, self.now);
            }
            5 => {
                let id = script.session();
                let cids: Vec<Cid> = (0..script.byte() % 8).map(|_| script.cid()).collect();
                self.wants.want(id, cids, self.now);
            }
            6 => self.receive_block(script.peer(), &script.cid()),
            7 => {
                let (peer, cid, have) = (script.peer(), script.cid(), script.byte() & 1 != 0);
                if self.wants.presences(peer, &[Presence { cid, have }], self.now).is_err() {
                    self.wants.disconnected(peer, self.now);
                }
            }
            8 => {
                self.now =
                    self.now.checked_add(Duration::from_secs(script.byte().into())).unwrap_or(self.now);
                self.wants.tick(self.now, IDLE);
            }
            9 => {
                let peer = script.peer();
                if let Some(message) = script.message() {
                    let _ = self.wants.presences(peer, &message.presences, self.now);
                    self.ledgers.receive(peer, message.wants, message.full);
                }
            }
            10 => {
                let peer = script.peer();
                let entries = (0..script.byte()).map(|_| script.entry()).collect();
                self.ledgers.receive(peer, entries, false);
                self.jobs.extend(std::iter::from_fn(|| self.ledgers.next_job()));
            }
            _ => self.answer(script),
        }
    }

    /// The node disconnects a peer that sends unwanted blocks.
    fn receive_block(&mut self, peer: PeerId, cid: &Cid) {
        let key = key_of(cid).expect("invariant: sha2-256");
        if self.wants.received(peer, &key, self.now).is_err() {
            self.wants.disconnected(peer, self.now);
        }
    }

    /// Answers half of the wants of a job.
    fn answer(&mut self, script: &mut Script<'_>) {
        let Some(job) = self.jobs.pop() else { return };
        let leftover = job.wants.iter().skip(job.wants.len() / 2).copied().collect();
        let bytes = usize::from(script.byte()) << 13;
        if self.ledgers.answered(&job, bytes, leftover) && script.byte() & 1 == 0 {
            self.ledgers.sent(&job.peer, bytes);
        }
    }
}

/// Runs a sequence.
///
/// # Panics
/// If an invariant is broken.
pub(crate) fn run(script: &[u8]) {
    let mut script = Script(script);
    let (wants, ledgers) = (Wants::default(), Ledgers::new(&crate::Limits::default()));
    let mut machines = Machines { now: Instant::now(), wants, ledgers, jobs: Vec::new() };
    while !script.0.is_empty() {
        machines.step(&mut script);
        check_outcomes(&machines.wants.take_outcomes());
        machines.wants.take_messages();
        machines.ledgers.check();
    }
    for id in 0..SESSIONS {
        machines.wants.close(SessionId(id.into()));
    }
    assert!(machines.wants.is_idle(), "something is left of closed sessions");
}

fn check_outcomes(outcomes: &[Outcome]) {
    for outcome in outcomes {
        let (Outcome::NotFound(SessionId(id), _) | Outcome::NotConnected(SessionId(id))) = outcome;
        assert!(*id < u64::from(SESSIONS));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_sequence_keeps_the_invariants(script in proptest::collection::vec(any::<u8>(), 0..400)) {
            super::run(&script);
        }
    }
}
