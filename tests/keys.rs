//! Our key files and signatures against the system's `ssh-keygen`, in both directions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use wbsync::keys::document::{self, DocKind};
use wbsync::keys::identity::{AGE_FILE, Error, Identity, PUBLIC_FILE, SIGNING_FILE, public_line_of};

#[test]
fn ssh_keygen_reads_our_key_file_and_prints_our_fingerprint() {
    let Some(keygen) = ssh_keygen() else { return };
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::create(dir.path()).unwrap();
    let file = dir.path().join(SIGNING_FILE);
    let public = text(keygen().arg("-y").arg("-f").arg(&file).output().unwrap());
    assert_eq!(public, identity.public_line());
    assert_eq!(public, fs::read_to_string(dir.path().join(PUBLIC_FILE)).unwrap());
    let listed = text(keygen().arg("-lf").arg(&file).output().unwrap());
    assert_eq!(listed.split(' ').nth(1), Some(&*identity.fingerprint()));
}

#[test]
fn ssh_keygen_verifies_our_documents() {
    let Some(keygen) = ssh_keygen() else { return };
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::generate();
    let document = document::sign(&identity, DocKind::Head, b"the payload");
    let (payload, signature) = document::armored(&document).unwrap();
    let (signers, signature_file) = (dir.path().join("allowed_signers"), dir.path().join("signature"));
    fs::write(&signers, format!("alpha {}\n", public_line_of(&identity.id()))).unwrap();
    fs::write(&signature_file, signature).unwrap();
    let verify = |namespace: &str, payload: &[u8]| {
        let mut command = keygen();
        command.args(["-Y", "verify", "-I", "alpha", "-n", namespace]);
        command.arg("-f").arg(&signers).arg("-s").arg(&signature_file);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(payload).unwrap();
        child.wait().unwrap().success()
    };
    assert!(verify("head@wbsync", &payload));
    assert!(!verify("manifest@wbsync", &payload));
    assert!(!verify("head@wbsync", b"the paylaod"));
}

/// `ssh-keygen -Y sign` with our key file makes the very blob that we make.
#[test]
fn ssh_keygen_signs_as_we_do() {
    let Some(keygen) = ssh_keygen() else { return };
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::create(dir.path()).unwrap();
    let message = dir.path().join("message");
    fs::write(&message, "the payload").unwrap();
    let key = dir.path().join(SIGNING_FILE);
    text(keygen().args(["-Y", "sign", "-n", "card@wbsync"]).arg("-f").arg(key).arg(&message).output().unwrap());
    let theirs = fs::read_to_string(message.with_extension("sig")).unwrap();
    let ours = document::armored(&document::sign(&identity, DocKind::Card, b"the payload")).unwrap().1;
    assert_eq!(theirs, ours);
}

#[test]
fn key_of_ssh_keygen_opens_and_a_locked_or_other_key_says_what_to_do() {
    let Some(keygen) = ssh_keygen() else { return };
    let dir = tempfile::tempdir().unwrap();
    let made = Identity::create(dir.path()).unwrap();
    let file = dir.path().join(SIGNING_FILE);
    let new = |kind: &str, passphrase: &str| {
        fs::remove_file(&file).unwrap();
        text(keygen().args(["-q", "-t", kind, "-C", "", "-N", passphrase, "-f"]).arg(&file).output().unwrap());
    };
    fs::remove_file(dir.path().join(PUBLIC_FILE)).unwrap();
    new("ed25519", "");
    let opened = Identity::open(dir.path()).unwrap();
    assert_ne!(opened.id(), made.id());
    let line = fs::read_to_string(dir.path().join(PUBLIC_FILE)).unwrap();
    assert_eq!(line.split(' ').nth(1), opened.public_line().split(' ').nth(1));

    fs::remove_file(dir.path().join(PUBLIC_FILE)).unwrap();
    new("ed25519", "secret words");
    let error = Identity::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert!(error.to_string().contains(&format!("`ssh-keygen -p -N '' -f {}`", file.display())), "{error}");
    let unlock = keygen().args(["-p", "-P", "secret words", "-N", "", "-f"]).arg(&file).output().unwrap();
    text(unlock);
    assert!(Identity::open(dir.path()).is_ok(), "what the error advises helps");

    fs::remove_file(dir.path().join(PUBLIC_FILE)).unwrap();
    new("ecdsa", "");
    let error = Identity::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::OtherAlgorithm { .. }), "{error:?}");
}

#[test]
fn age_key_file_names_its_recipient() {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::create(dir.path()).unwrap();
    let path = dir.path().join(AGE_FILE);
    let theirs = age::IdentityFile::from_file(path.display().to_string()).unwrap().into_identities().unwrap();
    let sealed = wbsync::keys::sealing::seal_to(&[&identity.recipient()], b"hello").unwrap();
    let age = age::Decryptor::new(&sealed[..]).unwrap();
    let mut opened = String::new();
    let mut reader = age.decrypt(theirs.iter().map(|identity| &**identity as &dyn age::Identity)).unwrap();
    std::io::Read::read_to_string(&mut reader, &mut opened).unwrap();
    assert_eq!(opened, "hello");
    assert!(fs::read_to_string(path).unwrap().contains(&format!("# public key: {}", identity.recipient())));
}

/// Returns what starts `ssh-keygen`, or says loudly that a test is skipped.
#[expect(clippy::print_stderr, reason = "a skipped test must not look like a passed one")]
fn ssh_keygen() -> Option<impl Fn() -> Command> {
    let path = Path::new("/usr/bin/ssh-keygen");
    let found = path.exists() || Command::new("ssh-keygen").arg("-?").output().is_ok();
    if !found {
        eprintln!("SKIPPED: there is no ssh-keygen here, so nothing was checked against it");
    }
    found.then_some(|| Command::new("ssh-keygen"))
}

#[track_caller]
fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ssh-keygen prints text")
}
