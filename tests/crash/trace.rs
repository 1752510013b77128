//! Reads what `strace` recorded: which calls were made on which files, in the order in which they ended.

use std::collections::HashMap;

/// A call as it was made: its name, its arguments as they were printed, and what it returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub args: Vec<Arg>,
    pub result: i64,
}

/// An argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arg {
    /// Text or bytes, all of it.
    Bytes(Vec<u8>),
    /// Anything else, as it was printed.
    Word(String),
}

impl Arg {
    pub fn bytes(&self) -> &[u8] {
        if let Self::Bytes(bytes) = self { bytes } else { panic!("{self:?} are no bytes") }
    }

    pub fn word(&self) -> &str {
        if let Self::Word(word) = self { word } else { panic!("{self:?} is no word") }
    }

    /// Returns a number, such as that of a file.
    pub fn number(&self) -> i64 {
        let word = self.word();
        word.parse().unwrap_or_else(|_| panic!("{word:?} is no number"))
    }
}

/// Reads a record made with `-f -xx -s` of more than any string.
pub fn read(text: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, String> = HashMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let (process, rest) = line.split_once(' ').expect("a line begins with a process");
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(start) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(process, start.to_owned());
            continue;
        }
        let whole = match rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            Some((_, end)) => begun.remove(process).expect("what goes on was begun") + end,
            None => rest.to_owned(),
        };
        calls.extend(call(&whole));
    }
    calls
}

/// Reads one call; `None` if it failed, or if the process ended in it.
fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(').unwrap_or_else(|| panic!("no call: {line:.200}"));
    let (args, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("no result: {line:.200}"));
    let result = result.split(' ').next().unwrap_or_default();
    let result: i64 = if result == "?" { return None } else { result.parse().unwrap_or(0) };
    if result < 0 {
        return None;
    }
    let args = args.trim_end().strip_suffix(')').unwrap_or_else(|| panic!("no end: {line:.200}"));
    Some(Call { name: name.to_owned(), args: split(args), result })
}

/// Cuts arguments at the commas between them, also in lists of buffers, whose bytes come one after the other.
fn split(text: &str) -> Vec<Arg> {
    let mut args = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(list) = rest.strip_prefix('[') {
            let end = list.find(']').expect("a list ends");
            let parts = list[..end].split('"').skip(1).step_by(2);
            args.push(Arg::Bytes(parts.flat_map(bytes).collect()));
            rest = &list[end + 1..];
        } else if let Some(string) = rest.strip_prefix('"') {
            let end = string.find('"').expect("a string ends");
            args.push(Arg::Bytes(bytes(&string[..end])));
            rest = &string[end + 1..];
            assert!(!rest.starts_with("..."), "strace cut a string short");
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            args.push(Arg::Word(rest[..end].trim().to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start_matches([',', ' ']);
    }
    args
}

/// Reads `\x61\x62`.
fn bytes(text: &str) -> Vec<u8> {
    let digits = |pair: &str| u8::from_str_radix(pair, 16).expect("two digits");
    text.split("\\x").skip(1).map(digits).collect()
}

#[test]
fn calls_are_read_with_their_bytes_also_where_threads_interrupt_each_other() {
    let text = r#"7 openat(AT_FDCWD, "\x2f\x61", O_RDWR|O_CREAT, 0644) = 5
8 pwrite64(5, "\x00\x22"..., 2, 10 <unfinished ...>
7 writev(5, [{iov_base="\x61", iov_len=1}, {iov_base="\x62", iov_len=1}], 2) = 2
8 <... pwrite64 resumed>) = 2
7 unlink("\x2f\x62") = -1 ENOENT (No such file or directory)
7 fsync(5) = 0
8 write(5, "\x61", 1) = ?
7 +++ killed by SIGKILL +++
"#;
    let calls = read(&text.replace("\"...", "\""));
    let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["openat", "writev", "pwrite64", "fsync"]);
    assert_eq!((calls[0].args[1].bytes(), calls[0].result), (&b"/a"[..], 5));
    assert_eq!(calls[1].args[1].bytes(), b"ab");
    assert_eq!((calls[2].args[1].bytes(), calls[2].args[3].number()), (&b"\0\""[..], 10));
}
