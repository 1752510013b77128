//! Runs the test vectors under format/vectors: what must be accepted, and what must be refused and why.
//!
//! Every case is made by code, kept as a file, and read back from it, so that other implementations can
//! use the files and a change of format shows as a changed file. `WBSYNC_VECTORS=write` writes them.

#![cfg(test)]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// One vector.
pub(crate) struct Case {
    name: &'static str,
    accepted: bool,
    bytes: Vec<u8>,
    reproducible: bool,
}

impl Case {
    pub(crate) fn accept(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, accepted: true, bytes, reproducible: true }
    }

    pub(crate) fn reject(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, accepted: false, bytes, reproducible: true }
    }

    /// Sealed bytes differ each time they are made: the file is only decoded.
    pub(crate) fn decode_only(self) -> Self {
        Self { reproducible: false, ..self }
    }
}

/// Compares `cases` with the files of format/vectors/`kind` and checks what `decode` says to each.
pub(crate) fn run<E: Error>(kind: &str, cases: &[Case], decode: impl Fn(&[u8]) -> Result<(), E>) {
    let write = std::env::var_os("WBSYNC_VECTORS").is_some_and(|value| value == "write");
    let mut known = BTreeSet::new();
    for case in cases {
        let dir = root().join(kind).join(if case.accepted { "accept" } else { "reject" });
        let path = dir.join(case.name).with_extension("hex");
        assert!(known.insert(path.clone()), "two vectors are called {}", case.name);
        if write && (case.reproducible || !path.exists()) {
            fs::create_dir_all(&dir).unwrap();
            fs::write(&path, to_hex(&case.bytes)).unwrap();
        }
        let bytes = from_hex(&fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
        assert!(!case.reproducible || bytes == case.bytes, "{} has changed", path.display());
        let found = decode(&bytes).map_err(|error| chain(&error));
        if case.accepted {
            assert_eq!(found, Ok(()), "{}", path.display());
            continue;
        }
        let error = found.expect_err(case.name) + "\n";
        let expected = path.with_extension("txt");
        if write {
            fs::write(&expected, &error).unwrap();
        }
        assert_eq!(error, fs::read_to_string(&expected).unwrap(), "{}", path.display());
    }
    let rejected = cases.iter().filter(|case| !case.accepted).count();
    assert!(rejected * 2 > cases.len(), "more rejections than acceptances are wanted");
    assert_eq!(known, files(&root().join(kind)), "every vector file of {kind} has its case");
}

/// Replaces the first `from` in `payload`.
pub(crate) fn replaced(payload: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = payload.windows(from.len()).position(|window| window == from).expect("the vector's bytes are there");
    [&payload[..at], to, &payload[at + from.len()..]].concat()
}

/// Writes an error and its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&dyn Error| (*cause).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn files(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(dir).into_iter().map(|entry| entry.unwrap().into_path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "hex")).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("format/vectors")
}

fn to_hex(bytes: &[u8]) -> String {
    let line = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(40).map(line).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
