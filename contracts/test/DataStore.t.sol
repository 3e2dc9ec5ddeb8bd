// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {Record, RecordedVersion, Standing} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

contract DataStoreTest is Consortium {
    function test_put_recordsWhatWasSigned() external {
        Record memory record = recordOf(42, 1);
        bytes memory signature = signed(1, record, 1);
        expectRecorded(1, record);
        vm.prank(RELAY);
        storeOf(1).relayPut(record, signature);
        same(storeOf(1).record(42, 1), record);
        vm.assertEq(storeOf(1).latest(42), 1);
        vm.assertEq(storeOf(1).count(), 1);
    }

    function testFuzz_put_keepsEveryField(Record memory record) external {
        record.number = record.number == 0 ? 1 : record.number;
        record.version = 1;
        record.root = record.root == 0 ? bytes32(uint256(1)) : record.root;
        record.visibility = record.visibility % 2;
        record.sizeClass %= 1 << 40;
        record.createdAt %= 1 << 40;
        record.validUntil %= 1 << 40;
        bytes memory signature = signed(2, record, 2);
        expectRecorded(2, record);
        storeOf(2).relayPut(record, signature);
        same(storeOf(2).record(record.number, 1), record);
    }

    function testFuzz_put_refusesEverySignerButTheOwner(uint256 key, uint64 number) external {
        key = 2 + key % 1000;
        number = number == 0 ? 1 : number;
        Record memory record = recordOf(number, 1);
        bytes memory signature = signed(key, record, 1);
        IDataStore store = storeOf(1);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, vm.addr(key)));
        store.relayPut(record, signature);
    }

    /// Changing anything that was signed, or the signature, leaves nobody who signed it.
    function testFuzz_put_refusesWhatWasNotSigned(uint8 field, uint8 bit, uint8 place) external {
        Record memory record = recordOf(7, 1);
        bytes memory signature = signed(1, record, 1);
        field %= 8;
        if (field == 0) record.root ^= bytes32(uint256(1) << bit);
        if (field == 1) record.commitment ^= bytes32(uint256(1) << bit);
        if (field == 2) record.number ^= uint64(8) << (bit % 61);
        if (field == 3) record.visibility = int64(uint64(bit % 2)) - 1;
        if (field == 4) record.keyEpoch ^= uint32(1) << (bit % 32);
        if (field == 5) record.sizeClass ^= uint64(1) << (bit % 40);
        if (field == 6) record.createdAt ^= uint64(1) << (bit % 40);
        if (field == 7) signature[place % 64] ^= bytes1(uint8(1) << (bit % 8));
        IDataStore store = storeOf(1);
        vm.expectRevert();
        store.relayPut(record, signature);
        vm.assertEq(store.count(), 0);
    }

    function test_put_refusesSignaturesForAnotherStoreOrChain() external {
        Record memory record = recordOf(7, 1);
        bytes memory signature = signed(1, record, 2);
        IDataStore store = storeOf(1);
        vm.expectRevert();
        store.relayPut(record, signature);
        signature = signed(1, record, 1);
        vm.chainId(block.chainid + 1);
        vm.expectRevert();
        store.relayPut(record, signature);
    }

    function test_put_refusesSignaturesOfOddShape() external {
        Record memory record = recordOf(7, 1);
        bytes memory signature = signed(1, record, 1);
        bytes[4] memory bad = [bytes(""), new bytes(65), bytes.concat(signature, hex"00"), highS(signature)];
        IDataStore store = storeOf(1);
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, address(0)));
            store.relayPut(record, bad[i]);
        }
    }

    function test_put_refusesUsedNumbers() external {
        put(1, 7);
        refusesPut(recordOf(7, 1), abi.encodeWithSelector(IDataStore.DataStoreNumberTaken.selector, 7));
    }

    /// Numbers that agree in their last bits, neighbours in different segments, the greatest.
    function test_put_keepsNumbersOfDifferentSegmentsApart() external {
        uint64[5] memory numbers = [uint64(7), 65_535, 65_536, 65_543, type(uint64).max];
        for (uint256 i; i < numbers.length; ++i) {
            vm.assertEq(storeOf(1).latest(numbers[i]), 0);
            put(1, numbers[i]);
        }
        for (uint256 i; i < numbers.length; ++i) {
            same(storeOf(1).record(numbers[i], 1), recordOf(numbers[i], 1));
            refusesPut(
                recordOf(numbers[i], 1),
                abi.encodeWithSelector(IDataStore.DataStoreNumberTaken.selector, numbers[i])
            );
            update(1, recordOf(numbers[i], 2), 2);
            vm.assertEq(storeOf(1).latest(numbers[i]), 2);
        }
        vm.assertEq(storeOf(1).count(), numbers.length);
        vm.assertEq(storeOf(2).latest(7), 0);
    }

    function test_put_refusesNumberZeroAndLaterVersions() external {
        refusesPut(recordOf(0, 1), abi.encodeWithSelector(IDataStore.DataStoreNumberMissing.selector));
        refusesPut(
            recordOf(7, 2), abi.encodeWithSelector(IDataStore.DataStoreVersionOutOfOrder.selector, 7, 2, 1)
        );
        refusesPut(
            recordOf(7, 0), abi.encodeWithSelector(IDataStore.DataStoreVersionOutOfOrder.selector, 7, 0, 1)
        );
    }

    function test_put_refusesFieldsOutOfRange() external {
        Record memory record = recordOf(7, 1);
        record.root = 0;
        refusesField(record, "root");
        record = recordOf(7, 1);
        record.visibility = 2;
        refusesField(record, "visibility");
        record.visibility = -2;
        refusesField(record, "visibility");
        record = recordOf(7, 1);
        record.sizeClass = 1 << 40;
        refusesField(record, "sizeClass");
        record = recordOf(7, 1);
        record.createdAt = 1 << 40;
        refusesField(record, "createdAt");
        record = recordOf(7, 1);
        record.validUntil = 1 << 40;
        refusesField(record, "validUntil");
    }

    function test_put_refusesSuspendedAndRemovedOwners() external {
        put(1, 7);
        setStanding(1, Standing.Suspended);
        refusesPut(recordOf(8, 1), abi.encodeWithSelector(IDataStore.DataStoreOwnerInactive.selector));
        refusesUpdate(recordOf(7, 2), abi.encodeWithSelector(IDataStore.DataStoreOwnerInactive.selector));
        setStanding(1, Standing.Active);
        put(1, 8);
        setStanding(1, Standing.Removed);
        refusesPut(recordOf(9, 1), abi.encodeWithSelector(IDataStore.DataStoreOwnerInactive.selector));
        vm.assertEq(storeOf(1).latest(8), 1);
    }

    function testFuzz_update_keepsEveryVersion(uint8 versions) external {
        uint32 newest = 1 + versions % 12;
        put(1, 6);
        for (uint32 version = 2; version <= newest; ++version) {
            update(1, variant(7, version - 1), version - 1);
        }
        for (uint32 version = 1; version < newest; ++version) {
            same(storeOf(1).record(7, version), variant(7, version));
        }
        vm.assertEq(storeOf(1).latest(7), newest - 1);
        vm.assertEq(storeOf(1).count(), newest == 1 ? 1 : 2);
    }

    function test_update_refusesVersionsOutOfOrder() external {
        put(1, 7);
        uint32[4] memory bad = [uint32(0), 1, 3, type(uint32).max];
        for (uint256 i; i < bad.length; ++i) {
            refusesUpdate(
                recordOf(7, bad[i]),
                abi.encodeWithSelector(IDataStore.DataStoreVersionOutOfOrder.selector, 7, bad[i], 2)
            );
        }
    }

    function test_update_refusesUnknownNumbers() external {
        refusesUpdate(recordOf(7, 1), abi.encodeWithSelector(IDataStore.DataStoreNumberUnknown.selector, 7));
    }

    function test_update_refusesOtherSigners() external {
        put(1, 7);
        Record memory record = recordOf(7, 2);
        bytes memory signature = signed(2, record, 1);
        IDataStore store = storeOf(1);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotAuthorised.selector, accountOf(2)));
        store.relayUpdate(record, signature);
    }

    function test_update_refusesAReplay() external {
        put(1, 7);
        Record memory record = recordOf(7, 2);
        bytes memory signature = signed(1, record, 1);
        IDataStore store = storeOf(1);
        store.relayUpdate(record, signature);
        vm.expectRevert();
        store.relayUpdate(record, signature);
    }

    function test_record_refusesVersionsThatAreNotThere() external {
        put(1, 7);
        IDataStore store = storeOf(1);
        uint32[2] memory bad = [uint32(0), 2];
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreVersionUnknown.selector, 7, bad[i]));
            store.record(7, bad[i]);
        }
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreVersionUnknown.selector, 8, 1));
        store.record(8, 1);
    }

    /// What is not stored and what is stored as zeros are told apart, whichever field is the unusual one.
    function test_record_tellsUsualTermsFromZeros() external {
        Record[5] memory records;
        for (uint64 i; i < records.length; ++i) {
            records[i] = recordOf(1 + i, 1);
        }
        records[1].visibility = 0;
        records[2].keyEpoch = 0;
        records[3].validUntil = 1;
        (records[4].visibility, records[4].keyEpoch) = (0, 0);
        for (uint256 i; i < records.length; ++i) {
            update(1, records[i], 1);
        }
        for (uint256 i; i < records.length; ++i) {
            same(storeOf(1).record(records[i].number, 1), records[i]);
        }
    }

    function test_numbers_pagesFromTheNewest() external {
        uint64[5] memory order = [uint64(9), 3, type(uint64).max, 1, 5];
        for (uint256 i; i < order.length; ++i) {
            put(1, order[i]);
        }
        // An update does not move its object.
        update(1, recordOf(3, 2), 2);
        IDataStore store = storeOf(1);
        vm.assertEq(store.count(), 5);
        vm.assertEq(abi.encode(store.numbers(0, 2)), abi.encode(numbersOf(5, 1)));
        vm.assertEq(abi.encode(store.numbers(3, type(uint256).max)), abi.encode(numbersOf(3, 9)));
        vm.assertEq(store.numbers(0, type(uint256).max).length, 5);
        vm.assertEq(store.numbers(5, 10).length, 0);
        vm.assertEq(store.numbers(type(uint256).max, 10).length, 0);
        vm.assertEq(store.numbers(0, 0).length, 0);
        vm.assertEq(storeOf(2).numbers(0, 10).length, 0);
    }

    function test_setAccessControl_refusesEverybodyButTheRegistry() external {
        IDataStore store = storeOf(1);
        vm.expectRevert(abi.encodeWithSelector(IDataStore.DataStoreNotRegistry.selector, accountOf(1)));
        vm.prank(accountOf(1));
        store.setAccessControl(address(this));
    }

    function update(uint32 owner, Record memory record, uint32 version) private {
        record.version = version;
        bytes memory signature = signed(owner, record, owner);
        if (version == 1) storeOf(owner).relayPut(record, signature);
        else storeOf(owner).relayUpdate(record, signature);
    }

    function numbersOf(uint64 first, uint64 second) private pure returns (uint64[] memory pair) {
        pair = new uint64[](2);
        (pair[0], pair[1]) = (first, second);
    }

    /// A record whose every field follows from the version; every fourth one is as usual.
    function variant(uint64 number, uint32 version) private pure returns (Record memory record) {
        record = recordOf(number, version);
        if (version % 4 == 0) return record;
        record.visibility = int64(uint64(version % 3)) - 1;
        (record.keyEpoch, record.sizeClass) = (version * 3, version * 5);
        (record.createdAt, record.validUntil) = (version * 7, version * 11);
    }

    function refusesField(Record memory record, bytes32 field) private {
        refusesPut(record, abi.encodeWithSelector(IDataStore.DataStoreFieldOutOfRange.selector, field));
    }

    function refusesPut(Record memory record, bytes memory problem) private {
        bytes memory signature = signed(1, record, 1);
        IDataStore store = storeOf(1);
        vm.expectRevert(problem);
        store.relayPut(record, signature);
    }

    function refusesUpdate(Record memory record, bytes memory problem) private {
        bytes memory signature = signed(1, record, 1);
        IDataStore store = storeOf(1);
        vm.expectRevert(problem);
        store.relayUpdate(record, signature);
    }

    /// The event tells all that was signed.
    function expectRecorded(uint32 owner, Record memory r) private {
        vm.expectEmit(address(storeOf(owner)));
        emit IDataStore.VersionRecorded(
            owner,
            r.number,
            r.version,
            r.root,
            r.commitment,
            r.visibility,
            r.keyEpoch,
            r.sizeClass,
            r.createdAt,
            r.validUntil,
            accountOf(owner)
        );
    }

    /// What the event tells and nothing else needs is not kept.
    function same(RecordedVersion memory kept, Record memory r) private pure {
        vm.assertEq(
            abi.encode(kept), abi.encode(r.number, r.version, r.root, r.visibility, r.keyEpoch, r.validUntil)
        );
    }

    /// The other signature of the same key over the same digest, which must not count.
    function highS(bytes memory signature) private pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = (0, 0, 0);
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
        uint256 order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141;
        return abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
    }
}
