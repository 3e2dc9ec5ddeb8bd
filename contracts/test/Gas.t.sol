// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IDataStore} from "../src/interfaces/IDataStore.sol";
import {Grant, KeyRelease, Opening, Record, Revocation} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// What whole transactions cost, calldata included, each call being one. Recorded in `snapshots/Suite.json`.
/// forge-config: default.isolate = true
contract GasTest is Consortium {
    function test_put_costs() external {
        IDataStore store = storeOf(1);
        put(1, 1);
        Record memory record = recordOf(0x1234567890abcdef, 1);
        bytes memory signature = signed(1, record, 1);
        store.put(record, signature);
        vm.snapshotGasLastCall("Suite", "put, first of a segment");

        record.number += 1;
        signature = signed(1, record, 1);
        store.put(record, signature);
        vm.assertLt(vm.snapshotGasLastCall("Suite", "put"), 110_000);
    }

    function test_update_costs() external {
        IDataStore store = storeOf(1);
        put(1, 7);
        Record memory record = recordOf(7, 2);
        bytes memory signature = signed(1, record, 1);
        store.update(record, signature);
        vm.snapshotGasLastCall("Suite", "update");
    }

    function test_share_costs() external {
        put(1, 7);
        Grant memory grant = grantOf(1, 7, 2);
        bytes memory signature = signed(1, grant);
        sharing.share(grant, signature);
        vm.snapshotGasLastCall("Suite", "share");

        grant = grantOf(1, 7, 3);
        grant.wrappedKey = new bytes(1168);
        for (uint256 i; i < 1168; ++i) {
            grant.wrappedKey[i] = 0xff;
        }
        signature = signed(1, grant);
        sharing.share(grant, signature);
        vm.snapshotGasLastCall("Suite", "share, key deposited");
    }

    function test_revoke_costs() external {
        put(1, 7);
        share(1, 7, 2);
        Revocation memory revocation = revocationOf(1, 7, 2);
        bytes memory signature = signed(1, revocation);
        sharing.revoke(revocation, signature);
        vm.snapshotGasLastCall("Suite", "revoke");
    }

    function test_open_costs() external {
        put(1, 7);
        share(1, 7, 2);
        Opening memory opening = openingOf(1, 7, 1, 3);
        bytes memory signature = signed(3, opening);
        sharing.open(opening, signature);
        vm.snapshotGasLastCall("Suite", "open, refused");

        open(1, 7, 1, 2);
        opening = openingOf(1, 7, 1, 2);
        signature = signed(2, opening);
        sharing.open(opening, signature);
        vm.snapshotGasLastCall("Suite", "open");

        KeyRelease memory release = KeyRelease(2);
        signature = signed(1, release);
        sharing.recordRelease(release, signature);
        vm.snapshotGasLastCall("Suite", "recordRelease");
    }

    function test_join_costs() external {
        vm.prank(accountOf(1));
        governance.openJoin(cardOf(5));
        vm.snapshotGasLastCall("Suite", "openJoin");
        for (uint32 i = 1; i <= 3; ++i) {
            vm.prank(accountOf(i));
            governance.vote(1, true);
            vm.snapshotGasLastCall("Suite", i == 3 ? "vote, deciding" : "vote");
        }
    }
}
