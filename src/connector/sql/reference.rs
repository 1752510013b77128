//! References: what a column shows for the row it refers to, and in which rows it is a reference at all.
//!
//! A column may hold different things in different rows: a text here, the key of a user there, as another column says
//! (`when` in the mapping). Each of these is a field of its own, and in a row only one of them has its turn.

use super::key::Key;
use super::plan::{FieldPlan, Plan};
use super::raw::{Raw, RawRef};
use super::session::{Row, SqlError};
use crate::connector::contract::Content;
use crate::connector::mapping::model::Missing;
use crate::record::value::Value;

/// A reference.
#[derive(Debug)]
pub(super) struct RefPlan {
    pub(super) parent: usize,
    /// Whether it lies in a circle of references.
    pub(super) in_circle: bool,
    /// Whether it refers to the same table.
    pub(super) to_itself: bool,
    /// Whether its column holds texts that spell the numbers that the keys are.
    pub(super) is_spelled: bool,
    pub(super) missing: Missing,
    pub(super) required: bool,
    pub(super) author: bool,
}

/// What another field has to say, so that a column is this field.
#[derive(Debug)]
pub(super) struct Turn {
    /// That field, by its index.
    pub(super) field: usize,
    pub(super) values: Vec<String>,
    /// Whether it has to say one of these, or none of them.
    pub(super) wanted: bool,
}

impl RefPlan {
    /// Returns the key that a column refers to.
    pub(super) fn key_of(&self, raw: RawRef<'_>) -> Option<Key> {
        match Key::of(raw)? {
            // Spelled in another way, it would be an edit to write it back.
            Key::Text(text) if self.is_spelled => {
                text.parse::<i64>().ok().filter(|number| *number.to_string() == *text).map(Key::Int)
            }
            key => Some(key),
        }
    }

    /// Returns what the column holds for a key.
    pub(super) fn shown(&self, key: &Key) -> Raw {
        match key {
            Key::Int(number) if self.is_spelled => Raw::Text(number.to_string()),
            key => key.raw(),
        }
    }
}

impl Turn {
    fn fits(&self, shown: RawRef<'_>) -> bool {
        let is_among = match shown {
            RawRef::Text(bytes) => self.values.iter().any(|value| value.as_bytes() == bytes),
            RawRef::Integer(number) => self.values.contains(&number.to_string()),
            _ => false,
        };
        is_among == self.wanted
    }
}

impl FieldPlan {
    /// Tells whether the column is this field in a row.
    pub(super) fn has_turn(&self, row: &dyn Row) -> Result<bool, SqlError> {
        for turn in &self.turns {
            if !turn.fits(row.raw(turn.field + 1)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Tells whether the column is this field in a row whose columns were read.
    pub(super) fn has_turn_among(&self, raws: &[Raw]) -> bool {
        self.turns.iter().all(|turn| turn.fits((&raws[turn.field + 1]).into()))
    }

    /// Tells whether the column is to be this field in the row of a record; `shown` is the row as it is.
    pub(super) fn will_have_turn(&self, plan: &Plan, content: &Content, shown: Option<&[Raw]>) -> bool {
        self.turns.iter().all(|turn| {
            turn.fits(match content.fields.get(&plan.fields[turn.field].name) {
                Some(Value::Text(text)) => RawRef::Text(text.as_bytes()),
                Some(Value::Int(number)) => RawRef::Integer(*number),
                Some(_) => RawRef::Null,
                None => shown.map_or(RawRef::Null, |raws| (&raws[turn.field + 1]).into()),
            })
        })
    }
}

/// Puts values into columns, each column once: the first that is given counts.
pub(super) fn assign<'a, V>(columns: &mut Vec<(&'a str, V)>, given: impl IntoIterator<Item = (&'a str, V)>) {
    for (column, raw) in given {
        if !columns.iter().any(|(known, _)| *known == column) {
            columns.push((column, raw));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_spelled_in_one_way() {
        let spelled = |is_spelled| RefPlan {
            parent: 0,
            in_circle: false,
            to_itself: false,
            is_spelled,
            missing: Missing::Park,
            required: false,
            author: false,
        };
        let text = |text: &'static str| spelled(true).key_of(RawRef::Text(text.as_bytes()));
        assert_eq!(text("-7"), Some(Key::Int(-7)));
        assert_eq!(spelled(true).shown(&Key::Int(-7)), Raw::Text("-7".into()));
        for other in ["07", " 7", "+7", "7.0", "", "seven", "9223372036854775808"] {
            assert_eq!(text(other), None, "{other}");
        }
        assert_eq!(spelled(false).key_of(RawRef::Text(b"07")), Some(Key::Text("07".into())));
        assert_eq!(spelled(false).shown(&Key::Int(7)), Raw::Integer(7));
    }
}
