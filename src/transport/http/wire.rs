//! The JSON of the protocol: what client and hub both read and write (format/http.md).

use serde::{Deserialize, Serialize};

use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};

/// The version of the protocol; another one is refused.
pub const PROTOCOL: u32 = 1;

/// What `GET /info` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// Always `wbsync`: how a client knows that it speaks with a hub at all.
    pub service: String,
    /// `PROTOCOL`.
    pub protocol: u32,
    /// The format of the store, as its `format` file says.
    pub store_format: String,
    /// The hub's clock, seconds since 1970.
    pub time: u64,
    /// Whether public scopes are served to anyone.
    pub public: bool,
    /// The bounds that the hub keeps.
    pub limits: Limits,
}

/// The bounds that a hub keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the hub's limits say what each is for")]
pub struct Limits {
    pub object_bytes: u64,
    pub document_bytes: u64,
    pub header_bytes: u64,
    pub objects_per_request: u64,
    pub changes_per_answer: u64,
    pub wait_seconds: u64,
    pub clock_seconds: u64,
    pub requests_per_second: u64,
    pub uploads_at_once: u64,
    pub quota_bytes: u64,
    pub scopes: u64,
}

/// An object and its size, as two members of a list.
pub type SizedId = (String, u64);

/// The body of `POST /missing` and `POST /offers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objects {
    /// Ids and sizes.
    pub objects: Vec<SizedId>,
}

impl Objects {
    /// Writes the body.
    pub fn of(objects: &[(ObjectId, u64)]) -> Self {
        Self { objects: objects.iter().map(|(id, size)| (id.to_string(), *size)).collect() }
    }

    /// Reads the body; `None` if something in it is no id.
    pub fn parsed(&self) -> Option<Vec<(ObjectId, u64)>> {
        self.objects.iter().map(|(id, size)| Some((id.parse().ok()?, *size))).collect()
    }
}

/// What lists of names, and `missing`, answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Ids, ascending, or in the order that was asked in.
    pub names: Vec<String>,
}

/// What `offers` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// Ids of the objects that are wanted, in the order that was asked in.
    pub names: Vec<String>,
    /// Of which of them some bytes needn't be sent again, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<SizedId>,
}

/// What `GET /objects` answers: a page of the objects held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Id, size, and when its garbage clock started, in milliseconds since 1970; ascending.
    pub objects: Vec<(String, u64, u64)>,
    /// Whether more follow.
    pub more: bool,
}

/// What `DELETE` of an object answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether it was removed.
    pub removed: bool,
}

/// What `GET /changes` answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Where to go on from.
    pub cursor: String,
    /// Whether more follow at once.
    pub more: bool,
    /// The documents that changed, each with its newest hash, oldest change first.
    pub changes: Vec<Change>,
    /// Whether the cursor to resume from says nothing any more, so that anything may have changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
}

/// A document that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path in the store.
    pub path: String,
    /// Its hash; none if it is gone.
    pub hash: Option<String>,
}

/// The body of `POST /join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Join {
    /// The invitation.
    pub token: String,
}

/// An error (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problem {
    /// The status, again.
    pub status: u16,
    /// One stable word (format/http.md, "Problems").
    pub code: String,
    /// What a person may know about it.
    pub title: String,
    /// With `swapped`: the hash of what is there now, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<String>,
    /// With `incomplete`: the first object that isn't held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// With `too-large`: how many bytes are allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<u64>,
    /// With `offset`: how many bytes of the object are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// With `clock`: the hub's clock, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// The query of a `PUT` that puts an object in the place of a damaged one.
pub const HEAL: &str = "heal";

/// Returns the list of heads of a scope.
pub fn heads_path(scope: &ScopeId) -> String {
    format!("scopes/{scope}/heads")
}

/// Returns the list of receipts of a scope.
pub fn receipts_path(scope: &ScopeId) -> String {
    format!("scopes/{scope}/receipts")
}

/// Returns the entity tag of a document: its hash, quoted.
pub fn document_tag(hash: &DocHash) -> String {
    format!("\"{hash}\"")
}

/// Reads an entity tag of `document_tag`.
pub fn hash_of_tag(tag: &str) -> Option<DocHash> {
    tag.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

/// Parses names as ids; `None` if one is none.
pub fn parsed<T: std::str::FromStr>(names: &[String]) -> Option<Vec<T>> {
    names.iter().map(|name| name.parse().ok()).collect()
}

/// Returns what an instance is called in a log.
pub fn shown(instance: Option<&InstanceId>) -> String {
    instance.map_or_else(|| "-".to_owned(), InstanceId::short)
}
