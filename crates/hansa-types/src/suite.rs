//! The system contracts as a network carries them: code by address, and the calls that begin them.
//!
//! It holds bytes and their digest. Which contracts there are and what the calls say is the business of `hansa-contracts`; executing
//! them is the ledger's.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use serde::{Deserialize, Serialize};

/// One version of the system contracts.
///
/// A network runs the version that its genesis file holds until an upgrade replaces it, whatever version a node's program was built with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Suite {
    /// At least 1; a suite with other code or other rules has a higher number.
    pub version: u32,
    /// Runtime code by address.
    pub code: BTreeMap<Address, Bytes>,
    /// What the system account calls, in this order, once the code is in place.
    pub calls: Vec<SystemCall>,
}

/// A call that the system account makes outside any transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemCall {
    /// The contract.
    pub to: Address,
    /// ABI-encoded call data.
    pub data: Bytes,
}

impl Suite {
    /// Digest of version, code and calls. It is the keccak-256 of `version` (4 bytes, big-endian), the number of contracts (8), each
    /// contract's address (20) and keccak-256 of its code (32) in the order of addresses, and each call's target (20) and keccak-256
    /// of its data (32).
    pub fn digest(&self) -> B256 {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.version.to_be_bytes());
        bytes.extend_from_slice(&(self.code.len() as u64).to_be_bytes());
        let calls = self.calls.iter().map(|call| (&call.to, &call.data));
        for (address, content) in self.code.iter().chain(calls) {
            bytes.extend_from_slice(address.as_slice());
            bytes.extend_from_slice(keccak256(content).as_slice());
        }
        keccak256(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        let code = BTreeMap::from([(Address::repeat_byte(1), Bytes::from_static(&[0x60, 0x00]))]);
        let calls = vec![SystemCall { to: Address::repeat_byte(1), data: Bytes::from_static(&[1, 2, 3, 4]) }];
        Suite { version: 1, code, calls }
    }

    #[test]
    fn the_digest_is_pinned_and_covers_every_part() {
        let pinned = "0x57452b3fa683f2f6bbbc16f43b778c08ef5adf9fb2ba83443ae536d2f63cb21d";
        assert_eq!(suite().digest().to_string(), pinned);
        let changes: [fn(&mut Suite); 5] = [
            |suite| suite.version = 2,
            |suite| drop(suite.code.insert(Address::repeat_byte(2), Bytes::new())),
            |suite| drop(suite.code.insert(Address::repeat_byte(1), Bytes::new())),
            |suite| suite.calls.clear(),
            |suite| suite.calls[0].data = Bytes::new(),
        ];
        for change in changes {
            let mut changed = suite();
            change(&mut changed);
            assert_ne!(changed.digest(), suite().digest());
        }
    }
}
