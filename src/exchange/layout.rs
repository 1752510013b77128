//! The paths of a store, the sizes of what lies there, and the line that tells a store's format.
//!
//! A path is a value here, never a joined string: what doesn't parse to one of these shapes is not part
//! of a store, so no `..`, no link name and no second spelling can come from outside. The layout:
//! format/store.md.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::id::bytes::{InstanceId, ObjectId, ScopeId};
use crate::keys::document;

/// A place in a store, printed as its path relative to the store with `/` between the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorePath {
    /// `format`: the line that tells the store's format.
    Format,
    /// `objects/ab/abcdef….age`: a sealed object.
    Object(ObjectId),
    /// `scopes/<scope-id>/manifest`: the signed rules of a scope.
    Manifest(ScopeId),
    /// `scopes/<scope-id>/heads/<instance-id>`: what one signer says of a scope.
    Head(ScopeId, InstanceId),
    /// `scopes/<scope-id>/receipts/<instance-id>`: what one reader says that it has applied of a scope.
    Receipt(ScopeId, InstanceId),
    /// `instances/<instance-id>`: the card of an instance.
    Card(InstanceId),
}

impl StorePath {
    /// Returns the most bytes that may lie at this path.
    pub const fn bytes_max(&self) -> u64 {
        match self {
            StorePath::Format => FORMAT_BYTES_MAX,
            StorePath::Object(_) => OBJECT_BYTES_MAX,
            StorePath::Manifest(_) | StorePath::Head(..) | StorePath::Receipt(..) | StorePath::Card(_) => {
                DOCUMENT_BYTES_MAX
            }
        }
    }

    /// Returns the path of this place in the store at `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(self.to_string())
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StorePath::Format => f.write_str("format"),
            StorePath::Object(id) => {
                let name = id.to_string();
                write!(f, "objects/{}/{name}.age", &name[..2])
            }
            StorePath::Manifest(scope) => write!(f, "scopes/{scope}/manifest"),
            StorePath::Head(scope, signer) => write!(f, "scopes/{scope}/heads/{signer}"),
            StorePath::Receipt(scope, signer) => write!(f, "scopes/{scope}/receipts/{signer}"),
            StorePath::Card(instance) => write!(f, "instances/{instance}"),
        }
    }
}

impl FromStr for StorePath {
    type Err = ParsePathError;

    /// Parses exactly what `Display` writes: one spelling for one place.
    fn from_str(text: &str) -> Result<Self, ParsePathError> {
        let path = parse(text).filter(|path| path.to_string() == text);
        path.ok_or_else(|| ParsePathError { found: text.chars().take(160).collect() })
    }
}

fn parse(text: &str) -> Option<StorePath> {
    let mut parts = text.split('/');
    let path = match (parts.next()?, parts.next()) {
        ("format", None) => StorePath::Format,
        ("instances", Some(instance)) => StorePath::Card(instance.parse().ok()?),
        ("objects", Some(_)) => StorePath::Object(parts.next()?.strip_suffix(".age")?.parse().ok()?),
        ("scopes", Some(scope)) => {
            let scope = scope.parse().ok()?;
            match parts.next()? {
                "manifest" => StorePath::Manifest(scope),
                "heads" => StorePath::Head(scope, parts.next()?.parse().ok()?),
                "receipts" => StorePath::Receipt(scope, parts.next()?.parse().ok()?),
                _ => return None,
            }
        }
        _ => return None,
    };
    parts.next().is_none().then_some(path)
}

/// A text is not the path of anything in a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is no path of a store")]
pub struct ParsePathError {
    found: String,
}

/// Checks what a `format` file holds.
///
/// # Errors
/// `Newer` for a version that this build doesn't know, `Foreign` for anything else that isn't `FORMAT`.
pub fn check_format(bytes: &[u8]) -> Result<(), FormatError> {
    if bytes == FORMAT.as_bytes() {
        return Ok(());
    }
    let version = std::str::from_utf8(bytes).ok().and_then(|line| line.strip_prefix(FORMAT_PREFIX)?.strip_suffix('\n'));
    match version.filter(|digits| !digits.starts_with('0')).and_then(|digits| digits.parse::<u32>().ok()) {
        Some(version) if version > FORMAT_VERSION => Err(FormatError::Newer { version }),
        _ => Err(FormatError::Foreign),
    }
}

/// A `format` file doesn't name the format of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A later format of ours.
    #[error("the store has format {version}")]
    Newer {
        /// Its version.
        version: u32,
    },
    /// Not ours at all.
    #[error("its format file is not one of wbsync")]
    Foreign,
}

/// What the `format` file holds, to the byte.
pub const FORMAT: &str = "wbsync store 1\n";

/// The most bytes of a sealed object: 64 MiB of plaintext with room for padding and sealing, doubled.
pub const OBJECT_BYTES_MAX: u64 = 128 << 20;

/// The most bytes of a signed document, its envelope included (format/document.md).
pub const DOCUMENT_BYTES_MAX: u64 = document::DOCUMENT_BYTES_MAX as u64;

/// The most bytes of a `format` file, of any version.
pub const FORMAT_BYTES_MAX: u64 = 64;

const FORMAT_PREFIX: &str = "wbsync store ";
const FORMAT_VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_prints_and_parses_back() {
        let scope = ScopeId::from_bytes([0x5c; 16]);
        let instance = InstanceId::from_bytes([0x1a; 32]);
        let object = ObjectId::from_bytes([0xab; 32]);
        for (path, text) in [
            (StorePath::Format, "format".to_owned()),
            (StorePath::Object(object), format!("objects/ab/{}.age", "ab".repeat(32))),
            (StorePath::Manifest(scope), format!("scopes/{}/manifest", "5c".repeat(16))),
            (StorePath::Head(scope, instance), format!("scopes/{}/heads/{}", "5c".repeat(16), "1a".repeat(32))),
            (StorePath::Receipt(scope, instance), format!("scopes/{}/receipts/{}", "5c".repeat(16), "1a".repeat(32))),
            (StorePath::Card(instance), format!("instances/{}", "1a".repeat(32))),
        ] {
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
            assert_eq!(path.under(Path::new("/mnt/stick")), Path::new("/mnt/stick").join(text));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let (id, scope) = ("ab".repeat(32), "5c".repeat(16));
        for text in [
            String::new(),
            "/".into(),
            "format/".into(),
            "/format".into(),
            "./format".into(),
            "Format".into(),
            "lock".into(),
            "objects".into(),
            format!("objects/{id}.age"),
            format!("objects/ac/{id}.age"),
            format!("objects/ab/{id}"),
            format!("objects/ab/{id}.age.age"),
            format!("objects/ab/{id}.age/"),
            format!("objects/ab//{id}.age"),
            format!("objects/../objects/ab/{id}.age"),
            format!("objects/ab/{}.age", "AB".repeat(32)),
            format!("objects/ab/.tmp-{id}.age"),
            format!("objects\\ab\\{id}.age"),
            format!("scopes/{scope}"),
            format!("scopes/{scope}/"),
            format!("scopes/{scope}/heads"),
            format!("scopes/{scope}/heads/"),
            format!("scopes/{scope}/heads/.."),
            format!("scopes/{scope}/receipts/"),
            format!("scopes/{scope}/receipts/{scope}"),
            format!("scopes/{scope}/receipt/{id}"),
            format!("scopes/{scope}/manifest/x"),
            format!("scopes/../{scope}/manifest"),
            format!("scopes/{id}/manifest"),
            format!("instances/{scope}"),
            format!("instances/{id}/.."),
            format!("instances/{id}\0"),
            format!("instances/{id}\n"),
            format!("instances/ {id}"),
        ] {
            assert!(text.parse::<StorePath>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn format_line_is_exact_and_a_later_one_is_named() {
        assert_eq!(check_format(FORMAT.as_bytes()), Ok(()));
        assert_eq!(check_format(b"wbsync store 2\n"), Err(FormatError::Newer { version: 2 }));
        for foreign in
            ["", "wbsync store 1", "wbsync store 1\r\n", "wbsync store 0\n", "wbsync store 01\n", "wbsync store +1\n"]
        {
            assert_eq!(check_format(foreign.as_bytes()), Err(FormatError::Foreign), "{foreign:?}");
        }
        assert_eq!(check_format(b"wbsync store 1\n\n"), Err(FormatError::Foreign));
        assert_eq!(check_format(b"\xff\xfe"), Err(FormatError::Foreign));
    }
}
