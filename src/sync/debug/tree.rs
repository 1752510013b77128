//! The tree of a dataset, node by node, and the key of a scope's newest epoch.

use age::secrecy::SecretString;

use crate::id::bytes::NodeId;
use crate::id::name::DatasetName;
use crate::sync::error::Error;
use crate::sync::instance::Instance;
use crate::tree::node::Node;
use crate::tree::store::NodeStore;
use crate::tree::walk::walk;

/// A tree.
#[derive(Debug, serde::Serialize)]
pub struct TreeShown {
    /// Records in it.
    pub records: u64,
    /// Its nodes, parents first, left to right.
    pub nodes: Vec<NodeShown>,
}

/// A node.
#[derive(Debug, serde::Serialize)]
pub struct NodeShown {
    /// Its id.
    pub id: NodeId,
    /// The distance to the leaves.
    pub level: u8,
    /// Its size.
    pub bytes: usize,
    /// Its own entries or children.
    pub entries: usize,
    /// Records in or below it.
    pub records: u64,
    /// The greatest key in or below it, in hexadecimal digits.
    pub greatest_key: String,
}

impl Instance {
    /// Lists the nodes of a dataset in the local head of a scope.
    ///
    /// # Errors
    /// `NotFound`, `UnknownDataset`; `Tree` or `Document` if a node is missing or damaged.
    pub fn tree_nodes(&self, label: &str, dataset: &DatasetName) -> Result<TreeShown, Error> {
        let not_found = || Error::NotFound { what: format!("dataset {dataset} of scope {label:?}") };
        let open = self.scopes_labelled(Some(label))?.into_iter().next().ok_or_else(not_found)?;
        let head = open.row.local_head.ok_or_else(not_found)?;
        let commit = self.state.known_commit(&open.row.id, &head)?.commit;
        let root = *commit.datasets.get(dataset).ok_or_else(|| Error::UnknownDataset {
            name: dataset.to_string(),
            known: commit.datasets.keys().map(ToString::to_string).collect(),
        })?;
        let mut ids = Vec::new();
        walk(&self.state, &open.row.id_key, &root, |id, _| {
            ids.push(*id);
            true
        })
        .map_err(|source| Error::Tree { scope: label.to_owned(), source })?;
        let nodes = ids.into_iter().map(|id| {
            let bytes = self.state.read(&id).map_err(|error| Error::document(format!("node {id}"), error))?;
            let size = bytes.len();
            let node = Node::decode(bytes).map_err(|error| Error::document(format!("node {id}"), error))?;
            Ok(NodeShown {
                id,
                level: node.level(),
                bytes: size,
                entries: node.entries(),
                records: node.count(),
                greatest_key: node.greatest_key().iter().map(|byte| format!("{byte:02x}")).collect(),
            })
        });
        Ok(TreeShown { records: root.count, nodes: nodes.collect::<Result<_, Error>>()? })
    }

    /// Returns the number and the age identity of a scope's newest epoch: whoever has it reads the scope.
    ///
    /// # Errors
    /// `NotFound` if we hold no such scope or may not read it.
    pub fn epoch_key(&self, label: &str) -> Result<(u32, SecretString), Error> {
        let not_found = || Error::NotFound { what: format!("scope {label:?}") };
        let open = self.scopes_labelled(Some(label))?.into_iter().next().ok_or_else(not_found)?;
        let (number, key) = open.keys.epochs.last_key_value().ok_or_else(not_found)?;
        Ok((*number, key.secret_text()))
    }
}
