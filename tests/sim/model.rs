//! What must hold, told in texts: every text that anybody types is its own marker.

use std::collections::{BTreeMap, BTreeSet};

use wbsync::history::commit::{Commit, Making};
use wbsync::id::bytes::{CommitId, InstanceId, ScopeId};
use wbsync::record::cell::Record;
use wbsync::record::value::Value;
use wbsync::state::check::StoredCommit;

/// A site by its number.
pub type At = usize;

/// What is known of texts.
#[derive(Default)]
pub struct Model {
    count: u64,
    /// Who typed it.
    pub author: BTreeMap<String, At>,
    /// Sites that may ever have it.
    pub allowed: BTreeMap<String, BTreeSet<At>>,
    /// Texts that were meant for an origin's trusted readers, or its group, at some time.
    pub meant: BTreeMap<(At, &'static str), BTreeSet<String>>,
    /// Every text that was seen committed, with its record and the request that a comment stands under.
    pub committed: BTreeMap<String, (String, Option<String>)>,
    /// Texts that somebody who saw them replaced or deleted.
    pub replaced: BTreeSet<String>,
    /// What each text replaced: texts that were never committed are known by those before them.
    pub before: BTreeMap<String, String>,
    /// Records that their origin took out of a scope: edits that others made there at the same time are turned away.
    pub withdrawn: BTreeSet<String>,
    /// Requests that somebody deleted: what stands under them is withdrawn by its own origin.
    pub deleted: BTreeSet<String>,
    /// What was written under each stamp, by record and field.
    pub written: BTreeMap<(String, String, InstanceId, u32, u64), String>,
    /// Every commit that was seen, and which one it was that somebody made under a number in a scope.
    commits: BTreeSet<CommitId>,
    captures: BTreeMap<(ScopeId, InstanceId, u32, u64), CommitId>,
}

impl Model {
    /// Makes up a text that was never used.
    pub fn text(&mut self, author: At) -> String {
        self.count += 1;
        let text = format!("mk{:05}z", self.count);
        self.author.insert(text.clone(), author);
        self.allowed.insert(text.clone(), [author].into());
        text
    }

    /// Returns how many texts there are.
    pub fn texts(&self) -> u64 {
        self.count
    }

    /// Notes the writes of a record as somebody holds it in a scope: there a stamp is of one write.
    pub fn note_writes(&mut self, scope: &str, id: &str, record: &Record) {
        for (field, element) in record.elements() {
            // What is merged of several texts isn't what anybody wrote.
            if !["title", "body", "contact_email"].contains(&field.as_str()) {
                continue;
            }
            let (stamp, value) = (&element.stamp, format!("{:?}", element.value));
            let write = (format!("{scope} {id}"), field.to_string(), stamp.author, stamp.incarnation, stamp.sequence);
            if let Some(known) = self.written.get(&write) {
                assert_eq!(*known, value, "two writes of {id}.{field} have one stamp: {stamp:?}");
            } else {
                self.written.insert(write, value);
            }
        }
    }

    /// Notes the commits that somebody holds: nobody ever makes two under one number.
    pub fn note_commits(&mut self, commits: Vec<StoredCommit>) {
        for (scope, id, bytes) in commits {
            if !self.commits.insert(id) {
                continue;
            }
            if let Making::Capture { author, incarnation, sequence, .. } = Commit::decode(&bytes).unwrap().making {
                let known = *self.captures.entry((scope, author, incarnation, sequence)).or_insert(id);
                assert_eq!(known, id, "{author} made two commits {incarnation}/{sequence} in {scope}");
            }
        }
    }

    /// Returns every text in some bytes.
    pub fn find(bytes: &[u8]) -> BTreeSet<String> {
        let is_text = |window: &&[u8]| {
            window.starts_with(b"mk") && window[7] == b'z' && window[2..7].iter().all(u8::is_ascii_digit)
        };
        let found = bytes.windows(8).filter(is_text);
        found.map(|window| String::from_utf8_lossy(window).into_owned()).collect()
    }
}

/// The text of a value.
pub fn text_of(value: &Value) -> Option<&String> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// The record that a record belongs to: fields with a scope of their own lie apart.
pub fn whole_of(id: &str) -> String {
    id.replacen("+/", "/", 1)
}
