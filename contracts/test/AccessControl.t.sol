// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "../src/interfaces/IAccessControl.sol";
import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {ISharing} from "../src/interfaces/ISharing.sol";
import {Suite} from "../src/lib/Suite.sol";
import {Card, Opening, Record, SignedCard, Standing, Subject} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// An account that is a contract: it accepts what one key signed (EIP-1271).
contract Wallet {
    address private immutable OWNER;

    constructor(address owner) {
        OWNER = owner;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        (bytes32 r, bytes32 s) = abi.decode(signature[:64], (bytes32, bytes32));
        bool valid = ecrecover(digest, uint8(signature[64]), r, s) == OWNER;
        return valid ? this.isValidSignature.selector : bytes4(0);
    }
}

contract AccessControlTest is Consortium {
    function test_isAuthorised_acceptsTheRegisteredAccountOnly() external view {
        IAccessControl access = IAccessControl(registry.accessControlOf(2));
        vm.assertEq(access.dcId(), 2);
        vm.assertTrue(access.isAuthorised(accountOf(2), "record", nothing()));
        vm.assertFalse(access.isAuthorised(accountOf(3), "record", nothing()));
        vm.assertFalse(access.isAuthorised(address(0), "record", nothing()));
    }

    function test_isAuthorised_refusesTheSuspended() external {
        IAccessControl access = IAccessControl(registry.accessControlOf(2));
        setStanding(2, Standing.Suspended);
        vm.assertFalse(access.isAuthorised(accountOf(2), "record", nothing()));
    }

    function test_contractAccounts_joinActAndSign() external {
        Card memory card = cardOf(5);
        card.account = address(new Wallet(vm.addr(77)));
        SignedCard memory wrong = signedBy(78, card);
        vm.expectRevert();
        vm.prank(Suite.GOVERNANCE);
        registry.admit(wrong);
        SignedCard memory right = signedBy(77, card);
        vm.prank(Suite.GOVERNANCE);
        registry.admit(right);

        Record memory record = recordOf(1, 1);
        IDataStore store = storeOf(5);
        bytes memory forged = signed(78, record, 5);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, vm.addr(78)));
        store.relayPut(record, forged);
        store.relayPut(record, signed(77, record, 5));
        vm.prank(card.account);
        store.put(recordOf(2, 1));
        setStanding(5, Standing.Suspended);
        record = recordOf(3, 1);
        bytes memory late = signed(77, record, 5);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreOwnerInactive.selector));
        store.relayPut(record, late);
    }

    function test_template_authorisesNobody() external view {
        IAccessControl template = IAccessControl(Suite.ACCESS_CONTROL_TEMPLATE);
        vm.assertFalse(template.isAuthorised(accountOf(1), "record", nothing()));
        // A stranger's account stands for dcId 0, which the template has too.
        vm.assertFalse(template.isAuthorised(accountOf(99), "record", nothing()));
    }

    /// The sender of a call is its actor: a member acts for itself, for nobody else, and needs no second signature.
    function test_senders_actForTheirOwnMember() external {
        IDataStore store = storeOf(1);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, accountOf(2)));
        vm.prank(accountOf(2));
        store.put(recordOf(1, 1));
        vm.prank(accountOf(1));
        store.put(recordOf(1, 1));
        vm.prank(accountOf(1));
        store.update(recordOf(1, 2));
        vm.assertEq(store.latest(1), 2);

        Opening memory opening = openingOf(1, 1, 1, 2);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 2, accountOf(1)));
        vm.prank(accountOf(1));
        sharing.open(opening);
        vm.prank(accountOf(2));
        sharing.open(opening);
    }

    function nothing() private pure returns (Subject memory subject) {}
}
