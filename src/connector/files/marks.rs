//! Files that were marked by hand: what the instance keeps of that, should the bookkeeping be lost.
//!
//! A file is known by its path. Marks go with it when it is renamed, and wait for it when it is gone: whoever replaces a file by deleting and
//! writing it doesn't take back what was said of it.

use std::collections::{HashMap, HashSet};

use rusqlite::{OptionalExtension, params};

use super::connector::FilesConnector;
use super::section::table;
use crate::connector::error::Error;
use crate::connector::said::{Mark, Said, narrower};
use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;

impl FilesConnector {
    /// See `Connector::said`: files that are meant for others than the rules say, or those with some keys.
    pub(super) fn said_of_files(&self, of: Option<(&DatasetName, &[String])>) -> Result<Said, Error> {
        let failed = self.failed("read what was said of files");
        let mut said = Said::default();
        if !self.shadow.conn.table_exists(None, "_wbsync_map").map_err(&failed)? {
            return Ok(said);
        }
        for dataset in self.sections.keys().filter(|name| of.is_none_or(|(wanted, _)| wanted == *name)) {
            let known = self.marked_rows(dataset).map_err(&failed)?;
            let is_meant = |id: i64, is_marked: bool| match of {
                Some((_, keys)) => keys.contains(&id.to_string()),
                None => is_marked,
            };
            let meant = known.into_iter().filter(|(id, is_marked, _)| is_meant(*id, *is_marked));
            said.rows.extend(meant.map(|(.., mark)| mark));
        }
        Ok(said)
    }

    /// Lists the files that were born here: the number, whether the file is marked, and the mark.
    fn marked_rows(&self, dataset: &DatasetName) -> rusqlite::Result<Vec<(i64, bool, Mark)>> {
        let sql = format!(
            "SELECT f.id, f.scope IS NOT f.ruled, f.path, coalesce(f.scope, 'private'), m.record FROM _wbsync_dataset n
             JOIN _wbsync_map m ON m.dataset = n.dataset AND m.origin = 0 JOIN \"{}\" f ON f.id = m.key
             WHERE n.name = ?1 AND f.path IS NOT NULL AND f.ruled IS NOT NULL",
            table(dataset)
        );
        let mut statement = self.shadow.conn.prepare_cached(&sql)?;
        let rows = statement.query_map(params![dataset.as_str()], |row| {
            let mark = Mark {
                dataset: dataset.clone(),
                table: place(dataset),
                record: RecordKey::from_bytes(row.get(4)?),
                key: row.get(2)?,
                birth: 0,
                audience: row.get(3)?,
                is_gone: false,
            };
            Ok((row.get(0)?, row.get(1)?, mark))
        })?;
        rows.collect()
    }

    /// See `Connector::say_again`.
    pub(super) fn say_of_files_again(&self) -> Result<u64, Error> {
        let mut told = 0;
        for dataset in self.sections.keys() {
            let table = table(dataset);
            let say = |path: &str, said: &str| -> rusqlite::Result<usize> {
                let sql = format!(
                    "SELECT id, coalesce(scope, 'private') FROM \"{table}\" WHERE path = ?1 AND ruled IS NOT NULL"
                );
                let found =
                    self.shadow.conn.prepare_cached(&sql)?.query_row([path], |row| Ok((row.get(0)?, row.get(1)?)));
                let Some((file, here)): Option<(i64, String)> = found.optional()? else { return Ok(0) };
                let scope = narrower(&here, said, &self.context.addressees);
                if scope == here {
                    return Ok(0);
                }
                self.shadow
                    .conn
                    .execute(&format!("UPDATE \"{table}\" SET scope = ?2 WHERE id = ?1"), params![file, scope])
            };
            for (path, said) in self.kept_marks(dataset) {
                told += say(&path, &said).map_err(self.failed("say again for whom files are meant"))? as u64;
            }
        }
        Ok(told)
    }

    /// Returns the marks that are new, or whose files have another name than the instance knows.
    pub(super) fn new_marks(&self) -> Result<Vec<Mark>, Error> {
        let mut marks = self.said_of_files(None)?.rows;
        let known: HashSet<&Mark> = self.context.said.rows.iter().collect();
        marks.retain(|mark| !known.contains(mark));
        Ok(marks)
    }

    /// Returns what is kept of the files of a dataset, by path.
    pub(super) fn kept_marks(&self, dataset: &DatasetName) -> HashMap<String, String> {
        let place = place(dataset);
        let of_it = self.context.said.rows.iter().filter(|mark| mark.dataset == *dataset && mark.table == place);
        of_it.map(|mark| (mark.key.clone(), mark.audience.clone())).collect()
    }
}

/// What stands for the table in a mark: no table of an application's is called so.
fn place(dataset: &DatasetName) -> String {
    format!("files/{dataset}")
}
