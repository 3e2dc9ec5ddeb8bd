// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {IUpgrades} from "../src/interfaces/IUpgrades.sol";
import {Suite} from "../src/lib/Suite.sol";
import {BallotState, Parameter, Role, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// Ballots on the suite, on limits, seats and keys.
contract UpgradesTest is Consortium {
    bytes32 private constant DIGEST = keccak256("suite 2");

    function test_openUpgrade_needsAQuorumThatIsReady() external {
        refused(2, DIGEST, 100, IUpgrades.GovernanceTooFewReady.selector);
        announce(1, DIGEST);
        announce(2, DIGEST);
        announce(3, keccak256("another suite 2"));
        refused(2, DIGEST, 100, IUpgrades.GovernanceTooFewReady.selector);
        announce(3, DIGEST);
        vm.assertEq(governance.readyFor(2, DIGEST), 14);
        vm.assertEq(governance.announcedSuite(2, 3), DIGEST);
        refused(1, DIGEST, 100, IUpgrades.GovernanceVersionNotHigher.selector);
        refused(2, 0, 100, IUpgrades.GovernanceVersionNotHigher.selector);
        refused(2, DIGEST, uint64(block.number) + 7, IUpgrades.GovernanceHeightTooNear.selector);
        carry(openUpgrade(2, DIGEST, uint64(block.number) + 8));
        setStanding(1, Standing.Suspended);
        vm.assertEq(governance.readyFor(2, DIGEST), 12);
    }

    /// The ledger reads these slots without running code.
    function test_suite_isStorageSlotsZeroAndOne() external {
        vm.assertEq(governance.suite().version, 1);
        vm.assertEq(uint256(vm.load(Suite.GOVERNANCE, 0)), 1);
        ready();
        carry(openUpgrade(2, DIGEST, 0x5566));
        vm.assertEq(uint256(vm.load(Suite.GOVERNANCE, 0)), 1 | (2 << 32) | (0x5566 << 64));
        vm.assertEq(vm.load(Suite.GOVERNANCE, bytes32(uint256(1))), DIGEST);
    }

    function test_activateSuite_putsThePendingVersionInForce() external {
        ready();
        carry(openUpgrade(2, DIGEST, 100));
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotSystem.selector, accountOf(1)));
        vm.prank(accountOf(1));
        governance.activateSuite();
        vm.prank(Suite.SYSTEM);
        governance.activateSuite();
        vm.assertEq(governance.suite().version, 2);
        vm.assertEq(governance.suite().pending, 0);
        vm.assertEq(vm.load(Suite.GOVERNANCE, bytes32(uint256(1))), bytes32(0));
        refused(2, DIGEST, 200, IUpgrades.GovernanceVersionNotHigher.selector);
    }

    function test_abandonSuite_keepsTheOldVersion() external {
        ready();
        carry(openUpgrade(2, DIGEST, 100));
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotSystem.selector, accountOf(1)));
        vm.prank(accountOf(1));
        governance.abandonSuite();
        vm.prank(Suite.SYSTEM);
        governance.abandonSuite();
        vm.assertEq(governance.suite().version, 1);
        vm.assertEq(governance.suite().pending, 0);
    }

    function test_openUpgrade_takesBackThePendingOne() external {
        refused(0, 0, 0, IUpgrades.GovernanceNothingPending.selector);
        ready();
        carry(openUpgrade(2, DIGEST, 100));
        refused(0, DIGEST, 0, IUpgrades.GovernanceVersionNotHigher.selector);
        carry(openUpgrade(0, 0, 0));
        vm.assertEq(governance.suite().pending, 0);
        vm.assertEq(governance.suite().height, 0);
    }

    function test_vote_rejectsAnUpgradeDecidedTooLate() external {
        ready();
        uint64 id = openUpgrade(2, DIGEST, 100);
        vm.roll(93);
        vote(1, id);
        vote(2, id);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.BallotRejected(id, IUpgrades.GovernanceHeightTooNear.selector);
        vote(3, id);
        vm.assertEq(governance.suite().pending, 0);
    }

    function test_announceSuite_isForMembers() external {
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, RELAY));
        vm.prank(RELAY);
        governance.announceSuite(2, DIGEST);
    }

    function test_openParameter_changesHowLongBallotsStayOpen() external {
        vm.prank(accountOf(1));
        uint64 id = governance.openParameter(Parameter.BallotSeconds, 60);
        carry(id);
        vm.assertEq(governance.ballotSeconds(), 60);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceParameterOutOfRange.selector));
        vm.prank(accountOf(1));
        governance.openParameter(Parameter.BallotSeconds, 0);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceParameterUnknown.selector));
        vm.prank(accountOf(1));
        governance.openParameter(Parameter.None, 1);
    }

    function test_openParameter_changesWhatMembersMayStore() external {
        vm.prank(accountOf(1));
        uint64 id = governance.openParameter(Parameter.MemberBytesPerSecond, 1024);
        carry(id);
        vm.prank(accountOf(1));
        id = governance.openParameter(Parameter.MemberSlotsPerSecond, 0);
        carry(id);
        vm.assertEq(uint256(governance.quota().bytesPerSecond), 1024);
        vm.assertEq(uint256(governance.quota().slotsPerSecond), 0);
    }

    /// A majority cannot choose a quota under which nobody could vote.
    function test_openParameter_keepsRoomForVotes() external {
        outOfRange(Parameter.MemberBytesPerSecond, 1);
        outOfRange(Parameter.MemberBytesPerSecond, 1023);
        outOfRange(Parameter.MemberBytesPerSecond, (1 << 40) + 1);
        outOfRange(Parameter.MemberSlotsPerSecond, 15);
        outOfRange(Parameter.MemberSlotsPerSecond, type(uint256).max);
    }

    function outOfRange(Parameter parameter, uint256 value) private {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceParameterOutOfRange.selector));
        vm.prank(accountOf(1));
        governance.openParameter(parameter, value);
    }

    /// The ledger reads slot 6 and writes slot 7 without running code.
    function test_quota_isStorageSlotsSixAndSeven() external {
        vm.assertEq(uint256(vm.load(Suite.GOVERNANCE, bytes32(uint256(6)))), (1 << 20) | (1 << (10 + 64)));
        bytes32 slot = keccak256(abi.encode(uint256(3), uint256(7)));
        vm.store(Suite.GOVERNANCE, slot, bytes32(uint256(11) | (12 << 64) | (13 << 128)));
        vm.assertEq(uint256(governance.usageOf(3).storedBytes), 11);
        vm.assertEq(uint256(governance.usageOf(3).newSlots), 12);
        vm.assertEq(uint256(governance.usageOf(3).time), 13);
    }

    function test_openSeat_makesAParticipantAValidator() external {
        admit(5);
        vm.prank(accountOf(2));
        carry(governance.openSeat(5, Role.Validator));
        vm.assertEq(registry.activeValidators(), 62);
    }

    function test_openReset_givesNewKeysToTheSameMember() external {
        vm.prank(accountOf(1));
        uint64 id = governance.openReset(4, signedCardOf(44));
        vote(1, id);
        vote(2, id);
        vote(3, id);
        vm.assertEq(registry.dcIdOf(accountOf(44)), 4);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Executed));
        vm.assertEq(governance.ballot(id).subject, 4);
        // The new account votes for the member, the old one does not.
        vm.prank(accountOf(44));
        uint64 next = governance.openSeat(4, Role.Participant);
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, accountOf(4)));
        vote(4, next);
        vote(44, next);
    }

    function announce(uint32 id, bytes32 digest) private {
        vm.prank(accountOf(id));
        governance.announceSuite(2, digest);
    }

    function ready() private {
        for (uint32 id = 2; id <= 4; ++id) {
            announce(id, DIGEST);
        }
    }

    function openUpgrade(uint32 version, bytes32 digest, uint64 height) private returns (uint64) {
        vm.prank(accountOf(1));
        return governance.openUpgrade(version, digest, height);
    }

    function refused(uint32 version, bytes32 digest, uint64 height, bytes4 problem) private {
        vm.assertEq(bytes32(governance.upgradeProblem(version, digest, height)), bytes32(problem));
        vm.expectRevert(abi.encodeWithSelector(problem));
        vm.prank(accountOf(1));
        governance.openUpgrade(version, digest, height);
    }

    function vote(uint32 id, uint64 ballot) private {
        vm.prank(accountOf(id));
        governance.vote(ballot, true);
    }

    function carry(uint64 ballot) private {
        for (uint32 id = 1; id <= 3; ++id) {
            vote(id, ballot);
        }
    }
}
