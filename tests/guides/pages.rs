//! Finds the documents, and the pieces of them that the tests look at.

use std::fs;
use std::path::{Path, PathBuf};

/// A document, by its path in the repository.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// What a document says in code: a line of a block, or a span in a sentence.
pub(crate) struct Code {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) is_block: bool,
    /// Whether a test types it: it stands in a `console` block.
    pub(crate) is_typed: bool,
}

/// Returns README.md and everything in docs/ and format/.
pub(crate) fn all() -> Vec<Page> {
    let mut found = vec![page("README.md")];
    for dir in ["docs", "docs/adr", "format"] {
        let mut names: Vec<PathBuf> =
            fs::read_dir(root().join(dir)).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for path in names.iter().filter(|path| path.extension().is_some_and(|kind| kind == "md")) {
            found.push(page(path.strip_prefix(root()).unwrap().to_str().unwrap()));
        }
    }
    assert!(found.len() > 60, "the documents are gone");
    found
}

/// Returns those that tell how things are now: decisions tell how they were, and the reference is made from the program.
pub(crate) fn of_today() -> Vec<Page> {
    all().into_iter().filter(|page| !page.path.starts_with("docs/adr/") && page.path != "docs/commands.md").collect()
}

pub(crate) fn page(path: &str) -> Page {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page { path: path.to_owned(), text }
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    /// Returns the code of the page: lines of fenced and indented blocks, and spans.
    pub(crate) fn code(&self) -> Vec<Code> {
        let mut found = Vec::new();
        let (mut fence, mut kind, mut after_blank, mut prose, mut prose_at) = (None, "", true, String::new(), 1);
        for (line, text) in self.text.lines().enumerate().map(|(at, text)| (at + 1, text)) {
            let is_fence = text.starts_with("```");
            let is_indented = text.starts_with("    ") && (after_blank || fence == Some("    "));
            if is_fence || text.is_empty() || is_indented {
                spans(&prose, prose_at, &mut found);
                prose.clear();
                prose_at = line + 1;
            }
            match fence {
                Some("```") if is_fence => fence = None,
                // What a command said is no command, and neither is configuration.
                Some("```") if kind == "console" && !text.contains("$ ") || !matches!(kind, "console" | "sh" | "") => {}
                Some("```") => {
                    found.push(Code { line, text: text.to_owned(), is_block: true, is_typed: kind == "console" });
                }
                _ if is_fence => (fence, kind) = (Some("```"), text.trim_start_matches('`')),
                _ if is_indented => {
                    fence = Some("    ");
                    found.push(Code { line, text: text.trim_start().to_owned(), is_block: true, is_typed: false });
                }
                _ if text.is_empty() => {}
                _ => {
                    fence = None;
                    prose += text;
                    prose.push('\n');
                }
            }
            after_blank = text.is_empty();
        }
        spans(&prose, prose_at, &mut found);
        found
    }

    /// Returns the text without blocks, in which spans are empty.
    pub(crate) fn prose(&self) -> String {
        let mut text = String::new();
        let mut is_code = false;
        for line in self.text.lines() {
            if line.starts_with("```") {
                is_code = !is_code;
            } else if !is_code && !line.starts_with("    ") {
                let outside = line.split('`').step_by(2);
                text += &outside.collect::<Vec<_>>().join("``");
                text.push('\n');
            }
        }
        text
    }
}

/// Finds what stands between backquotes, also over the end of a line.
fn spans(prose: &str, at: usize, found: &mut Vec<Code>) {
    for (number, part) in prose.split('`').enumerate().filter(|(number, _)| number % 2 == 1) {
        let before: usize = prose.split('`').take(number).map(|part| part.matches('\n').count()).sum();
        found.push(Code { line: at + before, text: part.replace('\n', " "), is_block: false, is_typed: false });
    }
}
