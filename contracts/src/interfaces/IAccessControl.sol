// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {Subject} from "../lib/Types.sol";

/// @title Who may do what under one member's `dcId`.
interface IAccessControl {
    /// @notice Whether an account may do this for the member.
    /// @param actor The account: the sender of the call, or the signer of a relayed one.
    /// @param action One of `Actions`.
    /// @param subject What it concerns.
    function isAuthorised(address actor, bytes32 action, Subject calldata subject)
        external
        view
        returns (bool);

    /// @notice The member whose contract this is.
    function dcId() external view returns (uint32);
}
