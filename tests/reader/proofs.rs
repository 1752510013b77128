//! Proofs: the reader checks those that wbsync makes and makes the same itself, of random stores; altered ones prove nothing to either.
//!
//! `WBSYNC_SEEDS=20` runs more random histories.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;
use wbsync::sync::proof::{Proof, Trusted};
use wbsync::sync::prove::Asked;

use super::run::{python_at_hand, reader, said};
use super::stores::Scene;

/// Runs the reader on a proof, and returns what it says that is shown.
fn checked(path: &Path, origin: &str) -> Result<Json, String> {
    let output = reader("verify-proof", &[path], None, &["--origin", origin]);
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(said(&output)),
    }
}

#[test]
fn both_make_and_check_the_same_proofs() {
    let Some(_alone) = python_at_hand() else { return };
    let seeds = std::env::var("WBSYNC_SEEDS").map_or(1, |seeds| seeds.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proof");
    let (mut present, mut absent, mut by_writers, mut altered) = (0, 0, 0, 0);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut scene = Scene::new(seed);
        scene.live();
        let records: Vec<[String; 5]> = scene.read(Some(0), &[]).into_keys().collect();
        let heads = scene.heads();
        let alpha = scene.sites[0].open();
        for (scope, signer, commit) in heads {
            let Some(head) = alpha.state.head(&scope, &signer).unwrap().filter(|head| head.commit == commit) else {
                continue;
            };
            let Some(open) = alpha.state.scope(&scope).unwrap().and_then(|row| alpha.open_scope(row).unwrap()) else {
                continue;
            };
            let (label, origin) = (open.label(&alpha).unwrap(), open.row.origin.to_string());
            let here: Vec<&[String; 5]> = records
                .iter()
                .filter(|[of, by, ..]| *of == scope.to_string() && *by == head.signer.to_string())
                .collect();
            let Some([_, _, _, dataset, key]) = here.get(scene.random.below(here.len().max(1) as u64) as usize) else {
                continue;
            };
            let missing = format!("{:016x}{:016x}", scene.random.bits(), scene.random.bits());
            for (key, is_absent) in [(key, false), (&missing, true)] {
                let record = format!("{dataset}/{key}");
                let by = alpha.instance_label(&signer).unwrap();
                let asked =
                    Asked { record: &record, scope: Some(&label), signer: Some(&by), absent: is_absent, reveal: true };
                // The head may still have what a merge took away here.
                let Ok(made) = alpha.prove(&asked) else { continue };
                let bytes = made.proof.encode();
                fs::write(&path, &bytes).unwrap();
                let shown = checked(&path, &origin).unwrap();
                assert_eq!(shown["cells"].is_null(), is_absent, "{record} in {label}: {shown}");
                assert_eq!(shown["commit"].as_str(), Some(commit.to_string().as_str()));
                assert_eq!(shown["others"].as_u64(), Some(made.proven.others as u64));
                let more = ["--scope", &scope.to_string(), "--record", &record, "--head", &signer.to_string()];
                let output = scene.reader("prove", Some(0), &more);
                assert!(output.status.success(), "{}", said(&output));
                assert!(output.stdout == bytes, "the reader makes another proof of {record} in {label}");
                let own = Proof::decode(&output.stdout).unwrap().verify(&Trusted::Instance(open.row.origin)).unwrap();
                assert_eq!((own.present, own.seq), (!is_absent, head.seq));
                present += usize::from(!is_absent);
                absent += usize::from(is_absent);
                by_writers += usize::from(signer != open.row.origin);
                let mut bytes = bytes;
                let at = scene.random.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << scene.random.below(8);
                fs::write(&path, &bytes).unwrap();
                let ours =
                    Proof::decode(&bytes).is_ok_and(|proof| proof.verify(&Trusted::Instance(open.row.origin)).is_ok());
                assert_eq!(checked(&path, &origin).is_ok(), ours, "byte {at} of a proof of {record} in {label}");
                altered += usize::from(!ours);
            }
        }
    }
    println!("{present} records proven, {absent} absent, {by_writers} by writers, {altered} altered proofs refused");
    assert!(present > 2 && absent > 2 && by_writers > 0 && altered > 3);
}
