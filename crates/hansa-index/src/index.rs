//! The index and the task that keeps it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use alloy_primitives::B256;
use futures::TryStreamExt as _;
use hansa_feed::{Feed, FeedFilter};
use parking_lot::{Mutex, RwLock};
use sqlx::{AnyConnection, AnyPool};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};

use crate::{IndexError, IndexSettings, Names, database::Place, write};

/// The feed's consumer. Its cursor is in the index's own database.
const CONSUMER: &str = "index";
/// Pause after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// How the index stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// The last height that it holds; `None` before the genesis block is in.
    pub height: Option<u64>,
    /// The error that keeps it from going on, in words.
    pub problem: Option<String>,
}

/// A queryable index of a chain's final events. Clones are the same index.
#[derive(Clone)]
pub struct Index(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    place: Place,
    settings: IndexSettings,
    genesis: B256,
    /// Replaced with a damaged file.
    pool: RwLock<AnyPool>,
    state: watch::Sender<IndexState>,
    pub(crate) names: Arc<Names>,
    /// Ends the session, whatever it does.
    interrupted: Notify,
    orders: Mutex<Orders>,
}

/// What the task does before its next session.
#[derive(Clone, Copy, Debug, Default)]
struct Orders {
    /// Somebody asked for a rebuild, or a server's tables are damaged.
    is_rebuild: bool,
    /// A reader has met damage.
    is_damaged: bool,
}

impl Index {
    /// The index of the chain with this genesis block: in `file`, unless the settings name a server. Touches no database yet.
    ///
    /// # Errors
    /// [`IndexError::Url`], or [`IndexError::Database`] for a URL that cannot be read. Call it within a Tokio runtime.
    pub fn new(
        settings: IndexSettings,
        file: PathBuf,
        genesis: B256,
        names: Arc<Names>,
    ) -> Result<Self, IndexError> {
        let place = Place::new(&settings, file)?;
        let pool = RwLock::new(place.pool(&settings)?);
        let state = watch::Sender::new(IndexState { height: None, problem: None });
        let (interrupted, orders) = (Notify::new(), Mutex::default());
        Ok(Self(Arc::new(Inner { place, settings, genesis, pool, state, names, interrupted, orders })))
    }

    /// Starts to follow the chain. One task of one process may write a database.
    pub fn start(&self, feed: Feed) -> JoinHandle<()> {
        let index = self.clone();
        tokio::spawn(async move { index.follow(&feed).await })
    }

    /// How it stands.
    pub fn state(&self) -> IndexState {
        self.0.state.borrow().clone()
    }

    /// How many objects' names can be searched.
    pub fn names(&self) -> usize {
        self.0.names.len()
    }

    /// How it stands, whenever that changes.
    pub fn states(&self) -> watch::Receiver<IndexState> {
        self.0.state.subscribe()
    }

    /// `sqlite` or `postgresql`.
    pub fn database(&self) -> &'static str {
        self.0.place.word()
    }

    /// Empties the index and reads the chain again from its genesis block.
    pub fn rebuild(&self) {
        self.0.orders.lock().is_rebuild = true;
        self.0.state.send_modify(|state| state.height = None);
        self.0.interrupted.notify_one();
    }

    /// Has a damaged database replaced.
    pub(crate) fn damaged(&self) {
        self.0.orders.lock().is_damaged = true;
        self.0.interrupted.notify_one();
    }

    /// Waits until the index holds everything up to `height`, as long as the settings allow; returns the height that it holds.
    ///
    /// # Errors
    /// [`IndexError::Behind`], [`IndexError::Stopped`].
    pub async fn at_least(&self, height: u64) -> Result<u64, IndexError> {
        let mut state = self.0.state.subscribe();
        let reached = state.wait_for(|state| state.height.is_some_and(|at| at >= height));
        match timeout(Duration::from_secs(self.0.settings.wait_seconds_max), reached).await {
            Ok(Ok(state)) => Ok(state.height.unwrap_or(height)),
            Ok(Err(_)) => Err(IndexError::Stopped),
            Err(_) => {
                let at = self.0.state.borrow().height.unwrap_or(0);
                Err(IndexError::Behind { at, wanted: height })
            }
        }
    }

    /// Connections to the database.
    pub(crate) fn pool(&self) -> AnyPool {
        self.0.pool.read().clone()
    }

    async fn follow(&self, feed: &Feed) {
        loop {
            let ended = tokio::select! {
                ended = self.session(feed) => ended,
                () = self.0.interrupted.notified() => Ok(()),
            };
            let is_damaged = std::mem::take(&mut self.0.orders.lock().is_damaged);
            match ended {
                Ok(()) if !is_damaged => {}
                Ok(()) => self.replace("a request met damage").await,
                Err(problem) if problem.is_damage() => self.replace(&chain_of(&problem)).await,
                Err(problem) => self.pause(&problem).await,
            }
        }
    }

    /// Notes an error that may pass, and waits a moment.
    async fn pause(&self, problem: &IndexError) {
        let problem = chain_of(problem);
        let is_new = self.0.state.borrow().problem.as_ref() != Some(&problem);
        if is_new {
            tracing::warn!(problem, "the index does not follow the chain; it tries again every second");
        }
        self.0.state.send_modify(|state| state.problem = Some(problem));
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            () = self.0.interrupted.notified() => {}
        }
    }

    /// Follows the chain until something fails.
    async fn session(&self, feed: &Feed) -> Result<(), IndexError> {
        let pool = self.pool();
        let mut writer = self.0.place.writer(&pool).await?;
        let mut next = self.begin(&mut writer).await?;
        let height = next.checked_sub(1);
        self.0.state.send_replace(IndexState { height, problem: None });
        let mut batches = feed.restart(CONSUMER, next, FeedFilter::default());
        while let Some(batch) = batches.try_next().await? {
            next = write::apply(&mut writer, next, &batch).await?;
            self.0.state.send_replace(IndexState { height: Some(batch.through), problem: None });
        }
        Ok(())
    }

    /// The height to continue at; empties a database that is to be rebuilt, or is of another chain.
    async fn begin(&self, writer: &mut AnyConnection) -> Result<u64, IndexError> {
        let position = write::position(writer).await?;
        let is_asked = self.0.orders.lock().is_rebuild;
        match position {
            Some((genesis, next)) if genesis == self.0.genesis && !is_asked => return Ok(next),
            Some(_) if is_asked => tracing::info!("the index is being rebuilt"),
            Some(_) => tracing::warn!("the index belongs to another chain and is being rebuilt"),
            None => {}
        }
        write::clear(writer, self.0.genesis).await?;
        self.0.orders.lock().is_rebuild = false;
        Ok(0)
    }

    /// Replaces a damaged database: everything in it is on the chain.
    async fn replace(&self, problem: &str) {
        self.0.state.send_replace(IndexState { height: None, problem: Some(problem.to_owned()) });
        let old = self.pool();
        old.close().await;
        match self.0.place.move_aside() {
            Ok(Some(aside)) => {
                tracing::warn!(problem, aside = %aside.display(), "the index is damaged and is being rebuilt");
            }
            Ok(None) => {
                tracing::warn!(problem, "the index is damaged and is being rebuilt");
                self.0.orders.lock().is_rebuild = true;
            }
            Err(error) => tracing::warn!(problem, %error, "the index is damaged and cannot be moved aside"),
        }
        match self.0.place.pool(&self.0.settings) {
            Ok(pool) => *self.0.pool.write() = pool,
            Err(error) => tracing::warn!(%error, "the index's database cannot be opened again"),
        }
    }
}

/// An error with its sources.
fn chain_of(error: &IndexError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
