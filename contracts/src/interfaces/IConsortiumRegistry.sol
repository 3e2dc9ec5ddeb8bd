// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Authority, Card, Member, Role, SignedCard, Standing} from "../lib/Types.sol";

/// @title Who belongs to the consortium, with which keys and contracts.
/// @notice A `dcId` is assigned once, counting from 1, and never again. Neither are an account, a network key or an
/// encryption key: they stay taken after their member is removed or got others.
/// A committee of consensus is drawn from the active validators at the end of the fourth epoch before its own,
/// provided that the resharing of the group key to it succeeds.
interface IConsortiumRegistry {
    /// A member was admitted and its two contracts created.
    event MemberAdmitted(
        uint32 indexed dcId,
        address indexed account,
        bytes32 networkKey,
        address dataStore,
        address accessControl
    );
    /// A member's standing changed.
    event MemberStandingChanged(uint32 indexed dcId, Standing status);
    /// A member got or lost its place among the validators.
    event MemberRoleChanged(uint32 indexed dcId, Role role);
    /// A member got new keys; the old ones may do nothing from the next block on.
    event MemberKeysReset(uint32 indexed dcId, address indexed account, bytes32 networkKey);
    /// A member moved to other endpoints.
    event MemberEndpointsChanged(uint32 indexed dcId, string consensusEndpoint, string swarmEndpoint);

    /// Only the system address may call this.
    error RegistryNotSystem(address caller);
    /// This was set before.
    error RegistryAlreadyInitialised();
    /// An epoch has at least one block.
    error RegistryEpochEmpty();
    /// Only the governance contract may call this.
    error RegistryNotGovernance(address caller);
    /// The caller is not the account of an active member.
    error RegistryNotMember(address caller);
    /// There is no member with this `dcId`.
    error RegistryMemberUnknown(uint32 dcId);
    /// All 255 identifiers are assigned.
    error RegistryFull();
    /// The card's name is not 1 to 64 bytes of UTF-8 without control characters.
    error RegistryNameMalformed();
    /// The card's cluster is 0.
    error RegistryClusterMissing();
    /// The card's account or network key is 0.
    error RegistryKeyMissing();
    /// The card's encryption key is not 1,216 bytes.
    error RegistryEncryptionKeyMalformed();
    /// An endpoint is not 1 to 255 printable ASCII characters.
    error RegistryEndpointMalformed();
    /// The card is not signed by its own account.
    error RegistryCardNotSigned();
    /// The account belongs or belonged to a member.
    error RegistryAccountTaken();
    /// The network key belongs or belonged to a member.
    error RegistryNetworkKeyTaken();
    /// The encryption key belongs or belonged to a member.
    error RegistryEncryptionKeyTaken();
    /// The standing proposed is the present one, or `None`, or the member was removed.
    error RegistryStandingUnchangeable();
    /// The role proposed is the present one, or `None`, or the member was removed.
    error RegistryRoleUnchangeable();
    /// No active validator would be left.
    error RegistryLastValidator();
    /// Too many seats of a committee in force would belong to keys that were reset: wait until the next committees have formed.
    error RegistryCommitteeWithoutQuorum();

    /// @notice Admits the founders, all of them validators, as members 1, 2, … in order, and sets how many blocks an epoch has.
    /// Once, by the system address.
    function initialize(Card[] calldata founders, uint64 epochBlocks) external;

    /// @notice Sets the hash of the genesis block. Once, by the system address, in block 1.
    function setGenesisHash(bytes32 hash) external;

    /// @notice Admits a participant and creates its contracts. Governance only.
    function admit(SignedCard calldata card) external returns (uint32 dcId);

    /// @notice Suspends, reinstates or removes a member. Governance only.
    function setStanding(uint32 dcId, Standing status) external;

    /// @notice Gives a member a place among the validators or takes it. Governance only.
    function setRole(uint32 dcId, Role role) external;

    /// @notice Replaces a member's card, and so its keys. Governance only.
    function resetKeys(uint32 dcId, SignedCard calldata card) external;

    /// @notice Changes where the caller's node is reached. The account of an active member.
    function setEndpoints(string calldata consensusEndpoint, string calldata swarmEndpoint) external;

    /// @notice All members ever admitted, in the order of their `dcId`.
    function members() external view returns (Member[] memory);

    /// @notice One member; reverts when there is none.
    function member(uint32 dcId) external view returns (Member memory);

    /// @notice How many members were ever admitted; the highest `dcId`.
    function memberCount() external view returns (uint256);

    /// @notice Whom an account acts for; all 0 when its member is not active, its time is over, or it is nobody's.
    function authorityOf(address account) external view returns (Authority memory);

    /// @notice The active member that an account acts for, 0 when there is none.
    function dcIdOf(address account) external view returns (uint32);

    /// @notice The account of a member of any standing, 0 when there is none.
    function accountOf(uint32 dcId) external view returns (address);

    /// @notice An active member's access contract; 0 for every other, so that it can do nothing.
    function accessControlOf(uint32 dcId) external view returns (address);

    /// @notice The storage contract of a member of any standing, 0 when there is none.
    function dataStoreOf(uint32 dcId) external view returns (address);

    /// @notice All network keys that a member ever had, the present one last: manifests of earlier versions are signed with earlier ones.
    function networkKeysOf(uint32 dcId) external view returns (bytes32[] memory);

    /// @notice Bit `d` is set when member `d` is active.
    function activeMembers() external view returns (uint256);

    /// @notice Bit `d` is set when member `d` is active and a validator.
    function activeValidators() external view returns (uint256);

    /// @notice Hash of the genesis block; 0 in the genesis block itself.
    function genesisHash() external view returns (bytes32);

    /// @notice Bit `d` is set when member `d` has a seat in an epoch's committee, as far as that is fixed.
    function committee(uint64 epoch) external view returns (uint256);

    /// @notice Why a card cannot be admitted, as the selector of an error of this interface; 0 when it can.
    function admissionProblem(SignedCard calldata card) external view returns (bytes4);

    /// @notice Why a standing cannot be set, as the selector of an error of this interface; 0 when it can.
    function standingProblem(uint32 dcId, Standing status) external view returns (bytes4);

    /// @notice Why a role cannot be set, as the selector of an error of this interface; 0 when it can.
    function seatProblem(uint32 dcId, Role role) external view returns (bytes4);

    /// @notice Why a member's keys cannot be replaced, as the selector of an error of this interface; 0 when they can.
    function resetProblem(uint32 dcId, SignedCard calldata card) external view returns (bytes4);
}
