//! Lays out deposits where they are kept: with a grant on the chain, and beside a version in the swarm.
//!
//! Encodings only. What a deposit seals, and how it is released, is in [`crate::Deposit`] and [`crate::ReleaseId`].

use alloy_primitives::Bytes;

use crate::{DEPOSIT_OVERHEAD_BYTES, DEPOSITED_BYTES_MAX, DcId, ReleasedKey, Version};

/// Most deposits that travel with one version.
pub const VERSION_DEPOSITS_MAX: usize = 32;
/// Most bytes of one deposit, encoded.
const DEPOSIT_BYTES_MAX: usize = DEPOSIT_OVERHEAD_BYTES + DEPOSITED_BYTES_MAX;

const EPOCH_LAYOUT: u8 = 1;
const VERSION_LAYOUT: u8 = 2;
const LIST_LAYOUT: u8 = 1;

/// The deposit that a grant carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantDeposit {
    /// The key that the deposit holds.
    pub key: ReleasedKey,
    /// An encoded [`crate::Deposit`].
    pub deposit: Bytes,
}

impl GrantDeposit {
    /// Of an audience key: the deposit itself, whose first byte is 01; the grant names the epoch. Of a version's key:
    /// `layout 1 (02) ‖ version 4, big-endian ‖ deposit`.
    pub fn encode(&self) -> Vec<u8> {
        match self.key {
            ReleasedKey::Epoch(_) => self.deposit.to_vec(),
            ReleasedKey::Version(version) => {
                [&[VERSION_LAYOUT], version.0.to_be_bytes().as_slice(), &self.deposit].concat()
            }
        }
    }

    /// Reads what [`GrantDeposit::encode`] wrote into a grant of this key epoch; `None` for anything else. The deposit itself is not
    /// decoded.
    pub fn decode(bytes: &[u8], grant_epoch: u32) -> Option<Self> {
        let (&layout, rest) = bytes.split_first()?;
        match layout {
            EPOCH_LAYOUT => {
                Some(Self { key: ReleasedKey::Epoch(grant_epoch), deposit: Bytes::copy_from_slice(bytes) })
            }
            VERSION_LAYOUT => {
                let (version, deposit) = rest.split_first_chunk()?;
                let key = ReleasedKey::Version(Version(u32::from_be_bytes(*version)));
                Some(Self { key, deposit: Bytes::copy_from_slice(deposit) })
            }
            _ => None,
        }
    }
}

/// One grantee's deposit beside a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionDeposit {
    /// The member that may open.
    pub grantee: DcId,
    /// Nonce of the grant that stood when the version was sealed.
    pub grant_nonce: u32,
    /// An encoded [`crate::Deposit`] of the version's data key.
    pub deposit: Bytes,
}

/// The deposits that travel with one version: of its data key, one for each grantee, sorted by grantee.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionDeposits(Vec<VersionDeposit>);

impl VersionDeposits {
    /// Sorts deposits by grantee. `None` when there are more than [`VERSION_DEPOSITS_MAX`], two of one grantee, or one that is too
    /// long.
    pub fn new(mut deposits: Vec<VersionDeposit>) -> Option<Self> {
        deposits.sort_by_key(|one| one.grantee);
        let sorted = deposits.is_sorted_by(|a, b| a.grantee < b.grantee);
        let short = deposits.iter().all(|one| one.deposit.len() <= DEPOSIT_BYTES_MAX);
        (sorted && short && deposits.len() <= VERSION_DEPOSITS_MAX).then_some(Self(deposits))
    }

    /// The deposit of a grantee.
    pub fn of(&self, grantee: DcId) -> Option<&VersionDeposit> {
        self.0.iter().find(|one| one.grantee == grantee)
    }

    /// `layout 1 (01)`, then for each grantee `grantee 4 ‖ grant nonce 4 ‖ length 2 ‖ deposit`; integers big-endian, grantees ascending.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![LIST_LAYOUT];
        for VersionDeposit { grantee, grant_nonce, deposit } in &self.0 {
            // At most `DEPOSIT_BYTES_MAX`.
            let length = u16::try_from(deposit.len()).unwrap_or(u16::MAX);
            bytes.extend(grantee.value().to_be_bytes());
            bytes.extend(grant_nonce.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend_from_slice(deposit);
        }
        bytes
    }

    /// Reads what [`VersionDeposits::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (&layout, mut rest) = bytes.split_first()?;
        if layout != LIST_LAYOUT {
            return None;
        }
        let mut deposits = Vec::new();
        while !rest.is_empty() && deposits.len() < VERSION_DEPOSITS_MAX {
            let (grantee, after) = rest.split_first_chunk()?;
            let (nonce, after) = after.split_first_chunk()?;
            let (length, after) = after.split_first_chunk()?;
            let (deposit, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
            deposits.push(VersionDeposit {
                grantee: DcId::new(u32::from_be_bytes(*grantee))?,
                grant_nonce: u32::from_be_bytes(*nonce),
                deposit: Bytes::copy_from_slice(deposit),
            });
            rest = after;
        }
        let is_sorted = deposits.is_sorted_by(|a, b| a.grantee < b.grantee);
        Self::new(deposits).filter(|_| is_sorted && rest.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(grantee: u32, length: usize) -> VersionDeposit {
        let grantee = DcId::new(grantee).unwrap();
        VersionDeposit { grantee, grant_nonce: 7, deposit: vec![1; length].into() }
    }

    #[test]
    fn deposits_of_grants_are_pinned() {
        let of = |key| GrantDeposit { key, deposit: Bytes::from_static(&[1, 0xaa]) };
        for (granted, pinned) in
            [(of(ReleasedKey::Epoch(3)), "01aa"), (of(ReleasedKey::Version(Version(9))), "020000000901aa")]
        {
            assert_eq!(hex::encode(granted.encode()), pinned);
            assert_eq!(GrantDeposit::decode(&granted.encode(), 3), Some(granted));
        }
        for bad in [&[][..], &[0, 1], &[3, 1], &[2, 0, 0, 0]] {
            assert_eq!(GrantDeposit::decode(bad, 3), None, "{bad:?}");
        }
    }

    #[test]
    fn deposits_of_versions_are_pinned() {
        let deposits = VersionDeposits::new(vec![one(5, 2), one(2, 1)]).unwrap();
        let pinned = "010000000200000007000101000000050000000700020101";
        assert_eq!(hex::encode(deposits.encode()), pinned);
        assert_eq!(VersionDeposits::decode(&deposits.encode()), Some(deposits.clone()));
        assert_eq!(deposits.of(DcId::new(5).unwrap()), Some(&one(5, 2)));
        assert_eq!(deposits.of(DcId::new(3).unwrap()), None);
        for end in 0..deposits.encode().len() {
            // Cut between two grantees it is the list of the first.
            assert_ne!(VersionDeposits::decode(&deposits.encode()[..end]), Some(deposits.clone()), "{end}");
        }
    }

    #[test]
    fn lists_that_are_too_long_unsorted_or_of_nobody_are_refused() {
        let full: Vec<_> = (1..=32).map(|grantee| one(grantee, DEPOSIT_BYTES_MAX)).collect();
        let encoded = VersionDeposits::new(full.clone()).unwrap().encode();
        assert_eq!(VersionDeposits::decode(&encoded).unwrap().0, full);
        assert_eq!(VersionDeposits::new([full, vec![one(33, 1)]].concat()), None);
        assert_eq!(VersionDeposits::new(vec![one(1, DEPOSIT_BYTES_MAX + 1)]), None);
        assert_eq!(VersionDeposits::new(vec![one(1, 1), one(1, 1)]), None);
        let entry = &VersionDeposits::new(vec![one(1, 1)]).unwrap().encode()[1..];
        let nobody = [0; 10];
        for bad in [[&encoded, entry].concat(), [&[1], entry, entry].concat(), [&[1], &nobody[..]].concat()] {
            assert_eq!(VersionDeposits::decode(&bad), None);
        }
        assert_eq!(VersionDeposits::decode(&[2]), None);
    }
}
