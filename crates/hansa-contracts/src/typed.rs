//! What members sign: EIP-712 digests under the domain "Hansa", version "1".
//!
//! It computes the 32 bytes to be signed; keys and signatures are elsewhere.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolStruct, SolValue};

use crate::{SHARING, abi};

/// A message that a contract of the suite accepts with a signature.
///
/// Records are signed for the owner's storage contract ([`crate::data_store_of`]), all others for [`crate::SHARING`].
pub trait Signable: SolStruct {
    /// keccak-256 of the message's type, computed once (EIP-712, `typeHash`).
    fn type_hash() -> B256;
}

macro_rules! signable {
    ($($message:ident),*) => {$(
        impl Signable for abi::$message {
            fn type_hash() -> B256 {
                static HASH: LazyLock<B256> = LazyLock::new(|| hash_of_type::<abi::$message>());
                *HASH
            }
        }
    )*};
}

signable!(Record, Grant, Revocation, VisibilityChange, Opening, KeyRelease, Refusal);

fn hash_of_type<M: SolStruct>() -> B256 {
    keccak256(M::eip712_encode_type().as_bytes())
}

/// The digest to sign for `contract` on the chain with this id. The signature is 65 bytes `r ‖ s ‖ v`, `v` 27 or 28,
/// `s` in the lower half.
pub fn signing_hash<M: Signable>(message: &M, chain_id: u64, contract: Address) -> B256 {
    let message = [M::type_hash().as_slice(), &message.eip712_encode_data()].concat();
    let domain = domain_separator(chain_id, contract);
    keccak256([&[0x19, 0x01], domain.as_slice(), keccak256(message).as_slice()].concat())
}

/// The part of a digest that ties it to one contract of one chain (EIP-712, `domainSeparator`). Here and not by `Eip712Domain`,
/// which hashes its type and both names again for every record.
fn domain_separator(chain_id: u64, contract: Address) -> B256 {
    const TYPE: &str = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
    static SAME: LazyLock<[B256; 3]> = LazyLock::new(|| [TYPE, "Hansa", "1"].map(keccak256));
    let [domain_type, name, version] = *SAME;
    keccak256((domain_type, name, version, U256::from(chain_id), contract).abi_encode())
}

/// What the contract that is called with `input` will check: the digest and the signature over it. `None` for calls that
/// carry no member's signature, and for what is no call of the suite.
pub fn signed_by_call(to: Address, input: &[u8], chain_id: u64) -> Option<(B256, Bytes)> {
    fn of<M: Signable>(message: &M, signature: Bytes, chain_id: u64, contract: Address) -> (B256, Bytes) {
        (signing_hash(message, chain_id, contract), signature)
    }
    let (selector, _) = input.split_first_chunk::<4>()?;
    macro_rules! call {
        ($contract:ident, $call:ident, $message:ident) => {
            if *selector == abi::$contract::$call::SELECTOR {
                let call = abi::$contract::$call::abi_decode(input).ok()?;
                return Some(of(&call.$message, call.signature, chain_id, to));
            }
        };
    }
    if to == SHARING {
        call!(Sharing, shareCall, g);
        call!(Sharing, revokeCall, r);
        call!(Sharing, setVisibilityCall, c);
        call!(Sharing, openCall, o);
        call!(Sharing, recordReleaseCall, k);
        call!(Sharing, recordRefusalCall, r);
    }
    call!(DataStore, putCall, r);
    call!(DataStore, updateCall, r);
    None
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, Bytes, U256, b256};
    use alloy_sol_types::SolCall;
    use hansa_types::DcId;

    use super::{Signable, signed_by_call, signing_hash};
    use crate::{REGISTRY, SHARING, abi, data_store_of};

    const CHAIN_ID: u64 = 7700;

    fn in_sharing<M: Signable>(message: M) -> B256 {
        signing_hash(&message, CHAIN_ID, SHARING)
    }

    fn record() -> abi::Record {
        abi::Record {
            number: 42,
            version: 1,
            root: U256::from(0x11).into(),
            commitment: U256::from(0x22).into(),
            visibility: -1,
            keyEpoch: 3,
            sizeClass: 1 << 20,
            createdAt: 1_800_000_000,
            validUntil: 1_900_000_000,
        }
    }

    /// The same constants stand in `contracts/test/Vectors.t.sol`, where the contracts accept signatures over them.
    #[test]
    fn digests_are_those_of_the_contracts() {
        let (owner, number) = (1, 42);
        let store = data_store_of(DcId::new(owner).unwrap());
        let computed = [
            signing_hash(&record(), CHAIN_ID, store),
            in_sharing(abi::Grant {
                owner,
                number,
                grantee: 2,
                expiresAt: 1_900_000_000,
                maxOpenings: 5,
                keyEpoch: 3,
                wrappedKey: Bytes::from_static(&[0xc0, 0xff, 0xee]),
                nonce: 1,
            }),
            in_sharing(abi::Revocation { owner, number, grantee: 2, nonce: 2 }),
            in_sharing(abi::VisibilityChange {
                owner,
                number,
                visibility: -1,
                keyEpoch: 3,
                publishedKey: Bytes::from_static(&[0x0b, 0xad, 0xca, 0xfe]),
                nonce: 1,
            }),
            in_sharing(abi::Opening { owner, number, version: 1, dcId: 2, nonce: 1 }),
            in_sharing(abi::KeyRelease { openingId: 1 }),
            in_sharing(abi::Refusal { owner, number, version: 1, dcId: 3, reason: 9, nonce: 1 }),
        ];
        let pinned = [
            b256!("c1d8acfd2be5cf00aa3232cf00f0a19c8c7da50da3605306055f704cbc7f0234"),
            b256!("514a0d9737731f2f22e498f2a7b5cbeee5d0cbbb70a47e3ff5b7212a8ac1d16b"),
            b256!("57746666ccf2c89b235233f0f6662cc4b4a8cc36e9a927f97f01725e53cb66ce"),
            b256!("4954e6896a6194afc7541fb6790a803d1412c57d63aaba8f5ef912ebb2c4122f"),
            b256!("4099302ea3c144d87740d7ca4335acdf89dedba47e15d6dd7baaa9d2c7d86915"),
            b256!("bf820097ca5f2e27d18f2f240e0c91dc17a9d6e8c092257ad88718d206ce5a0c"),
            b256!("0cf16d17d685a901afa0c0df261d8f725fe6e4667d8ffb783508da2bfbdfb26f"),
        ];
        assert_eq!(computed.as_slice(), pinned.as_slice());
    }

    #[test]
    fn the_signature_in_a_call_is_found() {
        let store = data_store_of(DcId::new(1).unwrap());
        let signature = Bytes::from_static(&[7; 65]);
        let put = abi::DataStore::putCall { r: record(), signature: signature.clone() }.abi_encode();
        let digest = signing_hash(&record(), CHAIN_ID, store);
        assert_eq!(signed_by_call(store, &put, CHAIN_ID), Some((digest, signature.clone())));
        let opening = abi::Opening { owner: 1, number: 42, version: 1, dcId: 2, nonce: 1 };
        let open = abi::Sharing::openCall { o: opening.clone(), signature: signature.clone() }.abi_encode();
        assert_eq!(signed_by_call(SHARING, &open, CHAIN_ID), Some((in_sharing(opening), signature)));
        assert_eq!(signed_by_call(REGISTRY, &open, CHAIN_ID), None);
        assert_eq!(signed_by_call(store, &put[..put.len() / 2], CHAIN_ID), None);
        assert_eq!(signed_by_call(store, &put[..3], CHAIN_ID), None);
    }
}
