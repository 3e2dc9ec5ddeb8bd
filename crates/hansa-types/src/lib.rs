//! Names the things every other crate talks about: identifiers, blocks, certificates, genesis.
//!
//! Plain data with its encodings. No I/O, no async, no engine: a type here may be decoded from a hostile peer's
//! bytes, so nothing in this crate panics on input.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod block;
mod deposits;
mod endpoint;
mod genesis;
mod ids;
mod member;
mod path;
mod proof;
mod release;
mod rules;
mod suite;
mod swarm_key;
mod text;
mod time;
mod transaction;
pub mod units;

pub use block::{Block, BlockDecodeError, ConsensusData, MAX_BLOCK_BYTES};
pub use deposits::{GrantDeposit, VERSION_DEPOSITS_MAX, VersionDeposit, VersionDeposits};
pub use endpoint::{CardError, Host};
pub use genesis::{CHAIN_ID_MAX, Genesis, GenesisError, Limits};
pub use ids::{ClusterId, DcId, ObjectId, ParseIdError, Version, Visibility};
pub use member::{Endpoints, Member, MemberCard, MemberStatus, NetworkKey, Role, SignedCard};
pub use path::{NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_COMPONENTS_MAX, name_problem, path_problem};
pub use proof::{BlockEvidence, BlockProof, Certificate};
pub use release::{
    CAPSULE_BYTES, DEPOSIT_OVERHEAD_BYTES, DEPOSITED_BYTES_MAX, Deposit, DepositError, RELEASE_ID_BYTES,
    ReleaseId, ReleaseJudge, ReleaseRefusal, ReleaseVerdict, ReleasedKey,
};
pub use rules::{
    BODY_BYTES_MAX, DEPLOYER_ACCOUNT, DEPLOYER_TRANSACTION, INITCODE_BYTES_MAX, MEMBERS_MAX, SEATS_MAX,
    TRANSACTION_BYTES_MAX, TRANSACTION_GAS_MAX, intrinsic_gas, is_deployer, member_gas_quota,
};
pub use suite::{Suite, SystemCall};
pub use swarm_key::{SwarmKey, SwarmKeyError};
pub use text::{is_misleading, printable};
pub use time::{parse_utc, utc};
pub use transaction::{SignedTransaction, decode_transactions, signature_hashes};
