//! The wants of this node: sessions of wanted blocks, and the peer to which each want is assigned.
//!
//! A session first asks every peer for the presence of a block, then requests blocks from peers that have them, each at its own rate.
//! Wants assigned to a disconnected peer are reassigned. A state machine without I/O; time is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use cid::Cid;
use libp2p::PeerId;

use super::message::{Entry, Kind, Presence};
use super::{Key, key_of};

/// Outstanding blocks of a peer.
const WINDOW: usize = 32;
/// Wants of a session without providers that are broadcast at the same time.
const BROADCAST: usize = 16;
/// Time without progress of a session after which its wants are reassigned.
const PATIENCE: Duration = Duration::from_secs(10);
/// Interval at which peers without a block are asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Digests remembered as asked of a peer, to tell late answers from unwanted ones.
const ASKED_MAX: usize = 4096;
/// Unwanted answers that a peer may send before it is disconnected. Each wanted block takes one back.
const STRIKES_MAX: u32 = 8;
/// Expected answers to a want: absence, presence after the peer has received the block, and the block.
const ANSWERS_MAX: u8 = 3;
/// Time after which a want is reassigned to another provider, even if the peer delivers other blocks.
const LATE: Duration = Duration::from_secs(30);
/// Time for which a late peer is the last choice.
const SLOW: Duration = Duration::from_secs(60);

/// Identifier of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(pub(crate) u64);

/// An outcome of a session without a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No peer has the block.
    NotFound(SessionId, Cid),
    /// The session's only peer is not connected.
    NotConnected(SessionId),
}

struct Want {
    /// The CID in messages.
    cid: Cid,
    /// Other CIDs of the same digest that the session wants.
    aliases: Vec<Cid>,
    assigned: Option<(PeerId, Instant)>,
    /// Peers that do not have the block.
    refused: HashSet<PeerId>,
    /// Peers that were asked, whether they answered or not.
    asked: HashSet<PeerId>,
}

impl Want {
    fn new(cid: Cid) -> Self {
        Self { cid, aliases: Vec::new(), assigned: None, refused: HashSet::new(), asked: HashSet::new() }
    }

    /// All CIDs of the digest that the session wants; one answer serves all.
    fn names(&self) -> impl Iterator<Item = Cid> + '_ {
        std::iter::once(self.cid).chain(self.aliases.iter().copied())
    }

    fn add_name(&mut self, cid: Cid) {
        if self.names().all(|name| name != cid) {
            self.aliases.push(cid);
        }
    }
}

struct Session {
    /// The only peer of a restricted session.
    only: Option<PeerId>,
    /// Peers that had blocks of this session, or probably have some.
    providers: BTreeSet<PeerId>,
    wants: HashMap<Key, Want>,
    /// Unassigned wants in order.
    waiting: VecDeque<Key>,
    progress: Instant,
    asked_again: Instant,
}

#[derive(Default)]
struct Peer {
    /// Requested blocks, each with the number of sessions that wait for it.
    outstanding: HashMap<Key, u32>,
    /// Digests that the peer was asked about, with the number of expected answers.
    asked: HashMap<Key, u8>,
    asked_order: VecDeque<Key>,
    strikes: u32,
    /// Other peers are preferred until then.
    slow_until: Option<Instant>,
    unusable: bool,
}

impl Peer {
    fn remember(&mut self, key: Key) {
        let answers = self.asked.entry(key).or_insert_with(|| {
            self.asked_order.push_back(key);
            0
        });
        *answers = answers.saturating_add(ANSWERS_MAX);
        if self.asked_order.len() > ASKED_MAX
            && let Some(oldest) = self.asked_order.pop_front()
        {
            self.asked.remove(&oldest);
        }
    }

    /// Counts an answer; `None` is one with an unsupported hash. Fails after too many unwanted answers.
    fn answers(&mut self, key: Option<&Key>) -> Result<(), Unasked> {
        let expected = key.and_then(|key| self.asked.get_mut(key)).filter(|answers| **answers > 0);
        if let Some(answers) = expected {
            *answers = answers.saturating_sub(1);
            return Ok(());
        }
        self.strikes = self.strikes.saturating_add(1);
        if self.strikes > STRIKES_MAX { Err(Unasked) } else { Ok(()) }
    }
}

/// All sessions and peers.
#[derive(Default)]
pub(crate) struct Wants {
    sessions: BTreeMap<SessionId, Session>,
    /// The sessions that want a digest.
    wanting: HashMap<Key, BTreeSet<SessionId>>,
    peers: BTreeMap<PeerId, Peer>,
    messages: BTreeMap<PeerId, Vec<Entry>>,
    outcomes: Vec<Outcome>,
}

impl Wants {
    /// Opens a session, possibly restricted to one peer.
    pub(crate) fn open(&mut self, id: SessionId, only: Option<PeerId>, now: Instant) {
        let session = Session {
            only,
            providers: only.into_iter().collect(),
            wants: HashMap::new(),
            waiting: VecDeque::new(),
            progress: now,
            asked_again: now,
        };
        if only.is_some_and(|peer| !self.peers.contains_key(&peer)) {
            self.outcomes.push(Outcome::NotConnected(id));
        }
        self.sessions.insert(id, session);
    }

    /// Adds likely providers to a session. They are asked for blocks at once, without a broadcast.
    pub(crate) fn expect_of(&mut self, id: SessionId, peers: impl IntoIterator<Item = PeerId>) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.providers.extend(peers);
        }
    }

    /// Adds wants to a session.
    pub(crate) fn want(&mut self, id: SessionId, cids: impl IntoIterator<Item = Cid>, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.wants.is_empty() {
            session.progress = now;
        }
        for cid in cids {
            let Some(key) = key_of(&cid) else {
                self.outcomes.push(Outcome::NotFound(id, cid));
                continue;
            };
            let want = session.wants.entry(key).or_insert_with(|| {
                session.waiting.push_back(key);
                self.wanting.entry(key).or_default().insert(id);
                Want::new(cid)
            });
            want.add_name(cid);
        }
        self.assign(id, now);
    }

    /// Closes a session and cancels its wants.
    pub(crate) fn close(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else { return };
        for (key, want) in session.wants {
            self.forget(&key, id);
            self.release(&key, &want, None);
        }
    }

    /// Removes a session's want from the index.
    fn forget(&mut self, key: &Key, id: SessionId) {
        if let Some(ids) = self.wanting.get_mut(key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.wanting.remove(key);
            }
        }
    }

    fn wanting(&self, key: &Key) -> BTreeSet<SessionId> {
        self.wanting.get(key).cloned().unwrap_or_default()
    }

    /// Adds a peer.
    pub(crate) fn connected(&mut self, peer: PeerId, now: Instant) {
        self.peers.entry(peer).or_default();
        self.assign_all(now);
    }

    /// Removes a peer and unassigns its wants.
    pub(crate) fn disconnected(&mut self, peer: PeerId, now: Instant) {
        self.peers.remove(&peer);
        self.messages.remove(&peer);
        for (id, session) in &mut self.sessions {
            if session.only == Some(peer) {
                self.outcomes.push(Outcome::NotConnected(*id));
                continue;
            }
            session.providers.remove(&peer);
            for (key, want) in &mut session.wants {
                want.refused.remove(&peer);
                want.asked.remove(&peer);
                if want.assigned.is_some_and(|(assigned, _)| assigned == peer) {
                    want.assigned = None;
                    session.waiting.push_front(*key);
                }
            }
        }
        self.assign_all(now);
    }

    /// Sends all wants again after messages of a connected peer were lost. Late answers remain expected.
    pub(crate) fn lost(&mut self, peer: PeerId, now: Instant) {
        let Some(state) = self.peers.remove(&peer) else { return };
        self.disconnected(peer, now);
        self.peers.insert(peer, Peer { outstanding: HashMap::new(), ..state });
        self.assign_all(now);
    }

    /// Excludes a peer without the protocol while it is connected.
    pub(crate) fn unsupported(&mut self, peer: PeerId, now: Instant) {
        self.disconnected(peer, now);
        self.peers.insert(peer, Peer { unusable: true, ..Default::default() });
    }

    /// Handles a peer's presences. Fails after too many unwanted ones.
    pub(crate) fn presences(
        &mut self,
        peer: PeerId,
        presences: &[Presence],
        now: Instant,
    ) -> Result<(), Unasked> {
        let mut changed = BTreeSet::new();
        for presence in presences {
            let key = key_of(&presence.cid);
            let Some(state) = self.peers.get_mut(&peer) else { return Ok(()) };
            state.answers(key.as_ref())?;
            let Some(key) = key else { continue };
            for id in self.wanting(&key) {
                if self.presence_in(id, peer, &key, presence.have) {
                    changed.insert(id);
                }
            }
        }
        for id in changed {
            self.assign(id, now);
        }
        Ok(())
    }

    /// Handles a presence for a session; returns whether wants can be assigned anew.
    fn presence_in(&mut self, id: SessionId, peer: PeerId, key: &Key, have: bool) -> bool {
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.only.is_some_and(|only| only != peer) {
            return false;
        }
        let Some(want) = session.wants.get_mut(key) else { return false };
        if have {
            let is_new = session.providers.insert(peer);
            return want.refused.remove(&peer) || is_new;
        }
        want.refused.insert(peer);
        if session.only.is_some() {
            self.outcomes.extend(want.names().map(|cid| Outcome::NotFound(id, cid)));
        }
        let was_assigned = want.assigned.is_some_and(|(assigned, _)| assigned == peer);
        if was_assigned {
            want.assigned = None;
            session.waiting.push_front(*key);
            release_from(&mut self.peers, &peer, key);
        }
        was_assigned
    }

    /// Handles a verified block; returns the sessions that want it, with all wanted CIDs. Fails after too many unwanted blocks.
    pub(crate) fn received(
        &mut self,
        peer: PeerId,
        key: &Key,
        now: Instant,
    ) -> Result<Vec<(SessionId, Cid)>, Unasked> {
        let mut takers = Vec::new();
        let mut done = Vec::new();
        for id in self.wanting(key) {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.only.is_some_and(|only| only != peer) {
                continue;
            }
            let Some(want) = session.wants.remove(key) else { continue };
            session.progress = now;
            session.providers.insert(peer);
            takers.extend(want.names().map(|cid| (id, cid)));
            done.push((id, want));
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            if done.is_empty() {
                state.answers(Some(key))?;
            } else {
                state.strikes = state.strikes.saturating_sub(1);
            }
            state.outstanding.remove(key);
        }
        for (id, want) in done {
            self.forget(key, id);
            self.release(key, &want, Some(peer));
            self.assign(id, now);
        }
        Ok(takers)
    }

    /// Whether there are no sessions and no outstanding blocks.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn is_idle(&self) -> bool {
        self.sessions.is_empty()
            && self.wanting.is_empty()
            && self.peers.values().all(|peer| peer.outstanding.is_empty())
    }

    /// Handles timeouts. `idle` is the maximum time of a session without progress.
    pub(crate) fn tick(&mut self, now: Instant, idle: Duration) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            if session.wants.is_empty() {
                continue;
            }
            if now.saturating_duration_since(session.progress) >= idle {
                session.progress = now;
                let want = session.wants.values().next().map(|want| want.cid);
                self.outcomes.extend(want.map(|cid| Outcome::NotFound(id, cid)));
                continue;
            }
            if now.saturating_duration_since(session.asked_again) >= ASK_AGAIN {
                session.asked_again = now;
                session.wants.values_mut().filter(|want| want.assigned.is_none()).for_each(|want| {
                    want.refused.clear();
                    want.asked.clear();
                });
            }
            self.reassign_late(id, now);
            self.assign(id, now);
        }
    }

    /// Reassigns late wants: early if the whole session stalls, later if there is another provider, so that a slow peer does not delay
    /// the last blocks of a file.
    fn reassign_late(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let stands = now.saturating_duration_since(session.progress) >= PATIENCE;
        for (key, want) in &mut session.wants {
            let Some((peer, since)) = want.assigned else { continue };
            let age = now.saturating_duration_since(since);
            let others =
                || session.providers.iter().any(|other| *other != peer && !want.refused.contains(other));
            let is_late = if stands { age >= PATIENCE } else { age >= LATE && others() };
            if !is_late {
                continue;
            }
            want.assigned = None;
            session.waiting.push_back(*key);
            release_from(&mut self.peers, &peer, key);
            if let Some(state) = self.peers.get_mut(&peer) {
                state.slow_until = now.checked_add(SLOW);
            }
            // Prefer another peer; a broadcast adds the same one again if there is no other.
            if stands && session.only.is_none() {
                session.providers.remove(&peer);
            }
        }
    }

    fn assign_all(&mut self, now: Instant) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        for id in ids {
            self.assign(id, now);
        }
    }

    /// Assigns waiting wants to peers within their windows.
    fn assign(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut unplaced = VecDeque::new();
        let mut asked = 0usize;
        while let Some(key) = session.waiting.pop_front() {
            let Some(want) = session.wants.get_mut(&key).filter(|want| want.assigned.is_none()) else {
                continue;
            };
            match choose(&self.peers, &session.providers, want, now) {
                Choice::Ask(peer) => {
                    want.assigned = Some((peer, now));
                    want.asked.insert(peer);
                    let entry = Entry::want(want.cid, Kind::Block);
                    ask_block(&mut self.peers, &mut self.messages, peer, key, entry);
                    continue;
                }
                Choice::Wait => {}
                Choice::Nobody if session.only.is_some() => {}
                Choice::Nobody => {
                    asked = asked.saturating_add(1);
                    broadcast(&mut self.peers, &mut self.messages, key, want);
                }
            }
            unplaced.push_back(key);
            if asked >= BROADCAST {
                break;
            }
        }
        unplaced.append(&mut session.waiting);
        session.waiting = unplaced;
    }

    /// Cancels a finished want at all asked peers except the giver.
    fn release(&mut self, key: &Key, want: &Want, giver: Option<PeerId>) {
        for peer in &want.asked {
            if want.assigned.is_some_and(|(assigned, _)| assigned == *peer) {
                release_from(&mut self.peers, peer, key);
            }
            let still = self.peers.get(peer).is_none_or(|state| state.outstanding.contains_key(key));
            let unanswered = !want.refused.contains(peer);
            if giver != Some(*peer) && !still && unanswered {
                self.messages.entry(*peer).or_default().push(Entry::cancel(want.cid));
            }
        }
    }

    /// Takes the want lists to send.
    pub(crate) fn take_messages(&mut self) -> BTreeMap<PeerId, Vec<Entry>> {
        std::mem::take(&mut self.messages)
    }

    /// Takes the outcomes.
    pub(crate) fn take_outcomes(&mut self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes)
    }
}

/// A peer has sent too many unwanted answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unasked;

enum Choice {
    Ask(PeerId),
    /// All providers are busy.
    Wait,
    Nobody,
}

/// The provider with the fewest outstanding blocks; a recently late one only if there is no other.
fn choose(peers: &BTreeMap<PeerId, Peer>, providers: &BTreeSet<PeerId>, want: &Want, now: Instant) -> Choice {
    let usable = providers.iter().filter(|peer| !want.refused.contains(peer));
    let loads = usable.filter_map(|peer| {
        let state = peers.get(peer).filter(|state| !state.unusable)?;
        let is_slow = state.slow_until.is_some_and(|until| until > now);
        Some((is_slow, state.outstanding.len(), *peer))
    });
    match loads.min() {
        Some((_, load, peer)) if load < WINDOW => Choice::Ask(peer),
        Some(_) => Choice::Wait,
        None => Choice::Nobody,
    }
}

fn ask_block(
    peers: &mut BTreeMap<PeerId, Peer>,
    messages: &mut BTreeMap<PeerId, Vec<Entry>>,
    peer: PeerId,
    key: Key,
    entry: Entry,
) {
    let Some(state) = peers.get_mut(&peer) else { return };
    state.remember(key);
    let sessions = state.outstanding.entry(key).or_default();
    *sessions = sessions.saturating_add(1);
    // Sent even if another session waits for the block: its answer may have just arrived.
    messages.entry(peer).or_default().push(entry);
}

/// Asks all remaining peers for the presence of a block.
fn broadcast(
    peers: &mut BTreeMap<PeerId, Peer>,
    messages: &mut BTreeMap<PeerId, Vec<Entry>>,
    key: Key,
    want: &mut Want,
) {
    for (peer, state) in peers.iter_mut().filter(|(_, state)| !state.unusable) {
        if want.asked.insert(*peer) {
            state.remember(key);
            messages.entry(*peer).or_default().push(Entry::want(want.cid, Kind::Have));
        }
    }
}

fn release_from(peers: &mut BTreeMap<PeerId, Peer>, peer: &PeerId, key: &Key) {
    let Some(state) = peers.get_mut(peer) else { return };
    if let Some(sessions) = state.outstanding.get_mut(key) {
        *sessions = sessions.saturating_sub(1);
        if *sessions == 0 {
            state.outstanding.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use hansa_content::{Block, RAW};
    use proptest::prelude::*;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    fn cid(number: u32) -> Cid {
        *Block::new(RAW, number.to_be_bytes().to_vec().into()).unwrap().cid()
    }

    fn key(number: u32) -> Key {
        key_of(&cid(number)).unwrap()
    }

    /// Peers with blocks and the state machine, in a reliable network.
    struct Network {
        wants: Wants,
        now: Instant,
        has: BTreeMap<PeerId, HashSet<Cid>>,
        delivered: Vec<(SessionId, Cid)>,
        asked: BTreeMap<PeerId, usize>,
    }

    impl Network {
        fn new(peers: &[(PeerId, std::ops::Range<u32>)]) -> Self {
            let has = peers.iter().map(|(peer, range)| (*peer, range.clone().map(cid).collect()));
            let mut network = Self {
                wants: Wants::default(),
                now: Instant::now(),
                has: has.collect(),
                delivered: Vec::new(),
                asked: BTreeMap::new(),
            };
            for (peer, _) in peers {
                network.wants.connected(*peer, network.now);
            }
            network
        }

        /// Every peer answers its messages; `false` if there were none.
        fn round(&mut self) -> bool {
            let messages = self.wants.take_messages();
            let any = !messages.is_empty();
            for (peer, entries) in messages {
                let Some(has) = self.has.get(&peer) else { continue };
                for entry in entries.into_iter().filter(|entry| !entry.cancel) {
                    let have = has.contains(&entry.cid);
                    if have && entry.kind == Kind::Block {
                        *self.asked.entry(peer).or_default() += 1;
                        let key = key_of(&entry.cid).unwrap();
                        self.delivered.extend(self.wants.received(peer, &key, self.now).unwrap());
                    } else {
                        let presence = Presence { cid: entry.cid, have };
                        self.wants.presences(peer, &[presence], self.now).unwrap();
                    }
                }
            }
            any
        }

        fn settle(&mut self) {
            while self.round() {}
        }
    }

    #[test]
    fn blocks_are_asked_of_those_who_have_them_and_shared_out() {
        let [a, b, c] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(a, 0..200), (b, 0..200), (c, 0..0)]);
        let id = SessionId(1);
        network.wants.open(id, None, network.now);
        network.wants.want(id, (0..200).map(cid), network.now);
        network.settle();
        assert_eq!(network.delivered.len(), 200);
        assert!(network.asked[&a] >= 50 && network.asked[&b] >= 50, "{:?}", network.asked);
        assert!(!network.asked.contains_key(&c));
        network.wants.close(id);
        assert!(network.wants.is_idle());
    }

    #[test]
    fn a_peer_that_probably_has_blocks_is_asked_alone_until_it_has_not() {
        let [likely, other, away] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(likely, 0..10), (other, 0..20)]);
        network.wants.open(SessionId(1), None, network.now);
        network.wants.expect_of(SessionId(1), [likely, away]);
        network.wants.want(SessionId(1), (0..10).map(cid), network.now);
        let messages = network.wants.take_messages();
        assert_eq!(messages.keys().collect::<Vec<_>>(), [&likely]);
        assert!(messages[&likely].iter().all(|entry| entry.kind == Kind::Block));
        network.wants.want(SessionId(1), (10..20).map(cid), network.now);
        for _ in 0..3 {
            network.settle();
            network.now += PATIENCE;
            network.wants.tick(network.now, IDLE);
        }
        assert_eq!(network.delivered.len(), 20);
    }

    #[test]
    fn blocks_in_different_places_are_all_found() {
        let [a, b] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(a, 0..50), (b, 50..100)]);
        network.wants.open(SessionId(1), None, network.now);
        network.wants.want(SessionId(1), (0..100).map(cid), network.now);
        for _ in 0..5 {
            network.settle();
            network.now += ASK_AGAIN;
            network.wants.tick(network.now, IDLE);
        }
        assert_eq!(network.delivered.len(), 100);
    }

    #[test]
    fn what_a_peer_took_along_is_asked_of_another() {
        let [a, b] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(a, 0..100)]);
        network.wants.open(SessionId(1), None, network.now);
        network.wants.want(SessionId(1), (0..100).map(cid), network.now);
        network.round();
        assert!(!network.wants.peers[&a].outstanding.is_empty());
        network.wants.disconnected(a, network.now);
        network.settle();
        assert!(network.delivered.is_empty());
        network.has = BTreeMap::from([(b, (0..100).map(cid).collect())]);
        network.wants.connected(b, network.now);
        network.settle();
        assert_eq!(network.delivered.len(), 100);
    }

    #[test]
    fn a_silent_peer_is_replaced_and_a_hopeless_fetch_ends() {
        let [silent, good] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(silent, 0..1)]);
        let id = SessionId(1);
        network.wants.open(id, None, network.now);
        network.wants.want(id, [cid(0)], network.now);
        network.round();
        // The peer announces the block and never sends it.
        network.wants.take_messages();
        network.has = BTreeMap::from([(good, HashSet::from([cid(0)]))]);
        network.wants.connected(good, network.now);
        network.now += PATIENCE;
        network.wants.tick(network.now, IDLE);
        network.settle();
        assert_eq!(network.delivered, vec![(id, cid(0))]);

        network.wants.want(id, [cid(7)], network.now);
        network.settle();
        network.now += IDLE;
        network.wants.tick(network.now, IDLE);
        assert_eq!(network.wants.take_outcomes(), vec![Outcome::NotFound(id, cid(7))]);
    }

    #[test]
    fn a_session_with_one_peer_asks_nobody_else() {
        let [a, b] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(a, 0..1), (b, 0..2)]);
        let (only, gone) = (SessionId(1), SessionId(2));
        network.wants.open(only, Some(a), network.now);
        network.wants.want(only, [cid(0), cid(1)], network.now);
        network.wants.open(gone, Some(PeerId::random()), network.now);
        network.settle();
        assert_eq!(network.delivered, vec![(only, cid(0))]);
        assert!(!network.asked.contains_key(&b));
        let outcomes = network.wants.take_outcomes();
        assert!(outcomes.contains(&Outcome::NotConnected(gone)));
        assert!(outcomes.contains(&Outcome::NotFound(only, cid(1))));
    }

    /// An owner chooses the CIDs of its blocks.
    #[test]
    fn one_answer_serves_every_name_of_a_digest() {
        let a = PeerId::random();
        let names = [RAW, hansa_content::DAG_PB].map(|codec| Cid::new_v1(codec, *cid(0).hash()));
        let mut network = Network::new(&[(a, 0..1)]);
        let fetch = SessionId(1);
        network.wants.open(fetch, None, network.now);
        network.wants.want(fetch, names, network.now);
        network.wants.want(fetch, names, network.now);
        network.settle();
        network.delivered.sort();
        let mut expected = names.map(|name| (fetch, name)).to_vec();
        expected.sort();
        assert_eq!(network.delivered, expected);
        network.wants.close(fetch);
        assert!(network.wants.is_idle());
    }

    /// The trickler answers just often enough that the session never stalls.
    #[test]
    fn a_trickler_does_not_hold_what_another_has() {
        let [trickler, good] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(trickler, 0..0), (good, 0..64)]);
        let id = SessionId(1);
        network.wants.open(id, None, network.now);
        network.wants.want(id, (0..64).map(cid), network.now);
        network.wants.take_messages();
        let have = |peer, network: &mut Network| {
            let promises: Vec<_> = (0..16).map(|n| Presence { cid: cid(n), have: true }).collect();
            network.wants.presences(peer, &promises, network.now).unwrap();
        };
        have(trickler, &mut network);
        let held: Vec<Key> = network.wants.peers[&trickler].outstanding.keys().copied().collect();
        assert_eq!(held.len(), WINDOW);
        have(good, &mut network);
        network.has.remove(&trickler);
        network.settle();
        for key in held.iter().take(4) {
            network.now += PATIENCE - Duration::from_secs(1);
            network.delivered.extend(network.wants.received(trickler, key, network.now).unwrap());
            network.wants.tick(network.now, IDLE);
            network.settle();
        }
        assert_eq!(network.delivered.len(), 64);
    }

    #[test]
    fn unasked_presences_are_counted_against_a_peer() {
        let [a, b] = [PeerId::random(), PeerId::random()];
        let mut network = Network::new(&[(a, 0..0), (b, 0..0)]);
        network.wants.open(SessionId(1), None, network.now);
        network.wants.want(SessionId(1), [cid(0)], network.now);
        network.wants.take_messages();
        let have = |number| Presence { cid: cid(number), have: true };
        let unasked: Vec<Presence> = (1..=STRIKES_MAX).map(have).collect();
        assert_eq!(network.wants.presences(a, &unasked, network.now), Ok(()));
        assert_eq!(network.wants.presences(a, &[have(99)], network.now), Err(Unasked));
        // A repeated answer is unwanted, too.
        let refusal = Presence { cid: cid(0), have: false };
        let again = vec![refusal; usize::from(ANSWERS_MAX) + STRIKES_MAX as usize];
        assert_eq!(network.wants.presences(b, &again, network.now), Ok(()));
        assert_eq!(network.wants.presences(b, &[refusal], network.now), Err(Unasked));
    }

    #[test]
    fn unasked_blocks_are_counted_against_a_peer() {
        let a = PeerId::random();
        let mut network = Network::new(&[(a, 0..1)]);
        let results: Vec<bool> =
            (0..20).map(|n| network.wants.received(a, &key(n), network.now).is_ok()).collect();
        assert_eq!(results.iter().filter(|ok| **ok).count(), STRIKES_MAX as usize);
    }

    proptest! {
        /// After any events, once a peer with all blocks stays connected, all blocks arrive exactly once.
        #[test]
        fn every_want_is_served_in_the_end(events in proptest::collection::vec((0..5u8, 0..3usize, 0..40u32), 0..60)) {
            let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
            let mut network = Network::new(&[]);
            let id = SessionId(1);
            network.wants.open(id, None, network.now);
            network.wants.want(id, (0..40).map(cid), network.now);
            for (kind, peer, number) in events {
                let peer = peers[peer];
                match kind {
                    0 => {
                        network.has.insert(peer, (number..40).map(cid).collect());
                        network.wants.connected(peer, network.now);
                    }
                    1 => {
                        network.has.remove(&peer);
                        network.wants.disconnected(peer, network.now);
                    }
                    2 => network.wants.lost(peer, network.now),
                    3 => {
                        network.now += Duration::from_secs(u64::from(number) / 4);
                        network.wants.tick(network.now, Duration::MAX);
                    }
                    _ => drop(network.round()),
                }
            }
            let last = PeerId::random();
            network.has = BTreeMap::from([(last, (0..40).map(cid).collect())]);
            for peer in peers {
                network.wants.disconnected(peer, network.now);
            }
            network.wants.connected(last, network.now);
            network.settle();
            let mut delivered: Vec<Cid> = network.delivered.iter().map(|(_, cid)| *cid).collect();
            delivered.sort();
            delivered.dedup();
            prop_assert_eq!((delivered.len(), network.delivered.len()), (40, 40));
            network.wants.close(id);
            prop_assert!(network.wants.is_idle());
        }
    }
}
