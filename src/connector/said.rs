//! What operators said beside rows and datasets for whom they are meant, where no column says it.
//!
//! The bookkeeping has it beside each row, and loses it with itself, with the name of the dataset, or when a row has another
//! key or birth. So the instance keeps it too, with all by which a row can be known again.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::scope::audience::{Addressees, Audience};

/// What nobody but us may see, as it is said.
pub const PRIVATE: &str = "private";
/// What everybody may see.
pub const PUBLIC: &str = "public";

/// All that was said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Beside rows.
    pub rows: Vec<Mark>,
    /// Of the rows of datasets that don't say so themselves.
    pub defaults: Vec<Rest>,
}

/// What was said beside one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mark {
    /// The dataset that the row was in.
    pub dataset: DatasetName,
    /// Its table.
    pub table: String,
    /// Its record.
    pub record: RecordKey,
    /// Its local key.
    pub key: String,
    /// A digest of its birth columns; 0 where there are none.
    pub birth: i64,
    /// For whom it is meant.
    pub audience: String,
    /// Whether the row was seen to be gone: what takes its key over is another one.
    pub is_gone: bool,
}

/// What was said of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its table.
    pub table: String,
    /// For whom its rows are meant.
    pub audience: String,
}

/// What a capture found out about marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heirs {
    /// Marks that new rows have taken over.
    pub taken: Vec<Mark>,
    /// Marks whose rows are gone, or can't be told any more.
    pub gone: Vec<(DatasetName, RecordKey)>,
    /// How many new rows of a dataset stay home because they may be rows that were marked.
    pub kept: BTreeMap<DatasetName, u64>,
}

impl Said {
    /// Tells whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.defaults.is_empty()
    }

    /// Says something beside rows, in place of what was said beside them before.
    pub fn put(&mut self, marks: Vec<Mark>) {
        let new: HashSet<Place<'_>> = marks.iter().flat_map(Mark::places).collect();
        self.rows.retain(|known| known.held_places().all(|place| !new.contains(&place)));
        drop(new);
        self.rows.extend(marks);
    }

    /// Says something of a dataset, in place of what was said of it before; `None` leaves it to the mapping.
    pub fn put_rest(&mut self, dataset: &DatasetName, rest: Option<Rest>) {
        let table = rest.as_ref().map(|rest| rest.table.clone());
        self.defaults.retain(|known| known.dataset != *dataset && Some(&known.table) != table.as_ref());
        self.defaults.extend(rest);
    }

    /// Adds what another one has. Where both say something of one row, what reaches fewer holds.
    pub fn join(&mut self, other: Self, addressees: &Addressees) {
        let mut known: HashMap<Place<'_>, Vec<&Mark>> = HashMap::new();
        for mark in &self.rows {
            mark.held_places().for_each(|place| known.entry(place).or_default().push(mark));
        }
        let join = |mark: Mark| {
            let of_it: Vec<&Mark> =
                mark.places().iter().filter_map(|place| known.get(place)).flatten().copied().collect();
            let both = |audience: String, known: &Mark| narrower(&audience, &known.audience, addressees);
            Mark { audience: of_it.into_iter().fold(mark.audience.clone(), both), ..mark }
        };
        let joined = other.rows.into_iter().map(join).collect();
        drop(known);
        self.put(joined);
        for mut rest in other.defaults {
            for known in &self.defaults {
                if known.dataset == rest.dataset {
                    rest.audience = narrower(&rest.audience, &known.audience, addressees);
                }
            }
            self.put_rest(&rest.dataset.clone(), Some(rest));
        }
    }

    /// Follows the rows that a capture saw.
    pub fn follow(&mut self, heirs: &Heirs) {
        let gone: HashSet<(&DatasetName, &RecordKey)> =
            heirs.gone.iter().map(|(dataset, record)| (dataset, record)).collect();
        for mark in &mut self.rows {
            mark.is_gone |= gone.contains(&(&mark.dataset, &mark.record));
        }
        self.put(heirs.taken.clone());
    }
}

/// By what two marks are known to be about one row.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Place<'a> {
    /// Table, key and birth.
    Row(&'a str, &'a str, i64),
    Record(&'a DatasetName, &'a RecordKey),
    Key(&'a DatasetName, &'a str),
}

impl Mark {
    fn places(&self) -> [Place<'_>; 3] {
        [
            Place::Row(&self.table, &self.key, self.birth),
            Place::Record(&self.dataset, &self.record),
            Place::Key(&self.dataset, &self.key),
        ]
    }

    /// Those that are still its own: the key of a row that is gone may be another's.
    fn held_places(&self) -> impl Iterator<Item = Place<'_>> {
        self.places().into_iter().filter(|place| !(self.is_gone && matches!(place, Place::Key(..))))
    }
}

impl Heirs {
    /// Adds those of other datasets.
    pub fn add(&mut self, other: Self) {
        self.taken.extend(other.taken);
        self.gone.extend(other.gone);
        self.kept.extend(other.kept);
    }

    /// Tells whether nothing was found out.
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.gone.is_empty()
    }
}

/// Returns what reaches those that both reach.
pub fn narrower(one: &str, other: &str, addressees: &Addressees) -> String {
    if one == other {
        return one.to_owned();
    }
    let read = |text| Audience::from_value(Some(text), addressees);
    match read(one).capped_by(&read(other), addressees) {
        Audience::Shared(scope) => scope.to_string(),
        Audience::Private(_) => PRIVATE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(key: &str, record: u8, audience: &str) -> Mark {
        Mark {
            dataset: DatasetName::new("posts").unwrap(),
            table: "posts".into(),
            record: RecordKey::from_bytes([record; 16]),
            key: key.into(),
            birth: 5,
            audience: audience.into(),
            is_gone: false,
        }
    }

    #[test]
    fn of_two_words_about_a_row_the_one_for_fewer_holds() {
        let nobody = Addressees::default();
        for (one, other, both) in
            [("public", "trusted", "trusted"), ("trusted", "private", "private"), ("public", "public", "public")]
        {
            assert_eq!(narrower(one, other, &nobody), both);
            assert_eq!(narrower(other, one, &nobody), both);
            let mut said = Said { rows: vec![mark("1", 1, one)], ..Said::default() };
            // The record is another one, as after a restore: the row is the same.
            said.join(Said { rows: vec![mark("1", 2, other)], ..Said::default() }, &nobody);
            assert_eq!(said.rows, [mark("1", 2, both)]);
        }
    }

    #[test]
    fn a_mark_goes_over_to_the_row_that_takes_its_place() {
        let mut said = Said { rows: vec![mark("1", 1, PRIVATE), mark("2", 2, PRIVATE)], ..Said::default() };
        let posts = DatasetName::new("posts").unwrap();
        let gone = vec![(posts.clone(), RecordKey::from_bytes([1; 16])), (posts, RecordKey::from_bytes([2; 16]))];
        said.follow(&Heirs { taken: vec![mark("11", 7, PRIVATE)], gone, ..Heirs::default() });
        let gone = |key, record| Mark { is_gone: true, ..mark(key, record, PRIVATE) };
        assert_eq!(said.rows, [gone("1", 1), gone("2", 2), mark("11", 7, PRIVATE)]);
        // Another row with the key of a gone one is another row.
        said.put(vec![Mark { birth: 6, ..mark("1", 9, "public") }]);
        assert_eq!(said.rows.len(), 4);
    }
}
