//! Subscriptions and their cursors. Keeps no events.

use std::sync::Arc;

use alloy_primitives::B256;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use hansa_kv::{Batch, KvStore, Space};
use hansa_ports::Chain;

use crate::{FeedBatch, FeedError, FeedFilter, Portion, cursor, reader::Reader};

/// The batches of one consumer. The stream ends only after an error; subscribe again to continue at the cursor.
pub type Subscription = BoxStream<'static, Result<FeedBatch, FeedError>>;

/// The chain's final events, and the cursors of those who read them.
#[derive(Clone)]
pub struct Feed {
    chain: Arc<dyn Chain>,
    kv: Arc<dyn KvStore>,
    space: Space,
    genesis: B256,
    portion: Portion,
}

impl Feed {
    /// The feed of `chain`, with cursors in `space` of `kv` under keys that begin with `feed/`.
    ///
    /// # Errors
    /// [`FeedError::Chain`], [`FeedError::GenesisMissing`].
    pub async fn open(chain: Arc<dyn Chain>, kv: Arc<dyn KvStore>, space: Space) -> Result<Self, FeedError> {
        let genesis = chain.block_hash(0).await?.ok_or(FeedError::GenesisMissing)?;
        Ok(Self { chain, kv, space, genesis, portion: Portion::default() })
    }

    /// The same feed, read in other portions.
    #[must_use]
    pub fn in_portions(self, portion: Portion) -> Self {
        Self { portion, ..self }
    }

    /// Subscribes the consumer `name` at its cursor, or at height `from` if it has none. Use a name for one subscription at a time.
    ///
    /// # Errors
    /// [`FeedError::DamagedCursor`], [`FeedError::OtherChain`], [`FeedError::Store`].
    pub fn subscribe(&self, name: &str, from: u64, filter: FeedFilter) -> Result<Subscription, FeedError> {
        let next = self.cursor(name)?.unwrap_or(from);
        Ok(self.restart(name, next, filter))
    }

    /// Subscribes the consumer `name` at height `from`, whatever its cursor says. The first commit replaces the cursor.
    pub fn restart(&self, name: &str, from: u64, filter: FeedFilter) -> Subscription {
        let reader = Reader {
            chain: Arc::clone(&self.chain),
            filter,
            portion: self.portion,
            space: self.space,
            name: name.to_owned(),
            genesis: self.genesis,
        };
        let read = |(reader, next): (Reader, u64)| async move {
            let (batch, next) = reader.read(next).await?;
            Ok(Some((batch, (reader, next))))
        };
        stream::try_unfold((reader, from), read).boxed()
    }

    /// The height at which a consumer continues; `None` if it has never committed.
    ///
    /// # Errors
    /// As [`Feed::subscribe`].
    pub fn cursor(&self, name: &str) -> Result<Option<u64>, FeedError> {
        let value = self.kv.get(self.space, &cursor::key(name))?;
        value.map(|value| cursor::decode(name, &value, self.genesis)).transpose()
    }

    /// Stores the cursor behind a batch; durable when it returns. Committing a batch commits those before it.
    ///
    /// # Errors
    /// [`FeedError::Store`].
    pub fn commit(&self, delivered: &FeedBatch) -> Result<(), FeedError> {
        let mut batch = Batch::new();
        delivered.add_cursor(&mut batch);
        Ok(self.kv.write(batch)?)
    }

    /// Removes the cursor of a consumer that is gone; durable when it returns.
    ///
    /// # Errors
    /// [`FeedError::Store`].
    pub fn remove(&self, name: &str) -> Result<(), FeedError> {
        let mut batch = Batch::new();
        batch.remove(self.space, cursor::key(name));
        Ok(self.kv.write(batch)?)
    }
}
