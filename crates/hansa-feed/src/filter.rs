//! Filters of subscriptions.

use alloy_primitives::{Address, B256};

/// A choice among the events of the suite. Empty lists match anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedFilter {
    /// Emitting contracts.
    pub contracts: Vec<Address>,
    /// Accepted values of each topic; the first is the event's signature.
    pub topics: [Vec<B256>; 4],
}
