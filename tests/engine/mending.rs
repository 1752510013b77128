//! What repair mends and what it says it can't; what gc removes and what it leaves.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use wbsync::exchange::garbage::Collect;
use wbsync::exchange::health::Depth;
use wbsync::id::name::PeerName;
use wbsync::sync::commit::Mode;
use wbsync::sync::fsck::{Finding, Report};
use wbsync::sync::gc::{GRACE_MILLIS, gc_store};
use wbsync::sync::remotes;
use wbsync::sync::repair::remote::Gone;

use super::health::pair;
use super::world::{STICK, Site, files_under};

fn damage(report: &Report) -> Vec<String> {
    let findings = report.findings.iter().filter(|finding| finding.damage);
    findings.map(|finding| format!("{} {}: {}", finding.what, finding.place, finding.detail)).collect()
}

/// Deletes, empties, cuts or flips a file; says how.
pub fn spoil(path: &Path, how: &str) {
    let bytes = fs::read(path).unwrap();
    match how {
        "deleted" => fs::remove_file(path).unwrap(),
        "emptied" => fs::write(path, b"").unwrap(),
        "cut" => fs::write(path, &bytes[..bytes.len() / 2]).unwrap(),
        _ => {
            let mut flipped = bytes;
            let middle = flipped.len() / 2;
            flipped[middle] ^= 4;
            fs::write(path, flipped).unwrap();
        }
    }
}

pub const WAYS: [&str; 4] = ["deleted", "emptied", "cut", "flipped"];

#[test]
fn what_nobody_else_has_is_sealed_anew_and_everybody_follows() {
    let (alpha, beta, stick) = pair();
    for dir in [alpha.app.dir().join(".wbsync/store"), stick.path()] {
        for file in files_under(&dir).into_iter().filter(|file| file.starts_with("objects/")) {
            spoil(&dir.join(file), "flipped");
        }
    }
    assert!(alpha.open().fsck(Depth::Contents).unwrap().is_damaged());
    let repaired = alpha.open().repair(Mode::Keep).unwrap();
    // What beta wrote is beta's to bring again; ours is whole.
    assert!(repaired.done.iter().any(|line| line.starts_with("published head")), "{:?}", repaired.done);
    let own = alpha.card().card.instance.to_string();
    assert!(!damage(&repaired.left).iter().any(|line| line.contains(&format!("heads/{own}"))), "{:?}", repaired.left);
    let request = alpha.request(1, "after the damage", "trusted");
    alpha.edit(request, "description", "still here");
    beta.open().repair(Mode::Keep).unwrap();
    for _ in 0..2 {
        for site in [&alpha, &beta] {
            site.open().repair_remote(&PeerName::new(STICK).unwrap(), Gone::Wait, Mode::Keep).unwrap();
            site.sync();
        }
    }
    assert!(beta.app.dump("help_requests").contains("still here"));
}

fn state_of(site: &Site) -> Connection {
    Connection::open(site.app.dir().join(".wbsync/state.db")).unwrap()
}

#[test]
fn damaged_trees_and_commits_are_built_again_from_objects() {
    let (alpha, beta, _stick) = pair();
    for site in [&alpha, &beta] {
        let (whole, roots) = (site.save(), site.local_heads());
        for sql in [
            "UPDATE node SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'ff' AS BLOB)",
            "DELETE FROM node",
            "DROP TABLE node",
            "DELETE FROM commits WHERE id IN (SELECT commit_id FROM head)",
            "UPDATE commits SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'ff' AS BLOB)
             WHERE id IN (SELECT commit_id FROM head)",
        ] {
            state_of(site).execute_batch(sql).unwrap();
            assert!(site.open().fsck(Depth::Sizes).unwrap().is_damaged(), "{} {sql}", site.name);
            let repaired = site.open().repair(Mode::Keep).unwrap();
            assert_eq!(damage(&repaired.left), Vec::<String>::new(), "{} {sql}: {:?}", site.name, repaired.done);
            assert_eq!(site.local_heads(), roots, "{} {sql}", site.name);
            site.sync();
            site.restore(&whole);
        }
    }
}

#[test]
fn what_cannot_be_mended_is_said_and_nothing_is_made_up() {
    let (alpha, _beta, _stick) = pair();
    let request = alpha.request(1, "never published", "public");
    alpha.edit(request, "description", "only here");
    alpha.open().commit(Mode::Keep).unwrap();
    state_of(&alpha).execute_batch("DELETE FROM node").unwrap();
    let repaired = alpha.open().repair(Mode::Keep).unwrap();
    let left = damage(&repaired.left);
    assert!(!left.is_empty(), "{:?}", repaired.done);
    assert!(repaired.left.findings.iter().filter(|finding| finding.damage).all(|finding| !finding.mend.is_empty()));
    assert!(!repaired.done.iter().any(|line| line.starts_with("published")), "{:?}", repaired.done);
}

#[test]
fn a_stuck_settlement_is_cleared() {
    let (alpha, _beta, _stick) = pair();
    let sql = "INSERT INTO pending VALUES ('settle', 99, x'', NULL)";
    state_of(&alpha).execute_batch(sql).unwrap();
    alpha.open().state.recount("pending").unwrap();
    alpha.open().settle_pending().unwrap_err();
    let repaired = alpha.open().repair(Mode::Keep).unwrap();
    assert_eq!(damage(&repaired.left), Vec::<String>::new());
    assert!(repaired.done.iter().any(|line| line.contains("captures its changes again")), "{:?}", repaired.done);
    alpha.sync();
}

#[test]
fn garbage_goes_after_its_time_and_what_a_head_names_stays() {
    let (alpha, beta, stick) = pair();
    let url = remotes::parse(stick.path().to_str().unwrap(), Path::new("/")).unwrap();
    let young = gc_store(&url, None, GRACE_MILLIS, Collect::Remove).unwrap();
    assert!(young.collected.removed == 0 && young.collected.young > 0, "{young:?}");
    let old = SystemTime::now() - Duration::from_secs(15 * 24 * 3600);
    for file in stick.files().into_iter().filter(|file| file.starts_with("objects/")) {
        fs::File::options().write(true).open(stick.path().join(file)).unwrap().set_modified(old).unwrap();
    }
    let counted = gc_store(&url, None, GRACE_MILLIS, Collect::Count).unwrap();
    assert_eq!(counted.collected.removed, young.collected.young);
    // Whoever pushes the same content meanwhile finds it, or sends it again.
    let cleared = gc_store(&url, None, GRACE_MILLIS, Collect::Remove).unwrap();
    assert_eq!((cleared.collected.removed, cleared.collected.young), (counted.collected.removed, 0));
    assert_eq!(
        damage(&wbsync::sync::fsck::fsck_store(&url, None, Depth::Contents, &|_| {}).unwrap()),
        Vec::<String>::new()
    );
    for site in [&alpha, &beta] {
        site.sync();
    }
    // A head that can't be read may name anything.
    let head = stick.files().into_iter().find(|file| file.contains("/heads/")).unwrap();
    spoil(&stick.path().join(head), "flipped");
    gc_store(&url, None, GRACE_MILLIS, Collect::Remove).unwrap_err();
}

#[test]
fn an_instance_is_cleared_up_and_goes_on() {
    let (alpha, beta, _stick) = pair();
    let counted = beta.open().gc(GRACE_MILLIS, Collect::Count).unwrap();
    let cleared = beta.open().gc(GRACE_MILLIS, Collect::Remove).unwrap();
    assert_eq!((counted.nodes, counted.removed_nodes), (cleared.nodes, cleared.removed_nodes));
    assert!(cleared.removed_nodes > 0 && cleared.state_bytes > 0, "{cleared:?}");
    assert_eq!(damage(&beta.open().fsck(Depth::Contents).unwrap()), Vec::<String>::new());
    let request = alpha.request(1, "after gc", "trusted");
    alpha.edit(request, "description", "came through");
    alpha.sync();
    beta.sync();
    assert!(beta.app.dump("help_requests").contains("came through"));
}

/// One thing that is no file hides nothing else that is wrong.
#[test]
fn what_is_no_file_is_named_beside_all_other_damage() {
    let (stick, alpha, _beta) = super::world::pair(None);
    let author = alpha.app.insert_user("mara", "public");
    alpha.request(author, "a ladder", "public");
    alpha.sync();
    alpha.request(author, "a saw", "public");
    alpha.sync();
    let files = stick.files();
    let of = |begin: &str| files.iter().filter(|file| file.starts_with(begin)).cloned().collect::<Vec<_>>();
    let [objects, cards] = [of("objects/"), of("instances/")];
    assert!(objects.len() > 1, "{files:?}");
    for (file, is_dir) in [(&objects[0], true), (&cards[0], false)] {
        let path = stick.path().join(file);
        fs::remove_file(&path).unwrap();
        match is_dir {
            true => fs::create_dir(&path).unwrap(),
            false => std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
        }
    }
    fs::remove_file(stick.path().join(&objects[1])).unwrap();
    let report = alpha.open().fsck_remote(&PeerName::new(STICK).unwrap(), Depth::Contents).unwrap();
    for (what, place) in
        [("irregular file", &objects[0]), ("irregular file", &cards[0]), ("missing object", &objects[1])]
    {
        let is_it = |found: &Finding| found.what == what && found.place == *place && found.damage;
        assert!(report.findings.iter().any(is_it), "no {what} {place} in {:#?}", report.findings);
    }
}
