//! Bundles: what another site lacks, in one file that travels on a stick; and the way back.
//!
//! The packer keeps no account of what it sent: a stick may get lost. What a peer has is told by its receipts, which come
//! back on any path, or by its request. So the next bundle holds what is still lacking, and one that comes twice or
//! late harms nobody. To apply a bundle is to fetch from it.

mod lack;
pub mod open;
pub mod strangers;
mod told;

use std::io::{self, Write};
use std::path::PathBuf;

use self::lack::Lacking;
use self::open::Opened;
use self::strangers::Stranger;
use super::code::Code;
use super::commit::{CommitSummary, Mode};
use super::error::{Error, io_hint};
use super::fetch::FetchSummary;
use super::instance::Instance;
use super::progress::Event;
use super::relay::CARRIES_KEY;
use super::round::MergeSummary;
use crate::exchange::store::Store;
use crate::id::bytes::InstanceId;
use crate::keys::identity::fingerprint_of;
use crate::keys::sealing;
use crate::state::peers::PeerRow;
use crate::sys::{clock, random};
use crate::transport::bundle::index::{self, ENTRIES_MAX, Entry, Index, REQUEST_BYTES_MAX};
use crate::transport::bundle::request::Request;
use crate::transport::bundle::{store, write};

/// For whom a bundle is packed.
#[derive(Debug, Clone, Default)]
pub struct BundleOptions {
    /// Peers, by name: what they may read and haven't confirmed.
    pub peers: Vec<String>,
    /// Requests: what those who signed them may read and don't have.
    pub requests: Vec<Vec<u8>>,
    /// Everything in our store, whoever may read it.
    pub all: bool,
    /// Whole, whatever they have.
    pub full: bool,
    /// Heads with everything that they name and that the store of a receiver lacks, so that it can pass them on.
    pub whole: bool,
    /// They have what we had at this time.
    pub since: Option<clock::UnixMillis>,
    /// The most bytes of one part.
    pub split: Option<u64>,
    /// Peers, by name, to whom the whole bundle is sealed, so that not even its index can be read by others.
    pub sealed_to: Vec<String>,
}

/// What a bundle holds.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct BundleSummary {
    /// Its random name.
    pub id: String,
    /// The fingerprint of whoever packed it.
    pub packed_by: String,
    /// What we call that instance; empty if we don't know it.
    pub name: String,
    /// When it was packed.
    pub time: Option<clock::UnixMillis>,
    /// Parts.
    pub parts: u32,
    /// Heads.
    pub heads: u64,
    /// Objects.
    pub objects: u64,
    /// Bytes of the objects.
    pub object_bytes: u64,
    /// Everything in it: path and bytes.
    pub files: Vec<(String, u64)>,
}

/// What applying a bundle did.
#[derive(Debug, Default, serde::Serialize)]
pub struct BundleApplied {
    /// The bundle.
    pub bundle: BundleSummary,
    /// What was captured first.
    pub committed: CommitSummary,
    /// What was taken from it.
    pub fetched: FetchSummary,
    /// What was merged and written.
    #[serde(flatten)]
    pub merge: MergeSummary,
    /// Whose records in it were left alone: they are no peers, or not followed.
    pub strangers: Vec<Stranger>,
}

/// A bundle that is about to be written.
#[derive(Debug)]
pub struct Packing {
    /// The index of each part.
    pub indexes: Vec<Index>,
    /// What of others could not be packed in its newest form, and why.
    pub left_out: Vec<String>,
    recipients: Vec<String>,
}

/// A bundle can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It can't be read as one.
    #[error("it isn't whole, or no bundle")]
    Open(#[source] store::Error),
    /// A request is where a bundle should be.
    #[error("{name} is a request, which asks for a bundle")]
    IsRequest {
        /// The file.
        name: String,
    },
    /// A bundle is where a request should be.
    #[error("{name} is a bundle, and no request for one")]
    IsBundle {
        /// The file.
        name: String,
    },
    /// It can't be written.
    #[error("it could not be packed")]
    Write(#[source] write::Error),
    /// A request doesn't count.
    #[error("the request doesn't count")]
    Request(#[source] index::Error),
    /// The input can't be read.
    #[error("cannot read {from}")]
    Read {
        /// The file, or standard input.
        from: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file for it can't be used.
    #[error("cannot {doing} the bundle")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is sealed, and none of our keys opens it.
    #[error("it is sealed")]
    Sealed(#[source] sealing::Error),
    /// It is sealed, and there are no keys here.
    #[error("it is sealed, and there is no instance here that could open it")]
    NoKeys,
    /// One document is larger than the parts may be.
    #[error("a part of {split} bytes has no room for an object of {bytes}")]
    NoRoom {
        /// The bound.
        split: u64,
        /// What doesn't fit.
        bytes: u64,
    },
}

impl BundleError {
    /// Returns the word that scripts know it by.
    pub fn code(&self) -> Code {
        match self {
            Self::Open(store::Error::Incomplete { .. } | store::Error::Mixed { .. }) => Code::BundleIncomplete,
            Self::Open(_) | Self::Request(_) => Code::BundleDamaged,
            Self::Sealed(sealing::Error::Read(_) | sealing::Error::Header) => Code::BundleDamaged,
            Self::Sealed(_) | Self::NoKeys => Code::BundleSealed,
            Self::IsRequest { .. } | Self::IsBundle { .. } => Code::Bundle,
            Self::Write(_) | Self::Read { .. } | Self::Io { .. } | Self::NoRoom { .. } => Code::Bundle,
        }
    }

    /// Says what to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Open(store::Error::Incomplete { .. } | store::Error::Mixed { .. }) => {
                "name all parts of one bundle at once, in any order"
            }
            Self::Open(_) | Self::Request(_) => "nothing was changed; copy it again, or ask for another",
            Self::Sealed(_) => "whoever packed it names the peers who can open it with `--to`",
            Self::NoKeys => {
                "`wbsync init` makes keys; whoever packs names the card that `wbsync id` prints then, with `--to`"
            }
            Self::Read { source, .. } | Self::Io { source, .. } => io_hint(source),
            Self::Write(_) => "what was written is no bundle; run it again",
            Self::IsRequest { .. } => "whoever it is meant for answers it: `wbsync bundle create --request FILE`",
            Self::IsBundle { .. } => "take it in: `wbsync bundle apply FILE`; `wbsync bundle request` writes requests",
            Self::NoRoom { .. } => "give larger parts with `--split`",
        }
    }
}

impl From<BundleError> for Error {
    fn from(error: BundleError) -> Self {
        Self::Bundle(Box::new(error))
    }
}

impl Instance {
    /// Returns a request: what we have, for whoever packs a bundle for us.
    ///
    /// # Errors
    /// `State`.
    pub fn bundle_request(&self) -> Result<Vec<u8>, Error> {
        self.tell_held(&[], &|_| Ok(true))
    }

    /// Captures and publishes what is new, unless `mode` is a dry run, and lists what a bundle will hold.
    ///
    /// # Errors
    /// `UnknownPeer`; `Bundle` for a request that doesn't count; as `commit` and `publish`.
    pub fn bundle_pack(&self, options: &BundleOptions, mode: Mode) -> Result<Packing, Error> {
        if mode == Mode::Keep {
            self.commit(Mode::Keep)?;
            self.merge()?;
            self.publish()?;
        }
        let own = self.own_store()?;
        let Lacking { entries, request, heads, left_out } = self.lacking(&own, options)?;
        let parts = divide(entries, options.split)?;
        let mut request = Some(request).filter(|request| request.len() <= REQUEST_BYTES_MAX);
        let id = random::bytes();
        let count = u32::try_from(parts.len()).expect("parts are bounded by their entries");
        let (signer, time) = (self.id(), clock::now());
        let index = |(part, entries)| Index { signer, id, part, parts: count, time, entries, request: request.take() };
        let indexes = (1..).zip(parts).map(index).collect();
        if mode == Mode::Keep {
            heads.iter().try_for_each(|(scope, seq)| self.state.put_handed(scope, *seq))?;
            options.requests.iter().try_for_each(|bytes| self.take_told(bytes))?;
        }
        let mut recipients = Vec::new();
        for name in &options.sealed_to {
            recipients.push(self.recipient_of(&self.peer_named(name)?)?);
        }
        if !recipients.is_empty() {
            recipients.push(self.identity.recipient());
        }
        Ok(Packing { indexes, left_out, recipients })
    }

    /// Writes one part of a bundle.
    ///
    /// # Errors
    /// `Bundle`; what was written then is no bundle.
    pub fn bundle_write(&self, packing: &Packing, part: usize, to: &mut dyn Write) -> Result<(), Error> {
        let own = self.own_store()?;
        let index = &packing.indexes[part];
        let total = index.entries.iter().map(|entry| entry.bytes).sum();
        self.tell(Event::Phase { name: "packing", total: Some(total) });
        let progress = &mut |done| self.tell(Event::Done(done));
        let io = |source| BundleError::Io { doing: "seal", source };
        match packing.recipients.is_empty() {
            true => write::write(index, &self.identity, &own, to, progress).map_err(BundleError::Write)?,
            false => {
                let mut sealed = sealing::encryptor_to(&packing.recipients, to).map_err(io)?;
                write::write(index, &self.identity, &own, &mut sealed, progress).map_err(BundleError::Write)?;
                sealed.finish().and_then(|to| to.flush()).map_err(io)?;
            }
        }
        self.tell(Event::End);
        Ok(())
    }

    /// Takes a bundle in: commits, fetches from it, merges, and writes rows. A bundle that isn't whole changes nothing.
    ///
    /// # Errors
    /// `Bundle`; as `pull`. What single documents do wrong is in the summary.
    pub fn bundle_apply(&self, files: &[PathBuf], mode: Mode) -> Result<BundleApplied, Error> {
        let opened = open::open(files, Some(self))?;
        let bundle = self.bundle_summary(opened.store.indexes())?;
        let packer = opened.store.indexes().first().map_or_else(|| self.id(), |index| index.signer);
        let strangers = self.strangers_in(&opened.store, &packer)?;
        if mode == Mode::DryRun {
            return Ok(BundleApplied { bundle, strangers, ..BundleApplied::default() });
        }
        self.state.set_meta(CARRIES_KEY, "yes")?;
        self.take_all_told(&opened)?;
        let committed = self.commit(Mode::Keep)?;
        let name = format!("bundle-{}", &bundle.id[..8]);
        let fetched = self.fetch_store(&opened.store as &dyn Store, &name)?;
        let merge = self.merge_and_apply(Mode::Keep)?;
        // What we confirm lies ready for whoever packs next.
        self.publish()?;
        Ok(BundleApplied { bundle, committed, fetched, merge, strangers })
    }

    /// Keeps what a bundle tells of what its packer has.
    pub(super) fn take_all_told(&self, opened: &Opened) -> Result<(), Error> {
        let told = opened.store.indexes().iter().filter_map(|index| index.request.as_ref());
        told.into_iter().try_for_each(|bytes| self.take_told(bytes))
    }

    /// Keeps what a peer tells of what it has itself.
    fn take_told(&self, request: &[u8]) -> Result<(), Error> {
        self.remember_told(request, &Request::open(request).map_err(BundleError::Request)?)
    }

    /// Reads a bundle from end to end and says what is in it.
    ///
    /// # Errors
    /// `Bundle`.
    pub fn bundle_look(&self, files: &[PathBuf]) -> Result<BundleSummary, Error> {
        self.bundle_summary(open::open(files, Some(self))?.store.indexes())
    }

    fn bundle_summary(&self, indexes: &[Index]) -> Result<BundleSummary, Error> {
        let mut summary = summary_of(indexes);
        let Some(signer) = indexes.first().map(|index| index.signer) else { return Ok(summary) };
        summary.name = match signer == self.id() {
            true => "this instance".into(),
            false => self.state.peer(&signer)?.map(|peer| peer.name.to_string()).unwrap_or_default(),
        };
        Ok(summary)
    }

    fn recipient_of(&self, peer: &PeerRow) -> Result<String, Error> {
        let card = crate::keys::card::SignedCard::open(&peer.card).map_err(Error::Card)?;
        Ok(card.card.recipient)
    }
}

/// Reads a bundle where there is no instance: a sealed one can't be.
///
/// # Errors
/// `Bundle`.
pub fn bundle_look(files: &[PathBuf]) -> Result<BundleSummary, Error> {
    Ok(summary_of(open::open(files, None)?.store.indexes()))
}

/// Says what a bundle with these indexes holds.
pub fn summary_of(indexes: &[Index]) -> BundleSummary {
    use crate::exchange::layout::StorePath;
    let Some(first) = indexes.first() else { return BundleSummary::default() };
    let signer: InstanceId = first.signer;
    let mut summary = BundleSummary {
        id: first.id.iter().map(|byte| format!("{byte:02x}")).collect(),
        packed_by: fingerprint_of(&signer),
        time: Some(first.time),
        parts: first.parts,
        ..BundleSummary::default()
    };
    for entry in indexes.iter().flat_map(|index| &index.entries) {
        summary.files.push((entry.path.to_string(), entry.bytes));
        match entry.path {
            StorePath::Object(_) => {
                summary.objects += 1;
                summary.object_bytes += entry.bytes;
            }
            StorePath::Head(..) => summary.heads += 1,
            _ => {}
        }
    }
    summary
}

/// Lays entries into as few parts as their order allows: documents that name objects come after them, so in the last.
fn divide(entries: Vec<Entry>, split: Option<u64>) -> Result<Vec<Vec<Entry>>, Error> {
    let split = split.unwrap_or(u64::MAX);
    let mut parts: Vec<Vec<Entry>> = vec![Vec::new()];
    let mut used = OVERHEAD_BYTES;
    for entry in entries {
        // Header, content, filling, and what the index says of it.
        let cost = entry.bytes + 1024 + 256;
        if OVERHEAD_BYTES + cost > split {
            return Err(BundleError::NoRoom { split, bytes: entry.bytes }.into());
        }
        let part = parts.last_mut().expect("there is always one");
        if !part.is_empty() && (used + cost > split || part.len() == ENTRIES_MAX) {
            parts.push(vec![entry]);
            used = OVERHEAD_BYTES + cost;
        } else {
            part.push(entry);
            used += cost;
        }
    }
    Ok(parts)
}

/// Index, end, and the seal around it all.
const OVERHEAD_BYTES: u64 = 8 << 10;
