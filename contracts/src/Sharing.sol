// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "./interfaces/IAccessControl.sol";
import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "./interfaces/IDataStore.sol";
import {ISharing} from "./interfaces/ISharing.sol";
import {Blob} from "./lib/Blob.sol";
import {Relayed} from "./lib/Relayed.sol";
import {Actions, Reason, Suite} from "./lib/Suite.sol";
import {TypedData} from "./lib/TypedData.sol";
import {
    Cell,
    Grant,
    KeyRelease,
    Opening,
    OpeningRecord,
    RecordedVersion,
    Refusal,
    Revocation,
    Subject,
    VisibilityChange
} from "./lib/Types.sol";

/// @notice See `ISharing`.
contract Sharing is ISharing {
    /// One slot: a member's standing with an object.
    struct Entry {
        uint8 state;
        uint40 expiresAt;
        uint32 maxOpenings;
        uint32 openings;
        uint32 keyEpoch;
        uint32 shareNonce;
        uint32 openNonce;
        uint32 refusalNonce;
    }

    /// One slot: the last change of an object's visibility.
    struct Override {
        int8 visibility;
        /// The versions up to this one; 0 when there was no change.
        uint32 upToVersion;
        uint32 nonce;
    }

    /// One slot.
    struct Opened_ {
        uint32 owner;
        uint64 number;
        uint32 version;
        uint32 dcId;
        uint40 openedAt;
        bool released;
        uint32 grantNonce;
    }

    uint8 private constant GRANTED = 1;
    uint8 private constant REVOKED = 2;
    uint256 private constant WRAPPED_KEY_MAX = 2560;
    uint256 private constant PUBLISHED_KEY_MAX = 256;
    IConsortiumRegistry private constant REGISTRY = IConsortiumRegistry(Suite.REGISTRY);

    /// By owner, number and member.
    mapping(uint256 key => Entry) private _entries;
    /// By owner, number and member: the deposited key, as a blob.
    mapping(uint256 key => address) private _deposits;
    /// By owner and number.
    mapping(uint256 key => Override) private _overrides;
    /// By owner, number and key epoch.
    mapping(uint256 key => bytes) private _publishedKeys;
    mapping(uint256 id => Opened_) private _openings;
    uint64 private _openingCount;

    /// @inheritdoc ISharing
    function share(Grant calldata g) external {
        _share(g, msg.sender);
    }

    /// @inheritdoc ISharing
    function relayShare(Grant calldata g, bytes calldata signature) external {
        _share(g, Relayed.actor(g.owner, TypedData.digest(g), signature));
    }

    /// @inheritdoc ISharing
    function revoke(Revocation calldata r) external {
        _revoke(r, msg.sender);
    }

    /// @inheritdoc ISharing
    function relayRevoke(Revocation calldata r, bytes calldata signature) external {
        _revoke(r, Relayed.actor(r.owner, TypedData.digest(r), signature));
    }

    /// @inheritdoc ISharing
    function setVisibility(VisibilityChange calldata c) external {
        _setVisibility(c, msg.sender);
    }

    /// @inheritdoc ISharing
    function relaySetVisibility(VisibilityChange calldata c, bytes calldata signature) external {
        _setVisibility(c, Relayed.actor(c.owner, TypedData.digest(c), signature));
    }

    /// @inheritdoc ISharing
    function open(Opening calldata o) external returns (uint64 openingId) {
        return _open(o, msg.sender);
    }

    /// @inheritdoc ISharing
    function relayOpen(Opening calldata o, bytes calldata signature) external returns (uint64 openingId) {
        return _open(o, Relayed.actor(o.dcId, TypedData.digest(o), signature));
    }

    /// @inheritdoc ISharing
    function recordRelease(KeyRelease calldata k) external {
        _recordRelease(k, msg.sender);
    }

    /// @inheritdoc ISharing
    function relayRecordRelease(KeyRelease calldata k, bytes calldata signature) external {
        _recordRelease(k, Relayed.actor(_openings[k.openingId].owner, TypedData.digest(k), signature));
    }

    /// @inheritdoc ISharing
    function recordRefusal(Refusal calldata r) external {
        _recordRefusal(r, msg.sender);
    }

    /// @inheritdoc ISharing
    function relayRecordRefusal(Refusal calldata r, bytes calldata signature) external {
        _recordRefusal(r, Relayed.actor(r.owner, TypedData.digest(r), signature));
    }

    /// @inheritdoc ISharing
    function canOpen(uint32 owner, uint64 number, uint32 version, uint32 dcId)
        external
        view
        returns (bool allowed, uint8 reason)
    {
        (reason,,) = _judge(owner, number, version, dcId, _entries[_key(owner, number, dcId)]);
        allowed = reason == Reason.NONE;
    }

    /// @inheritdoc ISharing
    function grant(uint32 owner, uint64 number, uint32 grantee) external view returns (Cell memory) {
        uint256 key = _key(owner, number, grantee);
        Entry memory entry = _entries[key];
        return Cell({
            state: entry.state,
            expiresAt: entry.expiresAt,
            maxOpenings: entry.maxOpenings,
            openings: entry.openings,
            keyEpoch: entry.keyEpoch,
            shareNonce: entry.shareNonce,
            openNonce: entry.openNonce,
            refusalNonce: entry.refusalNonce,
            wrappedKey: Blob.read(_deposits[key])
        });
    }

    /// @inheritdoc ISharing
    function visibility(uint32 owner, uint64 number, uint32 version) external view returns (int64) {
        _latest(owner, number);
        return _visibility(owner, IDataStore(REGISTRY.dataStoreOf(owner)).record(number, version));
    }

    /// @inheritdoc ISharing
    function visibilityNonce(uint32 owner, uint64 number) external view returns (uint32) {
        return _overrides[_key(owner, number, 0)].nonce;
    }

    /// @inheritdoc ISharing
    function publishedKey(uint32 owner, uint64 number, uint32 keyEpoch) external view returns (bytes memory) {
        return _publishedKeys[_key(owner, number, keyEpoch)];
    }

    /// @inheritdoc ISharing
    function openingRecord(uint64 openingId) external view returns (OpeningRecord memory) {
        Opened_ memory opening = _openings[openingId];
        if (opening.dcId == 0) revert SharingOpeningUnknown(openingId);
        return OpeningRecord({
            owner: opening.owner,
            number: opening.number,
            version: opening.version,
            dcId: opening.dcId,
            openedAt: opening.openedAt,
            released: opening.released,
            grantNonce: opening.grantNonce
        });
    }

    /// @inheritdoc ISharing
    function openingCount() external view returns (uint64) {
        return _openingCount;
    }

    function _share(Grant calldata g, address actor) private {
        _authorise(g.owner, actor, Actions.SHARE, Subject(g.owner, g.number, 0, g.grantee, 0));
        if (g.grantee == g.owner) revert SharingGranteeIsOwner(g.owner);
        if (REGISTRY.accessControlOf(g.grantee) == address(0)) revert SharingGranteeInactive(g.grantee);
        _latest(g.owner, g.number);
        if (g.expiresAt > Suite.UINT40_MAX || (g.expiresAt != 0 && g.expiresAt < block.timestamp)) {
            revert SharingFieldOutOfRange("expiresAt");
        }
        if (g.wrappedKey.length > WRAPPED_KEY_MAX) revert SharingFieldOutOfRange("wrappedKey");

        uint256 key = _key(g.owner, g.number, g.grantee);
        Entry memory entry = _entries[key];
        entry.shareNonce = _next(entry.shareNonce, g.nonce);
        entry.state = GRANTED;
        // Checked above.
        // forge-lint: disable-next-line(unsafe-typecast)
        entry.expiresAt = uint40(g.expiresAt);
        entry.maxOpenings = g.maxOpenings;
        entry.openings = 0;
        entry.keyEpoch = g.keyEpoch;
        _entries[key] = entry;
        bool deposited = g.wrappedKey.length != 0;
        _deposits[key] = deposited ? Blob.write(g.wrappedKey) : address(0);
        emit Shared(g.owner, g.number, g.grantee, g.expiresAt, g.maxOpenings, g.keyEpoch, deposited, actor);
    }

    function _revoke(Revocation calldata r, address actor) private {
        _authorise(r.owner, actor, Actions.REVOKE, Subject(r.owner, r.number, 0, r.grantee, 0));
        uint256 key = _key(r.owner, r.number, r.grantee);
        Entry storage entry = _entries[key];
        if (entry.state != GRANTED) revert SharingGrantMissing(r.owner, r.number, r.grantee);
        entry.shareNonce = _next(entry.shareNonce, r.nonce);
        entry.state = REVOKED;
        _deposits[key] = address(0);
        emit Revoked(r.owner, r.number, r.grantee, actor);
    }

    function _setVisibility(VisibilityChange calldata c, address actor) private {
        _authorise(c.owner, actor, Actions.VISIBILITY, Subject(c.owner, c.number, 0, 0, 0));
        if (c.visibility < -1 || c.visibility > 1) revert SharingFieldOutOfRange("visibility");
        bool publishes = c.publishedKey.length != 0;
        if (c.publishedKey.length > PUBLISHED_KEY_MAX || (publishes && c.visibility > 0)) {
            revert SharingFieldOutOfRange("publishedKey");
        }
        uint256 key = _key(c.owner, c.number, 0);
        uint32 upToVersion = _latest(c.owner, c.number);
        _overrides[key] = Override({
            // Checked above.
            // forge-lint: disable-next-line(unsafe-typecast)
            visibility: int8(c.visibility),
            upToVersion: upToVersion,
            nonce: _next(_overrides[key].nonce, c.nonce)
        });
        if (publishes) _publishedKeys[_key(c.owner, c.number, c.keyEpoch)] = c.publishedKey;
        emit VisibilityChanged(
            c.owner, c.number, c.visibility, upToVersion, c.keyEpoch, c.publishedKey, actor
        );
    }

    function _open(Opening calldata o, address actor) private returns (uint64 openingId) {
        _authorise(o.dcId, actor, Actions.OPEN, Subject(o.owner, o.number, o.version, o.owner, 0));
        Entry memory entry = _entries[_key(o.owner, o.number, o.dcId)];
        entry.openNonce = _next(entry.openNonce, o.nonce);
        (uint8 reason, bool byGrant, bytes32 root) = _judge(o.owner, o.number, o.version, o.dcId, entry);
        if (reason != Reason.NONE) {
            _entries[_key(o.owner, o.number, o.dcId)] = entry;
            emit Refused(o.owner, o.number, o.dcId, o.version, reason, 0);
            return 0;
        }
        if (byGrant) ++entry.openings;
        _entries[_key(o.owner, o.number, o.dcId)] = entry;
        openingId = ++_openingCount;
        _openings[openingId] = Opened_({
            owner: o.owner,
            number: o.number,
            version: o.version,
            dcId: o.dcId,
            openedAt: uint40(block.timestamp),
            released: false,
            grantNonce: entry.shareNonce
        });
        emit Opened(o.owner, o.number, o.dcId, o.version, root, openingId, actor);
    }

    function _recordRelease(KeyRelease calldata k, address actor) private {
        Opened_ memory opening = _openings[k.openingId];
        if (opening.dcId == 0) revert SharingOpeningUnknown(k.openingId);
        if (opening.released) revert SharingAlreadyReleased(k.openingId);
        Subject memory subject = Subject(opening.owner, opening.number, opening.version, opening.dcId, 0);
        _authorise(opening.owner, actor, Actions.RELEASE, subject);
        _openings[k.openingId].released = true;
        emit KeyReleased(opening.owner, opening.number, opening.dcId, opening.version, k.openingId);
    }

    function _recordRefusal(Refusal calldata r, address actor) private {
        _authorise(r.owner, actor, Actions.REFUSE, Subject(r.owner, r.number, r.version, r.dcId, 0));
        if (r.reason == Reason.NONE || r.reason > Reason.DECLINED) revert SharingFieldOutOfRange("reason");
        // Member 0 is the key of an object's visibility.
        if (r.dcId == 0) revert SharingFieldOutOfRange("dcId");
        Entry storage entry = _entries[_key(r.owner, r.number, r.dcId)];
        entry.refusalNonce = _next(entry.refusalNonce, r.nonce);
        emit Refused(r.owner, r.number, r.dcId, r.version, r.reason, r.owner);
    }

    /// Asks a member's access contract.
    function _authorise(uint32 dcId, address actor, bytes32 action, Subject memory subject) private view {
        address access = REGISTRY.accessControlOf(dcId);
        if (access == address(0)) revert SharingMemberInactive(dcId);
        if (!IAccessControl(access).isAuthorised(actor, action, subject)) {
            revert SharingNotAuthorised(dcId, actor);
        }
    }

    /// The rule of access: the reason against it, whether a grant (rather than ownership or visibility) permits it, and
    /// the version's root.
    function _judge(uint32 owner, uint64 number, uint32 version, uint32 dcId, Entry memory entry)
        private
        view
        returns (uint8 reason, bool byGrant, bytes32 root)
    {
        if (REGISTRY.accessControlOf(dcId) == address(0)) return (Reason.INACTIVE, false, 0);
        IDataStore store = IDataStore(REGISTRY.dataStoreOf(owner));
        uint32 latest = address(store) == address(0) ? 0 : store.latest(number);
        if (latest == 0) return (Reason.UNKNOWN_OBJECT, false, 0);
        if (version == 0 || version > latest) return (Reason.UNKNOWN_VERSION, false, 0);
        RecordedVersion memory record = store.record(number, version);
        if (dcId == owner) return (Reason.NONE, false, record.root);
        if (record.validUntil != 0 && block.timestamp > record.validUntil) {
            return (Reason.NO_LONGER_VALID, false, 0);
        }
        if (_visibility(owner, record) <= 0) return (Reason.NONE, false, record.root);
        reason = _judgeGrant(entry);
        if (reason == Reason.NONE) return (reason, true, record.root);
    }

    function _judgeGrant(Entry memory entry) private view returns (uint8) {
        if (entry.state == REVOKED) return Reason.REVOKED;
        if (entry.state != GRANTED) return Reason.NOT_GRANTED;
        if (entry.expiresAt != 0 && block.timestamp > entry.expiresAt) return Reason.EXPIRED;
        if (entry.maxOpenings != 0 && entry.openings >= entry.maxOpenings) return Reason.EXHAUSTED;
        return Reason.NONE;
    }

    /// A change covers the versions that existed when it was made: publishing one never exposes the next.
    function _visibility(uint32 owner, RecordedVersion memory record) private view returns (int64) {
        Override memory change = _overrides[_key(owner, record.number, 0)];
        return record.version <= change.upToVersion ? change.visibility : record.visibility;
    }

    /// The newest version of an object, which must exist.
    function _latest(uint32 owner, uint64 number) private view returns (uint32 latest) {
        address store = REGISTRY.dataStoreOf(owner);
        if (store != address(0)) latest = IDataStore(store).latest(number);
        if (latest == 0) revert SharingObjectUnknown(owner, number);
    }

    /// The nonce that follows `last`, which must be the one signed.
    function _next(uint32 last, uint32 signed) private pure returns (uint32) {
        if (signed != last + 1) revert SharingNonceOutOfOrder(signed, last + 1);
        return signed;
    }

    function _key(uint32 owner, uint64 number, uint32 third) private pure returns (uint256) {
        return (uint256(owner) << 96) | (uint256(number) << 32) | third;
    }
}
