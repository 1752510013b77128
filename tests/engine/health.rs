//! What fsck finds, shown by damaging every file of a store, and every table of the state, in every way.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use wbsync::exchange::health::Depth;
use wbsync::state::peers::Trust;
use wbsync::sync::fsck::{Report, fsck_store};
use wbsync::sync::remotes;

use super::world::{self, Saved, Site, Stick};

fn look(dir: &Path) -> Report {
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
fn every_damaged_file_of_a_store_is_named() {
    let (_alpha, _beta, stick) = pair();
    let whole = Saved::of(&stick.path());
    let unused = look(&stick.path()).findings;
    for file in stick.files() {
        if file.starts_with("lock") {
            continue;
        }
        let path = stick.path().join(&file);
        let bytes = fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        let damages: [(&str, Option<&[u8]>); 4] = [
            ("deleted", None),
            ("emptied", Some(&[])),
            ("cut", Some(&bytes[..bytes.len() / 2])),
            ("flipped", Some(&flipped)),
        ];
        for (how, damaged) in damages {
            match damaged {
                None => fs::remove_file(&path).unwrap(),
                Some(bytes) => fs::write(&path, bytes).unwrap(),
            }
            if file == "format" {
                let url = remotes::parse(stick.path().to_str().unwrap(), Path::new("/")).unwrap();
                fsck_store(&url, None, Depth::Contents, &|_| {}).unwrap_err();
            } else {
                let found = lines(&look(&stick.path()));
                // A store doesn't know which heads, receipts and cards it should have: none of them is missed.
                let is_unmissed = ["/heads/", "/receipts/", "instances/"].iter().any(|part| file.contains(part))
                    || unused.iter().any(|unused| unused.place == file);
                let may_lack = how == "deleted" && is_unmissed;
                assert!(may_lack || found.iter().any(|line| line.contains(&file)), "{file} {how}: {found:?}");
            }
            whole.restore(&stick.path());
        }
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

/// Damages a table: it is gone, or a byte changed in the documents or bytes of its rows.
fn damage_table(site: &Site, table: &str, how: &str) -> bool {
    let path = site.app.dir().join(".wbsync/state.db");
    let db = Connection::open(path).unwrap();
    match how {
        "dropped" => db.execute_batch(&format!("DROP TABLE {table}")).map(|()| true).unwrap(),
        _ => {
            let sql = "SELECT name FROM pragma_table_info(?1)
                       WHERE name IN ('bytes', 'card', 'document', 'manifest', 'ours')";
            let Ok(column) = db.query_row(sql, [table], |row| row.get::<_, String>(0)) else { return false };
            let sql = format!(
                "UPDATE {table} SET {column} = CAST(substr({column}, 1, length({column}) / 2)
                 || x'5a' || substr({column}, length({column}) / 2 + 2) AS BLOB) WHERE length({column}) > 60"
            );
            db.execute(&sql, []).unwrap() > 0
        }
    }
}

#[test]
fn every_damaged_table_of_the_state_is_named() {
    let (alpha, _beta, _stick) = pair();
    let dir = alpha.app.dir().join(".wbsync");
    let tables: Vec<String> = {
        let db = Connection::open(dir.join("state.db")).unwrap();
        let mut statement = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert!(tables.len() > 20);
    let whole = Saved::of(&dir);
    let mut flipped = Vec::new();
    for table in &tables {
        for how in ["dropped", "flipped"] {
            if !damage_table(&alpha, table, how) {
                continue;
            }
            if how == "flipped" {
                flipped.push(table.as_str());
            }
            match wbsync::sync::instance::Instance::open(
                alpha.app.dir(),
                wbsync::sync::instance::Purpose::Look,
                wbsync::sync::progress::silent(),
            ) {
                Err(error) => assert!(table == "meta", "{table} {how}: {error}"),
                Ok(instance) => {
                    let report = instance.fsck(Depth::Sizes).unwrap_or_else(|error| panic!("{table} {how}: {error}"));
                    assert!(report.is_damaged(), "{table} {how}");
                }
            }
            whole.restore(&dir);
        }
    }
    for table in ["commits", "head", "node", "peer", "receipt", "scope", "seen"] {
        assert!(flipped.contains(&table), "{table}: {flipped:?}");
    }
}

#[test]
fn every_missing_table_of_the_bookkeeping_and_every_lost_row_of_the_map_is_named() {
    let (alpha, _beta, _stick) = pair();
    let whole = Saved::of(alpha.app.dir());
    for sql in [
        "DROP TABLE _wbsync_meta",
        "DROP TABLE _wbsync_origin",
        "DROP TABLE _wbsync_dataset",
        "DROP TABLE _wbsync_map",
        "DROP TABLE _wbsync_override",
        "DROP TABLE _wbsync_gone",
        "DROP TABLE _wbsync_waiting",
        "DROP TABLE _wbsync_position",
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
