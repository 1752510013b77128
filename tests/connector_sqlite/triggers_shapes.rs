//! Both ways of capturing report the same where tables have keys of several columns, refer to each other in circles and to
//! themselves, and link others many to many.

use wbsync::connector::contract::{Change, Connector};
use wbsync::record::value::Value;
use wbsync::testing::prng::Prng;

use super::database::SERIAL;
use super::harness::*;
use super::triggers::{Edit, Side};

fn schema() -> String {
    format!(
        "CREATE TABLE groups (id {SERIAL}, name TEXT NOT NULL, up_id INTEGER, head_id INTEGER, scope TEXT NOT NULL);
         CREATE TABLE notes (id {SERIAL}, group_id INTEGER NOT NULL, reply_id INTEGER, body TEXT NOT NULL);
         CREATE TABLE labels (word TEXT NOT NULL PRIMARY KEY, colour TEXT);
         CREATE TABLE note_labels (note_id INTEGER NOT NULL, word TEXT NOT NULL, weight INTEGER, PRIMARY KEY (note_id, word));
         CREATE TABLE seats (hall TEXT NOT NULL, line INTEGER NOT NULL, free INTEGER, scope TEXT NOT NULL, PRIMARY KEY (hall, line));
         CREATE TABLE bookings (id {SERIAL}, hall TEXT, line INTEGER, who TEXT NOT NULL)"
    )
}

/// Groups are in a tree and name a note as their head; notes are in groups, and reply to notes: a circle with two loops.
const MAPPING: &str = r#"
[dataset.groups]
table = "groups"
key = "id"
scope = { column = "scope" }
fields.name = { type = "text" }
fields.up = { column = "up_id", ref = "groups", missing = "null", required = false }
fields.head = { column = "head_id", ref = "notes", missing = "null" }
[dataset.notes]
table = "notes"
key = "id"
scope = { parents = ["group"] }
fields.group = { column = "group_id", ref = "groups", required = true }
fields.reply = { column = "reply_id", ref = "notes", required = true }
fields.body = { type = "text" }
[dataset.labels]
table = "labels"
key = "word"
scope = { constant = "public" }
unique = [["word"]]
same = ["word"]
fields.word = { type = "text" }
fields.colour = { type = "text" }
[dataset.note_labels]
table = "note_labels"
key = ["note_id", "word"]
scope = { parents = ["note", "label"] }
unique = [["note", "label"]]
same = ["note", "label"]
fields.note = { column = "note_id", ref = "notes", required = true }
fields.label = { column = "word", ref = "labels", required = true }
fields.weight = { type = "int" }
[dataset.seats]
table = "seats"
key = ["hall", "line"]
scope = { column = "scope" }
fields.hall = { type = "text" }
fields.line = { type = "int" }
fields.free = { type = "int" }
[dataset.bookings]
table = "bookings"
key = "id"
scope = { constant = "public" }
fields.seat = { column = ["hall", "line"], ref = "seats", required = true }
fields.who = { type = "text" }
"#;

/// Something that happens to the rows, the same on both sides. Foreign keys aren't enforced: references may lead nowhere.
fn edit(random: &mut Prng) -> Edit {
    let scope = ["public", "trusted", "private", "odd"][random.below(4) as usize];
    let (a, b, word) = (random.below(7) + 1, random.below(7) + 1, random.below(50));
    let label = ["red", "a,b", "a\\", "ä"][random.below(4) as usize];
    let hall = ["x", "a,b"][random.below(2) as usize];
    let at_or_null = |random: &mut Prng, at: u64| if random.below(3) == 0 { "NULL".to_owned() } else { at.to_string() };
    Edit::Sql(match random.below(22) {
        0..=2 => {
            let up = at_or_null(random, b);
            format!("INSERT INTO groups(name, up_id, scope) VALUES('g{word}', {up}, '{scope}')")
        }
        3..=5 => {
            let reply = at_or_null(random, b);
            format!("INSERT INTO notes(group_id, reply_id, body) VALUES({a}, {reply}, 'n{word}')")
        }
        6 => format!("UPDATE groups SET up_id = {} WHERE id = {a}", at_or_null(random, b)),
        7 => format!("UPDATE groups SET head_id = {} WHERE id = {a}", at_or_null(random, b)),
        8 => format!("UPDATE groups SET scope = '{scope}' WHERE id = {a}"),
        9 => format!("UPDATE notes SET reply_id = {}, body = 'm{word}' WHERE id = {a}", at_or_null(random, b)),
        10 => format!("UPDATE notes SET group_id = {b} WHERE id = {a}"),
        11 => format!("DELETE FROM groups WHERE id = {a}"),
        12 => format!("DELETE FROM notes WHERE id = {a}"),
        13 => format!(
            "INSERT INTO labels SELECT '{label}', 'c{word}' WHERE NOT EXISTS (SELECT 1 FROM labels WHERE word = '{label}')"
        ),
        14 => format!("UPDATE labels SET colour = 'd{word}' WHERE word = '{label}'"),
        15 => format!("DELETE FROM labels WHERE word = '{label}'"),
        16 | 17 => format!(
            "INSERT INTO note_labels SELECT {a}, '{label}', {word}
             WHERE NOT EXISTS (SELECT 1 FROM note_labels WHERE note_id = {a} AND word = '{label}')"
        ),
        18 => format!("UPDATE note_labels SET weight = weight + 1 WHERE note_id = {a}"),
        19 => format!("DELETE FROM note_labels WHERE word = '{label}' AND note_id = {a}"),
        20 => format!(
            "INSERT INTO seats SELECT '{hall}', {a}, {word}, '{scope}'
             WHERE NOT EXISTS (SELECT 1 FROM seats WHERE hall = '{hall}' AND line = {a});
             INSERT INTO bookings(hall, line, who) VALUES('{hall}', {b}, 'w{word}')"
        ),
        _ => match random.below(4) {
            0 => format!("UPDATE seats SET line = line + 10 WHERE hall = '{hall}' AND line = {a}"),
            1 => format!("UPDATE seats SET scope = '{scope}', free = {word} WHERE line = {a}"),
            2 => format!("DELETE FROM seats WHERE hall = '{hall}'; UPDATE bookings SET who = 'v{word}' WHERE id = {b}"),
            _ => return arrival(random),
        },
    })
}

/// Records of another instance that refer to each other.
fn arrival(random: &mut Prng) -> Edit {
    let number = |random: &mut Prng| random.below(3) as u8 + 1;
    let (one, other) = (id(BETA, "groups", number(random)), id(BETA, "groups", number(random)));
    let (note, reply) = (id(BETA, "notes", number(random) + 10), id(BETA, "notes", number(random) + 10));
    let refer =
        |to: &_, random: &mut Prng| if random.below(3) == 0 { Value::Null } else { Value::Ref(Clone::clone(to)) };
    let word = format!("f{}", random.below(50));
    let changes: Vec<Change> = match random.below(4) {
        0 => vec![gone(&note)],
        1 => vec![gone(&note), gone(&one)],
        _ => vec![
            put(&one, &[("name", text(&word)), ("up", refer(&other, random)), ("head", refer(&note, random))]),
            put(&note, &[("group", Value::Ref(one.clone())), ("reply", refer(&reply, random)), ("body", text(&word))]),
        ],
    };
    Edit::Apply(changes)
}

#[test]
fn both_ways_find_the_same_in_tables_of_every_shape() {
    let seeds: u64 = std::env::var("WBSYNC_SEEDS").map_or(10, |seeds| seeds.parse().unwrap());
    let first: u64 = std::env::var("WBSYNC_SEED").map_or(0, |seed| seed.parse().unwrap());
    let mut reported = 0;
    for seed in first..first + seeds {
        let mut plain = App::with(&schema(), MAPPING);
        plain.settle();
        let mut sides = [Side::new(plain), Side::new(App::with(&schema(), MAPPING).watched())];
        for side in &mut sides {
            side.step(false, &[]);
        }
        let mut random = Prng::new(seed);
        for round in 1..12 {
            let edits: Vec<Edit> = (0..random.below(8) + 1).map(|_| edit(&mut random)).collect();
            let is_crash = random.below(4) == 0;
            let [scanned, noted] = &mut sides;
            let (wanted, found) = (scanned.step(is_crash, &edits), noted.step(is_crash, &edits));
            reported += wanted.len();
            assert_eq!(found, wanted, "seed {seed}, round {round}: {edits:#?}");
            assert_eq!(noted.app.sync.private().unwrap(), scanned.private, "seed {seed}, round {round}: {edits:#?}");
        }
    }
    assert!(reported > 100, "{reported}");
}
