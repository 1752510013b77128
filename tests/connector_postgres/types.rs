//! Every logical type on both databases: what one holds the other gives back, and what one can't hold waits, visibly, and
//! is nobody else's trouble.

use std::collections::BTreeMap;

use tempfile::TempDir;
use wbsync::connector::capturing::Capturing;
use wbsync::connector::contract::{Connector, Seen, Sighting};
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::id::name::FieldName;
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;
use wbsync::testing::prng::Prng;

use super::database::Database;
use super::harness::*;
use super::sqlite;

/// Column, type that travels, type on SQLite, type on PostgreSQL.
const COLUMNS: [(&str, &str, &str, &str); 25] = [
    ("flag", "bool", "BOOLEAN", "boolean"),
    ("small", "int", "INTEGER", "smallint"),
    ("whole", "int", "BIGINT", "bigint"),
    ("single", "float", "REAL", "real"),
    ("double", "float", "REAL", "double precision"),
    ("exact", "decimal", "TEXT", "numeric"),
    ("price", "decimal", "TEXT", "numeric(12, 3)"),
    ("word", "text", "TEXT", "text"),
    ("short", "text", "VARCHAR(5)", "varchar(5)"),
    ("raw", "bytes", "BLOB", "bytea"),
    ("at", "timestamp", "DATETIME", "timestamp"),
    ("since", "timestamp", "DATETIME", "timestamptz"),
    ("day", "text", "DATE", "date"),
    ("clock", "text", "TIME", "time"),
    ("zoned", "text", "TEXT", "timetz"),
    ("ident", "text", "TEXT", "uuid"),
    ("mood", "text", "TEXT", "mood"),
    ("doc", "json", "JSON", "json"),
    ("words", "list:text", "JSON", "text[]"),
    ("numbers", "list:int", "JSON", "bigint[]"),
    ("flags", "list:bool", "TEXT", "boolean[]"),
    ("doubles", "list:float", "JSON", "double precision[]"),
    ("prices", "list:decimal", "TEXT", "numeric[]"),
    ("times", "list:timestamp", "JSON", "timestamp[]"),
    ("raws", "list:bytes", "TEXT", "bytea[]"),
];

fn schema(types: impl Fn(&(&str, &str, &str, &str)) -> String, key: &str) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("\"{}\" {}", column.0, types(column))).collect();
    format!("CREATE TABLE things (id {key}, beside integer NOT NULL DEFAULT 0, {})", columns.join(", "))
}

fn own() -> String {
    let mut own = "[dataset.things]\ntable = \"things\"\nkey = \"id\"\nscope = { constant = \"public\" }\n\
         [dataset.things.fields]\nbeside = { type = \"int\" }\n"
        .to_owned();
    for (name, kind, ..) in COLUMNS {
        own += &format!("{name} = {{ type = \"{kind}\" }}\n");
    }
    own
}

/// An application with the table, on either database.
struct Side {
    name: &'static str,
    _dir: TempDir,
    sync: SqlConnector,
    run: Box<dyn Fn(&str)>,
    text: Box<dyn Fn(&str) -> String>,
}

impl Side {
    fn on_postgres() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = std::rc::Rc::new(Database::new(dir.path()));
        db.batch("CREATE TYPE mood AS ENUM ('glad', 'sad')");
        db.batch(&schema(|column| column.3.to_owned(), "bigserial PRIMARY KEY"));
        let sync = db.connect(dir.path(), mapping(&own()), Capturing::Scan);
        let reading = db.clone();
        let text = move |sql: &str| format!("{:?}", reading.rows(sql));
        Self { name: "PostgreSQL", _dir: dir, sync, run: Box::new(move |sql| db.batch(sql)), text: Box::new(text) }
    }

    fn on_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = std::rc::Rc::new(sqlite::Database::new(dir.path()));
        db.batch(&schema(|column| column.2.to_owned(), "INTEGER PRIMARY KEY"));
        let sync = db.connect(dir.path(), mapping(&own()), Capturing::Scan);
        let reading = db.clone();
        let text = move |sql: &str| format!("{:?}", reading.rows(sql));
        Self { name: "SQLite", _dir: dir, sync, run: Box::new(move |sql| db.batch(sql)), text: Box::new(text) }
    }

    fn settle(&mut self) -> Vec<Sighting> {
        let mut seen = Vec::new();
        let capture = self.sync.capture(NOW, &mut |sighting| {
            seen.push(sighting);
            Ok(())
        });
        let position = self.sync.position().unwrap();
        self.sync.settle(&capture.unwrap(), &position).unwrap();
        seen.retain(|seen| seen.id.dataset.as_str() == "things");
        seen
    }

    /// Applies records, and returns why each that waits does.
    fn apply(&mut self, records: &[(RecordId, Vec<(&str, Value)>)]) -> BTreeMap<String, String> {
        let target = [self.sync.position().unwrap().applied, vec![1]].concat();
        self.sync.begin_apply(&target).unwrap();
        let mut changes = records.iter().map(|(id, fields)| Ok(put(id, fields)));
        self.sync.apply(&mut changes, &mut |_| {}).unwrap();
        self.sync.finish_apply().unwrap();
        assert_eq!(self.settle(), [], "{}: what was applied came back", self.name);
        let (parked, _) = self.sync.parked(1_000).unwrap();
        parked.into_iter().map(|parked| (parked.record, parked.reason)).collect()
    }

    /// What all rows say, once the application has edited each beside the values.
    fn told(&mut self) -> BTreeMap<RecordId, BTreeMap<FieldName, Value>> {
        (self.run)("UPDATE things SET beside = beside + 1");
        let fields = |sighting: Sighting| match sighting.seen {
            Seen::Row { mut fields, .. } => {
                fields.remove(&field("beside"));
                (sighting.id, fields)
            }
            Seen::Gone => panic!("{} is gone", sighting.id),
        };
        self.settle().into_iter().map(fields).collect()
    }
}

fn letters(random: &mut Prng, most: u64) -> String {
    let letters = ['a', 'Z', ' ', '"', '\\', '\'', '{', '}', ',', '\n', '\r', 'ä', '\u{2028}', '\u{1f6f6}', '[', '0'];
    (0..random.below(most + 1)).map(|_| letters[random.below(letters.len() as u64) as usize]).collect()
}

fn number(random: &mut Prng) -> i64 {
    match random.below(5) {
        0 => i64::MAX,
        1 => i64::MIN,
        2 => random.below(10) as i64,
        _ => (random.below(u64::MAX) as i64) >> random.below(60),
    }
}

fn float(random: &mut Prng) -> f64 {
    match random.below(6) {
        0 => 0.1,
        1 => f64::MAX,
        2 => f64::MIN_POSITIVE,
        3 => number(random) as f64,
        _ => f64::from_bits(random.below(u64::MAX) & !(0x7ff << 52) | (random.below(2000) + 20) << 52),
    }
}

fn decimal(random: &mut Prng, digits: u64, places: u64) -> String {
    let sign = if random.below(2) == 0 { "-" } else { "" };
    let digit = |random: &mut Prng| char::from(b'0' + random.below(10) as u8);
    let whole: String = (0..random.below(digits) + 1).map(|_| digit(random)).collect();
    let fraction: String = (0..random.below(places + 1)).map(|_| digit(random)).collect();
    // As values travel: no zeros that say nothing, and no minus before nothing.
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{}.{fraction}", if whole.is_empty() { "0" } else { whole }),
    }
}

fn moment(random: &mut Prng) -> i64 {
    match random.below(4) {
        0 => -62_135_596_800_000_000,
        1 => 253_402_300_799_999_999,
        _ => random.below(4_000_000_000_000_000) as i64 - 1_000_000_000_000_000,
    }
}

/// Makes a value that both databases hold in a column.
fn value(random: &mut Prng, column: &(&str, &str, &str, &str)) -> Value {
    if random.below(8) == 0 {
        return Value::Null;
    }
    let below = |random: &mut Prng, bound: u64| random.below(bound);
    match (column.0, column.1) {
        ("small", _) => Value::Int(below(random, 65_536) as i64 - 32_768),
        ("single", _) => Value::Float((float(random) as f32).to_string().parse().unwrap()),
        ("price", _) => Value::Decimal(decimal(random, 9, 3)),
        ("short", _) => Value::Text(letters(random, 5)),
        ("day", _) => Value::Text(format!(
            "{:04}-{:02}-{:02}",
            below(random, 9_999) + 1,
            below(random, 12) + 1,
            below(random, 28) + 1
        )),
        ("clock" | "zoned", _) => {
            let clock = [24, 60, 60].map(|bound| format!("{:02}", below(random, bound))).join(":");
            let zone = ["+00", "+02", "-05:30", "+00:00:30"][below(random, 4) as usize];
            let micros = format!(".{:06}", below(random, 1_000_000));
            Value::Text(clock + &micros + if column.0 == "zoned" { zone } else { "" })
        }
        ("ident", _) => {
            Value::Text(format!("{:08x}-d9cb-469f-a165-{:012x}", below(random, 1 << 32), below(random, 1 << 48)))
        }
        ("mood", _) => text(["glad", "sad"][below(random, 2) as usize]),
        (_, "bool") => Value::Bool(below(random, 2) == 0),
        (_, "int") => Value::Int(number(random)),
        (_, "float") => Value::Float(float(random)),
        (_, "decimal") => Value::Decimal(decimal(random, 40, 20)),
        (_, "bytes") => Value::Bytes((0..below(random, 9)).map(|_| below(random, 256) as u8).collect()),
        (_, "timestamp") => Value::Timestamp(moment(random)),
        (_, "json") => Value::Json(format!("{{\"b\" : {}, \"a\": [\"x\\u00e4\", null]}}", below(random, 99))),
        (_, list) => {
            let kind = list.strip_prefix("list:").unwrap_or("text");
            let item = ("", kind, "", "");
            let items = |random: &mut Prng, count: u64| (0..count).map(|_| value(random, &item)).collect::<Vec<_>>();
            if kind == list {
                return Value::Text(letters(random, 12));
            }
            let count = below(random, 4);
            match below(random, 4) {
                // As arrays of arrays are: of one length.
                0 => Value::List((0..2).map(|_| Value::List(items(random, count + 1))).collect()),
                _ => Value::List(items(random, count)),
            }
        }
    }
}

/// Both databases are given the same random rows, and say the same of them: what they were given.
#[test]
fn all_types_say_the_same_on_both_databases() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").map_or(4, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("WBSYNC_SEED").map_or(0, |seed| seed.parse().unwrap());
    for seed in first..first + seeds {
        let mut random = Prng::new(seed);
        let records: Vec<_> = (0..60)
            .map(|at| {
                let fields = COLUMNS.iter().map(|column| (column.0, value(&mut random, column))).collect();
                (id(BETA, "things", at), fields)
            })
            .collect();
        for mut side in [Side::on_postgres(), Side::on_sqlite()] {
            assert_eq!(side.apply(&records), BTreeMap::new(), "seed {seed}, {}", side.name);
            let told = side.told();
            for (id, fields) in &records {
                for (name, given) in fields {
                    let found = told[id].get(&field(name));
                    let is_same = found.is_some_and(|found| found.same(given));
                    assert!(is_same, "seed {seed}, {}, {name}: {found:?} for {given:?}", side.name);
                }
            }
            // Given once more, nothing is written.
            let before = (side.text)("SELECT * FROM things ORDER BY id");
            side.apply(&records.iter().map(|(id, fields)| (id.clone(), fields.clone())).collect::<Vec<_>>());
            assert_eq!((side.text)("SELECT * FROM things ORDER BY id"), before, "{}", side.name);
        }
    }
}

/// What rows of PostgreSQL's own making say is what another PostgreSQL shows after it went by way of SQLite.
#[test]
fn rows_come_back_from_the_other_database_as_they_were() {
    let rows = [
        "flag = TRUE, small = -32768, whole = 9223372036854775807, single = 0.1, double = 1e-300",
        "exact = 123456789012345678901234567890.0123456789, price = -999999999.999, word = E'a\\r\\n\\\\', short = 'äöüßé'",
        "raw = '\\x00ff', at = '2026-02-03 04:05:06.000007', since = '2026-02-03 04:05:06+05:30', day = '0001-01-01'",
        "clock = '24:00:00', zoned = '23:59:59.999999-05:30', ident = '0f8fad5b-d9cb-469f-a165-70867728950e', mood = 'sad'",
        "doc = '{\"b\":1,  \"a\" : [2]}', words = '{\"a \\\"b\\\\\\\\\",NULL,\"\",null,\"NULL\",\"{}\"}', numbers = '{{1,NULL},{3,4}}'",
        "flags = '{t,f,NULL}', doubles = '{NaN,Infinity,-Infinity,0.1,2}', prices = '{1.5,12345678901234567890}'",
        "times = '{\"2026-02-03 04:05:06\",NULL}', raws = '{\"\\\\x00ff\",\"\\\\x\"}', words = '{}'",
    ];
    let (mut there, mut between, mut back) = (Side::on_postgres(), Side::on_sqlite(), Side::on_postgres());
    for row in rows {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        // Commas also stand within values: each assignment begins with the name of a column.
        for (at, (name, ..)) in COLUMNS.iter().enumerate() {
            let start = format!("{name} = ");
            let Some(from) = row.find(&start).filter(|from| *from == 0 || row[..*from].ends_with(", ")) else {
                continue;
            };
            let rest = &row[from + start.len()..];
            let ends = COLUMNS.iter().filter_map(|(other, ..)| rest.find(&format!(", {other} = ")));
            names.push(format!("\"{}\"", COLUMNS[at].0));
            values.push(rest[..ends.min().unwrap_or(rest.len())].to_owned());
        }
        assert!(names.len() > 2, "{row}");
        (there.run)(&format!("INSERT INTO things({}) VALUES({})", names.join(", "), values.join(", ")));
    }
    let told = |seen: Vec<Sighting>| -> Vec<(RecordId, Vec<(FieldName, Value)>)> {
        seen.into_iter()
            .map(|sighting| match sighting.seen {
                Seen::Row { fields, .. } => (RecordId { origin: BETA, ..sighting.id }, fields.into_iter().collect()),
                Seen::Gone => panic!("{} is gone", sighting.id),
            })
            .collect()
    };
    let borrowed = |records: &[(RecordId, Vec<(FieldName, Value)>)]| {
        let fields = |fields: &[(FieldName, Value)]| -> Vec<(&'static str, Value)> {
            let name = |name: &FieldName| COLUMNS.iter().map(|column| column.0).find(|known| *known == name.as_str());
            fields.iter().map(|(known, value)| (name(known).unwrap_or("beside"), value.clone())).collect()
        };
        records.iter().map(|(id, all)| (id.clone(), fields(all))).collect::<Vec<_>>()
    };
    let first = told(there.settle());
    assert_eq!(first.len(), rows.len());
    assert_eq!(between.apply(&borrowed(&first)), BTreeMap::new());
    let by_sqlite: Vec<_> = between.told().into_iter().map(|(id, fields)| (id, fields.into_iter().collect())).collect();
    assert_eq!(back.apply(&borrowed(&by_sqlite)), BTreeMap::new());
    let columns: Vec<String> = COLUMNS.iter().map(|column| format!("\"{}\"::text", column.0)).collect();
    let order: Vec<String> = (1..=columns.len()).map(|at| at.to_string()).collect();
    let sql = format!("SELECT {} FROM things ORDER BY {}", columns.join(", "), order.join(", "));
    assert_eq!((back.text)(&sql), (there.text)(&sql));
}

/// What a database can't hold: the record waits with the reason, the others are written, and nothing is refused as a whole.
#[test]
fn what_a_database_cannot_hold_waits_and_says_why() {
    let list = |items: Vec<Value>| Value::List(items);
    let cases = [
        // (column, value, refused by PostgreSQL, refused by SQLite)
        ("word", text("nul\0"), true, false),
        ("words", list(vec![text("nul\0")]), true, false),
        ("short", text("too long"), true, false),
        ("small", Value::Int(40_000), true, false),
        ("exact", Value::Decimal("9".repeat(900)), false, false),
        ("price", Value::Decimal("12345678901.5".into()), true, false),
        ("single", Value::Float(1e300), true, false),
        ("double", Value::Float(f64::NAN), false, true),
        ("at", Value::Timestamp(i64::MAX), true, true),
        ("at", text("infinity"), true, true),
        ("since", Value::Timestamp(-62_135_596_800_000_001), true, true),
        ("exact", text("NaN"), true, true),
        ("day", text("2026-02-30"), true, false),
        ("clock", text("25:00:00"), true, false),
        ("zoned", text("noon"), true, false),
        ("ident", text("none"), true, false),
        ("mood", text("furious"), true, false),
        ("doc", Value::Json("{".into()), true, false),
        ("numbers", list(vec![text("x")]), true, true),
        ("numbers", list(vec![list(vec![Value::Int(1)]), Value::Int(2)]), true, false),
        ("prices", list(vec![Value::Decimal("x".into())]), true, true),
        ("flag", Value::Int(1), true, true),
        ("raw", text("00"), true, true),
    ];
    for mut side in [Side::on_postgres(), Side::on_sqlite()] {
        let mut records: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(at, case)| (id(BETA, "things", at as u8), vec![(case.0, case.1.clone())]))
            .collect();
        records.push((id(BETA, "things", 200), vec![("word", text("fine"))]));
        let parked = side.apply(&records);
        for (at, (name, value, postgres, sqlite)) in cases.iter().enumerate() {
            let is_refused = if side.name == "SQLite" { *sqlite } else { *postgres };
            let reason = parked.get(&records[at].0.to_string());
            assert_eq!(reason.is_some(), is_refused, "{}, {name}, {value:?}: {reason:?}", side.name);
            assert!(reason.is_none_or(|reason| reason.len() > 15), "{reason:?}");
        }
        let written = cases.len() + 1 - parked.len();
        assert_eq!((side.text)("SELECT count(*) FROM things"), format!("[[Integer({written})]]"));
        // Once it says something else, it is written.
        let better: Vec<_> = records.iter().map(|(id, _)| (id.clone(), vec![("word", text("better"))])).collect();
        assert_eq!(side.apply(&better), BTreeMap::new());
        assert_eq!(
            (side.text)("SELECT count(*) FROM things WHERE word = 'better'"),
            format!("[[Integer({})]]", records.len())
        );
    }
}

/// What PostgreSQL holds and a type of ours doesn't have travels as the text that it is, and waits elsewhere.
#[test]
fn what_only_postgres_holds_travels_as_a_text() {
    let mut side = Side::on_postgres();
    (side.run)(
        "INSERT INTO things(at, exact, double, words) VALUES('infinity', 'NaN', 'NaN', '[0:1]={a,b}'), ('-infinity', 1, 1, '{}')",
    );
    let seen = side.settle();
    assert_eq!(shown(&seen[0], "at"), Some(text("infinity")));
    assert_eq!(shown(&seen[0], "exact"), Some(text("NaN")));
    assert_eq!(shown(&seen[0], "words"), Some(text("[0:1]={\"a\",\"b\"}")));
    assert!(matches!(shown(&seen[0], "double"), Some(Value::Float(value)) if value.is_nan()));
    assert_eq!(shown(&seen[1], "at"), Some(text("-infinity")));
    assert_eq!(shown(&seen[1], "words"), Some(Value::List(Vec::new())));
    for mut other in [Side::on_sqlite(), Side::on_postgres()] {
        let fields = vec![("at", text("infinity")), ("words", text("[0:1]={\"a\",\"b\"}"))];
        let parked = other.apply(&[(id(BETA, "things", 1), fields)]);
        assert!(parked.values().all(|reason| reason.contains("at holds a text where")), "{parked:?}");
        assert_eq!(parked.len(), 1);
    }
}
