//! How far the consortium's chain is known to have got.

use async_trait::async_trait;

/// Tells the greatest height known to be final, which this node need not have executed. A node that releases keys has
/// executed all of it: at a stale head, what was taken back would still stand.
#[async_trait]
pub trait Tip: Send + Sync + 'static {
    /// The height. Waits a few seconds for a block where none has been heard of lately, as after a start; `None` if none
    /// comes, since the chain may have gone on without this node.
    async fn final_height(&self) -> Option<u64>;
}
