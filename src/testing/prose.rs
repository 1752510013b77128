//! Made-up English: sentences with the word frequencies and lengths of a neighbourhood board.
//!
//! What matters is that it reads tolerably and that it compresses about like the real thing (zstd -3: 2.5 to 3.5).

use crate::testing::prng::Prng;
use crate::testing::vocabulary;

/// Writes sentences; holds no state between them.
#[derive(Debug)]
pub struct Prose {
    subjects: Words,
    verbs: Words,
    nouns: Words,
    adjectives: Words,
    places: Words,
    times: Words,
    openers: Words,
    joints: Words,
    commonplaces: Words,
    names: Words,
    syllables: Words,
}

impl Prose {
    /// Prepares the word lists.
    pub fn new() -> Self {
        Self {
            subjects: Words::new(vocabulary::SUBJECTS),
            verbs: Words::new(vocabulary::VERBS),
            nouns: Words::new(vocabulary::NOUNS),
            adjectives: Words::new(vocabulary::ADJECTIVES),
            places: Words::new(vocabulary::PLACES),
            times: Words::new(vocabulary::TIMES),
            openers: Words::new(vocabulary::OPENERS),
            joints: Words::new(vocabulary::JOINTS),
            commonplaces: Words::new(vocabulary::COMMONPLACES),
            names: Words::new(vocabulary::NAMES),
            syllables: Words::new(vocabulary::SYLLABLES),
        }
    }

    /// Appends text of at least `bytes` bytes, in paragraphs of three to seven sentences.
    pub fn text(&self, random: &mut Prng, bytes: usize, out: &mut String) {
        let end = out.len() + bytes;
        let mut left_in_paragraph = 3 + random.below(5);
        loop {
            self.sentence(random, out);
            if out.len() >= end {
                return;
            }
            left_in_paragraph -= 1;
            if left_in_paragraph == 0 {
                out.push_str("\n\n");
                left_in_paragraph = 3 + random.below(5);
            } else {
                out.push(' ');
            }
        }
    }

    /// Appends one sentence with its full stop.
    pub fn sentence(&self, random: &mut Prng, out: &mut String) {
        let start = out.len();
        match random.below(100) {
            0..8 => return out.push_str(self.commonplaces.draw(random)),
            8..14 => {
                out.push_str(self.names.draw(random));
                out.push_str(", ");
            }
            14..30 => {
                out.push_str(self.openers.draw(random));
                out.push_str(", ");
            }
            _ => {}
        }
        self.clause(random, out);
        if random.chance(420) {
            out.push_str(if random.chance(300) { ", " } else { " " });
            out.push_str(self.joints.draw(random));
            out.push(' ');
            self.clause(random, out);
        }
        capitalise(out, start);
        for _ in 0..random.below(3) {
            mistype(random, out, start);
        }
        out.push(match random.below(20) {
            0 => '!',
            1 | 2 => '?',
            _ => '.',
        });
    }

    /// Appends a title of two to six words, without a full stop.
    pub fn title(&self, random: &mut Prng, out: &mut String) {
        let start = out.len();
        out.push_str(self.adjectives.draw(random));
        out.push(' ');
        out.push_str(self.nouns.draw(random));
        if random.chance(500) {
            out.push(' ');
            out.push_str(self.places.draw(random));
        }
        if random.chance(300) {
            out.push(' ');
            out.push_str(self.times.draw(random));
        }
        capitalise(out, start);
    }

    /// Returns a first name in lower case.
    pub fn name(&self, random: &mut Prng) -> &str {
        self.names.draw(random)
    }

    fn clause(&self, random: &mut Prng, out: &mut String) {
        if random.chance(200) {
            self.somebody(random, out);
        } else {
            out.push_str(self.subjects.draw(random));
        }
        out.push(' ');
        out.push_str(self.verbs.draw(random));
        self.thing(random, out);
        if random.chance(200) {
            out.push_str(random.pick(&[" and", " or", " with", " for", " instead of", " without"]));
            self.thing(random, out);
        }
        match random.below(100) {
            0..20 => {
                out.push(' ');
                out.push_str(self.places.draw(random));
            }
            20..45 => {
                out.push(' ');
                out.push_str(self.times.draw(random));
            }
            _ => {}
        }
        if random.chance(100) {
            self.detail(random, out);
        }
    }

    fn thing(&self, random: &mut Prng, out: &mut String) {
        out.push(' ');
        let article =
            random.pick(&["the", "the", "a", "a", "some", "our", "that", "this", "my", "their", "one more", ""]);
        out.push_str(article);
        let end_of_article = out.len();
        if article.is_empty() {
            out.push_str(&(2 + random.below(40)).to_string());
        }
        for _ in 0..random.below(3) {
            out.push(' ');
            out.push_str(self.adjectives.draw(random));
        }
        if random.chance(250) {
            out.push(' ');
            out.push_str(self.nouns.draw(random));
        }
        out.push(' ');
        out.push_str(self.nouns.draw(random));
        if article == "a" && out[end_of_article..].trim_start().starts_with(['a', 'e', 'i', 'o', 'u']) {
            out.insert(end_of_article, 'n');
        }
    }

    /// A person nobody else wrote of.
    fn somebody(&self, random: &mut Prng, out: &mut String) {
        out.push_str(random.pick(&["Mrs ", "Mr ", "Dr ", "old ", ""]));
        let start = out.len();
        for _ in 0..2 + random.below(2) {
            out.push_str(self.syllables.draw(random));
        }
        capitalise(out, start);
    }

    /// The incompressible part of real posts: numbers, prices, links.
    fn detail(&self, random: &mut Prng, out: &mut String) {
        match random.below(4) {
            0 => out.push_str(&format!(" (call 555-{:04})", random.below(10_000))),
            1 => out.push_str(&format!(", about ${}.{:02}", random.below(200), random.below(100))),
            2 => out.push_str(&format!(" at no. {}", 1 + random.below(240))),
            _ => out.push_str(&format!(" (see https://example.org/{:08x})", random.bits() as u32)),
        }
    }
}

impl Default for Prose {
    fn default() -> Self {
        Self::new()
    }
}

/// A list of words, drawn like words of a language: the one at rank r in proportion to 1/(r + `FLATTEN`).
#[derive(Debug)]
struct Words {
    words: Vec<String>,
    /// Running sums of the weights; the last is the total.
    sums: Vec<u64>,
}

impl Words {
    fn new(list: &str) -> Self {
        let words: Vec<String> = list.split_whitespace().map(|word| word.replace('_', " ")).collect();
        let mut total = 0;
        let sums = (0..words.len() as u64)
            .map(|rank| {
                total += 1_000_000 / (rank + FLATTEN);
                total
            })
            .collect();
        Self { words, sums }
    }

    fn draw(&self, random: &mut Prng) -> &str {
        let total = *self.sums.last().expect("every list holds words");
        let point = random.below(total);
        &self.words[self.sums.partition_point(|sum| *sum <= point)]
    }
}

fn capitalise(out: &mut String, start: usize) {
    if let Some(first) = out[start..].chars().next().filter(char::is_ascii_lowercase) {
        out.replace_range(start..=start, first.to_ascii_uppercase().encode_utf8(&mut [0; 4]));
    }
}

/// Leaves out one letter of what begins at `start`, as fast typists do.
fn mistype(random: &mut Prng, out: &mut String, start: usize) {
    let at = start + random.below((out.len() - start) as u64) as usize;
    if out.as_bytes()[at].is_ascii_lowercase() {
        out.remove(at);
    }
}

const FLATTEN: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten million bytes would be more exact; one is enough to notice that the text became noise or a litany.
    #[test]
    fn compresses_about_like_prose() {
        let mut text = String::new();
        Prose::new().text(&mut Prng::new(1), 1 << 20, &mut text);
        let packed = zstd::bulk::compress(text.as_bytes(), 3).expect("memory suffices");
        let percent = text.len() * 100 / packed.len();
        assert!((270..=350).contains(&percent), "ratio {percent} %");
    }

    #[test]
    fn same_seed_gives_the_same_text() {
        let write = |seed| {
            let mut text = String::new();
            Prose::new().text(&mut Prng::new(seed), 2000, &mut text);
            text
        };
        assert_eq!(write(3), write(3));
        assert_ne!(write(3), write(4));
    }
}
