//! Where to look for the name of a thing that wasn't found.

/// Says which command lists what was looked for, by how the message calls it.
pub(super) fn hint(what: &str) -> &'static str {
    let found = LISTS.iter().find(|(kind, _)| what.starts_with(kind));
    found
        .map_or("`wbsync log` lists commits, `wbsync scope list` scopes, `wbsync diff SCOPE` records", |(_, hint)| hint)
}

/// What lists a kind of thing, by how the message calls it.
const LISTS: [(&str, &str); 8] = [
    ("scope or record", "`wbsync scope list` lists scopes, `wbsync diff SCOPE` records"),
    (
        "whole record",
        "give all 32 digits of its key, as `dataset/key`: what isn't there can't be found by the first ones",
    ),
    ("row", "`wbsync privacy list DATASET --rows` lists our own rows; name them as `dataset#key` or `dataset/digits`"),
    ("dataset", "`wbsync privacy list` names the datasets that have rows, [dataset.NAME] of the mapping all"),
    ("scope", "`wbsync scope list` lists scopes; those of others are called PEER/NAME"),
    ("shunned", "`wbsync shun --list` lists what is shunned"),
    ("withdrawal", "`wbsync privacy receipts` lists what was withdrawn"),
    ("late", "`wbsync privacy late` lists late edits"),
];
