// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {IUpgrades} from "./interfaces/IUpgrades.sol";
import {Suite} from "./lib/Suite.sol";

/// @notice See `IUpgrades`.
/// @dev The first part of `Governance`. It keeps what was decided; the ledger of every node does it.
abstract contract Upgrades is IUpgrades {
    IConsortiumRegistry internal constant REGISTRY = IConsortiumRegistry(Suite.REGISTRY);
    /// Blocks between the decision and its height.
    uint256 private constant NOTICE_BLOCKS = 8;

    /// Slot 0: `version`, `pending` and `height`. The ledger reads it, and slot 1, without running code.
    SuiteState private _suite;
    /// By version and member: the digest of the suite that its node can run; 0 for none.
    mapping(uint256 version => mapping(uint256 dcId => bytes32 digest)) private _announced;

    modifier onlySystem() {
        if (msg.sender != Suite.SYSTEM) revert GovernanceNotSystem(msg.sender);
        _;
    }

    /// @inheritdoc IUpgrades
    function announceSuite(uint32 version, bytes32 digest) external {
        uint32 dcId = _caller();
        _announced[version][dcId] = digest;
        emit SuiteAnnounced(dcId, version, digest);
    }

    /// @inheritdoc IUpgrades
    function activateSuite() external onlySystem {
        _suite = SuiteState(_suite.pending, 0, 0, 0);
    }

    /// @inheritdoc IUpgrades
    function abandonSuite() external onlySystem {
        _suite = SuiteState(_suite.version, 0, 0, 0);
    }

    /// @inheritdoc IUpgrades
    function suite() external view returns (SuiteState memory) {
        return _suite;
    }

    /// @inheritdoc IUpgrades
    function announcedSuite(uint32 version, uint32 dcId) external view returns (bytes32) {
        return _announced[version][dcId];
    }

    /// @inheritdoc IUpgrades
    function readyFor(uint32 version, bytes32 digest) public view returns (uint256 ready) {
        uint256 left = REGISTRY.activeMembers();
        for (uint256 dcId = 1; dcId <= Suite.MEMBERS_MAX; ++dcId) {
            if ((left >> dcId) & 1 == 1 && _announced[version][dcId] == digest) ready |= 1 << dcId;
            if (left >> dcId <= 1) break;
        }
    }

    /// @inheritdoc IUpgrades
    function upgradeProblem(uint32 version, bytes32 digest, uint64 height) public view returns (bytes4) {
        if (version == 0) {
            if (digest != 0 || height != 0) return GovernanceVersionNotHigher.selector;
            return _suite.pending == 0 ? GovernanceNothingPending.selector : bytes4(0);
        }
        if (version <= _suite.version || digest == 0) return GovernanceVersionNotHigher.selector;
        if (height < block.number + NOTICE_BLOCKS) return GovernanceHeightTooNear.selector;
        uint256 validators = REGISTRY.activeValidators();
        uint256 seats = _populationCount(validators);
        uint256 ready = _populationCount(validators & readyFor(version, digest));
        return ready < seats - (seats - 1) / 3 ? GovernanceTooFewReady.selector : bytes4(0);
    }

    function _beginWith(uint32 version) internal {
        _suite.version = version;
    }

    function _schedule(uint32 version, bytes32 digest, uint64 height) internal {
        _suite = SuiteState(_suite.version, version, height, digest);
        emit UpgradeScheduled(version, digest, height);
    }

    /// The active member whose own account calls.
    function _caller() internal view virtual returns (uint32);

    function _populationCount(uint256 bits) internal pure returns (uint8 ones) {
        for (; bits != 0; bits &= bits - 1) {
            ++ones;
        }
    }
}
