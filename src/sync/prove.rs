//! Makes a proof of a record, or of its absence, from a signed head whose trees we hold.

use std::cell::RefCell;

use super::error::Error;
use super::instance::Instance;
use super::proof::{Proof, ProofError, Proven, Trusted};
use super::scopes::OpenScope;
use crate::history::commit::Commit;
use crate::id::bytes::{NodeId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::codec;
use crate::state::database::State;
use crate::state::heads::TrackedHead;
use crate::tree::get::get;
use crate::tree::store::{NodeStore, StoreError};

/// What is to be proven.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// The record: `dataset/key` or the first digits of its key; all of `dataset/key` if it is absent.
    pub record: &'a str,
    /// The scope; needed if the record is absent, or in several.
    pub scope: Option<&'a str>,
    /// Whose head is to show it; otherwise the first that does, the origin's before others.
    pub signer: Option<&'a str>,
    /// That the record isn't there.
    pub absent: bool,
    /// That records of scopes that aren't public may be shown to whoever gets the proof.
    pub reveal: bool,
}

/// A proof, and what it is worth.
#[derive(Debug)]
pub struct Made {
    /// The proof.
    pub proof: Proof,
    /// What it shows, as verified.
    pub proven: Proven,
    /// The scope's label.
    pub scope: String,
    /// The signer's label.
    pub signer: String,
    /// Whether the record is proven as it is here now, and not in an older state.
    pub current: bool,
}

/// What is looked for: a record with its present bytes, or a key that isn't there.
struct Wanted {
    open: OpenScope,
    dataset: DatasetName,
    key: RecordKey,
    bytes: Option<Vec<u8>>,
}

impl Instance {
    /// Proves that a signed head has a record, or has none of its key. Nothing is written.
    ///
    /// A head that has the record as it is here is preferred to one that has it otherwise.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`, `UnknownPeer`, `UnknownDataset`; `NotSigned` if no head that we hold shows it; `Reveals` unless that was allowed.
    pub fn prove(&self, asked: &Asked<'_>) -> Result<Made, Error> {
        let wanted = self.wanted(asked)?;
        let scope = wanted.open.label(self)?;
        let mut found = None;
        for head in self.heads_to_show(&wanted.open, asked.signer)? {
            let Some((proof, value)) = self.path_in(&wanted, &head)? else { continue };
            if value.is_some() == asked.absent {
                continue;
            }
            let current = value == wanted.bytes;
            if current || found.is_none() {
                found = Some((proof, head, current));
            }
            if current {
                break;
            }
        }
        let Some((proof, head, current)) = found else {
            let what = format!("{}/{}", wanted.dataset, wanted.key);
            let shown = if asked.absent { format!("that {what} is absent from {scope}") } else { what };
            return Err(Error::NotSigned { what: shown });
        };
        let origin = Trusted::Instance(wanted.open.row.origin);
        let proven = proof.verify(&origin).map_err(|source| Error::Proof {
            path: format!("the head of {} in {scope}", head.signer.short()).into(),
            source: Box::new(source),
        })?;
        if !proven.public && !asked.reveal {
            return Err(Error::Reveals { scope });
        }
        Ok(Made { proof, proven, scope, signer: self.instance_label(&head.signer)?, current })
    }

    fn wanted(&self, asked: &Asked<'_>) -> Result<Wanted, Error> {
        if !asked.absent {
            let (open, id, record) = self.find_record_in(asked.scope, asked.record)?;
            let bytes = Some(codec::encode(&record, &open.row.origin));
            return Ok(Wanted { open, dataset: id.dataset, key: id.key, bytes });
        }
        let not_found = || Error::NotFound { what: format!("whole record {:?}", asked.record) };
        let (dataset, key) = asked.record.split_once('/').ok_or_else(not_found)?;
        let (dataset, key) = (DatasetName::new(dataset)?, key.parse().map_err(|_| not_found())?);
        let label = asked.scope.ok_or_else(|| Error::NotFound { what: "scope \"\"".into() })?;
        let unknown = || Error::NotFound { what: format!("scope {label:?}") };
        let open = self.scopes_labelled(Some(label))?.into_iter().next().ok_or_else(unknown)?;
        // Anything is absent from a dataset that isn't there.
        let known = &open.schema.fields;
        if !known.is_empty() && !known.contains_key(&dataset) {
            let known = known.keys().map(ToString::to_string).collect();
            return Err(Error::UnknownDataset { name: dataset.to_string(), known });
        }
        Ok(Wanted { open, dataset, key, bytes: None })
    }

    /// Returns the heads that count in a scope, the origin's first, then ours.
    fn heads_to_show(&self, open: &OpenScope, signer: Option<&str>) -> Result<Vec<TrackedHead>, Error> {
        let (mut heads, mut is_known) = (Vec::new(), signer.is_none_or(|name| name == self.card.card.name.as_str()));
        for head in self.state.heads(&open.row.id)? {
            let named = signer.is_none() || signer == Some(self.instance_label(&head.signer)?.as_str());
            is_known |= named;
            if named && open.manifest.may_write(&head.signer) {
                heads.push(head);
            }
        }
        if let Some(name) = signer.filter(|_| !is_known) {
            self.peer_named(name)?;
        }
        heads.sort_by_key(|head| (head.signer != open.row.origin, head.signer != self.id(), head.signer));
        Ok(heads)
    }

    /// Returns the way to the key in a head's tree, with what is there; `None` if we don't hold the tree.
    fn path_in(&self, wanted: &Wanted, head: &TrackedHead) -> Result<Option<(Proof, Option<Vec<u8>>)>, Error> {
        let row = &wanted.open.row;
        let Some(commit) = self.state.commit_bytes(&row.id, &head.commit)? else { return Ok(None) };
        let decoded =
            Commit::decode(&commit).map_err(|error| Error::document(format!("commit {}", head.commit), error))?;
        if !self.holds_trees(&decoded)? {
            return Ok(None);
        }
        let path = Recorded { state: &self.state, nodes: RefCell::default() };
        let value = get(&path, &row.id_key, &decoded.root(&wanted.dataset), wanted.key.as_bytes())
            .map_err(|source| Error::Tree { scope: row.name.to_string(), source })?;
        let proof = Proof {
            manifest: row.manifest.clone(),
            head: head.document.clone(),
            commit,
            id_key: *row.id_key.as_bytes(),
            dataset: wanted.dataset.clone(),
            key: wanted.key,
            nodes: path.nodes.into_inner(),
        };
        Ok(Some((proof, value)))
    }
}

/// Reads a proof and checks it.
///
/// # Errors
/// `Proof`.
pub fn verify(path: &std::path::Path, bytes: &[u8], trusted: &Trusted) -> Result<Proven, Error> {
    let proof = Proof::decode(bytes).and_then(|proof| proof.verify(trusted));
    proof.map_err(|source: ProofError| Error::Proof { path: path.to_owned(), source: Box::new(source) })
}

/// The nodes of the local state, those remembered that are read.
struct Recorded<'a> {
    state: &'a State,
    nodes: RefCell<Vec<Vec<u8>>>,
}

impl NodeStore for Recorded<'_> {
    fn read(&self, id: &NodeId) -> Result<Vec<u8>, StoreError> {
        let bytes = self.state.read(id)?;
        self.nodes.borrow_mut().push(bytes.clone());
        Ok(bytes)
    }

    fn write(&self, _id: &NodeId, _bytes: &[u8]) -> Result<(), StoreError> {
        Err(StoreError::Failed("a proof is only read".into()))
    }
}
