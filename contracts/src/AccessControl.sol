// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IAccessControl} from "./interfaces/IAccessControl.sol";
import {IConsortiumRegistry} from "./interfaces/IConsortiumRegistry.sol";
import {Instance} from "./lib/Instance.sol";
import {Suite} from "./lib/Suite.sol";

/// @notice See `IAccessControl`.
/// @dev The rule every member starts with: its registered account may do everything, nobody else anything. Runs as
/// clones of one template.
contract AccessControl is IAccessControl {
    IConsortiumRegistry private constant REGISTRY = IConsortiumRegistry(Suite.REGISTRY);

    /// @inheritdoc IAccessControl
    function isAuthorised(bytes32 digest, bytes calldata signature, bytes32)
        external
        view
        returns (bool authorised, address signer)
    {
        uint32 self = Instance.dcId();
        (signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        // In the template itself, where an account that is nobody's would match.
        if (self == 0) return (false, signer);
        if (signer != address(0) && REGISTRY.dcIdOf(signer) == self) return (true, signer);
        address account = REGISTRY.accountOf(self);
        // A member whose account is a contract signs by EIP-1271; it must be active like any other.
        if (account.code.length != 0 && REGISTRY.dcIdOf(account) == self) {
            authorised = SignatureChecker.isValidERC1271SignatureNowCalldata(account, digest, signature);
            if (authorised) signer = account;
        }
    }

    /// @inheritdoc IAccessControl
    function dcId() external view returns (uint32) {
        return Instance.dcId();
    }
}
