// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../src/interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {Suite} from "../src/lib/Suite.sol";
import {Card, Member, Role, SignedCard, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

contract RegistryTest is Consortium {
    function test_initialize_admitsFoundersAsValidators() external view {
        Member[] memory members = registry.members();
        vm.assertEq(members.length, FOUNDERS);
        for (uint32 i; i < FOUNDERS; ++i) {
            Member memory member = members[i];
            vm.assertEq(member.dcId, i + 1);
            vm.assertEq(uint8(member.role), uint8(Role.Validator));
            vm.assertEq(uint8(member.status), uint8(Standing.Active));
            vm.assertEq(keccak256(abi.encode(member.card)), keccak256(abi.encode(cardOf(i + 1))));
            vm.assertEq(IDataStore(member.dataStore).owner(), i + 1);
            vm.assertEq(IDataStore(member.dataStore).accessControl(), member.accessControl);
        }
    }

    function test_initialize_refusesASecondTime() external {
        Card[] memory founders = new Card[](1);
        founders[0] = cardOf(9);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryAlreadyInitialised.selector));
        vm.prank(Suite.SYSTEM);
        registry.initialize(founders, 1);
    }

    function test_initialize_refusesEverybodyButTheSystem() external {
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryNotSystem.selector, RELAY));
        vm.prank(RELAY);
        registry.initialize(new Card[](0), 1);
    }

    /// The ledger reads these slots to tell whether a sender is registered.
    function test_authorityOf_isStorageSlotsZeroAndOne() external {
        bytes32 slot = keccak256(abi.encode(accountOf(2), uint256(0)));
        vm.assertEq(uint256(vm.load(Suite.REGISTRY, slot)), 2 | (1 << 32));
        vm.assertEq(uint256(vm.load(Suite.REGISTRY, bytes32(uint256(1)))), 30);
        vm.assertEq(registry.dcIdOf(accountOf(2)), 2);
        setStanding(2, Standing.Suspended);
        vm.assertEq(uint256(vm.load(Suite.REGISTRY, bytes32(uint256(1)))), 26);
        vm.assertEq(registry.dcIdOf(accountOf(2)), 0);
    }

    function test_admit_refusesEverybodyButGovernance() external {
        vm.expectRevert(
            abi.encodeWithSelector(IConsortiumRegistry.RegistryNotGovernance.selector, accountOf(1))
        );
        vm.prank(accountOf(1));
        registry.admit(signedCardOf(5));
    }

    function test_admit_makesAParticipantWithItsOwnContracts() external {
        admit(5);
        Member memory member = registry.member(5);
        vm.assertEq(uint8(member.role), uint8(Role.Participant));
        vm.assertEq(registry.dcIdOf(accountOf(5)), 5);
        vm.assertEq(member.dataStore, registry.dataStoreOf(5));
        vm.assertTrue(member.dataStore != registry.dataStoreOf(4));
        vm.assertTrue(member.accessControl != registry.accessControlOf(4));
    }

    function test_admit_neverReusesIdentifiersOrKeys() external {
        admit(5);
        setStanding(5, Standing.Removed);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryAccountTaken.selector));
        vm.prank(Suite.GOVERNANCE);
        registry.admit(signedCardOf(5));
        admit(6);
        vm.assertEq(registry.dcIdOf(accountOf(6)), 6);
    }

    function test_admit_refusesKeysOfAnotherMember() external {
        Card memory card = cardOf(5);
        card.networkKey = cardOf(1).networkKey;
        refuses(card, IConsortiumRegistry.RegistryNetworkKeyTaken.selector);
        card = cardOf(5);
        card.encryptionKey = cardOf(1).encryptionKey;
        refuses(card, IConsortiumRegistry.RegistryEncryptionKeyTaken.selector);
        card = cardOf(5);
        card.account = cardOf(1).account;
        refuses(signedBy(1, card), IConsortiumRegistry.RegistryAccountTaken.selector);
        refuses(card, IConsortiumRegistry.RegistryCardNotSigned.selector);
    }

    function test_admit_refusesMalformedCards() external {
        Card memory card = cardOf(5);
        card.cluster = 0;
        refuses(card, IConsortiumRegistry.RegistryClusterMissing.selector);
        card = cardOf(5);
        card.account = address(0);
        refuses(card, IConsortiumRegistry.RegistryKeyMissing.selector);
        card = cardOf(5);
        card.networkKey = 0;
        refuses(card, IConsortiumRegistry.RegistryKeyMissing.selector);
        card = cardOf(5);
        card.encryptionKey = new bytes(1215);
        refuses(card, IConsortiumRegistry.RegistryEncryptionKeyMalformed.selector);
    }

    function test_admit_refusesMalformedEndpoints() external {
        string[4] memory bad = ["", "10.0.0.1:1\n", unicode"hafen.example:1ü", string(new bytes(256))];
        for (uint256 i; i < bad.length; ++i) {
            Card memory card = cardOf(5);
            card.consensusEndpoint = bad[i];
            refuses(card, IConsortiumRegistry.RegistryEndpointMalformed.selector);
            card = cardOf(5);
            card.swarmEndpoint = bad[i];
            refuses(card, IConsortiumRegistry.RegistryEndpointMalformed.selector);
        }
    }

    function test_admit_refusesNamesThatAreNotCleanUtf8() external {
        bytes[16] memory bad = [
            bytes(""),
            bytes("a\nb"),
            hex"1b5b324a",
            hex"7f",
            hex"80",
            hex"c080",
            hex"c285",
            hex"c3",
            hex"c328",
            hex"e08080",
            hex"eda080",
            hex"e282",
            hex"f0808080",
            hex"f4908080",
            hex"f5808080",
            hex"ff"
        ];
        for (uint256 i; i < bad.length; ++i) {
            Card memory card = cardOf(5);
            card.name = string(bad[i]);
            refuses(card, IConsortiumRegistry.RegistryNameMalformed.selector);
        }
        Card memory long = cardOf(5);
        long.name = string(
            abi.encodePacked(
                bytes32(0x6161616161616161616161616161616161616161616161616161616161616161),
                bytes32(0x6161616161616161616161616161616161616161616161616161616161616161),
                "a"
            )
        );
        refuses(long, IConsortiumRegistry.RegistryNameMalformed.selector);
    }

    function test_admit_acceptsNamesOfAllScripts() external {
        string[4] memory good = [unicode"Häfen Norð", unicode"上海港", unicode"🚢", "a"];
        for (uint32 i; i < good.length; ++i) {
            Card memory card = cardOf(5 + i);
            card.name = good[i];
            vm.prank(Suite.GOVERNANCE);
            registry.admit(signedBy(5 + i, card));
            vm.assertEq(registry.member(5 + i).card.name, good[i]);
        }
    }

    function test_admit_stopsAt255() external {
        for (uint32 id = FOUNDERS + 1; id <= 255; ++id) {
            admit(id);
        }
        refuses(cardOf(256), IConsortiumRegistry.RegistryFull.selector);
        uint256 before = gasleft();
        vm.assertEq(registry.members().length, 255);
        // An `eth_call` has at most what a transaction may use.
        vm.assertLt(before - gasleft(), 16_777_216);
    }

    function test_setStanding_refusesEverybodyButGovernance() external {
        vm.expectRevert(
            abi.encodeWithSelector(IConsortiumRegistry.RegistryNotGovernance.selector, accountOf(1))
        );
        vm.prank(accountOf(1));
        registry.setStanding(2, Standing.Removed);
    }

    function test_setStanding_suspendsAndReinstates() external {
        setStanding(3, Standing.Suspended);
        vm.assertEq(registry.accessControlOf(3), address(0));
        vm.assertEq(storeOf(3).accessControl(), address(0));
        vm.assertEq(registry.activeMembers(), 22);
        setStanding(3, Standing.Active);
        vm.assertEq(registry.accessControlOf(3), registry.member(3).accessControl);
        vm.assertEq(storeOf(3).accessControl(), registry.member(3).accessControl);
        vm.assertEq(registry.dcIdOf(accountOf(3)), 3);
        vm.assertEq(registry.activeMembers(), 30);
    }

    function test_setStanding_isFinalForTheRemoved() external {
        setStanding(3, Standing.Removed);
        standingRefused(3, Standing.Active, IConsortiumRegistry.RegistryStandingUnchangeable.selector);
        standingRefused(3, Standing.Suspended, IConsortiumRegistry.RegistryStandingUnchangeable.selector);
    }

    function test_setStanding_refusesWhatChangesNothing() external {
        standingRefused(3, Standing.Active, IConsortiumRegistry.RegistryStandingUnchangeable.selector);
        standingRefused(3, Standing.None, IConsortiumRegistry.RegistryStandingUnchangeable.selector);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryMemberUnknown.selector, 9));
        setStanding(9, Standing.Removed);
    }

    function test_setStanding_keepsTheLastValidator() external {
        admit(5);
        setStanding(1, Standing.Removed);
        setStanding(2, Standing.Suspended);
        setStanding(3, Standing.Removed);
        standingRefused(4, Standing.Suspended, IConsortiumRegistry.RegistryLastValidator.selector);
        setStanding(5, Standing.Removed);
    }

    function test_member_refusesUnknownIdentifiers() external {
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryMemberUnknown.selector, 0));
        registry.member(0);
        vm.expectRevert(abi.encodeWithSelector(IConsortiumRegistry.RegistryMemberUnknown.selector, 5));
        registry.member(5);
    }

    /// The template is nobody's store.
    function test_template_canDoNothing() external {
        IDataStore template = IDataStore(Suite.DATA_STORE_TEMPLATE);
        vm.assertEq(template.owner(), 0);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreOwnerInactive.selector));
        template.put(recordOf(1, 1));
    }

    function testFuzz_admit_storesTheCardAsGiven(uint32 cluster, uint128 account, bytes32 key) external {
        Card memory card = cardOf(5);
        vm.assume(account != 0);
        (card.cluster, card.account, card.networkKey) = (cluster, vm.addr(account), key);
        SignedCard memory signedCard = signedBy(account, card);
        vm.assume(registry.admissionProblem(signedCard) == 0);
        vm.prank(Suite.GOVERNANCE);
        registry.admit(signedCard);
        vm.assertEq(keccak256(abi.encode(registry.member(5).card)), keccak256(abi.encode(card)));
    }

    function refuses(Card memory card, bytes4 problem) private {
        refuses(signedBy(5, card), problem);
    }

    function refuses(SignedCard memory card, bytes4 problem) private {
        vm.assertEq(bytes32(registry.admissionProblem(card)), bytes32(problem));
        vm.expectRevert(abi.encodeWithSelector(problem));
        vm.prank(Suite.GOVERNANCE);
        registry.admit(card);
    }

    function standingRefused(uint32 id, Standing status, bytes4 problem) private {
        vm.assertEq(bytes32(registry.standingProblem(id, status)), bytes32(problem));
        vm.expectRevert(abi.encodeWithSelector(problem));
        setStanding(id, status);
    }
}
