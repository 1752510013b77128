//! Shunning: a record of another instance is removed here and never comes back, and nobody else notices.

use super::apply::ApplySummary;
use super::commit::Mode;
use super::error::{Error, through};
use super::instance::Instance;
use super::view::View;
use crate::connector::contract::{Change, Dropped};
use crate::record::recordid::RecordId;
use crate::state::forgotten::Shunned;
use crate::sys::clock::{self, UnixMillis};

/// A record that is shunned, or was.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ShunShown {
    /// `dataset/key`.
    pub record: String,
    /// Whose it is.
    pub origin: String,
    /// Since when it is shunned.
    pub since: UnixMillis,
    /// Rows removed or written because of this.
    pub rows: u64,
}

impl Instance {
    /// Removes a record of another instance here, for good. Rows that refer to it keep a placeholder.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, `OwnRecord`; the database or the state can't be written.
    pub fn shun(&self, text: &str, mode: Mode) -> Result<ShunShown, Error> {
        let (_, id, _) = self.find_record(text)?;
        if id.origin == self.id() {
            return Err(Error::OwnRecord { record: id.to_string() });
        }
        let dropped = Dropped::Record(id.clone());
        let now = clock::now();
        if mode == Mode::DryRun {
            let rows = self.with_database(|database| Ok(database.count_rows(&dropped)?))?.into_values().sum();
            return self.shun_shown(&Shunned { id, since: now }, rows);
        }
        // What the application changed meanwhile is captured while the row is still there.
        self.commit(Mode::Keep)?;
        self.state.shun(&id, now)?;
        let rows = self.drop_rows(&dropped, &[])?.rows();
        self.shun_shown(&Shunned { id, since: now }, rows)
    }

    /// Lets a shunned record come back, as the local heads have it now.
    ///
    /// # Errors
    /// `NotFound` if it isn't shunned, `Ambiguous`; the database or the state can't be written.
    pub fn unshun(&self, text: &str, mode: Mode) -> Result<ShunShown, Error> {
        let named = |shunned: &Shunned| {
            let id = &shunned.id;
            match text.split_once('/') {
                Some((dataset, key)) => id.dataset.as_str() == dataset && id.key.matches_prefix(key),
                None => id.key.matches_prefix(text),
            }
        };
        let found: Vec<_> = self.state.shunned()?.into_iter().filter(named).collect();
        let shunned = match found.as_slice() {
            [one] => one.clone(),
            [] => return Err(Error::NotFound { what: format!("shunned record {text:?}") }),
            _ => return Err(Error::Ambiguous { what: format!("shunned record {text:?}"), count: found.len() }),
        };
        if mode == Mode::DryRun {
            return self.shun_shown(&shunned, 0);
        }
        self.commit(Mode::Keep)?;
        self.apply(Mode::Keep)?;
        let rows = self.bring_back(&[&shunned.id])?.rows();
        self.state.unshun(&shunned.id)?;
        self.shun_shown(&shunned, rows)
    }

    /// Lists the records that are shunned, the latest first.
    ///
    /// # Errors
    /// `State`.
    pub fn shunned(&self) -> Result<Vec<ShunShown>, Error> {
        self.state.shunned()?.iter().map(|shunned| self.shun_shown(shunned, 0)).collect()
    }

    /// Writes the rows of records again, as the applied view has them; parents' datasets first.
    ///
    /// # Errors
    /// A record can't be read; the database can't be written.
    pub(super) fn bring_back(&self, ids: &[&RecordId]) -> Result<ApplySummary, Error> {
        let position = self.with_database(|database| Ok(database.position()?))?;
        let applied = View::decode(&position.applied).map_err(Error::Bookkeeping)?;
        let spans = self.spans(&View::default(), &applied)?;
        let datasets = self.with_database(|database| Ok(database.datasets()))?;
        let ordered = datasets.iter().flat_map(|dataset| ids.iter().filter(move |id| id.dataset == *dataset));
        let mut changes = ordered.filter_map(|id| {
            let content = self.content_after(spans.get(&id.origin)?, id).map_err(through).transpose()?;
            Some(content.map(|content| Change { id: (*id).clone(), content: Some(content) }))
        });
        let mut summary = ApplySummary::default();
        let held = self.held_fields()?;
        self.with_database(|database| {
            database.hold(held);
            database.begin_apply(&applied.encode())?;
            summary.add(database.apply(&mut changes, &mut |_| {})?);
            database.finish_apply()?;
            Ok(())
        })?;
        Ok(summary)
    }

    fn shun_shown(&self, shunned: &Shunned, rows: u64) -> Result<ShunShown, Error> {
        let Shunned { id, since } = shunned;
        let origin = self.instance_label(&id.origin)?;
        Ok(ShunShown { record: format!("{}/{}", id.dataset, id.key), origin, since: *since, rows })
    }
}
