//! What an instance keeps for a repository: the cache, its lock, and the password that its URL held.
//!
//! The password leaves the URL before anybody stores or prints that, and lies in a file that only its owner reads.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::disk::{self, Access};
use crate::transport::git::url::{GitUrl, Password, Place};

/// Returns where the cache of a repository is, in the directory of caches.
pub fn cache_of(url: &GitUrl, caches: &Path) -> PathBuf {
    let name = blake3::hash(url.to_string().as_bytes()).to_hex();
    caches.join(&name[..16])
}

/// Keeps the password that a URL holds, if any, for the same URL without it.
///
/// # Errors
/// As the operating system says.
pub fn keep_password(url: &GitUrl, caches: &Path) -> io::Result<()> {
    let Place::Http { password: Some(password), .. } = &url.place else { return Ok(()) };
    disk::create_dir(caches)?;
    disk::replace(&password_file(url, caches), password.reveal().as_bytes(), Access::Secret)
}

/// Returns a URL with the password that was kept for it, unless it holds one.
///
/// # Errors
/// As the operating system says.
pub fn with_password(url: &GitUrl, caches: &Path) -> io::Result<GitUrl> {
    let mut url = url.clone();
    let file = password_file(&url, caches);
    if let Place::Http { password: password @ None, .. } = &mut url.place
        && let Some(kept) = disk::read_bounded(&file, PASSWORD_BYTES_MAX)?
    {
        *password = String::from_utf8(kept).ok().map(Password::new);
    }
    Ok(url)
}

/// Removes everything that was kept for a repository.
///
/// # Errors
/// As the operating system says.
pub fn forget(url: &GitUrl, caches: &Path) -> io::Result<()> {
    disk::remove(&password_file(url, caches))?;
    let cache = cache_of(url, caches);
    disk::remove_tree(&cache)?;
    disk::remove(&cache.with_extension("lock")).map(drop)
}

fn password_file(url: &GitUrl, caches: &Path) -> PathBuf {
    cache_of(url, caches).with_extension("password")
}

const PASSWORD_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_apart_from_its_url_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let caches = dir.path().join("git");
        let url = GitUrl::parse("git+https://eve:secret@git.example/hub").unwrap();
        let (bare, password) = url.clone().without_password();
        assert_eq!(with_password(&bare, &caches).unwrap(), bare);
        keep_password(&url, &caches).unwrap();
        assert_eq!(with_password(&bare, &caches).unwrap(), url);
        assert_eq!(password.unwrap().reveal(), "secret");
        let other = GitUrl::parse("git+https://eve@git.example/other").unwrap();
        assert_eq!(with_password(&other, &caches).unwrap(), other);
        let newer = GitUrl::parse("git+https://eve:newer@git.example/hub").unwrap();
        assert_eq!(with_password(&newer, &caches).unwrap(), newer, "what the URL holds counts more");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(password_file(&bare, &caches)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        forget(&bare, &caches).unwrap();
        assert_eq!(with_password(&bare, &caches).unwrap(), bare);
        assert_eq!(std::fs::read_dir(&caches).unwrap().count(), 0);
    }
}
