//! A proof that somebody signed two histories: two documents that cannot both come from one honest signer.
//!
//! Whoever meets a proof checks it alone, from the two documents: a forged one stops nobody.

use crate::exchange::head::Head;
use crate::exchange::head::verdict::{Known, Verdict, verdict};
use crate::id::bytes::{InstanceId, ScopeId};
use crate::keys::document::Unverified;
use crate::scope::manifest::{Manifest, Succession, succession};

/// Two documents of one signer and scope that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    /// Who signed both.
    pub signer: InstanceId,
    /// The scope.
    pub scope: ScopeId,
    /// What they are.
    pub kind: ForkKind,
    /// Their numbers.
    pub seqs: [u64; 2],
}

/// What was signed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForkKind {
    /// Two heads.
    Heads,
    /// Two manifests.
    Manifests,
}

impl Fork {
    /// Checks a pair of documents. `None` if they prove nothing: a signature doesn't hold, they are of two signers or
    /// scopes, or one honest signer may well have signed both.
    pub fn check(documents: [&[u8]; 2]) -> Option<Self> {
        let signer = Unverified::parse(documents[0]).ok()?.claimed_signer().ok()?;
        Self::of_heads(documents, signer).or_else(|| Self::of_manifests(documents, signer))
    }

    fn of_heads(documents: [&[u8]; 2], signer: InstanceId) -> Option<Self> {
        let (a, a_hash) = Head::open(documents[0], &signer).ok()?;
        let (b, b_hash) = Head::open(documents[1], &signer).ok()?;
        let contradicts = verdict(Some(&Known::of(&a, a_hash)), &b, &b_hash) == Verdict::Forked
            || verdict(Some(&Known::of(&b, b_hash)), &a, &a_hash) == Verdict::Forked;
        let (kind, seqs) = (ForkKind::Heads, [a.seq, b.seq]);
        (a.scope == b.scope && contradicts).then_some(Self { signer, scope: a.scope, kind, seqs })
    }

    fn of_manifests(documents: [&[u8]; 2], signer: InstanceId) -> Option<Self> {
        let (a, a_hash) = Manifest::open(documents[0], &signer).ok()?;
        let (b, b_hash) = Manifest::open(documents[1], &signer).ok()?;
        let contradicts = succession(Some((a.seq, &a_hash)), &b, &b_hash) == Succession::Forked
            || succession(Some((b.seq, &b_hash)), &a, &a_hash) == Succession::Forked;
        let (kind, seqs) = (ForkKind::Manifests, [a.seq, b.seq]);
        (a.scope == b.scope && contradicts).then_some(Self { signer, scope: a.scope, kind, seqs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::samples::NOW;
    use crate::id::bytes::{CommitId, DocHash};
    use crate::id::name::ScopeName;
    use crate::keys::document::hash_of;
    use crate::keys::identity::Identity;
    use crate::scope::manifest::draft::{ManifestDraft, Signed};
    use crate::sys::clock::UnixMillis;

    fn head(change: impl Fn(&mut Head)) -> Vec<u8> {
        signed_by(1, change)
    }

    fn signed_by(seed: u8, change: impl Fn(&mut Head)) -> Vec<u8> {
        let mut head = crate::exchange::head::tests::head();
        head.signer = Identity::fixed(seed).id();
        change(&mut head);
        head.sign(&Identity::fixed(seed))
    }

    fn other(head: &mut Head) {
        head.commit = CommitId::from_bytes([0xee; 32]);
    }

    fn next(head: &mut Head, prev: DocHash) {
        head.seq += 1;
        head.prev = Some(prev);
        head.segments.last_mut().unwrap().to_seq += 1;
    }

    #[test]
    fn two_heads_of_one_number_and_a_broken_chain_are_proofs_in_either_order() {
        let first = head(|_| {});
        let pairs = [
            head(other),
            head(|h| next(h, DocHash::from_bytes([0xdd; 32]))),
            head(|h| {
                next(h, hash_of(&first));
                h.writes -= 1;
            }),
        ];
        for second in &pairs {
            assert!(Fork::check([&first, second]).is_some());
            assert!(Fork::check([second, &first]).is_some());
        }
    }

    #[test]
    fn two_manifests_of_one_number_and_a_broken_chain_are_proofs_in_either_order() {
        let origin = Identity::fixed(1);
        let name = ScopeName::trusted();
        let first = ManifestDraft::new(&origin, &name, &[], NOW).unwrap().sign().unwrap();
        let after = |last: &Signed, more: u64| {
            let now = UnixMillis(NOW.0 + more);
            ManifestDraft::next(&origin, &last.manifest, last.hash, now).unwrap().sign().unwrap()
        };
        let [one, other] = [1, 2].map(|more| after(&first, more));
        let third = after(&one, 3);
        let check = |a: &Signed, b: &Signed| [Fork::check([&a.bytes, &b.bytes]), Fork::check([&b.bytes, &a.bytes])];
        for (a, b) in [(&one, &other), (&other, &third)] {
            let [found, turned] = check(a, b).map(Option::unwrap);
            assert_eq!(
                (found.kind, found.scope, found.signer),
                (ForkKind::Manifests, first.manifest.scope, origin.id())
            );
            assert_eq!((found.seqs[0], found.seqs[1]), (turned.seqs[1], turned.seqs[0]));
        }
        let elsewhere = ManifestDraft::new(&origin, &name, &[], NOW).unwrap().sign().unwrap();
        for (a, b) in [(&first, &first), (&first, &one), (&one, &third), (&first, &third), (&first, &elsewhere)] {
            assert_eq!(check(a, b), [None, None]);
        }
    }

    #[test]
    fn what_an_honest_signer_may_sign_proves_nothing() {
        let first = head(|_| {});
        let mut altered = head(other);
        let end = altered.len() - 1;
        altered[end] ^= 1;
        let innocent = [
            ("itself", first.clone()),
            ("the next", head(|h| next(h, hash_of(&first)))),
            ("after a restore", head(|h| (h.incarnation, h.commit) = (1, CommitId::from_bytes([0xee; 32])))),
            (
                "another scope",
                head(|h| (h.scope, h.commit) = (ScopeId::from_bytes([0xab; 16]), CommitId::from_bytes([1; 32]))),
            ),
            ("another signer", signed_by(2, other)),
            ("an altered signature", altered),
            ("no document", b"head".to_vec()),
        ];
        for (name, second) in &innocent {
            assert_eq!(Fork::check([&first, second]), None, "{name}");
            assert_eq!(Fork::check([second, &first]), None, "{name}");
        }
    }
}
