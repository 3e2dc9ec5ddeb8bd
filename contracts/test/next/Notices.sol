// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// A contract that a later version of the suite could add. For tests of upgrades.
contract Notices {
    event NoticePosted(address indexed author, bytes32 notice);

    uint256 public count;

    function post(bytes32 notice) external {
        ++count;
        emit NoticePosted(msg.sender, notice);
    }
}
