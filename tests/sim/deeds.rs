//! What sites do: people edit, instances exchange.

use std::fs;

use wbsync::exchange::garbage::Collect;
use wbsync::record::cell::Record;
use wbsync::record::value::Value;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;
use wbsync::testing::prng::Prng;

use super::model::{At, Model};
use super::rig::Fault;
use super::town::{Carried, Town, Weather};

/// Requests that are shared, with their origin's user.
const SHOWN: &str = "(SELECT r.*, u.username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id
    WHERE r.sync_scope IN ('public', 'trusted') AND r.status IN ('open', 'completed') AND r.title IS NOT NULL)";
const COMMENTS: &str = "(SELECT c.*, u.username FROM request_comments c JOIN users u ON u.id = c.user_id
    WHERE c.sync_scope = 'public' AND c.body <> '' AND c.deleted_at IS NULL)";

impl Town {
    /// Does what a step's own chance says: a step that is left out changes nothing of the others.
    pub fn step(&mut self, chance: u64) {
        self.random = Prng::new(chance);
        let at = self.anybody();
        match self.random.below(30) {
            0..=2 => {
                let scope = self.random.pick(&["public", "public", "trusted", "private"]);
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
            27 => self.clean(at),
            _ => match self.weather {
                Weather::Lies => self.lie(),
                Weather::Restores => self.back_up_or_restore(at),
                Weather::Distrust => self.revoke(at),
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
            let scope = self.random.pick(&["public", "trusted", "private"]);
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
        let description = db.query_row("SELECT description FROM help_requests WHERE id = ?1", [key], |row| row.get(0));
        let texts: Vec<String> =
            [title, description.unwrap()].into_iter().chain(comments.into_iter().map(|(body, _)| body)).collect();
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
    fn replace(&mut self, at: At, shown: &str) {
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
        records.filter(|(_, _, record)| holds(record)).map(|(_, id, _)| id).collect()
    }

    /// Notes which texts are committed, by what a site holds.
    pub fn note_committed(&mut self, at: At) {
        for (_, id, record) in self.players[at].site.records() {
            let parent = record.elements().find_map(|(field, element)| match &element.value {
                Value::Ref(parent) if field.as_str() == "request" => Some(format!("{}/{}", parent.dataset, parent.key)),
                _ => None,
            });
            for text in record.elements().filter_map(|(_, element)| text_of(&element.value)) {
                if self.model.author.contains_key(text) {
                    self.model.committed.insert(text.clone(), (id.clone(), parent.clone()));
                }
            }
        }
    }

    fn exchange(&mut self, at: At) {
        if self.players[at].is_behind {
            return self.restore(at);
        }
        self.maybe_trouble();
        self.outcome.exchanges += 1;
        let remotes = self.remotes(at);
        let remotes: Vec<_> = remotes.iter().filter(|_| self.random.chance(750)).cloned().collect();
        let Some(first) = remotes.first() else { return };
        let done = match self.random.below(6) {
            0 => {
                self.tell(at, "commit");
                self.with(at, |instance| Ok(format!("{:?}", instance.commit(Mode::Keep)?)))
            }
            1 => {
                self.tell(at, &format!("fetch {first}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.fetch(first)?)))
            }
            2 => {
                self.tell(at, &format!("push {first}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.push(first)?)))
            }
            3 => {
                self.tell(at, &format!("pull {remotes:?}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.pull(&remotes)?)))
            }
            _ => {
                self.tell(at, &format!("sync {remotes:?}"));
                self.with(at, |instance| Ok(format!("{:?}", instance.sync(&remotes)?)))
            }
        };
        if let Some(Ok(done)) = done {
            self.tell(at, &format!("  {done}"));
            self.note_committed(at);
        }
    }

    /// Sometimes the disk fails in what comes next.
    fn maybe_trouble(&mut self) {
        if self.random.chance(150) {
            let fault = if self.random.chance(700) { Fault::PowerCut } else { Fault::Full };
            self.outcome.cuts += 1;
            let bound = if self.random.chance(500) { 12 } else { 120 };
            let calls = self.random.below(bound);
            self.machine.fail_after(calls, fault);
        }
    }

    fn pack(&mut self, at: At) {
        let to = self.anybody();
        // What went out by stick alone can't be asked back for: docs/restore.md.
        if to == at || self.weather == Weather::Restores {
            return;
        }
        self.maybe_trouble();
        self.outcome.bundles += 1;
        let options = BundleOptions { peers: vec![self.name(to).into()], ..BundleOptions::default() };
        let number = self.outcome.bundles;
        let dir = self.drawer.path().to_path_buf();
        self.tell(at, &format!("bundle {number} for {}", self.name(to)));
        let packed = self.with(at, |instance| {
            let packing = instance.bundle_pack(&options, Mode::Keep)?;
            let mut files = Vec::new();
            for part in 0..packing.indexes.len() {
                let path = dir.join(format!("{number}.{part}"));
                instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap())?;
                files.push(path);
            }
            Ok(files)
        });
        if let Some(Ok(files)) = packed {
            self.note_committed(at);
            self.carried.push(Carried { to, files });
        }
    }

    /// A bundle arrives and stays in the drawer, to arrive again; or is lost, or arrives damaged.
    fn receive(&mut self) {
        if self.carried.is_empty() {
            return;
        }
        let which = self.random.below(self.carried.len() as u64) as usize;
        let (to, mut files) = (self.carried[which].to, self.carried[which].files.clone());
        match self.random.below(5) {
            0 => {
                self.carried.swap_remove(which);
                return;
            }
            1 => {
                let mut bytes = fs::read(&files[0]).unwrap();
                let at = self.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.random.below(8);
                let damaged = self.drawer.path().join("damaged");
                fs::write(&damaged, bytes).unwrap();
                files[0] = damaged;
                let before = self.players[to].site.heads();
                self.tell(to, "a damaged bundle");
                let applied = self.with(to, |instance| instance.bundle_apply(&files, Mode::Keep).map(drop));
                assert!(!matches!(applied, Some(Ok(()))), "{} took a damaged bundle", self.name(to));
                assert_eq!(self.players[to].site.heads(), before, "a damaged bundle moved heads");
                return;
            }
            _ => {}
        }
        self.maybe_trouble();
        self.tell(to, &format!("apply {:?}", files[0].file_name().unwrap()));
        let applied = self.with(to, |instance| Ok(format!("{:?}", instance.bundle_apply(&files, Mode::Keep)?)));
        if let Some(Ok(applied)) = applied {
            self.tell(to, &format!("  {applied}"));
            self.note_committed(to);
        }
    }

    fn clean(&mut self, at: At) {
        self.maybe_trouble();
        self.tell(at, "gc");
        self.with(at, |instance| instance.gc(0, Collect::Remove).map(drop));
    }

    fn back_up_or_restore(&mut self, at: At) {
        let Some(backup) = self.players[at].backup.take() else {
            self.tell(at, "a backup");
            self.players[at].backup = Some(self.players[at].site.save());
            return;
        };
        self.tell(at, "put back from the backup");
        self.outcome.restores += 1;
        self.players[at].site.restore(&backup);
        // What only it held is gone, as people know who restore a backup.
        let others: Vec<At> = self.sites().filter(|other| *other != at).collect();
        let mut known = std::collections::BTreeSet::new();
        for other in others {
            known.extend(self.texts_held(other));
        }
        let author = self.model.author.clone();
        self.model.committed.retain(|text, _| author[text] != at || known.contains(text));
        self.restore(at);
    }

    /// Runs `restore`. It stays behind if no store could be asked: then it does nothing else.
    pub fn restore(&mut self, at: At) {
        self.note_audiences(at);
        self.players[at].is_behind = true;
        let dir = self.players[at].site.app.dir().to_path_buf();
        let restored = Instance::open(&dir, Purpose::Restore, silent())
            .and_then(|mut instance| instance.restore(&RestoreOptions::default(), Mode::Keep));
        match restored {
            Ok(summary) => {
                self.tell(at, &format!("  restores: {summary:?}"));
                self.players[at].is_behind = !summary.pushed.failed.is_empty();
            }
            Err(error) => self.tell(at, &format!("  restores: {}", wbsync::sync::status::explain(&error))),
        }
        self.machine.restart();
    }

    /// The texts of the records that a site holds.
    pub fn texts_held(&self, at: At) -> std::collections::BTreeSet<String> {
        let records = self.players[at].site.records();
        Model::find(format!("{:?}", records.iter().map(|(_, _, record)| record).collect::<Vec<_>>()).as_bytes())
    }

    fn revoke(&mut self, at: At) {
        let peer = self.anybody();
        if peer == at || self.players[at].revoked.contains(&peer) || self.outcome.revoked > 1 {
            return;
        }
        let name = self.name(peer);
        if self.random.chance(400) && !self.players[at].readers.contains(&peer) {
            self.tell(at, &format!("trust {name}"));
            self.players[at].readers.insert(peer);
            self.players[at].ever.insert(peer);
            for text in self.model.trusted.get(&at).cloned().unwrap_or_default() {
                self.model.allowed.get_mut(&text).unwrap().insert(peer);
            }
            self.with(at, |instance| instance.peer_trust(name, Trust::Trusted).map(drop)).unwrap().unwrap();
            return;
        }
        self.tell(at, &format!("revoke {name}"));
        self.outcome.revoked += 1;
        self.note_audiences(at);
        self.with(at, |instance| instance.peer_revoke(name, Mode::Keep).map(drop)).unwrap().unwrap();
        let player = &mut self.players[at];
        player.readers.remove(&peer);
        player.writers.remove(&peer);
        player.revoked.insert(peer);
    }
}

/// The text of a value.
pub fn text_of(value: &Value) -> Option<&String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}
