// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title Who may do what under one member's `dcId`.
interface IAccessControl {
    /// @notice Whether a signature authorises an action.
    /// @param digest What was signed: an EIP-712 digest whose domain names the contract that asks.
    /// @param signature 65 bytes `r ‖ s ‖ v`, or whatever the member's EIP-1271 account understands.
    /// @param action One of `Actions`.
    /// @return authorised Whether it does.
    /// @return signer Who signed; an account that is not authorised when `authorised` is false, or 0.
    function isAuthorised(bytes32 digest, bytes calldata signature, bytes32 action)
        external
        view
        returns (bool authorised, address signer);

    /// @notice The member whose contract this is.
    function dcId() external view returns (uint32);
}
