//! The members' quota in the governance contract's storage, which the ledger reads and writes without running code.
//!
//! A leaky bucket for each member: what it makes all nodes store fills the bucket, time empties it at the quota's rate, and a member whose
//! bucket holds a day's worth sends nothing more. The arithmetic is part of the chain's rules: every node must get the same figures.

use alloy_primitives::{B256, U256, keccak256};
use hansa_types::DcId;

/// A bucket holds what its rate empties in so many seconds.
pub const QUOTA_SECONDS: u64 = 24 * 3_600;

/// The rates at which each member may make all nodes store something for good; 0 for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of transactions, logs and code in a second.
    pub bytes_per_second: u64,
    /// Storage slots that become other than zero, and new accounts, in a second.
    pub slots_per_second: u64,
}

/// The level of a member's two buckets: use that time has not made up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of transactions, logs and code.
    pub bytes: u64,
    /// Storage slots and accounts.
    pub slots: u64,
    /// When these figures were true, in Unix seconds.
    pub time: u64,
}

impl Quota {
    /// Slot 6 of [`crate::GOVERNANCE`].
    pub const SLOT: U256 = U256::from_limbs([6, 0, 0, 0]);

    /// From the value of [`Self::SLOT`]: bytes 8 bytes, slots 8, from the low end.
    pub const fn from_slot(value: U256) -> Self {
        let [bytes_per_second, slots_per_second, ..] = *value.as_limbs();
        Self { bytes_per_second, slots_per_second }
    }

    /// Whether it limits anything.
    pub const fn limits(&self) -> bool {
        self.bytes_per_second != 0 || self.slots_per_second != 0
    }

    /// Bytes and slots that a member with this usage may add at `time`. A transaction may go beyond what is left, as long as something is.
    pub fn left(&self, usage: Usage, time: u64) -> (u64, u64) {
        let usage = self.at(usage, time);
        let left = |rate: u64, used: u64| match rate {
            0 => u64::MAX,
            rate => rate.saturating_mul(QUOTA_SECONDS).saturating_sub(used),
        };
        (left(self.bytes_per_second, usage.bytes), left(self.slots_per_second, usage.slots))
    }

    /// The usage at a later time. A time before that of the figures makes up for nothing.
    pub fn at(&self, usage: Usage, time: u64) -> Usage {
        let elapsed = time.saturating_sub(usage.time);
        let remaining = |rate: u64, used: u64| match rate {
            0 => 0,
            rate => used.saturating_sub(rate.saturating_mul(elapsed)),
        };
        Usage {
            bytes: remaining(self.bytes_per_second, usage.bytes),
            slots: remaining(self.slots_per_second, usage.slots),
            time: usage.time.max(time),
        }
    }

    /// The first Unix second in which a member with this usage may send again.
    pub fn free_at(&self, usage: Usage) -> u64 {
        let wait = |rate: u64, used: u64| match used.checked_sub(rate.saturating_mul(QUOTA_SECONDS)) {
            // More than what is over: a full bucket sends nothing.
            Some(over) => over.checked_div(rate).map_or(0, |seconds| seconds.saturating_add(1)),
            None => 0,
        };
        let bytes = wait(self.bytes_per_second, usage.bytes);
        usage.time.saturating_add(bytes.max(wait(self.slots_per_second, usage.slots)))
    }
}

impl Usage {
    /// The slot of [`crate::GOVERNANCE`] that holds a member's usage, in the mapping at slot 7.
    pub fn slot_of(member: DcId) -> U256 {
        let key = [B256::from(U256::from(member.value())), B256::from(U256::from(7))].concat();
        U256::from_be_bytes(keccak256(key).0)
    }

    /// From the value of [`Self::slot_of`] a member: bytes 8 bytes, slots 8, time 8, from the low end.
    pub const fn from_slot(value: U256) -> Self {
        let [bytes, slots, time, _] = *value.as_limbs();
        Self { bytes, slots, time }
    }

    /// Back to the value of the slot.
    pub const fn to_slot(&self) -> U256 {
        U256::from_limbs([self.bytes, self.slots, self.time, 0])
    }

    /// With more stored.
    #[must_use]
    pub const fn add(self, bytes: u64, slots: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_add(bytes),
            slots: self.slots.saturating_add(slots),
            time: self.time,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_sol_types::SolValue as _;
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota { bytes_per_second: 10, slots_per_second: 2 };
    const FULL: u64 = 10 * QUOTA_SECONDS;

    /// `contracts/test/Upgrades.t.sol` has the same slots.
    #[test]
    fn slots_are_read_as_the_contract_lays_them_out() {
        let slot = keccak256((U256::from(3), U256::from(7)).abi_encode());
        assert_eq!(Usage::slot_of(DcId::new(3).unwrap()), U256::from_be_bytes(slot.0));
        let value = U256::from(11) | U256::from(12) << 64 | U256::from(13) << 128;
        let usage = Usage { bytes: 11, slots: 12, time: 13 };
        assert_eq!((Usage::from_slot(value), usage.to_slot()), (usage, value));
        let quota = Quota { bytes_per_second: 1 << 20, slots_per_second: 1 << 10 };
        assert_eq!(Quota::from_slot(U256::from(1 << 20) | U256::from(1 << 10) << 64), quota);
    }

    #[test]
    fn a_full_bucket_is_emptied_by_time_alone() {
        let full = Usage { bytes: FULL, slots: 0, time: 1_000 };
        assert_eq!(QUOTA.left(full, 1_000), (0, 2 * QUOTA_SECONDS));
        assert_eq!(QUOTA.left(full, 999), (0, 2 * QUOTA_SECONDS), "a clock set back gives nothing");
        assert_eq!(QUOTA.left(full, 1_001).0, 10);
        assert_eq!(QUOTA.left(full, 1_000 + 2 * QUOTA_SECONDS).0, FULL, "no more than a day's worth adds up");
        assert_eq!(QUOTA.free_at(full), 1_001);
        assert_eq!(QUOTA.free_at(full.add(25, 0)), 1_003);
        assert_eq!(QUOTA.free_at(Usage { bytes: FULL - 1, ..full }), 1_000);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let none = Quota::default();
        assert!(!none.limits() && QUOTA.limits());
        assert_eq!(none.left(Usage { bytes: u64::MAX, slots: u64::MAX, time: 0 }, 0), (u64::MAX, u64::MAX));
        let slots_only = Quota { bytes_per_second: 0, slots_per_second: 1 };
        assert_eq!(
            slots_only.left(Usage { bytes: u64::MAX, slots: QUOTA_SECONDS, time: 5 }, 5),
            (u64::MAX, 0)
        );
    }

    proptest! {
        #[test]
        fn no_figures_of_a_hostile_state_overflow(rates: [u64; 2], used: [u64; 3], time: u64) {
            let quota = Quota { bytes_per_second: rates[0], slots_per_second: rates[1] };
            let usage = Usage { bytes: used[0], slots: used[1], time: used[2] };
            let later = quota.at(usage, time);
            prop_assert!(later.bytes <= usage.bytes && later.slots <= usage.slots && later.time >= usage.time);
            let (bytes, slots) = quota.left(usage, quota.free_at(usage));
            let endless = quota.free_at(usage) == u64::MAX;
            prop_assert!(endless || (bytes > 0 && slots > 0));
        }
    }
}
