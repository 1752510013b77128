//! A text with conflicts as people edit it: git's markers, and whether all of them are gone.
//!
//! The style is git's zdiff3: the base is shown, and lines that both sides begin or end with are taken out
//! of the conflict. Markers are as wide as it takes that no line of the text looks like one.

use std::collections::HashSet;

use super::{Segment, lines};

/// What stands behind the markers, such as the names of instances. Control characters are shown as blanks.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Behind the marker of the base.
    pub base: &'a str,
    /// Behind the marker of our side.
    pub ours: &'a str,
    /// Behind the marker of their side.
    pub theirs: &'a str,
}

/// A conflict that was not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is still a conflict marker")]
pub struct MarkerLeft {
    /// Number of the first line that is a marker, from 1.
    pub line: usize,
}

/// Returns the text of a merge with its conflicts marked, for an editor.
///
/// A line end stands after the last line, whether the text has one or not, since editors want it;
/// [`resolved`] takes it off. Segments should come from one merge.
pub fn render(segments: &[Segment], labels: Labels<'_>) -> String {
    let markers = Markers::of(segments);
    let mut segments = if markers.width <= WIDTH_MAX { segments.to_vec() } else { vec![as_one(segments)] };
    lines::put_last_newline(&mut segments, markers.newline);
    let mut out = String::new();
    for segment in &segments {
        match segment {
            Segment::Text(text) => out.push_str(text),
            Segment::Conflict { base, ours, theirs } => {
                let (front, [ours, theirs], back) = zealously([ours, theirs]);
                out.push_str(front);
                markers.write(&mut out, '<', labels.ours);
                out.push_str(ours);
                markers.write(&mut out, '|', labels.base);
                out.push_str(base);
                markers.write(&mut out, '=', "");
                out.push_str(theirs);
                markers.write(&mut out, '>', labels.theirs);
                out.push_str(back);
            }
        }
    }
    out
}

/// Returns the text that an edited [`render`] of `segments` stands for.
///
/// # Errors
/// [`MarkerLeft`] if a line still looks like a marker of that rendering.
pub fn resolved(segments: &[Segment], edited: &str) -> Result<String, MarkerLeft> {
    let markers = Markers::of(segments);
    if let Some(line) = edited.split('\n').position(|line| run(line) == markers.width) {
        return Err(MarkerLeft { line: line + 1 });
    }
    let text = edited.strip_suffix(markers.newline).or_else(|| edited.strip_suffix('\n'));
    Ok(text.unwrap_or(edited).into())
}

/// How the markers of one text look.
struct Markers {
    /// The least width of at least `WIDTH_MIN` that no line of the text has.
    width: usize,
    newline: &'static str,
}

impl Markers {
    fn of(segments: &[Segment]) -> Self {
        let texts = || segments.iter().flat_map(parts);
        let taken: HashSet<usize> = texts().flat_map(|text| text.split(['\n', '\r'])).map(run).collect();
        let width = (WIDTH_MIN..).find(|width| !taken.contains(width)).expect("a finite text has finitely many runs");
        Self { width, newline: lines::newline(texts()) }
    }

    fn write(&self, out: &mut String, marker: char, label: &str) {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push_str(self.newline);
        }
        out.extend(std::iter::repeat_n(marker, self.width));
        if !label.is_empty() {
            out.push(' ');
            out.extend(label.chars().map(|character| if character.is_control() { ' ' } else { character }));
        }
        out.push_str(self.newline);
    }
}

fn parts(segment: &Segment) -> impl Iterator<Item = &str> {
    let parts = match segment {
        Segment::Text(text) => [text, "", ""],
        Segment::Conflict { base, ours, theirs } => [base, ours, theirs].map(String::as_str),
    };
    parts.into_iter()
}

/// Returns how many equal marker characters a line begins with.
fn run(line: &str) -> usize {
    let Some(first) = line.chars().next().filter(|first| matches!(first, '<' | '|' | '=' | '>')) else { return 0 };
    line.chars().take_while(|character| *character == first).count()
}

/// Joins all pieces to one conflict.
fn as_one(segments: &[Segment]) -> Segment {
    let [mut base, mut ours, mut theirs]: [String; 3] = Default::default();
    for segment in segments {
        let [in_base, in_ours, in_theirs] = match segment {
            Segment::Text(text) => [text, text, text],
            Segment::Conflict { base, ours, theirs } => [base, ours, theirs],
        };
        base.push_str(in_base);
        ours.push_str(in_ours);
        theirs.push_str(in_theirs);
    }
    Segment::Conflict { base, ours, theirs }
}

/// Takes out the lines that both texts begin and end with: (front, rests, back).
fn zealously<'a>([ours, theirs]: [&'a str; 2]) -> (&'a str, [&'a str; 2], &'a str) {
    let lines = |text: &'a str| text.split_inclusive('\n');
    let equal = lines(ours).zip(lines(theirs)).take_while(|(our, their)| our == their);
    let (front, ours) = ours.split_at(equal.map(|(line, _)| line.len()).sum());
    let theirs = &theirs[front.len()..];
    let equal = lines(ours).rev().zip(lines(theirs).rev()).take_while(|(our, their)| our == their);
    let back: usize = equal.map(|(line, _)| line.len()).sum();
    let (ours, back) = ours.split_at(ours.len() - back);
    (front, [ours, &theirs[..theirs.len() - back.len()]], back)
}

/// Width of git's markers.
const WIDTH_MIN: usize = 7;

/// Width above which a text is shown as one conflict: only a text made for the purpose takes all widths
/// below, and wide markers around each of very many conflicts would make it huge.
const WIDTH_MAX: usize = 40;
