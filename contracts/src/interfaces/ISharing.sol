// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {
    Cell,
    Grant,
    KeyRelease,
    Opening,
    OpeningRecord,
    Refusal,
    Revocation,
    VisibilityChange
} from "../lib/Types.sol";

/// @title Who may open which object, and everything that was asked, permitted, refused, opened and released.
/// @notice Every change has two forms: sent by an account of the member that acts, or signed by one (EIP-712) and sent by anybody.
/// In both that member's access contract is asked whether the account may. Each nonce counts once.
interface ISharing {
    /// The owner shared an object; `deposited` says whether a wrapped key came with it.
    event Shared(
        uint32 indexed owner,
        uint64 indexed number,
        uint32 indexed grantee,
        uint64 expiresAt,
        uint32 maxOpenings,
        uint32 keyEpoch,
        bool deposited,
        address actor
    );
    /// The owner took a grant back. What was opened stays opened.
    event Revoked(uint32 indexed owner, uint64 indexed number, uint32 indexed grantee, address actor);
    /// The owner changed who may open versions 1 to `upToVersion`.
    event VisibilityChanged(
        uint32 indexed owner,
        uint64 indexed number,
        int64 visibility,
        uint32 upToVersion,
        uint32 keyEpoch,
        bytes publishedKey,
        address actor
    );
    /// A member opened a version.
    event Opened(
        uint32 indexed owner,
        uint64 indexed number,
        uint32 indexed dcId,
        uint32 version,
        bytes32 root,
        uint64 openingId,
        address actor
    );
    /// A request was refused: by this contract (`refusedBy` 0) or by the owner. `reason` is a `Reason`.
    event Refused(
        uint32 indexed owner,
        uint64 indexed number,
        uint32 indexed dcId,
        uint32 version,
        uint8 reason,
        uint32 refusedBy
    );
    /// The owner handed the key to the member that made the opening.
    event KeyReleased(
        uint32 indexed owner, uint64 indexed number, uint32 indexed dcId, uint32 version, uint64 openingId
    );

    /// The member that is to act is not active, or there is none.
    error SharingMemberInactive(uint32 dcId);
    /// The account may not do this for `dcId`; 0 where a signature is nobody's.
    error SharingNotAuthorised(uint32 dcId, address actor);
    /// The nonce was used or is ahead: it must be `expected`.
    error SharingNonceOutOfOrder(uint32 nonce, uint32 expected);
    /// The owner has no such object.
    error SharingObjectUnknown(uint32 owner, uint64 number);
    /// The grantee is not an active member.
    error SharingGranteeInactive(uint32 grantee);
    /// The owner needs no grant.
    error SharingGranteeIsOwner(uint32 owner);
    /// There is no grant to take back.
    error SharingGrantMissing(uint32 owner, uint64 number, uint32 grantee);
    /// There is no such opening.
    error SharingOpeningUnknown(uint64 openingId);
    /// The release of this opening's key is recorded.
    error SharingAlreadyReleased(uint64 openingId);
    /// A field has a value that is not allowed; `field` is its name in ASCII.
    error SharingFieldOutOfRange(bytes32 field);

    /// @notice Permits a member to open an object; replaces an earlier grant. An account of the owner.
    function share(Grant calldata grant) external;

    /// @notice As `share`; anybody with the owner's signature.
    function relayShare(Grant calldata grant, bytes calldata signature) external;

    /// @notice Takes a grant back, at once. An account of the owner.
    function revoke(Revocation calldata revocation) external;

    /// @notice As `revoke`; anybody with the owner's signature.
    function relayRevoke(Revocation calldata revocation, bytes calldata signature) external;

    /// @notice Changes who may open the versions recorded so far; later versions bring their own visibility. An account of the owner.
    function setVisibility(VisibilityChange calldata change) external;

    /// @notice As `setVisibility`; anybody with the owner's signature.
    function relaySetVisibility(VisibilityChange calldata change, bytes calldata signature) external;

    /// @notice Asks to open a version: `Opened` or `Refused` is recorded. An account of the member that asks.
    /// @return openingId Of the opening, 0 when it was refused.
    function open(Opening calldata opening) external returns (uint64 openingId);

    /// @notice As `open`; anybody with the member's signature.
    function relayOpen(Opening calldata opening, bytes calldata signature) external returns (uint64 openingId);

    /// @notice Records that the key of an opening was handed over. An account of the owner, once per opening.
    function recordRelease(KeyRelease calldata release) external;

    /// @notice As `recordRelease`; anybody with the owner's signature.
    function relayRecordRelease(KeyRelease calldata release, bytes calldata signature) external;

    /// @notice Records that the owner refused a request for a key. An account of the owner.
    function recordRefusal(Refusal calldata refusal) external;

    /// @notice As `recordRefusal`; anybody with the owner's signature.
    function relayRecordRefusal(Refusal calldata refusal, bytes calldata signature) external;

    /// @notice Whether a member may open a version at this moment, and if not, why (a `Reason`).
    function canOpen(uint32 owner, uint64 number, uint32 version, uint32 dcId)
        external
        view
        returns (bool allowed, uint8 reason);

    /// @notice Where a member stands with an object; all 0 when they never had to do with each other.
    function grant(uint32 owner, uint64 number, uint32 grantee) external view returns (Cell memory);

    /// @notice The visibility in force of a version; reverts when there is no such version.
    function visibility(uint32 owner, uint64 number, uint32 version) external view returns (int64);

    /// @notice Last nonce of a visibility change of an object.
    function visibilityNonce(uint32 owner, uint64 number) external view returns (uint32);

    /// @notice The audience's key that the owner published for an epoch, empty when none.
    function publishedKey(uint32 owner, uint64 number, uint32 keyEpoch) external view returns (bytes memory);

    /// @notice One opening; reverts when there is none.
    function openingRecord(uint64 openingId) external view returns (OpeningRecord memory);

    /// @notice How many openings were permitted; the highest id.
    function openingCount() external view returns (uint64);
}
