//! What operators said beside rows for whom they are meant, kept here as well as in the application's database.
//!
//! The bookkeeping there decides while it is whole. It is lost with the database, and a row's part of it with the dataset's name, the
//! row's key or its birth; then what is kept here is said again. Where both say something of one row, what reaches fewer holds:
//! whichever of the two is the older, nothing leaves that either says is private. What is said is noted as begun first, so
//! that the next commit ends it after a crash.

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::instance::Instance;
use crate::connector::contract::Capture;
use crate::connector::said::{Mark, PRIVATE, Rest, Said};
use crate::id::name::DatasetName;
use crate::state::error::Error as StateError;

/// The key under which the state keeps it.
const SAID_KEY: &str = "said";
/// The key under which the state keeps that something is being said.
const SAYING_KEY: &str = "saying";

/// As the state keeps it.
#[derive(Default, Serialize, Deserialize)]
struct Kept {
    rows: Vec<Row>,
    defaults: Vec<Rest>,
}

/// Dataset, table, record, key, birth, audience, and whether the row is gone.
#[derive(Serialize, Deserialize)]
struct Row(DatasetName, String, String, String, i64, String, bool);

impl Instance {
    /// Reads what is kept.
    pub(super) fn said(&self) -> Result<Said, Error> {
        let Some(text) = self.state.meta(SAID_KEY)? else { return Ok(Said::default()) };
        let damaged = |why: String| StateError::damaged(format!("what was said of rows: {why}"));
        let kept: Kept = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        let read = |Row(dataset, table, record, key, birth, audience, is_gone)| {
            let record = record.parse().map_err(|_| damaged("a record of it".to_owned()))?;
            Ok::<_, StateError>(Mark { dataset, table, record, key, birth, audience, is_gone })
        };
        Ok(Said { rows: kept.rows.into_iter().map(read).collect::<Result<_, _>>()?, defaults: kept.defaults })
    }

    fn keep_said(&self, said: Said) -> Result<(), Error> {
        let row = |mark: Mark| {
            let Mark { dataset, table, record, key, birth, audience, is_gone } = mark;
            Row(dataset, table, record.to_string(), key, birth, audience, is_gone)
        };
        let kept = Kept { rows: said.rows.into_iter().map(row).collect(), defaults: said.defaults };
        let text = serde_json::to_string(&kept).expect("words and numbers");
        match self.state.meta(SAID_KEY)?.as_ref() == Some(&text) {
            true => Ok(()),
            false => Ok(self.state.set_meta(SAID_KEY, &text)?),
        }
    }

    /// Takes over what the bookkeeping says, and is not kept here.
    ///
    /// # Errors
    /// The database can't be read, the state can't be written.
    pub(super) fn gather_said(&self) -> Result<(), Error> {
        let noted = self.with_database(|database| Ok(database.said(None)?))?;
        let mut said = self.said()?;
        said.join(noted, &self.addressees()?);
        self.keep_said(said)?;
        // It knows what it was opened with.
        self.forget_database();
        Ok(())
    }

    /// Ends what was being said when something stopped it. A state that kept none of it so far takes it over.
    ///
    /// # Errors
    /// The database or the state can't be written.
    pub(super) fn end_saying(&self) -> Result<(), Error> {
        let is_open = self.state.meta(SAYING_KEY)?.is_some();
        if is_open {
            self.forget_database();
            self.say_again()?;
        }
        if is_open || self.state.meta(SAID_KEY)?.is_none() {
            self.gather_said()?;
        }
        if is_open { Ok(self.state.forget_meta(SAYING_KEY)?) } else { Ok(()) }
    }

    /// Says again in the application's database what it has lost.
    ///
    /// # Errors
    /// The database can't be written.
    pub(super) fn say_again(&self) -> Result<(), Error> {
        self.with_database(|database| Ok(database.say_again()?)).map(drop)
    }

    /// Says of rows for whom they are meant, here and in the database. Returns how many say something else than before.
    ///
    /// # Errors
    /// The database or the state can't be written.
    pub(super) fn say_of_rows(&self, dataset: &DatasetName, keys: &[String], audience: &str) -> Result<u64, Error> {
        let marks = self.with_database(|database| Ok(database.said(Some((dataset, keys)))?))?.rows;
        let mark = || self.with_database(|database| Ok(database.mark(dataset, keys, audience)?));
        if marks.is_empty() {
            return mark();
        }
        let keep = || -> Result<(), Error> {
            let mut said = self.said()?;
            said.put(marks.into_iter().map(|mark| Mark { audience: audience.to_owned(), ..mark }).collect());
            self.keep_said(said)
        };
        self.saying(audience, mark, keep)
    }

    /// Says of a dataset for whom its rows are meant that don't say so themselves.
    ///
    /// # Errors
    /// The database or the state can't be written.
    pub(super) fn say_of_dataset(&self, dataset: &DatasetName, audience: Option<&str>) -> Result<(), Error> {
        let set = || self.with_database(|database| Ok(database.set_default(dataset, audience)?));
        let table = self.mapping()?.dataset.get(dataset).map(|spec| spec.table.clone()).unwrap_or_default();
        let keep = || -> Result<(), Error> {
            let mut said = self.said()?;
            let rest = |audience: &str| Rest { dataset: dataset.clone(), table, audience: audience.to_owned() };
            said.put_rest(dataset, audience.map(rest));
            self.keep_said(said)
        };
        self.saying(audience.unwrap_or_default(), set, keep)
    }

    /// Writes something down in both places: what nobody is to see here first, everything else in the database.
    fn saying<T>(
        &self,
        audience: &str,
        write: impl FnOnce() -> Result<T, Error>,
        keep: impl FnOnce() -> Result<(), Error>,
    ) -> Result<T, Error> {
        self.end_saying()?;
        self.state.set_meta(SAYING_KEY, audience)?;
        let written = match audience == PRIVATE {
            true => keep().and_then(|()| write())?,
            false => write().and_then(|written| keep().map(|()| written))?,
        };
        self.state.forget_meta(SAYING_KEY)?;
        self.forget_database();
        Ok(written)
    }

    /// Keeps what a capture found about marks; the caller holds a transaction of the state.
    pub(super) fn keep_heirs(&self, capture: &Capture) -> Result<(), Error> {
        if capture.heirs.is_empty() {
            return Ok(());
        }
        let mut said = self.said()?;
        said.follow(&capture.heirs);
        self.keep_said(said)?;
        self.forget_database();
        Ok(())
    }
}
