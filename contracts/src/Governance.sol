// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {Blob} from "./lib/Blob.sol";
import {Suite} from "./lib/Suite.sol";
import {Ballot, BallotKind, BallotState, Card, Standing} from "./lib/Types.sol";

/// @notice See `IGovernance`.
contract Governance is IGovernance {
    struct Entry {
        BallotKind kind;
        /// Never `Expired`: that follows from the clock.
        BallotState state;
        Standing standing;
        uint32 openedBy;
        uint32 subject;
        uint40 openedAt;
        uint40 deadline;
        /// Members fit in 255 (see `Suite.MEMBERS_MAX`).
        uint8 electorate;
        uint8 inFavour;
        uint8 against;
        /// Bit `d`: member `d` may vote.
        uint256 electors;
        /// Bit `d`: member `d` has voted.
        uint256 voted;
        /// The ABI encoding of the applicant's card, as a blob.
        address card;
    }

    IConsortiumRegistry private constant REGISTRY = IConsortiumRegistry(Suite.REGISTRY);
    uint64 private constant BALLOT_SECONDS_MAX = 3650 days;
    /// Ballots that one member may have open at a time.
    uint256 private constant OPEN_MAX = 8;

    uint64 private _ballotSeconds;
    uint64 private _count;
    mapping(uint256 id => Entry) private _ballots;
    /// By member: the last ballots that it opened, in no order; 0 where there were fewer.
    mapping(uint256 dcId => uint64[OPEN_MAX]) private _opened;

    /// @inheritdoc IGovernance
    function initialize(uint64 ballotSeconds_) external {
        if (msg.sender != Suite.SYSTEM) revert GovernanceNotSystem(msg.sender);
        if (_ballotSeconds != 0) revert GovernanceAlreadyInitialised();
        if (ballotSeconds_ == 0 || ballotSeconds_ > BALLOT_SECONDS_MAX) {
            revert GovernancePeriodOutOfRange(ballotSeconds_);
        }
        _ballotSeconds = ballotSeconds_;
    }

    /// @inheritdoc IGovernance
    function openJoin(Card calldata card) external returns (uint64 id) {
        uint32 openedBy = _caller();
        _raise(REGISTRY.admissionProblem(card), 0);
        id = _count + 1;
        _ballots[id].card = Blob.write(abi.encode(card));
        _open(id, BallotKind.Join, openedBy, 0);
    }

    /// @inheritdoc IGovernance
    function openStanding(uint32 dcId, Standing status) external returns (uint64 id) {
        uint32 openedBy = _caller();
        _raise(REGISTRY.standingProblem(dcId, status), dcId);
        id = _count + 1;
        _ballots[id].standing = status;
        _open(id, BallotKind.Standing, openedBy, dcId);
    }

    /// @inheritdoc IGovernance
    function vote(uint64 id, bool support) external {
        uint32 dcId = _caller();
        Entry storage entry = _ballots[id];
        if (entry.state == BallotState.None) revert GovernanceBallotUnknown(id);
        if (!_isOpen(entry)) revert GovernanceBallotClosed(id);
        if ((entry.electors >> dcId) & 1 == 0) revert GovernanceNotElector(id, dcId);
        if ((entry.voted >> dcId) & 1 == 1) revert GovernanceAlreadyVoted(id, dcId);
        entry.voted |= uint256(1) << dcId;
        if (support) ++entry.inFavour;
        else ++entry.against;
        emit VoteCast(id, dcId, support, entry.inFavour, entry.against);

        uint256 electorate = entry.electorate;
        if (uint256(entry.inFavour) * 2 > electorate) {
            _execute(id, entry);
        } else if (uint256(entry.against) * 2 >= electorate) {
            // A majority in favour is out of reach.
            _reject(id, entry, 0);
        }
    }

    /// @inheritdoc IGovernance
    function ballot(uint64 id) public view returns (Ballot memory) {
        Entry storage entry = _ballots[id];
        if (entry.state == BallotState.None) revert GovernanceBallotUnknown(id);
        bool expired = entry.state == BallotState.Open && !_isOpen(entry);
        Card memory card;
        if (entry.card != address(0)) card = abi.decode(Blob.read(entry.card), (Card));
        return Ballot({
            id: id,
            kind: entry.kind,
            state: expired ? BallotState.Expired : entry.state,
            openedBy: entry.openedBy,
            subject: entry.subject,
            standing: entry.standing,
            openedAt: entry.openedAt,
            deadline: entry.deadline,
            electorate: entry.electorate,
            inFavour: entry.inFavour,
            against: entry.against,
            voted: entry.voted,
            card: card
        });
    }

    /// @inheritdoc IGovernance
    function ballots(uint64 offset, uint64 limit) external view returns (Ballot[] memory found) {
        uint64 left = offset < _count ? _count - offset : 0;
        found = new Ballot[](limit < left ? limit : left);
        for (uint64 i; i < found.length; ++i) {
            found[i] = ballot(left - i);
        }
    }

    /// @inheritdoc IGovernance
    function ballotCount() external view returns (uint64) {
        return _count;
    }

    /// @inheritdoc IGovernance
    function ballotSeconds() external view returns (uint64) {
        return _ballotSeconds;
    }

    function _open(uint64 id, BallotKind kind, uint32 openedBy, uint32 subject) private {
        _opened[openedBy][_place(openedBy)] = id;
        uint256 electors = REGISTRY.activeMembers();
        Entry storage entry = _ballots[id];
        _count = id;
        entry.kind = kind;
        entry.state = BallotState.Open;
        entry.openedBy = openedBy;
        entry.subject = subject;
        // Seconds since 1970 plus ten years fit in 40 bits for 34,000 years.
        // forge-lint: disable-start(unsafe-typecast)
        entry.openedAt = uint40(block.timestamp);
        entry.deadline = uint40(block.timestamp + _ballotSeconds);
        // forge-lint: disable-end(unsafe-typecast)
        entry.electors = electors;
        entry.electorate = _populationCount(electors);
        emit BallotOpened(id, kind, openedBy, subject, entry.electorate, entry.deadline);
    }

    /// Where the next ballot of a member is noted: in the place of one that is no longer open.
    function _place(uint32 dcId) private view returns (uint256 place) {
        uint64[OPEN_MAX] memory opened = _opened[dcId];
        while (opened[place] != 0 && _isOpen(_ballots[opened[place]])) {
            if (++place == OPEN_MAX) revert GovernanceTooManyOpen(dcId, OPEN_MAX);
        }
    }

    function _isOpen(Entry storage entry) private view returns (bool) {
        return entry.state == BallotState.Open && block.timestamp <= entry.deadline;
    }

    /// Does what the ballot says, unless something came up since it opened. No try/catch: whoever casts the deciding
    /// vote could starve the call of gas and so turn a won ballot into a lost one.
    function _execute(uint64 id, Entry storage entry) private {
        if (entry.kind == BallotKind.Join) {
            Card memory card = abi.decode(Blob.read(entry.card), (Card));
            bytes4 problem = REGISTRY.admissionProblem(card);
            if (problem != 0) return _reject(id, entry, problem);
            entry.state = BallotState.Executed;
            entry.subject = REGISTRY.admit(card);
        } else {
            bytes4 problem = REGISTRY.standingProblem(entry.subject, entry.standing);
            if (problem != 0) return _reject(id, entry, problem);
            entry.state = BallotState.Executed;
            REGISTRY.setStanding(entry.subject, entry.standing);
        }
        emit BallotExecuted(id, entry.subject);
    }

    function _reject(uint64 id, Entry storage entry, bytes4 problem) private {
        entry.state = BallotState.Rejected;
        emit BallotRejected(id, problem);
    }

    /// The active member that calls.
    function _caller() private view returns (uint32 dcId) {
        dcId = REGISTRY.dcIdOf(msg.sender);
        if (dcId == 0) revert GovernanceNotMember(msg.sender);
    }

    /// Reverts with the registry's error that a problem's selector names.
    function _raise(bytes4 problem, uint32 dcId) private pure {
        if (problem == 0) return;
        if (problem == IConsortiumRegistry.RegistryMemberUnknown.selector) {
            revert IConsortiumRegistry.RegistryMemberUnknown(dcId);
        }
        assembly ("memory-safe") {
            mstore(0, problem)
            revert(0, 4)
        }
    }

    function _populationCount(uint256 bits) private pure returns (uint8 ones) {
        for (; bits != 0; bits &= bits - 1) {
            ++ones;
        }
    }
}
