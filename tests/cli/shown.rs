//! What the tests share: what a run showed as stable text.

use std::io::Write;
use std::path::Path;

use crate::support::run::Run;

// The tests here import it with `check`.
pub use crate::support::pair::Pair;

/// Compares what a run showed with the snapshot of this name.
macro_rules! check {
    ($name:literal, $run:expr) => {{
        let text = crate::shown::stable(&$run);
        insta::with_settings!(
            { filters => crate::shown::FILTERS.to_vec(), omit_expression => true, prepend_module_to_snapshot => false },
            { insta::assert_snapshot!($name, text) }
        );
    }};
}
pub(crate) use check;

/// Compares what several runs showed, as `stable` says it, with the snapshot of this name.
macro_rules! check_all {
    ($name:literal, $said:expr) => {{
        insta::with_settings!(
            { filters => crate::shown::FILTERS.to_vec(), omit_expression => true, prepend_module_to_snapshot => false },
            { insta::assert_snapshot!($name, $said.join("\n")) }
        );
    }};
}
pub(crate) use check_all;

/// What differs from run to run, and what stands for it.
pub const FILTERS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{64}\b", "[id64]"),
    (r"\b[0-9a-f]{32}\b", "[id32]"),
    (r"\b[0-9a-f]{12}\b", "[id12]"),
    (r"\b[0-9a-f]{8}\b", "[id8]"),
    (r"objects/[0-9a-f]{2}/", "objects/[id2]/"),
    (r"SHA256:[A-Za-z0-9+/]{43}", "SHA256:[fingerprint]"),
    (r"wbsync-invite1:[A-Za-z0-9_-]{30,}", "wbsync-invite1:[token]"),
    (r"wbsync-card1:[A-Za-z0-9_-]{100,}", "wbsync-card1:[card]"),
    (r"age1[a-z0-9]{58}", "age1[recipient]"),
    (r"AGE-SECRET-KEY-1[A-Z0-9]{58}", "AGE-SECRET-KEY-1[key]"),
    (r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\b1[789]\d{11}\b", "[millis]"),
    (r"[\d.,]+ (bytes|KiB|MiB|GiB|TiB)\b", "[size]"),
    (r#""(state|store|free)_bytes": \d+"#, r#""${1}_bytes": [bytes]"#),
    (r"\b[0-9a-f]{40}\b", "[id40]"),
    (r#""object_bytes": \d+"#, r#""object_bytes": [bytes]"#),
    (r"(?m)^( {8})\d+$", "${1}[bytes]"),
    (r"(?m)^ +\d+  (format|objects/|scopes/|instances/|receipts/)", "[bytes]  $1"),
    (r#""bytes": \d+"#, r#""bytes": [bytes]"#),
    (r"in \d+\.\d s \([\d,]+ rows/s\)", "in [seconds] s ([speed] rows/s)"),
    (r"\(\d+\.\d s\)", "([seconds] s)"),
    (r"\d+ MB are free", "[number] MB are free"),
    (r"(free_bytes\{[^}]*\}) [\d.]+", "$1 [number]"),
    (r"disk_free_bytes [\d.]+", "disk_free_bytes [number]"),
    (r"\d+ s ago", "[seconds] s ago"),
    (r"next try in \d+ s", "next try in [seconds] s"),
    (r#""wait_millis": \d+"#, r#""wait_millis": [millis]"#),
    (r"/[^ \n\x22]*/\.tmp[A-Za-z0-9]+", "[dir]"),
];

/// Returns what a run showed: command, exit code and both streams.
pub fn stable(run: &Run) -> String {
    let Run { command, code, stdout, stderr, .. } = run;
    let mut text = format!("$ {command}\n");
    text += stdout;
    if !stderr.is_empty() {
        text += &format!("--- stderr\n{stderr}");
    }
    if *code != 0 {
        text += &format!("--- exit code {code}\n");
    }
    text
}

/// Returns a path as text.
pub fn path(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Says that a test could show nothing here, past the capture of test output.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}
