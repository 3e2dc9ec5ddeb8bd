//! The manifest of an object's version: paths, sizes and digests, signed by the owner and stored encrypted.
//!
//! Stored form: `seal_buffer(COSE_Sign1(dag-cbor(Manifest)))`, RFC 9052, tagged, EdDSA, `kid` = the owner's 32-byte network
//! key, external data `hansa/v1 manifest`. The registry publishes the whole network key, so a reader verifies the signature without
//! recovering a key. The manifest contains chain, object and version, so it is valid for no other. After a key reset an old manifest
//! still contains the old key: compare `author` with the registry of that time. The record on the chain, signed by the account, binds
//! the manifest in any case.

use std::collections::HashSet;

use alloy_primitives::B256;
use bytes::Bytes;
use coset::{CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use ed25519_dalek::{Signature, VerifyingKey};
use hansa_types::{NAME_BYTES_MAX, NetworkKey, ObjectId, Version};
use serde::{Deserialize, Serialize};

use crate::{
    EnvelopeError, MemberKeys, OpeningKey, SealingKey, check_name, check_path, path::refused, seal_buffer,
    segment::open_buffer,
};

/// Maximum length of a sealed manifest in bytes: a million short paths.
pub const MANIFEST_BYTES_MAX: usize = 192 << 20;
/// Maximum length of a protected header in bytes: algorithm and key.
const HEADER_BYTES_MAX: usize = 64;
/// Maximum number of entries.
const ENTRIES_MAX: usize = 1_000_000;
const FORMAT: u8 = 1;
const SIGNATURE_CONTEXT: &[u8] = b"hansa/v1 manifest";
const DIGEST_CONTEXT: &str = "hansa 2026-11-21 v1 content digest";

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Exactly one file.
    File,
    /// Any number of files and folders.
    Directory,
}

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// A file with content.
    File,
    /// A folder without content. Folders are listed so that empty ones are restored.
    Directory,
}

/// One file or folder of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The relative path with `/` as separator; see [`check_path`].
    pub path: String,
    /// File or folder.
    pub kind: EntryKind,
    /// Offset of the content in the plaintext stream.
    pub offset: u64,
    /// Length of the content in bytes.
    pub size: u64,
    /// BLAKE3 of the content.
    pub digest: B256,
    /// The executable bit of the file's owner, the only stored part of a file's mode: no manifest can set set-user-ID or write permission
    /// for others. Omitted if `false`.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub executable: bool,
}

/// The digest of an object's whole content; see [`content_digest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentDigest(pub [u8; 32]);

/// The description of one version of one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    /// Format of this structure: 1.
    pub format: u8,
    /// The consortium.
    pub chain_id: u64,
    /// The object.
    pub object: ObjectId,
    /// The version.
    pub version: Version,
    /// The object's name: a file or folder name without a path.
    pub name: String,
    /// One file or a folder.
    pub kind: Kind,
    /// IANA media type as the owner gave it; empty when unknown.
    pub media_type: String,
    /// The owner's time of creation of the version, in Unix seconds.
    pub created_at: u64,
    /// Length of the plaintext in bytes without padding.
    pub size: u64,
    /// Files and folders in the order of the stream.
    pub entries: Vec<Entry>,
}

/// Incremental BLAKE3 of a file's content.
#[derive(Default)]
pub struct EntryHasher(blake3::Hasher);

impl EntryHasher {
    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes.
    pub fn finish(&self) -> B256 {
        B256::from(*self.0.finalize().as_bytes())
    }
}

/// The digest of paths, sizes and contents: BLAKE3 in key derivation mode over
/// `path length (4) ‖ path ‖ 0 for a file, 1 for a folder ‖ size (8) ‖ digest (32)` of each entry in order, integers big-endian. It does
/// not depend on time, name, executable bits, object or key: a business system can compute it from its own copy.
pub fn content_digest(entries: &[Entry]) -> ContentDigest {
    let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
    for entry in entries {
        hasher.update(&u32::try_from(entry.path.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(entry.path.as_bytes());
        hasher.update(&[u8::from(entry.kind == EntryKind::Directory)]);
        hasher.update(&entry.size.to_be_bytes());
        hasher.update(entry.digest.as_slice());
    }
    ContentDigest(*hasher.finalize().as_bytes())
}

impl Manifest {
    /// The value of [`Manifest::format`].
    pub const FORMAT: u8 = FORMAT;

    /// See [`content_digest`].
    pub fn digest(&self) -> ContentDigest {
        content_digest(&self.entries)
    }

    /// Checks names, paths, order, offsets and sums.
    ///
    /// # Errors
    /// [`EnvelopeError::Path`] for an unsafe path, [`EnvelopeError::Malformed`] for any other violation.
    pub fn check(&self) -> Result<(), EnvelopeError> {
        let malformed = |why: &str| Err(EnvelopeError::malformed("a manifest", why));
        if self.format != FORMAT {
            return malformed("its format is not 1; a newer version of Hansa wrote it");
        }
        if self.entries.len() > ENTRIES_MAX {
            return malformed("it has more than a million entries");
        }
        if self.media_type.len() > NAME_BYTES_MAX {
            return malformed("its media type is longer than 255 bytes");
        }
        check_name(&self.name)?;
        if self.kind == Kind::File && !matches!(self.entries.as_slice(), [one] if one.kind == EntryKind::File)
        {
            return malformed("a file object has exactly one file");
        }
        self.check_stream()?;
        self.check_paths()
    }

    fn check_stream(&self) -> Result<(), EnvelopeError> {
        let mut end = 0_u64;
        for entry in &self.entries {
            let folder_with_content =
                entry.kind == EntryKind::Directory && (entry.size != 0 || entry.executable);
            let next = end.checked_add(entry.size);
            match next {
                Some(next) if entry.offset == end && !folder_with_content => end = next,
                _ => {
                    return Err(EnvelopeError::malformed(
                        "a manifest",
                        "its entries do not follow one another",
                    ));
                }
            }
        }
        if end == self.size {
            Ok(())
        } else {
            Err(EnvelopeError::malformed("a manifest", "its size is not the sum of its entries"))
        }
    }

    fn check_paths(&self) -> Result<(), EnvelopeError> {
        let mut seen = HashSet::with_capacity(self.entries.len());
        let mut files = HashSet::with_capacity(self.entries.len());
        for entry in &self.entries {
            check_path(&entry.path)?;
            if !seen.insert(entry.path.as_str()) {
                return Err(refused(&entry.path, "is there twice"));
            }
            if entry.kind == EntryKind::File {
                files.insert(entry.path.as_str());
            }
        }
        for entry in &self.entries {
            let inside_a_file = entry
                .path
                .match_indices('/')
                .any(|(at, _)| entry.path.get(..at).is_some_and(|p| files.contains(p)));
            if inside_a_file {
                return Err(refused(&entry.path, "lies inside a file"));
            }
        }
        Ok(())
    }

    /// Signs with the owner's network key.
    ///
    /// # Errors
    /// As [`Manifest::check`].
    pub fn sign(&self, keys: &MemberKeys) -> Result<SignedManifest, EnvelopeError> {
        self.check()?;
        let payload =
            serde_ipld_dagcbor::to_vec(self).map_err(|e| EnvelopeError::malformed("a manifest", e))?;
        let protected = HeaderBuilder::new()
            .algorithm(iana::Algorithm::EdDSA)
            .key_id(keys.network_key().0.to_vec())
            .build();
        let encoded = CoseSign1Builder::new()
            .protected(protected)
            .payload(payload)
            .create_signature(SIGNATURE_CONTEXT, |bytes| keys.sign_network(bytes).to_vec())
            .build()
            .to_tagged_vec()
            .map_err(|e| EnvelopeError::malformed("a manifest", e))?;
        Ok(SignedManifest { author: ManifestAuthor(keys.network_key()), manifest: self.clone(), encoded })
    }
}

/// The network key that verified a manifest's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManifestAuthor(pub NetworkKey);

/// A verified manifest with its encoding.
#[derive(Clone, Debug)]
pub struct SignedManifest {
    manifest: Manifest,
    author: ManifestAuthor,
    encoded: Vec<u8>,
}

impl SignedManifest {
    /// Decodes a manifest and verifies signature, canonical form and rules. The caller compares `author` with the registry.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`], [`EnvelopeError::Signature`] or [`EnvelopeError::Path`].
    pub fn decode(encoded: Vec<u8>) -> Result<Self, EnvelopeError> {
        let malformed = |why: &dyn std::fmt::Display| EnvelopeError::malformed("a manifest", why);
        if encoded.len() > MANIFEST_BYTES_MAX {
            return Err(malformed(&"it is longer than 192 MiB"));
        }
        if !has_outline(&encoded) {
            return Err(malformed(&"it is not a tagged COSE_Sign1 without unprotected headers"));
        }
        let cose = CoseSign1::from_tagged_slice(&encoded).map_err(|e| malformed(&e))?;
        let header = &cose.protected.header;
        if header.alg != Some(coset::RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA)) {
            return Err(malformed(&"its signature algorithm is not EdDSA"));
        }
        let key = VerifyingKey::try_from(header.key_id.as_slice()).map_err(|_| EnvelopeError::Signature)?;
        cose.verify_signature(SIGNATURE_CONTEXT, |signature, bytes| {
            let signature = Signature::from_slice(signature)?;
            key.verify_strict(bytes, &signature)
        })
        .map_err(|_| EnvelopeError::Signature)?;
        let payload = cose.payload.as_deref().unwrap_or_default();
        let manifest: Manifest = serde_ipld_dagcbor::from_slice(payload).map_err(|e| malformed(&e))?;
        if serde_ipld_dagcbor::to_vec(&manifest).map_err(|e| malformed(&e))? != payload {
            return Err(malformed(&"it is not in canonical dag-cbor"));
        }
        manifest.check()?;
        let author = ManifestAuthor(NetworkKey(B256::from(key.to_bytes())));
        Ok(Self { manifest, author, encoded })
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest without its encoding.
    pub fn into_manifest(self) -> Manifest {
        self.manifest
    }

    /// The signer.
    pub fn author(&self) -> ManifestAuthor {
        self.author
    }

    /// The COSE_Sign1 encoding as plaintext.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Encrypts the manifest; returns the leaves to store.
    ///
    /// # Errors
    /// Only when the cryptographic library fails.
    pub fn seal(&self, key: SealingKey) -> Result<Vec<Bytes>, EnvelopeError> {
        seal_buffer(key, &self.encoded)
    }

    /// Decrypts the concatenated leaves, verifies like [`SignedManifest::decode`], and compares chain, object and version.
    ///
    /// # Errors
    /// [`EnvelopeError::Tampered`], [`EnvelopeError::Length`], and those of `decode`.
    pub fn open(
        key: OpeningKey,
        sealed: &[u8],
        chain_id: u64,
        object: ObjectId,
        version: Version,
    ) -> Result<Self, EnvelopeError> {
        if sealed.len() > MANIFEST_BYTES_MAX {
            return Err(EnvelopeError::malformed("a manifest", "it is longer than 192 MiB"));
        }
        let signed = Self::decode(open_buffer(key, sealed)?)?;
        let Manifest { chain_id: of_chain, object: of_object, version: of_version, .. } = signed.manifest;
        if (of_chain, of_object, of_version) != (chain_id, object, version) {
            return Err(EnvelopeError::malformed("a manifest", "it describes another object or version"));
        }
        Ok(signed)
    }
}

/// Whether bytes have the structure of [`Manifest::sign`]: tag 18, an array of four, short protected headers, no unprotected ones, a
/// payload and a signature. Checked before decoding, because decoded values can take many times the memory of their encoding.
fn has_outline(encoded: &[u8]) -> bool {
    let fields = || {
        let (header, rest) = byte_string(encoded.strip_prefix(&[0xd2, 0x84])?)?;
        let (_payload, rest) = byte_string(rest.strip_prefix(&[0xa0])?)?;
        let (_signature, rest) = byte_string(rest)?;
        Some(header.len() <= HEADER_BYTES_MAX && rest.is_empty())
    };
    fields() == Some(true)
}

/// Splits a CBOR byte string of definite length from the rest.
fn byte_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (length, rest) = match first {
        0x40..=0x57 => (usize::from(first & 0x1f), rest),
        0x58 => rest.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x59 => rest.split_first_chunk().map(|(bytes, rest)| (u16::from_be_bytes(*bytes).into(), rest))?,
        0x5a => {
            let (bytes, rest) = rest.split_first_chunk()?;
            (usize::try_from(u32::from_be_bytes(*bytes)).ok()?, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{DataKey, VersionKeys};

    fn object() -> ObjectId {
        "1/42".parse().unwrap()
    }

    fn entry(path: &str, kind: EntryKind, offset: u64, size: u64) -> Entry {
        let mut hasher = EntryHasher::default();
        hasher.update(&vec![1; size as usize]);
        Entry { path: path.to_owned(), kind, offset, size, digest: hasher.finish(), executable: false }
    }

    fn sample() -> Manifest {
        Manifest {
            format: Manifest::FORMAT,
            chain_id: 7,
            object: object(),
            version: Version(1),
            name: "orders".to_owned(),
            kind: Kind::Directory,
            media_type: String::new(),
            created_at: 1_700_000_000,
            size: 5,
            entries: vec![
                entry("a.json", EntryKind::File, 0, 2),
                entry("sub", EntryKind::Directory, 2, 0),
                entry("sub/b", EntryKind::File, 2, 3),
            ],
        }
    }

    fn keys() -> MemberKeys {
        MemberKeys::from_secrets([1; 32], [2; 32], [3; 32], [4; 32]).unwrap()
    }

    #[test]
    fn the_encoding_is_pinned() {
        let signed = sample().sign(&keys()).unwrap();
        let sum =
            B256::try_from(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.encoded()).as_ref())
                .unwrap();
        assert_eq!(signed.encoded().len(), 454);
        assert_eq!(
            (hex::encode(sum), hex::encode(sample().digest().0)),
            (
                "ae4333787ba91bed2144957c8dd7b65fb1c619cdc6c4626c6e75191028921eaf".to_owned(),
                "0696c01a978eb7c3251a4302d4ad256ce36e9f06ecb6024879b8ff23865b0a42".to_owned()
            )
        );
    }

    /// The executable bit is the last key of an entry. If it is `false`, the encoding equals that of a manifest without the key. The
    /// commitment does not depend on it.
    #[test]
    fn the_executable_bit_is_kept_and_changes_nothing_else() {
        let mut runs = sample();
        runs.entries[2].executable = true;
        let signed = runs.sign(&keys()).unwrap();
        assert_eq!(SignedManifest::decode(signed.encoded().to_vec()).unwrap().manifest(), &runs);
        assert_eq!(signed.encoded().len(), 454 + "executable".len() + 2);
        assert_eq!(runs.digest(), sample().digest());
    }

    #[test]
    fn round_trips_sealed_for_its_own_object_only() {
        let (versions, _) = VersionKeys::create(&DataKey::generate().unwrap()).unwrap();
        let (key, salt) = versions.seal_manifest(object(), Version(1)).unwrap();
        let sealed = sample().sign(&keys()).unwrap().seal(key).unwrap().concat();
        let opening = || versions.manifest(object(), Version(1), salt).unwrap();
        let open = |chain, object, version| SignedManifest::open(opening(), &sealed, chain, object, version);
        let back = open(7, object(), Version(1)).unwrap();
        assert_eq!((back.manifest(), back.author().0), (&sample(), keys().network_key()));
        assert!(open(8, object(), Version(1)).is_err());
        assert!(open(7, "1/43".parse().unwrap(), Version(1)).is_err());
        assert!(open(7, object(), Version(2)).is_err());
        let content = versions.content().unwrap();
        let wrong = SignedManifest::open(content, &sealed, 7, object(), Version(1));
        assert!(matches!(wrong, Err(EnvelopeError::Tampered(_))));
    }

    #[test]
    fn rules_are_enforced() {
        let check = |change: &dyn Fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            manifest.check().is_ok()
        };
        assert!(check(&|_| ()));
        assert!(check(&|m| {
            m.entries.clear();
            m.size = 0;
        }));
        let bad: [&dyn Fn(&mut Manifest); 15] = [
            &|m| m.format = 2,
            &|m| m.name = "../x".to_owned(),
            &|m| m.name = "a/b".to_owned(),
            &|m| m.name.clear(),
            &|m| m.kind = Kind::File,
            &|m| m.size = 6,
            &|m| m.entries[2].offset = 1,
            &|m| m.entries[2].path = "../b".to_owned(),
            &|m| m.entries[2].path = "/b".to_owned(),
            &|m| m.entries[2].path = "a.json".to_owned(),
            &|m| m.entries[2].path = "a.json/b".to_owned(),
            &|m| m.entries[1].size = 1,
            &|m| m.entries[1].executable = true,
            &|m| m.entries[0].size = u64::MAX,
            &|m| m.media_type = "x".repeat(256),
        ];
        for (i, change) in bad.into_iter().enumerate() {
            assert!(!check(change), "rule {i}");
        }
    }

    #[test]
    fn every_changed_byte_of_a_signed_manifest_is_refused() {
        let encoded = sample().sign(&keys()).unwrap().encoded().to_vec();
        for at in 0..encoded.len() {
            for bit in [0, 3, 7] {
                let mut bad = encoded.clone();
                bad[at] ^= 1 << bit;
                assert!(SignedManifest::decode(bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(SignedManifest::decode(encoded[..at].to_vec()).is_err(), "cut at {at}");
        }
        assert!(SignedManifest::decode([encoded.as_slice(), &[0]].concat()).is_err());
    }

    #[test]
    fn a_decoding_bomb_is_refused_by_its_outline() {
        // The unprotected headers are a million values of one byte, each of which would take 32 bytes in memory.
        let mut bomb = vec![0xd2, 0x84, 0x40, 0xa1, 0x05, 0x9a, 0x00, 0x10, 0x00, 0x00];
        bomb.resize(bomb.len() + (1 << 20), 0x00);
        let refused = SignedManifest::decode(bomb).unwrap_err().to_string();
        assert!(refused.contains("unprotected"), "{refused}");
        let signed = sample().sign(&keys()).unwrap();
        assert!(has_outline(signed.encoded()));
        for (bytes, rest) in
            [(&[0x41, 7, 9][..], &[9][..]), (&[0x58, 1, 7], &[]), (&[0x59, 0, 1, 7, 9], &[9])]
        {
            assert_eq!(byte_string(bytes), Some((&[7][..], rest)));
        }
        for bad in [&[][..], &[0x58], &[0x5a, 0xff, 0xff, 0xff, 0xff, 0], &[0x5f], &[0x61, 7]] {
            assert_eq!(byte_string(bad), None);
        }
    }

    #[test]
    fn cose_example_of_rfc_9052_verifies_the_library() {
        // cose-wg/Examples, eddsa-examples/eddsa-sig-01.json: Ed25519, external data empty.
        let encoded = hex::decode(COSE_EXAMPLE).unwrap();
        let cose = CoseSign1::from_tagged_slice(&encoded).unwrap();
        let key = hex::decode("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let key = VerifyingKey::try_from(key.as_slice()).unwrap();
        let verified = cose.verify_signature(b"", |signature, bytes| {
            key.verify_strict(bytes, &Signature::from_slice(signature)?)
        });
        assert!(verified.is_ok());
        assert_eq!(cose.payload.unwrap(), b"This is the content.");
    }

    const COSE_EXAMPLE: &str = "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e\
        58407142fd2ff96d56db85bee905a76ba1d0b7321a95c8c4d3607c5781932b7afb8711497dfa751bf40b58b3bcc32300b148\
        7f3db34085eef013bf08f4a44d6fef0d";

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(SignedManifest::decode(bytes).is_err());
        }
    }
}
