//! Lists of objects from the node's index, over the REST interface.

use serde::{Deserialize, Serialize};

use crate::ObjectSummary;
use hansa_types::{DcId, Visibility};

/// The orders of a list of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectSort {
    /// By the record of the newest version, latest first.
    #[default]
    Newest,
    /// The same, earliest first.
    Oldest,
    /// By owner and number.
    Number,
    /// By name; only objects whose names this member can read.
    Name,
}

/// A choice among the objects: the query parameters of `GET /v1/objects`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectsRequest {
    /// Most objects of the answer: 1 to 1,000, 100 when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// [`ObjectPage::next`] of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Only this owner's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<DcId>,
    /// Only those with this visibility.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visibility: Option<Visibility>,
    /// Only those with a grant for this member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee: Option<DcId>,
    /// Only those whose names have words that begin with the words of this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The order; newest first when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<ObjectSort>,
    /// The height that the answer must hold; the node's own when missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u64>,
}

/// A page of objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectPage {
    /// The objects. Fewer than were asked for do not mean the end.
    pub objects: Vec<ObjectSummary>,
    /// Continues the list; missing at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Everything up to this height is in the answer.
    pub height: u64,
}

/// How a node's index stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IndexStatus {
    /// `sqlite` or `postgresql`.
    pub database: String,
    /// The last height that it holds; missing where it is empty or cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// The node's last final block.
    pub head: u64,
    /// Objects whose names can be searched.
    pub names: u64,
    /// The error that keeps it from going on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
