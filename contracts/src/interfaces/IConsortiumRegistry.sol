// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Card, Member, Standing} from "../lib/Types.sol";

/// @title Who belongs to the consortium, with which keys and contracts.
/// @notice A `dcId` is assigned once, counting from 1, and never again. Neither are an account, a network key or an
/// encryption key: they stay taken after their member is removed.
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

    /// `initialize` was called by another than the system address.
    error RegistryNotSystem(address caller);
    /// `initialize` was called before.
    error RegistryAlreadyInitialised();
    /// Only the governance contract may call this.
    error RegistryNotGovernance(address caller);
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
    /// The account belongs or belonged to a member.
    error RegistryAccountTaken();
    /// The network key belongs or belonged to a member.
    error RegistryNetworkKeyTaken();
    /// The encryption key belongs or belonged to a member.
    error RegistryEncryptionKeyTaken();
    /// The standing proposed is the present one, or `None`, or the member was removed.
    error RegistryStandingUnchangeable();
    /// No active validator would be left.
    error RegistryLastValidator();

    /// @notice Admits the founders, all of them validators, as members 1, 2, … in order. Once, by the system address.
    function initialize(Card[] calldata founders) external;

    /// @notice Admits a participant and creates its contracts. Governance only.
    function admit(Card calldata card) external returns (uint32 dcId);

    /// @notice Suspends, reinstates or removes a member. Governance only.
    function setStanding(uint32 dcId, Standing status) external;

    /// @notice All members ever admitted, in the order of their `dcId`.
    function members() external view returns (Member[] memory);

    /// @notice One member; reverts when there is none.
    function member(uint32 dcId) external view returns (Member memory);

    /// @notice How many members were ever admitted; the highest `dcId`.
    function memberCount() external view returns (uint256);

    /// @notice The active member with this account, 0 when there is none.
    function dcIdOf(address account) external view returns (uint32);

    /// @notice The account of a member of any standing, 0 when there is none.
    function accountOf(uint32 dcId) external view returns (address);

    /// @notice An active member's access contract; 0 for every other, so that it can do nothing.
    function accessControlOf(uint32 dcId) external view returns (address);

    /// @notice The storage contract of a member of any standing, 0 when there is none.
    function dataStoreOf(uint32 dcId) external view returns (address);

    /// @notice Bit `d` is set when member `d` is active.
    function activeMembers() external view returns (uint256);

    /// @notice Why a card cannot be admitted, as the selector of an error of this interface; 0 when it can.
    function admissionProblem(Card calldata card) external view returns (bytes4);

    /// @notice Why a standing cannot be set, as the selector of an error of this interface; 0 when it can.
    function standingProblem(uint32 dcId, Standing status) external view returns (bytes4);
}
