// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccessControl} from "./interfaces/IAccessControl.sol";
import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {Instance} from "./lib/Instance.sol";
import {Roles, Suite} from "./lib/Suite.sol";
import {Authority, Subject} from "./lib/Types.sol";

/// @notice See `IAccessControl`.
/// @dev The rule every member starts with: its registered account may do everything, nobody else anything. Runs as
/// clones of one template.
contract AccessControl is IAccessControl {
    IConsortiumRegistry private constant REGISTRY = IConsortiumRegistry(Suite.REGISTRY);

    /// @inheritdoc IAccessControl
    function isAuthorised(address actor, bytes32, Subject calldata) external view returns (bool) {
        uint32 self = Instance.dcId();
        Authority memory authority = REGISTRY.authorityOf(actor);
        // The template itself has no member, as an account that is nobody's has none.
        return self != 0 && authority.dcId == self && authority.roles & Roles.OWNER != 0;
    }

    /// @inheritdoc IAccessControl
    function dcId() external view returns (uint32) {
        return Instance.dcId();
    }
}
