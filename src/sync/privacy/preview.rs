//! Preview: exactly what one peer would receive of us.

use std::collections::BTreeMap;

use crate::id::bytes::RecordKey;
use crate::id::name::{DatasetName, FieldName, ScopeName};
use crate::sync::commit::decode_record;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::tree::scan::scan;

/// One record as a peer receives it in one scope.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PreviewRecord {
    /// The scope.
    pub scope: ScopeName,
    /// `dataset/key`.
    pub record: String,
    /// All values of each field: several are concurrent.
    pub fields: BTreeMap<FieldName, Vec<serde_json::Value>>,
}

impl Instance {
    /// Gives every record that the next push would let a peer read, scope by scope, as committed.
    ///
    /// Returns the scopes that the peer can read.
    ///
    /// # Errors
    /// `UnknownPeer`; a tree that can't be read; the sink's own.
    pub fn preview(
        &self,
        peer: &str,
        sink: &mut dyn FnMut(PreviewRecord) -> Result<(), Error>,
    ) -> Result<Vec<ScopeName>, Error> {
        let peer = self.peer_named(peer)?.id;
        let mut scopes = Vec::new();
        for scope in self.open_scopes_of(&self.id())? {
            if !scope.manifest.public && !scope.manifest.readers().contains(&peer) {
                continue;
            }
            let name = scope.row.name.clone();
            scopes.push(name.clone());
            let Some(head) = scope.row.local_head else { continue };
            let known = self.state.known_commit(&scope.row.id, &head)?;
            for (dataset, root) in &known.commit.datasets {
                for entry in scan(&self.state, &scope.row.id_key, root, ..) {
                    let (key, bytes) = entry.map_err(|source| Error::Tree { scope: name.to_string(), source })?;
                    sink(self.preview_record(&name, dataset, &key, &bytes)?)?;
                }
            }
        }
        Ok(scopes)
    }

    fn preview_record(
        &self,
        scope: &ScopeName,
        dataset: &DatasetName,
        key: &[u8],
        bytes: &[u8],
    ) -> Result<PreviewRecord, Error> {
        let key = RecordKey::from_slice(key).ok_or_else(|| {
            crate::state::error::Error::damaged(format!("a key of dataset {dataset} is no record key"))
        })?;
        let record = decode_record(bytes, &self.id(), dataset, &key)?;
        let values = |cell: &crate::record::cell::Cell| cell.elements().iter().map(|one| one.value.to_json()).collect();
        let fields = record.cells.iter().map(|(field, cell)| (field.clone(), values(cell))).collect();
        Ok(PreviewRecord { scope: scope.clone(), record: format!("{dataset}/{key}"), fields })
    }
}
