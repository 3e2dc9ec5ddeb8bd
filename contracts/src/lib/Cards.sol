// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

import {IConsortiumRegistry} from "../interfaces/IConsortiumRegistry.sol";
import {Card, SignedCard} from "./Types.sol";

/// The shape that a card must have, whatever the registry holds. Bounds every field, so that no card can make the list of
/// members unreadable, and keeps control characters off people's terminals.
library Cards {
    uint256 private constant NAME_MAX = 64;
    uint256 private constant ENDPOINT_MAX = 255;
    uint256 private constant ENCRYPTION_KEY_LENGTH = 1216;
    /// A card is made before the organisation knows the chain, so the domain names neither chain nor contract.
    bytes32 private constant DOMAIN = keccak256(
        abi.encode(
            keccak256("EIP712Domain(string name,string version)"), keccak256("Hansa card"), keccak256("1")
        )
    );
    bytes32 private constant CARD_TYPE = keccak256(
        "Card(string name,uint32 cluster,address account,bytes32 networkKey,bytes encryptionKey,string consensusEndpoint,string swarmEndpoint)"
    );

    /// The selector of the registry's error that describes what is wrong, 0 when nothing is.
    function problem(Card calldata card) internal pure returns (bytes4) {
        if (!_isName(bytes(card.name))) return IConsortiumRegistry.RegistryNameMalformed.selector;
        if (card.cluster == 0) return IConsortiumRegistry.RegistryClusterMissing.selector;
        if (card.account == address(0) || card.networkKey == 0) {
            return IConsortiumRegistry.RegistryKeyMissing.selector;
        }
        if (card.encryptionKey.length != ENCRYPTION_KEY_LENGTH) {
            return IConsortiumRegistry.RegistryEncryptionKeyMalformed.selector;
        }
        if (!_isEndpoint(bytes(card.consensusEndpoint)) || !_isEndpoint(bytes(card.swarmEndpoint))) {
            return IConsortiumRegistry.RegistryEndpointMalformed.selector;
        }
        return 0;
    }

    /// As `problem`; the account's signature must be its own, too.
    function problem(SignedCard calldata signed) internal view returns (bytes4) {
        bytes4 found = problem(signed.card);
        if (found != 0) return found;
        bool own = SignatureChecker.isValidSignatureNowCalldata(
            signed.card.account, digest(signed.card), signed.accountSignature
        );
        return own ? bytes4(0) : IConsortiumRegistry.RegistryCardNotSigned.selector;
    }

    /// The EIP-712 digest of a card, which its account and its network key sign.
    function digest(Card calldata card) internal pure returns (bytes32) {
        bytes32 content = keccak256(
            abi.encode(
                CARD_TYPE,
                keccak256(bytes(card.name)),
                card.cluster,
                card.account,
                card.networkKey,
                keccak256(card.encryptionKey),
                keccak256(bytes(card.consensusEndpoint)),
                keccak256(bytes(card.swarmEndpoint))
            )
        );
        return keccak256(abi.encodePacked(hex"1901", DOMAIN, content));
    }

    /// The selector of the registry's error where an endpoint is malformed, 0 otherwise.
    function endpointProblem(string calldata endpoint) internal pure returns (bytes4) {
        return
            _isEndpoint(bytes(endpoint)) ? bytes4(0) : IConsortiumRegistry.RegistryEndpointMalformed.selector;
    }

    function _isEndpoint(bytes calldata text) private pure returns (bool) {
        if (text.length == 0 || text.length > ENDPOINT_MAX) return false;
        for (uint256 i; i < text.length; ++i) {
            if (text[i] <= 0x20 || text[i] >= 0x7f) return false;
        }
        return true;
    }

    /// UTF-8 as RFC 3629 has it, without C0 and C1 controls and DEL.
    function _isName(bytes calldata text) private pure returns (bool) {
        if (text.length == 0 || text.length > NAME_MAX) return false;
        uint256 i;
        while (i < text.length) {
            (uint256 length, uint256 low, uint256 high) = _lead(uint8(text[i]));
            if (length == 0 || i + length > text.length) return false;
            for (uint256 j = 1; j < length; ++j) {
                uint8 next = uint8(text[i + j]);
                // Only the byte after the lead has a range of its own.
                if (j == 1 ? next < low || next > high : next < 0x80 || next > 0xbf) return false;
            }
            i += length;
        }
        return true;
    }

    /// Length of the sequence that a lead byte starts (0 when it starts none) and the range of its second byte.
    function _lead(uint8 lead) private pure returns (uint256 length, uint256 low, uint256 high) {
        if (lead >= 0x20 && lead < 0x7f) return (1, 0, 0);
        if (lead == 0xc2) return (2, 0xa0, 0xbf);
        if (lead >= 0xc3 && lead <= 0xdf) return (2, 0x80, 0xbf);
        if (lead == 0xe0) return (3, 0xa0, 0xbf);
        if (lead == 0xed) return (3, 0x80, 0x9f);
        if (lead >= 0xe1 && lead <= 0xef) return (3, 0x80, 0xbf);
        if (lead == 0xf0) return (4, 0x90, 0xbf);
        if (lead >= 0xf1 && lead <= 0xf3) return (4, 0x80, 0xbf);
        if (lead == 0xf4) return (4, 0x80, 0x8f);
        return (0, 0, 0);
    }
}
