//! What can stop a command, what to do about it, and the exit code that says so to a script.

use std::io;
use std::path::PathBuf;

use super::fit::Fit;
use super::init::CLONING_FILE;
use super::own::Lost;
use super::own_file::Fault;
use super::store_error::store_hint;
use crate::cbor;
use crate::changeset;
use crate::connector;
use crate::connector::contract::SinkError;
use crate::exchange;
use crate::exchange::store::StoreError;
use crate::history;
use crate::id::bytes::{CommitId, ObjectId};
use crate::keys;
use crate::scope;
use crate::state;
use crate::transport;
use crate::tree;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each variant's message says it")]
pub enum Error {
    #[error("there is no wbsync instance in {start} or above it", start = start.display())]
    NotAnInstance { start: PathBuf },
    #[error("{path} is a wbsync instance already", path = path.display())]
    AlreadyAnInstance { path: PathBuf },
    #[error("{path} was made by a later version (instance format {found:?})", path = path.display())]
    NewerInstance { path: PathBuf, found: String },
    #[error("{path} {fault}", path = path.display())]
    OwnFile { path: PathBuf, fault: Fault },
    #[error("another wbsync command is at work in {path}", path = path.display())]
    Busy { path: PathBuf },
    #[error("cannot read {path}", path = path.display())]
    Config { path: PathBuf, source: Box<toml::de::Error> },
    #[error("cannot use the variable {variable}: {why}")]
    Setting { variable: String, why: String },
    #[error("{path} is there and says something else about {key:?} than the option", path = path.display())]
    ConfigDisagrees { path: PathBuf, key: &'static str },
    #[error("cannot {doing} {path}", path = path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot use the identity of this instance")]
    Identity(#[source] keys::identity::Error),
    #[error("cannot use the local state")]
    State(#[source] state::error::Error),
    #[error("cannot use {}", .0.subject())]
    Database(#[source] Box<connector::error::Error>),
    #[error("cannot use the store of {of}")]
    Store { of: String, source: Box<StoreError> },
    #[error("cannot use the URL {url:?}")]
    Url { url: String, source: transport::url::UrlError },
    #[error("cannot read the card")]
    Card(#[source] keys::card::Error),
    #[error("the card has the fingerprint {found}, not {expected}")]
    Fingerprint { found: String, expected: String },
    #[error("cannot read the manifest of scope {scope}")]
    Manifest { scope: String, source: scope::manifest::Error },
    #[error("cannot read the schema of scope {scope}")]
    Schema { scope: String, source: cbor::error::Error },
    #[error("cannot change the manifest of scope {scope}")]
    ManifestDraft { scope: String, source: scope::manifest::draft::DraftError },
    #[error("{found:?} is nobody that rows can be shared with")]
    UnknownAudience { found: String, groups: Vec<String>, peers: Vec<String> },
    #[error("{row} belongs to another instance, which decides who sees it")]
    NotOurs { row: String },
    #[error("cannot read the records of scope {scope}")]
    Tree { scope: String, source: tree::error::TreeError },
    #[error("cannot merge scope {scope}")]
    Join { scope: String, source: history::join::Error },
    #[error("cannot make a changeset of scope {scope}")]
    Changeset { scope: String, source: Box<changeset::touched::Error<io::Error>> },
    #[error("cannot seal an object of scope {scope}")]
    Seal { scope: String, source: io::Error },
    #[error("the record {record} in the local state is damaged")]
    Record { record: String, source: cbor::error::Error },
    #[error("cannot copy objects to {to}")]
    Copy { to: String, source: exchange::copy::CopyError },
    #[error("cannot use the bundle")]
    Bundle(#[source] Box<super::bundle::BundleError>),
    #[error("cannot clear up in the store of {of}")]
    Garbage { of: String, source: exchange::garbage::Error },
    #[error("no peer is called {name:?}")]
    UnknownPeer { name: String, known: Vec<String> },
    #[error("there is no dataset {name:?}")]
    UnknownDataset { name: String, known: Vec<String> },
    #[error("another peer is called {name:?} here")]
    PeerNameTaken { name: String },
    #[error("{name} is pinned with the fingerprint {pinned}, and this card has {found}")]
    OtherIdentity { name: String, pinned: String, found: String },
    #[error("several instances in this store call themselves {name}: {found}")]
    TwoIdentities { name: String, found: String },
    #[error("the card of {name} is older (incarnation {offered}) than the one we have (incarnation {known})")]
    OlderCard { name: String, offered: u32, known: u32 },
    #[error("{name} is revoked here")]
    Revoked { name: String },
    #[error("there is no group {name:?}")]
    UnknownGroup { name: String, known: Vec<String> },
    #[error("there is a group {name:?} already")]
    GroupExists { name: String },
    #[error("a group can't be called {name:?}: rows that say so mean something else")]
    NameTakenByScope { name: String },
    #[error("records are still shared with the group {name:?}: {records}")]
    GroupInUse { name: String, records: u64 },
    #[error("{scope} belongs to another instance; only its origin changes who reads it")]
    ForeignScope { scope: String },
    #[error("{record} is a record of this instance itself")]
    OwnRecord { record: String },
    #[error("rows are shared as {scope} with another peer that is called {name:?} there")]
    NameReserved { name: String, scope: String },
    #[error("this is the card of this instance itself")]
    OwnCard,
    #[error("this instance is the last reader of its own scopes; it can't be removed from them")]
    LastReader,
    #[error("no remote is called {name:?}")]
    UnknownRemote { name: String, known: Vec<String> },
    #[error("there is a remote {name:?} already, with the URL {url}")]
    RemoteExists { name: String, url: String },
    #[error("there is no remote to exchange with")]
    NoRemote,
    #[error("the remote {name:?} is a directory, which nobody has to join")]
    NoHub { name: String },
    #[cfg(feature = "git")]
    #[error("cannot write the mirror")]
    Mirror { source: transport::git::mirror::MirrorError },
    #[error("{0}")]
    Name(crate::id::name::NameError),
    #[error("{text:?} is no value for the field {field}")]
    BadValue { field: String, text: String },
    #[error("{what:?} names no open conflict")]
    NoConflict { what: String },
    #[error("{wanted} stands for no single value of the conflict {conflict}")]
    NoSide { conflict: String, wanted: String, authors: Vec<String> },
    #[error("{what:?} is not one conflict of two texts")]
    NoTexts { what: String },
    #[error("the text of {conflict} was left as it was, or empty; it stays open")]
    NotEdited { conflict: String },
    #[error("the edited text of {conflict} is not settled")]
    MarkersLeft { conflict: String, source: crate::merge::text::markers::MarkerLeft },
    #[error("cannot revert commit {commit}: {reason}")]
    NotRevertible { commit: String, reason: &'static str },
    #[error("{what} matches nothing here")]
    NotFound { what: String },
    #[error("cannot show the records of commit {commit}: they are not held here")]
    NotHeld { commit: String },
    #[error("the two commits belong to different scopes, {from} and {to}")]
    DifferentScopes { from: String, to: String },
    #[error("{what} matches {count} things here")]
    Ambiguous { what: String, count: usize },
    #[error("{remote} {what}")]
    LostHistory { remote: String, what: Lost },
    #[error("{peer} still shows two histories of {scope}: it was not restored since")]
    StillForked { peer: String, scope: String },
    #[error("a restore of this instance was begun and isn't finished")]
    RestoreUnfinished,
    #[error("cannot use the exported identity")]
    Export(#[source] keys::export::Error),
    #[error("none of the remotes can be asked for what this instance published")]
    RestoreAlone,
    #[error("no remote that can be asked has anything of this instance, and {away} can't be asked")]
    RestoreUnheard { away: String },
    #[error("{}", super::store_error::offers_nothing(remote))]
    NothingToRestore { remote: String },
    #[error("{remote} changed while we pushed to it")]
    Raced { remote: String },
    #[error("records of {url} do not fit this application's tables: {why}", why = unfitting(fits))]
    Incompatible { url: String, fits: Vec<Fit> },
    #[error("the application keeps changing rows while they are being written")]
    Restless,
    #[error("refused {count} of the documents offered by {remote}")]
    Refused { remote: String, count: usize, damaged: bool },
    #[error("commit {id} of the applied view is missing from the local state")]
    LostCommit { id: CommitId },
    #[error("the application's database is older than .wbsync: it has settled {found} captures, and {known} were")]
    OldDatabase { found: u64, known: u64 },
    #[error("the address names the schema {found:?} of the database, and the rows of this instance are in {known:?}")]
    OtherSchema { found: String, known: String },
    #[error("the bookkeeping in the application's database is damaged")]
    Bookkeeping(#[source] cbor::error::Error),
    #[error("{url} holds no instance to clone from")]
    NothingToClone { url: String },
    #[error("cannot clone {url}, which is for its members")]
    MembersOnly { url: String, invited: bool, source: Box<StoreError> },
    #[error("cannot read {what}")]
    Document { what: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{path} proves nothing", path = path.display())]
    Proof { path: PathBuf, source: Box<super::proof::ProofError> },
    #[error("no head that is held here shows {what}")]
    NotSigned { what: String },
    #[error("the proof would show the records of scope {scope}, which isn't public")]
    Reveals { scope: String },
    #[error("none of this instance's keys opens the object {object}")]
    NoKey { object: ObjectId },
    #[error("cannot write the output")]
    Output(#[source] io::Error),
}

/// Exit codes; documented in docs/exit-codes.md.
pub mod exit {
    /// Anything else.
    pub const ERROR: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// Done, but conflicts are open.
    pub const CONFLICTS: u8 = 3;
    /// A remote can't be reached.
    pub const UNREACHABLE: u8 = 4;
    /// Something was refused: a signature, a right, a rollback, a fork.
    pub const REFUSED: u8 = 5;
    /// Something is damaged.
    pub const DAMAGED: u8 = 6;
    /// Somebody else is at work.
    pub const BUSY: u8 = 7;
    /// An audit or a check found something.
    pub const FINDINGS: u8 = 8;
    /// Try again later.
    pub const RETRY: u8 = 75;
}

impl Error {
    /// Makes the wrapper for an input or output error.
    pub fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// Makes the error of a thing that isn't what it should be.
    pub fn document(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Document { what: what.into(), source: source.into() }
    }

    /// Makes the wrapper for a store's error.
    pub fn store(of: impl Into<String>) -> impl FnOnce(StoreError) -> Self {
        let of = of.into();
        move |source| Self::Store { of, source: Box::new(source) }
    }

    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused { damaged: true, .. } => exit::DAMAGED,
            other => other.code().exit(),
        }
    }

    /// Returns what to do next, in a sentence.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAnInstance { start } if start.join(".wbsync/keys").is_dir() => {
                "the keys of an instance are here and nothing else: `wbsync restore URL` fills it again".into()
            }
            Self::NotAnInstance { .. } => {
                "run `wbsync init` in the application's directory, or set WBSYNC_DIR to an instance".into()
            }
            Self::AlreadyAnInstance { path } => match std::fs::read_to_string(path.join(CLONING_FILE)) {
                Ok(url) => format!(
                    "a clone of {} was begun here and not finished: run `wbsync clone` with that again, or remove .wbsync and \
                     wbsync.toml to clone from elsewhere",
                    url.trim()
                ),
                Err(_) => "see it with `wbsync status`".into(),
            },
            Self::OwnFile { .. } => "`wbsync repair` writes it again, the card from a copy in our own store or in a remote; where there is none, \
                 `wbsync restore --name NAME` makes it anew with the keys that are here"
                .into(),
            Self::NewerInstance { .. } => "use the version of wbsync that made it, or a later one".into(),
            Self::Busy { .. } => "wait until it is done, then try again".into(),
            Self::ConfigDisagrees { .. } => "leave the option out, or change the file or remove it".into(),
            Self::Setting { .. } => "correct or unset it; `wbsync config show --origin` tells where each setting comes from, \
                 and docs/configuration.md what it may be"
                .into(),
            Self::Config { source, .. } if meant(source.message()).is_some() => {
                let (wrong, meant) = meant(source.message()).expect("it is there, as was asked just before");
                format!("did you mean `{meant}` instead of `{wrong}`?")
            }
            Self::Config { .. } => "correct the line, or compare with docs/mapping.md".into(),
            Self::Identity(_) => "the files are in .wbsync/keys; restore them from a backup".into(),
            Self::Export(_) => "compare it with what was printed; `wbsync export-identity` prints it".into(),
            Self::Database(source) => match &**source {
                connector::error::Error::BadMapping { at, .. } if at == "dataset" => {
                    "take a mapping that ships with wbsync, `--preset whiteballoon`, or write [dataset.NAME] tables into \
                     wbsync.toml as docs/mapping.md says"
                        .into()
                }
                source => return source.hint(),
            },
            Self::State(state::error::Error::Newer { .. }) => "use the version of wbsync that made it".into(),
            Self::Store { of, source } => store_hint(Some(of), source),
            Self::Garbage { source: exchange::garbage::Error::Store(source), .. } => store_hint(None, source),
            Self::Bundle(source) => source.hint().into(),
            Self::Garbage { .. } => "`wbsync fsck` tells what is wrong there".into(),
            Self::Card(_) => "ask for the line again: `wbsync id` prints it on the other instance".into(),
            Self::Fingerprint { .. } => {
                "do not use this card: ask its owner to read the fingerprint out to you (`wbsync id --fingerprint`)"
                    .into()
            }
            Self::UnknownPeer { known, .. } if known.is_empty() => {
                "add the peer first: `wbsync peer add CARD`, with the line that `wbsync id` prints there".into()
            }
            Self::UnknownPeer { known, .. } => format!("known peers: {}", known.join(", ")),
            Self::UnknownDataset { known, .. } => format!("datasets: {}", known.join(", ")),
            Self::PeerNameTaken { .. } | Self::NameReserved { .. } => "choose another name: `wbsync peer add CARD --name NAME`".into(),
            Self::OtherIdentity { name, .. } => format!(
                "ask {name}'s owner over another channel: if it was set up anew, `wbsync peer forget {name}` and add it again; \
                 if it is another instance, `--name NAME` adds it beside {name}"
            ),
            Self::TwoIdentities { name, .. } => {
                format!("ask {name}'s owner for the fingerprint over another channel, and give it with `--expect`")
            }
            Self::OlderCard { .. } => "ask for the line that `wbsync id` prints there now".into(),
            Self::LastReader => "name a peer: `wbsync peer list`".into(),
            Self::Revoked { name } => format!("`wbsync peer trust {name}` takes that back"),
            Self::UnknownGroup { known, .. } if known.is_empty() => "make it: `wbsync group create NAME`".into(),
            Self::UnknownGroup { known, .. } => format!("groups: {}", known.join(", ")),
            Self::GroupExists { name } => format!("see it with `wbsync group show {name}`"),
            Self::GroupInUse { .. } => "give those rows another scope in the application, then `wbsync sync`".into(),
            Self::ForeignScope { .. } => "`wbsync scope list` lists ours, those without a `/`".into(),
            Self::OwnRecord { .. } => "make its row private, or delete it in the application".into(),
            Self::OwnCard => "add the card that `wbsync id` prints on the other instance".into(),
            Self::UnknownRemote { known, .. } if known.is_empty() => "add it: `wbsync remote add NAME URL`".into(),
            Self::UnknownRemote { known, .. } => format!("remotes: {}", known.join(", ")),
            Self::RemoteExists { name, .. } => format!("remove it first: `wbsync remote remove {name}`"),
            Self::NoRemote => "add one: `wbsync remote add NAME URL`".into(),
            Self::Ambiguous { .. } => "give more digits, or one field as `dataset/key.field`".into(),
            Self::NoConflict { .. } => "`wbsync conflicts` lists them".into(),
            Self::NoSide { authors, .. } => {
                format!("take one by its author with `--take`: {}", authors.join(", "))
            }
            Self::NoTexts { .. } => "give a new value with `--value`, or take one with `--take`".into(),
            Self::MarkersLeft { .. } => "nothing was written; edit again and take out every marker line".into(),
            Self::NotHeld { .. } => {
                "only what came of it travelled here, or it was forgotten after a withdrawal; its author may still have it"
                    .into()
            }
            Self::NotFound { what } => super::lookup::hint(what).into(),
            Self::ManifestDraft { source: scope::manifest::draft::DraftError::Public { .. }, .. } => {
                "its key is for everybody; what only some may read goes into another scope: `wbsync privacy set`".into()
            }
            Self::LostHistory { what, .. } => what.hint().into(),
            Self::StillForked { peer, .. } => format!(
                "ask {peer}'s operator to stop one of its two copies and to run `wbsync restore` on the other; then fetch, \
                 and accept again"
            ),
            Self::RestoreUnfinished => "`wbsync restore` finishes it; until then nothing else may change anything".into(),
            Self::RestoreAlone | Self::RestoreUnheard { .. } => "plug in or reach a remote that this instance pushed to. What it published and has \
                 lost can come from nowhere else; `--without-remotes` goes on without, and a peer that holds more keeps it \
                 to itself"
                .into(),
            Self::NothingToRestore { .. } => {
                "check the URL; `--without-remotes` makes a new beginning with the keys that are here".into()
            }
            Self::Raced { .. } => "others keep writing there; try again in a moment".into(),
            Self::Restless => "try again in a quieter moment".into(),
            Self::Refused { .. } => "nothing of them was kept; see the reasons above".into(),
            Self::LostCommit { .. } => "the application's database is newer than .wbsync, as after a restore from a \
                 backup: run `wbsync restore`"
                .into(),
            Self::OldDatabase { .. } => "a backup of it was put back, or another database is in its place: run `wbsync restore`; nothing was \
                 published of it"
                .into(),
            Self::OtherSchema { .. } => "correct `search_path` in the address; if the tables were moved, `wbsync restore` goes on with them".into(),
            Self::NoKey { .. } => {
                "it is sealed to readers among whom we are not; `--key FILE` takes another key".into()
            }
            Self::UnknownAudience { groups, peers, .. } => {
                let mut known = vec!["private".to_owned(), "public".into(), "trusted".into()];
                known.extend(groups.iter().cloned());
                if !peers.is_empty() {
                    known.push(format!("peers:NAME,NAME (of {})", peers.join(", ")));
                }
                format!("give one of {}", known.join(", "))
            }
            Self::NotOurs { .. } => "ask its operator; `wbsync shun` keeps a record out of this instance".into(),
            Self::Incompatible { .. } => {
                "no row was written. Bring both applications to the same version, or correct the mapping in wbsync.toml, and \
                 run the command again; with `--despite-schema` such records wait, named in `wbsync status`"
                    .into()
            }
            Self::MembersOnly { invited: false, .. } => {
                "ask who runs it for an invitation (`wbsync hub invite`), and run the command again with `--invite FILE`".into()
            }
            Self::MembersOnly { invited: true, .. } => {
                "ask for another invitation, since one ends and is used up; the same command with it goes on from here".into()
            }
            Self::NothingToClone { .. } => "check the URL; an instance must have pushed to it".into(),
            Self::Io { source, .. } => io_hint(source).into(),
            Self::State(state::error::Error::Damaged { .. }) | Self::Record { .. } | Self::Tree { .. } => {
                "`wbsync fsck` lists what is damaged, `wbsync repair` mends what can be mended".into()
            }
            Self::State(source) if source.is_busy() => "wait until the other command is done, then try again".into(),
            Self::State(source) if source.is_full() => FULL.into(),
            Self::State(_) => "see that this user may write .wbsync, and that its disk is sound; `wbsync fsck` looks closer".into(),
            Self::Copy { source, .. } => store_hint(None, source.of_store()),
            Self::Url { .. } => "docs/hub.md and docs/git.md list the forms; a directory is given by its path".into(),
            Self::Manifest { .. } | Self::Schema { .. } => {
                "`wbsync fsck` tells whether it is damaged; if it isn't, a later version of wbsync may have written it".into()
            }
            Self::ManifestDraft { .. } => "`wbsync scope show SCOPE` shows who reads and writes it now".into(),
            Self::Join { .. } => "nothing was written; `wbsync fsck` tells whether something of it is damaged".into(),
            Self::Changeset { .. } | Self::Seal { .. } => "nothing was published; run the same command again".into(),
            Self::NameTakenByScope { .. } => "choose another name".into(),
            Self::NoHub { .. } => "it is pushed to and fetched from as it is: `wbsync sync`".into(),
            #[cfg(feature = "git")]
            Self::Mirror { .. } => "give a directory that is empty, or an earlier mirror of this instance".into(),
            Self::Name(_) => "choose a name that keeps the rule".into(),
            Self::BadValue { .. } => "`wbsync show RECORD` shows how its values are written".into(),
            Self::NotEdited { .. } => "edit it again, or take a side with `--take`".into(),
            Self::NotRevertible { .. } => "`wbsync log` lists commits, `wbsync show COMMIT` what one did".into(),
            Self::DifferentScopes { .. } => "compare two commits of one scope: `wbsync log SCOPE` lists them".into(),
            Self::Bookkeeping(_) => {
                "restore the application's database, and .wbsync with it, from a backup of the same time; then `wbsync restore`"
                    .into()
            }
            Self::Document { .. } => "see that it is the file that was meant, and whole; its owner may send it again".into(),
            Self::Output(source) => io_hint(source).into(),
            Self::Proof { source, .. } => match **source {
                super::proof::ProofError::OtherOrigin { .. } => {
                    "compare the fingerprint with the one that the origin's operator reads out (`wbsync id --fingerprint`)".into()
                }
                _ => "ask for another: `wbsync prove` makes it where the scope is read".into(),
            },
            Self::NotSigned { .. } => {
                "`wbsync push` signs what is new in our scopes, `wbsync fetch` brings what peers have signed; \
                 `wbsync scope show SCOPE` lists the heads"
                    .into()
            }
            Self::Reveals { .. } => {
                "`--dry-run` says what would be in it; with `--reveal` it is written, for whom you trust with all of that".into()
            }
        })
    }
}

/// Says what to do about what the operating system refused.
pub fn io_hint(error: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::NotFound => "check the path, from the directory where the command runs",
        Kind::PermissionDenied => "let this user read and write it, or run the command as its owner",
        Kind::StorageFull | Kind::QuotaExceeded => FULL,
        Kind::ReadOnlyFilesystem => "mount it writable, or choose another place",
        Kind::AlreadyExists => "choose another name, or remove what is there",
        Kind::InvalidData => {
            "the file is larger than it may be, or something else: see that it is the one that was meant"
        }
        _ => "the reason is the system's; if it lasts, look at the disk or the mount",
    }
}

const FULL: &str =
    "make room (`wbsync status --size` shows what takes it, `wbsync gc` removes what nothing needs), then run it again";

/// Guesses which of the known keys an unknown one was meant to be, from what toml says of it.
fn meant(message: &str) -> Option<(&str, &str)> {
    let mut words = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let wrong = words.next()?;
    Some((wrong, super::settings::nearest(wrong, words)?))
}

fn unfitting(fits: &[Fit]) -> String {
    fits.iter().flat_map(Fit::blocking_lines).collect::<Vec<_>>().join("; ")
}

impl From<crate::id::name::NameError> for Error {
    fn from(error: crate::id::name::NameError) -> Self {
        Self::Name(error)
    }
}

impl From<state::error::Error> for Error {
    fn from(source: state::error::Error) -> Self {
        Self::State(source)
    }
}

impl From<connector::error::Error> for Error {
    /// Takes our own error out again if it only went through a connector's callback.
    fn from(source: connector::error::Error) -> Self {
        use connector::error::Error as Database;
        match source {
            Database::Sink(callback) | Database::Source(callback) => match callback.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Output(io::Error::other(other)),
            },
            source => Self::Database(Box::new(source)),
        }
    }
}

/// Wraps one of our errors so that it can pass through a connector's callback.
pub fn through(error: Error) -> SinkError {
    Box::new(error)
}
