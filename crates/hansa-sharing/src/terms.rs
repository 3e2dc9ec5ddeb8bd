//! A grant's terms, as the contract keeps them. Decides nothing: the contract judges openings.

use hansa_contracts::{GRANTED, abi};

/// Whether a grant with these terms (0 for none) ends by itself.
pub(crate) const fn is_limited(expires_at: u64, max_openings: u32) -> bool {
    expires_at != 0 || max_openings != 0
}

/// Whether a grant came with a deposit and permits an opening at this time.
pub(crate) fn stands(cell: &abi::Cell, time: u64) -> bool {
    let is_used_up = cell.maxOpenings != 0 && cell.openings >= cell.maxOpenings;
    let is_over = cell.expiresAt != 0 && cell.expiresAt < time;
    cell.state == GRANTED && !cell.wrappedKey.is_empty() && !is_used_up && !is_over
}
