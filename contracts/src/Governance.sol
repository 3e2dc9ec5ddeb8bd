// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Upgrades} from "./Upgrades.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {Blob} from "./lib/Blob.sol";
import {Problem} from "./lib/Problem.sol";
import {Roles} from "./lib/Suite.sol";
import {
    Authority,
    Ballot,
    BallotKind,
    BallotState,
    Parameter,
    Quota,
    Role,
    SignedCard,
    Standing,
    Usage
} from "./lib/Types.sol";

/// @notice See `IGovernance`.
contract Governance is Upgrades, IGovernance {
    struct Entry {
        BallotKind kind;
        /// Never `Expired`: that follows from the clock.
        BallotState state;
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
        /// `Ballot.action`, as a blob.
        address action;
    }

    uint64 private constant BALLOT_SECONDS_MAX = 3650 days;
    /// With less, a day's worth would not carry the transactions that decide about more.
    uint256 private constant BYTES_PER_SECOND_MIN = 1024;
    uint256 private constant SLOTS_PER_SECOND_MIN = 16;
    uint256 private constant RATE_MAX = 1 << 40;
    /// Ballots that one member may have open at a time.
    uint256 private constant OPEN_MAX = 8;

    uint64 private _ballotSeconds;
    uint64 private _count;
    mapping(uint256 id => Entry) private _ballots;
    /// By member: the last ballots that it opened, in no order; 0 where there were fewer.
    mapping(uint256 dcId => uint64[OPEN_MAX]) private _opened;
    /// Slot 6. The ledger reads it, and slot 7, without running code.
    Quota private _quota;
    /// Slot 7. Written by the ledger alone, at the end of each block.
    mapping(uint256 dcId => Usage) private _usage;

    /// @inheritdoc IGovernance
    function initialize(uint32 version, uint64 ballotSeconds_, Quota calldata quota_) external onlySystem {
        if (_ballotSeconds != 0) revert GovernanceAlreadyInitialised();
        _set(Parameter.BallotSeconds, ballotSeconds_);
        _set(Parameter.MemberBytesPerSecond, quota_.bytesPerSecond);
        _set(Parameter.MemberSlotsPerSecond, quota_.slotsPerSecond);
        _beginWith(version);
    }

    /// @inheritdoc IGovernance
    function openJoin(SignedCard calldata card) external returns (uint64) {
        return _open(BallotKind.Join, 0, abi.encode(card));
    }

    /// @inheritdoc IGovernance
    function openStanding(uint32 dcId, Standing status) external returns (uint64) {
        return _open(BallotKind.Standing, dcId, abi.encode(status));
    }

    /// @inheritdoc IGovernance
    function openReset(uint32 dcId, SignedCard calldata card) external returns (uint64) {
        return _open(BallotKind.Reset, dcId, abi.encode(card));
    }

    /// @inheritdoc IGovernance
    function openSeat(uint32 dcId, Role role) external returns (uint64) {
        return _open(BallotKind.Seat, dcId, abi.encode(role));
    }

    /// @inheritdoc IGovernance
    function openParameter(Parameter parameter, uint256 value) external returns (uint64) {
        return _open(BallotKind.Parameter, 0, abi.encode(parameter, value));
    }

    /// @inheritdoc IGovernance
    function openUpgrade(uint32 version, bytes32 digest, uint64 height) external returns (uint64) {
        return _open(BallotKind.Upgrade, 0, abi.encode(version, digest, height));
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
        return Ballot({
            id: id,
            kind: entry.kind,
            state: expired ? BallotState.Expired : entry.state,
            openedBy: entry.openedBy,
            subject: entry.subject,
            openedAt: entry.openedAt,
            deadline: entry.deadline,
            electorate: entry.electorate,
            inFavour: entry.inFavour,
            against: entry.against,
            voted: entry.voted,
            action: Blob.read(entry.action)
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

    /// @inheritdoc IGovernance
    function quota() external view returns (Quota memory) {
        return _quota;
    }

    /// @inheritdoc IGovernance
    function usageOf(uint32 dcId) external view returns (Usage memory) {
        return _usage[dcId];
    }

    /// @inheritdoc IGovernance
    function parameterProblem(Parameter parameter, uint256 value) public pure returns (bytes4) {
        if (parameter == Parameter.None) return GovernanceParameterUnknown.selector;
        bool fits;
        if (parameter == Parameter.BallotSeconds) {
            fits = value != 0 && value <= BALLOT_SECONDS_MAX;
        } else {
            uint256 least =
                parameter == Parameter.MemberBytesPerSecond ? BYTES_PER_SECOND_MIN : SLOTS_PER_SECOND_MIN;
            fits = value == 0 || (value >= least && value <= RATE_MAX);
        }
        return fits ? bytes4(0) : GovernanceParameterOutOfRange.selector;
    }

    function _open(BallotKind kind, uint32 subject, bytes memory action) private returns (uint64 id) {
        uint32 openedBy = _caller();
        Problem.raise(_problem(kind, subject, action), subject);
        id = _count + 1;
        _opened[openedBy][_place(openedBy)] = id;
        _ballots[id].action = Blob.write(action);
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
        bytes memory action = Blob.read(entry.action);
        bytes4 problem = _problem(entry.kind, entry.subject, action);
        if (problem != 0) return _reject(id, entry, problem);
        entry.state = BallotState.Executed;
        if (entry.kind == BallotKind.Join) entry.subject = REGISTRY.admit(abi.decode(action, (SignedCard)));
        else _carryOut(entry.kind, entry.subject, action);
        emit BallotExecuted(id, entry.subject);
    }

    function _carryOut(BallotKind kind, uint32 subject, bytes memory action) private {
        if (kind == BallotKind.Standing) {
            REGISTRY.setStanding(subject, abi.decode(action, (Standing)));
        } else if (kind == BallotKind.Reset) {
            REGISTRY.resetKeys(subject, abi.decode(action, (SignedCard)));
        } else if (kind == BallotKind.Seat) {
            REGISTRY.setRole(subject, abi.decode(action, (Role)));
        } else if (kind == BallotKind.Parameter) {
            (Parameter parameter, uint256 value) = abi.decode(action, (Parameter, uint256));
            _set(parameter, value);
        } else {
            (uint32 version, bytes32 digest, uint64 height) = abi.decode(action, (uint32, bytes32, uint64));
            _schedule(version, digest, height);
        }
    }

    function _set(Parameter parameter, uint256 value) private {
        Problem.raise(parameterProblem(parameter, value));
        // Just checked.
        // forge-lint: disable-next-line(unsafe-typecast)
        uint64 value_ = uint64(value);
        if (parameter == Parameter.BallotSeconds) _ballotSeconds = value_;
        else if (parameter == Parameter.MemberBytesPerSecond) _quota.bytesPerSecond = value_;
        else _quota.slotsPerSecond = value_;
    }

    /// The selector of the error that stands in the way of an action, 0 when nothing does.
    function _problem(BallotKind kind, uint32 subject, bytes memory action) private view returns (bytes4) {
        if (kind == BallotKind.Join) return REGISTRY.admissionProblem(abi.decode(action, (SignedCard)));
        if (kind == BallotKind.Standing) {
            return REGISTRY.standingProblem(subject, abi.decode(action, (Standing)));
        }
        if (kind == BallotKind.Reset) {
            return REGISTRY.resetProblem(subject, abi.decode(action, (SignedCard)));
        }
        if (kind == BallotKind.Seat) return REGISTRY.seatProblem(subject, abi.decode(action, (Role)));
        if (kind == BallotKind.Parameter) {
            (Parameter parameter, uint256 value) = abi.decode(action, (Parameter, uint256));
            return parameterProblem(parameter, value);
        }
        (uint32 version, bytes32 digest, uint64 height) = abi.decode(action, (uint32, bytes32, uint64));
        return upgradeProblem(version, digest, height);
    }

    function _reject(uint64 id, Entry storage entry, bytes4 problem) private {
        entry.state = BallotState.Rejected;
        emit BallotRejected(id, problem);
    }

    function _caller() internal view override returns (uint32) {
        Authority memory authority = REGISTRY.authorityOf(msg.sender);
        if (authority.roles & Roles.OWNER == 0) revert GovernanceNotMember(msg.sender);
        return authority.dcId;
    }
}
