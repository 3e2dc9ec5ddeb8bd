//! Errors of the index.

use hansa_feed::FeedError;

/// The reason for which the index could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The URL names no database that the index can use.
    #[error("the index's URL must begin with sqlite:, postgres: or postgresql:")]
    Url,
    /// The database failed.
    #[error("the index's database failed")]
    Database(#[from] sqlx::Error),
    /// The database's tables could not be created or have another form.
    #[error("the index's tables cannot be used")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The chain's events could not be read.
    #[error("the index cannot read the chain's events")]
    Feed(#[from] FeedError),
    /// A stored value is outside its range.
    #[error("the index holds a value that cannot be: {0}")]
    Value(&'static str),
    /// A file of the index could not be moved aside.
    #[error("the damaged index cannot be moved aside")]
    MoveAside(#[source] std::io::Error),
    /// Another process writes the same database.
    #[error("another node writes the same index; give each node a database of its own")]
    OtherWriter,
    /// The index did not reach the height in time.
    #[error("the index is at height {at}, and height {wanted} was asked for")]
    Behind {
        /// The height that it has reached.
        at: u64,
        /// The height that was asked for.
        wanted: u64,
    },
    /// A cursor was not made for this order by this index.
    #[error("the cursor does not belong to this list")]
    Cursor,
    /// The task that keeps the index has ended.
    #[error("the index is stopped")]
    Stopped,
}

impl IndexError {
    /// Whether the database's file is damaged, so that only a new one helps.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Database(error) | Self::Schema(sqlx::migrate::MigrateError::Execute(error)) => {
                is_damage(error)
            }
            Self::Schema(error) => {
                use sqlx::migrate::MigrateError::{Dirty, VersionMismatch, VersionMissing};
                matches!(error, Dirty(_) | VersionMismatch(_) | VersionMissing(_))
            }
            Self::Value(_) => true,
            _ => false,
        }
    }
}

/// SQLite's result codes 11 (corrupt) and 26 (not a database), with their extended codes in the higher bits.
fn is_damage(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    // PostgreSQL's codes have five characters: 11 and 26 are none of them.
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26) && error.code().is_some_and(|code| code.len() < 5))
}
