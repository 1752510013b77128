//! The only door to gix: merges lines that end in a line feed, and knows neither fields nor words.
//!
//! No type of gix leaves this file, because every minor release of gix breaks something.

use std::num::NonZeroU8;

use gix_imara_diff::{Algorithm, InternedInput};
use gix_merge::blob::Resolution;
use gix_merge::blob::builtin_driver::text::{Conflict, ConflictStyle, Labels, Merge};

/// Returns the merge if no lines conflict.
pub(super) fn complete(base: &str, ours: &str, theirs: &str) -> Option<String> {
    let (merged, resolution) = run(base, ours, theirs, Conflict::ResolveWithOurs);
    (resolution == Resolution::Complete).then_some(merged)
}

/// Returns the merge with its conflicts in `git merge-file --diff3` style, the markers without labels.
/// A marker ends in CRLF where the lines around it do.
pub(super) fn marked(base: &str, ours: &str, theirs: &str) -> String {
    let marker_size = NonZeroU8::MIN;
    run(base, ours, theirs, Conflict::Keep { style: ConflictStyle::Diff3, marker_size }).0
}

fn run(base: &str, ours: &str, theirs: &str, conflict: Conflict) -> (String, Resolution) {
    let mut input = InternedInput::default();
    let [base, ours, theirs] = [base, ours, theirs].map(str::as_bytes);
    let merge = Merge::new(&mut input, ours, base, theirs, Algorithm::Histogram);
    let mut merged = Vec::new();
    let resolution = merge.run(&mut merged, Labels::default(), conflict);
    (String::from_utf8(merged).expect("whole lines of UTF-8 are UTF-8"), resolution)
}
