//! Delivers the chain's final events in order to consumers with durable cursors.
//!
//! A [`Feed`] reads the port [`Chain`]. Each consumer has a name, under which its cursor is stored: the height that it reads next. The
//! feed decodes events of the contract suite and leaves out all others, so that no member's contract can imitate them. It does not
//! store events, and it does not deliver what is not final.
//!
//! # Tasks
//!
//! None. A [`Subscription`] is a stream that reads the next portion of the chain when it is polled. A slow consumer therefore delays
//! nobody else, and holds at most one portion in memory. At the head the stream waits for the next final block.
//!
//! # Delivery
//!
//! At least once. The consumer commits a batch's cursor after its work ([`Feed::commit`]), or in the same write as its work
//! ([`FeedBatch::add_cursor`]). After a crash between the two, the batch's blocks are delivered again, possibly divided into other
//! batches. No wanted event is left out. A consumer that writes its work and the cursor in one batch sees each event once.
//!
//! # Cursors
//!
//! A cursor names the chain by its genesis block. A cursor of another chain, and a malformed one, is an error: the consumer decides
//! whether it can begin again ([`Feed::restart`]). A cursor above the head is no error, since heights never change their blocks: the
//! stream waits until the chain has got there, as after the ledger was restored from an older copy.
//!
//! # Example
//!
//! ```
//! use futures::TryStreamExt;
//! use hansa_feed::{Feed, FeedError, FeedFilter};
//!
//! /// Prints every event of the suite from the genesis block on, for ever.
//! async fn print(feed: &Feed) -> Result<(), FeedError> {
//!     let mut batches = feed.subscribe("printer", 0, FeedFilter::default())?;
//!     while let Some(batch) = batches.try_next().await? {
//!         for block in &batch.blocks {
//!             println!("{}: {:?}", block.number, block.events);
//!         }
//!         feed.commit(&batch)?;
//!     }
//!     Ok(())
//! }
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod batch;
mod cursor;
mod error;
mod feed;
mod filter;
mod reader;
#[cfg(test)]
mod tests;

pub use batch::{FeedBatch, FeedBlock, FeedEvent};
pub use error::FeedError;
pub use feed::{Feed, Subscription};
pub use filter::FeedFilter;
pub use reader::Portion;

#[cfg(doc)]
use hansa_ports::Chain;
