//! The index over a chain in memory, in SQLite and in PostgreSQL.

mod chain;
mod events;
mod failures;
mod lists;
mod model;
mod postgres;

use std::{path::Path, sync::Arc};

use tempfile::TempDir;

use self::{chain::MemoryChain, postgres::Postgres};
use crate::{Index, IndexSettings, Names};

/// A database for one test.
enum Database {
    Sqlite(TempDir),
    Postgres(Postgres),
}

impl Database {
    fn both() -> [Self; 2] {
        [Self::Sqlite(tempfile::tempdir().unwrap()), Self::Postgres(Postgres::start())]
    }

    fn settings(&self) -> IndexSettings {
        let url = match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres(server) => server.url(),
        };
        IndexSettings { url, ..IndexSettings::default() }
    }

    fn folder(&self) -> &Path {
        match self {
            Self::Sqlite(folder) => folder.path(),
            Self::Postgres(server) => server.folder(),
        }
    }

    /// An index of the chain in this database.
    fn index(&self, chain: &MemoryChain, settings: IndexSettings) -> Index {
        let names = Arc::new(Names::new());
        Index::new(settings, self.folder().join("index.db"), chain.genesis(), names).unwrap()
    }
}
