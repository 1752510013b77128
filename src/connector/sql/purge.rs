//! What goes stale with rows: notes it, and removes cache files, only below the application's directory, never through a link.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::apply::Apply;
use super::key::Key;
use super::plan::Plan;
use super::session::Row;
use crate::connector::mapping::template;

/// Removes files of one application.
#[derive(Debug)]
pub(super) struct Purge {
    root: PathBuf,
    /// Directories that were looked at, and whether each is a real one.
    dirs: HashMap<PathBuf, bool>,
}

impl Purge {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf(), dirs: HashMap::new() }
    }

    /// Removes `file` if it is there. What can't be removed is only a stale cache.
    pub(super) fn remove(&mut self, file: &str) {
        let mut parts: Vec<&str> = file.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        let fine = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
        if !fine(name) || !parts.iter().copied().all(fine) {
            return;
        }
        let mut dir = self.root.clone();
        for part in parts {
            dir.push(part);
            let known = self.dirs.get(&dir).copied();
            let is_dir = known.unwrap_or_else(|| fs::symlink_metadata(&dir).is_ok_and(|found| found.is_dir()));
            if known.is_none() {
                self.dirs.insert(dir.clone(), is_dir);
            }
            if !is_dir {
                return;
            }
        }
        // Unlinking a link removes the link, not what it points to.
        let _ = fs::remove_file(dir.join(name));
    }
}

impl Apply<'_> {
    /// Notes what goes stale because of a row.
    pub(super) fn stale(&mut self, dataset: usize, key: &Key, row: &dyn Row) {
        let plan = &self.plans.list[dataset];
        if plan.spec.purge.files.is_empty() && plan.purge_rows.is_empty() {
            return;
        }
        let fill = |text: &str| template::fill(text, |name| value_named(plan, key, row, name)).ok();
        // A text of others must not lead into another directory.
        let is_name = |value: &String| !value.contains(['/', '\\']);
        let fill_file =
            |text: &str| template::fill(text, |name| value_named(plan, key, row, name).filter(is_name)).ok();
        self.pending.files.extend(plan.spec.purge.files.iter().filter_map(|text| fill_file(text)));
        for (index, (_, text)) in plan.purge_rows.iter().enumerate() {
            if let Some(value) = fill(text) {
                self.pending.rows.push((dataset, index, value));
            }
        }
    }
}

/// Returns the key or a reference's local key; `None` for a NULL reference, which has no cache.
fn value_named(plan: &Plan, key: &Key, row: &dyn Row, name: &str) -> Option<String> {
    if name == "key" {
        return Some(key.to_string());
    }
    let index = plan.fields.iter().position(|field| field.name.as_str() == name)?;
    Key::of(row.raw(index + 1).ok()?).map(|key| key.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_or_behind_a_link_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("app"), dir.path().join("out"));
        fs::create_dir_all(root.join("cache")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        for file in [root.join("cache/1"), outside.join("1"), root.join("1")] {
            fs::write(file, "x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(&outside, root.join("link")).unwrap();
        let mut purge = Purge::new(&root);
        for file in ["cache/1", "../out/1", "link/1", "cache/../1", "/1", "none/1", ""] {
            purge.remove(file);
        }
        assert!(!root.join("cache/1").exists());
        assert!(outside.join("1").exists() && root.join("1").exists());
    }
}
