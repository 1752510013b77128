//! Receipt: a reader's signed statement which heads of a scope its application shows.
//!
//! So an origin learns who has taken out again what it withdrew. A receipt also hands on what its signer knows of
//! others: their newest heads, and proofs that somebody signed two histories. All of that is signed by those others
//! and is checked by whoever reads it. What a receipt says is sealed like the scope's objects; who does that is
//! `sync`. Format: format/receipt.md.
//!
//! Invariants, checked on decode and before signing: everything is within its bound; signers ascend.

mod codec;
pub mod fork;

use crate::cbor;
use crate::id::bytes::{DocHash, InstanceId, ScopeId};
use crate::keys::document::{self, DocKind, Unverified};
use crate::keys::identity::Identity;
use crate::sys::clock::UnixMillis;

/// A receipt with its statement still sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The scope.
    pub scope: ScopeId,
    /// Who says so.
    pub signer: InstanceId,
    /// The signer's incarnation.
    pub incarnation: u32,
    /// 1 for the first receipt of a scope, then more each time.
    pub seq: u64,
    /// When it was signed, by the signer's own clock.
    pub time: UnixMillis,
    /// The epoch that the statement is sealed to; `None` in a public scope, where it is in clear.
    pub epoch: Option<u32>,
    /// The statement's bytes, sealed or in clear.
    pub body: Vec<u8>,
}

/// What a receipt states.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statement {
    /// The heads that the signer's application shows, at most one of each signer, ascending by signer.
    pub applied: Vec<Applied>,
    /// The newest heads of others that the signer took, as signed documents.
    pub heads: Vec<Vec<u8>>,
    /// Pairs of documents that contradict each other, each pair signed by one instance.
    pub forks: Vec<[Vec<u8>; 2]>,
}

/// A head that an application shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Applied {
    /// Whose head.
    pub signer: InstanceId,
    /// The signer's incarnation.
    pub incarnation: u32,
    /// Its number.
    pub seq: u64,
    /// Its name.
    pub hash: DocHash,
}

/// A receipt can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document doesn't count.
    #[error("cannot verify the receipt")]
    Verify(#[source] document::Error),
    /// What was signed is no receipt.
    #[error("cannot read the receipt")]
    Decode(#[source] cbor::error::Error),
    /// It names another signer than the one that signed it.
    #[error("the receipt of {receipt} is signed by {signer}")]
    OtherSigner {
        /// Whom it names.
        receipt: InstanceId,
        /// Who signed it.
        signer: InstanceId,
    },
}

impl Receipt {
    /// Signs the receipt.
    ///
    /// # Panics
    /// If the identity isn't the signer, or the receipt breaks a rule of format/receipt.md.
    pub fn sign(&self, identity: &Identity) -> Vec<u8> {
        assert!(self.signer == identity.id(), "an instance signs its own receipts only");
        let payload = self.encode();
        assert!(Self::decode(&payload).as_ref() == Ok(self), "the receipt breaks a rule of its format");
        document::sign(identity, DocKind::Receipt, &payload)
    }

    /// Reads a receipt that `signer` signed.
    ///
    /// # Errors
    /// Every variant.
    pub fn open(bytes: &[u8], signer: &InstanceId) -> Result<(Self, DocHash), Error> {
        let document = Unverified::parse(bytes).map_err(Error::Verify)?;
        let verified = document.verify(DocKind::Receipt, signer).map_err(Error::Verify)?;
        let receipt = Self::decode(verified.payload).map_err(Error::Decode)?;
        if receipt.signer != *signer {
            return Err(Error::OtherSigner { receipt: receipt.signer, signer: *signer });
        }
        Ok((receipt, verified.hash))
    }
}

/// The most bytes of a statement, sealed or in clear.
pub const BODY_BYTES_MAX: usize = 2 << 20;
/// The most bytes of a statement before it is sealed.
pub const STATEMENT_BYTES_MAX: usize = 1 << 20;
/// A statement names at most this many heads.
pub const HEADS_MAX: usize = 1025;
/// A document inside a statement has at most this many bytes; larger ones are left out.
pub const PART_BYTES_MAX: usize = 64 << 10;
/// A statement has at most this many proofs of forks.
pub const FORKS_MAX: usize = 4;

#[cfg(test)]
mod tests;
