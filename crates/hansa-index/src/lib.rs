//! Keeps a queryable index of the chain's final events in SQLite or PostgreSQL.
//!
//! An [`Index`] consumes `hansa-feed` and answers lists: pages of objects, their grants and their history. Everything in its database is on
//! the chain, so that it can be dropped and rebuilt at any time. It holds no plaintext: names are in memory ([`Names`]). It is no proof; who
//! doubts an answer asks for the block's proof.
//!
//! # Databases
//!
//! A SQLite file by default, PostgreSQL by URL. Both have the same tables and the same statements (sqlx's `Any` driver); only the type of
//! byte strings and the settings of connections differ.
//!
//! # Tasks
//!
//! One, from [`Index::start`]: it reads a batch from the feed and writes rows and height in one transaction. Requests read on connections of
//! their own and wait for nobody but a height that they ask for.
//!
//! # States and crashes
//!
//! The height in the database says what it holds: a crash between batches repeats nothing and leaves nothing out. While the database is
//! away, the task tries again every second. A damaged SQLite file is renamed to `….damaged` and built again, with a warning in the log.
//!
//! # Reading one's own writes
//!
//! An answer carries the height that it holds everything up to. A reader that knows of a height passes it, and the answer waits for it.
//!
//! # Example
//!
//! ```
//! use hansa_index::{Index, IndexError, ObjectQuery};
//!
//! /// The names of the newest objects as of height 1,000 at least.
//! async fn newest(index: &Index) -> Result<Vec<String>, IndexError> {
//!     let query = ObjectQuery { limit: 10, ..ObjectQuery::default() };
//!     let page = index.objects(&query, 1_000).await?;
//!     Ok(page.objects.iter().map(|object| object.id.to_string()).collect())
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

mod cells;
mod config;
mod cursor;
mod database;
mod error;
mod fold;
mod index;
mod names;
mod read;
mod rows;
#[cfg(test)]
mod tests;
mod write;

pub use config::IndexSettings;
pub use cursor::Sort;
pub use error::IndexError;
pub use index::{Index, IndexState};
pub use names::Names;
pub use read::{ObjectPage, ObjectQuery, PAGE_MAX};
pub use rows::{GrantRow, HistoryKind, HistoryRow, ObjectRow};
