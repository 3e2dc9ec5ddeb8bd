// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {IDataStore} from "./interfaces/IDataStore.sol";
import {Blob} from "./lib/Blob.sol";
import {Cards} from "./lib/Cards.sol";
import {Instance} from "./lib/Instance.sol";
import {Suite} from "./lib/Suite.sol";
import {Card, Member, Role, Standing} from "./lib/Types.sol";

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

    /// Slot 0. Nonzero exactly for the accounts of active members: the ledger reads it without running code.
    mapping(address account => uint256 dcId) private _dcIds;
    mapping(uint256 dcId => Entry) private _entries;
    /// Accounts and keys ever registered, by their digest.
    mapping(bytes32 fingerprint => bool) private _taken;
    uint256 private _count;
    uint256 private _active;

    modifier onlyGovernance() {
        if (msg.sender != Suite.GOVERNANCE) revert RegistryNotGovernance(msg.sender);
        _;
    }

    /// @inheritdoc IConsortiumRegistry
    function initialize(Card[] calldata founders) external {
        if (msg.sender != Suite.SYSTEM) revert RegistryNotSystem(msg.sender);
        if (_count != 0) revert RegistryAlreadyInitialised();
        for (uint256 i; i < founders.length; ++i) {
            _admit(founders[i], Role.Validator);
        }
    }

    /// @inheritdoc IConsortiumRegistry
    function admit(Card calldata card) external onlyGovernance returns (uint32) {
        return _admit(card, Role.Participant);
    }

    /// @inheritdoc IConsortiumRegistry
    function setStanding(uint32 dcId, Standing status) external onlyGovernance {
        _raise(standingProblem(dcId, status), dcId);
        Entry storage entry = _entries[dcId];
        bool active = status == Standing.Active;
        entry.status = status;
        _dcIds[entry.account] = active ? dcId : 0;
        _active = active ? _active | (1 << dcId) : _active & ~(1 << dcId);
        emit MemberStandingChanged(dcId, status);
        IDataStore(entry.dataStore).setAccessControl(active ? entry.accessControl : address(0));
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
    function dcIdOf(address account) external view returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(_dcIds[account]);
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
    function activeMembers() external view returns (uint256) {
        return _active;
    }

    /// @inheritdoc IConsortiumRegistry
    function admissionProblem(Card calldata card) public view returns (bytes4) {
        if (_count >= Suite.MEMBERS_MAX) return RegistryFull.selector;
        bytes4 problem = Cards.problem(card);
        if (problem != 0) return problem;
        if (_taken[_fingerprint(card.account)]) return RegistryAccountTaken.selector;
        if (_taken[_fingerprint(card.networkKey)]) return RegistryNetworkKeyTaken.selector;
        if (_taken[_fingerprint(card.encryptionKey)]) return RegistryEncryptionKeyTaken.selector;
        return 0;
    }

    /// @inheritdoc IConsortiumRegistry
    function standingProblem(uint32 dcId, Standing status) public view returns (bytes4) {
        Entry storage entry = _entries[dcId];
        Standing present = entry.status;
        if (present == Standing.None) return RegistryMemberUnknown.selector;
        if (status == Standing.None || status == present || present == Standing.Removed) {
            return RegistryStandingUnchangeable.selector;
        }
        if (present == Standing.Active && entry.role == Role.Validator && _isLastValidator(dcId)) {
            return RegistryLastValidator.selector;
        }
        return 0;
    }

    function _admit(Card calldata card, Role role) private returns (uint32 dcId) {
        _raise(admissionProblem(card), 0);
        // At most MEMBERS_MAX.
        // forge-lint: disable-next-line(unsafe-typecast)
        dcId = uint32(++_count);
        _taken[_fingerprint(card.account)] = true;
        _taken[_fingerprint(card.networkKey)] = true;
        _taken[_fingerprint(card.encryptionKey)] = true;
        _dcIds[card.account] = dcId;
        _active |= 1 << dcId;

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
            card: abi.decode(Blob.read(entry.card), (Card)),
            role: entry.role,
            status: entry.status,
            dataStore: entry.dataStore,
            accessControl: entry.accessControl
        });
    }

    function _isLastValidator(uint32 dcId) private view returns (bool) {
        uint256 others = _active & ~(uint256(1) << dcId);
        for (uint32 i = 1; i <= _count; ++i) {
            if ((others >> i) & 1 == 1 && _entries[i].role == Role.Validator) return false;
        }
        return true;
    }

    /// Reverts with the error that a problem's selector names.
    function _raise(bytes4 problem, uint32 dcId) private pure {
        if (problem == 0) return;
        if (problem == RegistryMemberUnknown.selector) revert RegistryMemberUnknown(dcId);
        assembly ("memory-safe") {
            mstore(0, problem)
            revert(0, 4)
        }
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
