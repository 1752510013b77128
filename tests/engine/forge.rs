//! Documents as only somebody with a signing key can make them: properly signed, and wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use wbsync::changeset::entry::{Body, Entry};
use wbsync::changeset::seal::{Padding, seal};
use wbsync::changeset::writer::{Span, Writer};
use wbsync::exchange::head::{Base, Head, ObjectRef, Segment};
use wbsync::exchange::layout::StorePath;
use wbsync::history::commit::{Commit, Making};
use wbsync::history::join::Known;
use wbsync::id::bytes::{InstanceId, ObjectId, RecordKey, ScopeId};
use wbsync::id::name::{DatasetName, FieldName};
use wbsync::record::cell::{Cell, Record};
use wbsync::record::clock::Clock;
use wbsync::record::codec;
use wbsync::record::recordid;
use wbsync::record::stamp::Stamp;
use wbsync::record::value::Value;
use wbsync::sync::instance::Instance;
use wbsync::sync::scopes::OpenScope;
use wbsync::sys::clock::{self, UnixMillis};
use wbsync::tree::apply::apply;
use wbsync::tree::scan::scan;

/// One head in the forger's hands.
pub struct Forge<'a> {
    pub instance: &'a Instance,
    pub scope: OpenScope,
    /// What the changes apply to.
    pub start: Option<Known>,
    /// The origin's head that a writer's head builds on.
    pub base: Option<Base>,
    pub entries: BTreeMap<(DatasetName, RecordKey), Record>,
    /// The forger's own write.
    pub sequence: u64,
    pub seq: u64,
}

impl<'a> Forge<'a> {
    /// Starts a head of `instance` in a scope of `origin`, on top of the origin's newest head that it tracks.
    pub fn new(instance: &'a Instance, origin: &InstanceId, name: &str) -> Self {
        let rows = instance.state.scopes_of(origin).unwrap();
        let row = rows.into_iter().find(|row| row.name.as_str() == name).unwrap();
        let scope = instance.open_scope(row).unwrap().unwrap();
        let tracked = |signer: &InstanceId| instance.state.head(&scope.row.id, signer).unwrap();
        let known = |id| instance.state.known_commit(&scope.row.id, &id).unwrap();
        let own = tracked(&instance.id());
        let based = tracked(origin).filter(|_| *origin != instance.id());
        let (start, base) = match based {
            Some(head) => (Some(known(head.commit)), Some(Base { seq: head.seq, commit: head.commit })),
            None => (own.as_ref().map(|head| known(head.commit)), None),
        };
        let seq = own.map_or(0, |head| head.seq) + 1;
        let sequence = scope.row.sequence + 1;
        Self { instance, scope, start, base, entries: BTreeMap::new(), sequence, seq }
    }

    pub fn stamp(&self, author: InstanceId, sequence: u64) -> Stamp {
        Stamp { author, incarnation: 0, sequence, time: UnixMillis(1_770_000_000_000) }
    }

    /// Finds the record whose field shows a text.
    pub fn find(&self, dataset: &str, field: &str, text: &str) -> ((DatasetName, RecordKey), Record) {
        let (dataset, field) = (DatasetName::new(dataset).unwrap(), FieldName::new(field).unwrap());
        let start = self.start.as_ref().unwrap();
        for found in scan(&self.instance.state, &self.scope.row.id_key, &start.commit.root(&dataset), ..) {
            let (key, bytes) = found.unwrap();
            let record = codec::decode(&bytes, &self.scope.row.origin).unwrap();
            if record.shown(&field) == Some(&Value::Text(text.into())) {
                return ((dataset, RecordKey::from_slice(&key).unwrap()), record);
            }
        }
        panic!("no {dataset} with {field} = {text}");
    }

    /// Writes a request's title under a stamp of the forger's choice.
    pub fn retitle(&mut self, old: &str, new: &str, stamp: Stamp) {
        let (id, mut record) = self.find("requests", "title", old);
        record.cells.insert(FieldName::new("title").unwrap(), Cell::new(stamp, Value::Text(new.into())));
        self.entries.insert(id, record);
    }

    /// Makes a request whose fields all bear one stamp, or the title another.
    pub fn invent(&mut self, title: &str, stamp: Stamp, title_stamp: Stamp) {
        let mut record = Record::default();
        let fields = [
            ("description", Value::Text("invented".into())),
            ("status", Value::Text("open".into())),
            ("created_at", Value::Timestamp(1_770_000_000_000_000)),
            ("updated_at", Value::Timestamp(1_770_000_000_000_000)),
            ("completed_at", Value::Null),
            ("author", Value::Null),
        ];
        for (field, value) in fields {
            record.cells.insert(FieldName::new(field).unwrap(), Cell::new(stamp, value));
        }
        record.cells.insert(FieldName::new("title").unwrap(), Cell::new(title_stamp, Value::Text(title.into())));
        let key = recordid::births(clock::now(), 1)[0];
        self.entries.insert((DatasetName::new("requests").unwrap(), key), record);
    }

    /// Builds, seals, signs, and puts everything into a store, past the store's own checks.
    pub fn publish(
        self,
        store: &Path,
        adjust_commit: impl FnOnce(&mut Commit),
        adjust_head: impl FnOnce(&mut Head),
    ) -> Head {
        let (state, row) = (&self.instance.state, &self.scope.row);
        let mut datasets = self.start.as_ref().map(|known| known.commit.datasets.clone()).unwrap_or_default();
        let encoded: Vec<_> =
            self.entries.iter().map(|(id, record)| (id, codec::encode(record, &row.origin))).collect();
        for ((dataset, key), bytes) in &encoded {
            let root = datasets.get(dataset).copied().unwrap_or_default();
            let root = apply(state, &row.id_key, &root, vec![(key.as_bytes().to_vec(), Some(bytes.clone()))]).unwrap();
            datasets.insert(dataset.clone(), root);
        }
        let own = self.instance.id();
        let mut clock = self.start.as_ref().map_or_else(Clock::default, |known| known.commit.clock.clone());
        clock.advance(own, 0, self.sequence);
        let making = Making::Capture {
            parent: self.start.as_ref().map(|known| known.id),
            author: own,
            incarnation: 0,
            sequence: self.sequence,
            time: clock::now(),
        };
        let mut commit = Commit { scope: row.id, clock, datasets, making };
        adjust_commit(&mut commit);
        let id = commit.id(&row.id_key);
        let from = self.seq - 1;
        let mut objects = Vec::new();
        let span = Span { scope: row.id, from, tip: id };
        let recipient = &self.scope.manifest.newest_epoch().recipient;
        let mut writer = Writer::new(span, &[commit.encode()], |plain| {
            let sealed = seal(&plain, recipient, Padding::None)?;
            put_object(store, &sealed.id, &sealed.bytes);
            objects.push(ObjectRef { id: sealed.id, bytes: sealed.bytes.len() as u64 });
            Ok::<(), std::io::Error>(())
        });
        for ((dataset, key), bytes) in &encoded {
            writer.push(Entry { dataset: dataset.clone(), key: *key, body: Body::Put(&bytes[..]) }).unwrap();
        }
        writer.finish().unwrap();
        let prev = state.head(&row.id, &own).unwrap().map(|head| head.hash);
        let mut segments = vec![Segment { from_seq: from, to_seq: self.seq, objects }];
        if self.base.is_none()
            && let Some(own) = state.head(&row.id, &own).unwrap()
        {
            let (last, _) = Head::open(&own.document, &own.signer).unwrap();
            segments.splice(0..0, last.segments);
        }
        let mut head = Head {
            scope: row.id,
            signer: own,
            incarnation: 0,
            seq: self.seq,
            prev,
            commit: id,
            writes: commit.clock.seen(&own, 0),
            manifest_seq: self.scope.manifest.seq,
            epoch: self.scope.manifest.newest_epoch().number,
            base: self.base,
            segments,
            time: clock::now(),
        };
        adjust_head(&mut head);
        put_head(store, &head.scope, &own, &head.sign(&self.instance.identity));
        head
    }

    pub fn honestly(self, store: &Path) -> Head {
        self.publish(store, |_| {}, |_| {})
    }
}

pub fn put_object(store: &Path, id: &ObjectId, bytes: &[u8]) {
    let path = StorePath::Object(*id).under(store);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn put_head(store: &Path, scope: &ScopeId, signer: &InstanceId, document: &[u8]) {
    let path = StorePath::Head(*scope, *signer).under(store);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, document).unwrap();
}
