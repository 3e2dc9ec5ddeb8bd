// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The roots of a member's objects whose numbers differ in their last 16 bits only.
/// @notice Belongs to the storage contract that created it, which says what a root's key is.
interface ISegment {
    /// Only the storage contract may call this.
    error SegmentNotStore(address caller);

    /// @notice Keeps a root for ever. Storage contract only.
    /// @return added False when the key has one, which stays.
    function add(uint256 key, bytes32 root) external returns (bool added);

    /// @notice The root at a key, 0 when there is none.
    function rootAt(uint256 key) external view returns (bytes32);
}
