//! Merge by whole lines, with the conflicts read back as data.
//!
//! gix answers with a marked text. Lines that could be taken for its markers are escaped before, so
//! that reading the markers back can't go wrong whatever the text is.

use super::{Segment, driver};

/// Merges by lines. Every piece ends in a line feed or is empty: `newline` is put after each of the three
/// texts, and [`take_last_newline`] takes it off again. Without it a last line that gets a successor
/// would count as changed.
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

/// Takes the line end off that [`merge`] put after all three texts.
pub(super) fn take_last_newline(segments: &mut Vec<Segment>, newline: &str) {
    match segments.as_mut_slice() {
        [.., Segment::Text(before), Segment::Conflict { base, ours, theirs }]
            if base.is_empty() || ours.is_empty() || theirs.is_empty() =>
        {
            // One side ends with the text before: its last line end becomes part of the conflict.
            shorten(before, newline);
            for side in [base, ours, theirs] {
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

/// Undoes [`take_last_newline`], up to where equal line ends stand: in the conflict or after it.
pub(super) fn put_last_newline(segments: &mut Vec<Segment>, newline: &str) {
    if let [.., Segment::Conflict { base, ours, theirs }] = segments.as_slice()
        && [base, ours, theirs].into_iter().all(|side| side.ends_with(newline))
    {
        segments.push(Segment::Text(String::new()));
    }
    let count = segments.len();
    match segments.as_mut_slice() {
        [.., Segment::Conflict { base, ours, theirs }] => {
            let mut sides = [base, ours, theirs];
            sides.iter_mut().for_each(|side| side.push_str(newline));
            if count > 1 && sides.iter().all(|side| side.starts_with(newline)) {
                sides.iter_mut().for_each(|side| drop(side.drain(..newline.len())));
                segments.insert(count - 1, Segment::Text(newline.into()));
            }
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
    escaped + newline
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
