//! What is said to a git server: which branches there are, give me these commits, take these.
//!
//! Protocol version 0, which every server speaks over every way, in one question and one answer: we know exactly what we
//! have, so there is nothing to negotiate. The server swaps a branch only if it still is what the command says it was.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};

use gix_hash::ObjectId as Oid;
use gix_packetline::blocking_io::StreamingPeekableIter;
use gix_packetline::blocking_io::encode::{data_to_write, flush_to_write};
use gix_packetline::{PacketLineRef, read::ProgressAction};

use crate::transport::git::error::GitError;

/// The programs on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    /// Gives.
    UploadPack,
    /// Takes.
    ReceivePack,
}

impl Service {
    /// Returns the name of the program.
    pub(super) const fn program(self) -> &'static str {
        match self {
            Self::UploadPack => "git-upload-pack",
            Self::ReceivePack => "git-receive-pack",
        }
    }
}

/// A way to a server.
pub(super) trait Link: Send + Sync {
    /// Begins to talk to a service.
    ///
    /// # Errors
    /// `Unreachable`, `NotARepository`, `Denied`.
    fn connect(&self, service: Service) -> Result<Box<dyn Talk>, GitError>;
}

/// A conversation with a service, which says first what it has.
pub(super) trait Talk: Send {
    /// Returns what comes from the other side.
    fn listen(&mut self) -> &mut dyn Read;

    /// Sends a request, with a pack behind it.
    ///
    /// # Errors
    /// As `connect`; `Spoken`.
    fn ask(&mut self, request: &[u8], pack: Option<&mut File>) -> Result<(), GitError>;

    /// Ends without a request.
    fn leave(&mut self);

    /// Says what is to be made of a failure to understand the other side: it may have said why elsewhere.
    fn explain(&mut self, error: io::Error) -> GitError;
}

/// A branch as a server has it, and what it shall be.
#[derive(Debug, Clone)]
pub(super) struct Update {
    /// Its full name.
    pub(super) name: String,
    /// What it was.
    pub(super) old: Option<Oid>,
    /// What it shall be.
    pub(super) new: Oid,
}

/// A conversation whose other side has said what it has.
pub(super) struct Session {
    talk: Box<dyn Talk>,
    /// All references, by full name.
    pub(super) refs: BTreeMap<String, Oid>,
    capabilities: Vec<String>,
}

impl Session {
    /// Begins a conversation.
    ///
    /// # Errors
    /// As `Link::connect`; `Spoken`.
    pub(super) fn begin(link: &dyn Link, service: Service) -> Result<Self, GitError> {
        let mut talk = link.connect(service)?;
        let mut session = Self { refs: BTreeMap::new(), capabilities: Vec::new(), talk };
        match session.hear_refs() {
            Err(Heard::Io(error)) => {
                talk = session.talk;
                Err(talk.explain(error))
            }
            Err(Heard::Bad(error)) => Err(error),
            Ok(()) => Ok(session),
        }
    }

    fn hear_refs(&mut self) -> Result<(), Heard> {
        let mut lines = lines(self.talk.listen());
        let mut is_first = true;
        while let Some(line) = next(&mut lines)? {
            let (line, capabilities) = match line.iter().position(|byte| *byte == 0) {
                Some(at) if is_first => (&line[..at], &line[at + 1..]),
                _ => (&line[..], &[][..]),
            };
            if is_first {
                let text = String::from_utf8_lossy(capabilities);
                self.capabilities = text.split_ascii_whitespace().map(str::to_owned).collect();
                let format = self.capabilities.iter().find_map(|offered| offered.strip_prefix("object-format="));
                if format.is_some_and(|format| format != "sha1") {
                    return Err(Heard::Bad(GitError::NotARepository(SHA256)));
                }
            }
            is_first = false;
            let line = String::from_utf8_lossy(line);
            let Some((oid, name)) = line.trim_end().split_once(' ') else {
                return Err(Heard::Bad(GitError::said("it lists its branches in a way of its own")));
            };
            if matches!(oid, "version" | "shallow") || name == "capabilities^{}" {
                continue;
            }
            let Ok(oid) = Oid::from_hex(oid.as_bytes()) else {
                return Err(Heard::Bad(GitError::NotARepository(SHA256)));
            };
            if oid.kind() != gix_hash::Kind::Sha1 {
                return Err(Heard::Bad(GitError::NotARepository(SHA256)));
            }
            self.refs.insert(name.to_owned(), oid);
            if self.refs.len() > REFS_MAX {
                return Err(Heard::Bad(GitError::NotARepository("it has too many branches")));
            }
        }
        // Some say nothing at all of an empty repository, but end that properly.
        match is_first && lines.stopped_at() != Some(PacketLineRef::Flush) {
            true => Err(Heard::Io(io::ErrorKind::UnexpectedEof.into())),
            false => Ok(()),
        }
    }

    fn offers(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|offered| offered == capability)
    }

    /// Ends the conversation without a request.
    pub(super) fn leave(mut self) {
        self.talk.leave();
    }

    /// Fetches commits with all that they need, but for what the commits need that we have; hands the pack to `take`.
    ///
    /// # Errors
    /// `Spoken`, `Unreachable`; as `take` fails.
    pub(super) fn fetch(
        mut self,
        wanted: &[Oid],
        had: &[Oid],
        take: &mut dyn FnMut(&mut dyn io::BufRead) -> Result<(), GitError>,
    ) -> Result<(), GitError> {
        if !self.offers("side-band-64k") {
            return Err(GitError::NotARepository("it doesn't speak as git has since 2006"));
        }
        let mut request = Vec::new();
        for (at, oid) in wanted.iter().enumerate() {
            let mut line = format!("want {oid}");
            if at == 0 {
                line += " side-band-64k";
                for wish in ["ofs-delta", "no-progress"].into_iter().filter(|wish| self.offers(wish)) {
                    line += &format!(" {wish}");
                }
                line += AGENT;
            }
            text(&mut request, &line);
        }
        flush(&mut request);
        for oid in had.iter().take(HAVES_MAX) {
            text(&mut request, &format!("have {oid}"));
        }
        text(&mut request, "done");
        self.talk.ask(&request, None)?;
        let mut said = Vec::new();
        let taken = {
            let mut lines = lines(self.talk.listen());
            loop {
                let is_answer = match lines.peek_line() {
                    Some(Ok(Ok(PacketLineRef::Data(line)))) => line.starts_with(b"ACK ") || line.starts_with(b"NAK"),
                    _ => false,
                };
                if !is_answer {
                    break;
                }
                lines.read_line();
            }
            let reader = lines.as_read_with_sidebands(|_, text: &[u8]| listen(&mut said, text));
            let mut reader = BufReader::new(Noting { reader: reader.take(PACK_BYTES_MAX), failed: None });
            match (take(&mut reader), reader.into_inner().failed) {
                (Ok(()), _) => Ok(()),
                (Err(_), Some(error)) => Err(Heard::Io(error)),
                (Err(error), None) => Err(Heard::Bad(error)),
            }
        };
        taken.map_err(|heard| match heard {
            Heard::Io(error) => self.talk.explain(with(error, &said)),
            Heard::Bad(error) => error,
        })
    }

    /// Has the server swap branches, all or none where it can, and take the objects in `pack` for that.
    ///
    /// # Errors
    /// `Stale` if a branch isn't what it was; `Denied` with what the server says; `Spoken`.
    pub(super) fn push(mut self, updates: &[Update], pack: &mut File) -> Result<(), GitError> {
        if updates.iter().any(|update| self.refs.get(&update.name) != update.old.as_ref()) {
            self.leave();
            return Err(GitError::Stale);
        }
        if !self.offers("report-status") {
            return Err(GitError::NotARepository("it doesn't tell whether it took a push"));
        }
        let bands = self.offers("side-band-64k");
        let mut request = Vec::new();
        for (at, update) in updates.iter().enumerate() {
            let old = update.old.unwrap_or_else(|| Oid::null(gix_hash::Kind::Sha1));
            let mut line = format!("{old} {} {}", update.new, update.name);
            if at == 0 {
                line += "\0 report-status";
                for wish in ["side-band-64k", "atomic", "ofs-delta"].into_iter().filter(|wish| self.offers(wish)) {
                    line += &format!(" {wish}");
                }
                line += AGENT;
            }
            data_to_write(line.as_bytes(), &mut request).expect("a line with one name is short, and memory takes it");
        }
        flush(&mut request);
        self.talk.ask(&request, Some(pack))?;
        let mut said = Vec::new();
        let status = {
            let mut outer = lines(self.talk.listen());
            match bands {
                true => {
                    let reader = outer.as_read_with_sidebands(|_, text: &[u8]| listen(&mut said, text));
                    status(&mut lines(reader))
                }
                false => status(&mut outer),
            }
        };
        match status {
            Err(Heard::Io(error)) => Err(self.talk.explain(with(error, &said))),
            Err(Heard::Bad(error)) => Err(error),
            Ok(refused) if refused.is_empty() => Ok(()),
            Ok(refused) => {
                let why = with(io::Error::other(refused.join("; ")), &said);
                Err(GitError::Denied(io::Error::new(io::ErrorKind::PermissionDenied, why.to_string())))
            }
        }
    }
}

/// Why an answer couldn't be understood.
enum Heard {
    /// It ended, or the server said no.
    Io(io::Error),
    /// It is nothing that git says.
    Bad(GitError),
}

/// Reads which branches the server didn't swap, and why.
fn status<R: Read>(lines: &mut StreamingPeekableIter<R>) -> Result<Vec<String>, Heard> {
    let (mut refused, mut unpacked) = (Vec::new(), false);
    while let Some(line) = next(lines)? {
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        match line.split_once(' ') {
            Some(("unpack", "ok")) => unpacked = true,
            Some(("unpack", why)) => refused.push(format!("it can't unpack: {}", shown(why))),
            Some(("ng", rest)) => refused.push(shown(rest.split_once(' ').map_or(rest, |(_, why)| why))),
            _ => {}
        }
    }
    match unpacked || !refused.is_empty() {
        true => Ok(refused),
        false => Err(Heard::Io(io::ErrorKind::UnexpectedEof.into())),
    }
}

fn lines<R: Read>(reader: R) -> StreamingPeekableIter<R> {
    let mut lines = StreamingPeekableIter::new(reader, &[PacketLineRef::Flush], false);
    lines.fail_on_err_lines(true);
    lines
}

fn next<R: Read>(lines: &mut StreamingPeekableIter<R>) -> Result<Option<Vec<u8>>, Heard> {
    match lines.read_line() {
        None => Ok(None),
        Some(Err(error)) => Err(Heard::Io(error)),
        Some(Ok(Err(error))) => Err(Heard::Bad(GitError::said(format!("{error:#}")))),
        Some(Ok(Ok(line))) => Ok(Some(line.as_slice().unwrap_or_default().to_vec())),
    }
}

fn text(request: &mut Vec<u8>, line: &str) {
    data_to_write(format!("{line}\n").as_bytes(), request).expect("the line is short, and memory takes it");
}

fn flush(request: &mut Vec<u8>) {
    flush_to_write(request).expect("memory takes it");
}

/// Keeps a little of what the server says beside its answer.
fn listen(said: &mut Vec<u8>, text: &[u8]) -> ProgressAction {
    said.extend(text.iter().take(SAID_BYTES_MAX.saturating_sub(said.len())));
    ProgressAction::Continue(())
}

/// Adds what the server said to an error.
fn with(error: io::Error, said: &[u8]) -> io::Error {
    match shown(&String::from_utf8_lossy(said)) {
        said if said.is_empty() => error,
        said => io::Error::new(error.kind(), format!("{error}; it says: {said}")),
    }
}

/// Makes foreign text fit for an error: one line, nothing that a terminal obeys.
pub(super) fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(400).collect()
}

/// Remembers that it was the reader who failed.
struct Noting<R> {
    reader: R,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Noting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer).map_err(|error| {
            let told = io::Error::new(error.kind(), "the server failed");
            self.failed = Some(error);
            told
        })
    }
}

const SHA256: &str = "it names its objects by SHA-256, and we do by SHA-1 only";
const AGENT: &str = concat!(" agent=wbsync/", env!("CARGO_PKG_VERSION"));
const REFS_MAX: usize = 1 << 18;
/// More than that tell no server anything.
const HAVES_MAX: usize = 256;
const SAID_BYTES_MAX: usize = 4 << 10;
/// The most bytes that are fetched at once.
const PACK_BYTES_MAX: u64 = 64 << 30;
