// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Segment} from "../src/Segment.sol";
import {ISegment} from "../src/interfaces/ISegment.sol";
import {Consortium} from "./Consortium.sol";

contract SegmentTest is Consortium {
    ISegment private segment;

    constructor() {
        segment = new Segment();
    }

    function testFuzz_add_keepsTheFirstRoot(uint256 key, bytes32 root, bytes32 other) external {
        root = root == 0 ? bytes32(uint256(1)) : root;
        vm.assertTrue(segment.add(key, root));
        vm.assertFalse(segment.add(key, other));
        vm.assertEq(segment.rootAt(key), root);
        unchecked {
            vm.assertEq(segment.rootAt(key + 1), bytes32(0));
        }
    }

    function testFuzz_add_isForItsStoreOnly(address caller, uint256 key) external {
        caller = caller == address(this) ? address(1) : caller;
        vm.expectRevert(abi.encodeWithSelector(ISegment.SegmentNotStore.selector, caller));
        vm.prank(caller);
        segment.add(key, bytes32(uint256(1)));
        vm.assertEq(segment.rootAt(key), bytes32(0));
    }
}
