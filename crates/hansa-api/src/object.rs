//! Objects, grants, history and verification over the REST interface.

use alloy_primitives::B256;
use serde::{Deserialize, Serialize};

use super::Progress;
use hansa_types::{DcId, ObjectId, Version, Visibility};

/// Whether an object is one file or a directory tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// One file; its content travels as it is.
    File,
    /// A tree; its content travels as a tar archive.
    Directory,
}

/// What is said about content when it is put. Travels in the header [`super::header::META`], as JSON in percent-encoding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PutMeta {
    /// File or directory name, encrypted with the content. An update may leave it out: the object keeps its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// File or directory.
    pub kind: ObjectKind,
    /// Whether a single file can be run as a program. A directory's archive says so for each file.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub executable: bool,
    /// Bytes of all files to come, where the sender is sure of it: content of another size is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Who may open it. Ignored by an update, which keeps the object's visibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// End of validity; `None`: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<u64>,
    /// How many other members are to keep a replica; the answer waits for them. `None`: as many as the allocation asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
}

/// A version that was recorded on the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutReceipt {
    /// The object.
    pub id: ObjectId,
    /// The new version.
    pub version: Version,
    /// CID of the version's root block in the swarm.
    pub cid: String,
    /// Plaintext bytes.
    pub size: u64,
    /// Files in it.
    pub files: u64,
    /// The recording transaction.
    pub transaction: B256,
    /// The block that made it final.
    pub block: u64,
    /// Seconds from the first byte to finality.
    pub seconds: f64,
    /// Members that hold a replica, the owner included, as far as is known when the answer is written.
    #[serde(default)]
    pub replicas: Vec<DcId>,
    /// How many other members were asked to keep a replica.
    #[serde(default)]
    pub asked: u32,
}

impl PutReceipt {
    /// How many of the replicas asked for did not exist when the answer was written.
    pub fn replicas_short(&self) -> u32 {
        let others = self.replicas.iter().filter(|dc_id| **dc_id != self.id.owner).count();
        self.asked.saturating_sub(u32::try_from(others).unwrap_or(u32::MAX))
    }
}

/// One object as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectSummary {
    /// The object.
    pub id: ObjectId,
    /// Its latest version.
    pub version: Version,
    /// Its name, where this member can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// File or directory, where this member can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<ObjectKind>,
    /// Plaintext bytes, where this member can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Padded size that everybody sees.
    pub size_class: u64,
    /// Who may open it.
    pub visibility: Visibility,
    /// Members with a grant, where this member may know.
    #[serde(default)]
    pub shared_with: Vec<DcId>,
    /// The terms of those grants; to a grantee, of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<GrantSummary>,
    /// CID of the latest version's root block.
    pub cid: String,
    /// When the owner made the latest version.
    pub created_at: u64,
    /// End of validity; `None`: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<u64>,
    /// Whether this node may open it now.
    pub readable: bool,
}

/// A grant that was not revoked, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantSummary {
    /// The grantee.
    pub to: DcId,
    /// Its end; `None`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// Whether that end has passed, by the chain's time.
    pub expired: bool,
    /// Openings that are left; `None`: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openings_left: Option<u32>,
}

/// With whom an object is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GrantRequest {
    /// The members to grant to.
    pub to: Vec<DcId>,
    /// When the grants end; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// How often each may open it; `None`: without limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_openings: Option<u32>,
    /// Deposits the wrapped key with the grant, so that it can be opened while the owner is offline. With an end or a number of openings this
    /// holds for the newest version, and for later ones where no more than 32 members have such grants.
    #[serde(default)]
    pub deposit: bool,
}

/// Sets who may open an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VisibilityRequest {
    /// The new visibility.
    pub visibility: Visibility,
}

/// A change that is final on the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// Its transactions.
    pub transactions: Vec<B256>,
    /// The block of the last of them.
    pub block: u64,
}

/// What kind of event a line of an object's history is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogKind {
    /// A version was recorded.
    Version,
    /// A grant was given.
    Shared,
    /// A grant was taken back.
    Revoked,
    /// The visibility was changed.
    Visibility,
    /// The chain allowed an opening.
    Opened,
    /// The chain or the owner's node refused.
    Refused,
    /// The owner's node released the key.
    KeyReleased,
}

/// One line of an object's history, from the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// What happened.
    pub kind: LogKind,
    /// Which version, where it concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Who acted, or was acted upon: grantee, opener, owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dc_id: Option<DcId>,
    /// A refusal's reason as one word, such as `notGranted` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The member whose node refused, which is that member's claim; `None` where the contract did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<DcId>,
    /// In words: a refusal's reason, a visibility.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Block, and its time.
    pub block: u64,
    /// The block's time.
    pub timestamp: u64,
    /// Transaction.
    pub transaction: B256,
}

/// What to verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VerifyRequest {
    /// One version; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Where to look.
    #[serde(default)]
    pub scope: VerifyScope,
    /// SHA-256 of the business system's own copy, to be compared (E3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_digest: Option<B256>,
}

/// Which replicas a verification reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyScope {
    /// This node's blocks.
    Local,
    /// This node's and every replica's.
    #[default]
    Replicas,
}

/// The layer a fault was found in, in MISSION's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultLayer {
    /// "consortium data abnormal".
    Consortium,
    /// "IPFS data abnormal".
    Ipfs,
    /// "data-centre data abnormal".
    DataCentre,
}

/// Something that does not match the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Where.
    pub layer: FaultLayer,
    /// On whose node.
    pub dc_id: DcId,
    /// Which version it belongs to, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// The block in the swarm, where the fault is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// The block on the chain, where the fault is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// What is wrong: `missing`, `corrupt`, `unreachable`, …, in words.
    pub detail: String,
}

/// The outcome of a verification. Faults are a result, not an error of the request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    /// The object; `None`: all that this node keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ObjectId>,
    /// Blocks that were read and compared.
    pub blocks: u64,
    /// Bytes that were read and compared.
    pub bytes: u64,
    /// Nodes that were asked.
    pub nodes: Vec<DcId>,
    /// What was found; empty when clean. At most 10,000; [`VerifyReport::faults_more`] counts the rest.
    pub faults: Vec<Fault>,
    /// Faults beyond those in the list.
    #[serde(default)]
    pub faults_more: u64,
    /// Versions of this member's own objects that were looked at.
    #[serde(default)]
    pub own_versions: u64,
    /// Versions of other members' objects that were looked at.
    #[serde(default)]
    pub replica_versions: u64,
    /// Versions that this node was to keep a replica of and never will, because what was recorded is no object. Their owners
    /// are at fault, not this node. At most 1,000.
    #[serde(default)]
    pub given_up: Vec<GivenUp>,
    /// The height that everything was compared with.
    pub height: u64,
}

/// A version that no node can keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GivenUp {
    /// The object.
    pub id: ObjectId,
    /// Which version.
    pub version: Version,
    /// What is wrong with it, in words.
    pub reason: String,
}

impl VerifyReport {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// The outcome of a repair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RepairReport {
    /// The object; `None`: all that this node keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ObjectId>,
    /// CIDs of the blocks that were fetched anew.
    pub repaired: Vec<String>,
    /// What is still wrong.
    pub remaining: Vec<Fault>,
}

/// A version whose blocks a node is fetching from other members: somebody opens it, or the node is to keep a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetching {
    /// The object.
    pub id: ObjectId,
    /// Which version.
    pub version: Version,
    /// How much of it is here: encrypted bytes.
    pub progress: Progress,
}

/// How a node stands with the replicas that it keeps for other members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationStatus {
    /// Bytes kept, or set aside for versions that are being fetched.
    pub bytes: u64,
    /// Whether no replicas are taken because too little of the disk is free.
    pub paused_by_disk: bool,
    /// Owners whose replicas fill the share of the disk that one owner may have.
    #[serde(default)]
    pub full_owners: Vec<DcId>,
    /// Versions given up because what was recorded is no object.
    pub given_up: u64,
}

/// What the background check of the block store has done since the node started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrubStatus {
    /// Blocks compared with their CIDs.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks found damaged.
    pub damaged: u64,
    /// Of those, blocks fetched anew from another member.
    pub repaired: u64,
    /// Times that the whole store was read.
    pub passes: u64,
}

/// What a collection of garbage removed from a node's block store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Collected {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One encrypted block that a node keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredBlock {
    /// Its CID.
    pub cid: String,
    /// Its length.
    pub bytes: u64,
    /// Where on the disk it is; a small block is in the node's database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<BlockFile>,
}

/// The place of a block in a file that holds many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockFile {
    /// The file.
    pub path: String,
    /// Where in it the block begins, in bytes.
    pub offset: u64,
}
