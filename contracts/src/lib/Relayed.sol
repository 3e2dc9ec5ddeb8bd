// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IConsortiumRegistry} from "../interfaces/IConsortiumRegistry.sol";
import {Suite} from "./Suite.sol";

/// The account behind a call that somebody else sends.
library Relayed {
    /// @return The account that signed `digest` for a member: whom the signature recovers to, or the member's own account when that is
    /// a contract which accepts the signature (EIP-1271). 0 for nobody.
    function actor(uint32 dcId, bytes32 digest, bytes calldata signature) internal view returns (address) {
        (address signer,,) = ECDSA.tryRecoverCalldata(digest, signature);
        address account = IConsortiumRegistry(Suite.REGISTRY).accountOf(dcId);
        if (signer == account || account.code.length == 0) return signer;
        bool accepts = SignatureChecker.isValidERC1271SignatureNowCalldata(account, digest, signature);
        return accepts ? account : signer;
    }
}
