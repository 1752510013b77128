//! What `db map` says of tables that are hard, and of mappings that are wrong.

use wbsync::connector::mapping::finding::Weight;
use wbsync::connector::mapping::model::{Mapping, Missing};
use wbsync::sync::map;

use super::site::{Kind, Postgres, Site, Sqlite};

const HARD: &str = "
CREATE TABLE keyless(body TEXT);
CREATE TABLE \"blob keyed\"(id BYTEA PRIMARY KEY, body TEXT);
CREATE TABLE hens(id SERIAL PRIMARY KEY, egg_id INTEGER NOT NULL);
CREATE TABLE eggs(id SERIAL PRIMARY KEY, hen_id INTEGER NOT NULL REFERENCES hens(id));
CREATE TABLE accounts(id SERIAL PRIMARY KEY, login TEXT NOT NULL UNIQUE, api_key TEXT NOT NULL UNIQUE, pin INTEGER NOT NULL,
    \"weird \"\" name\" TEXT, created_at TIMESTAMP NOT NULL);
CREATE TABLE words(account_id INTEGER NOT NULL REFERENCES accounts(id), word TEXT NOT NULL, UNIQUE (account_id, word));
CREATE TABLE nodes(id SERIAL PRIMARY KEY, parent_id INTEGER REFERENCES nodes(id), login TEXT REFERENCES accounts(login));
CREATE TABLE marks(node_id INTEGER REFERENCES nodes(id), account_id INTEGER REFERENCES accounts(id),
    PRIMARY KEY (node_id, account_id));";

fn hard(kind: Kind) -> Site {
    let site = match kind {
        Postgres => Site::without_instance(kind, HARD),
        Sqlite => Site::without_instance(
            kind,
            &HARD.replace("egg_id INTEGER NOT NULL", "egg_id INTEGER NOT NULL REFERENCES eggs(id)"),
        ),
    };
    if kind == Postgres {
        site.sql(
            "ALTER TABLE hens ADD FOREIGN KEY (egg_id) REFERENCES eggs(id);
                  CREATE TABLE shapes(id SERIAL PRIMARY KEY, outline polygon NOT NULL)",
        );
    }
    site
}

#[test]
fn each_difficulty_is_named_and_the_rest_is_proposed_and_fits() {
    for kind in [Sqlite, Postgres] {
        let site = hard(kind);
        let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
        let found: Vec<(&str, &str)> =
            proposal.findings.iter().map(|finding| (finding.kind, finding.at.as_str())).collect();
        for wanted in [
            ("no-key", "keyless"),
            ("key-type", "blob keyed"),
            ("circle", "eggs"),
            ("reference", "hens"),
            ("secret", "accounts.api_key"),
            ("secret", "accounts.pin"),
        ] {
            assert!(found.contains(&wanted), "{kind:?}: no {wanted:?} in {:#?}", proposal.findings);
        }
        let has_reused = found.contains(&("reused-key", "nodes"));
        assert_eq!(has_reused, kind == Sqlite, "{kind:?}");
        assert!(proposal.findings.iter().all(|finding| finding.weight != Weight::Error && finding.why.len() > 10));
        // It is a mapping in which nothing is shared.
        let mapping =
            Mapping::parse(&proposal.toml, "proposal").unwrap_or_else(|error| panic!("{error:?}\n{}", proposal.toml));
        for (name, dataset) in &mapping.dataset {
            let is_private = dataset.scope.constant.as_deref() == Some("private");
            assert!(is_private || dataset.scope.parents.is_some(), "{name}");
            let secret = |field: &str| ["api_key", "pin"].contains(&field);
            assert!(!dataset.fields.iter().any(|(name, field)| field.columns(name).into_iter().any(secret)), "{name}");
        }
        // What is a part of the key is never NULL, also where SQLite would let it be.
        let marks = &mapping.dataset.iter().find(|(name, _)| name.as_str() == "marks").unwrap().1;
        for (name, field) in &marks.fields {
            assert!(!matches!(field.missing, None | Some(Missing::Null)), "{kind:?}: {name}: {field:?}");
        }
        assert!(marks.fields.values().any(|field| field.required) && !marks.same.is_empty(), "{marks:?}");
        site.init("alpha", &proposal.toml).unwrap_or_else(|error| panic!("{kind:?}: {error:?}\n{}", proposal.toml));
        let review = map::check(site.path(), None, None).unwrap();
        assert!(!review.is_wrong(), "{:#?}", review.findings);
    }
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let site = Site::without_instance(Sqlite, HARD);
    let mapping = "[dataset.accounts]
table = \"accounts\"
key = \"id\"
scope = { constant = \"public\" }
insert = { pin = 0 }
[dataset.accounts.fields]
login = { type = \"text\" }
api_key = { type = \"text\" }
created_at = { type = \"timestamp\" }
[dataset.words]
table = \"wrods\"
key = \"word\"
scope = { constant = \"public\" }
fields.word = { type = \"text\" }
[dataset.nodes]
table = \"nodes\"
key = \"id\"
scope = { constant = \"public\" }
fields.up = { column = \"parent_idd\", ref = \"nodes\" }
";
    std::fs::write(site.path().join("wbsync.toml"), mapping).unwrap();
    let review = map::check(site.path(), Some(&site.url), None).unwrap();
    let told = |kind: &str, at: &str, line: usize, why: &str| {
        let found = review
            .findings
            .iter()
            .find(|finding| finding.kind == kind && finding.at == at && finding.why.contains(why));
        let found = found.unwrap_or_else(|| panic!("no {kind} at {at}: {:#?}", review.findings));
        assert_eq!(found.line, Some(line), "{found:?}");
    };
    assert!(review.is_wrong());
    told("mapping", "dataset.words.table", 11, "no table \"wrods\"");
    told("mapping", "dataset.nodes", 15, "no column \"parent_idd\"");
    told("secret", "dataset.accounts.fields.api_key", 8, "bearer secret");
    told("unique", "dataset.accounts.unique", 1, "login is unique");
    told("unmapped", "dataset.nodes.fields", 19, "login");
    assert!(
        review.findings.iter().filter(|finding| finding.weight == Weight::Error).all(|finding| finding.next.is_some())
    );
}
