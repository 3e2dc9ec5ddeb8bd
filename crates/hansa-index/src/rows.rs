//! Rows of the tables that the index folds events into.

use alloy_primitives::{Address, B256};
use hansa_types::{DcId, ObjectId, Version, Visibility};
use sqlx::{Row as _, any::AnyRow};

use crate::{
    IndexError,
    cells::{Cell, Table, number, ordered},
};

pub(crate) const BLOCKS: Table =
    Table { name: "blocks", key: &["height"], columns: &["height", "hash", "timestamp", "events"] };
pub(crate) const TRANSACTIONS: Table =
    Table { name: "transactions", key: &["hash"], columns: &["hash", "height", "position"] };
pub(crate) const MEMBERS: Table = Table {
    name: "members",
    key: &["dc_id"],
    columns: &[
        "dc_id",
        "account",
        "network_key",
        "standing",
        "role",
        "consensus_endpoint",
        "swarm_endpoint",
        "admitted_height",
        "changed_height",
    ],
};
pub(crate) const BALLOTS: Table = Table {
    name: "ballots",
    key: &["id"],
    columns: &[
        "id",
        "kind",
        "opened_by",
        "subject",
        "electorate",
        "deadline",
        "opened_height",
        "in_favour",
        "against",
        "state",
    ],
};
pub(crate) const VOTES: Table =
    Table { name: "votes", key: &["ballot", "dc_id"], columns: &["ballot", "dc_id", "support", "height"] };
pub(crate) const OBJECTS: Table = Table {
    name: "objects",
    key: &["owner", "number"],
    columns: &[
        "owner",
        "number",
        "version",
        "root",
        "visibility",
        "changed_visibility",
        "changed_up_to",
        "size_class",
        "created_at",
        "valid_until",
        "height",
        "log_index",
    ],
};
pub(crate) const VERSIONS: Table = Table {
    name: "versions",
    key: &["owner", "number", "version"],
    columns: &[
        "owner",
        "number",
        "version",
        "root",
        "commitment",
        "visibility",
        "key_epoch",
        "size_class",
        "created_at",
        "valid_until",
        "height",
    ],
};
pub(crate) const GRANTS: Table = Table {
    name: "grants",
    key: &["owner", "number", "grantee"],
    columns: &[
        "owner",
        "number",
        "grantee",
        "in_force",
        "expires_at",
        "max_openings",
        "openings",
        "deposited",
        "height",
    ],
};
pub(crate) const HISTORY: Table = Table {
    name: "history",
    key: &["height", "log_index"],
    columns: &[
        "height",
        "log_index",
        "kind",
        "owner",
        "number",
        "version",
        "member",
        "code",
        "opening",
        "expires_at",
        "max_openings",
        "root",
        "transaction_hash",
        "timestamp",
    ],
};
/// Every table that events are folded into.
pub(crate) const TABLES: [&Table; 9] =
    [&BLOCKS, &TRANSACTIONS, &MEMBERS, &BALLOTS, &VOTES, &OBJECTS, &VERSIONS, &GRANTS, &HISTORY];

/// A stored row of one table.
pub(crate) trait Stored: Sized {
    /// Its columns, in the table's order.
    fn cells(&self) -> Vec<Cell>;
    /// Reads all columns of the table.
    fn read(row: &AnyRow) -> Result<Self, IndexError>;
}

/// A column as an integer of another type.
fn col<T: TryFrom<i64>>(row: &AnyRow, index: usize) -> Result<T, IndexError> {
    T::try_from(row.try_get::<i64, _>(index)?).map_err(|_| IndexError::Value("an integer"))
}

fn optional<T: TryFrom<i64>>(row: &AnyRow, index: usize) -> Result<Option<T>, IndexError> {
    let value = row.try_get::<Option<i64>, _>(index)?;
    value.map(T::try_from).transpose().map_err(|_| IndexError::Value("an integer"))
}

fn hash(row: &AnyRow, index: usize) -> Result<B256, IndexError> {
    let bytes: Vec<u8> = row.try_get(index)?;
    B256::try_from(bytes.as_slice()).map_err(|_| IndexError::Value("a hash"))
}

fn optional_hash(row: &AnyRow, index: usize) -> Result<Option<B256>, IndexError> {
    let bytes: Option<Vec<u8>> = row.try_get(index)?;
    let bytes = bytes.map(|bytes| B256::try_from(bytes.as_slice()));
    bytes.transpose().map_err(|_| IndexError::Value("a hash"))
}

/// The object named by the first two columns.
pub(crate) fn object(row: &AnyRow, first: usize) -> Result<ObjectId, IndexError> {
    let owner = DcId::new(col(row, first)?).ok_or(IndexError::Value("an owner"))?;
    Ok(ObjectId { owner, number: number(col(row, first.saturating_add(1))?) })
}

/// The first two columns of a table of objects.
pub(crate) fn object_cells(object: ObjectId) -> [Cell; 2] {
    [object.owner.value().into(), ordered(object.number).into()]
}

/// A member, as far as events tell. What they do not tell of a founder is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) dc_id: u32,
    pub(crate) account: Option<Address>,
    pub(crate) network_key: Option<B256>,
    pub(crate) standing: Option<u8>,
    pub(crate) role: Option<u8>,
    pub(crate) consensus_endpoint: Option<String>,
    pub(crate) swarm_endpoint: Option<String>,
    pub(crate) admitted_height: Option<u64>,
    pub(crate) changed_height: u64,
}

impl Stored for MemberRow {
    fn cells(&self) -> Vec<Cell> {
        vec![
            self.dc_id.into(),
            Cell::Bytes(self.account.map(|account| account.to_vec())),
            Cell::Bytes(self.network_key.map(|key| key.to_vec())),
            Cell::Int(self.standing.map(Into::into)),
            Cell::Int(self.role.map(Into::into)),
            Cell::Text(self.consensus_endpoint.clone()),
            Cell::Text(self.swarm_endpoint.clone()),
            Cell::Int(self.admitted_height.map(crate::cells::int)),
            self.changed_height.into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        let account: Option<Vec<u8>> = row.try_get(1)?;
        let account = account.map(|bytes| Address::try_from(bytes.as_slice()));
        Ok(Self {
            dc_id: col(row, 0)?,
            account: account.transpose().map_err(|_| IndexError::Value("an account"))?,
            network_key: optional_hash(row, 2)?,
            standing: optional(row, 3)?,
            role: optional(row, 4)?,
            consensus_endpoint: row.try_get(5)?,
            swarm_endpoint: row.try_get(6)?,
            admitted_height: optional(row, 7)?,
            changed_height: col(row, 8)?,
        })
    }
}

/// How a ballot ended. Whether an open one has expired is told by its deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BallotEnd {
    #[default]
    Open = 0,
    Executed = 1,
    Rejected = 2,
}

/// A ballot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BallotRow {
    pub(crate) id: u64,
    pub(crate) kind: u8,
    pub(crate) opened_by: u32,
    pub(crate) subject: u32,
    pub(crate) electorate: u32,
    pub(crate) deadline: u64,
    pub(crate) opened_height: u64,
    pub(crate) in_favour: u32,
    pub(crate) against: u32,
    pub(crate) state: BallotEnd,
}

impl Stored for BallotRow {
    fn cells(&self) -> Vec<Cell> {
        vec![
            self.id.into(),
            u32::from(self.kind).into(),
            self.opened_by.into(),
            self.subject.into(),
            self.electorate.into(),
            self.deadline.into(),
            self.opened_height.into(),
            self.in_favour.into(),
            self.against.into(),
            (self.state as i64).into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        Ok(Self {
            id: col(row, 0)?,
            kind: col(row, 1)?,
            opened_by: col(row, 2)?,
            subject: col(row, 3)?,
            electorate: col(row, 4)?,
            deadline: col(row, 5)?,
            opened_height: col(row, 6)?,
            in_favour: col(row, 7)?,
            against: col(row, 8)?,
            state: match col::<i64>(row, 9)? {
                0 => BallotEnd::Open,
                1 => BallotEnd::Executed,
                2 => BallotEnd::Rejected,
                _ => return Err(IndexError::Value("a ballot's state")),
            },
        })
    }
}

/// The newest version of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// The object.
    pub id: ObjectId,
    /// Its newest version.
    pub version: Version,
    /// That version's root.
    pub root: B256,
    /// Who may open it.
    pub visibility: Visibility,
    /// The last change of visibility, and the newest version that it covers (0: there was none).
    pub(crate) change: (Option<i64>, u32),
    /// Padded size that everybody sees.
    pub size_class: u64,
    /// When the owner made the version, Unix seconds.
    pub created_at: u64,
    /// End of validity, Unix seconds; 0: for ever.
    pub valid_until: u64,
    /// The height that recorded the version.
    pub height: u64,
    /// The record's log index in that block.
    pub log_index: u64,
}

impl ObjectRow {
    /// A version that was just recorded, with nothing special about it.
    pub fn new(id: ObjectId, version: Version, root: B256, visibility: Visibility, valid_until: u64) -> Self {
        let (size_class, created_at, height, log_index) = (0, 0, 0, 0);
        let change = (None, 0);
        Self { id, version, root, visibility, change, size_class, created_at, valid_until, height, log_index }
    }
}

impl Stored for ObjectRow {
    fn cells(&self) -> Vec<Cell> {
        let [owner, number] = object_cells(self.id);
        vec![
            owner,
            number,
            self.version.0.into(),
            (&self.root).into(),
            self.visibility.code().into(),
            Cell::Int(self.change.0),
            self.change.1.into(),
            self.size_class.into(),
            self.created_at.into(),
            self.valid_until.into(),
            self.height.into(),
            self.log_index.into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        Ok(Self {
            id: object(row, 0)?,
            version: Version(col(row, 2)?),
            root: hash(row, 3)?,
            visibility: visibility(col(row, 4)?)?,
            change: (optional(row, 5)?, col(row, 6)?),
            size_class: col(row, 7)?,
            created_at: col(row, 8)?,
            valid_until: col(row, 9)?,
            height: col(row, 10)?,
            log_index: col(row, 11)?,
        })
    }
}

fn visibility(code: i64) -> Result<Visibility, IndexError> {
    Visibility::from_code(code).ok_or(IndexError::Value("a visibility"))
}

/// A recorded version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionRow {
    pub(crate) id: ObjectId,
    pub(crate) version: u32,
    pub(crate) root: B256,
    pub(crate) commitment: B256,
    /// As recorded; a later change is with the object.
    pub(crate) visibility: i64,
    pub(crate) key_epoch: u32,
    pub(crate) size_class: u64,
    pub(crate) created_at: u64,
    pub(crate) valid_until: u64,
    pub(crate) height: u64,
}

impl Stored for VersionRow {
    fn cells(&self) -> Vec<Cell> {
        let [owner, number] = object_cells(self.id);
        vec![
            owner,
            number,
            self.version.into(),
            (&self.root).into(),
            (&self.commitment).into(),
            self.visibility.into(),
            self.key_epoch.into(),
            self.size_class.into(),
            self.created_at.into(),
            self.valid_until.into(),
            self.height.into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        Ok(Self {
            id: object(row, 0)?,
            version: col(row, 2)?,
            root: hash(row, 3)?,
            commitment: hash(row, 4)?,
            visibility: col(row, 5)?,
            key_epoch: col(row, 6)?,
            size_class: col(row, 7)?,
            created_at: col(row, 8)?,
            valid_until: col(row, 9)?,
            height: col(row, 10)?,
        })
    }
}

/// A grant, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// The object.
    pub id: ObjectId,
    /// The grantee.
    pub grantee: DcId,
    /// False once it was revoked.
    pub in_force: bool,
    /// Its end, Unix seconds; 0: none.
    pub expires_at: u64,
    /// Openings that it allows; 0: any number.
    pub max_openings: u32,
    /// Openings that were made under it.
    pub openings: u32,
    /// Whether a key was deposited with it.
    pub deposited: bool,
    /// The height that gave or revoked it.
    pub height: u64,
}

impl Stored for GrantRow {
    fn cells(&self) -> Vec<Cell> {
        let [owner, number] = object_cells(self.id);
        vec![
            owner,
            number,
            self.grantee.value().into(),
            self.in_force.into(),
            self.expires_at.into(),
            self.max_openings.into(),
            self.openings.into(),
            self.deposited.into(),
            self.height.into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        Ok(Self {
            id: object(row, 0)?,
            grantee: DcId::new(col(row, 2)?).ok_or(IndexError::Value("a grantee"))?,
            in_force: col::<i64>(row, 3)? != 0,
            expires_at: col(row, 4)?,
            max_openings: col(row, 5)?,
            openings: col(row, 6)?,
            deposited: col::<i64>(row, 7)? != 0,
            height: col(row, 8)?,
        })
    }
}

/// The kinds of events in an object's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryKind {
    /// A version was recorded.
    Version = 0,
    /// A grant was given.
    Shared = 1,
    /// A grant was taken back.
    Revoked = 2,
    /// The visibility was changed.
    Visibility = 3,
    /// An opening was allowed.
    Opened = 4,
    /// An opening was refused.
    Refused = 5,
    /// A key was released.
    KeyReleased = 6,
}

/// An event of an object's history. Fields that an event of its kind does not have are 0 or `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Height.
    pub height: u64,
    /// The log's index in the block.
    pub log_index: u64,
    /// Its kind.
    pub kind: HistoryKind,
    /// The object.
    pub id: ObjectId,
    /// The version that it concerns.
    pub version: u32,
    /// The member that acted or was acted upon; for a refusal, the one that asked.
    pub member: u32,
    /// Of a refusal its reason; of a change of visibility the new one; of a grant whether a key was deposited (1).
    pub code: i64,
    /// Number of the opening; for a refusal, the member that refused (0: the contract).
    pub opening: u64,
    /// End of a grant.
    pub expires_at: u64,
    /// Openings of a grant.
    pub max_openings: u32,
    /// Root of a version.
    pub root: Option<B256>,
    /// Hash of the transaction.
    pub transaction: B256,
    /// The block's time, Unix seconds.
    pub timestamp: u64,
}

impl Stored for HistoryRow {
    fn cells(&self) -> Vec<Cell> {
        let [owner, number] = object_cells(self.id);
        vec![
            self.height.into(),
            self.log_index.into(),
            (self.kind as i64).into(),
            owner,
            number,
            self.version.into(),
            self.member.into(),
            self.code.into(),
            self.opening.into(),
            self.expires_at.into(),
            self.max_openings.into(),
            Cell::Bytes(self.root.map(|root| root.to_vec())),
            (&self.transaction).into(),
            self.timestamp.into(),
        ]
    }

    fn read(row: &AnyRow) -> Result<Self, IndexError> {
        use HistoryKind::{KeyReleased, Opened, Refused, Revoked, Shared, Version, Visibility};
        let kinds = [Version, Shared, Revoked, Visibility, Opened, Refused, KeyReleased];
        let kind = kinds.get(col::<usize>(row, 2)?).copied();
        Ok(Self {
            height: col(row, 0)?,
            log_index: col(row, 1)?,
            kind: kind.ok_or(IndexError::Value("a kind of event"))?,
            id: object(row, 3)?,
            version: col(row, 5)?,
            member: col(row, 6)?,
            code: col(row, 7)?,
            opening: col(row, 8)?,
            expires_at: col(row, 9)?,
            max_openings: col(row, 10)?,
            root: optional_hash(row, 11)?,
            transaction: hash(row, 12)?,
            timestamp: col(row, 13)?,
        })
    }
}
