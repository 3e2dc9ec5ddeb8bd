// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    Grant,
    KeyRelease,
    Opening,
    Record,
    Refusal,
    Revocation,
    VisibilityChange
} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// Values that the Rust bindings must compute alike; the same constants stand in `crates/hansa-contracts/src/typed.rs`
/// and `genesis.rs`. Each digest counts as right when the contract accepts a signature over it.
contract VectorsTest is Consortium {
    address private constant STORE_1 = 0xE6087d417694B209b445DAa7499A35791115442f;
    address private constant ACCESS_1 = 0x7B62A9424C94451ad3f0c8dBBE78cE9ff1c94b10;
    address private constant STORE_4 = 0x1Cc09036111bf411C154c4fbF471Dd87B6522209;
    bytes32 private constant RECORD = 0xc1d8acfd2be5cf00aa3232cf00f0a19c8c7da50da3605306055f704cbc7f0234;
    bytes32 private constant GRANT = 0x514a0d9737731f2f22e498f2a7b5cbeee5d0cbbb70a47e3ff5b7212a8ac1d16b;
    bytes32 private constant REVOCATION = 0x57746666ccf2c89b235233f0f6662cc4b4a8cc36e9a927f97f01725e53cb66ce;
    bytes32 private constant VISIBILITY_CHANGE =
        0x4954e6896a6194afc7541fb6790a803d1412c57d63aaba8f5ef912ebb2c4122f;
    bytes32 private constant OPENING = 0x4099302ea3c144d87740d7ca4335acdf89dedba47e15d6dd7baaa9d2c7d86915;
    bytes32 private constant KEY_RELEASE = 0xbf820097ca5f2e27d18f2f240e0c91dc17a9d6e8c092257ad88718d206ce5a0c;
    bytes32 private constant REFUSAL = 0x0cf16d17d685a901afa0c0df261d8f725fe6e4667d8ffb783508da2bfbdfb26f;

    function setUp() public override {
        vm.chainId(7700);
        super.setUp();
    }

    function test_instances_haveTheirPinnedAddresses() external view {
        vm.assertEq(registry.dataStoreOf(1), STORE_1);
        vm.assertEq(registry.accessControlOf(1), ACCESS_1);
        vm.assertEq(registry.dataStoreOf(4), STORE_4);
    }

    function test_digests_areThePinnedOnes() external {
        storeOf(1)
            .relayPut(
                Record({
                number: 42,
                version: 1,
                root: bytes32(uint256(0x11)),
                commitment: bytes32(uint256(0x22)),
                visibility: -1,
                keyEpoch: 3,
                sizeClass: 1 << 20,
                createdAt: 1_800_000_000,
                validUntil: 1_900_000_000
            }),
                signed(1, RECORD)
            );
        sharing.relayShare(Grant(1, 42, 2, 1_900_000_000, 5, 3, hex"c0ffee", 1), signed(1, GRANT));
        sharing.relayRevoke(Revocation(1, 42, 2, 2), signed(1, REVOCATION));
        sharing.relaySetVisibility(
            VisibilityChange(1, 42, -1, 3, hex"0badcafe", 1), signed(1, VISIBILITY_CHANGE)
        );
        sharing.relayOpen(Opening(1, 42, 1, 2, 1), signed(2, OPENING));
        sharing.relayRecordRelease(KeyRelease(1), signed(1, KEY_RELEASE));
        sharing.relayRecordRefusal(Refusal(1, 42, 1, 3, 9, 1), signed(1, REFUSAL));
    }
}
