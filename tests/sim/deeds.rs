//! What people type: requests, comments, edits, moves between scopes, deletions.

use wbsync::record::cell::Record;
use wbsync::testing::prng::Prng;

use super::model::{At, text_of, whole_of};
use super::town::{GROUP_SCOPE, Town, Weather};

/// Requests that are shared, with their origin's user.
const SHOWN: &str = "(SELECT r.*, u.username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
    WHERE r.sync_scope IN ('public', 'trusted', 'group:ring') AND r.status IN ('open', 'completed') AND r.title IS NOT NULL)";
const COMMENTS: &str = "(SELECT c.*, u.username FROM request_comments c JOIN users u ON u.id = c.user_id
    WHERE c.sync_scope = 'public' AND c.body <> '' AND c.deleted_at IS NULL)";

impl Town {
    /// Does what a step's own chance says: a step that is left out changes nothing of the others.
    pub fn step(&mut self, chance: u64) {
        self.random = Prng::new(chance);
        let at = self.anybody();
        // What is late is so late that others may have written twice meanwhile.
        if self.random.chance(80) {
            self.machine.deliver();
            self.check_stores();
        }
        match self.random.below(38) {
            0..=2 => {
                let scope = self.random.pick(&["public", "public", "trusted", "private", GROUP_SCOPE]);
                self.insert_request(at, scope);
            }
            3 | 4 => self.insert_comment(at),
            5..=8 => self.edit(at),
            9 => self.complete(at),
            10 => self.move_request(at),
            11 => self.delete_request(at),
            12 => self.delete_comment(at),
            13..=21 => self.exchange(at),
            22 | 23 => self.pack(at),
            24 | 25 => self.receive(),
            26 => {
                let skew = self.random.below(200 * 86_400_000) as i64 - 100 * 86_400_000;
                self.tell(at, &format!("the clock is {} minutes off", skew / 60_000));
                self.players[at].skew = skew;
            }
            27 | 28 => self.clean(at),
            29 => self.rest(),
            30 | 31 => self.set_contact(at),
            32 => self.rotate(at),
            33 => self.prune(at),
            34 if self.random.chance(500) => self.undo_prune(at),
            _ => match self.weather {
                Weather::Lies => self.lie(),
                Weather::Restores => self.back_up_or_restore(at),
                Weather::Distrust => self.change_trust(at),
            },
        }
    }

    fn pick(&mut self, at: At, sql: &str) -> Option<(i64, String, String)> {
        let db = self.players[at].site.app.db();
        let mut select = db.prepare(sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let rows: Vec<(i64, String, String)> = rows.map(Result::unwrap).collect();
        let rows: Vec<_> = rows.into_iter().filter(|(_, _, user)| self.may_edit(at, user)).collect();
        if rows.is_empty() { None } else { Some(rows[self.random.below(rows.len() as u64) as usize].clone()) }
    }

    /// Whose rows a user's are.
    pub fn origin_of(&self, user: &str) -> Option<At> {
        self.sites().find(|at| user.strip_prefix("user of ") == Some(self.name(*at)))
    }

    /// Whether what a site does to a user's rows is to reach others.
    fn may_edit(&self, at: At, user: &str) -> bool {
        self.origin_of(user).is_some_and(|origin| origin == at || self.players[origin].writers.contains(&at))
    }

    pub fn insert_request(&mut self, at: At, scope: &str) {
        // What is for a group that isn't there stays home.
        let scope = if self.players[at].group.is_none() && scope == GROUP_SCOPE { "private" } else { scope };
        let (title, description) = (self.model.text(at), self.model.text(at));
        self.tell(at, &format!("new request {title}, {description}, {scope}"));
        let player = &self.players[at];
        let key = player.site.request(player.user, &title, scope);
        player.site.app.edit_request(key, &description);
    }

    fn insert_comment(&mut self, at: At) {
        let Some((request, title, _)) = self.pick(at, &format!("SELECT id, title, username FROM {SHOWN}")) else {
            return;
        };
        let body = self.model.text(at);
        self.tell(at, &format!("new comment {body} under {title}"));
        let player = &self.players[at];
        player.site.app.insert_comment(request, player.user, &body, "public");
    }

    fn edit(&mut self, at: At) {
        let (table, column, from) = match self.random.below(5) {
            0 => ("request_comments", "body", COMMENTS),
            1 | 2 => ("help_requests", "description", SHOWN),
            _ => ("help_requests", "title", SHOWN),
        };
        let Some((key, old, _)) = self.pick(at, &format!("SELECT id, {column}, username FROM {from}")) else { return };
        let text = self.model.text(at);
        self.tell(at, &format!("{table} {key}: {column} {old} becomes {text}"));
        self.replace(at, &old);
        self.model.before.insert(text.clone(), old);
        self.players[at].site.app.execute(&format!("UPDATE {table} SET {column} = ?2 WHERE id = ?1"), &[&key, &text]);
    }

    /// A request gets an address, which is for trusted readers only.
    fn set_contact(&mut self, at: At) {
        let Some((key, title, user)) = self.pick(at, &format!("SELECT id, title, username FROM {SHOWN}")) else {
            return;
        };
        let origin = self.origin_of(&user).unwrap();
        if origin != at && !self.players[origin].readers.contains(&at) {
            return;
        }
        let column = format!("SELECT coalesce(contact_email, '') FROM help_requests WHERE id = {key}");
        let old = self.players[at].site.app.value(&column);
        let text = self.model.text(at);
        self.tell(at, &format!("contact of {title} becomes {text}"));
        if !old.is_empty() {
            self.replace(at, &old);
            self.model.before.insert(text.clone(), old);
        }
        self.players[at].site.edit(key, "contact_email", &text);
    }

    fn complete(&mut self, at: At) {
        if let Some((key, title, _)) = self.pick(at, &format!("SELECT id, title, username FROM {SHOWN}")) {
            self.tell(at, &format!("complete {title}"));
            self.players[at].site.app.complete_request(key);
        }
    }

    /// An origin changes for whom a request of its own is meant.
    fn move_request(&mut self, at: At) {
        let own = self.players[at].user;
        let sql = format!(
            "SELECT r.id, r.title, u.username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
            WHERE r.created_by_user_id = {own} AND r.title IS NOT NULL"
        );
        let Some((key, title, _)) = self.pick(at, &sql) else { return };
        let records = self.records_of(at, &title);
        self.model.withdrawn.extend(records);
        if self.random.chance(600) {
            let scopes = ["public", "trusted", "private", GROUP_SCOPE];
            let count = if self.players[at].group.is_some() { 4 } else { 3 };
            let scope = self.random.pick(&scopes[..count]);
            self.tell(at, &format!("request {title} becomes {scope}"));
            self.players[at].site.app.set_scope("help_requests", key, scope);
        } else {
            let status = self.random.pick(&["draft", "open"]);
            self.tell(at, &format!("request {title} becomes {status}"));
            self.players[at].site.edit(key, "status", status);
        }
    }

    fn delete_request(&mut self, at: At) {
        let Some((key, title, _)) = self.pick(at, &format!("SELECT id, title, username FROM {SHOWN}")) else { return };
        let db = self.players[at].site.app.db();
        let mut select = db
            .prepare("SELECT c.body, u.username FROM request_comments c JOIN users u ON u.id = c.user_id WHERE help_request_id = ?1")
            .unwrap();
        let comments = select.query_map([key], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let comments: Vec<(String, String)> = comments.map(Result::unwrap).collect();
        if !comments.iter().all(|(_, user)| self.may_edit(at, user)) {
            return;
        }
        let column = |name: &str| {
            let sql = format!("SELECT coalesce({name}, '') FROM help_requests WHERE id = ?1");
            db.query_row(&sql, [key], |row| row.get(0)).unwrap()
        };
        let texts: Vec<String> = [title, column("description"), column("contact_email")]
            .into_iter()
            .chain(comments.into_iter().map(|(body, _)| body))
            .collect();
        drop(select);
        self.tell(at, &format!("delete request {key}: {texts:?}"));
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            let records = self.records_of(at, &text);
            self.model.deleted.extend(records);
            self.replace(at, &text);
        }
        db.execute("DELETE FROM request_comments WHERE help_request_id = ?1", [key]).unwrap();
        db.execute("DELETE FROM help_requests WHERE id = ?1", [key]).unwrap();
    }

    /// Marks a comment of one's own as deleted: it leaves its scope.
    fn delete_comment(&mut self, at: At) {
        let sql = format!("SELECT id, body, username FROM {COMMENTS} WHERE user_id = {}", self.players[at].user);
        let Some((key, body, _)) = self.pick(at, &sql) else { return };
        self.tell(at, &format!("soft-delete comment {body}"));
        self.replace(at, &body);
        let records = self.records_of(at, &body);
        self.model.withdrawn.extend(records);
        self.players[at].site.app.delete_comment(key);
    }

    /// Notes that a site replaces a text that it shows, with all that stand beside it in an open conflict.
    pub fn replace(&mut self, at: At, shown: &str) {
        self.model.replaced.insert(shown.to_owned());
        for (_, _, record) in self.players[at].site.records() {
            for cell in record.cells.values() {
                let texts = cell.elements().iter().filter_map(|element| text_of(&element.value));
                let texts: Vec<&String> = texts.collect();
                if texts.iter().any(|text| *text == shown) {
                    self.model.replaced.extend(texts.into_iter().cloned());
                }
            }
        }
    }

    /// Finds the records of the row that shows a text.
    fn records_of(&self, at: At, shown: &str) -> Vec<String> {
        let before = &self.model.before;
        let texts: Vec<&String> = std::iter::successors(before.get(shown), |text| before.get(*text)).collect();
        let holds = |record: &Record| {
            let mut values = record.elements().filter_map(|(_, element)| text_of(&element.value));
            values.any(|text| text == shown || texts.contains(&text))
        };
        let records = self.players[at].site.records().into_iter();
        records.filter(|(_, _, record)| holds(record)).map(|(_, id, _)| whole_of(&id)).collect()
    }
}
