// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Record, RecordedVersion} from "../lib/Types.sol";

/// @title One member's data objects: every version of each, never changed and never taken back.
/// @notice Every change has two forms: sent by an account of the owner, or signed by one (EIP-712) and sent by anybody. In both
/// the owner's access contract is asked whether the account may.
/// While the owner is not active nothing can be recorded; everything can be read.
interface IDataStore {
    /// A version was recorded: all that the owner said, and the account that said it. The only place of what `RecordedVersion` lacks.
    event VersionRecorded(
        uint32 indexed owner,
        uint64 indexed number,
        uint32 version,
        bytes32 root,
        bytes32 commitment,
        int64 visibility,
        uint32 keyEpoch,
        uint64 sizeClass,
        uint64 createdAt,
        uint64 validUntil,
        address actor
    );

    /// Only the registry may call this.
    error DataStoreNotRegistry(address caller);
    /// The owner is suspended or removed.
    error DataStoreOwnerInactive();
    /// The account may not record for the owner; 0 where a signature is nobody's.
    error DataStoreNotAuthorised(address actor);
    /// Object number 0 is nobody's.
    error DataStoreNumberMissing();
    /// The number is used: update the object instead.
    error DataStoreNumberTaken(uint64 number);
    /// There is no object of this number: put it first.
    error DataStoreNumberUnknown(uint64 number);
    /// The object has no such version.
    error DataStoreVersionUnknown(uint64 number, uint32 version);
    /// The record must carry the version `expected`.
    error DataStoreVersionOutOfOrder(uint64 number, uint32 version, uint32 expected);
    /// A field has a value that is not allowed; `field` is its name in ASCII.
    error DataStoreFieldOutOfRange(bytes32 field);

    /// @notice Records the first version of a new object. An account of the owner.
    function put(Record calldata record) external;

    /// @notice As `put`; anybody with the owner's signature.
    function relayPut(Record calldata record, bytes calldata signature) external;

    /// @notice Records the next version of an object. An account of the owner.
    function update(Record calldata record) external;

    /// @notice As `update`; anybody with the owner's signature.
    function relayUpdate(Record calldata record, bytes calldata signature) external;

    /// @notice Names the access contract to ask; 0 while the owner is not active. Registry only.
    function setAccessControl(address accessControl) external;

    /// @notice The access contract that is asked, 0 while the owner is not active.
    function accessControl() external view returns (address);

    /// @notice The member whose contract this is.
    function owner() external view returns (uint32);

    /// @notice One version; reverts when there is none.
    function record(uint64 number, uint32 version) external view returns (RecordedVersion memory);

    /// @notice The newest version of an object, 0 when there is none.
    function latest(uint64 number) external view returns (uint32 version);

    /// @notice How many objects there are.
    function count() external view returns (uint256);

    /// @notice At most `limit` object numbers, newest object first, without the newest `skip`.
    function numbers(uint256 skip, uint256 limit) external view returns (uint64[] memory);
}
