// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../interfaces/IConsortiumRegistry.sol";

/// Errors as values: a problem is the selector of an error without parameters, or of `RegistryMemberUnknown`, or 0 where there is none.
library Problem {
    function raise(bytes4 problem) internal pure {
        if (problem == 0) return;
        assembly ("memory-safe") {
            mstore(0, problem)
            revert(0, 4)
        }
    }

    /// `dcId` is the member that the problem concerns.
    function raise(bytes4 problem, uint32 dcId) internal pure {
        if (problem == IConsortiumRegistry.RegistryMemberUnknown.selector) {
            revert IConsortiumRegistry.RegistryMemberUnknown(dcId);
        }
        raise(problem);
    }
}
