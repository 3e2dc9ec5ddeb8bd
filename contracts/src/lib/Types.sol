// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// What a member's node does in consensus.
enum Role {
    None,
    Participant,
    Validator
}

/// A member's standing. Only an active member can act; a removed one is gone for good.
enum Standing {
    None,
    Active,
    Suspended,
    Removed
}

/// What an organisation publishes about itself.
struct Card {
    /// As people read it: 1 to 64 bytes of UTF-8 without control characters.
    string name;
    /// The cluster it belongs to, at least 1.
    uint32 cluster;
    /// Account (secp256k1, or an EIP-1271 contract) that signs for it.
    address account;
    /// ed25519 public key of its node.
    bytes32 networkKey;
    /// X-Wing public key, 1,216 bytes.
    bytes encryptionKey;
    /// `host:port` in the consensus network, 1 to 255 printable ASCII characters.
    string consensusEndpoint;
    /// Multiaddr in the swarm, 1 to 255 printable ASCII characters.
    string swarmEndpoint;
}

/// A card with the proof that its keys are the organisation's own.
struct SignedCard {
    Card card;
    /// Over the card by its account (EIP-712, see `Cards.digest`): 65 bytes `r ‖ s ‖ v`.
    bytes accountSignature;
    /// Over the same digest by its network key (ed25519): 64 bytes. Nodes check it; the virtual machine cannot.
    bytes networkSignature;
}

/// Whom an account acts for.
struct Authority {
    /// 0 for an account that is nobody's.
    uint32 dcId;
    /// A sum of `Roles`.
    uint32 roles;
    /// Unix seconds after which the account may do nothing; 0 never.
    uint40 until;
}

/// The object and the other member of an action. Fields that an action does not have are 0.
struct Subject {
    /// The owner of the object.
    uint32 owner;
    uint64 number;
    uint32 version;
    /// The other member: a grantee, or the one that asked for a key.
    uint32 counterpart;
    /// Why, as the owner and the other member agreed on.
    bytes32 purpose;
}

/// A member as the registry records it.
struct Member {
    uint32 dcId;
    Card card;
    Role role;
    Standing status;
    address dataStore;
    address accessControl;
}

/// One version of a data object. Also the EIP-712 type that its owner signs.
struct Record {
    /// Unique under the owner, at least 1, chosen by it.
    uint64 number;
    /// 1 for the first, each update adds one.
    uint32 version;
    /// SHA-256 of the object's root block in the swarm; it commits to ciphertext, encrypted manifest and wrapped key.
    bytes32 root;
    /// Keyed commitment to the plaintext.
    bytes32 commitment;
    /// −1 open to everyone, 0 to every member, 1 to the listed ones.
    int64 visibility;
    /// Epoch of the audience's key under which the data key is wrapped.
    uint32 keyEpoch;
    /// Padded size of the ciphertext in bytes, below 2^40.
    uint64 sizeClass;
    /// Unix seconds by the owner's clock, below 2^40.
    uint64 createdAt;
    /// Unix seconds after which the version is no longer effective, below 2^40; 0 for ever.
    uint64 validUntil;
}

/// One version as the contract keeps it: of the record what contracts ask for. The rest is in the version's event.
struct RecordedVersion {
    uint64 number;
    uint32 version;
    bytes32 root;
    int64 visibility;
    uint32 keyEpoch;
    uint64 validUntil;
}

/// The owner's permission for one member to open one object. Also an EIP-712 type.
struct Grant {
    uint32 owner;
    uint64 number;
    uint32 grantee;
    /// Unix seconds after which it permits nothing, below 2^40; 0 never.
    uint64 expiresAt;
    /// How many openings it permits; 0 any number.
    uint32 maxOpenings;
    /// Epoch of the audience's key that `wrappedKey` holds.
    uint32 keyEpoch;
    /// The audience's key wrapped to the grantee, deposited so that the owner may be offline; at most 2,560 bytes, may be empty.
    bytes wrappedKey;
    /// One more than the cell's `shareNonce`.
    uint32 nonce;
}

/// The owner takes a grant back. Also an EIP-712 type.
struct Revocation {
    uint32 owner;
    uint64 number;
    uint32 grantee;
    /// One more than the cell's `shareNonce`.
    uint32 nonce;
}

/// The owner changes who may open the versions recorded so far. Also an EIP-712 type.
struct VisibilityChange {
    uint32 owner;
    uint64 number;
    /// −1 open to everyone, 0 to every member, 1 to the listed ones.
    int64 visibility;
    /// Epoch of the audience's key in `publishedKey`.
    uint32 keyEpoch;
    /// For −1 the audience's key in the clear, for 0 a deposit of it that opens for every member's recorded opening; at most 256
    /// bytes, may be empty.
    bytes publishedKey;
    /// One more than the object's `visibilityNonce`.
    uint32 nonce;
}

/// A member asks to open one version. Also an EIP-712 type.
struct Opening {
    uint32 owner;
    uint64 number;
    uint32 version;
    /// Who asks.
    uint32 dcId;
    /// One more than the cell's `openNonce`.
    uint32 nonce;
}

/// The owner states that it handed the key to whoever made the opening. Also an EIP-712 type.
struct KeyRelease {
    uint64 openingId;
}

/// The owner states that it refused a request for a key. Also an EIP-712 type.
struct Refusal {
    uint32 owner;
    uint64 number;
    uint32 version;
    /// Who asked.
    uint32 dcId;
    /// A `Reason`, not 0.
    uint8 reason;
    /// One more than the cell's `refusalNonce`.
    uint32 nonce;
}

/// Where one member stands with one object.
struct Cell {
    /// 0 never granted, 1 granted, 2 revoked.
    uint8 state;
    uint64 expiresAt;
    uint32 maxOpenings;
    /// Openings made under the present grant.
    uint32 openings;
    uint32 keyEpoch;
    /// Last nonce of a grant or revocation by the owner.
    uint32 shareNonce;
    /// Last nonce of an opening by the member.
    uint32 openNonce;
    /// Last nonce of a refusal by the owner.
    uint32 refusalNonce;
    /// The deposited key, empty when there is none.
    bytes wrappedKey;
}

/// An opening that was permitted.
struct OpeningRecord {
    uint32 owner;
    uint64 number;
    uint32 version;
    uint32 dcId;
    /// Unix seconds.
    uint64 openedAt;
    /// Whether the owner recorded the release of the key.
    bool released;
    /// The cell's `shareNonce` at the opening: which grant it was made under.
    uint32 grantNonce;
}

/// The kinds of ballots. Beside each is the ABI-encoded content of `Ballot.action`.
enum BallotKind {
    None,
    /// Admits an organisation: `SignedCard`.
    Join,
    /// Suspends, reinstates or removes a member: `Standing`.
    Standing,
    /// Gives a member new keys: `SignedCard`.
    Reset,
    /// Gives a member a seat in consensus or takes it: `Role`.
    Seat,
    /// Changes a limit: `(Parameter, uint256)`.
    Parameter,
    /// Replaces the system contracts at a height: `(uint32 version, bytes32 digest, uint64 height)`; all 0 takes the pending
    /// upgrade back.
    Upgrade
}

/// A limit that ballots change.
enum Parameter {
    None,
    /// How long a ballot stays open, in seconds: 1 to 10 years.
    BallotSeconds,
    /// `Quota.bytesPerSecond`: 1,024 to 2^40, or 0 for no limit.
    MemberBytesPerSecond,
    /// `Quota.slotsPerSecond`: 16 to 2^40, or 0 for no limit.
    MemberSlotsPerSecond
}

/// The rate at which each member may make all nodes store something for good, 0 for no limit. Left unused, it adds up to a day's worth.
struct Quota {
    /// Of transactions, logs and code.
    uint64 bytesPerSecond;
    /// Storage slots that become other than zero, and new accounts.
    uint64 slotsPerSecond;
}

/// The level of a member's two buckets: use that time has not made up for.
struct Usage {
    uint64 storedBytes;
    uint64 newSlots;
    /// When these figures were true, in Unix seconds.
    uint64 time;
}

/// How far a ballot is. Expired is a ballot past its deadline without a majority.
enum BallotState {
    None,
    Open,
    Executed,
    Rejected,
    Expired
}

/// A ballot with its tally.
struct Ballot {
    uint64 id;
    BallotKind kind;
    BallotState state;
    /// The member that opened it.
    uint32 openedBy;
    /// The member it concerns; for a join the `dcId` assigned, 0 until executed; 0 where it concerns all.
    uint32 subject;
    /// Unix seconds.
    uint64 openedAt;
    /// Unix seconds; a vote later than this is refused.
    uint64 deadline;
    /// How many members may vote.
    uint32 electorate;
    uint32 inFavour;
    uint32 against;
    /// Bit `d` is set when member `d` has voted.
    uint256 voted;
    /// The action; see `BallotKind`.
    bytes action;
}
