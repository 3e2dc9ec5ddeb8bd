//! Cursors of lists: the place behind the last object of a page.
//!
//! Text: base64url without padding. Bytes: order (1), then two integers (8 each, big endian): height and log index, or owner and number. A
//! cursor by name holds the object, not its name, because cursors travel in URLs.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hansa_types::{DcId, ObjectId};

use crate::{IndexError, ObjectRow};

/// The orders of lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By the record of the newest version, latest first.
    #[default]
    Newest = 0,
    /// The same, earliest first.
    Oldest = 1,
    /// By owner and number.
    Number = 2,
    /// By name without regard to case; only objects whose names this member can read.
    Name = 3,
}

/// A place in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    sort: Sort,
    first: u64,
    second: u64,
}

impl Cursor {
    /// The place behind an object.
    pub(crate) fn behind(sort: Sort, row: &ObjectRow) -> Self {
        let (first, second) = match sort {
            Sort::Newest | Sort::Oldest => (row.height, row.log_index),
            Sort::Number | Sort::Name => (row.id.owner.value().into(), row.id.number),
        };
        Self { sort, first, second }
    }

    /// The place behind an object of a list by number or name.
    pub(crate) fn behind_object(sort: Sort, id: ObjectId) -> Self {
        Self { sort, first: id.owner.value().into(), second: id.number }
    }

    /// The two integers.
    pub(crate) fn place(self) -> (u64, u64) {
        (self.first, self.second)
    }

    /// The object, in a list by number or name.
    pub(crate) fn object(self) -> Result<ObjectId, IndexError> {
        let owner = u32::try_from(self.first).ok().and_then(DcId::new).ok_or(IndexError::Cursor)?;
        Ok(ObjectId { owner, number: self.second })
    }

    /// As text.
    pub(crate) fn encode(self) -> String {
        let bytes = [&[self.sort as u8][..], &self.first.to_be_bytes(), &self.second.to_be_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a cursor of a list in this order.
    pub(crate) fn decode(text: &str, sort: Sort) -> Result<Self, IndexError> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| IndexError::Cursor)?;
        let bytes = <[u8; 17]>::try_from(bytes).map_err(|_| IndexError::Cursor)?;
        let (order, rest) = bytes.split_first().ok_or(IndexError::Cursor)?;
        let (first, second) = rest.split_first_chunk().ok_or(IndexError::Cursor)?;
        let second = second.first_chunk().ok_or(IndexError::Cursor)?;
        if *order != sort as u8 {
            return Err(IndexError::Cursor);
        }
        Ok(Self { sort, first: u64::from_be_bytes(*first), second: u64::from_be_bytes(*second) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_survive_text_and_refuse_everything_else() {
        let cursor = Cursor { sort: Sort::Number, first: 2, second: u64::MAX };
        assert_eq!(cursor.encode(), "AgAAAAAAAAAC__________8");
        assert_eq!(Cursor::decode("AgAAAAAAAAAC__________8", Sort::Number).unwrap(), cursor);
        for (text, sort) in [
            ("AgAAAAAAAAAC__________8", Sort::Newest),
            ("AgAAAAAAAAAC__________8=", Sort::Number),
            ("AgAAAAAAAAAC", Sort::Number),
            ("", Sort::Number),
            ("ü", Sort::Number),
            ("AgAAAAAAAAAC__________8A", Sort::Number),
        ] {
            assert!(matches!(Cursor::decode(text, sort), Err(IndexError::Cursor)), "{text} {sort:?}");
        }
        let nobody = Cursor { sort: Sort::Name, first: 0, second: 1 };
        assert!(nobody.object().is_err());
    }
}
