//! Where the suite stands and how it comes into a genesis file.
//!
//! It says what is to be placed and called; executing that is the ledger's.

use std::{collections::BTreeMap, sync::LazyLock};

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use alloy_sol_types::SolCall;
use hansa_types::{DcId, Genesis, Limits, MemberCard, Suite, SystemCall};
use serde::Deserialize;

use crate::{abi, card_from_types};

/// Sender of the calls that build the genesis state.
pub const SYSTEM: Address = address!("fffffffffffffffffffffffffffffffffffffffe");
/// `ConsortiumRegistry`.
pub const REGISTRY: Address = address!("0000000000000000000000000000000000001001");
/// `Governance`.
pub const GOVERNANCE: Address = address!("0000000000000000000000000000000000001002");
/// `Sharing`.
pub const SHARING: Address = address!("0000000000000000000000000000000000001003");
/// `DataStore`, of which each member has a clone ([`data_store_of`]).
pub const DATA_STORE_TEMPLATE: Address = address!("0000000000000000000000000000000000001011");
/// `AccessControl`, of which each member has a clone ([`access_control_of`]).
pub const ACCESS_CONTROL_TEMPLATE: Address = address!("0000000000000000000000000000000000001012");

const API: [(Address, &str); 5] = [
    (REGISTRY, include_str!("../../../api/ConsortiumRegistry.json")),
    (GOVERNANCE, include_str!("../../../api/Governance.json")),
    (SHARING, include_str!("../../../api/Sharing.json")),
    (DATA_STORE_TEMPLATE, include_str!("../../../api/DataStore.json")),
    (ACCESS_CONTROL_TEMPLATE, include_str!("../../../api/AccessControl.json")),
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Api {
    runtime_bytecode: Bytes,
}

/// The version of the suite under `api/`: what this program founds networks with.
pub const SUITE_VERSION: u32 = 1;

static CODE: LazyLock<BTreeMap<Address, Bytes>> = LazyLock::new(|| {
    let read = |text| {
        serde_json::from_str::<Api>(text).expect("invariant: api/ is generated and tested").runtime_bytecode
    };
    API.iter().map(|(at, text)| (*at, read(text))).collect()
});

/// The draft of a genesis file: it carries this program's suite, and no group key yet. The genesis state is what results when
/// the code is placed and the calls are made; a call that reverts means that the file is wrong, and [`crate::explain_revert`] says how.
///
/// The calls need about 0.8 million gas for each founder.
pub fn draft_genesis(chain_id: u64, timestamp: u64, limits: Limits, founders: Vec<MemberCard>) -> Genesis {
    let suite = suite_for(&founders, limits);
    Genesis { chain_id, timestamp, limits, founders, suite, group: Bytes::new() }
}

/// The draft's suite is not what this program would begin such a network with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the draft's system contracts (version {drafted}, digest {digest}) are not those that this program makes of its founders and limits (version {SUITE_VERSION}, digest {own}): \
     all founders must run the version of Hansa that wrote the draft, and nobody may have changed it"
)]
pub struct ForeignSuite {
    drafted: u32,
    digest: B256,
    own: B256,
}

/// Checks that a draft begins with this program's suite, and that the suite's state follows from the draft's founders and limits: a founder
/// agrees to nothing that is only in the bytecode.
///
/// # Errors
/// When the suite is another.
pub fn check_draft(draft: &Genesis) -> Result<(), ForeignSuite> {
    let own = suite_for(&draft.founders, draft.limits);
    if draft.suite == own {
        return Ok(());
    }
    Err(ForeignSuite { drafted: draft.suite.version, digest: draft.suite.digest(), own: own.digest() })
}

fn suite_for(founders: &[MemberCard], limits: Limits) -> Suite {
    let founders = founders.iter().map(card_from_types).collect();
    let registry = abi::ConsortiumRegistry::initializeCall { founders, epochBlocks: limits.epoch_blocks };
    let governance = abi::Governance::initializeCall {
        version: SUITE_VERSION,
        ballotSeconds_: limits.ballot_seconds,
        quota_: abi::Quota {
            bytesPerSecond: limits.member_bytes_per_second,
            slotsPerSecond: limits.member_slots_per_second,
        },
    };
    let calls = vec![
        SystemCall { to: REGISTRY, data: registry.abi_encode().into() },
        SystemCall { to: GOVERNANCE, data: governance.abi_encode().into() },
    ];
    Suite { version: SUITE_VERSION, code: CODE.clone(), calls }
}

/// The runtime bytecode of a predeployed contract, `None` for any other address.
pub fn runtime_bytecode(at: Address) -> Option<Bytes> {
    CODE.get(&at).cloned()
}

/// The registry's storage slot that holds whom an account acts for ([`authority`]): a sender is judged without running code.
pub fn registry_slot_of(account: Address) -> U256 {
    let mut key = [0u8; 64];
    key[12..32].copy_from_slice(account.as_slice());
    // The mapping is the contract's first variable, hence the zero in the second half.
    U256::from_be_bytes(keccak256(key).0)
}

/// The registry's storage slot that holds the active members, bit `d` for member `d`.
pub const REGISTRY_SLOT_OF_ACTIVE: U256 = U256::ONE;

/// The member that an account acts for.
///
/// `stored` is the value at [`registry_slot_of`] the account (`dcId` 4 bytes, roles 4, until 5, from the low end), `active` the one at
/// [`REGISTRY_SLOT_OF_ACTIVE`], `timestamp` the block's in Unix seconds. `None` for an account that is nobody's, whose time is over, or whose
/// member is not active.
pub fn authority(stored: U256, active: U256, timestamp: u64) -> Option<DcId> {
    let [low, high, ..] = *stored.as_limbs();
    let member = DcId::new(u32::try_from(low & u64::from(u32::MAX)).ok()?)?;
    let until = high & ((1 << 40) - 1);
    let is_active = active.bit(usize::try_from(member.value()).ok()?);
    (is_active && (until == 0 || timestamp <= until)).then_some(member)
}

/// The upgrade state in the governance contract's storage, read without running its code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuiteState {
    /// The version in force.
    pub version: u32,
    /// The version decided, 0 when none is.
    pub pending: u32,
    /// The first block under the pending version.
    pub height: u64,
    /// Digest of the pending suite.
    pub digest: B256,
}

impl SuiteState {
    /// Slots 0 and 1 of [`GOVERNANCE`].
    pub const SLOTS: [U256; 2] = [U256::ZERO, U256::ONE];

    /// From the values of [`Self::SLOTS`]: version 4 bytes, pending 4, height 8, from the low end; then the digest.
    pub fn from_slots([first, second]: [U256; 2]) -> Self {
        let [versions, height, ..] = *first.as_limbs();
        let [a, b, c, d, e, f, g, h] = versions.to_be_bytes();
        Self {
            version: u32::from_be_bytes([e, f, g, h]),
            pending: u32::from_be_bytes([a, b, c, d]),
            height,
            digest: second.into(),
        }
    }
}

/// The address of a member's storage contract. It follows from the `dcId` alone.
pub fn data_store_of(member: DcId) -> Address {
    instance_of(DATA_STORE_TEMPLATE, member)
}

/// The address of the access contract that a member starts with. It follows from the `dcId` alone.
pub fn access_control_of(member: DcId) -> Address {
    instance_of(ACCESS_CONTROL_TEMPLATE, member)
}

/// CREATE2 from the registry, salt the `dcId`, of an EIP-1167 clone with the `dcId` (4 bytes) as immutable argument, as
/// OpenZeppelin's `Clones` builds it.
fn instance_of(template: Address, member: DcId) -> Address {
    let id = member.value().to_be_bytes();
    let mut code = Vec::with_capacity(59);
    // PUSH2 length (45 bytes of proxy and 4 of argument), then return the rest as runtime code.
    code.extend_from_slice(&[0x61, 0x00, 0x31, 0x3d, 0x81, 0x60, 0x0a, 0x3d, 0x39, 0xf3]);
    code.extend_from_slice(&[0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d, 0x73]);
    code.extend_from_slice(template.as_slice());
    code.extend_from_slice(&[
        0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3,
    ]);
    code.extend_from_slice(&id);
    let salt = B256::left_padding_from(&id);
    REGISTRY.create2(salt, keccak256(&code))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{address, keccak256};
    use alloy_sol_types::SolValue;
    use hansa_types::{ClusterId, DcId, NetworkKey};

    use super::*;

    fn founder(byte: u8) -> MemberCard {
        MemberCard {
            name: format!("member {byte}"),
            cluster: ClusterId(1),
            account: Address::repeat_byte(byte),
            network_key: NetworkKey(B256::repeat_byte(byte)),
            encryption_key: vec![byte; 1_216].into(),
            consensus_endpoint: "127.0.0.1:4000".into(),
            swarm_endpoint: "/ip4/127.0.0.1/tcp/4001".into(),
        }
    }

    #[test]
    fn a_founder_refuses_a_draft_whose_contracts_say_more_than_its_founders() {
        let founders: Vec<_> = (1..=4).map(founder).collect();
        let draft = draft_genesis(7, 1, Limits::default(), founders.clone());
        assert_eq!(check_draft(&draft), Ok(()));
        let one_more = draft_genesis(7, 1, Limits::default(), (1..=5).map(founder).collect());
        let changes: [&dyn Fn(&mut Genesis); 4] = [
            &|draft| drop(draft.suite.code.insert(SHARING, Bytes::from_static(&[0]))),
            &|draft| drop(draft.suite.code.insert(Address::repeat_byte(9), Bytes::from_static(&[0]))),
            &|draft| draft.suite.calls.clone_from(&one_more.suite.calls),
            &|draft| draft.suite.version = SUITE_VERSION + 1,
        ];
        for change in changes {
            let mut changed = draft.clone();
            change(&mut changed);
            assert!(check_draft(&changed).is_err());
        }
    }

    /// The same constants stand in `contracts/test/Vectors.t.sol`.
    #[test]
    fn instances_stand_where_the_registry_puts_them() {
        let (first, fourth) = (DcId::new(1).unwrap(), DcId::new(4).unwrap());
        let computed = [data_store_of(first), access_control_of(first), data_store_of(fourth)];
        let pinned = [
            address!("E6087d417694B209b445DAa7499A35791115442f"),
            address!("7B62A9424C94451ad3f0c8dBBE78cE9ff1c94b10"),
            address!("1Cc09036111bf411C154c4fbF471Dd87B6522209"),
        ];
        assert_eq!(computed, pinned);
    }

    #[test]
    fn every_predeployed_contract_has_code() {
        for (at, _) in API {
            assert!(runtime_bytecode(at).is_some_and(|code| code.len() > 100), "{at}");
        }
        assert_eq!(runtime_bytecode(SYSTEM), None);
    }

    /// `contracts/test/Upgrades.t.sol` and `Registry.t.sol` have the same slots.
    #[test]
    fn packed_slots_are_read_as_the_contracts_write_them() {
        let first = U256::from(1) | U256::from(2) << 32 | U256::from(0x5566) << 64;
        let expected = SuiteState { version: 1, pending: 2, height: 0x5566, digest: B256::repeat_byte(7) };
        assert_eq!(SuiteState::from_slots([first, B256::repeat_byte(7).into()]), expected);

        let until = |until: u64| U256::from(2) | U256::from(1) << 32 | U256::from(until) << 64;
        let judged = |stored, active: u64| authority(stored, U256::from(active), 1_000).map(DcId::value);
        assert_eq!(judged(until(0), 0b100), Some(2));
        assert_eq!(judged(until(0), 0b1010), None, "not active");
        assert_eq!(judged(until(1_000), 0b100), Some(2));
        assert_eq!(judged(until(999), 0b100), None, "its time is over");
        assert_eq!(judged(U256::ZERO, u64::MAX), None, "nobody's account");
        assert_eq!(judged(U256::from(300), 0b100), None, "beyond the bits");
    }

    #[test]
    fn the_registered_accounts_are_the_first_mapping() {
        let account = address!("7E5F4552091A69125d5DfCb7b8C2659029395Bdf");
        let slot = keccak256((account, U256::ZERO).abi_encode());
        assert_eq!(registry_slot_of(account), U256::from_be_bytes(slot.0));
    }
}
