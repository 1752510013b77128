//! Request signatures: one fixed profile of RFC 9421 (HTTP Message Signatures) with the instance key.
//!
//! A signature covers method, authority, path, query and, where a body isn't named by its path, the digest of the body
//! (RFC 9530). Exactly what `sign` writes is read: no other order, spelling or component, so nothing is parsed that
//! doesn't count. Whether time and nonce are fresh is the hub's business. Why not a library: docs/adr/0010-request-signatures.md.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::id::bytes::InstanceId;
use crate::keys::identity::Identity;
use crate::sys::random;

/// What of a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// Host in lower case, with its port unless that is the scheme's own.
    pub authority: &'a str,
    /// The path from the authority on, as it is sent.
    pub path: &'a str,
    /// What follows the `?`, without it; empty if there is none.
    pub query: &'a str,
    /// The `Content-Digest` field, if the request has one.
    pub digest: Option<&'a str>,
}

/// The two fields of a signed request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// `Signature-Input`.
    pub input: String,
    /// `Signature`.
    pub signature: String,
}

/// What a request says about its signature; nothing of it is verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who is said to have signed.
    pub signer: InstanceId,
    /// When, in seconds since 1970, by the signer's clock.
    pub created: u64,
    /// Makes the request different from all others.
    pub nonce: [u8; 16],
    /// Whether the digest of the body is covered.
    pub covers_digest: bool,
    signature: [u8; 64],
}

/// A signature doesn't count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The fields aren't the ones of our profile.
    #[error("the fields Signature-Input and Signature are not of the one form that counts")]
    Form,
    /// The body's digest isn't covered although there is one, or the other way round.
    #[error("the signature does not cover the digest of the body")]
    Digest,
    /// The key is no curve point, or one of the few for which anybody can make signatures.
    #[error("the key is none that can sign safely")]
    WeakKey,
    /// Something of what is covered was altered, or somebody else signed.
    #[error("the signature does not match")]
    Mismatch,
}

/// Signs a request, made at `created` (seconds since 1970), with a fresh nonce.
pub fn sign(identity: &Identity, covered: &Covered<'_>, created: u64) -> Fields {
    let nonce = random::bytes::<16>();
    let parameters = parameters(covered.digest.is_some(), created, &nonce, &identity.id());
    let signature = identity.signing_key().sign(base(covered, &parameters).as_bytes());
    Fields {
        input: format!("{LABEL}={parameters}"),
        signature: format!("{LABEL}=:{}:", STANDARD.encode(signature.to_bytes())),
    }
}

impl Claim {
    /// Reads the fields of a request.
    ///
    /// # Errors
    /// `Form`.
    pub fn parse(input: &str, signature: &str) -> Result<Self, Error> {
        parse(input, signature).ok_or(Error::Form)
    }

    /// Checks that the signer signed this request. Costs about 0.1 ms.
    ///
    /// # Errors
    /// Every variant but `Form`.
    pub fn verify(&self, covered: &Covered<'_>) -> Result<(), Error> {
        if self.covers_digest != covered.digest.is_some() {
            return Err(Error::Digest);
        }
        let key = VerifyingKey::from_bytes(self.signer.as_bytes()).map_err(|_| Error::WeakKey)?;
        if key.is_weak() {
            return Err(Error::WeakKey);
        }
        let parameters = parameters(self.covers_digest, self.created, &self.nonce, &self.signer);
        key.verify_strict(base(covered, &parameters).as_bytes(), &Signature::from_bytes(&self.signature))
            .map_err(|_| Error::Mismatch)
    }
}

/// Returns the `Content-Digest` field of a body.
pub fn digest_of(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

fn parse(input: &str, signature: &str) -> Option<Claim> {
    let rest = input.strip_prefix(LABEL)?.strip_prefix('=')?;
    let (covers_digest, rest) = match rest.strip_prefix(COMPONENTS) {
        Some(rest) => match rest.strip_prefix(DIGEST) {
            Some(rest) => (true, rest),
            None => (false, rest),
        },
        None => return None,
    };
    let (created, rest) = rest.strip_prefix(");created=")?.split_once(";nonce=\"")?;
    let (nonce, rest) = rest.split_once("\";keyid=\"")?;
    let (signer, _) = rest.split_once('"')?;
    let created = created.parse().ok()?;
    // An id of 16 bytes has the spelling that a nonce has: 32 lower-case hexadecimal digits.
    let nonce = *nonce.parse::<crate::id::bytes::RecordKey>().ok()?.as_bytes();
    let signer = signer.parse().ok()?;
    if input.strip_prefix(LABEL)?.strip_prefix('=')? != parameters(covers_digest, created, &nonce, &signer) {
        return None;
    }
    let encoded = signature.strip_prefix(LABEL)?.strip_prefix("=:")?.strip_suffix(':')?;
    let signature = STANDARD.decode(encoded).ok()?.try_into().ok()?;
    Some(Claim { signer, created, nonce, covers_digest, signature })
}

fn parameters(covers_digest: bool, created: u64, nonce: &[u8; 16], signer: &InstanceId) -> String {
    let nonce = crate::id::bytes::RecordKey::from_bytes(*nonce);
    let digest = if covers_digest { DIGEST } else { "" };
    format!(
        "{COMPONENTS}{digest});created={created};nonce=\"{nonce}\";keyid=\"{signer}\";alg=\"ed25519\";tag=\"wbsync\""
    )
}

fn base(covered: &Covered<'_>, parameters: &str) -> String {
    let Covered { method, authority, path, query, digest } = covered;
    let digest = digest.map(|digest| format!("\"content-digest\": {digest}\n")).unwrap_or_default();
    format!(
        "\"@method\": {method}\n\"@authority\": {authority}\n\"@path\": {path}\n\"@query\": ?{query}\n{digest}\
        \"@signature-params\": {parameters}"
    )
}

const LABEL: &str = "wbsync";
const COMPONENTS: &str = "(\"@method\" \"@authority\" \"@path\" \"@query\"";
const DIGEST: &str = " \"content-digest\"";

#[cfg(test)]
mod tests {
    use super::*;

    const COVERED: Covered<'static> =
        Covered { method: "PUT", authority: "hub.example", path: "/instances/ab", query: "", digest: None };

    fn signed(covered: &Covered<'_>) -> (String, String) {
        let fields = sign(&Identity::fixed(1), covered, 1_800_000_000);
        (fields.input, fields.signature)
    }

    #[test]
    fn a_signature_counts_for_exactly_what_it_covers() {
        let digest = digest_of(b"body");
        let covered = Covered { digest: Some(&digest), query: "a=b", ..COVERED };
        let (input, signature) = signed(&covered);
        let claim = Claim::parse(&input, &signature).unwrap();
        assert_eq!((claim.signer, claim.created), (Identity::fixed(1).id(), 1_800_000_000));
        assert_eq!(claim.verify(&covered), Ok(()));
        let other = digest_of(b"bodY");
        for altered in [
            Covered { method: "GET", ..covered },
            Covered { authority: "evil.example", ..covered },
            Covered { path: "/instances/ac", ..covered },
            Covered { query: "a=c", ..covered },
            Covered { digest: Some(&other), ..covered },
        ] {
            assert_eq!(claim.verify(&altered), Err(Error::Mismatch), "{altered:?}");
        }
        assert_eq!(claim.verify(&Covered { digest: None, ..covered }), Err(Error::Digest));
        let claim = Claim { signer: Identity::fixed(2).id(), ..claim };
        assert_eq!(claim.verify(&covered), Err(Error::Mismatch));
        let claim = Claim { signer: InstanceId::from_bytes([0; 32]), ..claim };
        assert_eq!(claim.verify(&covered), Err(Error::WeakKey));
    }

    #[test]
    fn every_request_is_another() {
        assert_ne!(signed(&COVERED), signed(&COVERED));
    }

    #[test]
    fn other_forms_are_refused() {
        let (input, signature) = signed(&COVERED);
        assert!(Claim::parse(&input, &signature).is_ok());
        let swapped = input.replace("\"@method\" \"@authority\"", "\"@authority\" \"@method\"");
        for input in [
            String::new(),
            input.replace("wbsync=", "sig1="),
            swapped,
            input.replace(" \"@query\"", ""),
            input.replace("created=", "created=0"),
            input.replace("created=", "created=-"),
            input.replace("alg=\"ed25519\"", "alg=\"hmac-sha256\""),
            input.replace(";tag=\"wbsync\"", ""),
            input.replace(";keyid=\"", ";keyid=\"0"),
            format!("{input};expires=9"),
            format!("{input}, {input}"),
            input.to_uppercase(),
        ] {
            assert_eq!(Claim::parse(&input, &signature), Err(Error::Form), "{input}");
        }
        for signature in
            [String::new(), signature.replace(":", ""), signature.replace("=:", "=:AAAA"), "wbsync=::".into()]
        {
            assert_eq!(Claim::parse(&input, &signature), Err(Error::Form), "{signature}");
        }
    }

    /// The base and signature of RFC 9421, B.2.6, with the key given there: our Ed25519 and the RFC's agree.
    #[test]
    fn ed25519_of_the_rfc_verifies() {
        let key = STANDARD.decode("JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=").unwrap();
        let base = "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\"@method\": POST\n\"@path\": /foo\n\"@authority\": example.com\n\
            \"content-type\": application/json\n\"content-length\": 18\n\"@signature-params\": (\"date\" \"@method\" \"@path\" \
            \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
        let signature = STANDARD
            .decode("wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==")
            .unwrap();
        let key = VerifyingKey::from_bytes(&key.try_into().unwrap()).unwrap();
        key.verify_strict(base.as_bytes(), &Signature::from_slice(&signature).unwrap()).unwrap();
    }

    #[test]
    fn the_base_is_spelled_as_the_rfc_says() {
        let parameters = parameters(false, 7, &[0xab; 16], &InstanceId::from_bytes([1; 32]));
        insta::assert_snapshot!(base(&Covered { query: "wait=5", ..COVERED }, &parameters), @r#"
        "@method": PUT
        "@authority": hub.example
        "@path": /instances/ab
        "@query": ?wait=5
        "@signature-params": ("@method" "@authority" "@path" "@query");created=7;nonce="abababababababababababababababab";keyid="0101010101010101010101010101010101010101010101010101010101010101";alg="ed25519";tag="wbsync"
        "#);
    }
}
