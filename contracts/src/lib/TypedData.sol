// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../interfaces/IConsortiumRegistry.sol";
import {Suite} from "./Suite.sol";
import {Grant, KeyRelease, Opening, Record, Refusal, Revocation, VisibilityChange} from "./Types.sol";

/// EIP-712 digests of everything a member signs for others to relay. The domain is "Hansa", version "1", with the chain's id, the
/// contract that runs this code, and the hash of the genesis block as salt: two consortia may share a chain id.
library TypedData {
    bytes32 private constant DOMAIN_TYPE = keccak256(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)"
    );
    bytes32 private constant NAME = keccak256("Hansa");
    bytes32 private constant VERSION = keccak256("1");

    bytes32 private constant RECORD_TYPE = keccak256(
        "Record(uint64 number,uint32 version,bytes32 root,bytes32 commitment,int64 visibility,uint32 keyEpoch,uint64 sizeClass,uint64 createdAt,uint64 validUntil)"
    );
    bytes32 private constant GRANT_TYPE = keccak256(
        "Grant(uint32 owner,uint64 number,uint32 grantee,uint64 expiresAt,uint32 maxOpenings,uint32 keyEpoch,bytes wrappedKey,uint32 nonce)"
    );
    bytes32 private constant REVOCATION_TYPE =
        keccak256("Revocation(uint32 owner,uint64 number,uint32 grantee,uint32 nonce)");
    bytes32 private constant VISIBILITY_CHANGE_TYPE = keccak256(
        "VisibilityChange(uint32 owner,uint64 number,int64 visibility,uint32 keyEpoch,bytes publishedKey,uint32 nonce)"
    );
    bytes32 private constant OPENING_TYPE =
        keccak256("Opening(uint32 owner,uint64 number,uint32 version,uint32 dcId,uint32 nonce)");
    bytes32 private constant KEY_RELEASE_TYPE = keccak256("KeyRelease(uint64 openingId)");
    bytes32 private constant REFUSAL_TYPE =
        keccak256("Refusal(uint32 owner,uint64 number,uint32 version,uint32 dcId,uint8 reason,uint32 nonce)");

    function digest(Record calldata r) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(RECORD_TYPE, r)));
    }

    function digest(Grant calldata g) internal view returns (bytes32) {
        return _digest(
            keccak256(
                abi.encode(
                    GRANT_TYPE,
                    g.owner,
                    g.number,
                    g.grantee,
                    g.expiresAt,
                    g.maxOpenings,
                    g.keyEpoch,
                    keccak256(g.wrappedKey),
                    g.nonce
                )
            )
        );
    }

    function digest(Revocation calldata r) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(REVOCATION_TYPE, r)));
    }

    function digest(VisibilityChange calldata c) internal view returns (bytes32) {
        return _digest(
            keccak256(
                abi.encode(
                    VISIBILITY_CHANGE_TYPE,
                    c.owner,
                    c.number,
                    c.visibility,
                    c.keyEpoch,
                    keccak256(c.publishedKey),
                    c.nonce
                )
            )
        );
    }

    function digest(Opening calldata o) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(OPENING_TYPE, o)));
    }

    function digest(KeyRelease calldata k) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(KEY_RELEASE_TYPE, k)));
    }

    function digest(Refusal calldata r) internal view returns (bytes32) {
        return _digest(keccak256(abi.encode(REFUSAL_TYPE, r)));
    }

    function _digest(bytes32 structHash) private view returns (bytes32) {
        bytes32 salt = IConsortiumRegistry(Suite.REGISTRY).genesisHash();
        bytes32 domain = keccak256(abi.encode(DOMAIN_TYPE, NAME, VERSION, block.chainid, address(this), salt));
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }
}
