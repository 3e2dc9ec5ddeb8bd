// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Clones} from "@openzeppelin/contracts/proxy/Clones.sol";

/// A member's own instance of a template: an EIP-1167 clone whose code ends with the member's `dcId` (4 bytes).
library Instance {
    /// Where the argument begins in a clone's code.
    uint256 private constant ARGUMENT_AT = 45;

    /// Creates the instance of `template` for a member. Its address follows from both and from who creates it.
    function create(address template, uint32 id) internal returns (address) {
        return
            Clones.cloneDeterministicWithImmutableArgs(template, abi.encodePacked(id), bytes32(uint256(id)));
    }

    /// The member whose instance is running; 0 in the template itself.
    function dcId() internal view returns (uint32 id) {
        assembly ("memory-safe") {
            mstore(0, 0)
            extcodecopy(address(), 28, ARGUMENT_AT, 4)
            if eq(extcodesize(address()), 49) { id := mload(0) }
        }
    }
}
