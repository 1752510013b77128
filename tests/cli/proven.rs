//! Proofs: made, checked elsewhere without an instance, and what is refused.

use std::fs;

use crate::shown::{Pair, check, path};

/// The only request that everybody may see, as `dataset/key`.
fn public_request(pair: &Pair) -> String {
    let shown = pair.alpha.wbsync(&["diff", "public^", "public", "--json"]).ok().json();
    let records = shown["records"].as_array().unwrap();
    let mut names = records.iter().map(|record| record["record"].as_str().unwrap());
    names.find(|name| name.starts_with("requests/")).unwrap().to_owned()
}

#[test]
fn a_record_and_its_absence() {
    let pair = Pair::new();
    let (alpha, beta) = (&pair.alpha, &pair.beta);
    alpha.wbsync(&["sync"]).ok();
    let record = public_request(&pair);
    let fingerprint = alpha.wbsync(&["id", "--fingerprint"]).ok().stdout;
    let fingerprint = fingerprint.trim();
    let elsewhere = tempfile::tempdir().unwrap();
    let proof = path(&elsewhere.path().join("proof"));
    check!("prove_dry_run", alpha.wbsync(&["prove", &record, "--dry-run"]).ok());
    check!("prove", alpha.wbsync(&["prove", &record, "--output", "request.proof"]).ok());
    check!("prove_json", alpha.wbsync(&["prove", &record, "--output", &proof, "--json"]).ok());
    let at = |args: &[&str]| crate::support::run::wbsync(elsewhere.path(), args);
    check!("verify_proof", at(&["verify-proof", "proof", "--origin", fingerprint]).ok());
    let card = alpha.wbsync(&["id"]).ok().stdout;
    fs::write(elsewhere.path().join("alpha.card"), card).unwrap();
    check!("verify_proof_json", at(&["verify-proof", "proof", "--origin", "alpha.card", "--json"]).ok());
    let absent = "requests/0198f3a17c6d7b1e9a4c5d6e7f809112";
    check!("prove_absent", alpha.wbsync(&["prove", absent, "--absent", "--scope", "public", "--output", &proof]).ok());
    check!("verify_absent", at(&["verify-proof", "proof", "--origin", fingerprint, "--absent"]).ok());
    // Whoever asks whether it is there has a no.
    check!("verify_not_present", at(&["verify-proof", "proof", "--origin", fingerprint]).exits(8));
    // Whoever follows can prove it too, by the origin's head.
    beta.wbsync(&["sync"]).ok();
    check!("prove_of_other", beta.wbsync(&["prove", &record]).ok());
    assert_eq!(fs::read_dir(beta.dir()).unwrap().filter(ends_with_proof).count(), 1);
}

fn ends_with_proof(file: &std::io::Result<fs::DirEntry>) -> bool {
    file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "proof")
}

#[test]
fn what_is_refused() {
    let pair = Pair::new();
    let alpha = &pair.alpha;
    alpha.wbsync(&["commit"]).ok();
    let record = public_request(&pair);
    check!("prove_unsigned", alpha.wbsync(&["prove", &record]).exits(1));
    alpha.wbsync(&["sync"]).ok();
    let user = alpha.insert_user("trudy", "trusted");
    alpha.insert_request(Some(user), "for friends", "trusted");
    alpha.wbsync(&["sync"]).ok();
    let shown = alpha.wbsync(&["diff", "trusted^", "trusted", "--json"]).ok().json();
    let trusted = shown["records"][0]["record"].as_str().unwrap().to_owned();
    check!("prove_reveals", alpha.wbsync(&["prove", &trusted]).exits(5));
    check!("prove_reveals_dry_run", alpha.wbsync(&["prove", &trusted, "--dry-run"]).ok());
    assert!(!fs::read_dir(alpha.dir()).unwrap().any(|file| ends_with_proof(&file)), "nothing was written");
    check!("prove_revealed", alpha.wbsync(&["prove", &trusted, "--reveal", "--output", "trusted.proof"]).ok());
    check!("prove_unknown", alpha.wbsync(&["prove", "requests/ffff"]).exits(1));
    check!("prove_absent_digits", alpha.wbsync(&["prove", "requests/ffff", "--absent", "--scope", "public"]).exits(1));
    let typo = "request/0198f3a17c6d7b1e9a4c5d6e7f809112";
    check!("prove_absent_of_none", alpha.wbsync(&["prove", typo, "--absent", "--scope", "public"]).exits(1));
    check!("prove_unknown_signer", alpha.wbsync(&["prove", &record, "--signer", "delta"]).exits(1));
    check!("prove_absent_present", alpha.wbsync(&["prove", &record, "--absent", "--scope", "public"]).exits(1));
    let fingerprint = alpha.wbsync(&["id", "--fingerprint"]).ok().stdout;
    let other = pair.beta.wbsync(&["id"]).ok().stdout;
    check!("verify_other_origin", alpha.wbsync(&["verify-proof", "trusted.proof", "--origin", other.trim()]).exits(5));
    check!("verify_no_file", alpha.wbsync(&["verify-proof", "no.proof", "--origin", fingerprint.trim()]).exits(1));
    let file = alpha.dir().join("trusted.proof");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    alpha.wbsync(&["verify-proof", "trusted.proof", "--origin", fingerprint.trim()]).exits(6);
    fs::write(&file, &bytes[..100]).unwrap();
    let args = ["verify-proof", "trusted.proof", "--origin", fingerprint.trim(), "--json"];
    check!("verify_cut", alpha.wbsync(&args).exits(6));
}
