//! A registered member with the swarm key whose Bitswap is hostile: it says anything.

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
use crate::bitswap::{Entry, Handler, Kind, Message, Payload, Send};

/// Sends given bytes as soon as it is connected.
struct Liar {
    pieces: Vec<Bytes>,
    actions: VecDeque<ToSwarm<(), Send>>,
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
        Ok(Handler::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new())
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(event) = event {
            let send = Send { pieces: self.pieces.clone(), block_bytes: 0 };
            let handler = NotifyHandler::One(event.connection_id);
            self.actions.push_back(ToSwarm::NotifyHandler { peer_id: event.peer_id, handler, event: send });
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, _: THandlerOutEvent<Self>) {}

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<(), THandlerInEvent<Self>>> {
        self.actions.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

/// Connects to an honest member, sends the bytes, and returns when the honest member has closed the connection.
async fn is_dropped_for_saying(pieces: Vec<Bytes>) {
    let members = consortium(2).await;
    let [honest, bystander] = &members[..] else { unreachable!() };
    let keys = Keypair::ed25519_from_bytes([66; 32]).unwrap();
    let key = NetworkKey(keys.public().try_into_ed25519().unwrap().to_bytes().into());
    let mut cards = vec![honest.card(), bystander.card()];
    cards.push(SwarmMember { key, endpoint: "/ip4/127.0.0.1/tcp/1".into() });
    honest.swarm.set_members(cards).await.unwrap();

    let transport = transport::build(&keys, &swarm_key(), Default::default()).unwrap();
    let settings = swarm::Config::with_tokio_executor();
    let liar = Liar { pieces, actions: VecDeque::new() };
    let mut node = libp2p::Swarm::new(transport, liar, keys.public().to_peer_id(), settings);
    let peer = peer::peer_id(&honest.key()).unwrap();
    node.dial(DialOpts::peer_id(peer).addresses(vec![honest.endpoint.parse().unwrap()]).build()).unwrap();
    let closed = async {
        loop {
            if let SwarmEvent::ConnectionClosed { .. } = node.select_next_some().await {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), closed)
        .await
        .expect("the honest member closes the connection");
    honest.sees(&[bystander]).await;
    let cid = honest.block(b"still at work");
    bystander.swarm.fetch(cid).await.unwrap();
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
