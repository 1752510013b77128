//! Texts and their edits: those that people make, written by hand, and made-up ones from a fixed seed.

use wbsync::testing::prng::Prng;
use wbsync::testing::prose::Prose;

/// A base and two edits of it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) base: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// For a case written by hand: the text that it merges to; `None` if it must be a conflict.
    pub(crate) expected: Option<&'static str>,
}

impl Case {
    /// Ends all three texts with a line feed, so that git takes their last lines as we do.
    pub(crate) fn terminated(&self) -> Self {
        let [base, ours, theirs] = [&self.base, &self.ours, &self.theirs].map(|text| {
            let newline = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            format!("{text}{newline}")
        });
        Self { base, ours, theirs, ..self.clone() }
    }
}

/// All cases, always the same.
pub(crate) fn cases() -> Vec<Case> {
    let (prose, mut random) = (Prose::new(), Prng::new(0x7e47));
    let made_up = (0..MADE_UP).map(|number| made_up(number, &prose, &mut random));
    written_cases().into_iter().chain(made_up).collect()
}

/// The cases written by hand.
pub(crate) fn written_cases() -> Vec<Case> {
    let case = |&(name, base, ours, theirs, expected): &Written| Case {
        name: name.into(),
        base: base.into(),
        ours: ours.into(),
        theirs: theirs.into(),
        expected,
    };
    WRITTEN.iter().map(case).collect()
}

fn made_up(number: u64, prose: &Prose, random: &mut Prng) -> Case {
    let mut lines = Vec::new();
    for _ in 0..=random.below(12) {
        let mut line = String::new();
        if !random.chance(200) {
            prose.sentence(random, &mut line);
            if random.chance(300) {
                line.push(' ');
                prose.sentence(random, &mut line);
            }
        }
        lines.push(line);
    }
    let newline = if random.chance(150) { "\r\n" } else { "\n" };
    let text = |lines: &[String]| lines.iter().map(|line| format!("{line}{newline}")).collect::<String>();
    let base = text(&lines);
    let mut edited = || {
        let mut lines = lines.clone();
        for _ in 0..=random.below(3) {
            edit(&mut lines, prose, random);
        }
        text(&lines)
    };
    Case { name: format!("made up {number}"), base, ours: edited(), theirs: edited(), expected: None }
}

fn edit(lines: &mut Vec<String>, prose: &Prose, random: &mut Prng) {
    let at = random.below(lines.len() as u64 + 1) as usize;
    let mut sentence = String::new();
    prose.sentence(random, &mut sentence);
    let Some(line) = lines.get_mut(at) else {
        lines.push(sentence);
        return;
    };
    match random.below(10) {
        0 => lines.insert(at, sentence),
        1 => drop(lines.remove(at)),
        2 => {
            let paragraph = lines.remove(at);
            lines.insert(random.below(lines.len() as u64 + 1) as usize, paragraph);
        }
        3 => *line = sentence,
        4 => line.push_str(&format!(" {sentence}")),
        5 => line.insert_str(0, &format!("{sentence} ")),
        6 => lines.insert(at, String::new()),
        _ => {
            let mut words: Vec<&str> = line.split(' ').collect();
            let word = random.below(words.len() as u64) as usize;
            words[word] = random.pick(&["quickly", "Kiel", "größer", "5 pm", "naïve 👩‍🚒", "two", ""]);
            *line = words.join(" ");
        }
    }
}

/// Name, base, ours, theirs, expected.
type Written = (&'static str, &'static str, &'static str, &'static str, Option<&'static str>);

const MADE_UP: u64 = 400;

const WRITTEN: &[Written] = &[
    ("far apart lines", "a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", Some("A\nb\nc\nD\n")),
    (
        "typos in one line",
        "We ned help to carry a heavvy piano.",
        "We need help to carry a heavvy piano.",
        "We ned help to carry a heavy piano.",
        Some("We need help to carry a heavy piano."),
    ),
    (
        "insertions around one word",
        "We need help to carry a piano.\n\nIt is heavy.\n",
        "We need help to carry a grand piano.\n\nIt is heavy.\n",
        "We need help to carry a piano on Friday.\n\nIt is heavy.\n",
        Some("We need help to carry a grand piano on Friday.\n\nIt is heavy.\n"),
    ),
    ("neighbouring words", "Come at 5 pm, please.", "Come at 6 pm, please.", "Come at 5 am, please.", None),
    ("the same word", "Call Ann.", "Call Bob.", "Call Eve.", None),
    ("the same edit", "Call Ann.\nBye", "Call Bob.\nBye", "Call Bob.\nBye!", Some("Call Bob.\nBye!")),
    (
        "neighbouring lines",
        "one apple\ntwo pears\n",
        "one red apple\ntwo pears\n",
        "one apple\ntwo big pears\n",
        Some("one red apple\ntwo big pears\n"),
    ),
    ("both append", "Hello.", "Hello.\nOurs.", "Hello.\nTheirs.", None),
    ("both append the same", "Hello.\nx", "Hello.\nx\nSame.", "Hallo.\nx\nSame.", Some("Hallo.\nx\nSame.")),
    (
        "append and edit above",
        "one\ntwo\nthree",
        "one\ntwo\nthree\nfour",
        "ONE\ntwo\nthree",
        Some("ONE\ntwo\nthree\nfour"),
    ),
    ("append without a final line feed", "one\ntwo", "ONE\ntwo", "one\ntwo\nthree", Some("ONE\ntwo\nthree")),
    ("both delete, one more", "a\nb\nc\nd\n", "a\nd\n", "a\nb\nd\n", None),
    (
        "delete against edit",
        "keep\n\nold words here\n\nend\n",
        "keep\n\n\nend\n",
        "keep\n\nold words there\n\nend\n",
        None,
    ),
    ("delete far from edit", "a\nb\nc\nd\ne\n", "b\nc\nd\ne\n", "a\nb\nc\nd\nE\n", Some("b\nc\nd\nE\n")),
    (
        "a paragraph moved, another edited",
        "First paragraph.\n\nSecond paragraph.\n\nThird paragraph.\n\nFourth paragraph.\n",
        "Second paragraph.\n\nThird paragraph.\n\nFourth paragraph.\n\nFirst paragraph.\n",
        "First paragraph.\n\nSecond paragraph.\n\nThird long paragraph.\n\nFourth paragraph.\n",
        Some("Second paragraph.\n\nThird long paragraph.\n\nFourth paragraph.\n\nFirst paragraph.\n"),
    ),
    (
        "a paragraph moved and edited",
        "First paragraph.\n\nSecond one.\n\nThird one.\n",
        "Second one.\n\nThird one.\n\nFirst paragraph.\n",
        "First long paragraph.\n\nSecond one.\n\nThird one.\n",
        None,
    ),
    ("CRLF kept", "a\r\nb\r\nc\r\n", "A\r\nb\r\nc\r\n", "a\r\nb\r\nC\r\n", Some("A\r\nb\r\nC\r\n")),
    ("CRLF without a final one", "a\r\nb\r\nc", "A\r\nb\r\nc", "a\r\nb\r\nc\r\nd", Some("A\r\nb\r\nc\r\nd")),
    ("CRLF against an edit", "one line\ntwo line\n", "one line\r\ntwo line\r\n", "one line\ntwo lines\n", None),
    ("LF to CRLF by both", "a\nb\nc\n", "a\r\nb\r\nc\r\n", "a\r\nb\r\nc\r\nd\r\n", None),
    ("only a carriage return", "a\rb\n\nc\n", "a\rB\n\nc\n", "a\rb\n\nC\n", Some("a\rB\n\nC\n")),
    (
        "Unicode words",
        "žluťoučký kůň pěl ódy",
        "žluťoučký kůň pěl písně",
        "zelený kůň pěl ódy",
        Some("zelený kůň pěl písně"),
    ),
    ("one accent", "pěl\n", "pel\n", "pél\n", None),
    (
        "an emoji is not cut",
        "hi 👩‍🚒 there friend",
        "hi 👩‍🔬 there friend",
        "hi 👩‍🚒 there friends",
        Some("hi 👩‍🔬 there friends"),
    ),
    ("words without blanks", "今日は雨です。", "今日は雪です。", "明日は雨です。", None),
    ("empty base", "", "ours", "theirs", None),
    ("emptied against edited", "text", "", "texts", None),
    ("emptied lines", "a\nb\nc\n", "a\n\nc\n", "a\nb\nC\n", None),
    ("blank lines added", "a\nb\nc\nd", "a\n\nb\nc\nd", "a\nb\nc\n\nd", Some("a\n\nb\nc\n\nd")),
    (
        "lists",
        "- milk\n- bread\n- eggs\n",
        "- milk\n- rye bread\n- eggs\n",
        "- milk\n- bread\n- eggs\n- tea\n",
        Some("- milk\n- rye bread\n- eggs\n- tea\n"),
    ),
    (
        "ticked by both",
        "[ ] a\n[ ] b\n[ ] c\n",
        "[x] a\n[ ] b\n[ ] c\n",
        "[ ] a\n[ ] b\n[x] c\n",
        Some("[x] a\n[ ] b\n[x] c\n"),
    ),
    ("rewritten against a word", "We meet on Monday at noon.", "Nothing stays.", "We meet on Tuesday at noon.", None),
    (
        "marker-like lines",
        "=======\nx\n<<<<<<<\n",
        "=======\ny\n<<<<<<<\n",
        "=======\nx\n<<<<<<<\n>>>>>>>\n",
        Some("=======\ny\n<<<<<<<\n>>>>>>>\n"),
    ),
    (
        "marker-like lines in conflict",
        "<<<<<<< a\nx\n=======\n",
        "<<<<<<< a\ny\n=======\n",
        "<<<<<<< a\nz\n=======\n",
        None,
    ),
    ("a final line feed added", "a\nb\nc", "a\nb\nc\n", "a\nb\nC", Some("a\nb\nC\n")),
    ("a final line feed removed", "a\nb\nc\n", "a\nb\nc", "A\nb\nc\n", Some("A\nb\nc")),
];
