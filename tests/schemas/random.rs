//! Random schemas with random mappings: whatever keys, references and types tables have, two instances end with equal roots
//! and rows, and a scan finds nothing that a capture by triggers missed.
//!
//! `WBSYNC_SEEDS` says how many schemas, `WBSYNC_SEED` with which to begin.

use wbsync::connector::capturing::TriggerChange;
use wbsync::testing::prng::Prng;

use super::site::{Kind, PAIRS, Postgres, Site, meet, settle};

/// What the key of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Number,
    Word,
    Two,
    /// Its first two references: the table links others many to many.
    Link,
}

#[derive(Debug)]
struct Reference {
    to: usize,
    not_null: bool,
    /// Whether a foreign key says so.
    is_declared: bool,
}

#[derive(Debug)]
struct Table {
    name: String,
    key: Key,
    /// Types of values, and whether each has to be there.
    plain: Vec<(&'static str, bool)>,
    refs: Vec<Reference>,
}

const TYPES: [(&str, &str); 6] = [
    ("text", "TEXT"),
    ("int", "INTEGER"),
    ("bool", "BOOLEAN"),
    ("float", "DOUBLE PRECISION"),
    ("timestamp", "TIMESTAMP"),
    ("bytes", "BYTEA"),
];

/// Some tables. A reference that has to be there leads to an earlier table; others lead anywhere: in circles, to the table
/// itself.
fn tables(random: &mut Prng) -> Vec<Table> {
    let count = 2 + random.below(3) as usize;
    let mut tables: Vec<Table> = (0..count)
        .map(|at| Table {
            name: format!("t{at}"),
            key: [Key::Number, Key::Number, Key::Word, Key::Two][random.below(4) as usize],
            plain: (0..random.below(4)).map(|_| (TYPES[random.below(6) as usize].0, random.chance(400))).collect(),
            refs: (0..random.below(3))
                .map(|_| {
                    let to = random.below(count as u64) as usize;
                    Reference { to, not_null: to < at && random.chance(400), is_declared: random.chance(600) }
                })
                .collect(),
        })
        .collect();
    let single: Vec<usize> = (0..count).filter(|at| tables[*at].key != Key::Two).collect();
    if !single.is_empty() {
        let end = |random: &mut Prng| single[random.below(single.len() as u64) as usize];
        let refs = [end(random), end(random)].map(|to| Reference { to, not_null: true, is_declared: true });
        tables.push(Table { name: "link".into(), key: Key::Link, plain: Vec::new(), refs: refs.into() });
    }
    tables
}

impl Table {
    /// The columns that others refer to.
    fn key(&self) -> Vec<(String, &'static str)> {
        match self.key {
            Key::Number => vec![("id".into(), "INTEGER")],
            Key::Word => vec![("word".into(), "TEXT")],
            Key::Two => vec![("hall".into(), "TEXT"), ("line".into(), "INTEGER")],
            Key::Link => vec![("r0".into(), ""), ("r1".into(), "")],
        }
    }
}

/// The columns of a reference, with their types and what they refer to.
fn columns(tables: &[Table], at: usize, reference: &Reference) -> Vec<(String, &'static str, String)> {
    let key = tables[reference.to].key();
    let name = |to: &str| if key.len() == 1 { format!("r{at}") } else { format!("r{at}_{to}") };
    key.iter().map(|(to, kind)| (name(to), *kind, to.clone())).collect()
}

fn names(columns: impl IntoIterator<Item = String>) -> String {
    columns.into_iter().collect::<Vec<_>>().join(", ")
}

fn schema(tables: &[Table], kind: Kind) -> String {
    let (mut sql, mut later) = (String::new(), String::new());
    for table in tables {
        let mut parts = Vec::new();
        match table.key {
            Key::Number => parts.push("id SERIAL PRIMARY KEY".to_owned()),
            Key::Word => parts.push("word TEXT NOT NULL PRIMARY KEY".to_owned()),
            Key::Two => parts.push("hall TEXT NOT NULL, line INTEGER NOT NULL, PRIMARY KEY (hall, line)".to_owned()),
            Key::Link => {}
        }
        if table.key != Key::Link {
            parts.insert(usize::from(table.key == Key::Number), "label TEXT NOT NULL".to_owned());
        }
        let null = |not_null| if not_null { " NOT NULL" } else { "" };
        let (mut keys, mut columns_of_refs) = (Vec::new(), Vec::new());
        for (at, reference) in table.refs.iter().enumerate() {
            let columns = columns(tables, at, reference);
            columns_of_refs
                .extend(columns.iter().map(|(name, kind, _)| format!("{name} {kind}{}", null(reference.not_null))));
            if reference.is_declared {
                let (from, to) =
                    (names(columns.iter().map(|it| it.0.clone())), names(columns.iter().map(|it| it.2.clone())));
                keys.push(format!("FOREIGN KEY ({from}) REFERENCES {}({to})", tables[reference.to].name));
            }
        }
        for (at, (plain, not_null)) in table.plain.iter().enumerate() {
            let (_, declared) = TYPES.iter().find(|(known, _)| known == plain).unwrap();
            columns_of_refs.push(format!("c{at} {declared}{}", null(*not_null)));
        }
        // Constraints come after all columns.
        let at = parts.iter().position(|part| part.contains("PRIMARY KEY (")).map(|at| parts.remove(at));
        if let Some(two) = at {
            let (columns, key) = two.split_once(", PRIMARY").unwrap();
            columns_of_refs.push(columns.to_owned());
            keys.insert(0, format!("PRIMARY{key}"));
        }
        if table.key == Key::Link {
            keys.insert(0, "PRIMARY KEY (r0, r1)".to_owned());
        }
        parts.extend(columns_of_refs);
        if kind == Postgres {
            let (own, foreign): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.starts_with("PRIMARY"));
            parts.extend(own);
            later.extend(foreign.iter().map(|key| format!("ALTER TABLE {} ADD {key};\n", table.name)));
        } else {
            parts.extend(keys);
        }
        sql += &format!("CREATE TABLE {}({});\n", table.name, parts.join(", "));
    }
    sql + &later
}

fn mapping(tables: &[Table], mode: &str) -> String {
    let quoted = |name: &String| format!("\"{name}\"");
    let mut text = String::new();
    for table in tables {
        let key: Vec<String> = table.key().iter().map(|(name, _)| quoted(name)).collect();
        text += &format!("[dataset.{0}]\ntable = \"{0}\"\nscope = {{ constant = \"public\" }}\n", table.name);
        text += &match key.as_slice() {
            [only] => format!("key = {only}\n"),
            several => format!("key = [{}]\n", several.join(", ")),
        };
        match table.key {
            Key::Link => text += "unique = [[\"r0\", \"r1\"]]\nsame = [\"r0\", \"r1\"]\n",
            _ => text += "fields.label = { type = \"text\" }\n",
        }
        if matches!(table.key, Key::Word | Key::Two) {
            for (name, kind) in table.key() {
                let kind = if kind == "TEXT" { "text" } else { "int" };
                text += &format!("fields.{name} = {{ type = \"{kind}\" }}\n");
            }
        }
        for (at, reference) in table.refs.iter().enumerate() {
            let columns: Vec<String> = columns(tables, at, reference).iter().map(|it| quoted(&it.0)).collect();
            let missing = if reference.not_null { "required = true" } else { "missing = \"null\"" };
            let column = if columns.len() == 1 { columns[0].clone() } else { format!("[{}]", columns.join(", ")) };
            let to = &tables[reference.to].name;
            text += &format!("fields.r{at} = {{ column = {column}, ref = \"{to}\", {missing} }}\n");
        }
        for (at, (plain, _)) in table.plain.iter().enumerate() {
            text += &format!("fields.c{at} = {{ type = \"{plain}\" }}\n");
        }
    }
    format!("{text}[capture]\nmode = \"{mode}\"\n")
}

/// Queries for what an application reads, in which nothing depends on the keys that a database gave.
fn shown(tables: &[Table]) -> Vec<String> {
    let one = |table: &Table| {
        let mut parts = Vec::new();
        if table.key != Key::Link {
            parts.push("x.label".to_owned());
        }
        for (at, reference) in table.refs.iter().enumerate() {
            let tests: Vec<String> =
                columns(tables, at, reference).iter().map(|(from, _, to)| format!("z.{to} = x.{from}")).collect();
            let to = &tables[reference.to].name;
            parts.push(format!("coalesce((SELECT z.label FROM {to} z WHERE {}), '-')", tests.join(" AND ")));
        }
        for (at, (plain, _)) in table.plain.iter().enumerate() {
            match *plain {
                "bool" => parts.push(format!("CASE WHEN x.c{at} THEN 'y' WHEN NOT x.c{at} THEN 'n' ELSE '-' END")),
                // Databases spell them in their own ways; the roots tell.
                "bytes" => {}
                _ => parts.push(format!("coalesce(CAST(x.c{at} AS TEXT), '-')")),
            }
        }
        format!("SELECT {} FROM {} x", parts.join(" || '|' || "), table.name)
    };
    tables.iter().map(one).collect()
}

/// Spells a value; none where one isn't needed, sometimes.
fn value(random: &mut Prng, kind: Kind, plain: &str, not_null: bool) -> String {
    let number = random.below(40);
    if !not_null && random.chance(300) {
        return "NULL".to_owned();
    }
    match plain {
        "text" => format!("'{}{number}'", ["", "a, b ", "ä\\ ", "''x "][random.below(4) as usize]),
        "int" => (number as i64 - 20).to_string(),
        "bool" => ["TRUE", "FALSE"][(number % 2) as usize].to_owned(),
        "float" => format!("{number}.5"),
        "timestamp" => format!("'2026-02-03 04:05:{:02}.000007'", number),
        _ if kind == Postgres => format!("'\\x00{number:02x}'"),
        _ => format!("X'00{number:02x}'"),
    }
}

/// What an application does to its rows; rows are deleted only if asked, and if none refers to them.
fn edit(site: &Site, tables: &[Table], random: &mut Prng, counter: &mut u64, deletes: bool) -> Option<String> {
    let (kind, at) = (site.kind(), random.below(tables.len() as u64) as usize);
    let table = &tables[at];
    let some = |random: &mut Prng, sql: &str| {
        let lines = site.lines(sql);
        (!lines.is_empty()).then(|| lines[random.below(lines.len() as u64) as usize].clone())
    };
    // The columns of a reference and what they are to hold.
    let refer = |random: &mut Prng, at: usize, reference: &Reference| {
        let to = &tables[reference.to].name;
        let label = some(random, &format!("SELECT label FROM {to}"));
        if reference.not_null && label.is_none() {
            return None;
        }
        let label = label.filter(|_| reference.not_null || random.chance(700));
        let hold = |(name, _, key): (String, &str, String)| match &label {
            Some(label) => (name, format!("(SELECT {key} FROM {to} WHERE label = '{label}')")),
            None => (name, "NULL".to_owned()),
        };
        Some(columns(tables, at, reference).into_iter().map(hold).collect::<Vec<_>>())
    };
    let set =
        |values: Vec<(String, String)>| names(values.into_iter().map(|(name, value)| format!("{name} = {value}")));
    let what = random.below(if deletes { 9 } else { 7 });
    if table.key == Key::Link {
        let mut values = Vec::new();
        for (at, reference) in table.refs.iter().enumerate() {
            values.extend(refer(random, at, reference)?);
        }
        if what >= 7 {
            let tests: Vec<String> = values.iter().map(|(name, value)| format!("{name} = {value}")).collect();
            return Some(format!("DELETE FROM link WHERE {}", tests.join(" AND ")));
        }
        let (name, value): (Vec<String>, Vec<String>) = values.into_iter().unzip();
        let (names, values) = (names(name), names(value));
        return Some(format!("INSERT INTO link({names}) SELECT {values} WHERE TRUE ON CONFLICT DO NOTHING"));
    }
    if what >= 7 {
        let mut tests = vec!["TRUE".to_owned()];
        for child in tables {
            for (number, reference) in child.refs.iter().enumerate().filter(|(_, reference)| reference.to == at) {
                let columns = columns(tables, number, reference);
                let same: Vec<String> = columns.iter().map(|(from, _, to)| format!("y.{from} = x.{to}")).collect();
                tests.push(format!("NOT EXISTS (SELECT 1 FROM {} y WHERE {})", child.name, same.join(" AND ")));
            }
        }
        let label = some(random, &format!("SELECT x.label FROM {} x WHERE {}", table.name, tests.join(" AND ")))?;
        return Some(format!("DELETE FROM {} WHERE label = '{label}'", table.name));
    }
    let label = some(random, &format!("SELECT label FROM {}", table.name));
    match (what, label) {
        (3 | 4, Some(label)) if !table.plain.is_empty() => {
            let column = random.below(table.plain.len() as u64) as usize;
            let (plain, not_null) = table.plain[column];
            let value = value(random, kind, plain, not_null);
            Some(format!("UPDATE {} SET c{column} = {value} WHERE label = '{label}'", table.name))
        }
        (5 | 6, Some(label)) if !table.refs.is_empty() => {
            let which = random.below(table.refs.len() as u64) as usize;
            let values = refer(random, which, &table.refs[which])?;
            Some(format!("UPDATE {} SET {} WHERE label = '{label}'", table.name, set(values)))
        }
        _ => {
            *counter += 1;
            let mut values = vec![("label".to_owned(), format!("'l{counter}'"))];
            let odd = ["a", "a,b", "a\\", "ä"][random.below(4) as usize];
            match table.key {
                Key::Word => values.push(("word".into(), format!("'{odd}{counter}'"))),
                Key::Two => values.extend([("hall".into(), format!("'{odd}'")), ("line".into(), counter.to_string())]),
                Key::Number | Key::Link => {}
            }
            for (number, reference) in table.refs.iter().enumerate() {
                values.extend(refer(random, number, reference)?);
            }
            for (number, (plain, not_null)) in table.plain.iter().enumerate() {
                values.push((format!("c{number}"), value(random, kind, plain, *not_null)));
            }
            let (name, value): (Vec<String>, Vec<String>) = values.into_iter().unzip();
            Some(format!("INSERT INTO {}({}) VALUES({})", table.name, names(name), names(value)))
        }
    }
}

/// A scan finds nothing that wasn't captured, whatever the mode.
fn is_quiet_by_scan(site: &Site) -> bool {
    let path = site.path().join("wbsync.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("mode = \"triggers\"", "mode = \"scan\"")).unwrap();
    let is_quiet = site.is_quiet();
    std::fs::write(&path, text).unwrap();
    is_quiet
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that fails tells what it did")]
fn tables_of_any_shape_end_equal() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").map_or(4, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("WBSYNC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut random = Prng::new(seed);
        let tables = tables(&mut random);
        let kinds = PAIRS[(seed % 2) as usize];
        let modes = if seed % 4 < 2 { ["triggers", "scan"] } else { ["scan", "triggers"] };
        eprintln!("seed {seed}, {kinds:?}, {modes:?}\n{}\n{}", schema(&tables, kinds[1]), mapping(&tables, modes[0]));
        let sites = [("alpha", 0), ("beta", 1)].map(|(name, at)| {
            let site = Site::new(kinds[at], name, &schema(&tables, kinds[at]), &mapping(&tables, modes[at]));
            if modes[at] == "triggers" {
                site.open().change_triggers(TriggerChange::Install).unwrap();
            }
            site
        });
        let stick = tempfile::tempdir().unwrap();
        meet(&sites[0], &sites[1], "beta", stick.path());
        meet(&sites[1], &sites[0], "alpha", stick.path());
        let shown = shown(&tables);
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        let mut counter = 0;
        for round in 0..4 {
            // Both at once, or one alone, which may delete then.
            let who = random.below(4);
            for (at, site) in sites.iter().enumerate().filter(|(at, _)| who > 1 || who == *at as u64) {
                for _ in 0..random.below(12) + 3 {
                    if let Some(sql) = edit(site, &tables, &mut random, &mut counter, who < 2) {
                        eprintln!("round {round}, {at}: {sql}");
                        site.sql(&sql);
                    }
                }
            }
            settle(&sites[0], &sites[1], &shown);
            for site in &sites {
                assert!(is_quiet_by_scan(site), "seed {seed}, round {round}: the triggers missed something");
            }
        }
    }
}
