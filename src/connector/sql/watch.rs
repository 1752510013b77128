//! Whether triggers can be relied on: what they noted says everything only if they stood all the time.
//!
//! For each table there is a print of everything but rows that decides what is reported of it: the triggers and the table
//! itself as the database has them, the mapping, whom we know. A capture that has read the whole table writes the print
//! down; while it is the same, notes are enough. Anything else is found out by reading the table again.

use super::books::Books;
use super::plan::Plans;
use super::session::{Session, SqlError, Standing, Watched};

/// Counts the ways in which the code has looked at rows: another number makes captures read everything once.
const LOOK: u64 = 1;

/// What a capture by triggers begins with.
#[derive(Debug)]
pub(super) struct Watch {
    /// By dataset, the print as it is in the snapshot.
    pub(super) prints: Vec<String>,
    /// By dataset, whether all rows have to be read.
    pub(super) whole: Vec<bool>,
    /// By dataset, whether the print that was written down is another one.
    pub(super) is_new: Vec<bool>,
    /// Tables whose triggers don't stand as they should.
    pub(super) unwatched: Vec<String>,
}

impl Watch {
    /// Compares what is with what was written down.
    pub(super) fn read(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Self, SqlError> {
        let general = general_print(plans, books);
        let mut watch = Self { prints: Vec::new(), whole: Vec::new(), is_new: Vec::new(), unwatched: Vec::new() };
        for (plan, standing) in plans.list.iter().zip(conn.triggers(&watched(plans))?) {
            let print = format!("{general} {}", standing.print);
            let sql = "SELECT print, number FROM _wbsync_watch WHERE place = ?1";
            let known =
                conn.one(sql, &bind![plan.spec.table], |row| Ok((row.get::<String>(0)?, row.get::<i64>(1)?)))?;
            let is_known = known.is_some_and(|(known, number)| known == print && number <= books.settled);
            let Standing { faults, uncovered, .. } = standing;
            if !faults.is_empty() {
                watch.unwatched.push(plan.spec.table.clone());
            }
            watch.whole.push(!is_known || !faults.is_empty() || uncovered.is_some());
            watch.is_new.push(!is_known);
            watch.prints.push(print);
        }
        Ok(watch)
    }

    /// Writes down the prints of tables that were read as a whole; `number` is the capture that counts once settled.
    pub(super) fn keep(&self, conn: &dyn Session, plans: &Plans, read: &[bool], number: i64) -> Result<(), SqlError> {
        for (dataset, plan) in plans.list.iter().enumerate().filter(|(dataset, _)| read[*dataset]) {
            if !self.is_new[dataset] {
                continue;
            }
            let sql = "INSERT INTO _wbsync_watch VALUES(?1, ?2, ?3)
                       ON CONFLICT(place) DO UPDATE SET print = excluded.print, number = excluded.number";
            conn.execute(sql, &bind![plan.spec.table, self.prints[dataset], number])?;
        }
        Ok(())
    }
}

/// Names the tables to watch.
pub(super) fn watched(plans: &Plans) -> Vec<Watched> {
    let watched = |plan: &super::plan::Plan| Watched { table: plan.spec.table.clone(), key: plan.key.clone() };
    plans.list.iter().map(watched).collect()
}

/// Makes captures read everything once: rows were given to records in another way.
pub(super) fn distrust(conn: &dyn Session) -> Result<(), SqlError> {
    if conn.has_outbox()? {
        conn.execute("DELETE FROM _wbsync_watch", &[])?;
    }
    Ok(())
}

/// Makes a text that is another one when rows would be looked at in another way.
fn general_print(plans: &Plans, books: &Books) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("{LOOK} {:?} {:?}", books.defaults, books.readers).as_bytes());
    for plan in &plans.list {
        // All datasets: what a row says depends on its parents too.
        hasher.update(format!("{} {:?} {:?} {:?}", plan.name, plan.spec, plan.addressees, plan.fields).as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}
