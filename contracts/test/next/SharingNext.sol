// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Sharing} from "../../src/Sharing.sol";
import {Suite} from "../../src/lib/Suite.sol";

/// The sharing contract as a later version of the suite could have it: one more field, set when the version begins. For tests of upgrades.
contract SharingNext is Sharing {
    error SharingNextNotSystem(address caller);

    uint64 private _begunAt;

    /// Notes the height with which this version began. The system address only.
    function begin() external {
        if (msg.sender != Suite.SYSTEM) revert SharingNextNotSystem(msg.sender);
        _begunAt = uint64(block.number);
    }

    /// The height with which this version began.
    function begunAt() external view returns (uint64) {
        return _begunAt;
    }
}
