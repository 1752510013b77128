//! Texts of errors, read from the source: each says in lower case what was being done to which thing, and no more than that.

use std::fs;
use std::path::Path;

/// The texts of all errors, with the file that each is in.
fn texts() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = Vec::new();
    for entry in walkdir::WalkDir::new(&source).into_iter().map(Result::unwrap) {
        if entry.path().extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let file = entry.path().strip_prefix(&source).unwrap().display().to_string();
        let text = fs::read_to_string(entry.path()).unwrap();
        for part in text.split("#[error(\"").skip(1) {
            // Up to the quote that isn't escaped.
            let mut end = 0;
            let bytes = part.as_bytes();
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            texts.push((file.clone(), part[..end].replace("\\\"", "\"")));
        }
    }
    assert!(texts.len() > 250, "{} texts", texts.len());
    texts
}

/// Names that begin with a capital letter.
const NAMES: &[&str] = &["SSH", "SQLite", "PostgreSQL", "TLS", "HTTP", "CBOR", "UTF-8"];

#[test]
fn errors_are_written_alike() {
    let mut wrong = Vec::new();
    for (file, text) in texts() {
        let mut fault = |why: &str| wrong.push(format!("{file}: {text:?} {why}"));
        let first = text.chars().next().unwrap();
        if first.is_uppercase() && !NAMES.iter().any(|name| text.starts_with(name)) {
            fault("begins with a capital letter");
        }
        if text.ends_with(['.', '!', ':']) {
            fault("ends with a stop");
        }
        for word in [
            "failed to",
            "Failed",
            "unable to",
            "error",
            "invalid",
            "unexpected",
            "oops",
            "please",
            "illegal",
            "cannot not",
        ] {
            if text
                .split(|c: char| !c.is_ascii_alphabetic() && c != ' ')
                .any(|part| format!(" {part} ").contains(&format!(" {word} ")))
            {
                fault(&format!("says {word:?}, which tells nothing"));
            }
        }
        if text.contains("  ") || text.contains('\n') {
            fault("has more than one line");
        }
        // What stops a command says of what it speaks.
        let is_top = file == "sync/error.rs" && !text.contains('{');
        let whole = [
            "cannot use",
            "there is no remote",
            "this is the card",
            "this instance",
            "a restore",
            "none of the remotes",
        ];
        let known = [
            "cannot read the card",
            "cannot write the mirror",
            "cannot write the output",
            "the application keeps",
            "the bookkeeping",
        ];
        if is_top && !whole.iter().chain(&known).any(|begin| text.starts_with(begin)) {
            fault("doesn't name its thing");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
