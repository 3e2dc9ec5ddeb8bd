//! The two databases: connections, tables, and a damaged file.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use sqlx::{
    Any, AnyPool, SqlSafeStr as _,
    any::AnyPoolOptions,
    migrate::{Migration, MigrationType, Migrator},
    pool::PoolConnection,
};

use crate::{IndexError, IndexSettings};

/// Time to get a connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// The newest schema.
const SCHEMA: &str = include_str!("../migrations/0001_index.sql");

/// Settings of the writer's connection to SQLite; requests read while it writes. A crash of the machine may undo the last transactions,
/// whole: they are read from the chain again.
const PRAGMAS: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8192; \
                       PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;";

/// Which database, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A file.
    Sqlite(PathBuf),
    /// A URL.
    Postgres(String),
}

impl Place {
    /// The settings' database, or else the file.
    pub(crate) fn new(settings: &IndexSettings, file: PathBuf) -> Result<Self, IndexError> {
        match settings.url.as_str() {
            "" => Ok(Self::Sqlite(file)),
            url if url.starts_with("postgres://") || url.starts_with("postgresql://") => {
                Ok(Self::Postgres(url.to_owned()))
            }
            _ => Err(IndexError::Url),
        }
    }

    /// As people read it, without a password.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
        }
    }

    /// A pool that connects when it is used.
    pub(crate) fn pool(&self, settings: &IndexSettings) -> Result<AnyPool, IndexError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);
        // One more for the writer.
        let options = AnyPoolOptions::new()
            .max_connections(settings.connections.saturating_add(1))
            .acquire_timeout(CONNECT_TIME);
        Ok(match self {
            Self::Sqlite(file) => {
                options.connect_lazy(&format!("sqlite://{}?mode=rwc", percent_encoded(file)))?
            }
            Self::Postgres(url) => options.connect_lazy(url)?,
        })
    }

    /// The writer's connection, with tables of the newest form.
    pub(crate) async fn writer(&self, pool: &AnyPool) -> Result<PoolConnection<Any>, IndexError> {
        let mut writer = pool.acquire().await?;
        if let Self::Sqlite(_) = self {
            sqlx::raw_sql(PRAGMAS).execute(&mut *writer).await?;
        }
        let sql = match self {
            Self::Sqlite(_) => SCHEMA.to_owned(),
            Self::Postgres(_) => SCHEMA.replace(" BLOB", " BYTEA"),
        };
        let sql = sqlx::AssertSqlSafe(sql).into_sql_str();
        let first = Migration::new(1, "index".into(), MigrationType::Simple, sql, false);
        let tables = Migrator::with_migrations(vec![first]);
        tables.run_direct(None, &mut *writer, false).await?;
        Ok(writer)
    }

    /// Moves a damaged file aside, with what belongs to it; returns its new name. A server's tables stay where they are.
    pub(crate) fn move_aside(&self) -> io::Result<Option<PathBuf>> {
        let Self::Sqlite(file) = self else { return Ok(None) };
        let with = |suffix: &str| {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            PathBuf::from(name)
        };
        let aside = with(".damaged");
        // An earlier one is of no more use than this one.
        match fs::rename(file, &aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        for suffix in ["-wal", "-shm"] {
            match fs::remove_file(with(suffix)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Some(aside))
    }
}

/// A path as a part of a URL.
fn percent_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let byte = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    path.as_os_str().as_bytes().iter().map(byte).collect()
}
