//! Passes final blocks to the ledger and acknowledges them once they are durable.
//!
//! Queued blocks, as during catch-up, are committed in groups. A ledger that cannot follow the final chain stops the node.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_consensus::{Heightable as _, Reporter, marshal::Update};
use commonware_cryptography::Digested;
use commonware_p2p::AddressableManager;
use commonware_runtime::{Clock, Spawner};
use commonware_utils::{Acknowledgement as _, acknowledgement::Exact};
use hansa_ledger::{Ledger, LedgerError};
use hansa_types::Block;
use tokio::sync::mpsc;

use crate::{
    application::offload, block::ChainBlock, elector::Beginnings, pacing::Pacing, peers::MemberPeers,
    status::StatusBoard, types::PublicKey,
};

/// Maximum number of blocks in a group.
const GROUP_MAX: usize = 64;

/// A final block in the queue.
pub(crate) type Delivery = (Digested<ChainBlock>, Exact);

/// The engine's end of the queue of final blocks. The engine bounds the number of unacknowledged blocks.
#[derive(Clone)]
pub(crate) struct Deliveries {
    sender: mpsc::UnboundedSender<Delivery>,
    pacing: Pacing,
    board: StatusBoard,
    beginnings: Beginnings,
}

impl Deliveries {
    pub(crate) fn new(
        pacing: Pacing,
        board: StatusBoard,
        beginnings: Beginnings,
    ) -> (Self, mpsc::UnboundedReceiver<Delivery>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self { sender, pacing, board, beginnings }, receiver)
    }

    fn saw_tip(&self, height: u64) {
        self.pacing.saw_tip(height);
        self.board.saw_tip(height);
    }
}

impl Reporter for Deliveries {
    type Activity = Update<ChainBlock>;

    fn report(&mut self, update: Update<ChainBlock>) -> Feedback {
        match update {
            Update::Tip(_, height, _) => self.saw_tip(height.get()),
            Update::Block(block, acknowledgement) => {
                self.saw_tip(block.height().get());
                self.beginnings.saw(block.inner().block());
                if self.sender.send((block, acknowledgement)).is_err() {
                    return Feedback::Closed;
                }
            }
        }
        Feedback::Ok
    }
}

/// Executes final blocks and updates the admitted peers from the registry.
pub(crate) struct Finaliser<M> {
    pub(crate) ledger: Ledger,
    pub(crate) pacing: Pacing,
    pub(crate) board: StatusBoard,
    pub(crate) peers: MemberPeers<M>,
}

impl<M: AddressableManager<PublicKey = PublicKey>> Finaliser<M> {
    /// Runs until the engine stops.
    ///
    /// # Errors
    /// If the ledger cannot execute or store a final block.
    pub(crate) async fn run<E: Spawner + Clock>(
        mut self,
        context: E,
        mut deliveries: mpsc::UnboundedReceiver<Delivery>,
    ) -> Result<(), LedgerError> {
        let mut members = self.ledger.members();
        let mut group = Vec::new();
        while deliveries.recv_many(&mut group, GROUP_MAX).await > 0 {
            let blocks: Vec<Block> = group.iter().map(|(block, _)| block.inner().block().clone()).collect();
            for block in &blocks {
                self.board.note_delay(block, context.current());
            }
            let (ledger, head) = (self.ledger.clone(), blocks.last().cloned());
            match offload(&context, move || ledger.finalise_many(&blocks)).await {
                Some(outcome) => outcome?,
                None => return Ok(()),
            }
            if let Some(head) = head {
                let (number, hash, now) = (head.number(), head.hash(), context.current());
                let taken = self.pacing.finalised(number, hash, now);
                self.board.finalised(number, hash, now, taken);
            }
            let current = self.ledger.members();
            if !Arc::ptr_eq(&members, &current) {
                self.peers.update(&current);
                members = current;
            }
            for (_, acknowledgement) in group.drain(..) {
                acknowledgement.acknowledge();
            }
        }
        Ok(())
    }
}
