//! Merge by words, for lines that both sides changed.
//!
//! gix merges only lines, so every word is written as a line of its own: a number that stands for it.
//! A blank or a punctuation mark counts as changed when what stands beside it has changed. So two
//! changes are merged only if an unchanged word lies between them, as git wants an unchanged line:
//! "5 pm" edited to "6 pm" and to "5 am" is a conflict, not "6 am".

use std::collections::HashMap;

use super::driver;

/// Returns the merge by words if it leaves no conflict. Cost: up to 8 times the memory of the texts.
pub(super) fn merge(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let mut words = Words::default();
    let [base, ours, theirs] = [base, ours, theirs].map(|text| words.lines_of(text));
    let merged = driver::complete(&base, &ours, &theirs)?;
    Some(merged.lines().map(|line| words.word_of(line)).collect())
}

/// Numbers for words, in order of appearance.
#[derive(Default)]
struct Words<'a> {
    numbers: HashMap<[&'a str; 3], usize>,
    words: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn lines_of(&mut self, text: &'a str) -> String {
        let words: Vec<&str> = split(text).collect();
        let mut lines = String::new();
        for (at, word) in words.iter().enumerate() {
            let around = |at: Option<usize>| at.and_then(|at| words.get(at)).copied().unwrap_or("");
            let key = if word.starts_with(is_letter) {
                ["", word, ""]
            } else {
                [around(at.checked_sub(1)), word, around(at.checked_add(1))]
            };
            let number = *self.numbers.entry(key).or_insert_with(|| {
                self.words.push(word);
                self.words.len() - 1
            });
            lines.push_str(&number.to_string());
            lines.push('\n');
        }
        lines
    }

    fn word_of(&self, line: &str) -> &'a str {
        self.words[line.parse::<usize>().expect("a merge has only lines that were put into it")]
    }
}

/// Cuts a text into runs of letters and digits, runs of blanks, and single other characters.
fn split(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let end = match first {
            letter if is_letter(letter) => rest.find(|other| !is_letter(other)),
            ' ' | '\t' => rest.find(|other| !matches!(other, ' ' | '\t')),
            other => Some(other.len_utf8()),
        };
        let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        Some(word)
    })
}

fn is_letter(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_add_up_to_the_text() {
        let text = "don't  stop_me\r\nžluťoučký 👩‍🚒\0\t x";
        assert_eq!(split(text).collect::<String>(), text);
        assert_eq!(split("one  two,3\n").collect::<Vec<_>>(), ["one", "  ", "two", ",", "3", "\n"]);
        assert_eq!(split("").count(), 0);
    }

    #[test]
    fn changes_merge_only_around_an_unchanged_word() {
        let merged = |ours, theirs| merge("at 5 pm in Kiel\n", ours, theirs);
        assert_eq!(merged("at 6 pm in Kiel\n", "at 5 pm in Bonn\n").as_deref(), Some("at 6 pm in Bonn\n"));
        assert_eq!(merged("at 6 pm in Kiel\n", "at 5 am in Kiel\n"), None);
        assert_eq!(merged("at 5 pm, in Kiel\n", "at 5 am in Kiel\n"), None);
    }
}
