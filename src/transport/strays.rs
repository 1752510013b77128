//! What lies in the directory of a store and is no part of it: leftovers of interrupted writes, and foreign files.
//!
//! A store ignores both (format/store.md). Whoever looks after a store wants to know of them.

use std::path::Path;
use std::{fs, io};

use crate::exchange::layout::StorePath;
use crate::sys::clock::UnixMillis;
use crate::sys::disk::{self, Entry, TEMPORARY_PREFIX};

/// The directory that a served store has beside its own.
pub const HUB_DIR: &str = "hub";

/// Something that is no part of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Where, relative to the store.
    pub path: String,
    /// What.
    pub kind: StrayKind,
    /// Its bytes; 0 for what is no file.
    pub bytes: u64,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrayKind {
    /// A temporary file whose writer was at work within the last day, and may still be.
    Growing,
    /// A temporary file whose writer is dead.
    Leftover,
    /// `lock.break`, which a process left that died while breaking a lock: it keeps everybody from locking.
    Break,
    /// Something that isn't ours.
    Foreign,
    /// A link, a device or a directory where only a plain file may be, or the other way round.
    Irregular,
}

/// Lists what is no part of the store at `root`; temporary files written before `stale` have no writer any more.
///
/// # Errors
/// As listing a directory fails.
pub fn strays(root: &Path, stale: UnixMillis) -> io::Result<Vec<Stray>> {
    let mut found = Vec::new();
    visit(root, "", 0, stale, &mut found)?;
    Ok(found)
}

fn visit(root: &Path, inside: &str, depth: usize, stale: UnixMillis, found: &mut Vec<Stray>) -> io::Result<()> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(root.join(inside))?.take(ENTRIES_MAX) {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        let path = if inside.is_empty() { name.clone() } else { format!("{inside}/{name}") };
        let Some(entry) = disk::look(&root.join(&path))? else { continue };
        let bytes = if let Entry::File { bytes, .. } = entry { bytes } else { 0 };
        let is_place = path.parse::<StorePath>().is_ok();
        let kind = match entry {
            Entry::File { modified, .. } if name.starts_with(TEMPORARY_PREFIX) => {
                if modified < stale {
                    StrayKind::Leftover
                } else {
                    StrayKind::Growing
                }
            }
            Entry::File { .. } if is_place || ["lock", "lock.held"].contains(&path.as_str()) => continue,
            Entry::File { .. } if path == "lock.break" => StrayKind::Break,
            Entry::File { .. } => StrayKind::Foreign,
            Entry::Dir if is_dir_of_ours(&path) && depth < DEPTH_MAX => {
                visit(root, &path, depth + 1, stale, found)?;
                continue;
            }
            // What a hub keeps of its members is its own business, and stays out of copies of the store.
            Entry::Dir if path == HUB_DIR => continue,
            _ if is_place || is_dir_of_ours(&path) => StrayKind::Irregular,
            _ => StrayKind::Foreign,
        };
        found.push(Stray { path, kind, bytes });
    }
    Ok(())
}

/// Tells whether a path is one of the directories that the layout has.
fn is_dir_of_ours(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let is_hex = |text: &str, digits: usize| {
        text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    match parts.as_slice() {
        ["objects" | "scopes" | "instances"] => true,
        ["objects", byte] => is_hex(byte, 2),
        ["scopes", scope] => is_hex(scope, 32),
        ["scopes", scope, "heads" | "receipts"] => is_hex(scope, 32),
        _ => false,
    }
}

/// `scopes/<id>/heads` is the deepest directory.
const DEPTH_MAX: usize = 3;
/// The most entries of one directory that are looked at.
const ENTRIES_MAX: usize = 1 << 20;
