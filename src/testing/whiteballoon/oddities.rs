//! Texts and names that careless software mangles.

/// Bodies: every one must come back byte for byte.
pub(super) const BODIES: &[&str] = &[
    "👩‍👩‍👧‍👦 is moving 🚚💨 — thumbs up 👍🏽 if you can carry 🇺🇦🛋️",
    "שלום לכולם, יש לי מיטה פנויה \u{200f}(קומה 3)\u{200e} — call 555-0199",
    "\u{202e}مرحبا بالجميع\u{202c} the lift is broken",
    "e\u{301}te\u{301} is not été, and n\u{303} is not ñ: c\u{327}a va?",
    "first line\r\nsecond line\r\n\r\nfourth line\r",
    "only a carriage return\rbetween these",
    "line separator\u{2028}paragraph separator\u{2029}next line\u{85}end",
    "\"double\" 'single' `back` \\backslash\\ %s %% {{ braces }} ${HOME} <b>bold</b> &amp;",
    "'); DROP TABLE users; --",
    "  blanks before and after  \n\n\n",
    "\ttabs\tin\there\t",
    "Title: forged\nStatus: completed\n\n---\n---\nId: 1\n",
    "-----BEGIN AGE ENCRYPTED FILE-----\nnot really\n-----END AGE ENCRYPTED FILE-----",
    "{\"title\": null, \"id\": 1, \"sync_scope\": \"public\"}",
    "\u{feff}byte order mark, zero\u{200b}width, non\u{a0}breaking, soft\u{ad}hyphen",
    "𝕬𝖓𝖈𝖎𝖊𝖓𝖙 𓀀 𐍈 and the last code point: \u{10ffff}",
    "Z̶̢͝a̸͎͝l̷̨̛g̵̰̈ö̶͕́ needs a lamp",
    "control \u{1} \u{7} \u{1b}[31mred\u{1b}[0m \u{7f}",
    "",
    " ",
    "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs",
];

/// User names; a number follows, so that they stay unique. Any character but a blank is allowed.
pub(super) const NAMES: &[&str] = &[
    "Ольга",
    "שרה",
    "中村",
    "zoe\u{301}",
    "new\nline",
    "a/b?c#d",
    "O'Brien",
    "MiXeD",
    "ﬁlip",
    "🦊",
    "member-0123abcd",
];
