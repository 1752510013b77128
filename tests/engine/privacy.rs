//! Groups, sets of peers, and fields with a scope of their own: who shows what, on three instances.

use std::fs;

use wbsync::id::name::ScopeName;
use wbsync::scope::manifest::draft::{Reader, Since};
use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::trust::Right;

use super::world::{Site, Stick};

const EMAIL: &str = "\n[dataset.users.fields.contact_email]\nscope = \"trusted\"\n";

/// Three sites that know and follow each other; alpha trusts beta and not gamma.
fn three() -> (Stick, [Site; 3]) {
    let sites = [Site::new("alpha"), Site::new("beta"), Site::new("gamma")];
    let stick = Stick::new();
    for site in &sites {
        for other in sites.iter().filter(|other| other.name != site.name) {
            let trusts = (site.name, other.name) == ("alpha", "beta");
            site.knows(other, trusts.then_some(Trust::Trusted));
        }
        site.uses(&stick);
    }
    (stick, sites)
}

fn configure(site: &Site, text: &str) {
    let path = site.app.dir().join("wbsync.toml");
    let own = fs::read_to_string(&path).unwrap();
    fs::write(path, own.replace(EMAIL, "") + text).unwrap();
}

fn set_email(site: &Site, user: i64, email: Option<&str>) {
    site.app.execute("UPDATE users SET contact_email = ?2 WHERE id = ?1", &[&user, &email]);
}

fn email(site: &Site, name: &str) -> String {
    site.app.value(&format!("SELECT coalesce(contact_email, 'none') FROM users WHERE username = '{name}'"))
}

fn titles(site: &Site, origin: &str) -> String {
    site.app.value(&format!(
        "SELECT coalesce(group_concat(title, ' '), '') FROM help_requests WHERE title LIKE '{origin}%'"
    ))
}

fn exchange(sites: &[Site]) {
    for _ in 0..2 {
        for site in sites {
            site.sync();
        }
    }
}

#[test]
fn a_field_of_a_narrower_scope_shows_in_one_row_to_its_readers_only() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    for site in &sites {
        configure(site, EMAIL);
    }
    let ann = alpha.app.insert_user("ann", "public");
    let bob = alpha.app.insert_user("bob", "trusted");
    let eve = alpha.app.insert_user("eve", "private");
    for (user, address) in [(ann, "ann@home"), (bob, "bob@home"), (eve, "eve@home")] {
        set_email(alpha, user, Some(address));
    }
    exchange(&sites);
    assert_eq!(email(beta, "ann"), "ann@home");
    assert_eq!(email(beta, "bob"), "bob@home");
    assert_eq!(email(gamma, "ann"), "none", "gamma sees ann without her address");
    assert_eq!(gamma.app.value("SELECT count(*) FROM users WHERE username IN ('bob', 'eve')"), "0");
    assert_eq!(beta.app.value("SELECT count(*) FROM users WHERE username = 'ann'"), "1", "one row for both scopes");
    // Each half changes by itself.
    set_email(alpha, ann, Some("ann@work"));
    exchange(&sites);
    assert_eq!((email(beta, "ann"), email(gamma, "ann")), ("ann@work".into(), "none".into()));
    alpha.app.execute("UPDATE users SET username = 'anna' WHERE id = ?1", &[&ann]);
    exchange(&sites);
    assert_eq!((email(beta, "anna"), email(gamma, "anna")), ("ann@work".into(), "none".into()));
    // Narrowed and widened, the row stays one row and loses what isn't meant for its reader any more.
    for (scope, there, seen) in [("trusted", "1", "ann@work"), ("public", "1", "ann@work"), ("private", "0", "")] {
        alpha.app.set_scope("users", ann, scope);
        exchange(&sites);
        let count = "SELECT count(*) FROM users WHERE username = 'anna'";
        assert_eq!(beta.app.value(count), there, "{scope}");
        assert_eq!(gamma.app.value(count), if scope == "public" { "1" } else { "0" }, "{scope}");
        if there == "1" {
            assert_eq!(email(beta, "anna"), seen, "{scope}");
        }
    }
    // Nothing of all this is taken for an edit.
    for site in [beta, gamma] {
        let committed = site.open().commit(Mode::DryRun).unwrap();
        assert!(committed.scopes.is_empty(), "{}: {:?}", site.name, committed.scopes);
    }
}

#[test]
fn a_field_that_stops_travelling_shows_nothing_to_those_who_had_it() {
    let (_stick, sites) = three();
    let [alpha, beta, _] = &sites;
    configure(alpha, EMAIL);
    configure(beta, EMAIL);
    let ann = alpha.app.insert_user("ann", "public");
    set_email(alpha, ann, Some("ann@home"));
    exchange(&sites);
    assert_eq!(email(beta, "ann"), "ann@home");
    configure(alpha, "");
    exchange(&sites);
    assert_eq!(email(beta, "ann"), "none");
    assert_eq!(email(alpha, "ann"), "ann@home", "at home it stays");
    assert_eq!(beta.app.value("SELECT count(*) FROM users WHERE username = 'ann'"), "1");
}

/// What was public and is for trusted peers now leaves records, objects and states, though the row stays public.
#[test]
fn a_field_that_is_narrowed_leaves_history_like_a_withdrawn_record() {
    let (stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    for site in &sites {
        configure(site, &EMAIL.replace("trusted", "public"));
    }
    let ann = alpha.app.insert_user("ann", "public");
    set_email(alpha, ann, Some("ann-zqcanary@home"));
    exchange(&sites);
    assert_eq!(email(gamma, "ann"), "ann-zqcanary@home");
    for site in &sites {
        let path = site.app.dir().join("wbsync.toml");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace("scope = \"public\"", "scope = \"trusted\"")).unwrap();
    }
    exchange(&sites);
    assert_eq!((email(beta, "ann"), email(gamma, "ann")), ("ann-zqcanary@home".into(), "none".into()));
    let holds = |bytes: &[u8]| bytes.windows(8).any(|window| window == b"zqcanary");
    for (path, scope, plain) in gamma.unseal(&stick.path(), &opened_by_others(gamma, &stick)) {
        assert!(!holds(&plain), "gamma opens it in {path} of {scope}");
    }
    for file in ["state.db", "state.db-wal"] {
        let bytes = fs::read(gamma.app.dir().join(".wbsync").join(file)).unwrap_or_default();
        assert!(!holds(&bytes), "gamma's {file} still has it");
    }
    for site in [beta, gamma] {
        let committed = site.open().commit(Mode::DryRun).unwrap();
        assert!(committed.scopes.is_empty(), "{}: {:?}", site.name, committed.scopes);
    }
}

#[test]
fn a_writer_edits_a_field_of_a_narrower_scope_there_and_nowhere_else() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    let contact = "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n";
    for site in &sites {
        configure(site, contact);
    }
    let request = alpha.request(1, "alpha ladder", "public");
    exchange(&sites);
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'alpha ladder'").parse().unwrap();
    beta.app.execute("UPDATE help_requests SET contact_email = 'call@beta' WHERE id = ?1", &[&there]);
    exchange(&sites);
    let shown = |site: &Site| {
        site.app.value("SELECT coalesce(contact_email, 'none') FROM help_requests WHERE title = 'alpha ladder'")
    };
    assert_eq!(sites.each_ref().map(shown), ["call@beta", "call@beta", "none"]);
    // What gamma, who may read the record only, writes there stays with gamma.
    let there: i64 = gamma.app.value("SELECT id FROM help_requests WHERE title = 'alpha ladder'").parse().unwrap();
    gamma.app.execute("UPDATE help_requests SET contact_email = 'secret@gamma' WHERE id = ?1", &[&there]);
    exchange(&sites);
    assert_eq!(sites.each_ref().map(shown), ["call@beta", "call@beta", "secret@gamma"]);
    for (scope, record, content) in alpha.records().into_iter().chain(gamma.records()) {
        assert!(!format!("{content:?}").contains("secret@gamma"), "{record} of {scope}");
    }
    assert!(request > 0);
}

/// What is for trusted readers at most and stands in a group's row is for nobody, also if a writer from the group writes it
/// there: it must not reach trusted readers who aren't in the group.
#[test]
fn what_a_writer_puts_into_a_field_of_a_groups_row_goes_to_no_others() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    alpha.open().peer_trust("beta", Trust::Writer).unwrap();
    alpha.open().peer_trust("gamma", Trust::Trusted).unwrap();
    for site in &sites {
        configure(site, "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n");
    }
    let instance = alpha.open();
    instance.group_create("ring", Mode::Keep).unwrap();
    instance.group_add("ring", "beta", Right::Write, Since::Beginning, Mode::Keep).unwrap();
    drop(instance);
    alpha.request(1, "alpha ladder", "public");
    alpha.request(1, "alpha plan", "group:ring");
    exchange(&sites);
    let write = |title: &str, contact: &str| {
        let sql = "UPDATE help_requests SET contact_email = ?2 WHERE title = ?1";
        beta.app.execute(sql, &[&title, &contact]);
    };
    write("alpha plan", "hush@ring");
    write("alpha ladder", "call@beta");
    exchange(&sites);
    let shown = |site: &Site| {
        site.app.value("SELECT coalesce(group_concat(contact_email, ' '), '') FROM help_requests ORDER BY title")
    };
    assert_eq!(shown(gamma), "call@beta");
    assert_eq!(shown(alpha), "call@beta");
    for (scope, record, content) in sites.iter().flat_map(Site::records) {
        assert!(!format!("{content:?}").contains("hush@ring"), "{record} of {scope}");
    }
}

#[test]
fn rows_for_some_peers_reach_these_and_leave_with_them() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    let one = alpha.request(1, "alpha one", "peers:beta");
    alpha.request(1, "alpha two", "peers:gamma,beta");
    alpha.request(1, "alpha three", "peers:beta,nobody");
    exchange(&sites);
    assert_eq!(titles(beta, "alpha"), "alpha one alpha two");
    assert_eq!(titles(gamma, "alpha"), "alpha two");
    let instance = alpha.open();
    let scopes = instance.open_scopes_of(&instance.id()).unwrap();
    let names: Vec<String> = scopes.iter().map(|scope| scope.row.name.to_string()).collect();
    drop(instance);
    assert_eq!(names, ["peers:beta", "peers:beta,gamma", "public", "trusted"]);
    alpha.app.set_scope("help_requests", one, "peers:gamma");
    exchange(&sites);
    assert_eq!(titles(beta, "alpha"), "alpha two");
    assert_eq!(titles(gamma, "alpha"), "alpha two alpha one");
}

#[test]
fn a_group_reads_its_rows_and_a_group_that_is_not_there_is_nobody() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    alpha.request(1, "alpha plan", "group:board");
    exchange(&sites);
    assert_eq!((titles(beta, "alpha"), titles(gamma, "alpha")), (String::new(), String::new()));
    let instance = alpha.open();
    let board = ScopeName::new("group:board").unwrap();
    instance.create_scope(&board).unwrap();
    let scope = instance.open_scopes_of(&instance.id()).unwrap().into_iter().find(|scope| scope.row.name == board);
    let card = gamma.card().card;
    let reader = Reader { instance: card.instance, recipient: card.recipient };
    instance.change_scope(&scope.unwrap(), |draft| draft.grant(&reader, Since::Beginning)).unwrap();
    drop(instance);
    exchange(&sites);
    assert_eq!((titles(beta, "alpha"), titles(gamma, "alpha")), (String::new(), "alpha plan".into()));
}

/// Beta comments on a request that alpha shares with beta and delta: the comment is for those of alpha's readers
/// that beta means too, whatever beta calls trusted.
#[test]
fn what_hangs_on_a_row_of_others_is_for_the_readers_of_that_row_only() {
    let (stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    beta.open().peer_trust("gamma", Trust::Trusted).unwrap();
    beta.open().peer_trust("alpha", Trust::Trusted).unwrap();
    alpha.request(1, "alpha inner", "trusted");
    alpha.request(1, "alpha outer", "public");
    exchange(&sites);
    let there: i64 = beta.app.value("SELECT id FROM help_requests WHERE title = 'alpha inner'").parse().unwrap();
    beta.app.insert_comment(there, 1, "a word to alpha", "trusted");
    exchange(&sites);
    let heard = |site: &Site| site.app.value("SELECT count(*) FROM request_comments WHERE body = 'a word to alpha'");
    assert_eq!(sites.each_ref().map(heard), ["1", "1", "0"]);
    for (path, scope, plain) in gamma.unseal(&stick.path(), &opened_by_others(gamma, &stick)) {
        let found = plain.windows(15).any(|window| window == b"a word to alpha");
        assert!(!found, "gamma opens it in {path} of {scope}");
    }
}

/// The objects of a store that a site has no key for.
fn opened_by_others(site: &Site, stick: &Stick) -> std::collections::BTreeSet<String> {
    let instance = site.open();
    let mut keys = Vec::new();
    for row in instance.state.scopes().unwrap() {
        keys.extend(instance.open_scope(row).unwrap().into_iter().flat_map(|scope| scope.keys.epochs.into_values()));
    }
    let objects = stick.path().join("objects");
    let opens = |path: &String| {
        let bytes = fs::read(objects.join(path)).unwrap();
        let id = wbsync::changeset::seal::id_of(&bytes);
        keys.iter().any(|key| wbsync::changeset::seal::open(&id, &bytes, key).is_ok())
    };
    super::world::files_under(&objects).into_iter().filter(|path| !opens(path)).collect()
}
