//! What a client keeps of a hub from one run to the next, so that looking for news is one small request.
//!
//! Documents and lists as they were read, and the hub's cursor of a moment before; the answer to `changes?resume=`
//! (format/http.md) says what of it is out of date. It is a cache: whoever uses a document verifies it as if it had just
//! come, and a file that can't be read, or whose hash is another, is as good as none. What is kept may be as old
//! as the last `renew`; whoever has to see what somebody else just did asks for one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::exchange::layout::StorePath;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::keys::document;
use crate::sys::disk::{self, Access};
use crate::transport::http::url::HttpUrl;
use crate::transport::http::wire::{self, Change, Changes, Info};

/// What is kept of one hub, as one instance sees it.
#[derive(Debug)]
pub(crate) struct Recall {
    file: PathBuf,
    held: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    now: Held,
    /// As it is in the file.
    saved: Held,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Held {
    cursor: String,
    info: Option<Info>,
    /// By path: a document in base64, or that there is none.
    documents: BTreeMap<String, Option<String>>,
    /// By path: the names in a list.
    lists: BTreeMap<String, Vec<String>>,
}

impl Recall {
    /// Reads what is kept below `dir` of the hub at `url`, as `reader` sees it; of a hub that nothing is kept of, nothing.
    pub(crate) fn load(dir: &Path, url: &HttpUrl, reader: Option<&InstanceId>) -> Self {
        let file = file_of(dir, url, reader);
        let held = disk::read_bounded(&file, FILE_BYTES_MAX).ok().flatten().and_then(|bytes| parse(&bytes));
        let held = held.unwrap_or_default();
        Self { file, held: Mutex::new(Kept { now: held.clone(), saved: held }) }
    }

    /// Removes what is kept below `dir` of the hub at `url`.
    ///
    /// # Errors
    /// As the operating system says.
    pub(crate) fn remove(dir: &Path, url: &HttpUrl, reader: Option<&InstanceId>) -> std::io::Result<()> {
        disk::remove(&file_of(dir, url, reader)).map(drop)
    }

    /// Returns the cursor that goes with what is kept; empty if nothing is.
    pub(crate) fn cursor(&self) -> String {
        self.held().cursor.clone()
    }

    /// Returns what the hub said about itself.
    pub(crate) fn info(&self) -> Option<Info> {
        self.held().info.clone()
    }

    /// Keeps what the hub says about itself.
    pub(crate) fn keep_info(&self, info: &Info) {
        self.held().info = Some(info.clone());
    }

    /// Drops what an answer to `changes?resume=` says is out of date, and goes on from there.
    pub(crate) fn renew(&self, changes: &Changes) {
        let mut held = self.held();
        if changes.forgotten {
            *held = Held::default();
        }
        for change in &changes.changes {
            held.drop_changed(change);
        }
        held.cursor.clone_from(&changes.cursor);
    }

    /// Returns a document that is kept; within, `None` if it is known that there is none.
    pub(crate) fn document(&self, path: &StorePath) -> Option<Option<Vec<u8>>> {
        let held = self.held();
        match held.documents.get(&path.to_string())? {
            None => Some(None),
            Some(text) => STANDARD_NO_PAD.decode(text).ok().map(Some),
        }
    }

    /// Keeps a document as it was read, or that there is none.
    pub(crate) fn keep_document(&self, path: &StorePath, bytes: Option<&[u8]>) {
        self.held().documents.insert(path.to_string(), bytes.map(|bytes| STANDARD_NO_PAD.encode(bytes)));
    }

    /// Returns a list that is kept.
    pub(crate) fn list(&self, path: &str) -> Option<Vec<String>> {
        self.held().lists.get(path).cloned()
    }

    /// Keeps a list as it was read.
    pub(crate) fn keep_list(&self, path: &str, names: &[String]) {
        self.held().lists.insert(path.to_owned(), names.to_vec());
    }

    /// Keeps a document that the hub has taken from us; with `None`, that it has removed one.
    pub(crate) fn note_written(&self, path: &StorePath, bytes: Option<&[u8]>) {
        self.held().drop_lists(path, bytes.is_some());
        self.keep_document(path, bytes);
    }

    /// Drops everything but the cursor: something was not as it should be by what is kept.
    pub(crate) fn clear(&self) {
        let mut held = self.held();
        held.documents.clear();
        held.lists.clear();
    }

    fn held(&self) -> Locked<'_> {
        Locked(self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn save(&self) -> std::io::Result<()> {
        let mut kept = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.now == kept.saved {
            return Ok(());
        }
        let bytes = encode(&kept.now);
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return disk::remove(&self.file).map(drop);
        }
        if let Some(dir) = self.file.parent() {
            disk::create_dir(dir)?;
        }
        disk::replace(&self.file, &bytes, Access::Secret)?;
        kept.saved = kept.now.clone();
        Ok(())
    }
}

impl Drop for Recall {
    fn drop(&mut self) {
        // Without it the next run asks for everything: slower, not wrong.
        let _ = self.save();
    }
}

struct Locked<'a>(MutexGuard<'a, Kept>);

impl std::ops::Deref for Locked<'_> {
    type Target = Held;

    fn deref(&self) -> &Held {
        &self.0.now
    }
}

impl std::ops::DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Held {
        &mut self.0.now
    }
}

impl Held {
    fn drop_changed(&mut self, change: &Change) {
        let Ok(path) = change.path.parse::<StorePath>() else {
            // A later hub has kinds of documents that we know nothing of.
            *self = Self::default();
            return;
        };
        if let Some(hash) = &change.hash
            && self.hash_of(&path).as_ref() == Some(hash)
        {
            return;
        }
        if let StorePath::Manifest(scope) = path {
            // Another manifest has other readers, and what one may see of the scope goes with it.
            let prefix = format!("scopes/{scope}/");
            self.documents.retain(|path, _| !path.starts_with(&prefix));
            self.lists.retain(|path, _| !path.starts_with(&prefix));
        }
        self.documents.remove(&change.path);
        self.drop_lists(&path, change.hash.is_some());
    }

    fn hash_of(&self, path: &StorePath) -> Option<String> {
        let text = self.documents.get(&path.to_string())?.as_ref()?;
        Some(document::hash_of(&STANDARD_NO_PAD.decode(text).ok()?).to_string())
    }

    /// Drops the lists that are wrong if there is, or isn't, something at `path`.
    fn drop_lists(&mut self, path: &StorePath, is_there: bool) {
        let in_scope = |scope: &ScopeId| ("scopes".to_owned(), scope.to_string());
        let lists = match path {
            StorePath::Manifest(scope) => vec![in_scope(scope)],
            StorePath::Head(scope, signer) => vec![(wire::heads_path(scope), signer.to_string()), in_scope(scope)],
            StorePath::Receipt(scope, reader) => vec![(wire::receipts_path(scope), reader.to_string())],
            StorePath::Card(instance) => vec![("instances".to_owned(), instance.to_string())],
            StorePath::Object(_) | StorePath::Format => Vec::new(),
        };
        for (list, name) in lists {
            if self.lists.get(&list).is_some_and(|names| names.contains(&name) != is_there) {
                self.lists.remove(&list);
            }
        }
    }
}

fn file_of(dir: &Path, url: &HttpUrl, reader: Option<&InstanceId>) -> PathBuf {
    let reader = reader.map(ToString::to_string).unwrap_or_default();
    let name = blake3::hash(format!("{url}\n{reader}").as_bytes()).to_hex();
    dir.join(&name.as_str()[..32])
}

/// A line with the hash of the rest, and the rest as JSON.
fn encode(held: &Held) -> Vec<u8> {
    let json = serde_json::to_vec(held).expect("what is kept has text keys");
    let mut bytes = format!("{}\n", blake3::hash(&json)).into_bytes();
    bytes.extend(json);
    bytes
}

fn parse(bytes: &[u8]) -> Option<Held> {
    let (hash, json) = bytes.split_at_checked(blake3::OUT_LEN * 2 + 1)?;
    let is_whole = hash == format!("{}\n", blake3::hash(json)).as_bytes();
    is_whole.then(|| serde_json::from_slice(json).ok()).flatten()
}

/// Of a hub with more than some ten thousand documents that we read, nothing is kept.
const FILE_BYTES_MAX: u64 = 16 << 20;
