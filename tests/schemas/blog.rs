//! docs/any-schema.md does what it says: the test runs its commands, on the databases that it names and on others, and
//! compares what it shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::site::{Db, Kind, Postgres, Site, Sqlite};

const SQLITE: &str = include_str!("../../fixtures/blog/sqlite.sql");
const POSTGRES: &str = include_str!("../../fixtures/blog/postgres.sql");

/// A command of the page, and the lines below it.
struct Step {
    site: usize,
    command: String,
    shown: Vec<String>,
}

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
    let place = tempfile::tempdir().unwrap();
    let sites = kinds.map(|kind| Site::without_instance(kind, ""));
    for (site, kind) in sites.iter().zip(kinds) {
        site.sql(if kind == Sqlite { SQLITE } else { POSTGRES });
    }
    // The page has both beside each other.
    let dirs = ["alpha", "beta"].map(|name| place.path().join(name));
    for (dir, site) in dirs.iter().zip(&sites) {
        std::os::unix::fs::symlink(site.path(), dir).unwrap();
    }
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_wbsync"), bin.join("wbsync")).unwrap();
    let steps = steps(include_str!("../../docs/any-schema.md"));
    assert!(steps.len() > 50, "the page has a round");
    for step in &steps {
        let (site, kind) = (&sites[step.site], kinds[step.site]);
        let command = step
            .command
            .replace("sqlite:///blog.db", &url(site))
            .replace("postgresql://blog@localhost/blog", &url(site))
            .replace("../", &format!("{}/", place.path().display()));
        let found =
            match command.split_once(" \"").filter(|_| command.starts_with("sqlite3 ") || command.starts_with("psql "))
            {
                Some((_, sql)) => database(site, kind, sql.strip_suffix('"').expect("the SQL is one argument")),
                None => shell(&bin, site.path(), &command),
            };
        compare(step, &found, kinds);
    }
    for site in &sites {
        assert!(site.is_quiet(), "what was written came back, {kinds:?}");
        assert_eq!(site.waiting(), Vec::<String>::new());
    }
    assert_eq!(sites[0].roots(), sites[1].roots());
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
    let mut rows = String::new();
    match &site.db {
        Db::Sqlite(db) => {
            let mut select = db.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            let width = select.column_count();
            let mut found = select.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let cells: Vec<String> = (0..width)
                    .map(|at| match row.get_ref(at).unwrap() {
                        rusqlite::types::ValueRef::Null => String::new(),
                        rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                        other => other.as_str().unwrap().to_owned(),
                    })
                    .collect();
                rows += &format!("{}\n", cells.join("|"));
            }
        }
        Db::Postgres(db) => {
            for message in db.borrow_mut().simple_query(&sql).unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
                if let postgres::SimpleQueryMessage::Row(row) = message {
                    let cells: Vec<&str> = (0..row.len()).map(|at| row.get(at).unwrap_or("")).collect();
                    rows += &format!("{}\n", cells.join("|"));
                }
            }
        }
    }
    rows
}

/// Runs a command; a code that isn't 0 stands in brackets on a line of its own.
fn shell(bin: &Path, dir: &Path, command: &str) -> String {
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let done = Command::new("sh")
        .args(["-c", &format!("{command} 2>&1")])
        .current_dir(dir)
        .env_clear()
        .envs([
            ("PATH", path.as_str()),
            ("HOME", dir.to_str().unwrap()),
            ("NO_COLOR", "1"),
            ("TZ", "UTC"),
            ("LC_ALL", "C.UTF-8"),
        ])
        .output()
        .unwrap();
    let mut text = String::from_utf8(done.stdout).unwrap();
    if let Some(code) = done.status.code().filter(|code| *code != 0) {
        text += &format!("[{code}]\n");
    }
    text
}

/// Compares what came with what the page shows: its lines come in order, with nothing between them but where it has `…`.
fn compare(step: &Step, found: &str, kinds: [Kind; 2]) {
    let mut rest: Vec<&str> = found.lines().filter(|line| !line.is_empty()).collect();
    rest.reverse();
    let mut may_skip = false;
    for wanted in &step.shown {
        if wanted == "…" {
            may_skip = true;
            continue;
        }
        loop {
            let line = rest
                .pop()
                .unwrap_or_else(|| panic!("{kinds:?}: no line {wanted:?} of `{}` in:\n{found}", step.command));
            if matches(wanted, line) {
                break;
            }
            assert!(may_skip, "{kinds:?}: {line:?} instead of {wanted:?} of `{}` in:\n{found}", step.command);
        }
        may_skip = false;
    }
    assert!(may_skip || rest.is_empty(), "{kinds:?}: more than the page shows of `{}`:\n{found}", step.command);
    let failed = found.lines().last().is_some_and(|line| line.starts_with('['));
    assert_eq!(
        failed,
        step.shown.last().is_some_and(|line| line.starts_with('[')),
        "`{}` failed:\n{found}",
        step.command
    );
}

fn matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().expect("a split has a first part")) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (at, part) in parts.iter().enumerate() {
        if at + 1 == parts.len() {
            return rest.ends_with(part);
        }
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.is_empty()
}

fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_console = false;
    for line in page.lines() {
        match line {
            "```console" => is_console = true,
            "```" => is_console = false,
            _ if !is_console => {}
            line => match (line.strip_prefix("alpha$ "), line.strip_prefix("beta$ ")) {
                (Some(command), _) => steps.push(Step { site: 0, command: command.to_owned(), shown: Vec::new() }),
                (_, Some(command)) => steps.push(Step { site: 1, command: command.to_owned(), shown: Vec::new() }),
                _ => steps.last_mut().expect("a command comes first").shown.push(line.to_owned()),
            },
        }
    }
    steps
}
