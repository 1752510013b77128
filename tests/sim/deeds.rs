//! What people type: requests, comments, edits, moves between scopes, deletions.

use std::collections::BTreeSet;

use wbsync::record::cell::Record;
use wbsync::testing::prng::Prng;

use super::model::{At, Model, text_of, whole_of};
use super::town::{GROUP_SCOPE, Town, Weather};
use super::world::Site;

/// Requests that are shared, with their origin's user.
const SHOWN: &str = "(SELECT r.*, u.username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
    WHERE r.sync_scope IN ('public', 'trusted', 'group:ring') AND r.status IN ('open', 'completed') AND r.title IS NOT NULL)";
const COMMENTS: &str = "(SELECT c.*, u.username FROM request_comments c JOIN users u ON u.id = c.user_id
    WHERE c.sync_scope = 'public' AND c.body <> '' AND c.deleted_at IS NULL)";

/// A record as a site holds it: its scope, its name, and itself.
pub type Held = (String, String, Record);

/// What somebody who types at a site has at hand.
pub struct Desk<'a> {
    pub site: &'a Site,
    pub rights: Rights,
    pub model: &'a mut Model,
    pub random: &'a mut Prng,
    pub tells: bool,
    /// What was known before a command began that is at work now, if the rows don't show more yet.
    pub before: Option<&'a [Held]>,
}

/// Who types, and what reaches others.
#[derive(Debug, Clone)]
pub struct Rights {
    pub at: At,
    /// The user whose rows are the site's own.
    pub user: i64,
    /// Users whose rows may be edited here, and those of them whose addresses may be.
    pub editable: BTreeSet<String>,
    pub confided: BTreeSet<String>,
    pub has_group: bool,
}

impl Town {
    /// Does what a step's own chance says: a step that is left out changes nothing of the others.
    pub fn step(&mut self, chance: u64) {
        self.random = Prng::new(chance);
        let at = self.anybody();
        // What is late is so late that others may have written twice meanwhile.
        if self.random.chance(80) {
            self.check_stores();
            self.machine.deliver();
            self.check_stores();
        }
        match self.random.below(39) {
            0..=2 => {
                let scope = self.random.pick(&["public", "public", "trusted", "private", GROUP_SCOPE]);
                self.desk(at).insert_request(scope);
            }
            3 | 4 => self.desk(at).insert_comment(),
            5..=8 => self.desk(at).edit(),
            9 => self.desk(at).complete(),
            10 => self.desk(at).move_request(),
            11 => self.desk(at).delete_request(),
            12 => self.desk(at).delete_comment(),
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
            30 | 31 => self.desk(at).set_contact(),
            32 => self.rotate(at),
            33 => self.prune(at),
            34 if self.random.chance(500) => self.undo_prune(at),
            35 if self.random.chance(350) => self.send_often(at),
            _ => match self.weather {
                Weather::Lies => self.lie(),
                Weather::Restores => self.back_up_or_restore(at),
                Weather::Distrust => self.change_trust(at),
            },
        }
    }

    /// Sits down at a site.
    pub fn desk(&mut self, at: At) -> Desk<'_> {
        Desk {
            rights: self.rights(at),
            site: &self.players[at].site,
            model: &mut self.model,
            random: &mut self.random,
            tells: self.tells,
            before: None,
        }
    }

    /// Says what somebody at a site may do that is to reach others.
    pub fn rights(&self, at: At) -> Rights {
        let name = |origin: At| format!("user of {}", self.name(origin));
        let editable = self.sites().filter(|origin| *origin == at || self.players[*origin].writers.contains(&at));
        let confided = self.sites().filter(|origin| *origin == at || self.players[*origin].readers.contains(&at));
        let player = &self.players[at];
        Rights {
            at,
            user: player.user,
            editable: editable.map(name).collect(),
            confided: confided.map(name).collect(),
            has_group: player.group.is_some(),
        }
    }

    /// Whose rows a user's are.
    pub fn origin_of(&self, user: &str) -> Option<At> {
        self.sites().find(|at| user.strip_prefix("user of ") == Some(self.name(*at)))
    }
}

impl Desk<'_> {
    /// Does something that an application does while a command is at work.
    pub fn type_something(&mut self) {
        match self.random.below(12) {
            0 | 1 => {
                let scope = self.random.pick(&["public", "public", "trusted"]);
                self.insert_request(scope);
            }
            2 => self.insert_comment(),
            3 => self.complete(),
            4 => self.move_request(),
            5 => self.delete_request(),
            6 => self.delete_comment(),
            7 => self.set_contact(),
            _ => self.edit(),
        }
    }

    fn tell(&self, what: &str) {
        if self.tells {
            println!("{}: {what}", self.site.name);
        }
    }

    fn pick(&mut self, sql: &str) -> Option<(i64, String, String)> {
        let db = self.site.app.db();
        let mut select = db.prepare(sql).unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        let rows: Vec<(i64, String, String)> = rows.map(Result::unwrap).collect();
        let rows: Vec<_> = rows.into_iter().filter(|(_, _, user)| self.rights.editable.contains(user)).collect();
        if rows.is_empty() { None } else { Some(rows[self.random.below(rows.len() as u64) as usize].clone()) }
    }

    /// Makes a request.
    pub fn insert_request(&mut self, scope: &str) {
        // What is for a group that isn't there stays home.
        let scope = if !self.rights.has_group && scope == GROUP_SCOPE { "private" } else { scope };
        let (title, description) = (self.model.text(self.rights.at), self.model.text(self.rights.at));
        self.tell(&format!("new request {title}, {description}, {scope}"));
        let key = self.site.request(self.rights.user, &title, scope);
        self.site.app.edit_request(key, &description);
    }

    fn insert_comment(&mut self) {
        let Some((request, title, _)) = self.pick(&format!("SELECT id, title, username FROM {SHOWN}")) else {
            return;
        };
        let body = self.model.text(self.rights.at);
        self.tell(&format!("new comment {body} under {title}"));
        self.site.app.insert_comment(request, self.rights.user, &body, "public");
    }

    fn edit(&mut self) {
        let (table, column, from) = match self.random.below(5) {
            0 => ("request_comments", "body", COMMENTS),
            1 | 2 => ("help_requests", "description", SHOWN),
            _ => ("help_requests", "title", SHOWN),
        };
        let Some((key, old, _)) = self.pick(&format!("SELECT id, {column}, username FROM {from}")) else { return };
        let text = self.model.text(self.rights.at);
        self.tell(&format!("{table} {key}: {column} {old} becomes {text}"));
        self.replace(&old);
        self.model.before.insert(text.clone(), old);
        self.site.app.execute(&format!("UPDATE {table} SET {column} = ?2 WHERE id = ?1"), &[&key, &text]);
    }

    /// A request gets an address, which is for trusted readers only.
    fn set_contact(&mut self) {
        let Some((key, title, user)) = self.pick(&format!("SELECT id, title, username FROM {SHOWN}")) else {
            return;
        };
        if !self.rights.confided.contains(&user) {
            return;
        }
        let column = format!("SELECT coalesce(contact_email, '') FROM help_requests WHERE id = {key}");
        let old = self.site.app.value(&column);
        let text = self.model.text(self.rights.at);
        self.tell(&format!("contact of {title} becomes {text}"));
        if !old.is_empty() {
            self.replace(&old);
            self.model.before.insert(text.clone(), old);
        }
        self.site.edit(key, "contact_email", &text);
    }

    fn complete(&mut self) {
        if let Some((key, title, _)) = self.pick(&format!("SELECT id, title, username FROM {SHOWN}")) {
            self.tell(&format!("complete {title}"));
            self.site.app.complete_request(key);
        }
    }

    /// An origin changes for whom a request of its own is meant.
    fn move_request(&mut self) {
        let own = self.rights.user;
        let sql = format!(
            "SELECT r.id, r.title, u.username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
            WHERE r.created_by_user_id = {own} AND r.title IS NOT NULL"
        );
        let Some((key, title, _)) = self.pick(&sql) else { return };
        let records = self.records_of(&title);
        self.model.withdrawn.extend(records);
        if self.random.chance(600) {
            let scopes = ["public", "trusted", "private", GROUP_SCOPE];
            let count = if self.rights.has_group { 4 } else { 3 };
            let scope = self.random.pick(&scopes[..count]);
            self.tell(&format!("request {title} becomes {scope}"));
            self.site.app.set_scope("help_requests", key, scope);
        } else {
            let status = self.random.pick(&["draft", "open"]);
            self.tell(&format!("request {title} becomes {status}"));
            self.site.edit(key, "status", status);
        }
    }

    fn delete_request(&mut self) {
        let Some((key, title, _)) = self.pick(&format!("SELECT id, title, username FROM {SHOWN}")) else { return };
        let db = self.site.app.db();
        let mut select = db
            .prepare("SELECT c.body, u.username FROM request_comments c JOIN users u ON u.id = c.user_id WHERE help_request_id = ?1")
            .unwrap();
        let comments = select.query_map([key], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let comments: Vec<(String, String)> = comments.map(Result::unwrap).collect();
        if !comments.iter().all(|(_, user)| self.rights.editable.contains(user)) {
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
        self.tell(&format!("delete request {key}: {texts:?}"));
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            let records = self.records_of(&text);
            self.model.deleted.extend(records);
            self.replace(&text);
        }
        db.execute("DELETE FROM request_comments WHERE help_request_id = ?1", [key]).unwrap();
        db.execute("DELETE FROM help_requests WHERE id = ?1", [key]).unwrap();
    }

    /// Marks a comment of one's own as deleted: it leaves its scope.
    fn delete_comment(&mut self) {
        let sql = format!("SELECT id, body, username FROM {COMMENTS} WHERE user_id = {}", self.rights.user);
        let Some((key, body, _)) = self.pick(&sql) else { return };
        self.tell(&format!("soft-delete comment {body}"));
        self.replace(&body);
        let records = self.records_of(&body);
        self.model.withdrawn.extend(records);
        self.site.app.delete_comment(key);
    }

    /// Notes that a site replaces a text that it shows, with all that stand beside it in an open conflict.
    fn replace(&mut self, shown: &str) {
        self.model.replaced.insert(shown.to_owned());
        let now;
        let known = match self.before {
            Some(before) => before,
            None => {
                now = self.site.records();
                &now
            }
        };
        for (_, _, record) in known {
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
    fn records_of(&self, shown: &str) -> Vec<String> {
        let before = &self.model.before;
        let texts: Vec<&String> = std::iter::successors(before.get(shown), |text| before.get(*text)).collect();
        let holds = |record: &Record| {
            let mut values = record.elements().filter_map(|(_, element)| text_of(&element.value));
            values.any(|text| text == shown || texts.contains(&text))
        };
        let records = self.site.records().into_iter();
        records.filter(|(_, _, record)| holds(record)).map(|(_, id, _)| whole_of(&id)).collect()
    }
}
