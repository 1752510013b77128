//! Sealed objects opened with the ordinary tools: `age`, `zstd` and `b3sum`, as format/README.md tells people to.
//!
//! Without a tool the test says loudly that it is skipped; on a build server (`CI` is set) it fails instead, unless
//! `WBSYNC_ALLOW_SKIPS` is set too.

#![allow(clippy::unwrap_used, reason = "a test stops at what it did not expect")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use age::secrecy::ExposeSecret;
use wbsync::changeset::entry::{Body, Entry};
use wbsync::changeset::seal::{Padding, Sealed, open, seal};
use wbsync::changeset::writer::{Span, Writer};
use wbsync::id::bytes::{CommitId, RecordKey, ScopeId};
use wbsync::id::name::DatasetName;
use wbsync::keys::sealing::EpochKey;

/// A changeset of `records` records of 300 bytes that don't compress to nothing.
fn changeset(records: u32) -> Vec<u8> {
    let span = Span { scope: ScopeId::from_bytes([1; 16]), from: 0, tip: CommitId::from_bytes([2; 32]) };
    let mut parts = Vec::new();
    let mut writer = Writer::new(span, &[vec![0xa0]], |part| {
        parts.push(part);
        Ok::<_, ()>(())
    });
    for n in 0..records {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&n.to_be_bytes());
        let record: Vec<u8> = (0..300u32).map(|at| (n.wrapping_mul(2_654_435_761) >> (at % 25)) as u8).collect();
        let dataset = DatasetName::new("notes").unwrap();
        writer.push(Entry { dataset, key: RecordKey::from_bytes(key), body: Body::Put(&record) }).unwrap();
    }
    writer.finish().unwrap();
    assert_eq!(parts.len(), 1);
    parts.remove(0)
}

fn samples() -> Vec<(Vec<u8>, Padding)> {
    let sizes = [Vec::new(), b"x".to_vec(), changeset(0), changeset(3), changeset(2_000), vec![0; 70_000]];
    sizes.into_iter().flat_map(|plain| [(plain.clone(), Padding::None), (plain, Padding::Padme)]).collect()
}

/// Writes the key file and returns it with the key.
fn key_in(dir: &Path) -> (EpochKey, std::path::PathBuf) {
    let (key, path) = (EpochKey::generate(), dir.join("epoch.key"));
    fs::write(&path, format!("{}\n", key.secret_text().expose_secret())).unwrap();
    (key, path)
}

#[test]
fn age_and_zstd_open_our_objects() {
    if missing(&["age", "zstd"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, key_file) = key_in(dir.path());
    for (plain, padding) in samples() {
        let Sealed { id, bytes } = seal(&plain, &key.recipient(), padding).unwrap();
        let object = dir.path().join(format!("{id}.age"));
        fs::write(&object, bytes).unwrap();
        let packed = done(Command::new("age").arg("-d").arg("-i").arg(&key_file).arg(&object).output().unwrap());
        let opened = done(piped(Command::new("zstd").args(["-d", "-c", "-q"]), &packed));
        assert!(opened == plain, "{} bytes, {padding:?}", plain.len());
    }
}

#[test]
fn we_open_what_age_and_zstd_made() {
    if missing(&["age", "zstd"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, _) = key_in(dir.path());
    for level in ["-1", "-19"] {
        let plain = changeset(500);
        let packed = done(piped(Command::new("zstd").args(["-c", "-q", level]), &plain));
        let bytes = done(piped(Command::new("age").args(["-r", &key.recipient()]), &packed));
        assert!(open(&wbsync::changeset::seal::id_of(&bytes), &bytes, &key).unwrap() == plain);
    }
}

#[test]
fn age_refuses_a_damaged_object_as_we_do() {
    if missing(&["age"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (key, key_file) = key_in(dir.path());
    let mut bytes = seal(&changeset(3), &key.recipient(), Padding::Padme).unwrap().bytes;
    *bytes.last_mut().unwrap() ^= 1;
    let object = dir.path().join("object");
    fs::write(&object, bytes).unwrap();
    let output = Command::new("age").arg("-d").arg("-i").arg(&key_file).arg(&object).output().unwrap();
    assert!(!output.status.success());
}

#[test]
fn b3sum_prints_the_name_of_an_object() {
    if missing(&["b3sum"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let sealed = seal(&changeset(3), &EpochKey::generate().recipient(), Padding::None).unwrap();
    let object = dir.path().join("object");
    fs::write(&object, &sealed.bytes).unwrap();
    let printed = done(Command::new("b3sum").arg("--no-names").arg(&object).output().unwrap());
    assert_eq!(String::from_utf8(printed).unwrap().trim(), sealed.id.to_string());
}

/// The recipe of format/commit.md for a commit's id, with the frozen id of the vector.
#[test]
fn b3sum_makes_the_id_of_a_commit() {
    if missing(&["b3sum"]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("format/vectors/commit/accept");
    let hex: Vec<u8> = fs::read(vectors.join("capture.hex")).unwrap().into_iter().filter(|c| *c != b'\n').collect();
    let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let file = dir.path().join("commit");
    fs::write(&file, hex.chunks(2).map(digits).collect::<Vec<u8>>()).unwrap();
    let derive = ["--derive-key", "wbsync 2026 commit id v1", "--raw"];
    let key = done(piped(Command::new("b3sum").args(derive), &[0x11; 32]));
    let printed = done(piped(Command::new("b3sum").args(["--keyed", "--no-names"]).arg(&file), &key));
    let id = "da92a934673113519585e25e8b63bcc9977878b8d6d243c739174b170a4ddb67";
    assert_eq!(String::from_utf8(printed).unwrap().trim(), id);
}

/// Tells whether one of the tools is missing, so that the test has to be skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must not look like a passed one")]
fn missing(tools: &[&str]) -> bool {
    let absent = |tool: &&&str| Command::new(**tool).arg("--version").output().is_err();
    let Some(tool) = tools.iter().find(absent) else { return false };
    let strict = std::env::var_os("CI").is_some() && std::env::var_os("WBSYNC_ALLOW_SKIPS").is_none();
    assert!(!strict, "there is no `{tool}` here; install it, or set WBSYNC_ALLOW_SKIPS to go on without");
    eprintln!("SKIPPED: there is no `{tool}` here, so nothing was checked against it");
    true
}

/// Runs a command that reads `input`. Another thread writes, so that full pipes don't block each other.
fn piped(command: &mut Command, input: &[u8]) -> Output {
    let (stdout, stderr) = (Stdio::piped(), Stdio::piped());
    let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    })
}

#[track_caller]
fn done(output: Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
