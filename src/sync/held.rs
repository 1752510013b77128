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
use crate::connector::column::Stays;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::{DatasetName, FieldName};
use crate::record::recordid::RecordId;
use crate::record::value::Value;

/// The key under which the state keeps them.
const HELD_KEY: &str = "held";

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

    /// Returns what the connector is to leave alone.
    pub(super) fn held_fields(&self) -> Result<BTreeMap<RecordId, BTreeSet<FieldName>>, Error> {
        let fields = |(id, held): (RecordId, Held)| (id, held.before.into_keys().collect());
        Ok(self.held_rows()?.into_iter().map(fields).collect())
    }

    /// Returns the records whose rows are to be written again, now that nothing stays in them.
    pub(super) fn rows_again(&self) -> Result<Vec<RecordId>, Error> {
        let again = self.held_rows()?.into_iter().filter(|(_, held)| held.why == Why::Again);
        Ok(again.map(|(id, _)| id).collect())
    }

    /// Notes that they were.
    pub(super) fn forget_again(&self) -> Result<(), Error> {
        let mut held = self.held_rows()?;
        held.retain(|_, held| held.why != Why::Again);
        self.keep_held(&held)
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
