//! A stick that a full round of two sites wrote, read by `age`, `tar`, `b3sum` and `zstd` alone: `read_stick.sh`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use wbsync::exchange::health::Depth;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::fsck::fsck_store;
use wbsync::sync::remotes;

use super::world::{Site, files_under};

/// Packs onto the stick, sealed to the other, and returns the files.
fn pack(site: &Site, other: &str, split: Option<u64>, stick: &Path) -> Vec<PathBuf> {
    let names = vec![other.to_owned()];
    let options = BundleOptions { peers: names.clone(), sealed_to: names, split, ..BundleOptions::default() };
    let instance = site.open();
    let packing = instance.bundle_pack(&options, Mode::Keep).unwrap();
    let write = |part| {
        let path = stick.join(format!("for-{other}.tar.age.{part}"));
        instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap()).unwrap();
        path
    };
    (0..packing.indexes.len()).map(write).collect()
}

/// Writes the newest key of each scope that a site can read into a file, as a person would take it out of the manifest.
fn scope_keys(site: &Site, dir: &Path) -> Vec<PathBuf> {
    let instance = site.open();
    let mut keys = Vec::new();
    for row in instance.state.scopes().unwrap() {
        let scope = instance.open_scope(row).unwrap().unwrap();
        let path = dir.join(format!("{}.key", scope.row.id));
        let secret = scope.keys.epochs.values().next_back().unwrap().secret_text();
        fs::write(&path, age::secrecy::ExposeSecret::expose_secret(&secret)).unwrap();
        keys.push(path);
    }
    keys
}

fn read_stick(stick: &Path, key: &Path, out: &Path, scopes: &[PathBuf]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engine/read_stick.sh");
    Command::new("sh").arg(script).args([stick, key, out]).args(scopes).output().unwrap()
}

#[test]
fn a_shell_script_reads_what_a_full_round_left_on_a_stick() {
    for tool in ["age", "tar", "zstd"] {
        if Command::new(tool).arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some(), "{tool}");
            println!("SKIPPED: there is no {tool}");
            return;
        }
    }
    let (alpha, beta) = (Site::new("alpha"), Site::new("beta"));
    alpha.knows(&beta, Some(Trust::Trusted));
    beta.knows(&alpha, Some(Trust::Trusted));
    let dir = tempfile::tempdir().unwrap();
    let stick = dir.path().join("stick");
    fs::create_dir(&stick).unwrap();
    // Out in one piece, back in parts.
    let user = alpha.app.insert_user("mara", "public");
    alpha.request(user, "written by alpha", "trusted");
    let there = pack(&alpha, "beta", None, &stick);
    beta.open().bundle_apply(&there, Mode::Keep).unwrap();
    let user = beta.app.insert_user("noor", "public");
    beta.request(user, "written by beta", "trusted");
    let mut random = wbsync::testing::prng::Prng::new(1);
    for _ in 0..20 {
        let words: String = (0..40).map(|_| format!("{:x}", random.below(1 << 48))).collect();
        beta.request(user, &words, "public");
    }
    let back = pack(&beta, "alpha", Some(20 << 10), &stick);
    assert!(back.len() > 1, "{back:?}");
    alpha.open().bundle_apply(&back, Mode::Keep).unwrap();

    // Who packs can open too, so either key will do.
    let (keys, out) = (scope_keys(&alpha, dir.path()), dir.path().join("out"));
    let run = read_stick(&stick, &alpha.app.dir().join(".wbsync/keys/age.key"), &out, &keys);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    print!("{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}{}", String::from_utf8_lossy(&run.stderr));
    assert!(said.starts_with(&format!("{} files, 4 objects, 4 opened", 1 + back.len())), "{said}");
    let plain: Vec<u8> = files_under(&out.join("plain"))
        .iter()
        .flat_map(|name| fs::read(out.join("plain").join(name)).unwrap())
        .collect();
    for text in ["written by alpha", "written by beta"] {
        assert!(plain.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
    }
    // What `tar` made of it is a store.
    let url = remotes::parse(out.join("store").to_str().unwrap(), dir.path()).unwrap();
    let report = fsck_store(&url, None, Depth::Contents, &|_| {}).unwrap();
    assert!(!report.is_damaged() && report.objects == 4, "{:?}", report.findings);

    // With nobody's key there is nothing, and what was changed is noticed.
    let nobody = Site::new("nobody");
    let key = nobody.app.dir().join(".wbsync/keys/age.key");
    assert!(!read_stick(&stick, &key, &dir.path().join("none"), &[]).status.success());
    let mut bytes = fs::read(&back[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&back[0], bytes).unwrap();
    let key = alpha.app.dir().join(".wbsync/keys/age.key");
    assert!(!read_stick(&stick, &key, &dir.path().join("bad"), &keys).status.success());
}
