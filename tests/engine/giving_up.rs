//! Forgetting a peer and shunning a record: here they are gone, and nobody else notices.

use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::error::Error;
use wbsync::sync::peers::PeerAdd;
use wbsync::sync::view::View;

use super::world::{Site, Stick, pair};

fn titles(site: &Site) -> String {
    site.app
        .value("SELECT coalesce(group_concat(title, ', '), '') FROM (SELECT title FROM help_requests ORDER BY title)")
}

fn comments(site: &Site) -> String {
    let sql = "SELECT coalesce(group_concat(body, ', '), '') FROM (SELECT body FROM request_comments ORDER BY body)";
    site.app.value(sql)
}

/// Beta's request with beta's and alpha's comments, at alpha, beta and gamma, who all know each other.
fn thread() -> (Stick, Site, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let gamma = Site::new("gamma");
    for other in [&alpha, &beta] {
        gamma.knows(other, None);
        other.knows(&gamma, None);
    }
    gamma.uses(&stick);
    let bob = beta.app.insert_user("bob", "public");
    let drill = beta.request(bob, "drill", "public");
    beta.app.insert_comment(drill, bob, "bob needs it", "public");
    beta.request(bob, "secret", "trusted");
    beta.sync();
    alpha.sync();
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    let there: i64 = alpha.app.value("SELECT id FROM help_requests WHERE title = 'drill'").parse().unwrap();
    alpha.app.insert_comment(there, alice, "alice has one", "public");
    alpha.sync();
    beta.sync();
    gamma.sync();
    assert_eq!([comments(&beta), comments(&gamma)], ["alice has one, bob needs it", "alice has one, bob needs it"]);
    (stick, alpha, beta, gamma)
}

#[test]
fn a_forgotten_peer_is_gone_here_and_nowhere_else() {
    let (_stick, alpha, beta, gamma) = thread();
    let before = ([&beta, &gamma]).map(|site| (site.app.dump("help_requests"), site.app.dump("request_comments")));
    let id = beta.open().id();
    let counted = alpha.open().peer_forget("beta", Mode::DryRun).unwrap();
    assert_eq!(titles(&alpha), "drill, ladder, secret", "a dry run changes nothing");
    let forgotten = alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    assert_eq!((&counted.rows, &counted.scopes), (&forgotten.rows, &forgotten.scopes));
    assert_eq!(forgotten.scopes, ["beta/public", "beta/trusted"]);
    let rows: Vec<_> = forgotten.rows.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert!(rows.contains(&("requests", 2)) && rows.contains(&("comments", 1)), "{rows:?}");
    alpha.app.assert_whole();
    let dump = alpha.app.dump("help_requests") + &alpha.app.dump("users") + &alpha.app.dump("request_comments");
    for word in ["drill", "secret", "bob"] {
        assert!(!dump.contains(word), "{word} is left in {dump}");
    }
    assert!(dump.contains("alice has one"), "our own comment stays, under a placeholder");
    {
        let instance = alpha.open();
        assert!(instance.state.peer(&id).unwrap().is_none());
        assert!(instance.state.scopes_of(&id).unwrap().is_empty());
        assert!(instance.state.follows().unwrap().iter().all(|rule| rule.origin != id));
        assert!(instance.state.forgotten(&id).unwrap().is_some());
    }
    // Both ways, twice: nothing is deleted there, and nothing comes back here.
    for _ in 0..2 {
        let pulled = alpha.pull();
        assert!(pulled.committed.scopes.is_empty(), "{:?}", pulled.committed);
        let pushed = alpha.push();
        assert!(pushed.published.is_empty(), "{pushed:?}");
        gamma.sync();
        beta.sync();
    }
    let after = ([&beta, &gamma]).map(|site| (site.app.dump("help_requests"), site.app.dump("request_comments")));
    assert_eq!(before, after);
    assert!(!titles(&alpha).contains("drill"));
    // Added again, everything is there again, and hangs together.
    let card = beta.card();
    alpha.open().peer_add(&card, &PeerAdd::default()).unwrap();
    alpha.open().follow("beta", None).unwrap();
    alpha.sync();
    assert!(titles(&alpha).contains("drill"), "{}", titles(&alpha));
    let sql = "SELECT r.title FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id
               WHERE c.body = 'alice has one'";
    assert_eq!(alpha.app.value(sql), "drill");
    assert!(alpha.open().state.forgotten(&id).unwrap().is_none());
    alpha.app.assert_whole();
}

#[test]
fn a_forgotten_peer_reads_nothing_more_of_ours() {
    let (_stick, alpha, beta, _gamma) = thread();
    let forgotten = alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    assert_eq!(forgotten.reads_no_more, ["trusted"]);
    let alice: i64 = alpha.app.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
    alpha.request(alice, "without beta", "trusted");
    alpha.sync();
    beta.pull();
    assert!(!titles(&beta).contains("without beta"));
}

#[test]
fn what_hangs_on_a_narrower_row_of_a_forgotten_peer_stays_with_its_readers() {
    let (_stick, alpha, beta, gamma) = thread();
    beta.open().peer_trust("gamma", Trust::Trusted).unwrap();
    beta.sync();
    alpha.sync();
    gamma.sync();
    let there: i64 = alpha.app.value("SELECT id FROM help_requests WHERE title = 'secret'").parse().unwrap();
    let alice: i64 = alpha.app.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
    alpha.app.insert_comment(there, alice, "between us", "public");
    alpha.sync();
    gamma.sync();
    assert!(comments(&gamma).contains("between us"), "{}", comments(&gamma));
    alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    for _ in 0..2 {
        assert!(alpha.pull().committed.scopes.is_empty());
        alpha.push();
        gamma.sync();
    }
    assert!(comments(&gamma).contains("between us"), "{}", comments(&gamma));
}

#[test]
fn what_is_shared_with_a_forgotten_peer_by_name_stays_shared_with_the_others() {
    let (_stick, alpha, beta, gamma) = thread();
    let alice: i64 = alpha.app.value("SELECT id FROM users WHERE username = 'alice'").parse().unwrap();
    alpha.request(alice, "for two", "peers:beta,gamma");
    alpha.sync();
    gamma.pull();
    alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    for _ in 0..2 {
        alpha.sync();
        gamma.sync();
    }
    assert!(titles(&gamma).contains("for two"), "{}", titles(&gamma));
    // Somebody else can't take the name, and so the place.
    let impostor = Site::new("beta");
    let taken = alpha.open().peer_add(&impostor.card(), &PeerAdd::default());
    assert!(matches!(taken, Err(Error::NameReserved { .. })), "{taken:?}");
    // Beta itself has it again.
    beta.pull();
    alpha.open().peer_add(&beta.card(), &PeerAdd::default()).unwrap();
    alpha.request(alice, "for two again", "peers:beta,gamma");
    alpha.sync();
    beta.pull();
    assert!(titles(&beta).contains("for two again"), "{}", titles(&beta));
}

#[test]
fn an_interrupted_forgetting_goes_on_and_withdraws_nothing() {
    let (_stick, alpha, _beta, gamma) = thread();
    let before = (gamma.app.dump("help_requests"), gamma.app.dump("request_comments"));
    let saved = alpha.save();
    alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    let app = std::fs::read(alpha.app.db_path()).unwrap();
    let wal = alpha.app.db_path().with_extension("db-wal");
    let wal_bytes = std::fs::read(&wal).ok();
    // The application's database is done, wbsync's own files are as before: the worst place for a crash.
    alpha.restore(&saved);
    std::fs::write(alpha.app.db_path(), app).unwrap();
    match wal_bytes {
        Some(bytes) => std::fs::write(&wal, bytes).unwrap(),
        None => drop(std::fs::remove_file(&wal)),
    }
    alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    alpha.sync();
    gamma.sync();
    assert_eq!(before, (gamma.app.dump("help_requests"), gamma.app.dump("request_comments")));
    assert!(!titles(&alpha).contains("drill"), "{}", titles(&alpha));
    alpha.app.assert_whole();
}

#[test]
fn a_sync_finishes_what_a_killed_forgetting_began_and_withdraws_nothing() {
    let (_stick, alpha, beta, gamma) = thread();
    let before = (gamma.app.dump("help_requests"), gamma.app.dump("request_comments"));
    let id = beta.open().id();
    {
        // As far as a forgetting comes before it touches the first row.
        let instance = alpha.open();
        instance.peer_revoke("beta", Mode::Keep).unwrap();
        let position = instance.with_database(|database| Ok(database.position()?)).unwrap();
        let mut view = View::decode(&position.applied).unwrap();
        for row in instance.state.scopes_of(&id).unwrap() {
            view.commits.remove(&row.id);
        }
        instance.state.set_meta("dropping", &id.to_string()).unwrap();
        let rows = alpha.app.db().execute("UPDATE _wbsync_position SET target = ?1", [view.encode()]).unwrap();
        assert_eq!(rows, 1);
    }
    alpha.pull();
    assert!(!titles(&alpha).contains("drill"), "{}", titles(&alpha));
    alpha.sync();
    gamma.sync();
    assert_eq!(before, (gamma.app.dump("help_requests"), gamma.app.dump("request_comments")));
    alpha.app.assert_whole();
}

#[test]
fn a_shunned_record_is_gone_here_only_until_it_is_let_back() {
    let (_stick, alpha, beta, gamma) = thread();
    let key = request_key(&alpha.open(), "drill");
    assert_eq!(alpha.open().shun(&key, Mode::DryRun).unwrap().rows, 1);
    assert!(titles(&alpha).contains("drill"));
    let shun = alpha.open().shun(&key, Mode::Keep).unwrap();
    assert_eq!((shun.origin.as_str(), shun.rows), ("beta", 1));
    assert!(!titles(&alpha).contains("drill"), "{}", titles(&alpha));
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'drill'").parse().unwrap();
    beta.edit(there, "description", "a bigger one");
    for _ in 0..2 {
        for site in [&beta, &alpha, &gamma] {
            site.sync();
        }
    }
    assert!(!titles(&alpha).contains("drill"), "it came back: {}", titles(&alpha));
    assert!(!alpha.app.dump("help_requests").contains("a bigger one"));
    for site in [&beta, &gamma] {
        assert!(titles(site).contains("drill") && comments(site).contains("alice has one"), "{}", site.name);
    }
    assert_eq!(alpha.open().shunned().unwrap().len(), 1);
    alpha.app.assert_whole();
    let back = alpha.open().unshun(&key, Mode::Keep).unwrap();
    assert_eq!(back.rows, 1);
    let sql = "SELECT description FROM help_requests WHERE title = 'drill'";
    assert_eq!(alpha.app.value(sql), "a bigger one", "as it is now");
    assert!(alpha.open().shunned().unwrap().is_empty());
    assert!(matches!(alpha.open().unshun(&key, Mode::Keep), Err(Error::NotFound { .. })));
    alpha.sync();
    alpha.app.assert_whole();
}

/// The key of a request, as a command takes it.
fn request_key(instance: &wbsync::sync::instance::Instance, title: &str) -> String {
    let field = wbsync::id::name::FieldName::new("title").unwrap();
    let wanted = wbsync::record::value::Value::Text(title.into());
    for row in instance.state.scopes().unwrap() {
        let Some(head) = row.local_head else { continue };
        let known = instance.state.known_commit(&row.id, &head).unwrap();
        for (dataset, root) in &known.commit.datasets {
            for found in wbsync::tree::scan::scan(&instance.state, &row.id_key, root, ..) {
                let (key, bytes) = found.unwrap();
                let record = wbsync::record::codec::decode(&bytes, &row.origin).unwrap();
                if record.shown(&field) == Some(&wanted) {
                    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
                    return format!("{dataset}/{key}");
                }
            }
        }
    }
    panic!("no request {title}");
}

#[test]
fn a_row_is_only_blanked_where_its_deletion_would_take_others_along() {
    let (_stick, alpha, _beta, _gamma) = thread();
    let there: i64 = alpha.app.value("SELECT id FROM help_requests WHERE title = 'drill'").parse().unwrap();
    let sql = "CREATE TABLE local_notes (id INTEGER PRIMARY KEY, text TEXT,
        request INTEGER REFERENCES help_requests(id) ON DELETE CASCADE)";
    alpha.app.db().execute_batch(sql).unwrap();
    alpha.app.execute("INSERT INTO local_notes (text, request) VALUES ('mine', ?1)", &[&there]);
    alpha.open().peer_forget("beta", Mode::Keep).unwrap();
    assert_eq!(alpha.app.value("SELECT text FROM local_notes"), "mine");
    assert!(!alpha.app.dump("help_requests").contains("drill"));
    alpha.app.assert_whole();
}

#[test]
fn our_own_records_can_not_be_shunned() {
    let (_stick, alpha, _beta, _gamma) = thread();
    let instance = alpha.open();
    let key = request_key(&instance, "ladder");
    assert!(matches!(instance.shun(&key, Mode::Keep), Err(Error::OwnRecord { .. })));
}
