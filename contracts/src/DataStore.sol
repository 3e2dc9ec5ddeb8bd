// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";

import {Segment} from "./Segment.sol";
import {IAccessControl} from "./interfaces/IAccessControl.sol";
import {IDataStore} from "./interfaces/IDataStore.sol";
import {ISegment} from "./interfaces/ISegment.sol";
import {Instance} from "./lib/Instance.sol";
import {Relayed} from "./lib/Relayed.sol";
import {Actions, Suite} from "./lib/Suite.sol";
import {TypedData} from "./lib/TypedData.sol";
import {Record, RecordedVersion, Subject} from "./lib/Types.sol";

/// @notice See `IDataStore`.
/// @dev Runs as clones of one template. Every node carries and hashes storage for ever, so it has only what contracts and
/// storage proofs ask for: an object costs one fresh slot, its root, and a quarter of another, its number; unusual terms
/// cost one more. All that was signed is in the event. Roots are in segments, so that a new one is written to a small trie.
contract DataStore is IDataStore {
    /// One slot. A version without it is for the listed members, of the first key epoch and valid for ever.
    struct Terms {
        bool stored;
        int8 visibility;
        uint32 keyEpoch;
        uint40 validUntil;
    }

    bytes32 private constant SEGMENT_CODE_HASH = keccak256(type(Segment).creationCode);
    int8 private constant USUAL_VISIBILITY = 1;
    uint32 private constant USUAL_KEY_EPOCH = 1;
    /// Numbers that differ in so many last bits only share a segment.
    uint256 private constant SEGMENT_BITS = 16;

    address private _accessControl;
    /// In the order in which the objects were put, four to a slot.
    uint64[] private _numbers;
    /// By number and version, where they are unusual.
    mapping(uint256 key => Terms) private _terms;
    /// By number: the newest version, 0 while there is only the first.
    mapping(uint256 number => uint32) private _newest;

    /// @inheritdoc IDataStore
    function put(Record calldata r) external {
        _put(r, msg.sender);
    }

    /// @inheritdoc IDataStore
    function relayPut(Record calldata r, bytes calldata signature) external {
        _put(r, Relayed.actor(Instance.dcId(), TypedData.digest(r), signature));
    }

    /// @inheritdoc IDataStore
    function update(Record calldata r) external {
        _update(r, msg.sender);
    }

    /// @inheritdoc IDataStore
    function relayUpdate(Record calldata r, bytes calldata signature) external {
        _update(r, Relayed.actor(Instance.dcId(), TypedData.digest(r), signature));
    }

    /// @inheritdoc IDataStore
    function setAccessControl(address accessControl_) external {
        if (msg.sender != Suite.REGISTRY) revert DataStoreNotRegistry(msg.sender);
        _accessControl = accessControl_;
    }

    /// @inheritdoc IDataStore
    function accessControl() external view returns (address) {
        return _accessControl;
    }

    /// @inheritdoc IDataStore
    function owner() external view returns (uint32) {
        return Instance.dcId();
    }

    /// @inheritdoc IDataStore
    function record(uint64 number, uint32 version) external view returns (RecordedVersion memory) {
        bytes32 root = _rootOf(number, version);
        if (root == 0) revert DataStoreVersionUnknown(number, version);
        Terms memory terms = _terms[_key(number, version)];
        if (!terms.stored) terms = Terms(true, USUAL_VISIBILITY, USUAL_KEY_EPOCH, 0);
        return RecordedVersion({
            number: number,
            version: version,
            root: root,
            visibility: terms.visibility,
            keyEpoch: terms.keyEpoch,
            validUntil: terms.validUntil
        });
    }

    /// @inheritdoc IDataStore
    function latest(uint64 number) public view returns (uint32 version) {
        version = _newest[number];
        if (version == 0 && _rootOf(number, 1) != 0) version = 1;
    }

    /// @inheritdoc IDataStore
    function count() external view returns (uint256) {
        return _numbers.length;
    }

    /// @inheritdoc IDataStore
    function numbers(uint256 skip, uint256 limit) external view returns (uint64[] memory found) {
        uint256 total = _numbers.length;
        uint256 rest = skip < total ? total - skip : 0;
        found = new uint64[](limit < rest ? limit : rest);
        for (uint256 i; i < found.length; ++i) {
            found[i] = _numbers[rest - 1 - i];
        }
    }

    function _put(Record calldata r, address actor) private {
        if (r.number == 0) revert DataStoreNumberMissing();
        if (r.version != 1) revert DataStoreVersionOutOfOrder(r.number, r.version, 1);
        _authorise(r, actor);
        _store(r, actor);
        _numbers.push(r.number);
    }

    function _update(Record calldata r, address actor) private {
        uint32 newest = latest(r.number);
        if (newest == 0) revert DataStoreNumberUnknown(r.number);
        if (r.version != newest + 1) revert DataStoreVersionOutOfOrder(r.number, r.version, newest + 1);
        _authorise(r, actor);
        _store(r, actor);
        _newest[r.number] = r.version;
    }

    /// Asks the owner's access contract.
    function _authorise(Record calldata r, address actor) private view {
        address access = _accessControl;
        if (access == address(0)) revert DataStoreOwnerInactive();
        Subject memory subject = Subject(Instance.dcId(), r.number, r.version, 0, 0);
        if (!IAccessControl(access).isAuthorised(actor, Actions.RECORD, subject)) {
            revert DataStoreNotAuthorised(actor);
        }
    }

    function _store(Record calldata r, address actor) private {
        if (r.root == 0) revert DataStoreFieldOutOfRange("root");
        if (r.visibility < -1 || r.visibility > 1) revert DataStoreFieldOutOfRange("visibility");
        if (r.sizeClass > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("sizeClass");
        if (r.createdAt > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("createdAt");
        if (r.validUntil > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("validUntil");
        uint256 key = _key(r.number, r.version);
        if (!_segment(r.number).add(key, r.root)) revert DataStoreNumberTaken(r.number);
        if (r.visibility != USUAL_VISIBILITY || r.keyEpoch != USUAL_KEY_EPOCH || r.validUntil != 0) {
            // Both narrowings are checked above.
            // forge-lint: disable-next-line(unsafe-typecast)
            _terms[key] = Terms(true, int8(r.visibility), r.keyEpoch, uint40(r.validUntil));
        }
        emit VersionRecorded(
            Instance.dcId(),
            r.number,
            r.version,
            r.root,
            r.commitment,
            r.visibility,
            r.keyEpoch,
            r.sizeClass,
            r.createdAt,
            r.validUntil,
            actor
        );
    }

    /// The segment of a number, created with its first object.
    function _segment(uint64 number) private returns (ISegment segment) {
        segment = _segmentOf(number);
        if (address(segment).code.length == 0) {
            segment = new Segment{salt: bytes32(uint256(number >> SEGMENT_BITS))}();
        }
    }

    /// Where the segment of a number stands, or will stand (EIP-1014): computed, so that one storage proof shows a root.
    function _segmentOf(uint64 number) private view returns (ISegment) {
        bytes32 salt = bytes32(uint256(number >> SEGMENT_BITS));
        return ISegment(Create2.computeAddress(salt, SEGMENT_CODE_HASH));
    }

    /// 0 when there is no such version.
    function _rootOf(uint64 number, uint32 version) private view returns (bytes32) {
        ISegment segment = _segmentOf(number);
        return address(segment).code.length == 0 ? bytes32(0) : segment.rootAt(_key(number, version));
    }

    function _key(uint64 number, uint32 version) private pure returns (uint256) {
        return (uint256(number) << 32) | version;
    }
}
