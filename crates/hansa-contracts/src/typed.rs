//! What members sign: EIP-712 digests under the domain "Hansa", version "1".
//!
//! It computes the 32 bytes to be signed; keys and signatures are elsewhere.

use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_sol_types::{SolCall, SolStruct, SolValue};

use hansa_types::MemberCard;

use crate::{SHARING, abi, card_from_types};

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

/// The chain that a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChainIdentity {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// Hash of the genesis block; the domain's salt, because two consortia may share a chain id.
    pub genesis_hash: B256,
}

/// The digest to sign for `contract` of a chain. The signature is 65 bytes `r ‖ s ‖ v`, `v` 27 or 28, `s` in the lower half.
pub fn signing_hash<M: Signable>(message: &M, chain: ChainIdentity, contract: Address) -> B256 {
    let message = [M::type_hash().as_slice(), &message.eip712_encode_data()].concat();
    digest(domain_separator(chain, contract), keccak256(message))
}

/// The digest that a card's keys sign. Its domain names neither chain nor contract: a card is made before its organisation knows the chain.
pub fn card_digest(card: &MemberCard) -> B256 {
    static DOMAIN: LazyLock<B256> = LazyLock::new(|| {
        let parts = ["EIP712Domain(string name,string version)", "Hansa card", "1"].map(keccak256);
        keccak256(parts.abi_encode())
    });
    digest(*DOMAIN, card_from_types(card).eip712_hash_struct())
}

fn digest(domain: B256, message: B256) -> B256 {
    keccak256([&[0x19, 0x01], domain.as_slice(), message.as_slice()].concat())
}

/// The part of a digest that ties it to one contract of one chain (EIP-712, `domainSeparator`). Here and not by `Eip712Domain`,
/// which hashes its type and both names again for every record.
fn domain_separator(chain: ChainIdentity, contract: Address) -> B256 {
    const TYPE: &str =
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract,bytes32 salt)";
    static SAME: LazyLock<[B256; 3]> = LazyLock::new(|| [TYPE, "Hansa", "1"].map(keccak256));
    let [domain_type, name, version] = *SAME;
    keccak256(
        (domain_type, name, version, U256::from(chain.chain_id), contract, chain.genesis_hash).abi_encode(),
    )
}

/// The digest, and the signature over it, that the contract called with `input` will check. `None` for calls that
/// carry no member's signature, and for anything but a call of the suite.
pub fn signed_by_call(to: Address, input: &[u8], chain: ChainIdentity) -> Option<(B256, Bytes)> {
    fn of<M: Signable>(
        message: &M,
        signature: Bytes,
        chain: ChainIdentity,
        contract: Address,
    ) -> (B256, Bytes) {
        (signing_hash(message, chain, contract), signature)
    }
    let (selector, _) = input.split_first_chunk::<4>()?;
    macro_rules! call {
        ($contract:ident, $call:ident, $message:ident) => {
            if *selector == abi::$contract::$call::SELECTOR {
                let call = abi::$contract::$call::abi_decode(input).ok()?;
                return Some(of(&call.$message, call.signature, chain, to));
            }
        };
    }
    if to == SHARING {
        call!(Sharing, relayShareCall, g);
        call!(Sharing, relayRevokeCall, r);
        call!(Sharing, relaySetVisibilityCall, c);
        call!(Sharing, relayOpenCall, o);
        call!(Sharing, relayRecordReleaseCall, k);
        call!(Sharing, relayRecordRefusalCall, r);
    }
    call!(DataStore, relayPutCall, r);
    call!(DataStore, relayUpdateCall, r);
    None
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, Bytes, U256, address, b256};
    use alloy_sol_types::SolCall;
    use hansa_types::{ClusterId, DcId, MemberCard, NetworkKey};

    use super::{ChainIdentity, Signable, card_digest, signed_by_call, signing_hash};
    use crate::{REGISTRY, SHARING, abi, data_store_of};

    const CHAIN: ChainIdentity = ChainIdentity {
        chain_id: 7700,
        // keccak-256 of "genesis".
        genesis_hash: b256!("11f1efd0825aa3c737ce7a3831438f918cc83545afbed69e69fddee7e6fd5811"),
    };

    fn in_sharing<M: Signable>(message: M) -> B256 {
        signing_hash(&message, CHAIN, SHARING)
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
            signing_hash(&record(), CHAIN, store),
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
            b256!("58f39b661d54789c5dce1d22e370c0dd7046861a116bed5a8739a7c8387d0402"),
            b256!("89d65f50dc3d8548f997ab2c8e9a834bdfc689da575d8128416e40845b47b36a"),
            b256!("c175329a1dfc73f9db7ad1336c60f85ea53e033ac9d1dfa1323770132ad4f494"),
            b256!("86614b211f35b5767c0629bae5ce23b29bd627c81fd33e33153607c14c7ab7d2"),
            b256!("44f22e921cbdbd456a3bdbca0bed3ee0af1967eb82f06715398356501dbff454"),
            b256!("b092579bbb65a9cc49890020b516de0312fcc9e016a315e4a705c9540e830959"),
            b256!("7c5e0298d20fb950d9c2064115ffdb1a6eb754a7c59fd92b8c05618fb0ff5d6b"),
        ];
        assert_eq!(computed.as_slice(), pinned.as_slice());
    }

    /// The same card, and the constant, stand in `contracts/test/Vectors.t.sol`.
    #[test]
    fn the_digest_of_a_card_is_that_of_the_contracts() {
        let mut encryption_key = vec![0; 1_216];
        encryption_key[31] = 5;
        let card = MemberCard {
            name: "Data centre".into(),
            cluster: ClusterId(1),
            account: address!("0xe1AB8145F7E55DC933d51a18c793F901A3A0b276"),
            network_key: NetworkKey(U256::from(5).into()),
            encryption_key: encryption_key.into(),
            consensus_endpoint: "127.0.0.1:9000".into(),
            swarm_endpoint: "/ip4/127.0.0.1/tcp/4001".into(),
        };
        let pinned = b256!("cd4286f79120fe1f52fe4441229b6e1ff8e8c8c514c13e17e3d51563bd4f692c");
        assert_eq!(card_digest(&card), pinned);
    }

    #[test]
    fn the_signature_in_a_call_is_found() {
        let store = data_store_of(DcId::new(1).unwrap());
        let signature = Bytes::from_static(&[7; 65]);
        let put = abi::DataStore::relayPutCall { r: record(), signature: signature.clone() }.abi_encode();
        let digest = signing_hash(&record(), CHAIN, store);
        assert_eq!(signed_by_call(store, &put, CHAIN), Some((digest, signature.clone())));
        let opening = abi::Opening { owner: 1, number: 42, version: 1, dcId: 2, nonce: 1 };
        let open =
            abi::Sharing::relayOpenCall { o: opening.clone(), signature: signature.clone() }.abi_encode();
        assert_eq!(signed_by_call(SHARING, &open, CHAIN), Some((in_sharing(opening), signature)));
        assert_eq!(signed_by_call(REGISTRY, &open, CHAIN), None);
        assert_eq!(signed_by_call(store, &put[..put.len() / 2], CHAIN), None);
        assert_eq!(signed_by_call(store, &put[..3], CHAIN), None);
    }
}
