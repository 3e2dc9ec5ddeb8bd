// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../src/interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {Suite} from "../src/lib/Suite.sol";
import {Card, Member, Role, SignedCard, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// New keys, seats and endpoints of members.
contract MembersTest is Consortium {
    function test_resetKeys_movesEverythingToTheNewAccountAtOnce() external {
        put(2, 7);
        share(2, 7, 3);
        reset(2, 22);
        vm.assertEq(registry.dcIdOf(accountOf(2)), 0);
        vm.assertEq(registry.dcIdOf(accountOf(22)), 2);
        vm.assertEq(registry.accountOf(2), accountOf(22));
        Member memory member = registry.member(2);
        vm.assertEq(keccak256(abi.encode(member.card)), keccak256(abi.encode(cardOf(22))));
        bytes32[] memory keys = registry.networkKeysOf(2);
        vm.assertEq(keys.length, 2);
        vm.assertEq(keys[0], cardOf(2).networkKey);
        vm.assertEq(keys[1], cardOf(22).networkKey);

        IDataStore store = storeOf(2);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, accountOf(2)));
        vm.prank(accountOf(2));
        store.put(recordOf(8, 1));
        vm.prank(accountOf(22));
        store.put(recordOf(8, 1));
        // Grants and objects are the member's, not the account's.
        vm.assertEq(open(2, 7, 1, 3), 1);
    }

    function test_resetKeys_takesNoKeyTwiceAndNoUnsignedCard() external {
        reset(2, 22);
        SignedCard memory old = signedCardOf(2);
        resetRefused(2, old, IConsortiumRegistry.RegistryAccountTaken.selector);
        resetRefused(3, signedBy(8, cardOf(9)), IConsortiumRegistry.RegistryCardNotSigned.selector);
        resetRefused(9, signedCardOf(9), IConsortiumRegistry.RegistryMemberUnknown.selector);
        setStanding(4, Standing.Removed);
        resetRefused(4, signedCardOf(9), IConsortiumRegistry.RegistryStandingUnchangeable.selector);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortiumRegistry.RegistryNotGovernance.selector, accountOf(2))
        );
        vm.prank(accountOf(2));
        registry.resetKeys(2, signedCardOf(9));
    }

    /// Four seats need three connected ones. A seat that was drawn for a key goes with the key.
    function test_resetKeys_keepsEveryCommitteeAQuorum() external {
        reset(2, 22);
        resetRefused(3, signedCardOf(33), IConsortiumRegistry.RegistryCommitteeWithoutQuorum.selector);
        // The same member again costs no other seat.
        reset(2, 222);
        // The committees of epochs 1 to 3 were drawn before the reset as well.
        vm.roll(EPOCH_BLOCKS + 5);
        resetRefused(3, signedCardOf(33), IConsortiumRegistry.RegistryCommitteeWithoutQuorum.selector);
        vm.roll(4 * EPOCH_BLOCKS - 1);
        resetRefused(3, signedCardOf(33), IConsortiumRegistry.RegistryCommitteeWithoutQuorum.selector);
        vm.roll(4 * EPOCH_BLOCKS);
        reset(3, 33);
    }

    function test_committee_followsTheRegistryFourEpochsLater() external {
        vm.roll(5);
        setStanding(4, Standing.Suspended);
        for (uint64 epoch; epoch < 4; ++epoch) {
            vm.assertEq(registry.committee(epoch), 30);
        }
        vm.assertEq(registry.committee(4), 14);
        vm.roll(EPOCH_BLOCKS + 1);
        admit(5);
        setRole(5, Role.Validator);
        setStanding(4, Standing.Active);
        vm.assertEq(registry.committee(4), 14);
        vm.assertEq(registry.committee(5), 62);
        vm.roll(9 * EPOCH_BLOCKS);
        setRole(1, Role.Participant);
        vm.assertEq(registry.committee(12), 62);
        vm.assertEq(registry.committee(13), 60);
    }

    function test_setRole_seatsAndUnseats() external {
        admit(5);
        vm.assertEq(registry.activeValidators(), 30);
        setRole(5, Role.Validator);
        vm.assertEq(registry.activeValidators(), 62);
        vm.assertEq(uint8(registry.member(5).role), uint8(Role.Validator));
        setStanding(5, Standing.Suspended);
        vm.assertEq(registry.activeValidators(), 30);
        setStanding(5, Standing.Active);
        vm.assertEq(registry.activeValidators(), 62);
        roleRefused(5, Role.Validator, IConsortiumRegistry.RegistryRoleUnchangeable.selector);
        roleRefused(5, Role.None, IConsortiumRegistry.RegistryRoleUnchangeable.selector);
        roleRefused(9, Role.Validator, IConsortiumRegistry.RegistryMemberUnknown.selector);
        for (uint32 id = 1; id <= 4; ++id) {
            setRole(id, Role.Participant);
        }
        roleRefused(5, Role.Participant, IConsortiumRegistry.RegistryLastValidator.selector);
        vm.expectRevert(
            abi.encodeWithSelector(IConsortiumRegistry.RegistryNotGovernance.selector, accountOf(1))
        );
        vm.prank(accountOf(1));
        registry.setRole(1, Role.Validator);
    }

    function test_setEndpoints_isForTheMemberItself() external {
        vm.prank(accountOf(3));
        registry.setEndpoints("node.riga.example:9000", "/dns4/node.riga.example/tcp/4001");
        Card memory card = registry.member(3).card;
        vm.assertEq(card.consensusEndpoint, "node.riga.example:9000");
        vm.assertEq(card.swarmEndpoint, "/dns4/node.riga.example/tcp/4001");
        vm.assertEq(card.account, accountOf(3));

        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryEndpointMalformed.selector));
        vm.prank(accountOf(3));
        registry.setEndpoints("node:1", "");
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryNotMember.selector, RELAY));
        vm.prank(RELAY);
        registry.setEndpoints("node:1", "node");
        setStanding(3, Standing.Suspended);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryNotMember.selector, accountOf(3)));
        vm.prank(accountOf(3));
        registry.setEndpoints("node:1", "node");
    }

    function test_setGenesisHash_isForTheSystemOnce() external {
        vm.assertEq(registry.genesisHash(), GENESIS_HASH);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryAlreadyInitialised.selector));
        vm.prank(Suite.SYSTEM);
        registry.setGenesisHash(bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryNotSystem.selector, accountOf(1)));
        vm.prank(accountOf(1));
        registry.setGenesisHash(bytes32(uint256(1)));
    }

    function reset(uint32 id, uint32 key) private {
        vm.prank(Suite.GOVERNANCE);
        registry.resetKeys(id, signedCardOf(key));
    }

    function setRole(uint32 id, Role role) private {
        vm.prank(Suite.GOVERNANCE);
        registry.setRole(id, role);
    }

    function resetRefused(uint32 id, SignedCard memory card, bytes4 problem) private {
        vm.assertEq(bytes32(registry.resetProblem(id, card)), bytes32(problem));
        vm.expectRevert();
        vm.prank(Suite.GOVERNANCE);
        registry.resetKeys(id, card);
    }

    function roleRefused(uint32 id, Role role, bytes4 problem) private {
        vm.assertEq(bytes32(registry.seatProblem(id, role)), bytes32(problem));
        vm.expectRevert();
        setRole(id, role);
    }
}
