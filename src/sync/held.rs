//! Rows that show what no capture could take in: nothing is written over it, whoever sends what.
//!
//! Such an edit is too large to travel, or meant for fewer than the record is, or its record is gone. The fields concerned
//! are kept here with what the record said when they were edited. Other fields of the row go on following the record. Once
//! a capture can take the edit in, a field that somebody else changed meanwhile becomes a conflict: neither has seen the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::instance::Instance;
use crate::cbor::reader::Reader;
use crate::cbor::writer::Writer;
use crate::connector::alone::{AloneRows, LeftAlone, Look};
use crate::connector::column::Stays;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::record::recordid::RecordId;
use crate::record::value::Value;

/// The key under which the state keeps them.
const HELD_KEY: &str = "held";
/// The key under which the state keeps what was known of their scopes when their rows were looked at last.
const SCOPES_KEY: &str = "held scopes";

/// By record, what its row shows that no capture could take in.
pub(super) type HeldRows = BTreeMap<RecordId, Held>;

/// The edited fields of one row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub(super) why: Why,
    /// By field, what the record said when it was edited.
    pub(super) before: BTreeMap<FieldName, Value>,
}

/// Why an edit could not be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    TooLarge,
    Narrowed,
    Unfit,
    /// The field is meant for others than the record is in.
    Elsewhere,
    /// No scope has the record any more.
    Gone,
    /// Nothing stays any more, but the row has to be written again.
    Again,
}

impl From<Stays> for Why {
    fn from(stays: Stays) -> Self {
        match stays {
            Stays::Narrowed => Self::Narrowed,
            Stays::Unfit => Self::Unfit,
        }
    }
}

impl Why {
    /// Says it to people.
    fn text(self) -> &'static str {
        match self {
            Self::TooLarge => "it is too large to travel",
            Self::Narrowed => "the row is set to fewer readers than its record has",
            Self::Unfit => "a column has a value that doesn't travel (`only`)",
            Self::Elsewhere => "the field is meant for others than the record is",
            Self::Again => "it is written again",
            Self::Gone => "the record is gone; keep what you need of the row, and delete it",
        }
    }
}

/// As the state keeps it: words, and values as digits.
#[derive(Serialize, Deserialize)]
struct Kept {
    origin: String,
    dataset: String,
    key: String,
    why: Why,
    before: BTreeMap<String, String>,
}

impl Instance {
    /// Reads them.
    pub(super) fn held_rows(&self) -> Result<HeldRows, Error> {
        let Some(text) = self.state.meta(HELD_KEY)?.filter(|text| !text.is_empty()) else { return Ok(HeldRows::new()) };
        let damaged =
            |why: String| crate::state::error::Error::damaged(format!("what rows show that stays here: {why}"));
        let kept: Vec<Kept> = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let read = |kept: Kept| kept.read().ok_or_else(|| damaged("a record of it".to_owned()));
        Ok(kept.into_iter().map(read).collect::<Result<_, _>>()?)
    }

    /// Keeps them; the caller holds a transaction of the state.
    pub(super) fn keep_held(&self, held: &HeldRows) -> Result<(), Error> {
        let kept: Vec<Kept> = held.iter().map(|(id, held)| Kept::of(id, held)).collect();
        let text = match kept.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&kept).expect("words"),
        };
        let before = self.state.meta(HELD_KEY)?.unwrap_or_default();
        if before == text { Ok(()) } else { Ok(self.state.set_meta(HELD_KEY, &text)?) }
    }

    /// Returns what the connector is to leave alone. Where a field was meant for others the row is looked at again when its record
    /// says something else, or when we know more scopes of its origin: perhaps it is meant for us now.
    pub(super) fn held_fields(&self) -> Result<AloneRows, Error> {
        let mut alone = AloneRows::new();
        let held = self.held_rows()?;
        let knows_more = self.state.meta(SCOPES_KEY)?.as_ref() != Some(&self.scopes_of_held(&held)?);
        for (id, Held { why, before }) in held {
            if !self.is_taken_back(&id)? {
                let look = match why {
                    Why::Elsewhere if knows_more => Look::Applied,
                    Why::Elsewhere => Look::Changed,
                    _ => Look::Edited,
                };
                alone.insert(id, LeftAlone { fields: before.into_keys().collect(), look });
            }
        }
        Ok(alone)
    }

    /// Spells what we know of the scopes in which fields could go that stay here.
    fn scopes_of_held(&self, held: &HeldRows) -> Result<String, Error> {
        let elsewhere = held.iter().filter(|(_, held)| held.why == Why::Elsewhere);
        let origins: BTreeSet<InstanceId> = elsewhere.map(|(id, _)| id.origin).collect();
        let mut text = String::new();
        for origin in origins {
            for row in self.state.scopes_of(&origin)? {
                text += &format!("{}:{}:{} ", row.id, row.manifest_seq, row.local_head.is_some());
            }
        }
        Ok(text)
    }

    /// Tells whether the origin of a record withdrew it from all that we read: what was written into its row goes with it.
    fn is_taken_back(&self, id: &RecordId) -> Result<bool, Error> {
        let mut is_withdrawn = false;
        for row in self.state.scopes_of(&id.origin)? {
            is_withdrawn |= self.state.is_withdrawn(&row.id, &id.dataset, &id.key)?;
        }
        if id.origin == self.id() || !is_withdrawn {
            return Ok(false);
        }
        for scope in &self.open_scopes_of(&id.origin)? {
            let head = scope.row.local_head.map(|head| self.state.known_commit(&scope.row.id, &head)).transpose()?;
            if let Some(head) = head
                && self.record_at(scope, &head, &id.dataset, &id.key)?.is_some()
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the records whose rows are to be written again, now that nothing stays in them.
    pub(super) fn rows_again(&self) -> Result<Vec<RecordId>, Error> {
        let again = self.held_rows()?.into_iter().filter(|(_, held)| held.why == Why::Again);
        Ok(again.map(|(id, _)| id).collect())
    }

    /// Notes that they were, and forgets what stayed in rows that are withdrawn.
    pub(super) fn forget_again(&self) -> Result<(), Error> {
        let mut left = HeldRows::new();
        let held = self.held_rows()?;
        let known = self.scopes_of_held(&held)?;
        if self.state.meta(SCOPES_KEY)?.unwrap_or_default() != known {
            self.state.set_meta(SCOPES_KEY, &known)?;
        }
        for (id, held) in held {
            if held.why != Why::Again && !self.is_taken_back(&id)? {
                left.insert(id, held);
            }
        }
        self.keep_held(&left)
    }

    /// Lists them for people: records with the fields and why, but those too large, which are listed with their size.
    pub(super) fn held_edits(&self) -> Result<BTreeMap<String, String>, Error> {
        let held = self.held_rows()?.into_iter().filter(|(_, held)| !matches!(held.why, Why::TooLarge | Why::Again));
        let text = |held: &Held| {
            let fields: Vec<&str> = held.before.keys().map(FieldName::as_str).collect();
            format!("{}: {}", fields.join(", "), held.why.text())
        };
        Ok(held.map(|(id, held)| (id.to_string(), text(&held))).collect())
    }
}

impl Held {
    pub(super) fn again() -> Self {
        Self { why: Why::Again, before: BTreeMap::new() }
    }
}

impl Kept {
    fn of(id: &RecordId, held: &Held) -> Self {
        let spelled = |(field, value): (&FieldName, &Value)| {
            let mut writer = Writer::new();
            value.encode(&mut writer, &id.origin);
            (field.to_string(), writer.finish().iter().map(|byte| format!("{byte:02x}")).collect())
        };
        Self {
            origin: id.origin.to_string(),
            dataset: id.dataset.to_string(),
            key: id.key.to_string(),
            why: held.why,
            before: held.before.iter().map(spelled).collect(),
        }
    }

    fn read(&self) -> Option<(RecordId, Held)> {
        let origin: InstanceId = self.origin.parse().ok()?;
        let key: RecordKey = self.key.parse().ok()?;
        let id = RecordId { origin, dataset: DatasetName::new(&self.dataset).ok()?, key };
        let value = |text: &String| -> Option<Value> {
            let digits: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
            let digits = digits?;
            let mut reader = Reader::new(&digits);
            let value = Value::decode(&mut reader, &origin).ok()?;
            reader.finish().ok().map(|()| value)
        };
        let before = self.before.iter().map(|(field, text)| Some((FieldName::new(field).ok()?, value(text)?)));
        Some((id, Held { why: self.why, before: before.collect::<Option<_>>()? }))
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|_| digits.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_as_it_was() {
        let origin = InstanceId::from_bytes([3; 32]);
        let id = RecordId { origin, dataset: DatasetName::new("posts").unwrap(), key: RecordKey::from_bytes([7; 16]) };
        let fields = [("title", Value::Text("x\0".into())), ("at", Value::Timestamp(-5)), ("none", Value::Null)];
        let before = fields.map(|(name, value)| (FieldName::new(name).unwrap(), value)).into();
        let held = Held { why: Why::TooLarge, before };
        let mut kept = Kept::of(&id, &held);
        assert_eq!(kept.read(), Some((id, held)));
        for wrong in ["0", "zz", "ff00", "f6f6"] {
            kept.before.insert("none".into(), wrong.into());
            assert_eq!(kept.read(), None, "{wrong}");
        }
    }
}
