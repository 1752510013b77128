//! Who has confirmed our withdrawals: receipts that name the head which carried them, or a later one.

use super::error::Error;
use super::instance::Instance;
use super::receipts::decode_held;
use crate::state::published::Withdrawal;
use crate::state::receipts::ReceiptRow;
use crate::sys::clock::UnixMillis;

/// A record that we took out of a scope, and who says that it is out there too.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Confirmations {
    /// The record, as `dataset/key`.
    pub record: String,
    /// The scope that it left.
    pub scope: String,
    /// When.
    pub withdrawn: UnixMillis,
    /// Our head that carries the withdrawal; none if it was not published yet.
    pub head: Option<u64>,
    /// Readers whose application shows it no more, and whose state has forgotten it.
    pub confirmed: Vec<Confirmed>,
    /// Readers that haven't said so. Of a public scope only those are known that have left a receipt before.
    pub waiting: Vec<String>,
}

/// A reader's word.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Confirmed {
    /// Whose.
    pub peer: String,
    /// When the reader signed its newest receipt, by its own clock.
    pub time: UnixMillis,
}

impl Instance {
    /// Lists our withdrawals with who has confirmed them, the newest first: those of a record, given by the first
    /// digits of its key, or all.
    ///
    /// # Errors
    /// `NotFound` if no such record was withdrawn.
    pub fn confirmations(&self, record: Option<&str>) -> Result<Vec<Confirmations>, Error> {
        let mut list = Vec::new();
        for scope in self.open_scopes_of(&self.id())? {
            let receipts = self.state.receipts(&scope.row.id)?;
            let readers = if scope.manifest.public {
                receipts.iter().map(|receipt| receipt.signer).collect()
            } else {
                scope.manifest.readers()
            };
            for Withdrawal { dataset, record: key, time, head } in self.state.withdrawals(&scope.row.id)? {
                let name = format!("{}/{key}", dataset.base());
                if record.is_some_and(|wanted| !name.starts_with(wanted) && !key.to_string().starts_with(wanted)) {
                    continue;
                }
                let (mut confirmed, mut waiting) = (Vec::new(), Vec::new());
                for reader in readers.iter().filter(|reader| **reader != self.id()) {
                    let peer = self.instance_label(reader)?;
                    match receipts.iter().find(|receipt| receipt.signer == *reader) {
                        Some(receipt) if self.confirms(receipt, head)? => {
                            confirmed.push(Confirmed { peer, time: receipt.time });
                        }
                        _ => waiting.push(peer),
                    }
                }
                confirmed.sort_by(|a, b| a.peer.cmp(&b.peer));
                waiting.sort();
                let scope = scope.label(self)?;
                list.push(Confirmations { record: name, scope, withdrawn: time, head, confirmed, waiting });
            }
        }
        if let (true, Some(record)) = (list.is_empty(), record) {
            return Err(Error::NotFound { what: format!("withdrawal of record {record:?}") });
        }
        list.sort_by(|a, b| (b.withdrawn, &a.scope, &a.record).cmp(&(a.withdrawn, &b.scope, &b.record)));
        Ok(list)
    }

    /// Tells whether a receipt names our head `head`, or a later one.
    fn confirms(&self, receipt: &ReceiptRow, head: Option<u64>) -> Result<bool, Error> {
        let Some(head) = head else { return Ok(false) };
        let applied = decode_held(receipt)?.applied.into_iter().find(|applied| applied.signer == self.id());
        Ok(applied.is_some_and(|applied| applied.seq >= head))
    }
}
