//! Every public error code, numbered once and for all. A number is never reused for another meaning.
//!
//! 1xxx the request itself · 2xxx objects and access · 3xxx governance · 4xxx the chain · 5xxx the node.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $title:literal, $hint:literal;)*) => {
        /// What went wrong, as a number that programs may rely on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All codes, ascending.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The public number.
            pub const fn number(self) -> u32 {
                match self { $(Self::$name => $number,)* }
            }

            /// One line that is the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What a person can usually do about it.
            pub const fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)* }
            }

            /// The code with this number, if there is one.
            pub const fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The body, a header, a path segment or a query parameter cannot be read.
    Malformed = 1000, "The request cannot be read", "Compare the request with the documentation of this endpoint.";
    /// No token, or not this node's.
    Unauthenticated = 1001, "The node's token is missing or wrong",
        "Send `Authorization: Bearer TOKEN` with the token from the file `rest.token` in the home folder.";
    /// No such path.
    NoSuchEndpoint = 1002, "There is no such endpoint", "The interface's paths begin with /v1/.";
    /// The path exists, not with this method.
    MethodNotAllowed = 1003, "The endpoint does not take this method", "See the `Allow` header of the answer.";
    /// A body larger than the endpoint takes.
    TooLarge = 1004, "The request is too large", "Send less in one request.";
    /// A content type that the endpoint does not take.
    UnsupportedMedia = 1005, "The endpoint does not take this content type",
        "Send application/json, or for content application/octet-stream (one file) or application/x-tar (a directory).";
    /// Too many operations run at once.
    Busy = 1006, "The node is busy", "Try again in a moment.";
    /// The request's body ended early.
    UploadInterrupted = 1007, "The upload ended before it was complete", "Send it again; nothing was recorded.";
    /// A path in an uploaded archive is absolute, climbs up, repeats or is no file or directory.
    UnsafePath = 1008, "The archive holds a path that is not allowed",
        "Use relative paths of plain files and directories, each once.";
    /// An upload's size or digest is not the one stated beforehand.
    ContentMismatch = 1009, "The content is not what was announced", "Send it again; nothing was recorded.";

    /// No record of this object.
    UnknownObject = 2001, "The object does not exist", "List the objects with `hansa ls`.";
    /// The object has no such version.
    UnknownVersion = 2002, "The object has no such version", "Show its versions with `hansa log ID`.";
    /// Only the owner may do this.
    NotOwner = 2003, "Only the object's owner may do this", "Ask the owner.";
    /// The contract refused; the refusal is recorded.
    AccessRefused = 2004, "Access is refused by the chain", "Ask the owner to share the object with you.";
    /// The owner's node refused to release the key; the refusal is recorded.
    KeyRefused = 2005, "The owner's node refused to release the key", "Ask the owner.";
    /// The key is with the owner's node, which does not answer.
    OwnerUnreachable = 2006, "The owner's node cannot be reached",
        "Try again when it is online, or ask the owner to deposit the key with the grant.";
    /// Some blocks were found at no member.
    ContentUnavailable = 2007, "The object's content cannot be fetched",
        "Try again; `hansa verify ID` says which replicas are missing.";
    /// Content that does not match the chain.
    ContentDamaged = 2008, "The object's content does not match the chain", "Repair it with `hansa repair ID` on the node that keeps it.";
    /// The object's validity has ended.
    Expired = 2009, "The object is no longer valid", "Ask the owner for a newer version.";
    /// The version was encrypted under a key this member never received or no longer receives.
    KeyMissing = 2010, "This member holds no key for the version", "Ask the owner to share it again.";
    /// The grant to revoke does not exist.
    UnknownGrant = 2011, "There is no such grant", "Show the grants with `hansa log ID`.";

    /// No such ballot.
    UnknownBallot = 3001, "The ballot does not exist", "List the ballots with `hansa member ballots`.";
    /// The ballot was decided or has expired.
    BallotClosed = 3002, "The ballot is closed", "Open a new one.";
    /// This member voted already.
    AlreadyVoted = 3003, "This member has already voted", "A vote cannot be changed.";
    /// The card is incomplete or a key on it belongs to a member.
    BadCard = 3004, "The member card is not acceptable", "Make a new one with `hansa keys new`.";
    /// No such member.
    UnknownMember = 3005, "The member does not exist", "List the members with `hansa member list`.";
    /// A rule stands against what the ballot would decide.
    MotionRefused = 3006, "A rule refuses what this ballot would decide", "The message names the rule; `--dry-run` shows the consequences.";

    /// This node's account is not registered.
    NotMember = 4001, "This node does not belong to a member", "Ask a member to open a join ballot for its card.";
    /// A transaction was included and failed.
    TransactionFailed = 4002, "The transaction failed", "The message gives the contract's reason.";
    /// The pool did not take the transaction.
    TransactionRefused = 4003, "The transaction was not accepted", "The message gives the pool's reason.";
    /// Submitted, but not final within the time allowed.
    NotFinal = 4004, "The transaction is not final yet",
        "It may still become final; check with `hansa log ID` before doing it again.";
    /// No such block.
    UnknownBlock = 4005, "The block does not exist", "`hansa status` shows the height.";
    /// More transactions wait than the chain executes in a few seconds.
    ChainBusy = 4006, "The chain is busy", "Try again after the time that the message gives.";
    /// No certificate of the block, or of any of the blocks that follow it closely.
    NotCertified = 4007, "This node holds no certificate for the block",
        "`hansa block proof` goes on to the next certified block; for a block that has just become final try again in a moment, else ask another member's node.";

    /// A fault of the node.
    Internal = 5000, "The node failed", "The node's log says more.";
    /// Starting or stopping.
    NotReady = 5001, "The node is not ready", "Try again when `hansa status` answers.";
    /// No room on the node's disk.
    DiskFull = 5002, "The node's disk is full",
        "Free space in the file system of the node's data folder; `hansa status` shows how much there is.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E{}", self.number())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.number())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // An older client must be able to read a newer node's errors; the message still says what happened.
        Ok(Self::from_number(u32::deserialize(deserializer)?).unwrap_or(Self::Internal))
    }
}

/// An error as the interface answers it: `application/problem+json` (RFC 9457) with a code and a hint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `urn:hansa:error:NUMBER`.
    #[serde(rename = "type")]
    pub kind: String,
    /// [`Code::title`].
    pub title: String,
    /// The HTTP status; in an error that ends a stream, the one it would have had.
    #[serde(default)]
    pub status: u16,
    /// What happened, to what.
    #[serde(rename = "detail")]
    pub message: String,
    /// The number.
    pub code: Code,
    /// What to do next.
    pub hint: String,
}

impl Problem {
    /// A problem with the code's own title and hint.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:hansa:error:{}", code.number()),
            title: code.title().to_owned(),
            status: 0,
            message: message.into(),
            code,
            hint: code.hint().to_owned(),
        }
    }

    /// Replaces the hint by one that fits the case better.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_ascending_and_found_again() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for code in Code::ALL {
            assert_eq!(Code::from_number(code.number()), Some(*code));
        }
    }

    #[test]
    fn problems_are_pinned_and_unknown_codes_are_read() {
        let problem = Problem::new(Code::AccessRefused, "no grant for 3");
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(
            text,
            r#"{"type":"urn:hansa:error:2004","title":"Access is refused by the chain","status":0,"detail":"no grant for 3","code":2004,"hint":"Ask the owner to share the object with you."}"#
        );
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        let newer = text.replace("2004", "9999");
        assert_eq!(serde_json::from_str::<Problem>(&newer).unwrap().code, Code::Internal);
    }
}
