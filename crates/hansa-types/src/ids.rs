//! Identifiers as newtypes, so that a version is never passed where an object number belongs.

use core::{fmt, num::NonZeroU32, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A data centre's identifier: an integer ≥ 1, assigned once by the registry and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DcId(pub NonZeroU32);

impl DcId {
    /// The identifier with this value, or `None` for 0, which on the chain means "nobody".
    pub const fn new(value: u32) -> Option<Self> {
        match NonZeroU32::new(value) {
            Some(value) => Some(Self(value)),
            None => None,
        }
    }

    /// The plain integer.
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for DcId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for DcId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(ParseIdError::DcId)
    }
}

/// A cluster's identifier: an integer ≥ 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterId(pub u32);

/// A version of an object: 1 is the first, each update adds one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A data object: its owner's `dcId` and a number unique under that owner. Written `OWNER/NUMBER`, as in `1/42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The data centre whose storage contract holds the object.
    pub owner: DcId,
    /// Unique under the owner, ≥ 1.
    pub number: u64,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.number)
    }
}

impl FromStr for ObjectId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (owner, number) = text.split_once('/').ok_or(ParseIdError::ObjectId)?;
        let owner = owner.parse().map_err(|_| ParseIdError::ObjectId)?;
        match number.parse() {
            Ok(number) if number > 0 => Ok(Self { owner, number }),
            _ => Err(ParseIdError::ObjectId),
        }
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who may open an object (D1). On the chain an `int64`: −1 public, 0 members, 1 listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Visibility {
    /// Anyone, member or not.
    Public,
    /// Every member of the consortium.
    Members,
    /// The owner and those with a grant.
    Listed,
}

impl Visibility {
    /// The value that the contracts store.
    pub const fn code(self) -> i64 {
        match self {
            Self::Public => -1,
            Self::Members => 0,
            Self::Listed => 1,
        }
    }

    /// Reads the contracts' value; anything ≥ 1 is [`Visibility::Listed`], anything below −1 is unknown.
    pub const fn from_code(code: i64) -> Option<Self> {
        match code {
            -1 => Some(Self::Public),
            0 => Some(Self::Members),
            1.. => Some(Self::Listed),
            _ => None,
        }
    }
}

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdError {
    /// Not an integer ≥ 1.
    #[error("a data centre is named by its dcId, an integer of at least 1")]
    DcId,
    /// Not of the form `OWNER/NUMBER`.
    #[error("an object is named OWNER/NUMBER, for example 1/42")]
    ObjectId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_survive_text_and_refuse_everything_else() {
        let id: ObjectId = "1/42".parse().unwrap();
        assert_eq!(id.to_string(), "1/42");
        for bad in ["", "1", "1/", "/1", "0/1", "1/0", "1/-1", "1/2/3", "a/b", "4294967296/1"] {
            assert_eq!(bad.parse::<ObjectId>(), Err(ParseIdError::ObjectId), "{bad}");
        }
    }

    #[test]
    fn visibility_codes_round_trip() {
        for v in [Visibility::Public, Visibility::Members, Visibility::Listed] {
            assert_eq!(Visibility::from_code(v.code()), Some(v));
        }
        assert_eq!(Visibility::from_code(7), Some(Visibility::Listed));
        assert_eq!(Visibility::from_code(-2), None);
    }
}
