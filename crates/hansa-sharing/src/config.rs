//! Settings of what a node does with objects: replicas, the check of its store, and the collection of blocks.

use std::time::Duration;

use hansa_types::units::{milliseconds, seconds};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharingSettings {
    /// Replicas.
    pub replication: ReplicationSettings,
    /// The check of the block store.
    pub scrub: ScrubSettings,
    /// Removal of blocks that no version needs.
    pub collection: CollectionSettings,
}

/// How much of the disk replicas take, and how they are fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReplicationSettings {
    /// Per cent of the disk that the replicas of one owner may take.
    #[schemars(range(min = 0, max = 100))]
    pub owner_percent: u8,
    /// Per cent of the disk that replicas leave free, for the ledger: where less is free, no more are taken.
    #[schemars(range(min = 0, max = 100))]
    pub free_percent: u8,
    /// Bytes of the disk, in MiB and at most an eighth of it, that objects put or opened here leave free: a chain that cannot be written
    /// stops the node.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub reserve_mib: u64,
    /// Versions fetched at the same time.
    #[schemars(range(min = 1, max = 1_024))]
    pub fetches: usize,
    /// Of those, fetches that one owner's versions may take. The rest is for owners of whom nothing is being fetched.
    #[schemars(range(min = 1, max = 1_024))]
    pub fetches_per_owner: usize,
    /// Of one owner's fetches, repeated attempts.
    #[schemars(range(min = 1, max = 1_024))]
    pub retries_per_owner: usize,
    /// Versions of one owner that wait in memory; the others wait on the disk.
    #[schemars(range(min = 64, max = 1_000_000))]
    pub waiting_per_owner: usize,
    /// First pause before a version is tried again; it doubles each time.
    #[serde(rename = "retry_ms_min", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 10, max = 600_000))]
    pub retry_min: Duration,
    /// Longest pause before a version is tried again.
    #[serde(rename = "retry_seconds_max", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub retry_max: Duration,
    /// Time that a fetch has, however little it fetches.
    #[schemars(range(min = 1, max = 3_600))]
    pub fetch_seconds_min: u64,
    /// Bytes a second that a fetch has to bring. A slower one is tried again later, from where it stopped.
    #[schemars(range(min = 1_024, max = 10_737_418_240_u64))]
    pub fetch_bytes_per_second_min: u64,
    /// Time between two looks for replicas that the allocation has moved elsewhere, and for own versions that were never recorded.
    #[serde(rename = "upkeep_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 10, max = 604_800))]
    pub upkeep: Duration,
    /// Time between two looks for public objects whose key is not on the chain yet.
    #[serde(rename = "publish_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub publish: Duration,
    /// First pause before a keeper of a new version is asked whether it has all; it doubles each time.
    #[serde(rename = "keeper_poll_ms_min", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 10, max = 60_000))]
    pub keeper_poll_min: Duration,
    /// Longest such pause.
    #[serde(rename = "keeper_poll_ms_max", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 10, max = 600_000))]
    pub keeper_poll_max: Duration,
    /// Time after which another member is asked besides one that has not got all of a small version.
    #[schemars(range(min = 1, max = 3_600))]
    pub late_seconds: u64,
    /// Bytes a second by which that time grows for larger versions.
    #[schemars(range(min = 1_024, max = 10_737_418_240_u64))]
    pub late_bytes_per_second: u64,
}

impl Default for ReplicationSettings {
    fn default() -> Self {
        Self {
            owner_percent: 20,
            free_percent: 5,
            reserve_mib: 128,
            fetches: 12,
            fetches_per_owner: 6,
            retries_per_owner: 2,
            waiting_per_owner: 2_048,
            retry_min: Duration::from_millis(500),
            retry_max: Duration::from_secs(60),
            fetch_seconds_min: 30,
            fetch_bytes_per_second_min: 512 * 1024,
            upkeep: Duration::from_secs(3_600),
            publish: Duration::from_secs(60),
            keeper_poll_min: Duration::from_millis(300),
            keeper_poll_max: Duration::from_secs(4),
            late_seconds: 3,
            late_bytes_per_second: 16 * 1024 * 1024,
        }
    }
}

/// How fast the block store is read to find what has rotted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubSettings {
    /// Bytes read at a time.
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub portion_bytes: u64,
    /// Pause after each portion. With the default, 4 MiB a second are read at most, a terabyte in three days.
    #[serde(rename = "portion_pause_ms", with = "milliseconds")]
    #[schemars(with = "u64", range(min = 10, max = 3_600_000))]
    pub portion_pause: Duration,
    /// Pause after a pass over the whole store, and after a failure.
    #[serde(rename = "pass_pause_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 31_536_000))]
    pub pass_pause: Duration,
}

impl Default for ScrubSettings {
    fn default() -> Self {
        Self {
            portion_bytes: 8 * 1024 * 1024,
            portion_pause: Duration::from_secs(2),
            pass_pause: Duration::from_secs(3_600),
        }
    }
}

/// When the room of blocks that no version needs is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CollectionSettings {
    /// Hours from one collection to the next; 0 for none. `hansa block gc` collects at once.
    #[schemars(range(min = 0, max = 8_760))]
    pub interval_hours: u32,
    /// Time from the start to the first collection: blocks that a crash left behind need not wait for a day.
    #[serde(rename = "first_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 604_800))]
    pub first: Duration,
}

impl Default for CollectionSettings {
    fn default() -> Self {
        Self { interval_hours: 24, first: Duration::from_secs(600) }
    }
}
