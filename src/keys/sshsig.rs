//! The binary SSHSIG blob of an Ed25519 signature: one byte string for one signature.
//!
//! Read here and not by the `ssh-key` crate because a signed document has to have a single form: the
//! `reserved` field isn't covered by what we verify, and bytes at the end would go unnoticed, so either
//! would let a carrier give a document another hash. Layout: OpenSSH's PROTOCOL.sshsig, and format/document.md.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// What a blob says; nothing of it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The Ed25519 public key that is said to have signed.
    pub public_key: [u8; 32],
    /// What kind of thing was signed.
    pub namespace: &'a str,
    /// The Ed25519 signature.
    pub signature: [u8; 64],
}

/// Bytes are not the one form of SSHSIG that we use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not begin with `SSHSIG`.
    #[error("the signature does not begin with SSHSIG")]
    Magic,
    /// It ends inside a field.
    #[error("the signature ends inside its {0}")]
    Truncated(&'static str),
    /// A field isn't what format/document.md says.
    #[error("the signature's {field} must be {wanted}, not {found:?}")]
    Field {
        /// The name of the field in PROTOCOL.sshsig.
        field: &'static str,
        /// What has to stand there.
        wanted: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// Bytes follow the last field.
    #[error("{0} bytes follow the signature")]
    Trailing(usize),
}

impl<'a> Claim<'a> {
    /// Reads a blob.
    ///
    /// # Errors
    /// Anything but version 1, an `ssh-ed25519` key and signature, no reserved bytes and `sha512`.
    pub fn parse(blob: &'a [u8]) -> Result<Self, Error> {
        let mut fields = Fields { left: blob.strip_prefix(MAGIC).ok_or(Error::Magic)? };
        let version = fields.take(4, "version")?;
        want("version", "1", version == VERSION, version)?;
        let mut key = Fields { left: fields.string("public key")? };
        let algorithm = key.string("key algorithm")?;
        want("key algorithm", "ssh-ed25519", algorithm == ALGORITHM, algorithm)?;
        let public_key = key.string("public key")?;
        let public_key = array(public_key, "public key", "32 bytes")?;
        key.end()?;
        let namespace = fields.string("namespace")?;
        let namespace = std::str::from_utf8(namespace).map_err(|_| Error::Field {
            field: "namespace",
            wanted: "UTF-8",
            found: shown(namespace),
        })?;
        let reserved = fields.string("reserved field")?;
        want("reserved field", "empty", reserved.is_empty(), reserved)?;
        let hash = fields.string("hash algorithm")?;
        want("hash algorithm", "sha512", hash == HASH, hash)?;
        let mut inner = Fields { left: fields.string("signature")? };
        let algorithm = inner.string("signature algorithm")?;
        want("signature algorithm", "ssh-ed25519", algorithm == ALGORITHM, algorithm)?;
        let signature = array(inner.string("signature")?, "signature", "64 bytes")?;
        inner.end()?;
        fields.end()?;
        Ok(Self { public_key, namespace, signature })
    }

    /// Writes the blob.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut key = Vec::new();
        put(&mut key, ALGORITHM);
        put(&mut key, &self.public_key);
        let mut inner = Vec::new();
        put(&mut inner, ALGORITHM);
        put(&mut inner, &self.signature);
        let mut blob = [MAGIC, VERSION].concat();
        put(&mut blob, &key);
        put(&mut blob, self.namespace.as_bytes());
        put(&mut blob, b"");
        put(&mut blob, HASH);
        put(&mut blob, &inner);
        blob
    }
}

/// Returns the armored form of a blob, as `ssh-keygen -Y verify` wants it.
pub fn armor(blob: &[u8]) -> String {
    let base64 = STANDARD.encode(blob);
    let mut text = String::from("-----BEGIN SSH SIGNATURE-----\n");
    for line in base64.as_bytes().chunks(70) {
        text.push_str(std::str::from_utf8(line).expect("base64 is ASCII"));
        text.push('\n');
    }
    text + "-----END SSH SIGNATURE-----\n"
}

struct Fields<'a> {
    left: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], Error> {
        let (taken, left) = self.left.split_at_checked(count).ok_or(Error::Truncated(field))?;
        self.left = left;
        Ok(taken)
    }

    fn string(&mut self, field: &'static str) -> Result<&'a [u8], Error> {
        let length = self.take(4, field)?.try_into().expect("four bytes were taken");
        self.take(u32::from_be_bytes(length) as usize, field)
    }

    fn end(&self) -> Result<(), Error> {
        if self.left.is_empty() { Ok(()) } else { Err(Error::Trailing(self.left.len())) }
    }
}

fn want(field: &'static str, wanted: &'static str, holds: bool, found: &[u8]) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Field { field, wanted, found: shown(found) }) }
}

fn array<const N: usize>(bytes: &[u8], field: &'static str, wanted: &'static str) -> Result<[u8; N], Error> {
    bytes.try_into().map_err(|_| Error::Field { field, wanted, found: format!("{} bytes", bytes.len()) })
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned()
}

fn put(out: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).expect("no field of ours is longer than a namespace");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(field);
}

const MAGIC: &[u8] = b"SSHSIG";
const VERSION: &[u8] = &[0, 0, 0, 1];
const ALGORITHM: &[u8] = b"ssh-ed25519";
const HASH: &[u8] = b"sha512";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn armored_blob_is_what_the_ssh_key_crate_writes() {
        let claim = Claim { public_key: [7; 32], namespace: "head@wbsync", signature: [9; 64] };
        let armored = armor(&claim.to_bytes());
        let theirs = ssh_key::SshSig::from_pem(&armored).unwrap();
        assert_eq!(theirs.namespace(), "head@wbsync");
        assert_eq!(theirs.signature_bytes(), [9; 64]);
        assert_eq!(theirs.to_pem(ssh_key::LineEnding::LF).unwrap(), armored);
    }

    #[test]
    fn every_prefix_is_refused() {
        let blob = Claim { public_key: [7; 32], namespace: "n", signature: [9; 64] }.to_bytes();
        assert!((0..blob.len()).all(|end| Claim::parse(&blob[..end]).is_err()));
    }

    proptest! {
        /// A blob that is read is the only spelling of what it says.
        #[test]
        fn a_mutated_blob_is_refused_or_says_something_else(at in 0usize..200, byte in any::<u8>()) {
            let claim = Claim { public_key: [7; 32], namespace: "head@wbsync", signature: [9; 64] };
            let mut blob = claim.to_bytes();
            let at = at % blob.len();
            blob[at] = byte;
            if let Ok(read) = Claim::parse(&blob) {
                prop_assert_eq!(read.to_bytes(), blob);
            }
        }
    }
}
