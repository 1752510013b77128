//! How fast the parts are, one by one: `cargo bench --bench parts`, or with a word, those whose name has it.
//!
//! Each is run for about a second, and at least three times; the shortest time counts, since all that disturbs only adds.
//! Compare runs on one machine. What commands cost as a whole is measured by `scripts/bench`; what a change costs is counted
//! by `tests/cost.rs` and `tests/merge_cost.rs`.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a program for reading; whatever fails ends it")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use wbsync::changeset::entry::{Body, Entry};
use wbsync::changeset::reader::read;
use wbsync::changeset::seal::{Padding, open, seal};
use wbsync::changeset::writer::{Span, Writer};
use wbsync::connector::contract::{Change, Connector, Content, Context, Seen};
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::sql::connector::SqlConnector;
use wbsync::connector::sqlite;
use wbsync::connector::sqlite::options::Options;
use wbsync::history::commit::{Commit, Making};
use wbsync::history::join::{Known, join};
use wbsync::id::bytes::{CommitId, InstanceId, RecordKey, ScopeId};
use wbsync::id::name::{DatasetName, FieldName, ScopeName};
use wbsync::keys::sealing::EpochKey;
use wbsync::record::cell::{Cell, Record};
use wbsync::record::clock::Clock;
use wbsync::record::codec;
use wbsync::record::recordid::RecordId;
use wbsync::record::stamp::Stamp;
use wbsync::record::value::Value;
use wbsync::scope::audience::{Addressees, Audience};
use wbsync::sys::clock::UnixMillis;
use wbsync::testing::prng::Prng;
use wbsync::testing::prose::Prose;
use wbsync::testing::whiteballoon::seed::{Seed, create};
use wbsync::tree::apply::apply;
use wbsync::tree::build::build;
use wbsync::tree::diff::diff;
use wbsync::tree::error::TreeError;
use wbsync::tree::key::IdKey;
use wbsync::tree::memory::MemoryStore;
use wbsync::tree::root::Root;

const ORIGIN: InstanceId = InstanceId::from_bytes([1; 32]);
const WRITER: InstanceId = InstanceId::from_bytes([2; 32]);
const RECORDS: u64 = 20_000;
const EDITS: u64 = 1_000;

fn main() {
    // cargo gives `--bench`, which says nothing here.
    let bench = Bench { only: std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default() };
    println!("{:<28}{:>12}{:>14}", "part", "ms", "ns per item");
    let records = records();
    records_and_changesets(&bench, &records);
    trees(&bench, &records);
    databases(&bench);
}

struct Bench {
    only: String,
}

impl Bench {
    /// Runs `work`, each time on what `prepare` makes, and prints the shortest time, also by item.
    fn measure<T>(&self, name: &str, items: u64, mut prepare: impl FnMut() -> T, mut work: impl FnMut(T)) {
        if !name.contains(&self.only) {
            return;
        }
        let (begin, mut runs, mut shortest) = (Instant::now(), 0, Duration::MAX);
        while runs < 3 || begin.elapsed() < Duration::from_secs(1) {
            let given = prepare();
            let begin = Instant::now();
            work(given);
            shortest = shortest.min(begin.elapsed());
            runs += 1;
        }
        let per_item = shortest.as_nanos() / u128::from(items.max(1));
        println!("{name:<28}{:>12.2}{per_item:>14}", shortest.as_secs_f64() * 1e3);
    }
}

/// Records as rows of a table make them: a dozen fields, half a kilobyte.
fn records() -> Vec<(RecordKey, Record)> {
    let (mut random, prose) = (Prng::new(7), Prose::new());
    let field = |name: &str| FieldName::new(name).unwrap();
    let stamp = Stamp { author: ORIGIN, incarnation: 0, sequence: 1, time: UnixMillis(1_700_000_000_000) };
    let record = |number: u64| {
        let mut body = String::new();
        prose.text(&mut random, 240, &mut body);
        let mut cells = BTreeMap::from([(field("body"), Cell::new(stamp, Value::Text(body)))]);
        for other in 0..8u64 {
            cells.insert(field(&format!("number_{other}")), Cell::new(stamp, Value::Int((number * other) as i64)));
        }
        cells.insert(field("created_at"), Cell::new(stamp, Value::Timestamp(number as i64)));
        (RecordKey::from_bytes((u128::from(number) << 64).to_be_bytes()), Record { cells })
    };
    (0..RECORDS).map(record).collect()
}

fn records_and_changesets(bench: &Bench, records: &[(RecordKey, Record)]) {
    let encoded: Vec<Vec<u8>> = records.iter().map(|(_, record)| codec::encode(record, &ORIGIN)).collect();
    bench.measure(
        "record encode",
        RECORDS,
        || (),
        |()| {
            for (_, record) in records {
                black_box(codec::encode(record, &ORIGIN));
            }
        },
    );
    bench.measure(
        "record decode",
        RECORDS,
        || (),
        |()| {
            for bytes in &encoded {
                black_box(codec::decode(bytes, &ORIGIN).unwrap());
            }
        },
    );
    let notes = DatasetName::new("notes").unwrap();
    let span = Span { scope: ScopeId::from_bytes([3; 16]), from: 0, tip: CommitId::from_bytes([4; 32]) };
    let changeset = || {
        let mut parts = Vec::new();
        let mut writer = Writer::new(span.clone(), &[], |plain| {
            parts.push(plain);
            Ok::<_, TreeError>(())
        });
        for ((key, _), bytes) in records.iter().zip(&encoded) {
            writer.push(Entry { dataset: notes.clone(), key: *key, body: Body::Put(bytes) }).unwrap();
        }
        writer.finish().unwrap();
        parts
    };
    bench.measure("changeset encode", RECORDS, || (), |()| drop(black_box(changeset())));
    let parts = changeset();
    bench.measure(
        "changeset decode",
        RECORDS,
        || (),
        |()| {
            parts.iter().for_each(|part| drop(black_box(read(part).unwrap())));
        },
    );
    let key = EpochKey::generate();
    let recipient = key.recipient();
    let seal_all = || parts.iter().map(|part| seal(part, &recipient, Padding::Padme).unwrap()).collect::<Vec<_>>();
    bench.measure("changeset seal", RECORDS, || (), |()| drop(black_box(seal_all())));
    let sealed = seal_all();
    bench.measure(
        "changeset open",
        RECORDS,
        || (),
        |()| {
            sealed.iter().for_each(|sealed| drop(black_box(open(&sealed.id, &sealed.bytes, &key).unwrap())));
        },
    );
}

fn trees(bench: &Bench, records: &[(RecordKey, Record)]) {
    let key = IdKey::from_bytes([7; 32]);
    let entry = |(id, record): &(RecordKey, Record)| (id.as_bytes().to_vec(), codec::encode(record, &ORIGIN));
    let entries: Vec<_> = records.iter().map(entry).collect();
    let built = |store: &MemoryStore| build(store, &key, entries.iter().cloned().map(Ok::<_, TreeError>)).unwrap();
    bench.measure("tree build", RECORDS, MemoryStore::new, |store| {
        black_box(built(&store));
    });
    let store = MemoryStore::new();
    let base = built(&store);
    let edited = |author: InstanceId, sequence: u64, offset: u64| {
        let stamp = Stamp { author, incarnation: 0, sequence, time: UnixMillis(sequence) };
        let step = RECORDS / EDITS;
        let edits = (0..EDITS).map(|edit| {
            let (id, record) = &records[(edit * step + offset) as usize];
            let mut record = record.clone();
            let field = FieldName::new("body").unwrap();
            record.cells.insert(field, Cell::new(stamp, Value::Text("other".into())));
            (id.as_bytes().to_vec(), Some(codec::encode(&record, &ORIGIN)))
        });
        edits.collect::<Vec<_>>()
    };
    let (ours, theirs) = (edited(ORIGIN, 2, 0), edited(WRITER, 1, 7));
    bench.measure(
        "tree edit",
        EDITS,
        || ours.clone(),
        |edits| {
            black_box(apply(&store, &key, &base, edits).unwrap());
        },
    );
    let left = apply(&store, &key, &base, ours).unwrap();
    let right = apply(&store, &key, &base, theirs).unwrap();
    bench.measure("tree diff", EDITS, || (), |()| assert_eq!(diff(&store, &key, &base, &left).count() as u64, EDITS));
    let commit = |root: Root, writes: &[(InstanceId, u64)], author: InstanceId| {
        let mut clock = Clock::default();
        writes.iter().for_each(|(author, sequence)| clock.advance(*author, 0, *sequence));
        let sequence = clock.seen(&author, 0);
        let making = Making::Capture { parent: None, author, incarnation: 0, sequence, time: UnixMillis(0) };
        let datasets = BTreeMap::from([(DatasetName::new("notes").unwrap(), root)]);
        let commit = Commit { scope: ScopeId::from_bytes([3; 16]), clock, datasets, making };
        Known { id: commit.id(&key), commit }
    };
    let left = commit(left, &[(ORIGIN, 2)], ORIGIN);
    let right = commit(right, &[(ORIGIN, 1), (WRITER, 1)], WRITER);
    bench.measure(
        "merge",
        2 * EDITS,
        || (),
        |()| {
            black_box(join(&store, &key, &ORIGIN, &left, &right).unwrap());
        },
    );
}

fn databases(bench: &Bench) {
    let dir = tempfile::tempdir().unwrap();
    let seeded = dir.path().join("seeded.db");
    create(&seeded, &Seed::new(RECORDS, 1)).unwrap();
    let empty = dir.path().join("empty.db");
    create(&empty, &Seed::new(1, 1)).unwrap();
    let app = dir.path().join("app.db");
    let fresh = |from: &Path| {
        std::fs::copy(from, &app).unwrap();
        connect(&app)
    };
    bench.measure("capture of all rows", RECORDS, || fresh(&seeded), |mut database| drop(capture(&mut database)));
    let mut captured = fresh(&seeded);
    let changes = capture(&mut captured);
    bench.measure("capture of nothing", RECORDS, || (), |()| drop(capture(&mut captured)));
    bench.measure(
        "apply of new rows",
        changes.len() as u64,
        || fresh(&empty),
        |mut database| {
            capture(&mut database);
            database.begin_apply(b"target").unwrap();
            database.apply(&mut changes.iter().cloned().map(Ok), &mut |_| {}).unwrap();
            database.finish_apply().unwrap();
        },
    );
}

fn connect(path: &Path) -> SqlConnector {
    let dir = path.parent().unwrap();
    let mapping = Mapping::load(Some("whiteballoon"), toml::Table::new(), "bench").unwrap();
    let (names, addressees, readers) = (BTreeMap::new(), Addressees::default(), BTreeMap::new());
    let context = Context { own: ORIGIN, names, addressees, readers, restoring: false, said: Default::default() };
    sqlite::open(Options::new(path, dir, dir), mapping, context).unwrap()
}

/// Captures, settles, and gives what is public as another instance would send it.
fn capture(database: &mut SqlConnector) -> Vec<Change> {
    let mut changes = Vec::new();
    let foreign = |id: RecordId| RecordId { origin: WRITER, ..id };
    let taken = database.capture(UnixMillis(1_700_000_000_000), &mut |sighting| {
        if let Seen::Row { audience: Some(Audience::Shared(scope)), mut fields } = sighting.seen
            && scope == ScopeName::public()
        {
            for value in fields.values_mut() {
                if let Value::Ref(id) = value {
                    *id = foreign(id.clone());
                }
            }
            let content = Content { scope, fields, hidden: BTreeMap::new() };
            changes.push(Change { id: foreign(sighting.id), content: Some(content) });
        }
        Ok(())
    });
    let position = database.position().unwrap();
    database.settle(&taken.unwrap(), &position).unwrap();
    changes
}
