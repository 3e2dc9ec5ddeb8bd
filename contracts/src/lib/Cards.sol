// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IConsortiumRegistry} from "../interfaces/IConsortiumRegistry.sol";
import {Card} from "./Types.sol";

/// What a card must look like, whatever the registry holds. Bounds every field, so that no card can make the list of
/// members unreadable, and keeps control characters off people's terminals.
library Cards {
    uint256 private constant NAME_MAX = 64;
    uint256 private constant ENDPOINT_MAX = 255;
    uint256 private constant ENCRYPTION_KEY_LENGTH = 1216;

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
