//! Holds the source to its own rules: layers, file size, head comments, no re-exports, no `unwrap`, no stray words.
//!
//! The layers stand in docs/architecture.md and nowhere else. Reads text, not syntax: rustfmt makes that enough.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LINES_MAX: usize = 500;

/// Paths of the machines that people happen to work on; in two parts, so that this file doesn't hold them.
const WORDS_FORBIDDEN: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/")];

#[test]
fn modules_import_only_downwards() {
    let layers = Layers::read(&text("docs/architecture.md"));
    let mut complaints = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        if !layers.0.contains_key(&module) {
            complaints.push(format!("{}: module {module} is missing in docs/architecture.md", path.display()));
            continue;
        }
        for (line, used) in imports(&code_of(&path)) {
            if let Err(reason) = layers.check(&module, &used) {
                complaints.push(format!("{}:{line}: {reason}", path.display()));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn files_are_short_and_say_what_they_own() {
    let mut complaints = Vec::new();
    for path in sources() {
        let text = text(&path);
        let lines = text.lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{}: {lines} lines; look for the second idea", path.display()));
        }
        if !text.starts_with("//! ") {
            complaints.push(format!("{}: doesn't begin with a head comment", path.display()));
        }
    }
    assert_none(complaints);
}

#[test]
fn nothing_is_reexported_and_nothing_unwrapped() {
    let mut complaints = Vec::new();
    for path in sources() {
        for (number, line) in code_of(&path) {
            for reason in habits(&line) {
                complaints.push(format!("{}:{number}: {reason}", path.display()));
            }
        }
    }
    assert_none(complaints);
}

#[test]
fn no_file_names_a_machine() {
    let mut files = Vec::new();
    for dir in ["src", "tests", "examples", "benches", "docs", "format", "fixtures", "scripts", ".ci", "fuzz"] {
        collect(&root().join(dir), &mut files);
    }
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    files.extend(top.filter(|path| path.extension().is_some_and(|kind| kind == "md" || kind == "toml")));
    let mut complaints = Vec::new();
    for path in files {
        // Binary fixtures are searched too.
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        for word in WORDS_FORBIDDEN.iter().filter(|word| text.contains(*word)) {
            complaints.push(format!("{}: contains {word}", path.display()));
        }
    }
    assert_none(complaints);
}

/// They are applied one on top of the other, as `scripts/seeded-bugs` does.
#[test]
fn the_seeded_bugs_fit_the_code() {
    let mut patches: Vec<PathBuf> = Vec::new();
    collect(&root().join("tests/sim/bugs"), &mut patches);
    patches.retain(|path| path.extension().is_some_and(|kind| kind == "patch"));
    patches.sort();
    assert!(patches.len() > 15, "{patches:?}");
    let checked = Command::new("git").args(["apply", "--check"]).args(&patches).current_dir(root()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The table of docs/architecture.md.
struct Layers(BTreeMap<String, Layer>);

struct Layer {
    /// `None` for `testing`, which lies outside.
    level: Option<u32>,
    also: Vec<String>,
    never: Vec<String>,
}

impl Layers {
    fn read(page: &str) -> Self {
        let rows = page.lines().filter_map(|line| {
            let cells: Vec<&str> = line.trim().strip_prefix('|')?.split('|').map(str::trim).collect();
            let [level, module, _owns, also, never, ..] = cells[..] else { return None };
            let [module] = &quoted(module)[..] else { return None };
            let layer = Layer { level: level.parse().ok(), also: quoted(also), never: quoted(never) };
            Some((module.clone(), layer))
        });
        let layers = Self(rows.collect());
        assert!(layers.0.len() > 10, "docs/architecture.md has lost its table of layers");
        layers
    }

    /// Says why `module` may not use `used`, if it may not.
    fn check(&self, module: &str, used: &str) -> Result<(), String> {
        if module == used {
            return Ok(());
        }
        let Some(target) = self.0.get(used) else {
            return Err(format!("uses crate::{used}, which is no module of docs/architecture.md"));
        };
        let own = &self.0[module];
        let Some(level) = own.level else { return Ok(()) };
        if own.never.iter().any(|never| never == used) {
            return Err(format!("{module} must know nothing of {used}"));
        }
        match target.level {
            Some(below) if below < level => Ok(()),
            _ if own.also.iter().any(|also| also == used) => Ok(()),
            None => Err(format!("{module} uses {used} outside its tests")),
            Some(other) => Err(format!("{module} (layer {level}) uses {used} (layer {other})")),
        }
    }
}

/// Returns the names in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the numbered lines that are neither comments nor test code.
fn code_of(path: &Path) -> Vec<(usize, String)> {
    if path.file_name().is_some_and(|name| name == "tests.rs") || path.iter().any(|part| part == "tests") {
        return Vec::new();
    }
    let text = text(path);
    if text.lines().any(|line| line == "#![cfg(test)]") {
        return Vec::new();
    }
    code(&text)
}

/// Leaves out comment lines and whatever `#[cfg(test)]` stands before: an item ends at the bracket that is indented
/// like it, or at once if its first line ends with a semicolon.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(all(test,") {
            let indent = &line[..line.len() - trimmed.len()];
            let mut item = lines.by_ref().map(|(_, line)| line).skip_while(|line| line.trim_start().starts_with("#["));
            if item.next().is_some_and(|first| !first.ends_with([';', '}'])) {
                let ends = |line: &str| line.strip_prefix(indent).is_some_and(|rest| rest.starts_with(['}', ')']));
                item.find(|line| ends(line));
            }
        } else if !trimmed.starts_with("//") {
            kept.push((index + 1, line.to_owned()));
        }
    }
    kept
}

/// Returns the top modules named after `crate::`, with their lines; what can't be read so comes as a name in braces.
fn imports(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in code {
        if line.contains("super::super") {
            found.push((*number, "{super::super}".to_owned()));
        }
        let mut rest = line.as_str();
        while let Some(at) = rest.find("crate::") {
            let before = rest[..at].chars().next_back();
            rest = &rest[at + "crate::".len()..];
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
                continue;
            }
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((*number, if name.is_empty() { "{several at once}".to_owned() } else { name }));
        }
    }
    found
}

/// Says what is wrong with a line of code that isn't a test.
fn habits(line: &str) -> Vec<&'static str> {
    let mut reasons = Vec::new();
    let line = line.trim_start();
    if line.starts_with("pub use ") || (line.starts_with("pub(") && line.contains(") use ")) {
        reasons.push("re-exports; import from where it is defined");
    }
    if line.contains(".unwrap()") || line.contains(".unwrap_err()") {
        reasons.push("unwraps; say with expect(..) why it cannot happen, or return the error");
    }
    reasons
}

fn module_of(path: &Path) -> String {
    let inner = path.strip_prefix(root().join("src")).expect("sources lie in src");
    let first = inner.iter().next().expect("a file has a name").to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    files.retain(|path| path.extension().is_some_and(|kind| kind == "rs"));
    assert!(files.len() > 10, "the sources are gone");
    files
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                collect(&path, files);
            }
        } else {
            files.push(path);
        }
    }
    files.sort();
}

fn text(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn assert_none(complaints: Vec<String>) {
    let prefix = format!("{}/", root().display());
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n").replace(&prefix, ""));
}

/// The checks themselves, on samples.
mod checks {
    use super::*;

    const TABLE: &str = "\
        | layer | module | owns | may also use | never uses |\n|---|---|---|---|---|\n\
        | 0 | `low` | x | | |\n| 1 | `left` | x | `right` | |\n| 1 | `right` | x | | `low` |\n| – | `testing` | x | | |\n";

    fn layers() -> Layers {
        let fill: String = (0..10).map(|n| format!("| 9 | `m{n}` | x | | |\n")).collect();
        Layers::read(&format!("{TABLE}{fill}"))
    }

    #[test]
    fn layers_allow_what_is_below_and_the_exceptions() {
        let layers = layers();
        assert_eq!(layers.check("left", "low"), Ok(()));
        assert_eq!(layers.check("left", "left"), Ok(()));
        assert_eq!(layers.check("left", "right"), Ok(()), "named as an exception");
        assert_eq!(layers.check("testing", "left"), Ok(()));
        for (module, used) in [("right", "left"), ("right", "low"), ("low", "left"), ("left", "testing"), ("low", "?")]
        {
            assert!(layers.check(module, used).is_err(), "{module} uses {used}");
        }
    }

    #[test]
    fn imports_are_found_wherever_they_stand() {
        let text = "use crate::tree::node;\nlet x = crate::id::New(crate::cbor::A);\n// crate::comment\n\
            use crate::{a, b};\nuse super::super::c;\nmy_crate::d;\n";
        let found: Vec<String> = imports(&code(text)).into_iter().map(|(n, name)| format!("{n} {name}")).collect();
        assert_eq!(found, ["1 tree", "2 id", "2 cbor", "4 {several at once}", "5 {super::super}"]);
    }

    #[test]
    fn test_code_is_left_out_and_what_follows_is_not() {
        let text = "a\n#[cfg(test)]\nmod tests {\n    b.unwrap()\n    }\n}\nc\n#[cfg(test)]\nmod other;\nd\n\
            \x20   #[cfg(test)]\n    #[allow(x)]\n    fn e() {\n        f\n    }\n    g\n";
        let kept: Vec<String> = code(text).into_iter().map(|(_, line)| line.trim().to_owned()).collect();
        assert_eq!(kept, ["a", "c", "d", "g"]);
    }

    #[test]
    fn bad_habits_are_seen() {
        assert_eq!(habits("    let a = b.unwrap();").len(), 1);
        assert_eq!(habits("pub use a::b;").len(), 1);
        assert_eq!(habits("pub(crate) use a::b;").len(), 1);
        assert!(habits("let a = b.unwrap_or_default();").is_empty());
    }
}
