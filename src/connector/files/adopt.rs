//! After a restore: files whose bookkeeping is lost, or older than they are, get the records that hold their paths.
//!
//! A path is what a file is called by everybody. Who says the same under it is that record's file, whosever that is; who says something
//! else is ours if the record is, and may be another instance's only where neither is for fewer than everybody.

use rusqlite::params;

use super::connector::FilesConnector;
use super::report::{PATH, field};
use super::section::table;
use crate::connector::contract::{Change, SinkError};
use crate::connector::error::Error;
use crate::connector::said::narrower;
use crate::connector::sql::salvage::Likeness;
use crate::record::recordid::RecordId;

impl FilesConnector {
    /// See `Connector::adopt`.
    pub(super) fn adopt_files(
        &mut self,
        records: &mut dyn Iterator<Item = Result<Change, SinkError>>,
    ) -> Result<Vec<RecordId>, Error> {
        // What lies there is to be known, also what came since the bookkeeping was written.
        self.scan()?;
        let this = &*self;
        let mut changes = Vec::new();
        for record in records {
            let record = record.map_err(Error::Source)?;
            changes.extend(this.translate(record, None).map_err(this.failed("take in records"))?);
        }
        if !self.has_unknown().map_err(self.failed("find the files of records"))? {
            return Ok(Vec::new());
        }
        // Where two have one path, ours is asked first.
        changes.sort_by_key(|change| change.id.origin != this.context.own);
        let mut adopted = Vec::new();
        for likeness in [Likeness::Same(field(PATH)), Likeness::Named(field(PATH))] {
            let mut left = Vec::new();
            for change in changes {
                if self.file(&change.id)?.is_none() {
                    left.push(change);
                }
            }
            adopted.extend(self.inner.adopt_alike(&mut left.iter().cloned().map(Ok), &likeness)?);
            for change in &left {
                self.settle_scope(change, &likeness)?;
            }
            changes = left;
        }
        Ok(adopted)
    }

    /// Tells whether there are files without a record.
    fn has_unknown(&self) -> rusqlite::Result<bool> {
        let conn = &self.shadow.conn;
        let has_books = conn.table_exists(None, "_wbsync_map")?;
        for dataset in self.sections.keys() {
            let known = "SELECT 1 FROM _wbsync_map m JOIN _wbsync_dataset n ON n.dataset = m.dataset WHERE n.name = ?1 AND m.key = f.id";
            let unless = if has_books { format!("AND NOT EXISTS ({known})") } else { "AND ?1 IS NOT NULL".to_owned() };
            let sql = format!("SELECT 1 FROM \"{}\" f WHERE f.path IS NOT NULL {unless}", table(dataset));
            if conn.prepare_cached(&sql)?.exists([dataset.as_str()])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has a file be meant for whom its record is, unless it is ours and was marked for fewer; nothing if it wasn't found.
    fn settle_scope(&self, change: &Change, likeness: &Likeness) -> Result<(), Error> {
        let (Some(file), Some(content)) = (self.file(&change.id)?, &change.content) else { return Ok(()) };
        let (conn, table) = (&self.shadow.conn, table(&change.id.dataset));
        let write = || -> rusqlite::Result<()> {
            if change.id.origin != self.context.own {
                let sql = format!("UPDATE \"{table}\" SET scope = ?2, ruled = NULL WHERE id = ?1");
                return conn.execute(&sql, params![file, content.scope.as_str()]).map(drop);
            }
            let sql = format!("SELECT coalesce(scope, 'private'), path FROM \"{table}\" WHERE id = ?1");
            let (here, path): (String, String) = conn.query_row(&sql, [file], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let is_marked = self.kept_marks(&change.id.dataset).contains_key(&path);
            let scope = match likeness {
                Likeness::Same(_) if !is_marked => content.scope.to_string(),
                _ => narrower(&here, content.scope.as_str(), &self.context.addressees),
            };
            let sql = format!("UPDATE \"{table}\" SET scope = ?2 WHERE id = ?1");
            conn.execute(&sql, params![file, scope]).map(drop)
        };
        write().map_err(self.failed("find the files of records"))
    }
}
