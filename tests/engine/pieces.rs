//! A record and its fields of a narrower scope are deleted together, or live on together, whoever merges first.

use std::collections::BTreeSet;
use std::fs;

use wbsync::id::name::{PeerName, ScopeName};
use wbsync::state::peers::Trust;
use wbsync::testing::prng::Prng;

use super::world::{STICK, Site, Stick};

const CONTACT: &str = "\n[dataset.requests.fields.contact_email]\nscope = \"trusted\"\n";

/// Alpha, whose records these are; beta, who may write all of them; gamma, who reads the public ones only.
fn three() -> (Stick, [Site; 3]) {
    let (stick, sites) = (Stick::new(), [Site::new("alpha"), Site::new("beta"), Site::new("gamma")]);
    for site in &sites {
        for other in sites.iter().filter(|other| other.name != site.name) {
            let writes = (site.name, other.name) == ("alpha", "beta");
            site.knows(other, writes.then_some(Trust::Writer));
        }
        site.uses(&stick);
        let path = site.app.dir().join("wbsync.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + CONTACT).unwrap();
    }
    (stick, sites)
}

fn request(site: &Site, title: &str) {
    let key = site.request(1, title, "public");
    site.edit(key, "description", &format!("body of {title}"));
    site.edit(key, "contact_email", &format!("{title}@home"));
}

fn edit(site: &Site, title: &str, column: &str, value: &str) {
    // Nothing else of the record: each piece is to be edited alone.
    let sql = format!("UPDATE help_requests SET {column} = ?2 WHERE title = ?1");
    site.app.execute(&sql, &[&title, &value]);
}

fn delete(site: &Site, title: &str) {
    site.app.execute("DELETE FROM help_requests WHERE title = ?1", &[&title]);
}

fn rows(site: &Site) -> Vec<String> {
    let sql =
        "SELECT coalesce(group_concat(title || ', ' || description || ', ' || coalesce(contact_email, '-'), '; '), '')
         FROM (SELECT * FROM help_requests ORDER BY title)";
    site.app.value(sql).split("; ").filter(|row| !row.is_empty()).map(str::to_owned).collect()
}

fn settle(sites: &[&Site]) {
    for _ in 0..3 {
        sites.iter().for_each(|site| site.sync());
    }
    for site in sites {
        let pull = site.pull();
        assert!(pull.committed.scopes.is_empty() && pull.merge.applied.is_empty(), "{} echoes: {pull:?}", site.name);
        assert!(pull.merge.conflicts.is_empty(), "{}: {:?}", site.name, pull.merge.conflicts);
    }
}

/// Everybody holds the same commits of what it reads, no piece is alone, and no record lacks a field.
fn assert_one_truth(sites: &[Site; 3], expected: &[&str]) {
    let [alpha, beta, gamma] = sites;
    let heads = alpha.local_heads();
    for site in [beta, gamma] {
        let theirs = site.local_heads();
        assert!(theirs.keys().any(|scope| heads.contains_key(scope)));
        for (scope, head) in &theirs {
            assert!(heads.get(scope).is_none_or(|ours| ours == head), "{} stands elsewhere in {scope}", site.name);
        }
    }
    for site in [alpha, beta] {
        assert_eq!(rows(site), expected, "{}", site.name);
        let records = site.records();
        let named: BTreeSet<&str> = records.iter().map(|(_, name, _)| name.as_str()).collect();
        for (_, name, record) in &records {
            if let Some(key) = name.strip_prefix("requests+/") {
                assert!(named.contains(format!("requests/{key}").as_str()), "{}: {name} is alone", site.name);
            } else if name.starts_with("requests/") {
                assert!(record.cells.len() > 5, "{}: {name} is torn: {record:?}", site.name);
            }
        }
    }
    let public: Vec<String> = expected.iter().map(|row| format!("{}, -", row.rsplit_once(", ").unwrap().0)).collect();
    assert_eq!(rows(gamma), public, "gamma");
}

#[test]
fn an_edit_of_any_piece_keeps_all_pieces_whoever_merges_first() {
    for beta_first in [false, true] {
        let (_stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        for title in ["1 note", "2 body", "3 note", "4 body", "5 both", "6 none"] {
            request(alpha, title);
        }
        settle(&[alpha, beta, gamma]);
        for title in ["1 note", "2 body", "5 both", "6 none"] {
            delete(beta, title);
        }
        delete(alpha, "3 note");
        delete(alpha, "4 body");
        edit(alpha, "1 note", "contact_email", "new@alpha");
        edit(alpha, "2 body", "description", "new by alpha");
        edit(alpha, "5 both", "description", "both by alpha");
        edit(alpha, "5 both", "contact_email", "both@alpha");
        edit(beta, "3 note", "contact_email", "new@beta");
        edit(beta, "4 body", "description", "new by beta");
        let order = if beta_first { [beta, gamma, alpha] } else { [alpha, gamma, beta] };
        settle(&order);
        let expected = [
            "1 note, body of 1 note, new@alpha",
            "2 body, new by alpha, 2 body@home",
            "3 note, body of 3 note, new@beta",
            "4 body, new by beta, 4 body@home",
            "5 both, both by alpha, both@alpha",
        ];
        assert_one_truth(&sites, &expected);
    }
}

/// Both have committed before either hears of the other, and both mend: they say the same.
#[test]
fn two_who_mend_at_once_agree() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "1 note");
    request(alpha, "2 body");
    settle(&[alpha, beta, gamma]);
    delete(beta, "1 note");
    delete(alpha, "2 body");
    edit(alpha, "1 note", "contact_email", "new@alpha");
    edit(beta, "2 body", "description", "new by beta");
    for site in [alpha, beta] {
        site.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        site.push();
    }
    let stick = PeerName::new(STICK).unwrap();
    for site in [alpha, beta] {
        site.open().fetch(&stick).unwrap();
    }
    for site in [alpha, beta] {
        site.sync();
    }
    settle(&[gamma, alpha, beta]);
    assert_one_truth(&sites, &["1 note, body of 1 note, new@alpha", "2 body, new by beta, 2 body@home"]);
}

/// A reader that joins an edit and a deletion before anybody has who may write shows the whole record, and ends where the others do.
#[test]
fn a_reader_that_joins_first_holds_in_the_end_what_the_others_hold() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "ladder");
    settle(&[alpha, beta, gamma]);
    delete(beta, "ladder");
    edit(alpha, "ladder", "description", "new by alpha");
    for site in [alpha, beta] {
        site.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        site.push();
    }
    gamma.sync();
    assert_eq!(rows(gamma), ["ladder, new by alpha, -"]);
    settle(&[alpha, beta, gamma]);
    assert_one_truth(&sites, &["ladder, new by alpha, ladder@home"]);
}

/// Gamma may write what is public and reads nothing else: it can't know what else the record had. Alpha does.
#[test]
fn a_piece_that_the_first_to_merge_could_not_read_comes_back_by_the_origin() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "1 body");
    settle(&[alpha, beta, gamma]);
    let instance = alpha.open();
    let scopes = instance.open_scopes_of(&instance.id()).unwrap();
    let public = scopes.into_iter().find(|scope| scope.row.name == ScopeName::public()).unwrap();
    let writer = gamma.card().card.instance;
    instance.change_scope(&public, |draft| draft.add_writer(writer)).unwrap();
    drop(instance);
    settle(&[alpha, beta, gamma]);
    for alpha_knows in [false, true] {
        delete(beta, "1 body");
        beta.sync();
        if alpha_knows {
            alpha.sync();
            assert_eq!(rows(alpha), Vec::<String>::new());
        }
        let body = format!("by gamma, {alpha_knows}");
        edit(gamma, "1 body", "description", &body);
        settle(&[gamma, alpha, beta]);
        assert_one_truth(&sites, &[&format!("1 body, {body}, 1 body@home")]);
    }
    // And what gamma deletes, having seen all that it can see, is gone.
    delete(gamma, "1 body");
    settle(&[gamma, alpha, beta]);
    assert_one_truth(&sites, &[]);
    assert!(!sites.iter().flat_map(Site::records).any(|(_, name, _)| name.starts_with("requests")));
}

/// The edit was merged here, and the row did not show it yet when its owner deleted it.
#[test]
fn a_row_deleted_before_it_showed_an_edit_of_a_piece_comes_back_whole() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "1 note");
    request(alpha, "2 body");
    settle(&[alpha, beta, gamma]);
    edit(alpha, "1 note", "contact_email", "new@alpha");
    edit(alpha, "2 body", "description", "new by alpha");
    alpha.sync();
    beta.open().fetch(&PeerName::new(STICK).unwrap()).unwrap();
    beta.open().merge().unwrap();
    delete(beta, "1 note");
    delete(beta, "2 body");
    settle(&[beta, alpha, gamma]);
    assert_one_truth(&sites, &["1 note, body of 1 note, new@alpha", "2 body, new by alpha, 2 body@home"]);
}

/// What is deleted never had the field, as far as its deleter knows, who has perhaps merged it, and not shown it yet.
#[test]
fn a_field_that_a_record_gets_while_it_is_deleted_keeps_it() {
    for (at, is_merged) in [(0, false), (0, true), (1, false), (1, true)] {
        let (_stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        let key = alpha.request(1, "1 note", "public");
        alpha.edit(key, "description", "body of 1 note");
        settle(&[alpha, beta, gamma]);
        let (editor, deleter) = (&sites[at], &sites[1 - at]);
        edit(editor, "1 note", "contact_email", "new@home");
        editor.sync();
        if is_merged {
            deleter.open().fetch(&PeerName::new(STICK).unwrap()).unwrap();
            deleter.open().merge().unwrap();
        }
        delete(deleter, "1 note");
        settle(&[deleter, gamma, editor]);
        println!("{} deletes, has merged: {is_merged}", deleter.name);
        assert_one_truth(&sites, &["1 note, body of 1 note, new@home"]);
    }
}

/// Of alpha's scopes only one came when beta deleted what it saw of the record.
#[test]
fn a_record_deleted_before_the_rest_of_it_came_is_there_with_the_rest() {
    let (stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "1 note");
    alpha.sync();
    let instance = alpha.open();
    let scopes = instance.open_scopes_of(&instance.id()).unwrap();
    let trusted = scopes.into_iter().find(|scope| !scope.row.name.is_public()).unwrap().row.id;
    drop(instance);
    let (there, away) = (stick.path().join(format!("scopes/{trusted}")), stick.path().join("away"));
    fs::rename(&there, &away).unwrap();
    beta.pull();
    assert_eq!(rows(beta), ["1 note, body of 1 note, -"]);
    fs::rename(&away, &there).unwrap();
    delete(beta, "1 note");
    settle(&[beta, gamma, alpha]);
    assert_one_truth(&sites, &["1 note, body of 1 note, 1 note@home"]);
}

#[test]
fn what_was_deleted_by_all_or_after_the_edit_was_seen_leaves_no_piece() {
    let (_stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    request(alpha, "1 both");
    request(alpha, "2 later");
    settle(&[alpha, beta, gamma]);
    delete(alpha, "1 both");
    delete(beta, "1 both");
    edit(alpha, "2 later", "contact_email", "new@alpha");
    settle(&[beta, alpha, gamma]);
    delete(beta, "2 later");
    settle(&[beta, alpha, gamma]);
    assert_one_truth(&sites, &[]);
    for site in &sites {
        assert!(!site.records().iter().any(|(_, name, _)| name.starts_with("requests")), "{}", site.name);
    }
}

/// A row that is for fewer readers now was not deleted: no piece of it comes back where it left.
#[test]
fn a_withdrawn_record_stays_away_with_all_its_pieces() {
    for beta_first in [false, true] {
        let (_stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        for title in ["1 private", "2 moved"] {
            request(alpha, title);
        }
        settle(&[alpha, beta, gamma]);
        for (title, scope) in [("1 private", "private"), ("2 moved", "trusted")] {
            alpha.app.execute("UPDATE help_requests SET sync_scope = ?2 WHERE title = ?1", &[&title, &scope]);
            edit(beta, title, "contact_email", "late@beta");
        }
        let order = if beta_first { [beta, gamma, alpha] } else { [alpha, gamma, beta] };
        settle(&order);
        assert_eq!(
            rows(alpha),
            ["1 private, body of 1 private, 1 private@home", "2 moved, body of 2 moved, 2 moved@home"]
        );
        assert_eq!(rows(beta), ["2 moved, body of 2 moved, 2 moved@home"]);
        assert_eq!(rows(gamma), Vec::<String>::new());
        let kept: Vec<String> =
            alpha.open().late_edits(None).unwrap().iter().map(|late| late.value.to_string()).collect();
        assert_eq!(kept, ["\"late@beta\"", "\"late@beta\""], "beta first: {beta_first}");
    }
}

/// Edits of both pieces and deletions at random, by the origin and a writer who reads both, with a reader of one.
#[test]
fn no_random_history_leaves_a_piece_alone() {
    let seeds = std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for seed in 0..seeds {
        println!("seed {seed}");
        let mut random = Prng::new(seed);
        let (_stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        for number in 0..8 {
            request(alpha, &format!("t{number}"));
        }
        settle(&[alpha, beta, gamma]);
        for step in 0..40 {
            let site = &sites[random.below(3) as usize];
            let title = format!("t{}", random.below(8));
            let is_there =
                site.app.value(&format!("SELECT count(*) FROM help_requests WHERE title = '{title}'")) == "1";
            let writes = is_there && site.name != "gamma";
            match random.below(8) {
                0 | 1 if writes => edit(site, &title, "contact_email", &format!("{step}@{}", site.name)),
                2 | 3 if writes => edit(site, &title, "description", &format!("{step} by {}", site.name)),
                4 | 5 if writes => delete(site, &title),
                6 => drop(site.pull()),
                _ => site.sync(),
            }
        }
        for _ in 0..4 {
            sites.iter().for_each(Site::sync);
        }
        let left = rows(alpha);
        assert!(left.iter().all(|row| !row.ends_with(", -")), "seed {seed}: {left:?}");
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        assert_one_truth(&sites, &left);
    }
}

/// Until the origin takes it out, the writer holds the record twice: what it wrote where it was, and the record where it is.
#[test]
fn a_record_that_moves_while_a_writer_edits_it_is_edited_where_it_is() {
    let (_stick, [alpha, beta, _gamma]) = three();
    alpha.app.insert_user("alice", "public");
    request(&alpha, "soup");
    settle(&[&alpha, &beta]);
    alpha.app.execute("UPDATE help_requests SET sync_scope = 'trusted'", &[]);
    edit(&beta, "soup", "description", "first");
    alpha.sync();
    beta.sync();
    assert_eq!(rows(&beta), ["soup, body of soup, soup@home"]);
    edit(&beta, "soup", "description", "second");
    beta.sync();
    let scopes = beta.open().state.scopes_of(&alpha.open().id()).unwrap();
    let public = scopes.into_iter().find(|row| row.name == ScopeName::public()).unwrap().id.to_string();
    let titled = |(scope, _, record): &(String, String, wbsync::record::cell::Record)| {
        *scope == public && record.cells.keys().any(|field| field.as_str() == "title")
    };
    assert!(!beta.records().iter().any(titled), "what was withdrawn is back");
    settle(&[&alpha, &beta]);
    for site in [&alpha, &beta] {
        assert_eq!(rows(site), ["soup, second, soup@home"], "{}", site.name);
    }
}
