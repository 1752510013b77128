//! Fsck: whether a store, or a whole instance, is as it should be. Changes nothing.
//!
//! A store needs no keys to be looked at. Of an instance also the local state (documents, commits, trees) and the
//! bookkeeping in the application's database are read, and compared with each other. Each finding says what is wrong,
//! where, and what mends it (docs/retention.md).

pub mod remote;
pub mod rows;
pub mod state;

use std::borrow::Cow;
use std::path::Path;

use super::error::Error;
use super::instance::Instance;
use super::progress::Event;
use crate::exchange::health::{self, Depth, Health, Kind};
use crate::exchange::layout::StorePath;
use crate::exchange::store::{Store, StoreError};
use crate::sys::clock::{self, UnixMillis};
use crate::transport::dir::DirStore;
use crate::transport::strays::{StrayKind, strays};
use crate::transport::url::{self, Access, RemoteUrl};

/// Something that isn't as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Where it lies: `store`, `state` or `database`.
    pub part: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// The file, table or thing.
    pub place: String,
    /// How it shows.
    pub detail: String,
    /// What mends it; empty if nothing has to be done.
    pub mend: Cow<'static, str>,
    /// Whether something is damaged, or only untidy.
    pub damage: bool,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Report {
    /// Everything that isn't as it should be; what is damaged first.
    pub findings: Vec<Finding>,
    /// Documents read.
    pub documents: u64,
    /// Objects held.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that no head names.
    pub unused: u64,
    /// Their bytes.
    pub unused_bytes: u64,
    /// Commits of the local state.
    pub commits: u64,
    /// Tree nodes of the local state.
    pub nodes: u64,
    /// Records that the bookkeeping knows.
    pub records: u64,
}

impl Report {
    /// Tells whether something is damaged.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.damage)
    }

    fn sort(&mut self) {
        self.findings.sort_by_key(|finding| !finding.damage);
    }
}

pub(super) const STORE: &str = "store";
/// What a leftover of a dead writer is called.
const LEFTOVER: &str = "leftover";
const MEND_OWN: &str = "wbsync repair";
const MEND_REMOTE: &str = "wbsync repair REMOTE, from an instance that has it";
const MEND_SIGNER: &str = "its signer puts it right with its next push";
const MEND_GC: &str = "wbsync gc";

/// Looks at the store at a URL, as anybody can who may read it. Requests to a hub are signed as `identity`.
///
/// # Errors
/// The store isn't there, is none, or can't be read at all.
pub fn fsck_store<'a>(
    url: &RemoteUrl,
    access: impl Into<Access<'a>>,
    depth: Depth,
    tell: &dyn Fn(Event<'_>),
) -> Result<Report, Error> {
    let name = url.to_string();
    let access = Access { recalls: None, ..access.into() };
    let store = url::open(url, access).map_err(Error::store(name.as_str()))?;
    let mut report = Report::default();
    look_at(store.as_ref(), &name, depth, tell, MEND_REMOTE, &mut report)?;
    if let RemoteUrl::Directory(path) = url {
        look_for_strays(path, &mut report)?;
    }
    report.sort();
    Ok(report)
}

/// Looks at a remote's open store.
///
/// # Errors
/// As `fsck_store`.
pub(super) fn fsck_open(
    store: &dyn Store,
    name: &str,
    depth: Depth,
    tell: &dyn Fn(Event<'_>),
) -> Result<Report, Error> {
    let mut report = Report::default();
    look_at(store, name, depth, tell, &format!("wbsync repair {name}"), &mut report)?;
    report.sort();
    Ok(report)
}

impl Instance {
    /// Looks at all that belongs to this instance: its own store, the local state, and the bookkeeping in the
    /// application's database.
    ///
    /// # Errors
    /// A part can't be read at all.
    pub fn fsck(&self, depth: Depth) -> Result<Report, Error> {
        let mut report = Report::default();
        self.look_at_state(&mut report)?;
        // What a damaged state says is compared with nothing.
        let is_sound = !report.is_damaged();
        let dir = self.dir().join("store");
        match DirStore::open(&dir) {
            Ok(store) => {
                look_at(&store, "this instance", depth, &|event| self.tell(event), MEND_OWN, &mut report)?;
                if is_sound {
                    self.compare_own_store(&store, &mut report)?;
                }
                look_for_strays(&dir, &mut report)?;
            }
            // The first push makes it.
            Err(StoreError::Unreachable { .. }) if !dir.exists() => {}
            Err(error) => report.findings.push(Finding {
                part: STORE,
                what: "unusable store",
                place: dir.display().to_string(),
                detail: error.to_string(),
                mend: MEND_OWN.into(),
                damage: true,
            }),
        }
        self.look_at_rows(is_sound, &mut report)?;
        report.sort();
        Ok(report)
    }

    /// Compares what our store has of our own documents with the state.
    fn compare_own_store(&self, store: &dyn Store, report: &mut Report) -> Result<(), Error> {
        for lacking in self.lacking_here(store)? {
            let (what, place) = ("lost document", lacking.path.to_string());
            if report.findings.iter().all(|finding| finding.place != place) {
                let (part, detail) = (STORE, lacking.detail);
                report.findings.push(Finding { part, what, place, detail, mend: MEND_OWN.into(), damage: false });
            }
        }
        let error = || Error::store("this instance");
        for row in self.state.scopes()? {
            let mut differs = |path: StorePath, detail: &str| {
                report.findings.push(Finding {
                    part: STORE,
                    what: "behind the state",
                    place: path.to_string(),
                    detail: detail.to_owned(),
                    mend: "wbsync push".into(),
                    damage: false,
                });
            };
            let Some(head) = self.state.head(&row.id, &self.id())? else { continue };
            let there = store.head(&row.id, &self.id()).map_err(error())?;
            match there {
                Some(bytes) if bytes == head.document => {}
                Some(_) => differs(StorePath::Head(row.id, self.id()), "it isn't our newest head"),
                None => differs(StorePath::Head(row.id, self.id()), "our newest head isn't there"),
            }
        }
        Ok(())
    }
}

fn look_at(
    store: &dyn Store,
    name: &str,
    depth: Depth,
    tell: &dyn Fn(Event<'_>),
    mend: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let mut begun = false;
    let health = health::examine(store, depth, &mut |done, total| {
        if !begun {
            tell(Event::Phase { name: "reading objects", total: Some(total) });
            begun = true;
        }
        tell(Event::Done(done));
    });
    tell(Event::End);
    let health = health.map_err(Error::store(name))?;
    add(&health, mend, report);
    Ok(())
}

fn add(health: &Health, mend: &str, report: &mut Report) {
    report.documents += health.documents;
    report.objects += health.objects;
    report.bytes += health.bytes;
    for finding in &health.findings {
        if finding.kind == Kind::Garbage {
            report.unused += 1;
            report.unused_bytes += finding.bytes;
        }
        report.findings.push(Finding {
            part: STORE,
            what: finding.kind.words(),
            place: finding.path.to_string(),
            detail: finding.detail.clone(),
            mend: match finding.kind {
                Kind::DamagedObject | Kind::MissingObject => mend.to_owned().into(),
                Kind::DamagedDocument | Kind::Misplaced | Kind::NoManifest if mend == MEND_OWN => MEND_OWN.into(),
                Kind::DamagedDocument | Kind::Misplaced | Kind::NoManifest => MEND_SIGNER.into(),
                Kind::Behind => "the next push of whoever has the newer one".into(),
                Kind::Garbage => MEND_GC.into(),
                Kind::NoRight | Kind::Contradiction => "".into(),
            },
            damage: finding.kind.is_damage(),
        });
    }
}

fn look_for_strays(dir: &Path, report: &mut Report) -> Result<(), Error> {
    let stale = UnixMillis(clock::now().0.saturating_sub(STALE_MILLIS));
    for stray in strays(dir, stale).map_err(Error::io("list", dir))? {
        let (what, detail, mend) = match stray.kind {
            StrayKind::Growing => continue,
            StrayKind::Leftover => (LEFTOVER, format!("{} bytes of a writer that died", stray.bytes), MEND_GC),
            StrayKind::Break => ("broken lock", "a process died while breaking a lock".into(), "remove it by hand"),
            StrayKind::Foreign => ("foreign file", "it isn't part of a store, and is ignored".into(), ""),
            StrayKind::Irregular => {
                ("irregular file", "it isn't a plain file or directory".into(), "remove it by hand")
            }
        };
        let damage = matches!(stray.kind, StrayKind::Break | StrayKind::Irregular);
        report.findings.push(Finding { part: STORE, what, place: stray.path, detail, mend: mend.into(), damage });
    }
    Ok(())
}

/// As `DirStore` counts it.
const STALE_MILLIS: u64 = 24 * 3_600_000;
