// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IUpgrades} from "./IUpgrades.sol";
import {Ballot, BallotKind, Parameter, Quota, Role, SignedCard, Standing, Usage} from "../lib/Types.sol";

/// @title Ballots of the members: one vote each, more than half of the electorate decides, the outcome executes itself.
/// @notice The electorate is fixed when a ballot opens. A ballot that fails or expires changes nothing and can be
/// opened again. The member that opens a ballot does not thereby vote, and has at most eight open at a time.
interface IGovernance is IUpgrades {
    /// A ballot opened.
    event BallotOpened(
        uint64 indexed id,
        BallotKind kind,
        uint32 indexed openedBy,
        uint32 subject,
        uint32 electorate,
        uint64 deadline
    );
    /// A member voted; the tally includes the vote.
    event VoteCast(uint64 indexed id, uint32 indexed dcId, bool support, uint32 inFavour, uint32 against);
    /// More than half were in favour and it was done. `subject` is the member concerned.
    event BallotExecuted(uint64 indexed id, uint32 indexed subject);
    /// It can no longer be done: half or more are against, or `problem` (an error's selector) stands in the way.
    event BallotRejected(uint64 indexed id, bytes4 problem);

    /// `initialize` was called before.
    error GovernanceAlreadyInitialised();
    /// There is no such limit.
    error GovernanceParameterUnknown();
    /// The limit cannot have this value; see `Parameter`.
    error GovernanceParameterOutOfRange();
    /// The member has as many ballots open as it may.
    error GovernanceTooManyOpen(uint32 dcId, uint256 limit);
    /// There is no such ballot.
    error GovernanceBallotUnknown(uint64 id);
    /// The ballot was executed, was rejected or has expired.
    error GovernanceBallotClosed(uint64 id);
    /// The member was not active when the ballot opened.
    error GovernanceNotElector(uint64 id, uint32 dcId);
    /// The member has voted already.
    error GovernanceAlreadyVoted(uint64 id, uint32 dcId);

    /// @notice Sets the version of the suite that the network begins with, how long ballots stay open, in seconds, and the members'
    /// quota. Once, by the system address.
    function initialize(uint32 version, uint64 ballotSeconds, Quota calldata quota) external;

    /// @notice Opens a ballot on admitting an organisation. Any active member.
    function openJoin(SignedCard calldata card) external returns (uint64 id);

    /// @notice Opens a ballot on suspending, reinstating or removing a member. Any active member.
    function openStanding(uint32 dcId, Standing status) external returns (uint64 id);

    /// @notice Opens a ballot on new keys for a member that lost its own, or whose keys leaked. Any active member.
    function openReset(uint32 dcId, SignedCard calldata card) external returns (uint64 id);

    /// @notice Opens a ballot on whether a member validates blocks; with its next committee, in the fourth epoch after. Any active member.
    function openSeat(uint32 dcId, Role role) external returns (uint64 id);

    /// @notice Opens a ballot on a limit. Any active member.
    function openParameter(Parameter parameter, uint256 value) external returns (uint64 id);

    /// @notice Opens a ballot on replacing the system contracts at a height, or, with all 0, on taking back the pending upgrade. Any
    /// active member, once a quorum of the validators has announced the suite.
    function openUpgrade(uint32 version, bytes32 digest, uint64 height) external returns (uint64 id);

    /// @notice Votes. The deciding vote executes the ballot in the same transaction. Any member of the electorate, once.
    function vote(uint64 id, bool support) external;

    /// @notice One ballot with its tally; reverts when there is none.
    function ballot(uint64 id) external view returns (Ballot memory);

    /// @notice At most `limit` ballots, newest first, after leaving out `offset`.
    function ballots(uint64 offset, uint64 limit) external view returns (Ballot[] memory);

    /// @notice How many ballots were ever opened; the highest id.
    function ballotCount() external view returns (uint64);

    /// @notice How long a ballot stays open, in seconds.
    function ballotSeconds() external view returns (uint64);

    /// @notice What each member may make all nodes store.
    function quota() external view returns (Quota memory);

    /// @notice What a member had made all nodes store when it last sent something. The ledger takes no more transactions of a member that
    /// has used up a day's worth of its quota, until time makes up for it.
    function usageOf(uint32 dcId) external view returns (Usage memory);

    /// @notice Why a limit cannot have a value, as the selector of an error of this interface; 0 when it can.
    function parameterProblem(Parameter parameter, uint256 value) external pure returns (bytes4);
}
