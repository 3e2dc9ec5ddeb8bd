// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    Grant,
    KeyRelease,
    Opening,
    Record,
    Refusal,
    Revocation,
    SignedCard,
    VisibilityChange
} from "../src/lib/Types.sol";
import {Consortium} from "./Consortium.sol";

/// Values that the Rust bindings must compute alike; the same constants stand in `crates/hansa-contracts/src/typed.rs`
/// and `genesis.rs`. Each digest counts as right when the contract accepts a signature over it.
contract VectorsTest is Consortium {
    address private constant STORE_1 = 0xE6087d417694B209b445DAa7499A35791115442f;
    address private constant ACCESS_1 = 0x7B62A9424C94451ad3f0c8dBBE78cE9ff1c94b10;
    address private constant STORE_4 = 0x1Cc09036111bf411C154c4fbF471Dd87B6522209;
    bytes32 private constant RECORD = 0x58f39b661d54789c5dce1d22e370c0dd7046861a116bed5a8739a7c8387d0402;
    bytes32 private constant GRANT = 0x89d65f50dc3d8548f997ab2c8e9a834bdfc689da575d8128416e40845b47b36a;
    bytes32 private constant REVOCATION = 0xc175329a1dfc73f9db7ad1336c60f85ea53e033ac9d1dfa1323770132ad4f494;
    bytes32 private constant VISIBILITY_CHANGE =
        0x86614b211f35b5767c0629bae5ce23b29bd627c81fd33e33153607c14c7ab7d2;
    bytes32 private constant OPENING = 0x44f22e921cbdbd456a3bdbca0bed3ee0af1967eb82f06715398356501dbff454;
    bytes32 private constant KEY_RELEASE = 0xb092579bbb65a9cc49890020b516de0312fcc9e016a315e4a705c9540e830959;
    bytes32 private constant REFUSAL = 0x7c5e0298d20fb950d9c2064115ffdb1a6eb754a7c59fd92b8c05618fb0ff5d6b;

    bytes32 private constant CARD = 0xcd4286f79120fe1f52fe4441229b6e1ff8e8c8c514c13e17e3d51563bd4f692c;

    function setUp() public override {
        vm.chainId(7700);
        super.setUp();
    }

    function test_instances_haveTheirPinnedAddresses() external view {
        vm.assertEq(registry.dataStoreOf(1), STORE_1);
        vm.assertEq(registry.accessControlOf(1), ACCESS_1);
        vm.assertEq(registry.dataStoreOf(4), STORE_4);
    }

    function test_cardDigest_isThePinnedOne() external view {
        SignedCard memory card = SignedCard(cardOf(5), signed(5, CARD), "");
        vm.assertEq(bytes32(registry.admissionProblem(card)), bytes32(0));
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
