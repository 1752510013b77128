//! What is well is left alone, and what is none of a store is named; `damage` shows what fsck finds.

use std::fs;
use std::path::Path;

use wbsync::exchange::health::Depth;
use wbsync::state::peers::Trust;
use wbsync::sync::fsck::{Report, fsck_store};
use wbsync::sync::remotes;

use super::world::{self, Saved, Site, Stick};

pub fn look(dir: &Path) -> Report {
    let url = remotes::parse(dir.to_str().unwrap(), Path::new("/")).unwrap();
    fsck_store(&url, None, Depth::Contents, &|_| {}).unwrap()
}

fn lines(report: &Report) -> Vec<String> {
    let line =
        |finding: &wbsync::sync::fsck::Finding| format!("{} {}: {}", finding.what, finding.place, finding.detail);
    report.findings.iter().filter(|finding| finding.damage).map(line).collect()
}

/// Two sites that have exchanged public and trusted records, both ways, more than once.
pub fn pair() -> (Site, Site, Stick) {
    let (stick, alpha, beta) = world::pair(Some(Trust::Writer));
    let user = alpha.app.insert_user("mara", "public");
    alpha.request(user, "a ladder", "public");
    let shared = alpha.request(user, "a drill", "trusted");
    let other = beta.app.insert_user("jo", "public");
    beta.request(other, "a saw", "trusted");
    for _ in 0..2 {
        alpha.sync();
        beta.sync();
        alpha.request(user, "one more", "trusted");
        beta.app.execute("UPDATE help_requests SET description = description || ' and' WHERE title = 'a drill'", &[]);
        alpha.edit(shared, "description", "with bits");
    }
    alpha.sync();
    beta.sync();
    alpha.sync();
    (alpha, beta, stick)
}

#[test]
fn what_is_well_is_left_alone() {
    let (alpha, beta, stick) = pair();
    assert_eq!(lines(&look(&stick.path())), Vec::<String>::new());
    for site in [&alpha, &beta] {
        let report = site.open().fsck(Depth::Contents).unwrap();
        assert_eq!(lines(&report), Vec::<String>::new(), "{}", site.name);
        assert!(report.commits > 0 && report.nodes > 0 && report.records > 3 && report.objects > 0);
    }
}

#[test]
fn a_misplaced_document_and_what_is_none_of_the_store_are_named() {
    let (alpha, beta, stick) = pair();
    let (ours, theirs) = (alpha.card().card.instance, beta.card().card.instance);
    let before = look(&stick.path());
    let card = fs::read(stick.path().join(format!("instances/{ours}"))).unwrap();
    fs::write(stick.path().join(format!("instances/{theirs}")), card).unwrap();
    fs::write(stick.path().join("instances/.tmp-old"), b"half a card").unwrap();
    let old = fs::File::options().write(true).open(stick.path().join("instances/.tmp-old")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    fs::write(stick.path().join("instances/.tmp-new"), b"being written").unwrap();
    fs::write(stick.path().join("Thumbs.db"), b"desktop").unwrap();
    let unused = blake3::hash(b"unused").to_hex();
    fs::create_dir_all(stick.path().join(format!("objects/{}", &unused[..2]))).unwrap();
    fs::write(stick.path().join(format!("objects/{}/{unused}.age", &unused[..2])), b"unused").unwrap();
    let report = look(&stick.path());
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.what, finding.place.clone())).collect();
    assert!(found.contains(&("misplaced document", format!("instances/{theirs}"))), "{found:?}");
    assert!(found.contains(&("leftover", "instances/.tmp-old".into())), "{found:?}");
    assert!(found.contains(&("foreign file", "Thumbs.db".into())), "{found:?}");
    assert!(!found.iter().any(|(_, place)| place.ends_with(".tmp-new")), "{found:?}");
    assert_eq!((report.unused, report.unused_bytes), (before.unused + 1, before.unused_bytes + 6));
    assert!(report.is_damaged());
}

#[test]
fn every_row_of_the_map_that_a_record_contradicts_is_named() {
    let (alpha, _beta, _stick) = pair();
    let whole = Saved::of(alpha.app.dir());
    for sql in [
        "DELETE FROM _wbsync_map WHERE rowid_is_none IS NULL",
        "UPDATE _wbsync_map SET record = randomblob(16) WHERE audience = 'public'",
        "UPDATE _wbsync_map SET origin = 99",
    ] {
        let sql = sql.replace("WHERE rowid_is_none IS NULL", "WHERE audience = 'public'");
        alpha.app.db().execute_batch(&sql).unwrap();
        let report = alpha.open().fsck(Depth::Sizes).unwrap();
        assert!(report.findings.iter().any(|finding| finding.damage && finding.part == "database"), "{sql}");
        whole.restore(alpha.app.dir());
    }
    assert_eq!(lines(&alpha.open().fsck(Depth::Sizes).unwrap()), Vec::<String>::new());
}
