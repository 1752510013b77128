//! Three-way merge of one text field: what both sides changed of a common base, as one text or as conflicts.
//!
//! Lines first, by gix, so that a merge here is the merge that git makes; then words inside what is left
//! over, since a field of prose is often one long line. A pure function of its three texts, and
//! symmetric, so that all instances that merge the same edits get the same text.
//! Why these rules: docs/adr/0004-text-merge.md.
//!
//! Invariants: texts are never joined where both sides changed the same words; no text that a side wrote
//! is dropped without a conflict that holds it; work is bounded by `TEXT_BYTES_MAX` and `WORDS_BYTES_MAX`.

mod driver;
mod lines;
pub mod markers;
mod words;

/// The result of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// All changes of both sides are in this text.
    Clean(String),
    /// Some changes contradict each other: the whole text in order, with at least one conflict.
    Conflict(Vec<Segment>),
}

/// A piece of a text that couldn't be merged in full.
///
/// No piece is empty in all of its parts, and no text follows a text. Taking the same side of every
/// conflict and joining the pieces gives a text with all changes of that side, and the other side's
/// wherever they don't contradict it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// What both sides agree on, or only one of them changed.
    Text(String),
    /// What both sides changed, each in its own way. Whole lines, but at the end of a text that has no
    /// final line feed a part may begin with the line feed before it.
    Conflict {
        /// The text before either change.
        base: String,
        /// Our version.
        ours: String,
        /// Their version.
        theirs: String,
    },
}

/// Merges what `ours` and `theirs` changed of `base`.
///
/// Any text will do: LF and CRLF are kept as they are (a line that differs in them differs), and lines
/// that look like conflict markers are only lines. A missing final line feed is no change of the last
/// line. If both sides are equal or one of them equals `base`, the answer is clean, whatever the size.
/// Swapping `ours` and `theirs` gives the same pieces with the sides of each conflict swapped.
///
/// Texts of which one exceeds [`TEXT_BYTES_MAX`] are one conflict as a whole. Time: linear in practice;
/// the worst texts known take seconds at that size.
pub fn merge(base: &str, ours: &str, theirs: &str) -> Merged {
    if ours == theirs || base == theirs {
        return Merged::Clean(ours.into());
    }
    if base == ours {
        return Merged::Clean(theirs.into());
    }
    if [base, ours, theirs].iter().any(|text| text.len() > TEXT_BYTES_MAX) {
        return Merged::Conflict(vec![Segment::conflict(base, ours, theirs)]);
    }
    // Symmetry isn't left to the library: it sees the sides in one order.
    if ours < theirs { merge_in_order(base, ours, theirs) } else { merge_in_order(base, theirs, ours).swapped() }
}

impl Merged {
    fn swapped(self) -> Self {
        match self {
            Self::Clean(text) => Self::Clean(text),
            Self::Conflict(segments) => Self::Conflict(segments.into_iter().map(Segment::swapped).collect()),
        }
    }
}

impl Segment {
    fn conflict(base: &str, ours: &str, theirs: &str) -> Self {
        Self::Conflict { base: base.into(), ours: ours.into(), theirs: theirs.into() }
    }

    fn swapped(self) -> Self {
        match self {
            Self::Text(text) => Self::Text(text),
            Self::Conflict { base, ours, theirs } => Self::Conflict { base, ours: theirs, theirs: ours },
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Conflict { base, ours, theirs } => base.is_empty() && ours.is_empty() && theirs.is_empty(),
        }
    }
}

fn merge_in_order(base: &str, ours: &str, theirs: &str) -> Merged {
    let mut words_left = WORDS_BYTES_MAX;
    let mut merged: Vec<Segment> = Vec::new();
    let newline = lines::newline([base, ours, theirs].into_iter());
    for segment in lines::merge(base, ours, theirs, newline) {
        let segment = match segment {
            Segment::Conflict { base, ours, theirs } => match by_words(&base, &ours, &theirs, &mut words_left) {
                Some(text) => Segment::Text(text),
                None => Segment::Conflict { base, ours, theirs },
            },
            text => text,
        };
        match (merged.last_mut(), segment) {
            (Some(Segment::Text(last)), Segment::Text(next)) => last.push_str(&next),
            (_, segment) => merged.push(segment),
        }
    }
    lines::take_last_newline(&mut merged, newline);
    match merged.as_mut_slice() {
        [] => Merged::Clean(String::new()),
        [Segment::Text(text)] => Merged::Clean(std::mem::take(text)),
        _ => Merged::Conflict(merged),
    }
}

/// Merges a conflict by words if that is cheap enough: `left` is what may still be spent in this text.
fn by_words(base: &str, ours: &str, theirs: &str, left: &mut usize) -> Option<String> {
    *left = left.checked_sub(base.len() + ours.len() + theirs.len())?;
    words::merge(base, ours, theirs)
}

/// Size of a text in bytes above which nothing is tried and the whole field is a conflict.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Bytes of all sides of all conflicts of one text that are tried by words; the others stay as they are.
pub const WORDS_BYTES_MAX: usize = 64 << 10;
