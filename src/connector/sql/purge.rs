//! Removes cache files that went stale: only below the application's directory, never through a link.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

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
