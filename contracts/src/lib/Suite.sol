// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// Where the suite stands on every consortium chain, and limits that several contracts share.
library Suite {
    /// Sender of the calls that build the genesis state.
    address internal constant SYSTEM = 0xffffFFFfFFffffffffffffffFfFFFfffFFFfFFfE;
    address internal constant REGISTRY = 0x0000000000000000000000000000000000001001;
    address internal constant GOVERNANCE = 0x0000000000000000000000000000000000001002;
    address internal constant SHARING = 0x0000000000000000000000000000000000001003;
    address internal constant DATA_STORE_TEMPLATE = 0x0000000000000000000000000000000000001011;
    address internal constant ACCESS_CONTROL_TEMPLATE = 0x0000000000000000000000000000000000001012;

    /// Members ever admitted, removed ones included: one bit each in a word.
    uint256 internal constant MEMBERS_MAX = 255;
    /// Times and sizes are stored in 40 bits.
    uint256 internal constant UINT40_MAX = type(uint40).max;
}

/// The rights of an account under its member.
library Roles {
    /// The member's own account: everything, votes included.
    uint32 internal constant OWNER = 1;
}

/// What is to be done under a `dcId`; the access contract is asked with one of these.
library Actions {
    bytes32 internal constant RECORD = "record";
    bytes32 internal constant SHARE = "share";
    bytes32 internal constant REVOKE = "revoke";
    bytes32 internal constant VISIBILITY = "visibility";
    bytes32 internal constant OPEN = "open";
    bytes32 internal constant RELEASE = "release";
    bytes32 internal constant REFUSE = "refuse";
}

/// Why an opening or a key was refused.
library Reason {
    uint8 internal constant NONE = 0;
    /// The owner has no object of this number.
    uint8 internal constant UNKNOWN_OBJECT = 1;
    /// The object has no such version.
    uint8 internal constant UNKNOWN_VERSION = 2;
    /// The owner never shared it with the member.
    uint8 internal constant NOT_GRANTED = 3;
    /// The owner took the grant back.
    uint8 internal constant REVOKED = 4;
    /// The grant's time is over.
    uint8 internal constant EXPIRED = 5;
    /// The grant's openings are used up.
    uint8 internal constant EXHAUSTED = 6;
    /// The version's own time is over.
    uint8 internal constant NO_LONGER_VALID = 7;
    /// The member is not active.
    uint8 internal constant INACTIVE = 8;
    /// The owner's node found no opening on the chain.
    uint8 internal constant NOT_OPENED = 9;
    /// The owner no longer holds the key.
    uint8 internal constant KEY_DESTROYED = 10;
    /// The owner declined.
    uint8 internal constant DECLINED = 11;
}
