//! docs/any-schema.md does what it says: the test runs its commands, on the databases that it names and on others, and
//! compares what it shows.

use super::site::{Db, Kind, Postgres, Site, Sqlite};
use super::support::document::{Stage, select};

const SQLITE: &str = include_str!("../../fixtures/blog/sqlite.sql");
const POSTGRES: &str = include_str!("../../fixtures/blog/postgres.sql");

#[test]
fn the_page_holds_on_the_databases_that_it_names() {
    run([Sqlite, Postgres]);
}

#[test]
fn the_page_holds_between_two_on_sqlite() {
    run([Sqlite, Sqlite]);
}

#[test]
fn the_page_holds_between_two_on_postgresql() {
    run([Postgres, Postgres]);
}

fn run(kinds: [Kind; 2]) {
    let sites = kinds.map(|kind| Site::without_instance(kind, ""));
    for (site, kind) in sites.iter().zip(kinds) {
        site.sql(if kind == Sqlite { SQLITE } else { POSTGRES });
    }
    let [alpha, beta] = [&sites[0], &sites[1]];
    let own = |site: &str, command: &str| {
        let at = usize::from(site == "beta");
        let (tool, sql) = command.split_once(" \"")?;
        let is_database = tool.starts_with("sqlite3 ") || tool.starts_with("psql ");
        is_database.then(|| database(&sites[at], kinds[at], sql.strip_suffix('"').expect("the SQL is one argument")))
    };
    // The page has both beside each other.
    let stage = Stage::new("docs/any-schema.md").site("alpha", alpha.path()).site("beta", beta.path());
    let beside = stage.dir().join("beside");
    std::fs::create_dir(&beside).unwrap();
    let stage = stage.place("../", &format!("{}/", beside.display()));
    let stage = stage.place("sqlite:///blog.db", &url(alpha)).place("postgresql://blog@localhost/blog", &url(beta));
    let commands = stage.own(&own).run();
    assert!(commands > 50, "the page has a round");
    for site in &sites {
        assert!(site.is_quiet(), "what was written came back, {kinds:?}");
        assert_eq!(site.waiting(), Vec::<String>::new());
    }
    assert_eq!(alpha.roots(), beta.roots());
    // What stays home is nowhere at the other's.
    for (there, words) in [(1, ["scrypt-of-ann", "ann@example.org"]), (0, ["scrypt-of-bob", "bob@example.net"])] {
        let users = sites[there].lines("SELECT login || '|' || email || '|' || password_hash FROM users").join("\n");
        assert!(words.iter().all(|word| !users.contains(word)), "{users}");
    }
}

fn url(site: &Site) -> String {
    match &site.db {
        Db::Sqlite(_) => "sqlite:///app.db".to_owned(),
        Db::Postgres(_) => site.url.clone(),
    }
}

/// Runs a statement as the page's tool would, in the words of the database that there is.
fn database(site: &Site, kind: Kind, sql: &str) -> String {
    let sql = sql.replace("\\\"", "\"");
    let sql = match kind {
        Sqlite => sql.replace("encode(i.content, 'hex')", "lower(hex(i.content))"),
        Postgres => sql.replace("x'8950", "'\\x8950"),
    };
    // Keys that the page gives must not be given again by a sequence.
    if !sql.starts_with("SELECT") {
        site.sql(&sql);
        if kind == Postgres {
            for table in ["users", "posts", "images", "comments"] {
                site.sql(&format!("SELECT setval('{table}_id_seq', greatest(max(id), 1), count(*) > 0) FROM {table}"));
            }
        }
        return String::new();
    }
    match &site.db {
        Db::Sqlite(db) => select(db, &sql),
        Db::Postgres(db) => {
            let mut rows = String::new();
            for message in db.borrow_mut().simple_query(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
                if let postgres::SimpleQueryMessage::Row(row) = message {
                    let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
                    rows += &format!("{}\n", cells.join("|"));
                }
            }
            rows
        }
    }
}
