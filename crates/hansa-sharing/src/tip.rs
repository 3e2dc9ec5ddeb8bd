//! How far the consortium's chain is known to have got.

/// Tells the greatest height known to be final, which this node need not have executed. A node that releases keys has
/// executed all of it: at a stale head, what was taken back would still stand.
pub trait Tip: Send + Sync + 'static {
    /// The height; `None` while nothing has been heard of the chain for so long that it may have gone on without this
    /// node.
    fn final_height(&self) -> Option<u64>;
}
