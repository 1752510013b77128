//! The paths that a file may have in a directory that others write into.
//!
//! What comes from others is refused if it could reach outside, hide, be run by a tool, or be taken for another
//! file. The same rules hold for what leaves, so that what is sent can be written.

use unicode_normalization::UnicodeNormalization;

/// The most bytes of a path.
pub const PATH_BYTES_MAX: usize = 1024;
/// The most bytes of one name in it.
pub const NAME_BYTES_MAX: usize = 240;
/// The most names in a path.
pub const NAMES_MAX: usize = 32;

/// Checks a path; the error says why it can't be one.
///
/// # Errors
/// Any path that doesn't lead to a plain name below the directory.
pub fn check(path: &str) -> Result<(), &'static str> {
    if path.is_empty() || path.len() > PATH_BYTES_MAX {
        return Err("its path is empty or too long");
    }
    if path.starts_with('/') {
        return Err("its path does not begin in the directory");
    }
    if path.split('/').count() > NAMES_MAX {
        return Err("its path goes too deep");
    }
    path.split('/').try_for_each(check_name)
}

/// Checks one name of a path.
///
/// # Errors
/// As `check`.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if matches!(name, "" | "." | "..") {
        return Err("its path leads elsewhere");
    }
    if name.len() > NAME_BYTES_MAX {
        return Err("a name in its path is too long");
    }
    // Direction marks make a name look like another.
    let hides = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if name.chars().any(|c| hides(c) || c == '\\') {
        return Err("a name in its path has characters that are not allowed");
    }
    if is_reserved(name) {
        return Err("a name in its path is reserved");
    }
    Ok(())
}

/// Names of files and directories that tools read as orders, or where they keep secrets.
const RESERVED: [&str; 10] =
    ["wbsync.toml", ".git", ".env", ".ssh", ".aws", ".gnupg", ".htpasswd", ".netrc", ".pgpass", ".npmrc"];

/// Tells whether a name belongs to a tool that reads what lies there as orders or secrets: wbsync, git, the environment.
pub fn is_reserved(name: &str) -> bool {
    let folded = fold(name);
    let name = folded.trim_end_matches(['.', ' ']);
    let begins = [".wbsync", ".env."].iter().any(|begin| folded.starts_with(begin));
    begins || RESERVED.contains(&name)
}

/// Returns what names have in common that some file system takes for one: composed, in small letters.
pub fn fold(path: &str) -> String {
    // Ignorable characters are dropped as HFS+ does, lest `.g\u{200c}it` be `.git` there.
    let seen = |c: &char| !matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    path.chars().filter(seen).nfc().collect::<String>().to_lowercase().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_hide_or_are_read_by_tools_are_refused() {
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../x",
            "a/..",
            "..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "a\\b",
            ".wbsync",
            ".wbsync/keys",
            "a/.wbsync-1234",
            ".WBSYNC/x",
            ".git/hooks/pre-commit",
            "a/.GIT/config",
            ".g\u{200c}it/config",
            ".git./config",
            "wbsync.toml",
            "sub/Wbsync.toml",
            ".env",
            "photo\u{202e}gpj.exe",
        ] {
            assert!(check(path).is_err(), "{path:?}");
        }
        assert!(check(&"a/".repeat(NAMES_MAX).trim_end_matches('/').replace("//", "/")).is_ok());
        assert!(check(&format!("{}a", "a/".repeat(NAMES_MAX))).is_err());
        assert!(check(&"n".repeat(NAME_BYTES_MAX)).is_ok());
        assert!(check(&"n".repeat(NAME_BYTES_MAX + 1)).is_err());
        let deep = vec!["n".repeat(200); 6].join("/");
        assert!(check(&deep).is_err(), "too long altogether");
        for path in ["a", "a/b c/ü.txt", "...", "..a", "a..", ".gitignore", ".environment", "e\u{301}", "日本/語"] {
            assert_eq!(check(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn names_that_some_file_system_takes_for_one_fold_to_one() {
        assert_eq!(fold("Ärger.TXT"), fold("a\u{308}rger.txt"));
        assert_eq!(fold("\u{212b}ngström"), fold("\u{e5}ngström"));
        assert_ne!(fold("a"), fold("b"));
    }
}
