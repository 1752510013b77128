//! What the engine asks of an application's database, whichever it is.
//!
//! The application's tables are the working copy. The bookkeeping (`_wbsync_*`) lives beside them and
//! changes in the same transactions. Three promises hold after a crash at any point:
//! a row's record id, once reported, stays; a change of the application's is reported until it was
//! `settle`d; a row reflects the applied or the target view, and the bookkeeping knows which.
//!
//! Life of a sync: `capture` (report rows that changed) → the engine commits them durably → `settle`
//! (what was reported is now known) → the engine merges → `begin_apply`, `apply` …, `finish_apply`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use crate::id::bytes::InstanceId;
use crate::id::name::{DatasetName, FieldName, PeerName, ScopeName};
use crate::record::recordid::RecordId;
use crate::record::schema::Schema;
use crate::record::value::Value;
use crate::scope::audience::{Addressees, Audience, Reason};
use crate::scope::fields::LeastScopes;
use crate::sys::clock::UnixMillis;

use super::applied::{Applied, Newcomer, Parked};
use super::capturing::{TriggerChange, Triggers};
use super::catalogue::DatabaseSizes;
use super::column::{Column, Source, Stays};
use super::error::Error;
use super::said::{Heirs, Said};
use super::standing::{Blemish, Standing};
use super::twin::Twin;

/// What a capture found about one record. Rows that are as they were last known are not reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// The record; new rows have got their id just now.
    pub id: RecordId,
    /// The view that the row reflected before the application changed it.
    pub base: Base,
    /// Whether the row differs from what was last known of it; only a comparison reports rows that don't.
    pub changed: bool,
    /// What is there now.
    pub seen: Seen,
    /// Fields of an own row that were mapped since rows showed all that records say: what others wrote there and nobody
    /// here did is still to be shown, and what the row has instead is no edit.
    pub fresh: Vec<FieldName>,
    /// The record in whose scope a new record of another instance belongs: a part that a change of ours gave it.
    pub beside: Option<RecordId>,
    /// Set where the row shows an older version than its record has, because the newer one waits: of the fields whose newer
    /// value it doesn't show and that were edited now, what it showed before.
    pub behind: Option<BTreeMap<FieldName, Value>>,
    /// Why edits of this row, another instance's, stay here, if they do.
    pub stays: Option<Stays>,
}

/// The view that a row was last in step with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The view that is completely applied.
    Applied,
    /// The view of an apply that began and has not finished.
    Target,
    /// An older one: the dataset of a row of another instance was not looked after for a while.
    Neither,
}

/// What is there now.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// A row.
    Row {
        /// For whom it is meant, capped by its parents; `None` for records of other instances.
        audience: Option<Audience>,
        /// The mapped fields as the row shows them. A field that deliberately shows something else
        /// than its record says (an alias, a missing reference) is left out while nobody edits it.
        /// Empty for own rows that stay home.
        fields: BTreeMap<FieldName, Value>,
    },
    /// The row is gone.
    Gone,
}

/// The result of a capture, to be handed back to `settle`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Capture {
    /// The number under which the bookkeeping of this capture was written.
    pub number: u64,
    /// Rows read.
    pub rows: u64,
    /// Rows and missing rows that were reported.
    pub reported: u64,
    /// Own rows that stay home, by dataset and reason, of those that were read.
    pub private: BTreeMap<(DatasetName, Reason), u64>,
    /// Whether only the rows were read that triggers noted.
    pub is_part: bool,
    /// Tables that were read as a whole, because their triggers don't stand as `install` makes them.
    pub unwatched: Vec<String>,
    /// What became of what was said beside rows.
    pub heirs: Heirs,
}

/// How far the application's rows have come: opaque views of the engine's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the last capture that was settled; 0 before the first.
    pub settled: u64,
    /// The view that all rows reflect, but for those of an unfinished apply. Empty at first.
    pub applied: Vec<u8>,
    /// The view of an unfinished apply.
    pub target: Option<Vec<u8>>,
}

/// One record that changes from the applied to the target view.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The record.
    pub id: RecordId,
    /// What the row is to show; `None` if the record is gone from every scope that we follow.
    pub content: Option<Content>,
}

/// What a row is to show.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// The scope that the record is in, for the scope column.
    pub scope: ScopeName,
    /// The winner of each field, also of fields that this database has no column for.
    pub fields: BTreeMap<FieldName, Value>,
    /// Of fields with an open conflict the values that are not shown, with who wrote them.
    pub hidden: BTreeMap<FieldName, Vec<(InstanceId, Value)>>,
}

/// Rows that this instance gives up without anybody else's losing them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dropped {
    /// All rows of records born at an instance, and what waits of them.
    Origin(InstanceId),
    /// The row of one record.
    Record(RecordId),
    /// The rows of these records, but for those that any other row still refers to: they stay as they are.
    Unused(Vec<RecordId>),
}

/// Which rows to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rows {
    /// All own rows, or those of one dataset.
    Own(Option<DatasetName>),
    /// The row with this local key, whoever's it is.
    Key(DatasetName, String),
    /// Rows whose record's key begins with these digits, whoever's they are.
    Record(Option<DatasetName>, String),
    /// Rows that meet a condition, in the database's own language, whoever's they are.
    Where(DatasetName, String),
}

/// A row and for whom it is meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Surveyed {
    /// The dataset.
    pub dataset: DatasetName,
    /// The local key, as text.
    pub key: String,
    /// The record; `None` until a capture has given the row one.
    pub id: Option<RecordId>,
    /// For whom it is meant; of rows of other instances, the scope that brought it.
    pub audience: Audience,
    /// Why; `None` for rows of other instances, of which their origin decides.
    pub decided: Option<Decided>,
}

/// Why an own row is meant for whom it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The audience before anything narrowed it.
    pub own: Audience,
    /// Who says so.
    pub source: Source,
    /// What it says there, if it is a text.
    pub text: Option<String>,
    /// The reference that narrowed it last, and the row that it refers to, if it is there.
    pub narrowed_by: Option<(FieldName, Option<(DatasetName, String)>)>,
}

/// The error type of the engine's callbacks.
pub type SinkError = Box<dyn StdError + Send + Sync>;

/// An application's database.
pub trait Connector {
    /// Lists the mapped datasets, parents before the datasets that refer to them.
    fn datasets(&self) -> Vec<DatasetName>;

    /// Returns what the mapped fields of one scope of ours hold, and how concurrent values are shown in it.
    fn schema(&self, scope: &ScopeName) -> Schema;

    /// Returns the fields that are meant for fewer readers than their records.
    fn least_scopes(&self) -> LeastScopes;

    /// Describes the columns of the mapped fields.
    fn columns(&self) -> Vec<Column>;

    /// Checks that the mapping fits the database as it is now, and that writing would be possible.
    ///
    /// # Errors
    /// The first finding that makes syncing impossible, with what to do.
    fn check(&mut self) -> Result<(), Error>;

    /// Checks that the application is ready to receive foreign rows (its first account exists, …): `NotReady` says what to do.
    fn check_ready(&mut self) -> Result<(), Error>;

    /// Returns how far the rows have come.
    ///
    /// # Errors
    /// The database can't be read.
    fn position(&mut self) -> Result<Position, Error>;

    /// Reads all mapped rows in one snapshot and reports those that changed, parents first.
    ///
    /// Before it returns, new ids and what was seen are written down, but count only once `settle`d:
    /// after a crash in between the same rows are reported again with the same ids.
    ///
    /// # Errors
    /// The database can't be read or written, or the sink's own error.
    fn capture(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error>;

    /// Captures like `capture`, and reports every row: also those that are as they were last known.
    ///
    /// # Errors
    /// As `capture`.
    fn compare(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error>;

    /// Reports what a capture would, and writes nothing: not even the bookkeeping is made. New rows get ids that
    /// are forgotten again.
    ///
    /// # Errors
    /// The database can't be read, or the sink's own error.
    fn peek(
        &mut self,
        now: UnixMillis,
        sink: &mut dyn FnMut(Sighting) -> Result<(), SinkError>,
    ) -> Result<Capture, Error>;

    /// Gives rows that the bookkeeping doesn't know to the records that they must be: the only row that shows
    /// a record's values, or, of an own record, that was born in the same moment. Returns those that were found.
    ///
    /// # Errors
    /// The database can't be read or written, or the iterator's own error.
    fn adopt(&mut self, records: &mut dyn Iterator<Item = Result<Change, SinkError>>) -> Result<Vec<RecordId>, Error>;

    /// Makes own rows private that are in no scope any more, instead of deleting them: in their scope column, or beside a
    /// table that has none.
    ///
    /// # Errors
    /// The database can't be written.
    fn keep_home(&mut self, ids: &[RecordId]) -> Result<(), Error>;

    /// Takes what a capture reported as known, and sets the applied view (and the target's, if an
    /// apply is unfinished) to views that contain it. One short transaction.
    ///
    /// # Errors
    /// The database can't be written.
    fn settle(&mut self, capture: &Capture, position: &Position) -> Result<(), Error>;

    /// Returns the audiences of own records as of the last capture, in their order; `None` where the row is gone, also if a
    /// placeholder is left of it.
    ///
    /// # Errors
    /// The database can't be read.
    fn audiences(&mut self, ids: &[RecordId]) -> Result<Vec<Option<Audience>>, Error>;

    /// Returns that of one record.
    fn audience(&mut self, id: &RecordId) -> Result<Option<Audience>, Error> {
        Ok(self.audiences(std::slice::from_ref(id))?.pop().flatten())
    }

    /// Looks at rows as they are now, parents first, without taking anything in.
    ///
    /// # Errors
    /// The database can't be read; `Condition` if a condition isn't one; the sink's own error.
    fn survey(&mut self, rows: &Rows, sink: &mut dyn FnMut(Surveyed) -> Result<(), SinkError>) -> Result<(), Error>;

    /// Says of own rows for whom they are meant: in their scope column, or beside a table that has none.
    /// Returns how many say something else now. Transactions are as short as those of `apply`.
    ///
    /// # Errors
    /// `NotCaptured` if a row of a table without a scope column has no record yet; the database can't be written.
    fn mark(&mut self, dataset: &DatasetName, keys: &[String], audience: &str) -> Result<u64, Error>;

    /// Says for whom rows of a dataset are meant that don't say so themselves; `None` leaves it to the mapping.
    ///
    /// # Errors
    /// The database can't be written.
    fn set_default(&mut self, dataset: &DatasetName, audience: Option<&str>) -> Result<(), Error>;

    /// Returns what was said beside rows and datasets; with keys, marks that can be put beside those rows.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    fn said(&mut self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error>;

    /// Says again what the context has and the bookkeeping lost; of two words what reaches fewer holds. Returns how often.
    ///
    /// # Errors
    /// The bookkeeping can't be written.
    fn say_again(&mut self) -> Result<u64, Error>;

    /// Says which fields of which rows show what no capture could take in: nothing is written over it, and the rows stay.
    fn hold(&mut self, _held: super::alone::AloneRows) {}

    /// Opens an apply towards `target`, or goes on with it.
    ///
    /// # Errors
    /// Another apply is unfinished, or the database can't be written.
    fn begin_apply(&mut self, target: &[u8]) -> Result<(), Error>;

    /// Writes changes in transactions of bounded duration that each leave the database whole.
    ///
    /// Puts come parents first, then deletions children first; that order is the caller's. A change
    /// that was applied before is recognised and skipped. No single record can fail a batch: what
    /// can't be written is parked, what the application changed meanwhile is returned as dirty.
    ///
    /// # Errors
    /// The database can't be written at all, or the iterator's own error.
    fn apply(
        &mut self,
        changes: &mut dyn Iterator<Item = Result<Change, SinkError>>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Applied, Error>;

    /// Returns the datasets whose rows don't show all that the position says: they, or fields of theirs, were mapped later. The
    /// next apply has to give them all that the target holds. None by default.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    fn newcomers(&mut self) -> Result<Vec<Newcomer>, Error> {
        Ok(Vec::new())
    }

    /// Notes that the rows of such datasets show all that the target holds.
    ///
    /// # Errors
    /// The bookkeeping can't be written.
    fn caught_up(&mut self, _datasets: &[DatasetName]) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the records of other instances that rows of a dataset stand for. None by default.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    fn foreign(&mut self, _dataset: &DatasetName) -> Result<Vec<RecordId>, Error> {
        Ok(Vec::new())
    }

    /// Returns records of the target that the last `apply` could not do without and that it was not given, because they
    /// don't change, or that could show more of what they say by now: they are to be given by another `apply`. None by default.
    ///
    /// # Errors
    /// The bookkeeping can't be read.
    fn wants(&mut self) -> Result<Vec<RecordId>, Error> {
        Ok(Vec::new())
    }

    /// Removes rows of other instances' records within an open apply, as `apply` removes those of records that are gone:
    /// children first, a row that others refer to is blanked.
    ///
    /// Unlike there, nothing changes for whom the rows that refer to a blanked one are meant: to give up a row is no
    /// statement about it, and must not look like one to anybody.
    ///
    /// # Errors
    /// The database can't be written at all.
    fn drop_rows(&mut self, dropped: &Dropped, progress: &mut dyn FnMut(u64)) -> Result<Applied, Error>;

    /// Counts the rows that `drop_rows` would remove or blank, by dataset.
    ///
    /// # Errors
    /// The database can't be read.
    fn count_rows(&mut self, dropped: &Dropped) -> Result<BTreeMap<DatasetName, u64>, Error>;

    /// Closes the apply: the target is the applied view now.
    ///
    /// # Errors
    /// The database can't be written.
    fn finish_apply(&mut self) -> Result<(), Error>;

    /// Waits until the application may have changed something since this connector's last capture or comparison began, or
    /// since the last wait that told so, at most for `at_most`; without either it doesn't wait. Only a hint: SQLite tells of
    /// all commits of others, PostgreSQL of rows that triggers watch. What this connector itself writes is no change.
    ///
    /// # Errors
    /// The database can't be reached any more.
    fn wait_for_change(&mut self, at_most: Duration) -> Result<bool, Error>;

    /// Says how the triggers stand that note what changes. Writes nothing. What has no triggers needs none.
    ///
    /// # Errors
    /// The database can't be read.
    fn triggers(&mut self) -> Result<Triggers, Error> {
        Ok(Triggers::default())
    }

    /// Returns the statements that `change_triggers` would run; none if everything is as it should be.
    ///
    /// # Errors
    /// The database can't be read.
    fn plan_triggers(&mut self, _change: TriggerChange) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Installs or removes the triggers in short transactions; returns what it ran. After a crash it does the rest.
    ///
    /// # Errors
    /// The database can't be written, or doesn't let this user.
    fn change_triggers(&mut self, _change: TriggerChange) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Counts the own rows that stay home as of the last capture, where that may have read a part only.
    ///
    /// # Errors
    /// The database can't be read.
    fn private(&mut self) -> Result<BTreeMap<(DatasetName, Reason), u64>, Error> {
        Ok(BTreeMap::new())
    }

    /// Lists the pairs of which one waits because the other, which was born here, has its place.
    ///
    /// # Errors
    /// The database can't be read.
    fn twins(&mut self) -> Result<Vec<Twin>, Error> {
        Ok(Vec::new())
    }

    /// Lets records of other instances have the places of our own, which nobody has yet: what is the same goes, what
    /// isn't gets another place.
    ///
    /// # Errors
    /// The database can't be written.
    fn give_way(&mut self, _twins: &[Twin]) -> Result<(), Error> {
        Ok(())
    }

    /// Lists records that wait, at most `limit`, and how many there are.
    ///
    /// # Errors
    /// The database can't be read.
    fn parked(&mut self, limit: usize) -> Result<(Vec<Parked>, u64), Error>;

    /// Measures the bookkeeping and the whole database. Reads much of a SQLite database.
    ///
    /// # Errors
    /// The database can't be read.
    fn sizes(&mut self) -> Result<DatabaseSizes, Error>;

    /// Counts the placeholders: rows that stand for records which left, or have not come.
    ///
    /// # Errors
    /// The database can't be read.
    fn placeholders(&mut self) -> Result<BTreeMap<DatasetName, u64>, Error>;

    /// Finds the local row of a record, as `table key`, for people.
    ///
    /// # Errors
    /// The database can't be read.
    fn locate(&mut self, id: &RecordId) -> Result<Option<String>, Error>;

    /// Looks for what is wrong with the database and the bookkeeping, writes nothing, and gives every record that the
    /// bookkeeping knows to `see`. Where a table of it is missing, that is all that is found.
    ///
    /// # Errors
    /// The database can't be read at all, or the bookkeeping is none.
    fn examine(&mut self, see: &mut dyn FnMut(RecordId, Standing)) -> Result<Vec<Blemish>, Error>;
}

/// What a connector needs to know of us and our peers.
#[derive(Debug, Clone)]
pub struct Context {
    /// Our own id: the origin of rows born here.
    pub own: InstanceId,
    /// What we call the other instances, for aliases.
    pub names: BTreeMap<InstanceId, PeerName>,
    /// Whether the rows may be older than what was published of them, as after a restore from a backup:
    /// own rows then follow what was published, their scope included.
    pub restoring: bool,
    /// Whom a row can name.
    pub addressees: Addressees,
    /// By scope of another instance, its readers that we know.
    pub readers: BTreeMap<(InstanceId, ScopeName), BTreeSet<PeerName>>,
    /// What the instance keeps of what was said beside rows.
    pub said: Arc<Said>,
}
