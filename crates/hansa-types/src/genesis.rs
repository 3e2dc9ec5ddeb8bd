//! What the founders agree on before the first block.

use alloy_primitives::{B256, Bytes, keccak256};
use serde::{Deserialize, Serialize};

use crate::{MemberCard, Suite};

/// Sizes and times that every node must apply alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Gas a block may use.
    pub block_gas: u64,
    /// Blocks in an epoch; the validator set is fixed within one.
    pub epoch_blocks: u64,
    /// Seconds a ballot stays open. A ballot changes it.
    pub ballot_seconds: u64,
    /// Bytes of transactions, logs and code that each member may make all nodes store in a second; what it leaves unused adds up to
    /// a day's worth. 0 for no limit. A ballot changes it.
    #[serde(default, skip_serializing_if = "is_none")]
    pub member_bytes_per_second: u64,
    /// New storage slots and accounts of each member in a second, likewise.
    #[serde(default, skip_serializing_if = "is_none")]
    pub member_slots_per_second: u64,
}

/// Genesis files from before there were quotas name none, and keep their digest.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
const fn is_none(quota: &u64) -> bool {
    *quota == 0
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            block_gas: 200_000_000,
            epoch_blocks: 256,
            ballot_seconds: 7 * 24 * 3600,
            member_bytes_per_second: 256 * 1024,
            member_slots_per_second: 256,
        }
    }
}

/// The consortium's birth certificate: the file every node starts from.
///
/// Two nodes with equal files compute the same genesis block. The founders become members 1, 2, … in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Genesis {
    /// EIP-155 chain id, also part of every consensus signature's namespace.
    pub chain_id: u64,
    /// Unix time in seconds of the genesis block.
    pub timestamp: u64,
    /// Sizes and times.
    pub limits: Limits,
    /// The founding members, all of them validators.
    pub founders: Vec<MemberCard>,
    /// The system contracts that the network begins with.
    pub suite: Suite,
    /// The outcome of the founders' distributed key generation, in the consensus engine's encoding: group public key,
    /// public polynomial, participants. Empty until the ceremony has run.
    pub group: Bytes,
}

/// The greatest chain id that wallets take: above it, `2 * id + 36` (EIP-155's `v`) is no exact number in JavaScript.
pub const CHAIN_ID_MAX: u64 = 4_503_599_627_370_476;

/// Why a genesis file cannot start a consortium.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenesisError {
    /// Not JSON of the expected shape.
    #[error("the genesis file cannot be read: {0}")]
    Malformed(String),
    /// An earlier version of Hansa wrote it.
    #[error(
        "the genesis file holds no contracts (`suite`): an earlier version of Hansa wrote it; go on with that version, or found the network anew"
    )]
    SuiteMissing,
    /// Byzantine agreement with one fault needs four validators.
    #[error("a consortium needs at least four founders, this file names {0}")]
    TooFewFounders(usize),
    /// Wallets refuse such a chain id.
    #[error("the chain id {0} cannot be used: wallets take 1 to {CHAIN_ID_MAX}")]
    ChainId(u64),
    /// There is no such version.
    #[error("the genesis file names version 0 of the system contracts; versions begin with 1")]
    SuiteVersion,
    /// Two founders share a key.
    #[error("founders {0} and {1} have the same {2}; each member must make its own keys")]
    SharedKey(usize, usize, &'static str),
}

impl Genesis {
    /// Reads and checks a genesis file.
    ///
    /// # Errors
    /// When it is not JSON of this shape, or [`Genesis::check`] refuses it.
    pub fn from_json(text: &str) -> Result<Self, GenesisError> {
        let malformed = |error: serde_json::Error| GenesisError::Malformed(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(malformed)?;
        if value.get("founders").is_some() && value.get("suite").is_none() {
            return Err(GenesisError::SuiteMissing);
        }
        let genesis: Self = serde_json::from_value(value).map_err(malformed)?;
        genesis.check()?;
        Ok(genesis)
    }

    /// The file's text, with a final newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Checks what must hold of any consortium's chain id and founders.
    ///
    /// # Errors
    /// When the chain id is out of range, there are fewer than four founders, or two share a key.
    pub fn check(&self) -> Result<(), GenesisError> {
        if !(1..=CHAIN_ID_MAX).contains(&self.chain_id) {
            return Err(GenesisError::ChainId(self.chain_id));
        }
        if self.suite.version == 0 {
            return Err(GenesisError::SuiteVersion);
        }
        if self.founders.len() < 4 {
            return Err(GenesisError::TooFewFounders(self.founders.len()));
        }
        for (i, a) in self.founders.iter().enumerate() {
            for (j, b) in self.founders.iter().enumerate().take(i) {
                let shared = if a.account == b.account {
                    "account"
                } else if a.network_key == b.network_key {
                    "network key"
                } else if a.encryption_key == b.encryption_key {
                    "encryption key"
                } else {
                    continue;
                };
                return Err(GenesisError::SharedKey(j.saturating_add(1), i.saturating_add(1), shared));
            }
        }
        Ok(())
    }

    /// Digest of everything in the file; the genesis header's `extraData`, so that the genesis hash commits to it.
    pub fn digest(&self) -> B256 {
        keccak256(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_file_of_an_earlier_version_is_told_from_a_malformed_one() {
        let earlier = r#"{"chainId":7,"founders":[],"group":"0x"}"#;
        assert_eq!(Genesis::from_json(earlier), Err(GenesisError::SuiteMissing));
        for malformed in ["", "[]", "{}", r#"{"founders":[],"suite":1}"#] {
            assert!(matches!(Genesis::from_json(malformed), Err(GenesisError::Malformed(_))), "{malformed}");
        }
    }

    #[test]
    fn limits_without_quotas_read_and_write_as_they_did_before_there_were_any() {
        let before = r#"{"blockGas":1,"epochBlocks":2,"ballotSeconds":3}"#;
        let limits: Limits = serde_json::from_str(before).unwrap();
        assert_eq!((limits.member_bytes_per_second, limits.member_slots_per_second), (0, 0));
        assert_eq!(serde_json::to_string(&limits).unwrap(), before);
        let text = serde_json::to_string(&Limits { member_slots_per_second: 9, ..limits }).unwrap();
        assert!(text.ends_with(r#","memberSlotsPerSecond":9}"#), "{text}");
    }

    #[test]
    fn chain_ids_are_those_that_wallets_take() {
        let check = |chain_id| {
            Genesis {
                chain_id,
                timestamp: 1,
                limits: Limits::default(),
                founders: Vec::new(),
                suite: Suite { version: 1, code: BTreeMap::new(), calls: Vec::new() },
                group: Bytes::new(),
            }
            .check()
        };
        for good in [1, CHAIN_ID_MAX] {
            assert_eq!(check(good), Err(GenesisError::TooFewFounders(0)));
        }
        for bad in [0, CHAIN_ID_MAX + 1, u64::MAX] {
            assert_eq!(check(bad), Err(GenesisError::ChainId(bad)));
        }
    }
}
