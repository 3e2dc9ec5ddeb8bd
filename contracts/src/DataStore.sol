// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "./interfaces/IAccessControl.sol";
import {IDataStore} from "./interfaces/IDataStore.sol";
import {Instance} from "./lib/Instance.sol";
import {Actions, Suite} from "./lib/Suite.sol";
import {TypedData} from "./lib/TypedData.sol";
import {Record, RecordedVersion} from "./lib/Types.sol";

/// @notice See `IDataStore`.
/// @dev Runs as clones of one template. A new object costs two fresh slots: the root, and a head that packs everything
/// else. An update moves the previous version's head aside.
contract DataStore is IDataStore {
    /// One slot. `count` and `newest` ride with the address that every write reads anyway.
    struct Config {
        address accessControl;
        uint64 newest;
        uint32 count;
    }

    /// One slot: what a version says of itself besides its root.
    struct Head {
        uint32 version;
        int8 visibility;
        uint32 keyEpoch;
        uint40 sizeClass;
        uint40 createdAt;
        uint40 validUntil;
        /// The object put before this one: the objects form a chain from `newest` back.
        uint64 older;
    }

    Config private _config;
    /// By number: the newest version.
    mapping(uint256 number => Head) private _heads;
    /// By number and version: the versions before the newest.
    mapping(uint256 key => Head) private _past;
    /// By number and version.
    mapping(uint256 key => bytes32) private _roots;

    /// @inheritdoc IDataStore
    function put(Record calldata r, bytes calldata signature) external {
        Config memory config = _config;
        if (r.number == 0) revert DataStoreNumberMissing();
        if (_heads[r.number].version != 0) revert DataStoreNumberTaken(r.number);
        if (r.version != 1) revert DataStoreVersionOutOfOrder(r.number, r.version, 1);
        address signer = _authorise(config.accessControl, r, signature);
        _store(r, config.newest);
        config.newest = r.number;
        ++config.count;
        _config = config;
        emit VersionRecorded(Instance.dcId(), r.number, 1, r.root, r.commitment, r.visibility, signer);
    }

    /// @inheritdoc IDataStore
    function update(Record calldata r, bytes calldata signature) external {
        Head memory head = _heads[r.number];
        if (head.version == 0) revert DataStoreNumberUnknown(r.number);
        if (r.version != head.version + 1) {
            revert DataStoreVersionOutOfOrder(r.number, r.version, head.version + 1);
        }
        address signer = _authorise(_config.accessControl, r, signature);
        _past[_key(r.number, head.version)] = head;
        _store(r, head.older);
        emit VersionRecorded(Instance.dcId(), r.number, r.version, r.root, r.commitment, r.visibility, signer);
    }

    /// @inheritdoc IDataStore
    function setAccessControl(address accessControl_) external {
        if (msg.sender != Suite.REGISTRY) revert DataStoreNotRegistry(msg.sender);
        _config.accessControl = accessControl_;
    }

    /// @inheritdoc IDataStore
    function accessControl() external view returns (address) {
        return _config.accessControl;
    }

    /// @inheritdoc IDataStore
    function owner() external view returns (uint32) {
        return Instance.dcId();
    }

    /// @inheritdoc IDataStore
    function record(uint64 number, uint32 version) external view returns (RecordedVersion memory) {
        Head memory head = _heads[number];
        if (version == 0 || version > head.version) revert DataStoreVersionUnknown(number, version);
        uint256 key = _key(number, version);
        if (version < head.version) head = _past[key];
        return RecordedVersion({
            number: number,
            version: version,
            root: _roots[key],
            visibility: head.visibility,
            keyEpoch: head.keyEpoch,
            sizeClass: head.sizeClass,
            createdAt: head.createdAt,
            validUntil: head.validUntil
        });
    }

    /// @inheritdoc IDataStore
    function latest(uint64 number) external view returns (uint32 version) {
        return _heads[number].version;
    }

    /// @inheritdoc IDataStore
    function count() external view returns (uint32) {
        return _config.count;
    }

    /// @inheritdoc IDataStore
    function numbers(uint64 before, uint256 limit) external view returns (uint64[] memory found) {
        uint256 total = _config.count;
        found = new uint64[](limit < total ? limit : total);
        uint64 number = before == 0 ? _config.newest : _heads[before].older;
        uint256 length;
        while (number != 0 && length < found.length) {
            found[length++] = number;
            number = _heads[number].older;
        }
        assembly ("memory-safe") {
            mstore(found, length)
        }
    }

    /// Asks the owner's access contract; returns who signed.
    function _authorise(address access, Record calldata r, bytes calldata signature)
        private
        view
        returns (address)
    {
        if (access == address(0)) revert DataStoreOwnerInactive();
        (bool authorised, address signer) =
            IAccessControl(access).isAuthorised(TypedData.digest(r), signature, Actions.RECORD);
        if (!authorised) revert DataStoreNotAuthorised(signer);
        return signer;
    }

    function _store(Record calldata r, uint64 older) private {
        if (r.root == 0) revert DataStoreFieldOutOfRange("root");
        if (r.visibility < -1 || r.visibility > 1) revert DataStoreFieldOutOfRange("visibility");
        if (r.sizeClass > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("sizeClass");
        if (r.createdAt > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("createdAt");
        if (r.validUntil > Suite.UINT40_MAX) revert DataStoreFieldOutOfRange("validUntil");
        // Every narrowing below is checked above.
        // forge-lint: disable-start(unsafe-typecast)
        _heads[r.number] = Head({
            version: r.version,
            visibility: int8(r.visibility),
            keyEpoch: r.keyEpoch,
            sizeClass: uint40(r.sizeClass),
            createdAt: uint40(r.createdAt),
            validUntil: uint40(r.validUntil),
            older: older
        });
        // forge-lint: disable-end(unsafe-typecast)
        _roots[_key(r.number, r.version)] = r.root;
    }

    function _key(uint64 number, uint32 version) private pure returns (uint256) {
        return (uint256(number) << 32) | version;
    }
}
