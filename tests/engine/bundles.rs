//! Bundles: what one holds, who passes on what, how it comes to be known what somebody has, and that a damaged one changes nothing.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::{BundleApplied, BundleOptions, BundleSummary};
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::transport::bundle::request::Request;

use super::world::Site;

fn for_peer(name: &str) -> BundleOptions {
    BundleOptions { peers: vec![name.into()], ..BundleOptions::default() }
}

fn pack(site: &Site, options: &BundleOptions, dir: &Path, name: &str) -> Vec<PathBuf> {
    let instance = site.open();
    let packing = instance.bundle_pack(options, Mode::Keep).unwrap();
    let parts = 0..packing.indexes.len();
    let write = |part| {
        let path = dir.join(format!("{name}.{part}"));
        instance.bundle_write(&packing, part, &mut fs::File::create(&path).unwrap()).unwrap();
        path
    };
    parts.map(write).collect()
}

fn apply(site: &Site, files: &[PathBuf]) -> Result<BundleApplied, Error> {
    site.open().bundle_apply(files, Mode::Keep)
}

fn look(site: &Site, files: &[PathBuf]) -> BundleSummary {
    site.open().bundle_look(files).unwrap()
}

/// Text that no compression makes small.
fn noise(seed: u64, digits: usize) -> String {
    let mut random = wbsync::testing::prng::Prng::new(seed);
    (0..digits).map(|_| char::from_digit(random.below(16) as u32, 16).unwrap()).collect()
}

/// Two sites that know each other and share nothing but what is carried.
fn pair() -> (TempDir, Site, Site, i64) {
    let (alpha, beta) = (Site::new("alpha"), Site::new("beta"));
    alpha.knows(&beta, Some(Trust::Trusted));
    beta.knows(&alpha, Some(Trust::Trusted));
    let user = alpha.app.insert_user("mara", "public");
    (tempfile::tempdir().unwrap(), alpha, beta, user)
}

fn titles(site: &Site) -> Vec<String> {
    let db = site.app.db();
    let mut statement = db.prepare("SELECT title FROM help_requests WHERE title IS NOT NULL ORDER BY title").unwrap();
    let titles = statement.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
    titles.map(|title| title.chars().take(40).collect()).collect()
}

#[test]
fn a_bundle_brings_what_lacks_and_the_way_back_confirms_it() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    let first = pack(&alpha, &for_peer("beta"), dir.path(), "first");
    let applied = apply(&beta, &first).unwrap();
    assert_eq!(applied.bundle.name, "alpha");
    assert!(applied.fetched.refused.is_empty(), "{:?}", applied.fetched.refused);
    assert_eq!(titles(&beta), ["a ladder"]);
    // It is harmless twice.
    assert!(apply(&beta, &first).unwrap().fetched.heads.is_empty());
    // Nothing is confirmed yet: the next one holds it still.
    assert!(look(&alpha, &pack(&alpha, &for_peer("beta"), dir.path(), "again")).objects > 0);
    let back = pack(&beta, &for_peer("alpha"), dir.path(), "back");
    apply(&alpha, &back).unwrap();
    let nothing = look(&alpha, &pack(&alpha, &for_peer("beta"), dir.path(), "nothing"));
    assert_eq!((nothing.objects, nothing.heads), (0, 0), "{:?}", nothing.files);
}

#[test]
fn a_request_gets_exactly_what_lacks() {
    let (dir, alpha, beta, user) = pair();
    for number in 0..200 {
        alpha.request(user, &format!("request {number} {}", noise(number, 100)), "trusted");
    }
    let whole = pack(&alpha, &for_peer("beta"), dir.path(), "whole");
    apply(&beta, &whole).unwrap();
    for round in 0..4 {
        alpha.request(user, &format!("one more {round}"), "trusted");
        // Alpha has published several heads since; beta has seen none of them.
        pack(&alpha, &for_peer("beta"), dir.path(), "lost");
    }
    let requests = vec![beta.open().bundle_request().unwrap()];
    let wanted = BundleOptions { requests, ..BundleOptions::default() };
    let small = pack(&alpha, &wanted, dir.path(), "small");
    let (before, after) = (look(&alpha, &whole), look(&alpha, &small));
    assert!(after.object_bytes * 4 < before.object_bytes, "{} of {}", after.object_bytes, before.object_bytes);
    let applied = apply(&beta, &small).unwrap();
    // Everything that came was used: nothing was carried that beta had.
    let used: u64 = applied.fetched.bytes;
    assert!(after.object_bytes * 10 <= used * 11, "{} carried, {used} used", after.object_bytes);
    assert_eq!(titles(&beta), titles(&alpha));
    // Who may read nothing but what is public gets nothing else.
    let stranger = Site::new("gamma");
    let requests = vec![stranger.open().bundle_request().unwrap()];
    let public = look(&alpha, &pack(&alpha, &BundleOptions { requests, ..BundleOptions::default() }, dir.path(), "p"));
    assert!(public.heads == 1, "{:?}", public.files);
}

#[test]
fn parts_come_in_any_order_and_only_together() {
    let (dir, alpha, beta, user) = pair();
    for number in 0..40 {
        alpha.request(user, &format!("request {number}"), "trusted");
        if number % 10 == 0 {
            alpha.open().commit(Mode::Keep).unwrap();
            alpha.open().publish().unwrap();
        }
    }
    let options = BundleOptions { split: Some(16 << 10), ..for_peer("beta") };
    let mut parts = pack(&alpha, &options, dir.path(), "part");
    assert!(parts.len() > 1, "{parts:?}");
    for part in &parts {
        assert!(fs::metadata(part).unwrap().len() <= 16 << 10);
    }
    let before = beta.heads();
    assert!(matches!(apply(&beta, &parts[1..]), Err(Error::Bundle(_))));
    assert_eq!(beta.heads(), before);
    parts.reverse();
    apply(&beta, &parts).unwrap();
    assert_eq!(titles(&beta), titles(&alpha));
    let other = pack(&alpha, &BundleOptions { full: true, ..options }, dir.path(), "other");
    let mixed: Vec<PathBuf> = parts[..1].iter().chain(&other[1..]).cloned().collect();
    assert!(matches!(apply(&beta, &mixed), Err(Error::Bundle(_))));
}

#[test]
fn a_sealed_bundle_shows_nothing_and_opens_for_those_it_is_for() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    let options = BundleOptions { sealed_to: vec!["beta".into()], ..for_peer("beta") };
    let files = pack(&alpha, &options, dir.path(), "sealed");
    let bytes = fs::read(&files[0]).unwrap();
    for shown in [alpha.card().card.instance.to_string(), "objects/".into(), "ustar".into(), "index".into()] {
        assert!(!bytes.windows(shown.len()).any(|window| window == shown.as_bytes()), "{shown}");
    }
    let gamma = Site::new("gamma");
    assert!(matches!(apply(&gamma, &files), Err(Error::Bundle(_))));
    for at in (0..bytes.len()).step_by(97) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        let path = dir.path().join("altered");
        fs::write(&path, altered).unwrap();
        assert!(matches!(beta.open().bundle_look(&[path]), Err(Error::Bundle(_))), "byte {at}");
    }
    apply(&beta, &files).unwrap();
    assert_eq!(titles(&beta), ["a ladder"]);
    let left: Vec<_> =
        fs::read_dir(beta.app.dir().join(".wbsync")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".tmp")), "{left:?}");
}

#[test]
fn no_damaged_bundle_changes_anything() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    let bytes = fs::read(&pack(&alpha, &for_peer("beta"), dir.path(), "good")[0]).unwrap();
    let before = (beta.heads(), beta.app.dump("help_requests"));
    let path = dir.path().join("bad");
    let refuse = |bytes: &[u8], what: String| {
        fs::write(&path, bytes).unwrap();
        assert!(matches!(apply(&beta, std::slice::from_ref(&path)), Err(Error::Bundle(_))), "{what}");
    };
    for at in (0..bytes.len()).step_by(if std::env::var_os("WBSYNC_CASES").is_some() { 1 } else { 211 }) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        refuse(&altered, format!("byte {at}"));
    }
    for at in (0..bytes.len()).step_by(1021) {
        refuse(&bytes[..at], format!("cut at {at}"));
    }
    refuse(&[&bytes[..], &[0; 512]].concat(), "a block more".into());
    refuse(&[&bytes[..], &bytes[..]].concat(), "twice".into());
    // What climbs out of the directory, and links, are none of the layout.
    let header = |name: &str| {
        let mut block = wbsync::transport::bundle::tar::header("index", 0);
        block[..name.len()].copy_from_slice(name.as_bytes());
        block
    };
    refuse(&[&header("../../evil")[..], &bytes].concat(), "a path that climbs".into());
    let mut link = bytes.clone();
    link[156] = b'2';
    refuse(&link, "a link".into());
    assert_eq!((beta.heads(), beta.app.dump("help_requests")), before);
}

#[test]
fn a_carrier_passes_on_what_it_follows_and_brings_the_confirmation_back() {
    let (dir, alpha, beta, user) = pair();
    let gamma = Site::new("gamma");
    for (one, other) in [(&alpha, &gamma), (&gamma, &alpha), (&beta, &gamma), (&gamma, &beta)] {
        one.knows(other, Some(Trust::Trusted));
    }
    // Alpha and gamma never meet. Each round is a stick from alpha to beta, and one from beta to gamma.
    for round in 0..12 {
        for number in 0..=round {
            let words = noise(round * 100 + number, 600);
            alpha.request(user, &format!("request {round} {number}: {words}"), "trusted");
        }
        let options = BundleOptions { whole: true, ..for_peer("beta") };
        apply(&beta, &pack(&alpha, &options, dir.path(), "there")).unwrap();
        let applied = apply(&gamma, &pack(&beta, &for_peer("gamma"), dir.path(), "on")).unwrap();
        assert!(applied.fetched.refused.is_empty(), "{:?}", applied.fetched.refused);
        assert_eq!(titles(&gamma), titles(&alpha), "round {round}");
        // Back the same way.
        apply(&beta, &pack(&gamma, &for_peer("beta"), dir.path(), "off")).unwrap();
        apply(&alpha, &pack(&beta, &for_peer("alpha"), dir.path(), "back")).unwrap();
        let nothing = look(&alpha, &pack(&alpha, &for_peer("gamma"), dir.path(), "nothing"));
        assert_eq!((nothing.objects, nothing.heads), (0, 0), "round {round}: {:?}", nothing.files);
        let nothing = look(&beta, &pack(&beta, &for_peer("gamma"), dir.path(), "nothing"));
        assert_eq!((nothing.objects, nothing.heads), (0, 0), "round {round}: {:?}", nothing.files);
    }
    // A carrier's store holds no more of alpha's than alpha's own.
    let report = wbsync::sync::fsck::fsck_store(
        &wbsync::sync::remotes::parse(beta.app.dir().join(".wbsync/store").to_str().unwrap(), beta.app.dir()).unwrap(),
        None,
        wbsync::exchange::health::Depth::Contents,
        &|_| {},
    );
    assert!(!report.unwrap().is_damaged());
}

#[test]
fn a_carrier_that_got_no_snapshot_says_so_and_passes_on_what_it_has() {
    let (dir, alpha, beta, user) = pair();
    let gamma = Site::new("gamma");
    for (one, other) in [(&alpha, &gamma), (&gamma, &alpha), (&beta, &gamma), (&gamma, &beta)] {
        one.knows(other, Some(Trust::Trusted));
    }
    let mut left_out = Vec::new();
    for round in 0..12 {
        alpha.request(user, &format!("request {round}: {}", noise(round as u64, 3000)), "trusted");
        apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "there")).unwrap();
        apply(&alpha, &pack(&beta, &for_peer("alpha"), dir.path(), "back")).unwrap();
        left_out = beta.open().bundle_pack(&for_peer("gamma"), Mode::DryRun).unwrap().left_out;
        if !left_out.is_empty() {
            break;
        }
    }
    assert!(left_out.iter().any(|line| line.contains("alpha/trusted") && line.contains("goes along")), "{left_out:?}");
    let applied = apply(&gamma, &pack(&beta, &for_peer("gamma"), dir.path(), "on")).unwrap();
    assert!(applied.fetched.refused.is_empty(), "{:?}", applied.fetched.refused);
    assert!(titles(&gamma).len() < titles(&alpha).len() && !titles(&gamma).is_empty());
    // With the whole it passes on everything again.
    let options = BundleOptions { whole: true, full: true, ..for_peer("beta") };
    apply(&beta, &pack(&alpha, &options, dir.path(), "whole")).unwrap();
    assert!(beta.open().bundle_pack(&for_peer("gamma"), Mode::DryRun).unwrap().left_out.is_empty());
    apply(&gamma, &pack(&beta, &for_peer("gamma"), dir.path(), "on")).unwrap();
    assert_eq!(titles(&gamma), titles(&alpha));
}

#[test]
fn what_a_store_on_a_stick_confirms_is_not_packed() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "there")).unwrap();
    assert!(look(&alpha, &pack(&alpha, &for_peer("beta"), dir.path(), "again")).heads > 0);
    let stick = super::world::Stick::new();
    alpha.uses(&stick);
    beta.uses(&stick);
    alpha.push();
    // Beta takes nothing from there; what it leaves says enough.
    beta.push();
    alpha.pull();
    let nothing = look(&alpha, &pack(&alpha, &for_peer("beta"), dir.path(), "nothing"));
    assert_eq!((nothing.objects, nothing.heads), (0, 0), "{:?}", nothing.files);
}

#[test]
fn who_was_put_back_to_a_backup_gets_again_what_it_lost() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "one")).unwrap();
    let saved = beta.save();
    alpha.request(user, "a rope", "trusted");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "two")).unwrap();
    apply(&alpha, &pack(&beta, &for_peer("alpha"), dir.path(), "back")).unwrap();
    assert_eq!(look(&alpha, &pack(&alpha, &for_peer("beta"), dir.path(), "nothing")).heads, 0);
    beta.restore(&saved);
    // Its next request says what it has now. Later by its clock than what it said before.
    std::thread::sleep(std::time::Duration::from_millis(2));
    let requests = vec![beta.open().bundle_request().unwrap()];
    let options = BundleOptions { requests, ..BundleOptions::default() };
    apply(&beta, &pack(&alpha, &options, dir.path(), "three")).unwrap();
    assert_eq!(titles(&beta), ["a ladder", "a rope"]);
}

/// Beta's clock was years ahead for one request; what it says later counts nevertheless.
#[test]
fn a_request_from_the_future_outranks_none_of_today() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "one")).unwrap();
    let saved = beta.save();
    alpha.request(user, "a rope", "trusted");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "two")).unwrap();
    let instance = beta.open();
    let mut ahead = Request::open(&instance.bundle_request().unwrap()).unwrap();
    ahead.time.0 += 20 * 365 * 24 * 3_600_000;
    let requests = vec![ahead.sign(&instance.identity)];
    drop(instance);
    pack(&alpha, &BundleOptions { requests, ..BundleOptions::default() }, dir.path(), "ahead");
    beta.restore(&saved);
    let requests = vec![beta.open().bundle_request().unwrap()];
    pack(&alpha, &BundleOptions { requests, ..BundleOptions::default() }, dir.path(), "now");
    apply(&beta, &pack(&alpha, &for_peer("beta"), dir.path(), "three")).unwrap();
    assert_eq!(titles(&beta), ["a ladder", "a rope"]);
}

#[test]
fn since_takes_what_was_there_for_known() {
    let (dir, alpha, beta, user) = pair();
    alpha.request(user, "a ladder", "trusted");
    let first = pack(&alpha, &for_peer("beta"), dir.path(), "one");
    let now = wbsync::sys::clock::now();
    std::thread::sleep(std::time::Duration::from_millis(2));
    alpha.request(user, "a rope", "trusted");
    let all = BundleOptions { all: true, ..BundleOptions::default() };
    let whole = look(&alpha, &pack(&alpha, &all, dir.path(), "all"));
    let since = BundleOptions { since: Some(now), ..all.clone() };
    let second = pack(&alpha, &since, dir.path(), "since");
    let later = look(&alpha, &second);
    assert!(later.heads == 1 && later.object_bytes < whole.object_bytes, "{:?}", later.files);
    let future = wbsync::sys::clock::UnixMillis(wbsync::sys::clock::now().0 + 60_000);
    let nothing = BundleOptions { since: Some(future), ..all };
    assert_eq!(look(&alpha, &pack(&alpha, &nothing, dir.path(), "none")).heads, 0);
    // Late is no harm: without the first the second only waits.
    let early = apply(&beta, &second).unwrap();
    assert!(early.fetched.heads.is_empty() && titles(&beta).is_empty(), "{:?}", early.fetched);
    apply(&beta, &first).unwrap();
    apply(&beta, &second).unwrap();
    assert_eq!(titles(&beta), ["a ladder", "a rope"]);
}

#[test]
fn a_part_that_comes_twice_counts_once() {
    let (dir, alpha, beta, user) = pair();
    for number in 0..40 {
        alpha.request(user, &format!("request {number} {}", "words ".repeat(100)), "trusted");
        if number % 8 == 0 {
            alpha.open().commit(Mode::Keep).unwrap();
            alpha.open().publish().unwrap();
        }
    }
    let options = BundleOptions { split: Some(12 << 10), ..for_peer("beta") };
    let parts = pack(&alpha, &options, dir.path(), "part");
    let Err(Error::Bundle(error)) = apply(&beta, &parts[1..2]) else { panic!("one part is no bundle") };
    let missing = std::error::Error::source(&error).unwrap().to_string();
    let last = parts.len();
    let expected = match last {
        2 => "1".to_owned(),
        3 => "1, 3".to_owned(),
        _ => format!("1, 3-{last}"),
    };
    assert_eq!(missing, format!("of the {last} parts of the bundle these are missing: {expected}"));
    let twice = [&parts[..], &parts[..1]].concat();
    let summary = look(&beta, &twice);
    assert_eq!(summary.heads, look(&beta, &parts).heads);
    apply(&beta, &twice).unwrap();
    assert_eq!(titles(&beta), titles(&alpha));
}
