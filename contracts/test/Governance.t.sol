// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../src/interfaces/IConsortiumRegistry.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {IUpgrades} from "../src/interfaces/IUpgrades.sol";
import {Suite} from "../src/lib/Suite.sol";
import {Ballot, BallotKind, BallotState, Card, Quota, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

contract GovernanceTest is Consortium {
    function test_initialize_refusesASecondTime() external {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceAlreadyInitialised.selector));
        vm.prank(Suite.SYSTEM);
        governance.initialize(1, 1, Quota(0, 0));
    }

    function test_initialize_refusesEverybodyButTheSystem() external {
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotSystem.selector, RELAY));
        vm.prank(RELAY);
        governance.initialize(1, 1, Quota(0, 0));
    }

    function test_initialize_refusesSenselessPeriods() external {
        vm.etch(address(0xabc), Suite.GOVERNANCE.code);
        uint64[2] memory bad = [uint64(0), 3651 days];
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceParameterOutOfRange.selector));
            vm.prank(Suite.SYSTEM);
            IGovernance(address(0xabc)).initialize(1, bad[i], Quota(0, 0));
        }
    }

    function test_openJoin_refusesStrangers() external {
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, accountOf(5)));
        vm.prank(accountOf(5));
        governance.openJoin(signedCardOf(5));
    }

    function test_openJoin_refusesInadmissibleCards() external {
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryAccountTaken.selector));
        vm.prank(accountOf(1));
        governance.openJoin(signedCardOf(2));
    }

    function test_openJoin_refusesTheNinthOpenBallotOfAMember() external {
        for (uint32 i; i < 8; ++i) {
            openJoin(5);
        }
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceTooManyOpen.selector, 1, 8));
        vm.prank(accountOf(1));
        governance.openJoin(signedCardOf(5));

        // The others' ballots are their own, and a closed one leaves its place.
        vm.prank(accountOf(2));
        governance.openJoin(signedCardOf(5));
        vote(1, 3, false);
        vote(2, 3, false);
        vm.assertEq(openJoin(5), 10);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceTooManyOpen.selector, 1, 8));
        vm.prank(accountOf(1));
        governance.openStanding(4, Standing.Suspended);
        vm.warp(NOW + BALLOT_SECONDS + 1);
        for (uint32 i; i < 8; ++i) {
            openJoin(5);
        }
    }

    function test_openJoin_showsCardAndEmptyTally() external {
        Ballot memory ballot = governance.ballot(openJoin(5));
        vm.assertEq(uint8(ballot.kind), uint8(BallotKind.Join));
        vm.assertEq(uint8(ballot.state), uint8(BallotState.Open));
        vm.assertEq(ballot.openedBy, 1);
        vm.assertEq(ballot.electorate, 4);
        vm.assertEq(ballot.inFavour + ballot.against, 0);
        vm.assertEq(ballot.openedAt, NOW);
        vm.assertEq(ballot.deadline, NOW + BALLOT_SECONDS);
        vm.assertEq(keccak256(ballot.action), keccak256(abi.encode(signedCardOf(5))));
    }

    function test_vote_admitsOnlyWithMoreThanHalf() external {
        uint64 id = openJoin(5);
        vote(1, id, true);
        vote(2, id, true);
        vm.assertEq(registry.memberCount(), 4);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Open));
        vote(3, id, true);
        vm.assertEq(registry.memberCount(), 5);
        vm.assertEq(registry.dcIdOf(accountOf(5)), 5);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Executed));
        vm.assertEq(governance.ballot(id).subject, 5);
    }

    function test_vote_emitsTallyAndOutcome() external {
        uint64 id = openJoin(5);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.VoteCast(id, 1, true, 1, 0);
        vote(1, id, true);
        vote(2, id, true);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.VoteCast(id, 4, true, 3, 0);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.BallotExecuted(id, 5);
        vote(4, id, true);
    }

    function test_vote_refusesASecondVote() external {
        uint64 id = openJoin(5);
        vote(2, id, true);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceAlreadyVoted.selector, id, 2));
        vote(2, id, true);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceAlreadyVoted.selector, id, 2));
        vote(2, id, false);
    }

    function test_vote_rejectsWhenAMajorityIsOutOfReach() external {
        uint64 id = openJoin(5);
        vote(1, id, false);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.BallotRejected(id, 0);
        vote(2, id, false);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Rejected));
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceBallotClosed.selector, id));
        vote(3, id, true);
        vm.assertEq(registry.memberCount(), 4);
    }

    function test_vote_refusesAfterTheDeadline() external {
        uint64 id = openJoin(5);
        vote(1, id, true);
        vote(2, id, true);
        vm.warp(NOW + BALLOT_SECONDS);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Open));
        vm.warp(NOW + BALLOT_SECONDS + 1);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Expired));
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceBallotClosed.selector, id));
        vote(3, id, true);
        vm.assertEq(registry.memberCount(), 4);
    }

    function test_openJoin_reopensAfterExpiryAndRejection() external {
        openJoin(5);
        vm.warp(NOW + BALLOT_SECONDS + 1);
        uint64 rejected = openJoin(5);
        vote(1, rejected, false);
        vote(2, rejected, false);
        uint64 id = openJoin(5);
        carry(id);
        vm.assertEq(registry.memberCount(), 5);
    }

    function test_vote_refusesStrangersAndTheSuspended() external {
        uint64 id = openJoin(5);
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, accountOf(5)));
        vote(5, id, true);
        setStanding(2, Standing.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, accountOf(2)));
        vote(2, id, true);
    }

    function test_vote_keepsTheElectorateOfTheOpening() external {
        setStanding(4, Standing.Suspended);
        uint64 id = openJoin(6);
        admit(5);
        setStanding(4, Standing.Active);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceNotElector.selector, id, 5));
        vote(5, id, true);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceNotElector.selector, id, 4));
        vote(4, id, true);
        vm.assertEq(governance.ballot(id).electorate, 3);
        vote(1, id, true);
        vote(2, id, true);
        vm.assertEq(uint8(governance.ballot(id).state), uint8(BallotState.Executed));
    }

    function test_vote_rejectsWhatHasBecomeImpossible() external {
        uint64 first = openJoin(5);
        uint64 second = openJoin(5);
        carry(first);
        vote(1, second, true);
        vote(2, second, true);
        vm.expectEmit(Suite.GOVERNANCE);
        emit IGovernance.BallotRejected(second, IConsortiumRegistry.RegistryAccountTaken.selector);
        vote(3, second, true);
        vm.assertEq(registry.memberCount(), 5);
    }

    /// Starving the deciding vote of gas must not turn a won ballot into a lost one.
    function testFuzz_vote_starvedOfGasChangesNothing(uint256 gas) external {
        uint64 id = openJoin(5);
        vote(1, id, true);
        vote(2, id, true);
        gas = 30_000 + gas % 900_000;
        vm.prank(accountOf(3));
        (bool done,) = Suite.GOVERNANCE.call{gas: gas}(abi.encodeCall(IGovernance.vote, (id, true)));
        BallotState state = governance.ballot(id).state;
        vm.assertEq(uint8(state), uint8(done ? BallotState.Executed : BallotState.Open));
        vm.assertEq(registry.memberCount(), done ? 5 : 4);
    }

    function test_vote_refusesUnknownBallots() external {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceBallotUnknown.selector, 1));
        vote(1, 1, true);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.GovernanceBallotUnknown.selector, 1));
        governance.ballot(1);
    }

    function test_openStanding_suspendsReinstatesAndRemoves() external {
        carry(openStanding(4, Standing.Suspended));
        vm.assertEq(registry.accessControlOf(4), address(0));
        uint64 id = openStanding(4, Standing.Active);
        vote(1, id, true);
        vote(2, id, true);
        vm.assertTrue(registry.accessControlOf(4) != address(0));
        carry(openStanding(4, Standing.Removed));
        vm.assertEq(uint8(registry.member(4).status), uint8(Standing.Removed));
    }

    function test_openStanding_refusesStrangersAndNonsense() external {
        vm.expectRevert(abi.encodeWithSelector(IUpgrades.GovernanceNotMember.selector, RELAY));
        vm.prank(RELAY);
        governance.openStanding(2, Standing.Removed);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryMemberUnknown.selector, 7));
        openStanding(7, Standing.Removed);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryStandingUnchangeable.selector));
        openStanding(2, Standing.Active);
    }

    function test_ballots_areListedNewestFirst() external {
        for (uint32 i = 5; i < 10; ++i) {
            openJoin(i);
        }
        Ballot[] memory page = governance.ballots(1, 2);
        vm.assertEq(page.length, 2);
        vm.assertEq(page[0].id, 4);
        vm.assertEq(page[1].id, 3);
        vm.assertEq(governance.ballots(4, 10).length, 1);
        vm.assertEq(governance.ballots(5, 10).length, 0);
        vm.assertEq(governance.ballots(type(uint64).max, type(uint64).max).length, 0);
    }

    /// Whatever the votes: executed exactly with more than half in favour, rejected exactly when that is out of reach.
    function testFuzz_vote_moreThanHalfDecides(uint8 electorate, uint256 choices, uint256 abstentions)
        external
    {
        electorate = FOUNDERS_ + electorate % 5;
        for (uint32 i = FOUNDERS + 1; i <= electorate; ++i) {
            admit(i);
        }
        uint64 id = openJoin(20);
        (uint256 yes, uint256 no) = (0, 0);
        for (uint32 i = 1; i <= electorate; ++i) {
            if ((abstentions >> i) & 1 == 1) continue;
            if (governance.ballot(id).state != BallotState.Open) break;
            bool support = (choices >> i) & 1 == 1;
            if (support) ++yes;
            else ++no;
            vote(i, id, support);
        }
        bool executed = governance.ballot(id).state == BallotState.Executed;
        bool rejected = governance.ballot(id).state == BallotState.Rejected;
        vm.assertTrue(executed == (yes * 2 > electorate));
        vm.assertTrue(rejected == ((electorate - no) * 2 <= electorate));
        vm.assertEq(registry.memberCount(), executed ? electorate + 1 : electorate);
    }

    uint8 private constant FOUNDERS_ = 4;

    function openJoin(uint32 id) private returns (uint64) {
        vm.prank(accountOf(1));
        return governance.openJoin(signedCardOf(id));
    }

    function openStanding(uint32 id, Standing status) private returns (uint64) {
        vm.prank(accountOf(1));
        return governance.openStanding(id, status);
    }

    function vote(uint32 id, uint64 ballot, bool support) private {
        vm.prank(accountOf(id));
        governance.vote(ballot, support);
    }

    function carry(uint64 ballot) private {
        for (uint32 i = 1; i <= 3; ++i) {
            vote(i, ballot, true);
        }
    }
}
