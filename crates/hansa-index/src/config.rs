//! Settings of the index.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IndexSettings {
    /// PostgreSQL database that holds the index, `postgres://user@host/database`. Empty: a SQLite file in the home folder. The password belongs
    /// in the file that `PGPASSFILE` names, not here.
    pub url: String,
    /// Connections to the database that answer requests at the same time.
    #[schemars(range(min = 1, max = 100))]
    pub connections: u32,
    /// Longest time that a request waits for the index to reach a height.
    #[schemars(range(min = 1, max = 300))]
    pub wait_seconds_max: u64,
    /// Blocks that the index may be behind the chain before health says so.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub lag_blocks_max: u64,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self { url: String::new(), connections: 4, wait_seconds_max: 10, lag_blocks_max: 256 }
    }
}

impl IndexSettings {
    /// What is wrong with them.
    pub fn problem(&self) -> Option<&'static str> {
        if self.url.is_empty() {
            return None;
        }
        let Some((scheme, rest)) = self.url.split_once("://") else {
            return Some("`index.url` is no URL");
        };
        let user = rest.split_once('@').map_or("", |(user, _)| user);
        match scheme {
            "postgres" | "postgresql" if user.contains(':') || rest.contains("password=") => {
                Some("`index.url` holds a password; it belongs in the file that PGPASSFILE names")
            }
            "postgres" | "postgresql" => None,
            _ => Some("`index.url` must begin with postgres:// or postgresql://, or be empty"),
        }
    }
}
