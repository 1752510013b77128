//! The real `git merge-file`, its answer read back as pieces, and ours compared with it.

use std::fs;
use std::process::Command;

use wbsync::merge::text::Segment;

use crate::cases::Case;

pub(crate) struct Git(tempfile::TempDir);

impl Git {
    /// Finds a git that merges by histogram as `git merge` does (2.44 or later); says so if there is none.
    pub(crate) fn find() -> Option<Self> {
        let git = Self(tempfile::tempdir().unwrap());
        let file = git.0.path().join("empty");
        fs::write(&file, "").unwrap();
        let mut command = Command::new("git");
        command.args(["merge-file", "-p", "--diff-algorithm=histogram"]).args([&file; 3]);
        if command.output().is_ok_and(|output| output.status.success()) {
            return Some(git);
        }
        eprintln!("SKIPPED: no git 2.44 or later on this machine, nothing was compared with it");
        None
    }

    /// Merges with git and reads the markers back; no case may have a line of 60 equal marker characters.
    pub(crate) fn merge(&self, case: &Case) -> Vec<Segment> {
        read(&self.run(case, "--diff3", "60"))
    }

    /// Returns what git prints.
    pub(crate) fn run(&self, case: &Case, style: &str, marker_size: &str) -> String {
        for (name, text) in [("base", &case.base), ("ours", &case.ours), ("theirs", &case.theirs)] {
            fs::write(self.0.path().join(name), text).unwrap();
        }
        let mut command = Command::new("git");
        command.current_dir(self.0.path()).env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_CONFIG_GLOBAL", "/dev/null");
        command.args(["merge-file", "-p", "--diff-algorithm=histogram", style, "--marker-size", marker_size]);
        command.args(["-L", "ours", "-L", "base", "-L", "theirs", "ours", "base", "theirs"]);
        let output = command.output().unwrap();
        assert!(output.status.code().is_some_and(|conflicts| conflicts < 128), "{case:#?}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn read(marked: &str) -> Vec<Segment> {
    let mut segments = Vec::new();
    let mut parts: [String; 4] = Default::default();
    let mut current = 0;
    for line in marked.split_inclusive('\n') {
        let marker = "<|=>".chars().position(|marker| line.starts_with(&marker.to_string().repeat(60)));
        match marker {
            None => parts[current].push_str(line),
            Some(3) => {
                let [text, ours, base, theirs] = std::mem::take(&mut parts);
                segments.extend([Segment::Text(text), Segment::Conflict { base, ours, theirs }]);
                current = 0;
            }
            Some(marker) => current = marker + 1,
        }
    }
    let [text, ..] = parts;
    segments.push(Segment::Text(text));
    segments.retain(|segment| !matches!(segment, Segment::Text(text) if text.is_empty()));
    segments
}

/// Returns how many of git's conflicts became text in ours; `None` if the two differ in anything else.
pub(crate) fn conflicts_merged_by_words(git: &[Segment], ours: &[Segment]) -> Option<usize> {
    match (git, ours) {
        ([], []) => Some(0),
        ([Segment::Text(text), git @ ..], [Segment::Text(our), ours @ ..]) => {
            without(our.strip_prefix(text.as_str())?, ours, |ours| conflicts_merged_by_words(git, ours))
        }
        ([Segment::Conflict { .. }, git_rest @ ..], [Segment::Conflict { .. }, ours_rest @ ..])
            if git[0] == ours[0] =>
        {
            conflicts_merged_by_words(git_rest, ours_rest)
        }
        ([Segment::Conflict { .. }, git @ ..], [Segment::Text(our), ours @ ..]) => {
            let ends = (0..=our.len()).filter(|&end| our.is_char_boundary(end));
            let merged = |end: usize| without(&our[end..], ours, |ours| conflicts_merged_by_words(git, ours));
            ends.filter_map(merged).next().map(|count| count + 1)
        }
        _ => None,
    }
}

fn without<T>(rest: &str, segments: &[Segment], then: impl Fn(&[Segment]) -> T) -> T {
    if rest.is_empty() {
        return then(segments);
    }
    then(&[&[Segment::Text(rest.into())], segments].concat())
}
