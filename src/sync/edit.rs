//! A conflict of two texts on its way through an editor.

use super::error::Error;
use super::resolve::Choice;
use crate::merge::text::markers::{Labels, render, resolved};
use crate::merge::text::{Merged, Segment, merge};
use crate::record::stamp::Stamp;

/// What is edited.
#[derive(Debug, Clone)]
pub struct Editing {
    /// The conflict, as `dataset/key.field`.
    pub conflict: String,
    /// The text for the editor, with markers in the style of git's zdiff3.
    pub text: String,
    segments: Vec<Segment>,
    of: Vec<Stamp>,
}

impl Editing {
    /// Prepares a text of the base, our side and theirs; `authors` of the last two stand at the markers.
    pub fn new(conflict: String, texts: &[String; 3], authors: &[String; 2], of: Vec<Stamp>) -> Self {
        let [base, ours, theirs] = texts;
        let segments = match merge(base, ours, theirs) {
            Merged::Clean(text) => vec![Segment::Text(text)],
            Merged::Conflict(segments) => segments,
        };
        let labels = Labels { base: "before", ours: &authors[0], theirs: &authors[1] };
        let text = render(&segments, labels);
        Self { conflict, text, segments, of }
    }

    /// Returns the choice that the edited text makes.
    ///
    /// # Errors
    /// `NotEdited` if it is empty or unchanged, `MarkersLeft`.
    pub fn choice(&self, edited: &str) -> Result<Choice, Error> {
        if edited == self.text || edited.trim().is_empty() {
            return Err(Error::NotEdited { conflict: self.conflict.clone() });
        }
        match resolved(&self.segments, edited) {
            Ok(text) => Ok(Choice::Edited { text, of: self.of.clone() }),
            Err(source) => Err(Error::MarkersLeft { conflict: self.conflict.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn editing() -> Editing {
        let texts = ["Soup at six".to_owned(), "Soup at seven".to_owned(), "Bread at six or later".to_owned()];
        Editing::new("requests/1.title".into(), &texts, &["alpha".into(), "beta".into()], Vec::new())
    }

    #[test]
    fn an_edited_text_is_taken_as_it_is() {
        let editing = editing();
        assert!(
            editing.text.contains("<<<<<<< alpha\n") && editing.text.contains(">>>>>>> beta\n"),
            "{}",
            editing.text
        );
        let choice = editing.choice("Soup and bread\n").unwrap();
        assert_eq!(choice, Choice::Edited { text: "Soup and bread".into(), of: Vec::new() });
    }

    #[test]
    fn an_unchanged_an_empty_and_a_half_edited_text_settle_nothing() {
        let editing = editing();
        for text in [editing.text.as_str(), "", " \n"] {
            assert!(matches!(editing.choice(text), Err(Error::NotEdited { .. })), "{text:?}");
        }
        let half = editing.text.replace("=======\n", "");
        assert!(matches!(editing.choice(&half), Err(Error::MarkersLeft { source, .. }) if source.line == 1));
    }
}
