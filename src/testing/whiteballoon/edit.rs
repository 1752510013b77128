//! Edits a made-up database as its people would: mostly comments, some requests, a few deletions.
//!
//! Every edit touches a row of its own, so N edits are N changed records. Deterministic from the database and seed.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::testing::prng::Prng;
use crate::testing::prose::Prose;
use crate::testing::whiteballoon::maker;
use crate::testing::whiteballoon::seed::{SeedError, in_table};
use crate::testing::whiteballoon::stamp::{HOUR, read, spell};

/// How many edits of each kind were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Edits {
    /// Bodies of comments that got a sentence more or less; nothing else in the row tells of it.
    pub comments_edited: u64,
    /// Descriptions of requests, with `updated_at`.
    pub requests_edited: u64,
    /// New comments under public requests.
    pub comments_added: u64,
    /// Requests completed, or opened again.
    pub statuses_changed: u64,
    /// Comments with `deleted_at` set.
    pub comments_deleted: u64,
    /// Drafts that are gone.
    pub drafts_deleted: u64,
}

impl Edits {
    /// Returns the sum.
    pub fn total(&self) -> u64 {
        self.comments_edited
            + self.requests_edited
            + self.comments_added
            + self.statuses_changed
            + self.comments_deleted
            + self.drafts_deleted
    }
}

/// Makes `count` edits in one transaction: of a hundred, 60 comments edited, 20 requests edited, 10 comments added,
/// 5 statuses changed, 5 deletions.
///
/// A kind that runs out of untouched rows (a small database) makes fewer; the answer says what was made.
///
/// # Errors
/// As SQLite says; nothing is changed then.
pub fn edit(path: &Path, count: u64, seed: u64) -> Result<Edits, SeedError> {
    let failed = |doing| move |source| SeedError::Database { doing, path: path.to_owned(), source };
    let mut db = Connection::open(path).map_err(failed("open"))?;
    let transaction = db.transaction().map_err(failed("prepare"))?;
    let now = latest(&transaction)?;
    let mut editor = Editor {
        db: &transaction,
        random: Prng::new(seed),
        prose: Prose::new(),
        now,
        comments: HashSet::new(),
        requests: HashSet::new(),
    };
    let share = |percent: u64| count * percent / 100;
    let (requests, additions, statuses, deletions) = (share(20), share(10), share(5), share(5));
    let comments = count - requests - additions - statuses - deletions;
    let mut edits = Edits::default();
    for _ in 0..deletions {
        // Drafts are few; every second deletion takes one while they last.
        if edits.drafts_deleted <= edits.comments_deleted && editor.delete_draft()? {
            edits.drafts_deleted += 1;
        } else {
            edits.comments_deleted += u64::from(editor.delete_comment()?);
        }
    }
    for _ in 0..comments {
        edits.comments_edited += u64::from(editor.edit_comment()?);
    }
    for _ in 0..requests {
        edits.requests_edited += u64::from(editor.edit_request()?);
    }
    for _ in 0..statuses {
        edits.statuses_changed += u64::from(editor.change_status()?);
    }
    for _ in 0..additions {
        edits.comments_added += u64::from(editor.add_comment()?);
    }
    drop(editor);
    transaction.commit().map_err(failed("commit"))?;
    Ok(edits)
}

struct Editor<'db> {
    db: &'db Connection,
    random: Prng,
    prose: Prose,
    /// Microseconds; each edit is some minutes later than the one before.
    now: i64,
    comments: HashSet<i64>,
    requests: HashSet<i64>,
}

impl Editor<'_> {
    fn edit_comment(&mut self) -> Result<bool, SeedError> {
        let Some((id, mut body)) = self.comment()? else { return Ok(false) };
        self.revise(&mut body);
        self.run("request_comments", "UPDATE request_comments SET body = ?2 WHERE id = ?1", params![id, body])
    }

    fn delete_comment(&mut self) -> Result<bool, SeedError> {
        let Some((id, _)) = self.comment()? else { return Ok(false) };
        let now = self.later();
        self.run("request_comments", "UPDATE request_comments SET deleted_at = ?2 WHERE id = ?1", params![id, now])
    }

    fn edit_request(&mut self) -> Result<bool, SeedError> {
        let Some((id, mut text)) = self.request("status <> 'draft'", "description")? else { return Ok(false) };
        self.revise(&mut text);
        let now = self.later();
        let sql = "UPDATE help_requests SET description = ?2, updated_at = ?3 WHERE id = ?1";
        self.run("help_requests", sql, params![id, text, now])
    }

    fn change_status(&mut self) -> Result<bool, SeedError> {
        let wanted = "status IN ('open', 'completed')";
        let Some((id, status)) = self.request(wanted, "status")? else { return Ok(false) };
        let now = self.later();
        let (status, completed) = if status == "open" { ("completed", Some(&now)) } else { ("open", None) };
        let sql = "UPDATE help_requests SET status = ?2, completed_at = ?3, updated_at = ?4 WHERE id = ?1";
        self.run("help_requests", sql, params![id, status, completed, now])
    }

    fn delete_draft(&mut self) -> Result<bool, SeedError> {
        let unused = "status = 'draft' \
            AND NOT EXISTS (SELECT 1 FROM request_comments WHERE help_request_id = help_requests.id) \
            AND NOT EXISTS (SELECT 1 FROM comment_promotions WHERE request_id = help_requests.id) \
            AND NOT EXISTS (SELECT 1 FROM recurring_request_runs WHERE request_id = help_requests.id)";
        let Some((id, _)) = self.request(unused, "status")? else { return Ok(false) };
        self.run("request_attributes", "DELETE FROM request_attributes WHERE request_id = ?1", params![id])?;
        self.run("help_requests", "DELETE FROM help_requests WHERE id = ?1", params![id])
    }

    /// Under public requests only, because a private text would need a canary that nobody told us.
    fn add_comment(&mut self) -> Result<bool, SeedError> {
        let shown = "sync_scope = 'public' AND status IN ('open', 'completed')";
        // Two comments may stand under one request: it isn't what is edited.
        let Some((request, _)) = self.draw("help_requests", shown, "status")? else { return Ok(false) };
        let Some((author, _)) = self.draw("users", "true", "''")? else { return Ok(false) };
        let mut body = String::new();
        let bytes = 15 + self.random.below(400) as usize;
        self.prose.text(&mut self.random, bytes, &mut body);
        let now = self.later();
        let sql = "INSERT INTO request_comments VALUES (NULL, ?1, ?2, ?3, ?4, NULL, 'public')";
        self.run("request_comments", sql, params![request, author, body, now])
    }

    /// Adds a sentence or takes the last one off.
    fn revise(&mut self, text: &mut String) {
        let last = text.trim_end().rfind(". ").filter(|_| text.is_ascii() && self.random.chance(250));
        match last {
            Some(end) => text.truncate(end + 1),
            None => {
                text.push_str(if text.is_empty() { "Edit: " } else { " Edit: " });
                self.prose.sentence(&mut self.random, text);
            }
        }
    }

    /// Draws a comment that is neither deleted nor touched before: its key and body.
    fn comment(&mut self) -> Result<Option<(i64, String)>, SeedError> {
        for _ in 0..TRIES_MAX {
            match self.draw("request_comments", "deleted_at IS NULL", "body")? {
                Some((id, body)) if self.comments.insert(id) => return Ok(Some((id, body))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Draws a request that wasn't touched before: its key and a column.
    fn request(&mut self, wanted: &str, column: &str) -> Result<Option<(i64, String)>, SeedError> {
        for _ in 0..TRIES_MAX {
            match self.draw("help_requests", wanted, column)? {
                Some((id, value)) if self.requests.insert(id) => return Ok(Some((id, value))),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Draws the first row that is `wanted`, from a random key upwards, around the end once.
    fn draw(&mut self, table: &'static str, wanted: &str, column: &str) -> Result<Option<(i64, String)>, SeedError> {
        let failed = in_table(table);
        // As two subqueries each is one look-up; in one query the whole table would be read.
        let sql = format!("SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})");
        let ends = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let ends = self.db.prepare_cached(&sql).and_then(|mut select| select.query_row([], ends)).map_err(&failed)?;
        let (Some(low), Some(high)): (Option<i64>, Option<i64>) = ends else { return Ok(None) };
        let start = low + self.random.below((high - low) as u64 + 1) as i64;
        let sql = format!("SELECT id, {column} FROM {table} WHERE id >= ?1 AND {wanted} ORDER BY id LIMIT 1");
        let mut select = self.db.prepare_cached(&sql).map_err(&failed)?;
        for from in [start, low] {
            let found = select.query_row([from], |row| Ok((row.get(0)?, row.get(1)?))).optional().map_err(&failed)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn run(&self, table: &'static str, sql: &str, values: impl rusqlite::Params) -> Result<bool, SeedError> {
        let changed = self.db.prepare_cached(sql).and_then(|mut run| run.execute(values)).map_err(in_table(table))?;
        Ok(changed > 0)
    }

    fn later(&mut self) -> String {
        self.now += 1 + self.random.below(HOUR as u64 / 6) as i64;
        spell(self.now)
    }
}

/// Returns the latest time written in the board.
fn latest(db: &Connection) -> Result<i64, SeedError> {
    let sql = "SELECT max(coalesce((SELECT max(updated_at) FROM help_requests), ''), \
        coalesce((SELECT max(created_at) FROM request_comments), ''), \
        coalesce((SELECT max(deleted_at) FROM request_comments), ''))";
    let text: String = db.query_row(sql, [], |row| row.get(0)).map_err(in_table("help_requests"))?;
    Ok(read(&text).unwrap_or(maker::START))
}

/// After so many draws that hit touched rows, a kind counts as exhausted.
const TRIES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::whiteballoon::seed::{Seed, create};

    #[test]
    fn edits_are_of_every_kind_deterministic_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["a.db", "b.db"].map(|name| dir.path().join(name));
        for path in [&first, &second] {
            create(path, &Seed::new(3000, 1)).unwrap();
        }
        let edits = edit(&first, 100, 4).unwrap();
        let expected = Edits {
            comments_edited: 60,
            requests_edited: 20,
            comments_added: 10,
            statuses_changed: 5,
            comments_deleted: 2,
            drafts_deleted: 3,
        };
        assert_eq!(edits, expected);
        edit(&second, 100, 4).unwrap();
        assert_eq!(std::fs::read(&first).unwrap(), std::fs::read(&second).unwrap());

        create(&dir.path().join("before.db"), &Seed::new(3000, 1)).unwrap();
        let db = Connection::open(&first).unwrap();
        db.execute("ATTACH ?1 AS old", [dir.path().join("before.db").to_str().unwrap()]).unwrap();
        let changed = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        let comments =
            "SELECT count(*) FROM (SELECT * FROM request_comments EXCEPT SELECT * FROM old.request_comments)";
        assert_eq!(changed(comments), 60 + 10 + 2);
        let requests = "SELECT count(*) FROM (SELECT * FROM help_requests EXCEPT SELECT * FROM old.help_requests)";
        assert_eq!(changed(requests), 20 + 5);
        assert_eq!(changed("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        let stale = "SELECT count(*) FROM help_requests n JOIN old.help_requests o USING (id) \
            WHERE n.description <> o.description AND n.updated_at <= o.updated_at";
        assert_eq!(changed(stale), 0);
    }

    #[test]
    fn a_small_database_is_edited_as_far_as_it_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("app.db");
        create(&path, &Seed::new(20, 1)).unwrap();
        let made = edit(&path, 500, 1).unwrap().total();
        assert!((50..500).contains(&made), "{made}");
    }
}
