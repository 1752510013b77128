//! What a verified head means beside the one that we know of the same signer and scope.
//!
//! Nobody can roll a peer back (older heads are seen as such), and a signer who shows two histories leaves
//! a proof. Time plays no part.

use super::Head;
use crate::id::bytes::DocHash;

/// The newest head that we accepted of a signer in a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// Its incarnation.
    pub incarnation: u32,
    /// Its sequence.
    pub seq: u64,
    /// Its name.
    pub hash: DocHash,
    /// Its newest own stamp.
    pub writes: u64,
}

/// What to do with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Newer than what we know, or the first that we see: accept it.
    New,
    /// The one that we know.
    Same,
    /// Older than what we know: ignore it quietly; whoever carries it is behind.
    Older {
        /// By how many heads, at least 1; of an earlier incarnation, as far as its sequence tells.
        behind_by: u64,
    },
    /// The signer signed two histories: keep both heads as proof, and stop merging with it, loudly.
    ///
    /// Either another head with the same incarnation and sequence; or the next sequence with another
    /// predecessor than the head we know; or a newer head of the same incarnation that takes back writes.
    Forked,
    /// Sequence or incarnation jumps further than any honest signer gets: hold it for the operator.
    ///
    /// Accepting it would let one mistake, or one thief, shut out every later head.
    WildJump,
}

impl Known {
    /// Returns what is to be remembered of an accepted head.
    pub fn of(head: &Head, hash: DocHash) -> Self {
        Self { incarnation: head.incarnation, seq: head.seq, hash, writes: head.writes }
    }
}

/// Compares a verified head with the newest that we know of the same signer and scope.
///
/// Heads are ordered by incarnation, then sequence. A head that skips some is `New`: those between may be
/// lost. On first contact any head is `New`: nothing is promised there but the pinned key.
pub fn verdict(known: Option<&Known>, head: &Head, hash: &DocHash) -> Verdict {
    let Some(known) = known else { return Verdict::New };
    if (head.incarnation, head.seq) < (known.incarnation, known.seq) {
        return Verdict::Older { behind_by: known.seq.saturating_sub(head.seq).max(1) };
    }
    if head.incarnation == known.incarnation {
        if head.seq == known.seq {
            return if *hash == known.hash { Verdict::Same } else { Verdict::Forked };
        }
        let next = head.seq - known.seq == 1;
        if next && head.prev != Some(known.hash) || head.writes < known.writes {
            return Verdict::Forked;
        }
    }
    let seq_jump = head.seq.saturating_sub(known.seq);
    if seq_jump > SEQ_JUMP_MAX || head.incarnation - known.incarnation > INCARNATION_JUMP_MAX {
        return Verdict::WildJump;
    }
    Verdict::New
}

/// A head each minute takes two years to get so far.
pub const SEQ_JUMP_MAX: u64 = 1_000_000;
/// Nobody restores a backup so often.
pub const INCARNATION_JUMP_MAX: u32 = 1_000;

#[cfg(test)]
mod tests {
    use super::super::tests::head;
    use super::*;

    const KNOWN: DocHash = DocHash::from_bytes([1; 32]);
    const OTHER: DocHash = DocHash::from_bytes([2; 32]);

    fn known() -> Known {
        Known { incarnation: 3, seq: 10, hash: KNOWN, writes: 5 }
    }

    fn judged(incarnation: u32, seq: u64, prev: DocHash, writes: u64, hash: DocHash) -> Verdict {
        verdict(Some(&known()), &Head { incarnation, seq, prev: Some(prev), writes, ..head() }, &hash)
    }

    #[test]
    fn first_contact_takes_any_head() {
        assert_eq!(verdict(None, &Head { seq: 1 << 62, ..head() }, &OTHER), Verdict::New);
    }

    #[test]
    fn heads_follow_on_each_other() {
        assert_eq!(judged(3, 11, KNOWN, 5, OTHER), Verdict::New);
        assert_eq!(judged(3, 12, OTHER, 6, OTHER), Verdict::New, "those between may be lost");
        assert_eq!(judged(3, 10, OTHER, 5, KNOWN), Verdict::Same);
    }

    #[test]
    fn older_heads_tell_how_far_their_carrier_is_behind() {
        assert_eq!(judged(3, 8, OTHER, 5, OTHER), Verdict::Older { behind_by: 2 });
        assert_eq!(judged(2, 8, OTHER, 9, OTHER), Verdict::Older { behind_by: 2 });
        assert_eq!(judged(2, 99, OTHER, 9, OTHER), Verdict::Older { behind_by: 1 });
    }

    #[test]
    fn two_histories_are_a_fork() {
        assert_eq!(judged(3, 10, OTHER, 5, OTHER), Verdict::Forked);
        assert_eq!(judged(3, 11, OTHER, 5, OTHER), Verdict::Forked);
        assert_eq!(judged(3, 11, KNOWN, 4, OTHER), Verdict::Forked, "writes were taken back");
        assert_eq!(judged(3, 5_000_000, KNOWN, 4, OTHER), Verdict::Forked, "a proof counts more than a jump");
    }

    #[test]
    fn a_restored_signer_may_begin_again() {
        assert_eq!(judged(4, 1, OTHER, 0, OTHER), Verdict::New);
        assert_eq!(judged(4, 10, OTHER, 0, OTHER), Verdict::New);
        assert_eq!(judged(4, 11, OTHER, 0, OTHER), Verdict::New, "it may have lost the head that we know");
    }

    #[test]
    fn wild_jumps_are_held() {
        assert_eq!(judged(3, 1_000_010, OTHER, 5, OTHER), Verdict::New);
        assert_eq!(judged(3, 1_000_011, OTHER, 5, OTHER), Verdict::WildJump);
        assert_eq!(judged(4, 1_000_011, OTHER, 5, OTHER), Verdict::WildJump);
        assert_eq!(judged(1_003, 1, OTHER, 5, OTHER), Verdict::New);
        assert_eq!(judged(u32::MAX, 1, OTHER, 5, OTHER), Verdict::WildJump);
    }
}
