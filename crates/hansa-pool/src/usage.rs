//! What each account's transactions have cost the chain in recent blocks. No locks, no clock.
//!
//! Costs are in microseconds of execution. Each final block makes earlier costs weigh an eighth less, so an account that
//! pauses for some twenty blocks almost starts afresh.

use alloy_primitives::{Address, map::AddressMap};

/// Gas that ordinary transactions use in a microsecond.
const GAS_PER_MICROSECOND: u64 = 100;

/// What execution of so much gas ordinarily costs, in microseconds; at least 1.
pub const fn ordinary_cost(gas: u64) -> u64 {
    match gas.checked_div(GAS_PER_MICROSECOND) {
        Some(cost) if cost > 0 => cost,
        _ => 1,
    }
}

/// The accounts with costs in recent blocks.
#[derive(Default)]
pub(crate) struct Usage(AddressMap<u64>);

impl Usage {
    pub(crate) fn of(&self, sender: &Address) -> u64 {
        self.0.get(sender).copied().unwrap_or_default()
    }

    pub(crate) fn charge(&mut self, sender: Address, cost: u64) {
        let used = self.0.entry(sender).or_default();
        *used = used.saturating_add(cost);
    }

    /// A block became final. Accounts whose costs have faded are forgotten, which bounds the table.
    pub(crate) fn fade(&mut self) {
        self.0.retain(|_, used| {
            *used = used.saturating_sub(used.div_ceil(8));
            *used > 0
        });
    }
}
