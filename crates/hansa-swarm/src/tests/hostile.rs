//! A registered member with the swarm key and a hostile Bitswap implementation.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt;
use hansa_content::protobuf::put_varint;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{
    self, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, SwarmEvent, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use super::*;
use crate::bitswap::{Entry, Handler, Kind, Message, Payload, Presence, Send};

/// Sends the given bytes once it is connected.
struct Liar {
    pieces: Vec<Bytes>,
    /// Whether it never reads.
    deaf: bool,
    actions: VecDeque<ToSwarm<(), Send>>,
}

impl Liar {
    fn handler(&self) -> Handler {
        // Without a budget it never reads.
        if self.deaf { Handler::with_budget(PATIENT, 0) } else { Handler::new(PATIENT) }
    }
}

impl NetworkBehaviour for Liar {
    type ConnectionHandler = Handler;
    type ToSwarm = ();

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(event) = event {
            let send = Send { pieces: self.pieces.clone(), answer_bytes: 0 };
            let handler = NotifyHandler::One(event.connection_id);
            self.actions.push_back(ToSwarm::NotifyHandler { peer_id: event.peer_id, handler, event: send });
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, _: THandlerOutEvent<Self>) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A member that sends bytes to another once it is connected.
struct Hostile {
    node: libp2p::Swarm<Liar>,
    members: Vec<Member>,
}

impl Hostile {
    async fn saying(pieces: Vec<Bytes>, limits: Limits, deaf: bool) -> Self {
        let members = consortium_with(2, limits).await;
        let [honest, bystander] = &members[..] else { unreachable!() };
        let keys = Keypair::ed25519_from_bytes([66; 32]).unwrap();
        let key = NetworkKey(keys.public().try_into_ed25519().unwrap().to_bytes().into());
        let mut cards = vec![honest.card(), bystander.card()];
        cards.push(SwarmMember { key, endpoint: "/ip4/127.0.0.1/tcp/1".into() });
        honest.swarm.set_members(cards).await.unwrap();

        let limits = Limits { silence: PATIENT, ..Limits::default() };
        let transport = transport::build(&keys, &swarm_key(), Default::default(), &limits).unwrap();
        let settings = swarm::Config::with_tokio_executor();
        let liar = Liar { pieces, deaf, actions: VecDeque::new() };
        let mut node = libp2p::Swarm::new(transport, liar, keys.public().to_peer_id(), settings);
        let peer = peer::peer_id(&honest.key()).unwrap();
        node.dial(DialOpts::peer_id(peer).addresses(vec![honest.endpoint.parse().unwrap()]).build()).unwrap();
        Self { node, members }
    }

    /// Waits until the connection is closed.
    async fn until_dropped(&mut self) {
        let closed = async {
            loop {
                if let SwarmEvent::ConnectionClosed { .. } = self.node.select_next_some().await {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENT, closed).await.expect("the honest member closes the connection");
    }

    async fn the_others_are_served(&self) {
        let [honest, bystander] = &self.members[..] else { unreachable!() };
        let cid = honest.block(b"still at work");
        bystander.swarm.fetch(cid).await.unwrap();
    }
}

/// Sends bytes and expects the connection to be closed.
async fn is_dropped_for_saying(pieces: Vec<Bytes>) {
    is_dropped_within(idle(PATIENT), pieces).await;
}

async fn is_dropped_within(limits: Limits, pieces: Vec<Bytes>) {
    let mut hostile = Hostile::saying(pieces, limits, false).await;
    hostile.until_dropped().await;
    let [honest, bystander] = &hostile.members[..] else { unreachable!() };
    honest.sees(&[bystander]).await;
    hostile.the_others_are_served().await;
}

fn framed(body: Vec<u8>) -> Vec<Bytes> {
    let mut head = Vec::new();
    put_varint(&mut head, body.len() as u64);
    vec![head.into(), body.into()]
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_closes_the_connection() {
    is_dropped_for_saying(framed(vec![0xff; 300])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_message_over_the_limit_closes_the_connection() {
    let mut head = Vec::new();
    put_varint(&mut head, 4 * 1024 * 1024 + 1);
    is_dropped_for_saying(vec![head.into(), vec![0; 1024].into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_never_ends_closes_the_connection() {
    is_dropped_for_saying(vec![vec![0x80; 64].into()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_nobody_asked_for_close_the_connection() {
    let payloads = (0..50u8).map(|n| Payload::new(&Block::new(RAW, vec![n; 3000].into()).unwrap())).collect();
    is_dropped_for_saying(Message { payloads, ..Default::default() }.encode()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_want_list_over_the_limit_closes_the_connection() {
    let wants = (0..2000u32)
        .map(|n| Entry::want(*Block::new(RAW, n.to_be_bytes().to_vec().into()).unwrap().cid(), Kind::Block))
        .collect();
    is_dropped_for_saying(Message { wants, ..Default::default() }.encode()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presences_that_nobody_asked_for_close_the_connection() {
    let presences = (0..50u8)
        .map(|n| Presence { cid: *Block::new(RAW, vec![n; 30].into()).unwrap().cid(), have: true })
        .collect();
    is_dropped_for_saying(Message { presences, ..Default::default() }.encode()).await;
}

/// One byte a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_go_on_closes_the_connection() {
    let limits = Limits { stall: Duration::from_millis(500), ..idle(PATIENT) };
    for begun in [vec![0x80], vec![0xe8, 0x07, 0x0a]] {
        is_dropped_within(limits.clone(), vec![begun.into()]).await;
    }
}

/// It wants all blocks and never reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_reads_is_cut_off() {
    let limits = Limits { stall: Duration::from_millis(500), silence: PATIENT, ..idle(PATIENT) };
    let blocks: Vec<Block> = (0..40u8).map(|n| Block::new(RAW, vec![n; 1 << 20].into()).unwrap()).collect();
    let wants = blocks.iter().map(|block| Entry::want(*block.cid(), Kind::Block)).collect();
    let pieces = Message { wants, ..Default::default() }.encode();
    let mut hostile = Hostile::saying(pieces, limits, true).await;
    hostile.members[0].store.put_many(&blocks).unwrap();
    hostile.until_dropped().await;
    hostile.the_others_are_served().await;
}

/// Valid messages without end.
#[tokio::test(flavor = "multi_thread")]
async fn endless_messages_hold_up_nobody_else() {
    let mut hostile = Hostile::saying(vec![vec![0; 4 << 20].into()], idle(PATIENT), false).await;
    let talks = async {
        loop {
            hostile.node.select_next_some().await;
        }
    };
    let [honest, bystander] = &hostile.members[..] else { unreachable!() };
    let served = async {
        honest.swarm.watch_peers().wait_for(|peers| peers.len() == 2).await.unwrap();
        for n in 0..20 {
            bystander.swarm.fetch(honest.block(&[n; 3000])).await.unwrap();
        }
    };
    tokio::select! {
        () = served => {}
        () = talks => {}
    }
}
