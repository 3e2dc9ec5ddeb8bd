// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Which version of the system contracts runs, and which one is to replace it at which height.
/// @notice A suite is named by its digest over version, code and calls. At the height every node's ledger puts the code in place and makes the
/// calls, as part of that block's state; a suite whose calls revert is abandoned, and the old one goes on.
interface IUpgrades {
    /// `version` and `digest` of what runs and of what is decided.
    struct SuiteState {
        /// The version in force.
        uint32 version;
        /// The version decided, 0 when none is.
        uint32 pending;
        /// The block with which it begins.
        uint64 height;
        bytes32 digest;
    }

    /// A member's node can run a suite; `digest` 0: not any more.
    event SuiteAnnounced(uint32 indexed dcId, uint32 indexed version, bytes32 digest);
    /// An upgrade was decided; all 0: the pending one was taken back.
    event UpgradeScheduled(uint32 indexed version, bytes32 digest, uint64 height);

    /// Only the system address may call this.
    error GovernanceNotSystem(address caller);
    /// The caller is not the account of an active member.
    error GovernanceNotMember(address caller);
    /// A suite's version must be higher than the one in force, and its digest not 0.
    error GovernanceVersionNotHigher();
    /// The height must leave at least eight blocks from the deciding vote.
    error GovernanceHeightTooNear();
    /// The nodes of fewer validators than a quorum have announced this suite.
    error GovernanceTooFewReady();
    /// There is no pending upgrade to take back.
    error GovernanceNothingPending();

    /// @notice States which suite of a version the caller's node can run. Any active member; the last statement counts.
    function announceSuite(uint32 version, bytes32 digest) external;

    /// @notice Puts the pending version in force. The system address, in the block of its height.
    function activateSuite() external;

    /// @notice Gives the pending version up. The system address, in the block of its height.
    function abandonSuite() external;

    /// @notice The suite in force and the pending one.
    function suite() external view returns (SuiteState memory);

    /// @notice The digest of the suite of this version that a member's node can run, 0 when none.
    function announcedSuite(uint32 version, uint32 dcId) external view returns (bytes32);

    /// @notice Bit `d` is set when active member `d` has announced this suite.
    function readyFor(uint32 version, bytes32 digest) external view returns (uint256);

    /// @notice Why an upgrade cannot be decided at this moment, as the selector of an error of this interface; 0 when it can.
    function upgradeProblem(uint32 version, bytes32 digest, uint64 height) external view returns (bytes4);
}
