//! What a node decides for itself about its copy of the chain.

use hansa_pool::PoolConfig;
use hansa_trie::TrieConfig;
use hansa_types::Suite;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::history::PAST_STATES_BYTES_MAX;

/// What a ledger is opened with.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// Memory for the state, and how often its nodes are written.
    pub state: TrieConfig,
    /// Memory for the states of earlier blocks: how far calls and proofs can look back.
    pub past_states_bytes_max: usize,
    /// Signers whose signatures are verified with precomputed multiples of their keys.
    pub expected_signers_max: usize,
    /// The pool of pending transactions.
    pub pool: PoolConfig,
    /// The suites that this node can run besides the one in the genesis file.
    pub suites: Vec<Suite>,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self {
            state: TrieConfig::default(),
            past_states_bytes_max: PAST_STATES_BYTES_MAX,
            expected_signers_max: LedgerSettings::default().expected_signers_max,
            pool: PoolConfig::default(),
            suites: Vec::new(),
        }
    }
}

/// Memory for the chain's state and history, and how often the state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSettings {
    /// Memory, in MiB, for the parts of the chain's state that are used most. A slot that is not there costs a read of the disk; 1,024 MiB
    /// hold about six million slots, which is three million records.
    #[schemars(range(min = 16, max = 1_048_576))]
    pub state_cache_mib: usize,
    /// Memory, in MiB, for the states of earlier blocks: how far back JSON-RPC calls can be made. 64 MiB hold a day of an idle chain and a
    /// minute of a very busy one; states from before a restart are not kept.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub past_states_mib: usize,
    /// Nodes of the state in memory that are not written, of some 600 bytes each, at which writing begins. More mean fewer writes and a
    /// longer start after a crash, 3 µs a node.
    #[schemars(range(min = 1_024, max = 100_000_000))]
    pub unwritten_nodes_max: usize,
    /// Blocks after which the state is written however little has changed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub unwritten_blocks_max: u64,
    /// Accounts whose signatures are verified with precomputed multiples of their keys, of 256 KiB each; the others cost more time.
    #[schemars(range(min = 1, max = 65_536))]
    pub expected_signers_max: usize,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            state_cache_mib: 1_024,
            past_states_mib: 64,
            unwritten_nodes_max: 524_288,
            unwritten_blocks_max: 4_096,
            expected_signers_max: 256,
        }
    }
}

impl LedgerSettings {
    /// A ledger with these settings.
    pub fn config(&self) -> LedgerConfig {
        let bytes = |mib: usize| mib.saturating_mul(1024 * 1024);
        LedgerConfig {
            state: TrieConfig {
                cache_bytes_max: bytes(self.state_cache_mib),
                unwritten_nodes_max: self.unwritten_nodes_max,
                unwritten_blocks_max: self.unwritten_blocks_max,
                ..TrieConfig::default()
            },
            past_states_bytes_max: bytes(self.past_states_mib),
            expected_signers_max: self.expected_signers_max,
            ..LedgerConfig::default()
        }
    }
}
