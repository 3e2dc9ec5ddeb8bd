// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ISharing} from "../src/interfaces/ISharing.sol";
import {Reason, Suite} from "../src/lib/Suite.sol";
import {
    Cell,
    Grant,
    KeyRelease,
    Opening,
    OpeningRecord,
    Record,
    Refusal,
    Revocation,
    Standing,
    VisibilityChange
} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

contract SharingTest is Consortium {
    function setUp() public override {
        super.setUp();
        put(1, 7);
    }

    // share

    function test_share_permitsTheGranteeAndNobodyElse() external {
        vm.expectEmit(Suite.SHARING);
        emit ISharing.Shared(1, 7, 2, 0, 0, 1, false, accountOf(1));
        share(1, 7, 2);
        permitted(2);
        refused(3, Reason.NOT_GRANTED);
        refused(4, Reason.NOT_GRANTED);
    }

    function testFuzz_share_refusesEverySignerButTheOwner(uint256 key) external {
        key = 2 + key % 1000;
        Grant memory grant = grantOf(1, 7, 3);
        bytes memory signature = signed(key, grant);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 1, vm.addr(key)));
        sharing.relayShare(grant, signature);
    }

    function test_share_keepsTheDepositedKey() external {
        Grant memory grant = grantOf(1, 7, 2);
        grant.wrappedKey = hex"0102030405";
        (grant.expiresAt, grant.maxOpenings, grant.keyEpoch) = (NOW + 5, 3, 9);
        sharing.relayShare(grant, signed(1, grant));
        Cell memory cell = sharing.grant(1, 7, 2);
        vm.assertEq(cell.wrappedKey, hex"0102030405");
        vm.assertEq(cell.state, 1);
        vm.assertEq(cell.expiresAt, NOW + 5);
        vm.assertEq(cell.maxOpenings, 3);
        vm.assertEq(cell.keyEpoch, 9);
        vm.assertEq(cell.shareNonce, 1);
        share(1, 7, 2);
        vm.assertEq(sharing.grant(1, 7, 2).wrappedKey, "");
    }

    function testFuzz_share_keepsDepositsOfAnyLength(bytes memory key) external {
        vm.assume(key.length <= 2048);
        Grant memory grant = grantOf(1, 7, 2);
        grant.wrappedKey = key;
        sharing.relayShare(grant, signed(1, grant));
        vm.assertEq(sharing.grant(1, 7, 2).wrappedKey, key);
    }

    function test_share_refusesAReplayAfterRevocation() external {
        Grant memory grant = grantOf(1, 7, 2);
        bytes memory signature = signed(1, grant);
        sharing.relayShare(grant, signature);
        revoke(1, 7, 2);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNonceOutOfOrder.selector, 1, 3));
        sharing.relayShare(grant, signature);
        refused(2, Reason.REVOKED);
    }

    function test_share_refusesObjectsThatAreNotThere() external {
        Grant memory grant = grantOf(1, 8, 2);
        refusesShare(grant, abi.encodeWithSelector(ISharing.SharingObjectUnknown.selector, 1, 8));
    }

    function test_share_refusesGranteesThatCannotOpen() external {
        refusesShare(grantOf(1, 7, 1), abi.encodeWithSelector(ISharing.SharingGranteeIsOwner.selector, 1));
        refusesShare(grantOf(1, 7, 9), abi.encodeWithSelector(ISharing.SharingGranteeInactive.selector, 9));
        refusesShare(grantOf(1, 7, 0), abi.encodeWithSelector(ISharing.SharingGranteeInactive.selector, 0));
        setStanding(2, Standing.Suspended);
        refusesShare(grantOf(1, 7, 2), abi.encodeWithSelector(ISharing.SharingGranteeInactive.selector, 2));
    }

    function test_share_refusesFieldsOutOfRange() external {
        Grant memory grant = grantOf(1, 7, 2);
        grant.expiresAt = 1 << 40;
        refusesShare(grant, field("expiresAt"));
        grant.expiresAt = NOW - 1;
        refusesShare(grant, field("expiresAt"));
        grant.expiresAt = 0;
        grant.wrappedKey = new bytes(2561);
        refusesShare(grant, field("wrappedKey"));
    }

    function test_share_refusesOwnersThatAreNotActive() external {
        setStanding(1, Standing.Suspended);
        refusesShare(grantOf(1, 7, 2), abi.encodeWithSelector(ISharing.SharingMemberInactive.selector, 1));
        refusesShare(grantOf(77, 7, 2), abi.encodeWithSelector(ISharing.SharingMemberInactive.selector, 77));
    }

    // limits

    function test_canOpen_endsWithTheGrantsTime() external {
        Grant memory grant = grantOf(1, 7, 2);
        grant.expiresAt = NOW + 10;
        sharing.relayShare(grant, signed(1, grant));
        vm.warp(NOW + 10);
        permitted(2);
        vm.warp(NOW + 11);
        refused(2, Reason.EXPIRED);
    }

    function testFuzz_open_endsWithTheGrantsOpenings(uint8 openings) external {
        uint32 allowed = 1 + openings % 5;
        Grant memory grant = grantOf(1, 7, 2);
        grant.maxOpenings = allowed;
        sharing.relayShare(grant, signed(1, grant));
        for (uint32 i = 1; i <= allowed; ++i) {
            vm.assertEq(open(1, 7, 1, 2), i);
        }
        vm.assertEq(open(1, 7, 1, 2), 0);
        refused(2, Reason.EXHAUSTED);
        share(1, 7, 2);
        permitted(2);
    }

    function test_canOpen_endsWithTheVersionsTime() external {
        Record memory record = recordOf(8, 1);
        record.validUntil = NOW + 10;
        record.visibility = 0;
        storeOf(1).relayPut(record, signed(1, record, 1));
        vm.warp(NOW + 10);
        vm.assertEq(reasonFor(1, 8, 1, 2), Reason.NONE);
        vm.warp(NOW + 11);
        vm.assertEq(reasonFor(1, 8, 1, 2), Reason.NO_LONGER_VALID);
        vm.assertEq(reasonFor(1, 8, 1, 1), Reason.NONE);
    }

    function test_canOpen_namesWhatIsNotThere() external view {
        vm.assertEq(reasonFor(1, 8, 1, 2), Reason.UNKNOWN_OBJECT);
        vm.assertEq(reasonFor(9, 7, 1, 2), Reason.UNKNOWN_OBJECT);
        vm.assertEq(reasonFor(1, 7, 0, 2), Reason.UNKNOWN_VERSION);
        vm.assertEq(reasonFor(1, 7, 2, 2), Reason.UNKNOWN_VERSION);
        vm.assertEq(reasonFor(1, 7, 1, 9), Reason.INACTIVE);
        vm.assertEq(reasonFor(1, 7, 1, 0), Reason.INACTIVE);
        vm.assertEq(reasonFor(1, 7, 1, 1), Reason.NONE);
    }

    // revoke

    function test_revoke_refusesAtOnce() external {
        Grant memory grant = grantOf(1, 7, 2);
        grant.wrappedKey = "key";
        sharing.relayShare(grant, signed(1, grant));
        open(1, 7, 1, 2);
        vm.expectEmit(Suite.SHARING);
        emit ISharing.Revoked(1, 7, 2, accountOf(1));
        revoke(1, 7, 2);
        refused(2, Reason.REVOKED);
        vm.assertEq(sharing.grant(1, 7, 2).wrappedKey, "");
        vm.assertEq(open(1, 7, 1, 2), 0);
    }

    function test_revoke_refusesOtherSignersAndReplays() external {
        share(1, 7, 2);
        Revocation memory revocation = revocationOf(1, 7, 2);
        bytes memory wrong = signed(2, revocation);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 1, accountOf(2)));
        sharing.relayRevoke(revocation, wrong);
        bytes memory right = signed(1, revocation);
        sharing.relayRevoke(revocation, right);
        share(1, 7, 2);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNonceOutOfOrder.selector, 2, 4));
        sharing.relayRevoke(revocation, right);
    }

    function test_revoke_refusesWithoutAGrant() external {
        Revocation memory revocation = revocationOf(1, 7, 2);
        bytes memory signature = signed(1, revocation);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingGrantMissing.selector, 1, 7, 2));
        sharing.relayRevoke(revocation, signature);
    }

    // visibility

    function test_setVisibility_opensToMembersAndCloses() external {
        setVisibility(1, 7, 0);
        permitted(4);
        vm.assertEq(reasonFor(1, 7, 1, 9), Reason.INACTIVE);
        setVisibility(1, 7, 1);
        refused(4, Reason.NOT_GRANTED);
    }

    function test_setVisibility_publishesTheKey() external {
        VisibilityChange memory change = changeOf(1, 7, -1);
        change.publishedKey = hex"0102";
        change.keyEpoch = 5;
        vm.expectEmit(Suite.SHARING);
        emit ISharing.VisibilityChanged(1, 7, -1, 1, 5, hex"0102", accountOf(1));
        sharing.relaySetVisibility(change, signed(1, change));
        vm.assertEq(sharing.publishedKey(1, 7, 5), hex"0102");
        vm.assertEq(sharing.publishedKey(1, 7, 4), "");
        vm.assertEq(sharing.visibility(1, 7, 1), -1);
    }

    /// Publishing one version exposes neither the next nor, by the next, an earlier one.
    function test_setVisibility_coversTheVersionsSoFar() external {
        setVisibility(1, 7, -1);
        Record memory record = recordOf(7, 2);
        storeOf(1).relayUpdate(record, signed(1, record, 1));
        vm.assertEq(reasonFor(1, 7, 1, 2), Reason.NONE);
        vm.assertEq(reasonFor(1, 7, 2, 2), Reason.NOT_GRANTED);
        record = recordOf(7, 3);
        record.visibility = -1;
        storeOf(1).relayUpdate(record, signed(1, record, 1));
        vm.assertEq(reasonFor(1, 7, 2, 2), Reason.NOT_GRANTED);
        vm.assertEq(reasonFor(1, 7, 3, 2), Reason.NONE);
        setVisibility(1, 7, 1);
        vm.assertEq(reasonFor(1, 7, 1, 2), Reason.NOT_GRANTED);
        vm.assertEq(reasonFor(1, 7, 3, 2), Reason.NOT_GRANTED);
    }

    function test_setVisibility_refusesOtherSignersAndReplays() external {
        VisibilityChange memory change = changeOf(1, 7, 0);
        bytes memory signature = signed(3, change);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 1, accountOf(3)));
        sharing.relaySetVisibility(change, signature);
        signature = signed(1, change);
        sharing.relaySetVisibility(change, signature);
        setVisibility(1, 7, 1);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNonceOutOfOrder.selector, 1, 3));
        sharing.relaySetVisibility(change, signature);
    }

    function test_setVisibility_refusesFieldsOutOfRange() external {
        VisibilityChange memory change = changeOf(1, 7, 2);
        refusesChange(change, field("visibility"));
        change.visibility = -2;
        refusesChange(change, field("visibility"));
        (change.visibility, change.publishedKey) = (1, "key");
        refusesChange(change, field("publishedKey"));
        change.visibility = -1;
        change.publishedKey = new bytes(257);
        refusesChange(change, field("publishedKey"));
        refusesChange(changeOf(1, 8, 0), abi.encodeWithSelector(ISharing.SharingObjectUnknown.selector, 1, 8));
    }

    // open

    function test_open_recordsTheOpening() external {
        share(1, 7, 2);
        bytes32 root = recordOf(7, 1).root;
        vm.expectEmit(Suite.SHARING);
        emit ISharing.Opened(1, 7, 2, 1, root, 1, accountOf(2));
        vm.assertEq(open(1, 7, 1, 2), 1);
        OpeningRecord memory opening = sharing.openingRecord(1);
        vm.assertEq(abi.encode(opening), abi.encode(OpeningRecord(1, 7, 1, 2, NOW, false, 1)));
        vm.assertEq(sharing.openingCount(), 1);
        vm.assertEq(sharing.grant(1, 7, 2).openings, 1);
    }

    function test_open_recordsTheRefusal() external {
        vm.expectEmit(Suite.SHARING);
        emit ISharing.Refused(1, 7, 3, 1, Reason.NOT_GRANTED, 0);
        vm.assertEq(open(1, 7, 1, 3), 0);
        vm.assertEq(sharing.openingCount(), 0);
    }

    function testFuzz_open_refusesEverySignerButTheMember(uint256 key) external {
        key = 1 + key % 1000;
        key = key == 2 ? 1001 : key;
        share(1, 7, 2);
        Opening memory opening = openingOf(1, 7, 1, 2);
        bytes memory signature = signed(key, opening);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 2, vm.addr(key)));
        sharing.relayOpen(opening, signature);
    }

    function test_open_refusesReplaysOfOpeningsAndRefusals() external {
        share(1, 7, 2);
        uint32[2] memory who = [uint32(2), 3];
        for (uint256 i; i < who.length; ++i) {
            Opening memory opening = openingOf(1, 7, 1, who[i]);
            bytes memory signature = signed(who[i], opening);
            sharing.relayOpen(opening, signature);
            vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNonceOutOfOrder.selector, 1, 2));
            sharing.relayOpen(opening, signature);
        }
    }

    function test_open_refusesTheSuspendedAndStrangers() external {
        share(1, 7, 2);
        setStanding(2, Standing.Suspended);
        Opening memory opening = openingOf(1, 7, 1, 2);
        bytes memory signature = signed(2, opening);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingMemberInactive.selector, 2));
        sharing.relayOpen(opening, signature);
        opening = openingOf(1, 7, 1, 9);
        signature = signed(9, opening);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingMemberInactive.selector, 9));
        sharing.relayOpen(opening, signature);
    }

    /// A removed owner's grants stay valid: its data and shares outlive its membership.
    function test_open_outlivesTheOwnersMembership() external {
        share(1, 7, 2);
        setStanding(1, Standing.Removed);
        vm.assertEq(open(1, 7, 1, 2), 1);
    }

    // release and refusal

    function test_recordRelease_countsOnceAndOnlyFromTheOwner() external {
        share(1, 7, 2);
        open(1, 7, 1, 2);
        KeyRelease memory release = KeyRelease(1);
        bytes memory wrong = signed(2, release);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 1, accountOf(2)));
        sharing.relayRecordRelease(release, wrong);
        bytes memory right = signed(1, release);
        vm.expectEmit(Suite.SHARING);
        emit ISharing.KeyReleased(1, 7, 2, 1, 1);
        sharing.relayRecordRelease(release, right);
        vm.assertTrue(sharing.openingRecord(1).released);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingAlreadyReleased.selector, 1));
        sharing.relayRecordRelease(release, right);
    }

    function test_recordRelease_refusesUnknownOpenings() external {
        KeyRelease memory release = KeyRelease(1);
        bytes memory signature = signed(1, release);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingOpeningUnknown.selector, 1));
        sharing.relayRecordRelease(release, signature);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingOpeningUnknown.selector, 1));
        sharing.openingRecord(1);
    }

    function test_recordRefusal_countsOnceAndOnlyFromTheOwner() external {
        Refusal memory refusal = refusalOf(1, 7, 3, Reason.DECLINED);
        bytes memory wrong = signed(3, refusal);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNotAuthorised.selector, 1, accountOf(3)));
        sharing.relayRecordRefusal(refusal, wrong);
        bytes memory right = signed(1, refusal);
        vm.expectEmit(Suite.SHARING);
        emit ISharing.Refused(1, 7, 3, 1, Reason.DECLINED, 1);
        sharing.relayRecordRefusal(refusal, right);
        vm.expectRevert(abi.encodeWithSelector(ISharing.SharingNonceOutOfOrder.selector, 1, 2));
        sharing.relayRecordRefusal(refusal, right);
    }

    function test_recordRefusal_refusesFieldsOutOfRange() external {
        uint8[2] memory bad = [Reason.NONE, Reason.DECLINED + 1];
        for (uint256 i; i < bad.length; ++i) {
            Refusal memory refusal = refusalOf(1, 7, 3, bad[i]);
            bytes memory signature = signed(1, refusal);
            vm.expectRevert(field("reason"));
            sharing.relayRecordRefusal(refusal, signature);
        }
        Refusal memory nobody = refusalOf(1, 7, 0, Reason.DECLINED);
        bytes memory signed_ = signed(1, nobody);
        vm.expectRevert(field("dcId"));
        sharing.relayRecordRefusal(nobody, signed_);
    }

    function permitted(uint32 id) private view {
        (bool allowed, uint8 reason) = sharing.canOpen(1, 7, 1, id);
        vm.assertTrue(allowed);
        vm.assertEq(reason, Reason.NONE);
    }

    function refused(uint32 id, uint8 why) private view {
        (bool allowed, uint8 reason) = sharing.canOpen(1, 7, 1, id);
        vm.assertFalse(allowed);
        vm.assertEq(reason, why);
    }

    function reasonFor(uint32 owner, uint64 number, uint32 version, uint32 id) private view returns (uint8) {
        (bool allowed, uint8 reason) = sharing.canOpen(owner, number, version, id);
        vm.assertTrue(allowed == (reason == Reason.NONE));
        return reason;
    }

    function refusesShare(Grant memory grant, bytes memory problem) private {
        bytes memory signature = signed(grant.owner, grant);
        vm.expectRevert(problem);
        sharing.relayShare(grant, signature);
    }

    function refusesChange(VisibilityChange memory change, bytes memory problem) private {
        bytes memory signature = signed(change.owner, change);
        vm.expectRevert(problem);
        sharing.relaySetVisibility(change, signature);
    }

    function field(bytes32 name) private pure returns (bytes memory) {
        return abi.encodeWithSelector(ISharing.SharingFieldOutOfRange.selector, name);
    }
}
