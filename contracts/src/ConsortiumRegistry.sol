// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "./interfaces/IDataStore.sol";
import {Blob} from "./lib/Blob.sol";
import {Cards} from "./lib/Cards.sol";
import {Instance} from "./lib/Instance.sol";
import {Problem} from "./lib/Problem.sol";
import {Roles, Suite} from "./lib/Suite.sol";
import {Authority, Card, Member, Role, SignedCard, Standing} from "./lib/Types.sol";

/// @notice See `IConsortiumRegistry`.
contract ConsortiumRegistry is IConsortiumRegistry {
    struct Entry {
        address accessControl;
        Role role;
        Standing status;
        address dataStore;
        address account;
        /// The ABI encoding of the card, as a blob.
        address card;
    }

    /// The validators as they were at the end of an epoch, and of those after it up to the next entry.
    struct Seats {
        uint64 epoch;
        /// Bit `d`: member `d` was an active validator.
        uint256 validators;
    }

    /// Epochs from a registry to the committee drawn from it.
    uint256 private constant COMMITTEE_DELAY = 4;

    /// Slot 0. The ledger reads it, and slot 1, without running code.
    mapping(address account => Authority) private _authorities;
    /// Slot 1. Bit `d`: member `d` is active.
    uint256 private _active;
    /// Bit `d`: member `d` has the role of a validator, whatever its standing.
    uint256 private _validators;
    bytes32 private _genesisHash;
    uint64 private _epochBlocks;
    uint32 private _count;
    mapping(uint256 dcId => Entry) private _entries;
    /// Accounts and keys ever registered, by their digest.
    mapping(bytes32 fingerprint => bool) private _taken;
    /// In the order of epochs, one entry for each epoch in which the validators changed.
    Seats[] private _seats;
    /// By member: the epoch of its last reset, plus one.
    mapping(uint256 dcId => uint64) private _resetIn;
    /// By member, in the order in which they came: the last one is in force.
    mapping(uint256 dcId => bytes32[]) private _networkKeys;

    modifier onlyGovernance() {
        if (msg.sender != Suite.GOVERNANCE) revert RegistryNotGovernance(msg.sender);
        _;
    }

    modifier onlySystem() {
        if (msg.sender != Suite.SYSTEM) revert RegistryNotSystem(msg.sender);
        _;
    }

    /// @inheritdoc IConsortiumRegistry
    function initialize(Card[] calldata founders, uint64 epochBlocks) external onlySystem {
        if (_count != 0) revert RegistryAlreadyInitialised();
        if (epochBlocks == 0) revert RegistryEpochEmpty();
        _epochBlocks = epochBlocks;
        for (uint256 i; i < founders.length; ++i) {
            Problem.raise(Cards.problem(founders[i]));
            _admit(founders[i], Role.Validator);
        }
        _seats.push(Seats(0, _validators));
    }

    /// @inheritdoc IConsortiumRegistry
    function setGenesisHash(bytes32 hash) external onlySystem {
        if (_genesisHash != 0) revert RegistryAlreadyInitialised();
        _genesisHash = hash;
    }

    /// @inheritdoc IConsortiumRegistry
    function admit(SignedCard calldata signed) external onlyGovernance returns (uint32) {
        Problem.raise(admissionProblem(signed));
        return _admit(signed.card, Role.Participant);
    }

    /// @inheritdoc IConsortiumRegistry
    function setStanding(uint32 dcId, Standing status) external onlyGovernance {
        Problem.raise(standingProblem(dcId, status), dcId);
        Entry storage entry = _entries[dcId];
        bool active = status == Standing.Active;
        entry.status = status;
        _active = active ? _active | (1 << dcId) : _active & ~(1 << dcId);
        _noteSeats();
        emit MemberStandingChanged(dcId, status);
        IDataStore(entry.dataStore).setAccessControl(active ? entry.accessControl : address(0));
    }

    /// @inheritdoc IConsortiumRegistry
    function setRole(uint32 dcId, Role role) external onlyGovernance {
        Problem.raise(seatProblem(dcId, role), dcId);
        _entries[dcId].role = role;
        _validators = role == Role.Validator ? _validators | (1 << dcId) : _validators & ~(1 << dcId);
        _noteSeats();
        emit MemberRoleChanged(dcId, role);
    }

    /// @inheritdoc IConsortiumRegistry
    function resetKeys(uint32 dcId, SignedCard calldata signed) external onlyGovernance {
        Problem.raise(resetProblem(dcId, signed), dcId);
        Entry storage entry = _entries[dcId];
        delete _authorities[entry.account];
        _take(dcId, signed.card);
        _authorities[signed.card.account] = Authority(dcId, Roles.OWNER, 0);
        entry.account = signed.card.account;
        entry.card = Blob.write(abi.encode(signed.card));
        _resetIn[dcId] = _epoch() + 1;
        emit MemberKeysReset(dcId, signed.card.account, signed.card.networkKey);
    }

    /// @inheritdoc IConsortiumRegistry
    function setEndpoints(string calldata consensusEndpoint, string calldata swarmEndpoint) external {
        uint32 dcId = _ownerOf(msg.sender);
        if (dcId == 0) revert RegistryNotMember(msg.sender);
        Problem.raise(Cards.endpointProblem(consensusEndpoint));
        Problem.raise(Cards.endpointProblem(swarmEndpoint));
        Card memory card = _cardOf(dcId);
        card.consensusEndpoint = consensusEndpoint;
        card.swarmEndpoint = swarmEndpoint;
        _entries[dcId].card = Blob.write(abi.encode(card));
        emit MemberEndpointsChanged(dcId, consensusEndpoint, swarmEndpoint);
    }

    /// @inheritdoc IConsortiumRegistry
    function members() external view returns (Member[] memory all) {
        all = new Member[](_count);
        for (uint32 i; i < all.length; ++i) {
            all[i] = _member(i + 1);
        }
    }

    /// @inheritdoc IConsortiumRegistry
    function member(uint32 dcId) external view returns (Member memory) {
        if (dcId == 0 || dcId > _count) revert RegistryMemberUnknown(dcId);
        return _member(dcId);
    }

    /// @inheritdoc IConsortiumRegistry
    function memberCount() external view returns (uint256) {
        return _count;
    }

    /// @inheritdoc IConsortiumRegistry
    function authorityOf(address account) public view returns (Authority memory authority) {
        authority = _authorities[account];
        bool expired = authority.until != 0 && block.timestamp > authority.until;
        if (expired || (_active >> authority.dcId) & 1 == 0) delete authority;
    }

    /// @inheritdoc IConsortiumRegistry
    function dcIdOf(address account) external view returns (uint32) {
        return authorityOf(account).dcId;
    }

    /// @inheritdoc IConsortiumRegistry
    function accountOf(uint32 dcId) external view returns (address) {
        return _entries[dcId].account;
    }

    /// @inheritdoc IConsortiumRegistry
    function accessControlOf(uint32 dcId) external view returns (address) {
        Entry storage entry = _entries[dcId];
        return entry.status == Standing.Active ? entry.accessControl : address(0);
    }

    /// @inheritdoc IConsortiumRegistry
    function dataStoreOf(uint32 dcId) external view returns (address) {
        return _entries[dcId].dataStore;
    }

    /// @inheritdoc IConsortiumRegistry
    function networkKeysOf(uint32 dcId) external view returns (bytes32[] memory) {
        return _networkKeys[dcId];
    }

    /// @inheritdoc IConsortiumRegistry
    function activeMembers() external view returns (uint256) {
        return _active;
    }

    /// @inheritdoc IConsortiumRegistry
    function activeValidators() public view returns (uint256) {
        return _active & _validators;
    }

    /// @inheritdoc IConsortiumRegistry
    function genesisHash() external view returns (bytes32) {
        return _genesisHash;
    }

    /// @inheritdoc IConsortiumRegistry
    function committee(uint64 epoch) public view returns (uint256 seats) {
        uint64 end = epoch < COMMITTEE_DELAY ? 0 : epoch - uint64(COMMITTEE_DELAY);
        uint256 i = epoch < COMMITTEE_DELAY ? 1 : _seats.length;
        while (i != 0 && _seats[i - 1].epoch > end) {
            --i;
        }
        // Without a change the founders' entry holds.
        return _seats[i == 0 ? 0 : i - 1].validators;
    }

    /// @inheritdoc IConsortiumRegistry
    function admissionProblem(SignedCard calldata signed) public view returns (bytes4) {
        if (_count >= Suite.MEMBERS_MAX) return RegistryFull.selector;
        return _cardProblem(signed);
    }

    /// @inheritdoc IConsortiumRegistry
    function standingProblem(uint32 dcId, Standing status) public view returns (bytes4) {
        Standing present = _entries[dcId].status;
        if (present == Standing.None) return RegistryMemberUnknown.selector;
        if (status == Standing.None || status == present || present == Standing.Removed) {
            return RegistryStandingUnchangeable.selector;
        }
        if (activeValidators() == 1 << dcId) return RegistryLastValidator.selector;
        return 0;
    }

    /// @inheritdoc IConsortiumRegistry
    function seatProblem(uint32 dcId, Role role) public view returns (bytes4) {
        Entry storage entry = _entries[dcId];
        if (entry.status == Standing.None) return RegistryMemberUnknown.selector;
        if (role == Role.None || role == entry.role || entry.status == Standing.Removed) {
            return RegistryRoleUnchangeable.selector;
        }
        if (activeValidators() == 1 << dcId) return RegistryLastValidator.selector;
        return 0;
    }

    /// @inheritdoc IConsortiumRegistry
    function resetProblem(uint32 dcId, SignedCard calldata signed) public view returns (bytes4) {
        Standing present = _entries[dcId].status;
        if (present == Standing.None) return RegistryMemberUnknown.selector;
        if (present == Standing.Removed) return RegistryStandingUnchangeable.selector;
        bytes4 problem = _cardProblem(signed);
        if (problem != 0) return problem;
        return _stalls(dcId) ? RegistryCommitteeWithoutQuorum.selector : bytes4(0);
    }

    function _admit(Card calldata card, Role role) private returns (uint32 dcId) {
        dcId = ++_count;
        _take(dcId, card);
        _authorities[card.account] = Authority(dcId, Roles.OWNER, 0);
        _active |= 1 << dcId;
        if (role == Role.Validator) _validators |= 1 << dcId;

        Entry storage entry = _entries[dcId];
        entry.role = role;
        entry.status = Standing.Active;
        entry.account = card.account;
        entry.card = Blob.write(abi.encode(card));
        entry.dataStore = Instance.create(Suite.DATA_STORE_TEMPLATE, dcId);
        entry.accessControl = Instance.create(Suite.ACCESS_CONTROL_TEMPLATE, dcId);
        emit MemberAdmitted(dcId, card.account, card.networkKey, entry.dataStore, entry.accessControl);
        IDataStore(entry.dataStore).setAccessControl(entry.accessControl);
    }

    function _member(uint32 dcId) private view returns (Member memory) {
        Entry storage entry = _entries[dcId];
        return Member({
            dcId: dcId,
            card: _cardOf(dcId),
            role: entry.role,
            status: entry.status,
            dataStore: entry.dataStore,
            accessControl: entry.accessControl
        });
    }

    function _cardOf(uint32 dcId) private view returns (Card memory) {
        return abi.decode(Blob.read(_entries[dcId].card), (Card));
    }

    /// The active member whose own account this is.
    function _ownerOf(address account) private view returns (uint32) {
        Authority memory authority = authorityOf(account);
        return authority.roles & Roles.OWNER != 0 ? authority.dcId : 0;
    }

    /// Why nobody could join or go on with this card.
    function _cardProblem(SignedCard calldata signed) private view returns (bytes4) {
        bytes4 problem = Cards.problem(signed);
        if (problem != 0) return problem;
        if (_taken[_fingerprint(signed.card.account)]) return RegistryAccountTaken.selector;
        if (_taken[_fingerprint(signed.card.networkKey)]) return RegistryNetworkKeyTaken.selector;
        if (_taken[_fingerprint(signed.card.encryptionKey)]) return RegistryEncryptionKeyTaken.selector;
        return 0;
    }

    /// Notes a member's new keys, each of which nobody may have had.
    function _take(uint32 dcId, Card calldata card) private {
        _networkKeys[dcId].push(card.networkKey);
        _claim(_fingerprint(card.account), RegistryAccountTaken.selector);
        _claim(_fingerprint(card.networkKey), RegistryNetworkKeyTaken.selector);
        _claim(_fingerprint(card.encryptionKey), RegistryEncryptionKeyTaken.selector);
    }

    function _claim(bytes32 fingerprint, bytes4 problem) private {
        if (_taken[fingerprint]) Problem.raise(problem);
        _taken[fingerprint] = true;
    }

    function _epoch() private view returns (uint64) {
        return uint64(block.number / _epochBlocks);
    }

    /// Notes the validators after a change.
    function _noteSeats() private {
        uint64 epoch = _epoch();
        Seats storage last = _seats[_seats.length - 1];
        // The founders' entry stays: the first committees are theirs whatever epoch 0 changes.
        if (_seats.length > 1 && last.epoch == epoch) last.validators = activeValidators();
        else _seats.push(Seats(epoch, activeValidators()));
    }

    /// Whether a committee that is fixed would have no quorum of connected seats any more, were this member's keys reset: a seat
    /// belongs to the network key that it was drawn for.
    function _stalls(uint32 dcId) private view returns (bool) {
        uint64 epoch = _epoch();
        for (uint64 ahead; ahead < COMMITTEE_DELAY; ++ahead) {
            uint256 seats = committee(epoch + ahead);
            uint256 held;
            uint256 total;
            for (uint32 d = 1; d <= _count; ++d) {
                if ((seats >> d) & 1 == 0) continue;
                ++total;
                if (d != dcId && !_hasLostSeat(d, epoch + ahead)) ++held;
            }
            if ((seats >> dcId) & 1 == 1 && held < total - (total - 1) / 3) return true;
        }
        return false;
    }

    /// Whether a member's seat in an epoch's committee was drawn for a network key that was reset since.
    function _hasLostSeat(uint32 dcId, uint64 epoch) private view returns (bool) {
        uint64 resetIn = _resetIn[dcId];
        return resetIn != 0 && (epoch < COMMITTEE_DELAY || resetIn - 1 > epoch - COMMITTEE_DELAY);
    }

    function _fingerprint(address account) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("account", account));
    }

    function _fingerprint(bytes32 networkKey) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("network", networkKey));
    }

    function _fingerprint(bytes calldata encryptionKey) private pure returns (bytes32) {
        return keccak256(abi.encodePacked("encryption", encryptionKey));
    }
}
