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
        vm.prank(accountOf(1));
        store.put(record);
        vm.snapshotGasLastCall("Suite", "put, first of a segment");

        record.number += 1;
        vm.prank(accountOf(1));
        store.put(record);
        vm.assertLt(vm.snapshotGasLastCall("Suite", "put"), 110_000);
    }

    function test_update_costs() external {
        IDataStore store = storeOf(1);
        put(1, 7);
        Record memory record = recordOf(7, 2);
        vm.prank(accountOf(1));
        store.update(record);
        vm.snapshotGasLastCall("Suite", "update");
    }

    function test_share_costs() external {
        put(1, 7);
        Grant memory grant = grantOf(1, 7, 2);
        vm.prank(accountOf(1));
        sharing.share(grant);
        vm.snapshotGasLastCall("Suite", "share");

        grant = grantOf(1, 7, 3);
        grant.wrappedKey = new bytes(1168);
        for (uint256 i; i < 1168; ++i) {
            grant.wrappedKey[i] = 0xff;
        }
        vm.prank(accountOf(1));
        sharing.share(grant);
        vm.snapshotGasLastCall("Suite", "share, key deposited");
    }

    function test_revoke_costs() external {
        put(1, 7);
        share(1, 7, 2);
        Revocation memory revocation = revocationOf(1, 7, 2);
        vm.prank(accountOf(1));
        sharing.revoke(revocation);
        vm.snapshotGasLastCall("Suite", "revoke");
    }

    function test_open_costs() external {
        put(1, 7);
        share(1, 7, 2);
        Opening memory opening = openingOf(1, 7, 1, 3);
        vm.prank(accountOf(3));
        sharing.open(opening);
        vm.snapshotGasLastCall("Suite", "open, refused");

        open(1, 7, 1, 2);
        opening = openingOf(1, 7, 1, 2);
        vm.prank(accountOf(2));
        sharing.open(opening);
        vm.snapshotGasLastCall("Suite", "open");

        KeyRelease memory release = KeyRelease(2);
        vm.prank(accountOf(1));
        sharing.recordRelease(release);
        vm.snapshotGasLastCall("Suite", "recordRelease");
    }

    function test_join_costs() external {
        vm.prank(accountOf(1));
        governance.openJoin(signedCardOf(5));
        vm.snapshotGasLastCall("Suite", "openJoin");
        for (uint32 i = 1; i <= 3; ++i) {
            vm.prank(accountOf(i));
            governance.vote(1, true);
            vm.snapshotGasLastCall("Suite", i == 3 ? "vote, deciding" : "vote");
        }
    }
}
