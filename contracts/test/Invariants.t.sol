// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Reason} from "../src/lib/Suite.sol";
import {Ballot, BallotState, Member, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";
import {Model} from "./Model.sol";

/// Whatever members and strangers do in whatever order.
contract InvariantsTest is Consortium {
    Model private model;

    function setUp() public override {
        super.setUp();
        model = new Model();
    }

    /// Read by forge: whom to call at random.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(model);
    }

    /// One function, because forge runs each invariant through the same calls again.
    function invariant_theRulesOfTheConsortiumHold() external view {
        onlyThePermittedSucceeded();
        openOnlyWithPermission();
        oneVoteEach();
        identifiersAreNeverReused();
    }

    /// Nobody without permission changed, shared, opened or voted; nobody with permission was hindered.
    function onlyThePermittedSucceeded() private view {
        vm.assertEq(model.violation(), "");
    }

    /// The contract's answer is the model's for every member, the unregistered and the removed included.
    function openOnlyWithPermission() private view {
        (uint32 owner, uint64 number, uint32 version) = model.lastTouched();
        for (uint32 id; id <= 6; ++id) {
            (bool allowed, uint8 reason) = sharing.canOpen(owner, number, version, id);
            vm.assertTrue(
                allowed == model.mayOpen(owner, number, version, id), "canOpen differs from the model"
            );
            vm.assertTrue(allowed == (reason == Reason.NONE), "a refusal without a reason");
        }
    }

    /// Each member's vote counts once, and what was executed had more than half.
    function oneVoteEach() private view {
        Ballot[] memory ballots = governance.ballots(0, 8);
        for (uint256 i; i < ballots.length; ++i) {
            Ballot memory ballot = ballots[i];
            uint256 voters;
            for (uint256 bits = ballot.voted; bits != 0; bits &= bits - 1) {
                ++voters;
            }
            vm.assertEq(voters, ballot.inFavour + ballot.against, "votes and voters differ");
            vm.assertTrue(voters <= ballot.electorate, "more voters than electors");
            bool majority = ballot.inFavour * 2 > ballot.electorate;
            vm.assertTrue(ballot.state != BallotState.Executed || majority, "executed without a majority");
        }
    }

    /// Identifiers are dense, accounts and contracts are each one member's, and only the active are registered senders.
    function identifiersAreNeverReused() private view {
        Member[] memory members = registry.members();
        vm.assertEq(members.length, model.admitted());
        uint256 active;
        for (uint32 i; i < members.length; ++i) {
            Member memory member = members[i];
            vm.assertEq(member.dcId, i + 1);
            vm.assertEq(member.card.account, model.accountAdmitted(i + 1));
            bool isActive = member.status == Standing.Active;
            vm.assertEq(registry.dcIdOf(member.card.account), isActive ? member.dcId : 0);
            if (isActive) active |= 1 << member.dcId;
            for (uint32 j; j < i; ++j) {
                vm.assertTrue(members[j].dataStore != member.dataStore, "two members share a store");
                vm.assertTrue(members[j].card.account != member.card.account, "two members share an account");
            }
        }
        vm.assertEq(registry.activeMembers(), active);
    }
}
