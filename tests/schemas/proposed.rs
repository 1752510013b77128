//! What `db map` says of tables that are hard, and of mappings that are wrong.

use wbsync::connector::capturing::TriggerChange;
use wbsync::connector::mapping::finding::Weight;
use wbsync::connector::mapping::model::{Field, Mapping, Missing};
use wbsync::id::name::FieldName;
use wbsync::sync::commit::Mode;
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

/// What PostgreSQL's own ways of declaring a column mean: identities, domains, lengths.
#[test]
fn types_behind_domains_and_numbered_keys_are_proposed_as_what_they_are() {
    let site = Site::without_instance(
        Postgres,
        "CREATE DOMAIN fingerprint AS text; CREATE DOMAIN realm AS varchar(9); CREATE DOMAIN inner_realm AS realm NOT NULL;
         CREATE DOMAIN blobby AS numeric(6,2); CREATE DOMAIN context AS int; CREATE DOMAIN words AS text[];
         CREATE TYPE mood AS ENUM ('glad', 'sad'); CREATE DOMAIN feeling AS mood;
         CREATE TABLE a (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, f fingerprint, r realm, i inner_realm DEFAULT 'x',
             b blobby, w words, d realm[], feels feeling, at time(2), z time(0) with time zone, born timestamp(0),
             twice int GENERATED ALWAYS AS (1 + 1) STORED, counted bigint GENERATED ALWAYS AS IDENTITY);
         CREATE TABLE e (id uuid PRIMARY KEY, m mood NOT NULL, d date NOT NULL, t time NOT NULL, code varchar(6) NOT NULL UNIQUE);
         CREATE TABLE f (e_id uuid NOT NULL REFERENCES e(id), body text PRIMARY KEY);
         CREATE TABLE c (id context PRIMARY KEY, a_id bigint REFERENCES a(id), body text)",
    );
    let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
    let mapping = Mapping::parse(&proposal.toml, "proposal").unwrap();
    let fields = |name: &str| {
        let (_, dataset) = mapping.dataset.iter().find(|(known, _)| known.as_str() == name).unwrap();
        let shown = |(name, field): (&FieldName, &Field)| match (&field.kind, &field.reference) {
            (Some(kind), _) => format!("{name} {kind}"),
            (_, parent) => format!("{name} to {}", parent.as_ref().unwrap()),
        };
        dataset.fields.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    let wanted =
        "b decimal, d list:text, f text, i text, r text, w list:text, z text, at text, born timestamp, feels text";
    assert_eq!(fields("a"), wanted, "{}", proposal.toml);
    assert_eq!(fields("c"), "a to a, id int, body text", "{}", proposal.toml);
    // What stands in for a row is of the column's type.
    let stub = "stub = { id = \"{id}\", m = \"glad\", d = \"1970-01-01\", t = \"00:00:00\" }";
    assert!(proposal.toml.contains(stub), "{}", proposal.toml);
    site.init("alpha", &proposal.toml).unwrap();
    let review = map::check(site.path(), None, None).unwrap();
    let doubts: Vec<_> = review.findings.iter().filter(|finding| finding.weight != Weight::Note).collect();
    assert!(doubts.is_empty(), "{doubts:#?}");
}

/// The number of a row means another row elsewhere: it doesn't travel as a number.
#[test]
fn what_refers_to_a_table_that_takes_no_part_is_left_out_with_the_reason() {
    for kind in [Sqlite, Postgres] {
        let site = Site::without_instance(
            kind,
            "CREATE TABLE parts(id SERIAL PRIMARY KEY, code TEXT UNIQUE, body TEXT);
             CREATE TABLE pictures(id BYTEA PRIMARY KEY, number INTEGER UNIQUE, body TEXT);
             CREATE TABLE notes(id SERIAL PRIMARY KEY, body TEXT, picture_id INTEGER REFERENCES pictures(number), code TEXT REFERENCES parts(code))",
        );
        let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
        let found = |at: &str| {
            let found =
                proposal.findings.iter().find(|finding| (finding.kind, finding.at.as_str()) == ("reference", at));
            found.unwrap_or_else(|| panic!("{kind:?}: nothing of {at} in {:#?}", proposal.findings)).why.clone()
        };
        assert!(found("notes.picture_id").contains("pictures, which takes no part"), "{kind:?}");
        assert!(found("notes.code").contains("something else than its key"), "{kind:?}");
        site.init("alpha", &proposal.toml).unwrap();
        let review = map::check(site.path(), None, None).unwrap();
        assert!(review.findings.iter().all(|finding| finding.kind != "reference"), "{:#?}", review.findings);
    }
}

#[test]
fn a_table_of_too_many_columns_is_named() {
    let columns: Vec<String> = (0..1500).map(|number| format!("c{number} TEXT")).collect();
    let wide = format!("CREATE TABLE wide(id SERIAL PRIMARY KEY, {})", columns.join(", "));
    let site = Site::without_instance(Sqlite, &(wide + "; CREATE TABLE narrow(id SERIAL PRIMARY KEY, body TEXT)"));
    let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
    assert_eq!(proposal.datasets, ["narrow"]);
    assert!(proposal.findings.iter().any(|finding| finding.kind == "wide" && finding.why.contains("1501 columns")));
    let fields: String = (0..1500).map(|number| format!("c{number} = {{ type = \"text\" }}\n")).collect();
    let mapping = format!(
        "[dataset.wide]\ntable = \"wide\"\nkey = \"id\"\nscope = {{ constant = \"public\" }}\n[dataset.wide.fields]\n{fields}"
    );
    let error = site.init("alpha", &mapping).map(drop).unwrap_err();
    assert!(format!("{error:?}").contains("at most 1024 fields"), "{error:?}");
}

/// Triggers go also when the mapping doesn't fit any more: that is when they are in the way.
#[test]
fn triggers_are_removed_after_a_migration_that_the_mapping_does_not_know() {
    let mapping = "[capture]\nmode = \"triggers\"\n[dataset.notes]\ntable = \"notes\"\nkey = \"id\"\nscope = { constant = \"public\" }\n\
                   [dataset.notes.fields]\nbody = { type = \"text\" }\n";
    for kind in [Sqlite, Postgres] {
        let site = Site::new(kind, "alpha", "CREATE TABLE notes(id SERIAL PRIMARY KEY, body TEXT)", mapping);
        site.open().change_triggers(TriggerChange::Install).unwrap();
        site.sql("ALTER TABLE notes RENAME COLUMN body TO words");
        site.sql("INSERT INTO notes(words) VALUES('one')");
        assert!(site.open().triggers().is_err(), "{kind:?}");
        let planned = site.open().plan_triggers(TriggerChange::Uninstall).unwrap();
        assert!(!planned.is_empty());
        assert_eq!(site.open().change_triggers(TriggerChange::Uninstall).unwrap(), planned, "{kind:?}");
        assert_eq!(site.open().change_triggers(TriggerChange::Uninstall).unwrap(), Vec::<String>::new());
        let left = match kind {
            Sqlite => "SELECT name FROM sqlite_schema WHERE type = 'trigger'",
            Postgres => "SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal",
        };
        assert_eq!(site.lines(left), Vec::<String>::new());
        site.sql("UPDATE notes SET words = 'two'");
    }
}

/// SQLite keeps any value in any column, and frameworks write times and truth values in their own ways.
#[test]
fn types_are_proposed_by_what_the_columns_hold() {
    let site = Site::without_instance(
        Sqlite,
        "CREATE TABLE ev(id INTEGER PRIMARY KEY AUTOINCREMENT, usual DATETIME, iso DATETIME, millis DATETIME, mixed TIMESTAMP,
             flag BOOLEAN, word BOOLEAN, price DECIMAL, none DATETIME);
         INSERT INTO ev(usual, iso, millis, mixed, flag, word, price) VALUES
             ('2026-01-01 10:00:00', '2026-01-01T10:00:00.000Z', 1767261600000, '2026-01-01 10:00:00', 1, 'true', 12.5),
             ('2026-01-01 10:00:00.123456', '2026-01-01T10:00:00.001Z', 1767261600001, 1767261600, 0, 'false', '7.25');",
    );
    let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
    for line in [
        "usual = { type = \"timestamp\" }",
        "iso = { type = \"text\" }",
        "millis = { type = \"int\" }",
        "mixed = { type = \"timestamp\" }",
        "flag = { type = \"bool\" }",
        "word = { type = \"text\" }",
        "price = { type = \"decimal\" }",
        "none = { type = \"timestamp\" }",
    ] {
        assert!(proposal.toml.contains(line), "{line}: {}", proposal.toml);
    }
    let values = |findings: &[wbsync::connector::mapping::finding::Finding]| -> Vec<String> {
        let of_values = findings.iter().filter(|finding| finding.kind == "values");
        of_values.map(|finding| format!("{}: {}", finding.at, finding.why)).collect()
    };
    let found = values(&proposal.findings);
    assert!(found.contains(&"ev.mixed: 1 of 2 values that were looked at aren't what TIMESTAMP stands for".to_owned()));
    assert_eq!(found.len(), 4, "{found:?}");
    // The same of a mapping that was written by hand.
    let file = site.path().join("wbsync.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        map::check(site.path(), Some(&site.url), None).unwrap()
    };
    let review = check(&proposal.toml);
    assert_eq!(values(&review.findings).len(), 1, "{:#?}", review.findings);
    let review = check(&proposal.toml.replace("iso = { type = \"text\" }", "iso = { type = \"timestamp\" }"));
    let found = values(&review.findings);
    let told =
        "dataset.ev.fields.iso: 2 of 2 values that were looked at aren't as a field of type timestamp writes them";
    assert!(found.contains(&told.to_owned()), "{found:?}");
}

/// The bookkeeping is one for the whole database, and the same mapping fits the tables of another schema.
#[test]
fn tables_of_another_schema_are_not_taken_for_those_that_were_captured() {
    let mapping = "[dataset.notes]\ntable = \"notes\"\nkey = \"id\"\nscope = { constant = \"public\" }\n\
                   [dataset.notes.fields]\nbody = { type = \"text\" }\n";
    let site = Site::new(Postgres, "alpha", "CREATE TABLE notes(id SERIAL PRIMARY KEY, body TEXT)", mapping);
    site.sql("INSERT INTO notes(body) VALUES('one'); CREATE SCHEMA tenant; CREATE TABLE tenant.notes(LIKE notes INCLUDING ALL)");
    site.open().commit(Mode::Keep).unwrap();
    let file = site.path().join("wbsync.toml");
    let config = std::fs::read_to_string(&file).unwrap();
    let elsewhere = config.replace(&site.url, &format!("{}&options=-csearch_path%3Dtenant", site.url));
    assert_ne!(elsewhere, config);
    std::fs::write(&file, elsewhere).unwrap();
    let error = site.open().commit(Mode::Keep).unwrap_err();
    let told =
        "the address names the schema \"tenant\" of the database, and the rows of this instance are in \"public\"";
    assert_eq!(error.to_string(), told);
    assert!(site.open().apply(Mode::Keep).is_err());
    std::fs::write(&file, config).unwrap();
    assert_eq!(site.open().commit(Mode::Keep).unwrap().scopes.len(), 0);
}

#[test]
fn no_type_is_advised_for_what_can_not_be_mapped() {
    let site =
        Site::without_instance(Postgres, "CREATE TABLE hosts(id SERIAL PRIMARY KEY, name TEXT NOT NULL, place point)");
    let proposal = map::propose(site.path(), Some(&site.url)).unwrap();
    let place = proposal.findings.iter().find(|finding| finding.at == "hosts.place").unwrap();
    assert!(place.next.as_ref().is_some_and(|next| next.contains("no type of a field fits it")), "{place:?}");
}
