//! Sites that exchange bundles only: what a bundle holds, that a damaged one changes nothing, and that all converge.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::{BundleApplied, BundleOptions, BundleSummary};
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::testing::prng::Prng;

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
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
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
        alpha.request(user, &format!("request {number} with some words in it"), "trusted");
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

/// One stick on its way.
struct Carried {
    to: usize,
    files: Vec<PathBuf>,
}

#[test]
fn three_sites_converge_whatever_becomes_of_the_sticks() {
    let runs: u64 = std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let first: u64 = std::env::var("WBSYNC_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    for seed in first..first + runs {
        println!("WBSYNC_SEED={seed}");
        converge(seed);
    }
}

fn converge(seed: u64) {
    let mut random = Prng::new(seed);
    let dir = tempfile::tempdir().unwrap();
    let sites = ["alpha", "beta", "gamma"].map(Site::new);
    let mut users = Vec::new();
    for site in &sites {
        for other in &sites {
            if site.name != other.name {
                site.knows(other, Some(Trust::Trusted));
            }
        }
        users.push(site.app.insert_user(&format!("user-{}", site.name), "public"));
    }
    let mut under_way: Vec<Carried> = Vec::new();
    let mut number = 0;
    let mut below = |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    for _ in 0..30 {
        let at = below(3);
        match below(5) {
            0 | 1 => {
                sites[at].request(
                    users[at],
                    &format!("request {number}"),
                    if below(2) == 0 { "public" } else { "trusted" },
                );
            }
            2 => {
                let to = (at + 1 + below(2)) % 3;
                let files = pack(&sites[at], &for_peer(sites[to].name), dir.path(), &format!("stick-{number}"));
                under_way.push(Carried { to, files });
            }
            _ if under_way.is_empty() => {}
            _ => {
                let which = below(under_way.len());
                // A stick arrives and stays in the drawer, to arrive again; or it is lost.
                let fate = below(6);
                if fate == 0 {
                    under_way.swap_remove(which);
                    continue;
                }
                let stick = &under_way[which];
                let site = &sites[stick.to];
                let heads = site.heads();
                match fate {
                    1 | 2 => {
                        let path = dir.path().join("damaged");
                        let mut bytes = fs::read(&stick.files[0]).unwrap();
                        let at = below(bytes.len());
                        if fate == 1 {
                            bytes[at] ^= 1 << below(8)
                        } else {
                            bytes.truncate(at)
                        }
                        fs::write(&path, bytes).unwrap();
                        assert!(apply(site, &[path]).is_err(), "seed {seed}");
                        assert_eq!(site.heads(), heads, "seed {seed}");
                    }
                    _ => drop(apply(site, &stick.files).unwrap()),
                }
            }
        }
        number += 1;
    }
    // Then they meet in earnest, twice round: out, and back with what confirms it.
    for _ in 0..2 {
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                let files = pack(&sites[from], &for_peer(sites[to].name), dir.path(), "last");
                let applied = apply(&sites[to], &files).unwrap();
                assert!(applied.fetched.refused.is_empty(), "seed {seed}: {:?}", applied.fetched.refused);
            }
        }
    }
    let all: BTreeMap<&str, Vec<String>> = sites.iter().map(|site| (site.name, titles(site))).collect();
    assert!(all["alpha"] == all["beta"] && all["beta"] == all["gamma"], "seed {seed}: {all:#?}");
    for from in &sites {
        for to in sites.iter().filter(|to| to.name != from.name) {
            let rest = look(from, &pack(from, &for_peer(to.name), dir.path(), "rest"));
            assert_eq!((rest.objects, rest.heads), (0, 0), "seed {seed}: {:?}", rest.files);
        }
    }
}
