//! The reader takes bundles apart, sealed ones and parts too, as the program does; and refuses every one that was changed.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::run::{python_at_hand, reader, said};
use super::support::app::App;

fn bundle(files: &[PathBuf], key: Option<&Path>) -> Result<Vec<Value>, String> {
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let output = reader("bundle", &files, key, &[]);
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()),
        false => Err(said(&output)),
    }
}

#[test]
fn bundles_are_read_alike_and_damage_is_refused() {
    let Some(_alone) = python_at_hand() else { return };
    let (alpha, beta) = (App::new(), App::new());
    for (app, name) in [(&alpha, "alpha"), (&beta, "beta")] {
        app.wbsync(&["init", "--preset", "whiteballoon", "--name", name]).ok();
    }
    for (app, other, name) in [(&alpha, &beta, "beta"), (&beta, &alpha, "alpha")] {
        let card = other.wbsync(&["id"]).ok().stdout;
        app.wbsync(&["peer", "add", card.trim()]).ok();
        app.wbsync(&["peer", "trust", name]).ok();
        app.wbsync(&["follow", name]).ok();
    }
    let mut random = wbsync::testing::prng::Prng::new(3);
    for round in 0..12 {
        let words: String = (0..60).map(|_| format!("{:x}", random.below(1 << 48))).collect();
        alpha.insert_request(Some(App::ADMIN), &words, if round % 2 == 0 { "public" } else { "trusted" });
    }
    alpha.wbsync(&["bundle", "create", "--for", "beta", "-o", "clear"]).ok();
    alpha.wbsync(&["bundle", "create", "--for", "beta", "--to", "beta", "--split", "20K", "-o", "sealed"]).ok();
    let clear = vec![alpha.dir().join("clear")];
    let mut sealed: Vec<PathBuf> =
        (1..).map(|part| alpha.dir().join(format!("sealed.{part}"))).take_while(|path| path.exists()).collect();
    assert!(sealed.len() > 1);
    sealed.reverse();
    let key = beta.dir().join(".wbsync/keys/age.key");
    for (files, key) in [(&clear, None), (&sealed, Some(key.as_path()))] {
        let found = bundle(files, key).unwrap();
        let mut listed: Vec<(String, u64)> = found
            .iter()
            .flat_map(|part| part["files"].as_object().unwrap())
            .map(|(path, bytes)| (path.clone(), bytes.as_u64().unwrap()))
            .collect();
        listed.sort();
        let names: Vec<&str> = files.iter().map(|file| file.to_str().unwrap()).collect();
        let ours = beta.wbsync(&[&["--json", "bundle", "list"], &names[..]].concat()).ok().json();
        let mut expected: Vec<(String, u64)> = serde_json::from_value(ours["bundle"]["files"].clone()).unwrap();
        expected.sort();
        assert_eq!(listed, expected);
        assert_eq!(found[0]["scopes told"], 2, "the packer says what it has: {found:?}");
    }
    assert!(bundle(&sealed, None).is_err());
    assert!(bundle(&sealed[1..], Some(&key)).unwrap_err().contains("missing"));
    let bytes = fs::read(&clear[0]).unwrap();
    let bad = vec![alpha.dir().join("bad")];
    for number in 0..24 {
        let mut altered = bytes.clone();
        let at = random.below(altered.len() as u64) as usize;
        match number % 3 {
            0 => altered[at] ^= 1 << random.below(8),
            1 => altered.truncate(at),
            _ => drop(altered.splice(at..at, [0; 512])),
        }
        fs::write(&bad[0], &altered).unwrap();
        assert!(bundle(&bad, None).is_err(), "{number}, at {at}");
        beta.wbsync(&["bundle", "verify", bad[0].to_str().unwrap()]).exits(6);
    }
}
