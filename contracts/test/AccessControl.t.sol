// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "../src/interfaces/IAccessControl.sol";
import {Suite} from "../src/lib/Suite.sol";
import {Card, Record, Standing} from "../src/lib/Types.sol";
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
    bytes32 private constant DIGEST = keccak256("digest");

    function test_isAuthorised_acceptsTheRegisteredAccountOnly() external view {
        IAccessControl access = IAccessControl(registry.accessControlOf(2));
        vm.assertEq(access.dcId(), 2);
        (bool authorised, address signer) = access.isAuthorised(DIGEST, signed(2, DIGEST), "record");
        vm.assertTrue(authorised);
        vm.assertEq(signer, accountOf(2));
        (authorised, signer) = access.isAuthorised(DIGEST, signed(3, DIGEST), "record");
        vm.assertFalse(authorised);
        vm.assertEq(signer, accountOf(3));
    }

    function test_isAuthorised_refusesTheSuspended() external {
        IAccessControl access = IAccessControl(registry.accessControlOf(2));
        setStanding(2, Standing.Suspended);
        (bool authorised,) = access.isAuthorised(DIGEST, signed(2, DIGEST), "record");
        vm.assertFalse(authorised);
    }

    function test_isAuthorised_acceptsContractAccounts() external {
        Card memory card = cardOf(5);
        card.account = address(new Wallet(vm.addr(77)));
        vm.prank(Suite.GOVERNANCE);
        registry.admit(card);
        Record memory record = recordOf(1, 1);
        storeOf(5).put(record, signed(77, record, 5));

        IAccessControl access = IAccessControl(registry.accessControlOf(5));
        (bool authorised, address signer) = access.isAuthorised(DIGEST, signed(77, DIGEST), "record");
        vm.assertTrue(authorised);
        vm.assertEq(signer, card.account);
        (authorised,) = access.isAuthorised(DIGEST, signed(78, DIGEST), "record");
        vm.assertFalse(authorised);
        setStanding(5, Standing.Suspended);
        (authorised,) = access.isAuthorised(DIGEST, signed(77, DIGEST), "record");
        vm.assertFalse(authorised);
    }

    function test_template_authorisesNobody() external view {
        IAccessControl template = IAccessControl(Suite.ACCESS_CONTROL_TEMPLATE);
        (bool authorised,) = template.isAuthorised(DIGEST, signed(1, DIGEST), "record");
        vm.assertFalse(authorised);
        (authorised,) = template.isAuthorised(DIGEST, "", "record");
        vm.assertFalse(authorised);
        // A stranger's account stands for dcId 0, which the template has too.
        (authorised,) = template.isAuthorised(DIGEST, signed(99, DIGEST), "record");
        vm.assertFalse(authorised);
    }
}
