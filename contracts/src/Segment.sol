// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISegment} from "./interfaces/ISegment.sol";

/// @notice See `ISegment`.
/// @dev A contract of its own for its storage: what has been written lies in tries that are not touched any more, and what is
/// being written in one that stays small, however many objects there are.
contract Segment is ISegment {
    address private immutable STORE = msg.sender;

    mapping(uint256 key => bytes32) private _roots;

    /// @inheritdoc ISegment
    function add(uint256 key, bytes32 root) external returns (bool added) {
        if (msg.sender != STORE) revert SegmentNotStore(msg.sender);
        if (_roots[key] != 0) return false;
        _roots[key] = root;
        return true;
    }

    /// @inheritdoc ISegment
    function rootAt(uint256 key) external view returns (bytes32) {
        return _roots[key];
    }
}
