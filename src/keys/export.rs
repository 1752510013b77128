//! Export of an identity: both secret keys under a passphrase, as text that can be printed.
//!
//! The text is an armored age file (scrypt) under a heading, so that `age -d` opens it too. Inside are the two key
//! files as they are, and comments with what helps to find the way back. Format: format/identity.md, "Export".
//! What is read may be damaged or made by anybody: sizes and the work that scrypt takes are bounded.

use std::fmt;
use std::io::{self, Read, Write};
use std::iter;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::scrypt;
use age::secrecy::SecretString;
use zeroize::Zeroizing;

use super::identity::{self, Identity};
use crate::id::name::PeerName;

/// What an export tells.
#[derive(Clone)]
pub struct Export {
    /// The secret keys.
    pub identity: Identity,
    /// What the instance called itself.
    pub name: PeerName,
    /// The incarnation that it was in.
    pub incarnation: u32,
    /// The stores that it exchanged with: name and URL. At most `REMOTES_MAX`.
    pub remotes: Vec<(PeerName, String)>,
}

/// An export can't be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The passphrase could be guessed.
    #[error(
        "a passphrase needs at least {PASSPHRASE_CHARACTERS_MIN} characters; several words that nobody would guess are best"
    )]
    Short,
    /// There is no armored age file in the text.
    #[error("there is no exported identity in it: no line says {BEGIN}, or none {END}")]
    NoArmor,
    /// The text is longer than any export.
    #[error("it is longer than {TEXT_BYTES_MAX} bytes, and no exported identity is")]
    TooLong,
    /// A line was lost, or a character is another.
    #[error("a character or line of the exported identity is missing or wrong")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file is sealed to a key, not with a passphrase.
    #[error("it is an age file, but sealed to a key and not with a passphrase")]
    OtherSeal,
    /// scrypt would take more memory and time than any export of ours.
    #[error("it asks for 2^{required} rounds of scrypt, more than the 2^{WORK_MAX} that are allowed")]
    Work {
        /// What it asks for, as a power of two.
        required: u8,
    },
    /// The passphrase is another one, or the part that it opens was altered.
    #[error("the passphrase is another one, or the first lines of the exported identity are damaged")]
    Passphrase,
    /// What was sealed isn't what wbsync seals.
    #[error("what the passphrase opened is no identity of wbsync: {0}")]
    Content(String),
}

impl Export {
    /// Seals it with a passphrase. Takes about a second and 256 MiB, as does opening: so does each guess.
    ///
    /// # Errors
    /// `Short`.
    pub fn seal(&self, passphrase: &str) -> Result<String, Error> {
        self.seal_with(passphrase, WORK)
    }

    fn seal_with(&self, passphrase: &str, work: u8) -> Result<String, Error> {
        if passphrase.chars().count() < PASSPHRASE_CHARACTERS_MIN {
            return Err(Error::Short);
        }
        let mut recipient = scrypt::Recipient::new(SecretString::from(passphrase.to_owned()));
        recipient.set_work_factor(work);
        let age = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
            .expect("a passphrase is the only recipient");
        let plain = self.plain();
        let written = || -> io::Result<Vec<u8>> {
            let armor = ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor)?;
            let mut writer = age.wrap_output(armor)?;
            writer.write_all(plain.as_bytes())?;
            writer.finish()?.finish()
        };
        let armor = String::from_utf8(written().expect("writing to memory cannot fail")).expect("armor is ASCII");
        // Some platforms write other ends of line; what is printed here is the same everywhere.
        Ok(armor.replace("\r\n", "\n"))
    }

    /// Opens the exported identity in a text, which may have anything around it, blanks at the ends of its lines, and lines
    /// between its lines that hold nothing.
    ///
    /// # Errors
    /// Every variant but `Short`.
    pub fn open(text: &str, passphrase: &str) -> Result<Self, Error> {
        let armor = armor_in(text)?;
        let damaged = |error: Box<dyn std::error::Error + Send + Sync>| Error::Damaged(error);
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(armor.as_bytes()))
            .map_err(|error| damaged(Box::new(error)))?;
        if !decryptor.is_scrypt() {
            return Err(Error::OtherSeal);
        }
        let mut key = scrypt::Identity::new(SecretString::from(passphrase.to_owned()));
        key.set_max_work_factor(WORK_MAX);
        let reader = decryptor.decrypt(iter::once(&key as &dyn age::Identity)).map_err(|error| match error {
            age::DecryptError::ExcessiveWork { required, .. } => Error::Work { required },
            age::DecryptError::DecryptionFailed
            | age::DecryptError::KeyDecryptionFailed
            | age::DecryptError::InvalidMac
            | age::DecryptError::NoMatchingKeys => Error::Passphrase,
            error => damaged(Box::new(error)),
        })?;
        let mut plain = Zeroizing::new(Vec::with_capacity(CONTENT_BYTES_MAX));
        reader.take(CONTENT_BYTES_MAX as u64).read_to_end(&mut plain).map_err(|error| damaged(Box::new(error)))?;
        Self::parse(&plain)
    }

    /// Returns the sealed text under a heading that says what it is and how to come back from it.
    pub fn heading(&self, sealed: &str) -> String {
        let (name, fingerprint) = (&self.name, self.identity.fingerprint());
        format!(
            "\
The identity of the wbsync instance {name}, sealed with a passphrase.
{fingerprint}

Whoever has this and the passphrase is {name}. Keep it apart from the
passphrase and from the machine. With a store that {name} pushed to, it gives
everything back that was published:

    wbsync restore --identity THIS-FILE --db URL --preset NAME

Without wbsync, `age` opens it:

    sed -n '/^-----BEGIN AGE/,/^-----END AGE/p' THIS-FILE | age -d

{sealed}"
        )
    }

    fn plain(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(CONTENT_BYTES_MAX));
        let mut comment = |key: &str, value: &dyn fmt::Display| {
            text.push_str("# ");
            text.push_str(key);
            text.push_str(": ");
            text.push_str(&value.to_string());
            text.push('\n');
        };
        comment(TITLE, &VERSION);
        comment("fingerprint", &self.identity.fingerprint());
        comment("name", &self.name);
        comment("incarnation", &self.incarnation);
        for (name, url) in self.remotes.iter().take(REMOTES_MAX).filter(|(_, url)| url.len() <= URL_BYTES_MAX) {
            comment("remote", &format_args!("{name} {url}"));
        }
        text.push_str(&self.identity.age_secret());
        text.push('\n');
        text.push_str(&self.identity.signing_file());
        text
    }

    fn parse(plain: &[u8]) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Content(what.to_owned());
        let text = std::str::from_utf8(plain).map_err(|_| wrong("it is not text"))?;
        if plain.len() == CONTENT_BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let start = text.find(SIGNING_BEGIN).ok_or_else(|| wrong("the signing key is missing"))?;
        let (head, signing) = text.split_at(start);
        let (mut name, mut incarnation, mut fingerprint, mut secret) = (None, None, None, None);
        let (mut remotes, mut version) = (Vec::new(), None);
        for line in head.lines() {
            let Some(comment) = line.strip_prefix("# ") else {
                if !line.is_empty() && secret.replace(line).is_some() {
                    return Err(wrong("it has more than one age key"));
                }
                continue;
            };
            // What a later version may add is left aside.
            let Some((key, value)) = comment.split_once(": ") else { continue };
            match key {
                TITLE => version = Some(value),
                "name" => name = Some(PeerName::new(value).map_err(|_| wrong("the name is no name"))?),
                "incarnation" => incarnation = Some(value.parse().map_err(|_| wrong("the incarnation is no number"))?),
                "fingerprint" => fingerprint = Some(value),
                "remote" => {
                    let (name, url) = value.split_once(' ').ok_or_else(|| wrong("a remote has no URL"))?;
                    let name = PeerName::new(name).map_err(|_| wrong("a remote's name is no name"))?;
                    remotes.push((name, url.to_owned()));
                }
                _ => {}
            }
        }
        match version {
            Some(VERSION) => {}
            Some(other) => return Err(wrong(&format!("it was made by a later version (format {other:.20})"))),
            None => return Err(wrong("it doesn't say so")),
        }
        if remotes.len() > REMOTES_MAX {
            return Err(wrong("it names too many remotes"));
        }
        let secret = secret.ok_or_else(|| wrong("the age key is missing"))?;
        let identity = identity::of_texts(signing.as_bytes(), secret).map_err(|what| wrong(&what))?;
        if fingerprint != Some(identity.fingerprint().as_str()) {
            return Err(wrong("the signing key has another fingerprint than it says"));
        }
        let (Some(name), Some(incarnation)) = (name, incarnation) else {
            return Err(wrong("the name or the incarnation is missing"));
        };
        Ok(Self { identity, name, incarnation, remotes })
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Export({}, {:?})", self.name, self.identity)
    }
}

/// Finds the armored file in a text, and lays its lines out as `age` wants them.
fn armor_in(text: &str) -> Result<Zeroizing<String>, Error> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::TooLong);
    }
    let mut armor = Zeroizing::new(String::with_capacity(text.len()));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    for line in lines.skip_while(|line| *line != BEGIN) {
        armor.push_str(line);
        armor.push('\n');
        if line == END {
            return Ok(armor);
        }
    }
    Err(Error::NoArmor)
}

/// The fewest characters of a passphrase.
pub const PASSPHRASE_CHARACTERS_MIN: usize = 10;
/// The most remotes that are named.
pub const REMOTES_MAX: usize = 8;
/// A remote with a longer URL isn't named: what is printed must stay short.
const URL_BYTES_MAX: usize = 256;
/// The most bytes of a text with an export in it, which may be drawn as a QR code beside.
pub const TEXT_BYTES_MAX: usize = 64 << 10;
/// What is sealed has fewer bytes.
const CONTENT_BYTES_MAX: usize = 8 << 10;
/// The work that each guess takes, as a power of two; what `age` takes too.
const WORK: u8 = 18;
/// The most that is allowed, which is 1 GiB of memory.
const WORK_MAX: u8 = 20;
const TITLE: &str = "wbsync identity";
const VERSION: &str = "1";
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const SIGNING_BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";

const _: () = assert!(WORK <= WORK_MAX && REMOTES_MAX * (URL_BYTES_MAX + 128) + 2048 < CONTENT_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";
    /// Little work, so that many can be tried.
    const EASY: u8 = 4;

    fn export() -> Export {
        let remotes = vec![(PeerName::new("hub").unwrap(), "https://hub.example/".to_owned())];
        Export { identity: Identity::fixed(1), name: PeerName::new("alpha").unwrap(), incarnation: 7, remotes }
    }

    fn sealed(plain: &str) -> String {
        let mut recipient = scrypt::Recipient::new(SecretString::from(PASSPHRASE.to_owned()));
        recipient.set_work_factor(EASY);
        let age = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient)).unwrap();
        let mut writer = age.wrap_output(ArmoredWriter::wrap_output(Vec::new(), Format::AsciiArmor).unwrap()).unwrap();
        writer.write_all(plain.as_bytes()).unwrap();
        String::from_utf8(writer.finish().unwrap().finish().unwrap()).unwrap()
    }

    fn refusal(text: &str) -> String {
        Export::open(text, PASSPHRASE).unwrap_err().to_string()
    }

    /// Whatever mail programs, printers and scanners do to lines.
    #[test]
    fn what_is_sealed_opens_also_with_its_lines_bent() {
        let export = export();
        let sealed = export.seal_with(PASSPHRASE, EASY).unwrap();
        let printed = export.heading(&sealed);
        let bent = printed.replace('\n', " \r\n\r\n  ");
        for text in [&sealed, &printed, &bent] {
            let opened = Export::open(text, PASSPHRASE).unwrap();
            assert_eq!(opened.identity.id(), export.identity.id());
            assert_eq!(opened.identity.recipient(), export.identity.recipient());
            assert_eq!(
                (opened.name, opened.incarnation, opened.remotes),
                (export.name.clone(), export.incarnation, export.remotes.clone())
            );
        }
        assert!(printed.contains(&export.identity.fingerprint()) && !printed.contains("SECRET"));
        assert!(printed.lines().all(|line| line.len() <= 80), "{printed}");
    }

    #[test]
    fn no_damaged_character_and_no_other_passphrase_opens_it() {
        let sealed = export().seal_with(PASSPHRASE, EASY).unwrap();
        assert!(matches!(Export::open(&sealed, "another passphrase"), Err(Error::Passphrase)));
        assert!(matches!(export().seal_with("too short", EASY), Err(Error::Short)));
        let end = sealed.len() - END.len() - 1;
        for at in (BEGIN.len() + 1..end).step_by(7).chain(end - 8..end) {
            let old = sealed.as_bytes()[at];
            if old != b'\n' {
                let mut bytes = sealed.clone().into_bytes();
                bytes[at] = if old == b'A' { b'B' } else { b'A' };
                assert!(Export::open(std::str::from_utf8(&bytes).unwrap(), PASSPHRASE).is_err(), "byte {at}");
            }
        }
        let lines: Vec<&str> = sealed.lines().collect();
        for left_out in 0..lines.len() {
            let kept: Vec<_> =
                lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
            assert!(Export::open(&kept.join("\n"), PASSPHRASE).is_err(), "line {left_out}");
        }
    }

    #[test]
    fn what_isnt_ours_is_refused_with_its_reason() {
        let good = export().plain().to_string();
        Export::open(&sealed(&good), PASSPHRASE).unwrap();
        let changed = |from: &str, to: &str| refusal(&sealed(&good.replace(from, to)));
        let fingerprint = Identity::fixed(1).fingerprint();
        for (refused, reason) in [
            (refusal("hello"), "no line says"),
            (refusal(&"x".repeat(TEXT_BYTES_MAX + 1)), "longer than"),
            (refusal(&format!("{BEGIN}\n{END}\n")), "missing or wrong"),
            (changed("# wbsync identity: 1", "# wbsync identity: 2"), "later version (format 2)"),
            (changed("# wbsync identity: 1\n", ""), "doesn't say so"),
            (changed("# name: alpha", "# name: Al Pha"), "no name"),
            (changed("# incarnation: 7", "# incarnation: -1"), "no number"),
            (changed("# incarnation: 7\n", ""), "is missing"),
            (changed("AGE-SECRET-KEY-1", "AGE-SECRET-KEY-2"), "age key"),
            (changed("# remote: hub https", "AGE-SECRET-KEY-1X\n# remote: hub https"), "more than one age key"),
            (changed("# remote: hub ", "# remote: hub"), "no URL"),
            (changed(&fingerprint, &Identity::fixed(2).fingerprint()), "another fingerprint"),
            (changed(SIGNING_BEGIN, "-----BEGIN"), "signing key is missing"),
            (refusal(&sealed(&format!("{}{good}", "# remote: a b\n".repeat(REMOTES_MAX + 1)))), "too many remotes"),
            (refusal(&sealed(&format!("{}{good}", "\n".repeat(CONTENT_BYTES_MAX)))), "too long"),
        ] {
            assert!(refused.contains(reason), "{refused:?} instead of {reason:?}");
        }
        let to_key = {
            let recipient: age::x25519::Recipient = Identity::fixed(1).recipient().parse().unwrap();
            age::encrypt_and_armor(&recipient, b"x").unwrap()
        };
        assert!(refusal(&to_key).contains("sealed to a key"));
        let costly = {
            let mut recipient = scrypt::Recipient::new(SecretString::from(PASSPHRASE.to_owned()));
            recipient.set_work_factor(EASY);
            age::encrypt_and_armor(&recipient, b"x").unwrap()
        };
        let work = costly_header(&costly);
        assert!(matches!(Export::open(&work, PASSPHRASE), Err(Error::Work { required: 21 })), "{}", refusal(&work));
    }

    /// Asks for more work than is allowed; the header's checksum is looked at only after that work.
    fn costly_header(armored: &str) -> String {
        use base64::Engine;
        let engine = base64::engine::general_purpose::STANDARD;
        let body: String = armored.lines().filter(|line| !line.starts_with('-')).collect();
        let mut bytes = engine.decode(body).unwrap();
        let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap();
        bytes.splice(end - 1..end, *b"21");
        let encoded = engine.encode(bytes);
        let lines: Vec<&str> = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
        format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
    }
}
