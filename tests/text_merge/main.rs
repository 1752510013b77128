//! Our text merge against the real `git merge-file`, and the properties that syncing rests on.
//!
//! By lines we must say what git says, conflict for conflict. Two differences are argued for in
//! docs/adr/0004-text-merge.md, counted here and held to their numbers: words merge what git leaves as a conflict,
//! and a missing final line feed is no change of the last line.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod cases;
mod git;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use wbsync::merge::text::markers::{Labels, MarkerLeft, render, resolved};
use wbsync::merge::text::{LINES_MAX, Merged, Segment, TEXT_BYTES_MAX, merge};
use wbsync::testing::prng::Prng;

use cases::{Case, cases, written_cases};
use git::{Git, conflicts_merged_by_words};

#[test]
fn lines_merge_as_git_merges_them() {
    let Some(git) = Git::find() else { return };
    let mut counts = Counts::default();
    for case in cases() {
        let case = case.terminated();
        let expected = git.merge(&case);
        let merged = pieces(merge(&case.base, &case.ours, &case.theirs));
        let words = conflicts_merged_by_words(&expected, &merged)
            .unwrap_or_else(|| panic!("{case:#?}\ngit: {expected:#?}\nours: {merged:#?}"));
        match (is_clean(&expected), words) {
            (true, _) => counts.clean += 1,
            (false, 0) => counts.conflict += 1,
            (false, _) if is_clean(&merged) => counts.clean_by_words += 1,
            (false, _) => counts.fewer_by_words += 1,
        }
    }
    println!("{counts:?}");
    assert_eq!(counts, Counts { clean: 151, conflict: 199, clean_by_words: 76, fewer_by_words: 10 });
}

#[test]
fn a_missing_final_line_feed_never_makes_a_conflict_that_git_does_not_see() {
    let Some(git) = Git::find() else { return };
    let (mut same, mut only_ours_clean) = (0, 0);
    for case in cases() {
        let [base, ours, theirs] = [&case.base, &case.ours, &case.theirs].map(|text| text.trim_end().to_owned());
        let case = Case { base, ours, theirs, ..case };
        let expected = git.merge(&case);
        let merged = pieces(merge(&case.base, &case.ours, &case.theirs));
        if is_clean(&expected) {
            assert_eq!(merged, expected, "{case:#?}");
            same += 1;
        } else if is_clean(&merged) && is_clean(&git.merge(&case.terminated())) {
            only_ours_clean += 1;
        }
    }
    println!("clean in git: {same}; clean only because a final line feed is taken as given: {only_ours_clean}");
    assert_eq!((same, only_ours_clean), (117, 27));
}

#[test]
fn edits_that_people_make_come_out_as_expected() {
    for case in written_cases() {
        let merged = merge(&case.base, &case.ours, &case.theirs);
        match &case.expected {
            Some(text) => assert_eq!(merged, Merged::Clean((*text).into()), "{}", case.name),
            None => assert!(matches!(merged, Merged::Conflict(_)), "{}: {merged:#?}", case.name),
        }
    }
}

#[test]
fn a_conflict_is_shown_as_git_shows_it_with_zdiff3() {
    let Some(git) = Git::find() else { return };
    let mut seen = 0;
    for case in cases() {
        let case = case.terminated();
        let Merged::Conflict(segments) = merge(&case.base, &case.ours, &case.theirs) else { continue };
        let looks_like_markers = case.base.contains("=====");
        if looks_like_markers || conflicts_merged_by_words(&git.merge(&case), &segments) != Some(0) {
            continue;
        }
        let shown = render(&segments, Labels { base: "base", ours: "ours", theirs: "theirs" });
        assert_eq!(shown, git.run(&case, "--zdiff3", "7"), "{case:#?}");
        seen += 1;
    }
    println!("{seen} conflicts compared");
    assert!(seen > 30);
}

#[test]
fn too_large_texts_are_one_conflict_unless_one_side_changed_nothing() {
    let (base, ours, theirs) = ("a".repeat(TEXT_BYTES_MAX + 1), "ours\n".to_owned(), "theirs\n".to_owned());
    assert_eq!(merge(&base, &ours, &base), Merged::Clean(ours.clone()));
    assert_eq!(merge(&base, &base, &theirs), Merged::Clean(theirs.clone()));
    let whole = Segment::Conflict { base: base.clone(), ours: ours.clone(), theirs: theirs.clone() };
    assert_eq!(merge(&base, &ours, &theirs), Merged::Conflict(vec![whole]));

    let lines = "x\n".repeat(LINES_MAX);
    let (ours, theirs) = (format!("{lines}y"), format!("z{lines}"));
    assert_eq!(merge(&lines, &ours, &theirs), Merged::Clean(format!("z{lines}y")));
    let lines = lines + "x\n";
    assert!(matches!(merge(&lines, &ours, &theirs), Merged::Conflict(segments) if segments.len() == 1));
}

#[test]
fn a_last_line_that_one_side_dropped_and_the_other_changed_is_a_conflict() {
    // Whichever side comes first: the first line decides their order.
    for first in ["a", "z"] {
        let dropped = format!("{first}\nx");
        let merged = merge("k\nx\nold", "k\nx\nnew", &dropped);
        let Merged::Conflict(segments) = merged else { panic!("{merged:?}") };
        let Some(Segment::Conflict { ours, theirs, .. }) = segments.last() else { panic!("{segments:?}") };
        assert!(ours.ends_with("new") && theirs.is_empty(), "{segments:?}");
    }
    assert_eq!(merge("a\n", "", "a"), Merged::Clean(String::new()), "nothing is left");
}

#[test]
fn texts_of_the_greatest_size_are_merged() {
    let middle = "a".repeat(TEXT_BYTES_MAX - 4);
    let merged = merge(&format!("k\n{middle}\n"), &format!("k\n{middle}\nx"), &format!("z\n{middle}\n"));
    assert_eq!(merged, Merged::Clean(format!("z\n{middle}\nx")));
}

/// Each of these is slow in some merge tool; the bound is far above what they take unoptimised on a slow machine.
#[test]
fn hostile_texts_are_merged_in_bounded_time() {
    let mut random = Prng::new(5);
    let mut noise = |bytes: usize, symbols: u64, newline: &str| {
        let mut text = String::new();
        while text.len() < bytes {
            text.push(char::from(b'!' + random.below(symbols) as u8));
            text.push_str(newline);
        }
        text
    };
    let mut triples = Vec::new();
    for (bytes, symbols, newline) in [(2 * LINES_MAX, 2, "\n"), (2 * LINES_MAX, 16, "\n"), (2 * LINES_MAX, 64, "\n")] {
        triples.push([(); 3].map(|()| noise(bytes, symbols, newline)));
    }
    for (bytes, symbols) in [(21 << 10, 2), (21 << 10, 60), (1 << 20, 60)] {
        triples.push([(); 3].map(|()| noise(bytes, symbols, "")));
    }
    triples.push(["", "x", "y"].map(|end| "\n".repeat(LINES_MAX - 1) + end));
    triples.push(["a\nb\n", "b\na\n", "b\nb\n"].map(|pair| pair.repeat(LINES_MAX / 2)));
    for [base, ours, theirs] in triples {
        let start = Instant::now();
        let merged = merge(&base, &ours, &theirs);
        if let Merged::Conflict(segments) = merged {
            let shown = render(&segments, Labels { base: "base", ours: "ours", theirs: "theirs" });
            assert!(resolved(&segments, &shown).is_err());
        }
        println!("{} bytes, {} lines: {:?}", base.len(), base.lines().count(), start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(60));
    }
}

#[test]
fn text_that_looks_like_markers_stays_text_and_markers_give_way_to_it() {
    let base = "<<<<<<< a\n=======\n|\n\\\n\\<\n>>>>>>> b\nmiddle\n======== eight\n";
    let ours = base.replace("middle", "left").replace("<<<<<<< a\n", "");
    let theirs = base.replace("middle", "right") + "> appended";
    let Merged::Conflict(segments) = merge(base, &ours, &theirs) else { panic!("both changed the middle") };
    let shown = render(&segments, Labels { base: "was", ours: "al\npha", theirs: "" });
    assert_eq!(
        shown,
        "=======\n|\n\\\n\\<\n>>>>>>> b\n<<<<<<<<< al pha\nleft\n||||||||| was\nmiddle\n=========\nright\n>>>>>>>>>\n\
         ======== eight\n> appended\n"
    );
    assert_eq!(resolved(&segments, &shown), Err(MarkerLeft { line: 6 }));
    let edited = pick(&shown, 9, Side::Ours);
    assert_eq!(resolved(&segments, &edited).unwrap(), taken(&segments, Side::Ours));
}

#[test]
fn a_text_that_takes_all_widths_is_shown_as_one_conflict() {
    let lines: String = (1..200).map(|width| "<".repeat(width) + "\nsame\n").collect();
    let text = |word: &str| format!("{word}\n{lines}{word}\n");
    let Merged::Conflict(segments) = merge(&text("base"), &text("left"), &text("right")) else { panic!() };
    assert_eq!(segments.iter().filter(|segment| matches!(segment, Segment::Conflict { .. })).count(), 2);
    let shown = render(&segments, Labels { base: "base", ours: "ours", theirs: "theirs" });
    assert_eq!(shown.lines().filter(|line| line.starts_with(&"=".repeat(200))).count(), 1);
    assert_eq!(resolved(&segments, &pick(&shown, 200, Side::Theirs)).unwrap(), text("right"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn a_side_that_changed_nothing_gives_way(base in text(), side in text()) {
        prop_assert_eq!(merge(&base, &side, &side), Merged::Clean(side.clone()));
        prop_assert_eq!(merge(&base, &base, &side), Merged::Clean(side.clone()));
        prop_assert_eq!(merge(&base, &side, &base), Merged::Clean(side.clone()));
    }

    #[test]
    fn merging_is_symmetric_and_repeatable((base, ours, theirs) in triple()) {
        let merged = merge(&base, &ours, &theirs);
        prop_assert_eq!(&merged, &merge(&base, &ours, &theirs));
        prop_assert_eq!(merged, swapped(merge(&base, &theirs, &ours)));
    }

    #[test]
    fn conflicts_hold_what_was_written_in_order((base, ours, theirs) in triple()) {
        let pieces = pieces(merge(&base, &ours, &theirs));
        let parts = |side| pieces.iter().filter(|one| matches!(one, Segment::Conflict { .. })).map(move |one| part(one, side));
        for (side, text) in [(Side::Base, &base), (Side::Ours, &ours), (Side::Theirs, &theirs)] {
            // A last line may have got its line end.
            let holds = |newline: &str| {
                let text = format!("{text}{newline}");
                parts(side).try_fold(text.as_str(), |rest, part| Some(&rest[rest.find(part)? + part.len()..])).is_some()
            };
            prop_assert!(holds("\n") || holds("\r\n"), "{:?} of {:?}", side, pieces);
        }
        prop_assert!(!pieces.windows(2).any(is_clean), "a text follows a text");
    }

    /// Nothing but one conflict: no line end is added to a side or taken from it.
    #[test]
    fn taking_a_side_of_the_only_conflict_gives_that_side(
        front in "([a-c]{0,2}(\\r\\n|\\n)){0,3}",
        base in "([d-f](\\r\\n|\\n)){0,2}d?", ours in "([g-i](\\r\\n|\\n)){0,2}g?", theirs in "([j-l](\\r\\n|\\n)){0,2}j?",
        open: bool,
    ) {
        let end = |text: String| if open { text.trim_end().to_owned() } else { text };
        let [base, ours, theirs] = [base, ours, theirs].map(|rest| end(format!("{front}{rest}")));
        if let Merged::Conflict(segments) = merge(&base, &ours, &theirs) {
            for (side, text) in [(Side::Base, &base), (Side::Ours, &ours), (Side::Theirs, &theirs)] {
                let taken = taken(&segments, side);
                prop_assert_eq!(taken.trim_end(), text.trim_end());
                if base.ends_with('\n') == ours.ends_with('\n') && base.ends_with('\n') == theirs.ends_with('\n') {
                    prop_assert_eq!(&taken, text);
                }
            }
        }
    }

    #[test]
    fn an_edited_rendering_is_read_back((base, ours, theirs) in triple()) {
        if let Merged::Conflict(segments) = merge(&base, &ours, &theirs) {
            let shown = render(&segments, Labels { base: "base", ours: "<<<<<<<", theirs: "=======" });
            let Err(MarkerLeft { line }) = resolved(&segments, &shown) else { panic!("markers are overlooked") };
            let width = shown.lines().nth(line - 1).unwrap().chars().take_while(|sign| *sign == '<').count();
            for side in [Side::Ours, Side::Theirs] {
                prop_assert_eq!(resolved(&segments, &pick(&shown, width, side)), Ok(taken(&segments, side)));
            }
        }
    }
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    clean: usize,
    conflict: usize,
    clean_by_words: usize,
    fewer_by_words: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Base,
    Ours,
    Theirs,
}

fn pieces(merged: Merged) -> Vec<Segment> {
    match merged {
        Merged::Clean(text) if text.is_empty() => Vec::new(),
        Merged::Clean(text) => vec![Segment::Text(text)],
        Merged::Conflict(segments) => {
            assert!(!is_clean(&segments), "a conflict without a conflict: {segments:#?}");
            segments
        }
    }
}

fn is_clean(segments: &[Segment]) -> bool {
    segments.iter().all(|segment| matches!(segment, Segment::Text(_)))
}

fn part(segment: &Segment, side: Side) -> &str {
    match (segment, side) {
        (Segment::Text(text), _) => text,
        (Segment::Conflict { base, .. }, Side::Base) => base,
        (Segment::Conflict { ours, .. }, Side::Ours) => ours,
        (Segment::Conflict { theirs, .. }, Side::Theirs) => theirs,
    }
}

fn taken(segments: &[Segment], side: Side) -> String {
    segments.iter().map(|segment| part(segment, side)).collect()
}

fn swapped(merged: Merged) -> Merged {
    let Merged::Conflict(segments) = merged else { return merged };
    let swap = |segment| match segment {
        Segment::Conflict { base, ours, theirs } => Segment::Conflict { base, ours: theirs, theirs: ours },
        text => text,
    };
    Merged::Conflict(segments.into_iter().map(swap).collect())
}

/// Edits a rendering as a person does who wants one side everywhere.
fn pick(shown: &str, width: usize, side: Side) -> String {
    let mut picked = String::new();
    let mut current = None;
    for line in shown.split_inclusive('\n') {
        let run = |marker: char| line.chars().take_while(|sign| *sign == marker).count() == width;
        match "<|=>".chars().position(run) {
            Some(marker) => current = [Some(Side::Ours), Some(Side::Base), Some(Side::Theirs), None][marker],
            None if current.is_none_or(|current| current == side) => picked.push_str(line),
            None => {}
        }
    }
    picked
}

/// Few different lines, so that edits meet, and everything that could be taken for something else.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        8 => proptest::sample::select(vec!["a", "b", "c", "word", "a b c", "a, b", "é", "e\u{301}", ""]),
        1 => proptest::sample::select(vec![
            "<<<<<<<", "<<<<<<< ours", "=======", "=", "|||||||", "|", ">>>>>>>", ">", "\\", "\\<", "\0", "\u{2028}", "\u{feff}",
        ]),
    ];
    let end = prop_oneof![8 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\r"), 1 => Just("")];
    proptest::collection::vec((word, end), 0..9)
        .prop_map(|lines| lines.into_iter().map(|(word, end)| format!("{word}{end}")).collect())
}

/// Two texts made from one by replacing, removing and inserting pieces, or three that have nothing in common.
fn triple() -> impl Strategy<Value = (String, String, String)> {
    let edits = || proptest::collection::vec((any::<Index>(), 0..3usize, text()), 0..4);
    prop_oneof![
        4 => (text(), text(), edits(), edits()).prop_map(|(one, two, ours, theirs)| {
            let base = one + &two;
            let (ours, theirs) = (edited(&base, ours), edited(&base, theirs));
            (base, ours, theirs)
        }),
        1 => (text(), text(), text()),
    ]
}

fn edited(base: &str, edits: Vec<(Index, usize, String)>) -> String {
    let mut lines: Vec<String> = base.split_inclusive('\n').map(String::from).collect();
    for (at, removed, added) in edits {
        let start = at.index(lines.len() + 1);
        let end = (start + removed).min(lines.len());
        lines.splice(start..end, added.split_inclusive('\n').take(2).map(String::from));
    }
    lines.concat()
}
