//! Merge by whole lines, with the conflicts read back as data.
//!
//! gix answers with a marked text. Lines that could be taken for its markers are escaped before, so
//! that reading the markers back can't go wrong whatever the text is.

use super::{Segment, driver};

/// Merges by lines. Every piece ends in a line feed or is empty: a text without a final line end gets `newline`.
/// Otherwise a last line that gets a successor would count as changed.
pub(super) fn merge(base: &str, ours: &str, theirs: &str, newline: &str) -> Vec<Segment> {
    let [base, ours, theirs] = [base, ours, theirs].map(|text| escaped(text, newline));
    read(&driver::marked(&base, &ours, &theirs))
}

/// Returns the line end of texts: CRLF if all of their lines end so, else LF.
pub(super) fn newline<'a>(texts: impl Iterator<Item = &'a str>) -> &'static str {
    let mut newline = "\n";
    for text in texts {
        for (end, _) in text.match_indices('\n') {
            if !text[..end].ends_with('\r') {
                return "\n";
            }
            newline = "\r\n";
        }
    }
    newline
}

/// Takes the line end off the last piece, where no text had one.
pub(super) fn take_last_newline(segments: &mut Vec<Segment>, newline: &str) {
    match segments.as_mut_slice() {
        [.., Segment::Text(before), Segment::Conflict { base, ours, theirs }]
            if base.is_empty() || ours.is_empty() || theirs.is_empty() =>
        {
            // One side ends with the text before: that text's line end becomes part of the conflict.
            shorten(before, newline);
            for side in [base, ours, theirs].into_iter().filter(|side| !side.is_empty()) {
                side.insert_str(0, newline);
                shorten(side, newline);
            }
        }
        [.., Segment::Conflict { base, ours, theirs }] => {
            [base, ours, theirs].into_iter().for_each(|side| shorten(side, newline));
        }
        [.., Segment::Text(last)] => shorten(last, newline),
        [] => {}
    }
    segments.retain(|segment| !segment.is_empty());
}

/// Tells whether a line end would have to be put after the last piece to end its last line.
pub(super) fn is_open(segments: &[Segment]) -> bool {
    let is_open = |text: &str| !text.is_empty() && !text.ends_with('\n');
    segments.last().is_some_and(|last| match last {
        Segment::Text(text) => is_open(text),
        Segment::Conflict { base, ours, theirs } => [base, ours, theirs].into_iter().any(|side| is_open(side)),
    })
}

/// Undoes [`take_last_newline`].
pub(super) fn put_last_newline(segments: &mut [Segment], newline: &str) {
    match segments {
        [.., Segment::Text(before), Segment::Conflict { base, ours, theirs }]
            if base.is_empty() || ours.is_empty() || theirs.is_empty() =>
        {
            before.push_str(newline);
            for side in [base, ours, theirs].into_iter().filter(|side| !side.is_empty()) {
                side.push_str(newline);
                if side.starts_with(newline) {
                    side.drain(..newline.len());
                }
            }
        }
        [.., Segment::Conflict { base, ours, theirs }] => {
            [base, ours, theirs].into_iter().filter(|side| !side.is_empty()).for_each(|side| side.push_str(newline));
        }
        [.., Segment::Text(last)] => last.push_str(newline),
        [] => {}
    }
}

fn shorten(text: &mut String, newline: &str) {
    if text.ends_with(newline) {
        text.truncate(text.len() - newline.len());
    }
}

fn escaped(text: &str, newline: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + newline.len());
    for line in text.split_inclusive('\n') {
        if line.starts_with(MARKERS) || line.starts_with(ESCAPE) {
            escaped.push(ESCAPE);
        }
        escaped.push_str(line);
    }
    if !escaped.is_empty() && !escaped.ends_with('\n') {
        escaped.push_str(newline);
    }
    escaped
}

fn read(marked: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut parts: [String; 4] = Default::default();
    let mut current = TEXT;
    for line in marked.split_inclusive('\n') {
        let Some(marker) = MARKERS.iter().position(|marker| line.starts_with(*marker)) else {
            parts[current].push_str(line.strip_prefix(ESCAPE).unwrap_or(line));
            continue;
        };
        current = (marker + 1) % MARKERS.len();
        if marker == 0 {
            segments.push(Segment::Text(std::mem::take(&mut parts[TEXT])));
        }
        if current == TEXT {
            let [_, ours, base, theirs] = std::mem::take(&mut parts);
            segments.push(Segment::Conflict { base, ours, theirs });
        }
    }
    segments.push(Segment::Text(std::mem::take(&mut parts[TEXT])));
    segments.retain(|segment| !segment.is_empty());
    segments
}

/// What the lines of markers begin with, each ending the part of its number and beginning the next.
const MARKERS: [char; 4] = ['<', '|', '=', '>'];

/// The part that stands outside of conflicts.
const TEXT: usize = 0;

/// Put before a line of the text that begins like a marker, or with this. Not a blank, for diffs look at indents.
const ESCAPE: char = '\\';
