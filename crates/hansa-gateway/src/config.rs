//! Settings of both interfaces: what one caller may hold, and what all of them together may ask for.

use std::time::Duration;

use hansa_types::units::seconds;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of the callers' connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Connections open at once. WebSocket sessions do not count here.
    #[schemars(range(min = 1, max = 65_536))]
    pub connections: usize,
    /// Time in which a connection has to send a request's head, and for which it may be idle between two requests.
    #[serde(rename = "head_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub head_time: Duration,
    /// Longest pause of a body: of a request's while nothing of it comes, of an answer's while the caller takes nothing.
    #[serde(rename = "body_pause_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub body_pause: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            head_time: Duration::from_secs(30),
            // Content may come from, or go to, a program that thinks for a while.
            body_pause: Duration::from_secs(300),
        }
    }
}

/// Sizes of the JSON-RPC interface beyond which a caller gets an error instead of more memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RpcLimits {
    /// Web pages that may use JSON-RPC, such as `https://app.example`; `*` for all. Programs and browser extensions may without being
    /// listed.
    pub origins: Vec<String>,
    /// Bytes of one request body or WebSocket message.
    #[schemars(range(min = 1_024, max = 1_073_741_824))]
    pub request_bytes: u32,
    /// Bytes of one response.
    #[schemars(range(min = 1_024, max = 1_073_741_824))]
    pub response_bytes: u32,
    /// Requests in a batch.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub batch: u32,
    /// Time that one batch may take; its remaining requests are answered with an error.
    #[serde(rename = "batch_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub batch_time: Duration,
    /// HTTP requests in progress plus WebSocket sessions.
    #[schemars(range(min = 1, max = 65_536))]
    pub connections: u32,
    /// Connections of callers.
    pub sockets: ConnectionLimits,
    /// Subscriptions of one WebSocket session.
    #[schemars(range(min = 0, max = 65_536))]
    pub subscriptions: u32,
    /// Messages that wait for one WebSocket session before the slow subscriber loses its subscription.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub session_messages: u32,
    /// Time that a subscriber may take to accept one message before it loses its subscription.
    #[serde(rename = "subscriber_pause_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub subscriber_pause: Duration,
    /// Logs in one answer, unless a single block has more.
    #[schemars(range(min = 1, max = 10_000_000))]
    pub logs: usize,
    /// Time that one log query may search.
    #[serde(rename = "logs_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 3_600))]
    pub logs_time: Duration,
    /// Blocks of a log query that are searched in one turn; between turns other calls are served.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub log_blocks_step: u64,
    /// Addresses in a log query, and topics in each of its positions.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub log_values: usize,
    /// Filters that are open at once; the one polled longest ago gives way.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub filters: usize,
    /// Time without a poll after which a filter is deleted.
    #[serde(rename = "filter_idle_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 1, max = 86_400))]
    pub filter_idle: Duration,
    /// Hashes in one answer of a filter of blocks or pending transactions.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub filter_hashes: usize,
    /// Ledger calls that run at once.
    #[schemars(range(min = 1, max = 1_024))]
    pub executions: usize,
    /// Ledger calls that wait or run; beyond them callers are told to come back.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub executions_queued: usize,
    /// Blocks of one `eth_feeHistory`; a longer history is shortened.
    #[schemars(range(min = 1, max = 100_000))]
    pub fee_blocks: u64,
    /// Reward percentiles of one `eth_feeHistory`.
    #[schemars(range(min = 1, max = 10_000))]
    pub fee_percentiles: usize,
    /// Accounts, and slots of one account, that a call may override.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub call_overrides: usize,
    /// Storage keys that one `eth_getProof` proves.
    #[schemars(range(min = 0, max = 100_000))]
    pub proof_slots: usize,
    /// Blocks of one `eth_simulateV1`.
    #[schemars(range(min = 1, max = 10_000))]
    pub simulation_blocks: usize,
    /// Calls of one `eth_simulateV1`.
    #[schemars(range(min = 1, max = 100_000))]
    pub simulation_calls: usize,
    /// Sent transactions that wait for admission.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub submissions_queued: usize,
    /// Sent transactions that are admitted together.
    #[schemars(range(min = 1, max = 100_000))]
    pub submissions_together: usize,
    /// Time that running requests have when the node stops.
    #[serde(rename = "stop_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 600))]
    pub grace: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self {
            origins: Vec::new(),
            request_bytes: 10 * 1024 * 1024,
            response_bytes: 32 * 1024 * 1024,
            batch: 5_000,
            batch_time: Duration::from_secs(20),
            connections: 256,
            sockets: ConnectionLimits::default(),
            subscriptions: 64,
            session_messages: 1_024,
            subscriber_pause: Duration::from_secs(10),
            logs: 10_000,
            logs_time: Duration::from_secs(10),
            log_blocks_step: 20_000,
            log_values: 1_024,
            filters: 1_024,
            filter_idle: Duration::from_secs(300),
            filter_hashes: 10_000,
            executions: 8,
            executions_queued: 4_096,
            fee_blocks: 1_024,
            fee_percentiles: 100,
            call_overrides: 1_024,
            proof_slots: 1_024,
            simulation_blocks: 256,
            simulation_calls: 1_024,
            submissions_queued: 8_192,
            submissions_together: 1_024,
            grace: Duration::from_secs(10),
        }
    }
}

/// Sizes of the REST interface beyond which a caller gets an error instead of more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestLimits {
    /// Bytes of a JSON body. Content is not limited: it streams.
    #[schemars(range(min = 1_024, max = 1_073_741_824))]
    pub json_bytes: usize,
    /// Long operations that run at once: puts, gets, verifications, repairs.
    #[schemars(range(min = 1, max = 65_536))]
    pub operations: usize,
    /// Blocks of the chain in one answer.
    #[schemars(range(min = 1, max = 100_000))]
    pub blocks: u64,
    /// Time that running requests have when the node stops.
    #[serde(rename = "stop_seconds", with = "seconds")]
    #[schemars(with = "u64", range(min = 0, max = 600))]
    pub grace: Duration,
    /// Connections of callers.
    pub sockets: ConnectionLimits,
}

impl Default for RestLimits {
    fn default() -> Self {
        Self {
            json_bytes: 1024 * 1024,
            operations: 64,
            blocks: 1_000,
            grace: Duration::from_secs(10),
            sockets: ConnectionLimits::default(),
        }
    }
}
