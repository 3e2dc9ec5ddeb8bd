//! Bitswap's work on other threads: hashing received blocks and reading wanted ones.

use hansa_content::{Block, BlockStore};

use crate::bitswap::{Entry, Kind, Message, Payload, Presence, ServeJob};

/// A want for the presence of a block of at most this length is answered with the block, as in Kubo.
const HAVE_IS_BLOCK_BYTES: u64 = 1024;
/// Bytes of blocks at which an answer is complete.
const ANSWER_BYTES: usize = 1024 * 1024;

/// The block of a payload. The CID is computed from its bytes.
pub(crate) fn verify(payload: Payload) -> Option<Block> {
    Block::new(payload.codec, payload.data).ok()
}

/// Reads the blocks of a job; returns the answer and the wants that did not fit. Damaged blocks are not served.
pub(crate) fn answer(store: &BlockStore, job: &ServeJob) -> (Message, Vec<Entry>) {
    let mut message = Message::default();
    let mut bytes = 0usize;
    for (index, want) in job.wants.iter().enumerate() {
        if bytes >= ANSWER_BYTES {
            return (message, job.wants.get(index..).unwrap_or_default().to_vec());
        }
        match look_up(store, want) {
            Some(Found::Block(block)) => {
                bytes = bytes.saturating_add(block.bytes().len());
                message.payloads.push(Payload::new(&block));
            }
            Some(Found::Present) => message.presences.push(Presence { cid: want.cid, have: true }),
            None if want.send_dont_have => message.presences.push(Presence { cid: want.cid, have: false }),
            None => {}
        }
    }
    (message, Vec::new())
}

enum Found {
    Block(Block),
    Present,
}

fn look_up(store: &BlockStore, want: &Entry) -> Option<Found> {
    let logged = |error: &hansa_content::ContentError| {
        if !matches!(error, hansa_content::ContentError::UnsupportedHash(_)) {
            tracing::warn!(cid = %want.cid, %error, "a wanted block cannot be served");
        }
    };
    let size = store.size(&want.cid).inspect_err(logged).ok()??;
    if want.kind == Kind::Have && size > HAVE_IS_BLOCK_BYTES {
        return Some(Found::Present);
    }
    let block = store.get_block(&want.cid).inspect_err(logged).ok()??;
    Some(Found::Block(block))
}
