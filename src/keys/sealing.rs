//! Sealing with age: small payloads at once, objects as a stream.
//!
//! Plain age v1 files by the stock crate, to X25519 recipients, so that `age -d` opens them. Sealed bytes
//! differ each time: no id may ever be taken from them.

use std::fmt;
use std::io::{self, Cursor, Read, Write};
use std::iter;

use age::secrecy::{ExposeSecret, SecretString};
use age::stream::{StreamReader, StreamWriter};
use age::x25519;

/// One generation of a scope's key. Whoever has it reads what was sealed to its recipient.
#[derive(Clone)]
pub struct EpochKey {
    identity: x25519::Identity,
}

/// What reads an object: the plaintext of an age file whose header was read already.
pub type Decryptor<R> = StreamReader<io::Chain<Cursor<Vec<u8>>, R>>;

/// Sealing or opening failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A recipient isn't an age X25519 recipient as age prints it.
    #[error("{recipient:?} is no age recipient: {reason}")]
    Recipient {
        /// What was given, shortened.
        recipient: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A text isn't an age X25519 secret key as age prints it. The text is not shown.
    #[error("this is no age secret key: {0}")]
    SecretText(&'static str),
    /// The bytes don't begin with an age header of bearable length.
    #[error("no age header ends within {HEADER_BYTES_MAX} bytes")]
    Header,
    /// The header names no recipient that the key at hand opens, or is damaged.
    #[error("cannot open a sealed payload")]
    Open(#[source] Box<age::DecryptError>),
    /// The payload is damaged or cut short, or the disk failed.
    #[error("cannot decrypt a sealed payload to its end")]
    Read(#[source] io::Error),
    /// The plaintext is longer than its place allows.
    #[error("a sealed payload holds more than {bound} bytes")]
    TooLarge {
        /// What is allowed.
        bound: usize,
    },
}

/// Seals `plaintext` to every recipient (`age1…`). Adds about 300 bytes and 0.2 ms, the more the more recipients.
///
/// # Errors
/// `Recipient`.
///
/// # Panics
/// If there is no recipient.
pub fn seal_to(recipients: &[&str], plaintext: &[u8]) -> Result<Vec<u8>, Error> {
    let recipients = recipients.iter().map(|text| parse_recipient(text)).collect::<Result<Vec<_>, _>>()?;
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let age = age::Encryptor::with_recipients(recipients).expect("X25519 recipients go together, and there is one");
    let mut sealed = Vec::with_capacity(plaintext.len() + 1024);
    let written = age.wrap_output(&mut sealed).and_then(|mut writer| {
        writer.write_all(plaintext)?;
        writer.finish()
    });
    written.expect("writing to memory cannot fail");
    Ok(sealed)
}

/// Opens what `seal_to` made; the plaintext may have `plaintext_bytes_max` bytes.
///
/// Nothing is returned unless the whole was authentic.
///
/// # Errors
/// Every variant but `Recipient` and `SecretText`.
pub fn open_with(identity: &x25519::Identity, sealed: &[u8], plaintext_bytes_max: usize) -> Result<Vec<u8>, Error> {
    if !has_header(&sealed[..sealed.len().min(HEADER_BYTES_MAX)]) {
        return Err(Error::Header);
    }
    let mut reader = age::Decryptor::new_buffered(sealed)
        .and_then(|age| age.decrypt(iter::once(identity as &dyn age::Identity)))
        .map_err(|source| Error::Open(Box::new(source)))?;
    // Room for all of it, so that no half-filled buffer with a secret is left behind by growing.
    let mut plaintext = Vec::with_capacity(sealed.len().min(plaintext_bytes_max + 1));
    reader.by_ref().take(plaintext_bytes_max as u64 + 1).read_to_end(&mut plaintext).map_err(Error::Read)?;
    if plaintext.len() > plaintext_bytes_max {
        return Err(Error::TooLarge { bound: plaintext_bytes_max });
    }
    Ok(plaintext)
}

/// Checks that a text is an X25519 recipient in the one spelling that age prints.
///
/// # Errors
/// `Recipient`.
pub fn check_recipient(text: &str) -> Result<(), Error> {
    parse_recipient(text).map(drop)
}

/// Starts an age file to one recipient. `finish` must be called, or the file is cut short.
///
/// # Errors
/// `Recipient` as `InvalidInput`, and what `writer` gives.
pub fn encryptor<W: Write>(recipient: &str, writer: W) -> io::Result<StreamWriter<W>> {
    let recipient = parse_recipient(recipient).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient))
        .expect("there is one recipient")
        .wrap_output(writer)
}

/// Starts an age file to every recipient. `finish` must be called, or the file is cut short.
///
/// # Errors
/// `Recipient` as `InvalidInput`, and what `writer` gives.
///
/// # Panics
/// If there is no recipient.
pub fn encryptor_to<W: Write>(recipients: &[String], writer: W) -> io::Result<StreamWriter<W>> {
    let recipients = recipients.iter().map(|text| parse_recipient(text)).collect::<Result<Vec<_>, _>>();
    let recipients = recipients.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    age::Encryptor::with_recipients(recipients.iter().map(|recipient| recipient as &dyn age::Recipient))
        .expect("X25519 recipients go together, and there is one")
        .wrap_output(writer)
}

/// Reads the header of an age file and returns what reads its plaintext; see `EpochKey::decryptor`.
///
/// # Errors
/// As there.
pub fn decryptor_with<R: Read>(identity: &x25519::Identity, mut reader: R) -> Result<Decryptor<R>, Error> {
    let mut start = Vec::with_capacity(1024);
    while !has_header(&start) {
        let wanted = (HEADER_BYTES_MAX - start.len()).min(1024);
        let got = reader.by_ref().take(wanted as u64).read_to_end(&mut start).map_err(Error::Read)?;
        if got == 0 {
            return Err(Error::Header);
        }
    }
    age::Decryptor::new(Cursor::new(start).chain(reader))
        .and_then(|age| age.decrypt(iter::once(identity as &dyn age::Identity)))
        .map_err(|source| Error::Open(Box::new(source)))
}

impl EpochKey {
    /// Makes a new key.
    pub fn generate() -> Self {
        Self { identity: x25519::Identity::generate() }
    }

    /// Reads a key as `secret_text` writes it: `AGE-SECRET-KEY-1…`.
    ///
    /// # Errors
    /// `SecretText`, without the text.
    pub fn from_secret_text(text: &str) -> Result<Self, Error> {
        let identity: x25519::Identity = text.parse().map_err(Error::SecretText)?;
        if identity.to_string().expose_secret() != text {
            return Err(Error::SecretText("it is not spelled as age prints it"));
        }
        Ok(Self { identity })
    }

    /// Returns the key as text, to be sealed to readers.
    pub fn secret_text(&self) -> SecretString {
        self.identity.to_string()
    }

    /// Returns the recipient to seal to: `age1…`.
    pub fn recipient(&self) -> String {
        self.identity.to_public().to_string()
    }

    /// Opens a small payload; see `open_with`.
    ///
    /// # Errors
    /// As `open_with`.
    pub fn open(&self, sealed: &[u8], plaintext_bytes_max: usize) -> Result<Vec<u8>, Error> {
        open_with(&self.identity, sealed, plaintext_bytes_max)
    }

    /// Starts an age file to this key; see the function `encryptor`.
    ///
    /// # Errors
    /// What `writer` gives.
    pub fn encryptor<W: Write>(&self, writer: W) -> io::Result<StreamWriter<W>> {
        encryptor(&self.recipient(), writer)
    }

    /// Reads the header of an age file and returns what reads its plaintext.
    ///
    /// Plaintext comes out before the end is checked: believe nothing before the reader has ended
    /// without an error, and bound what you take.
    ///
    /// # Errors
    /// `Header`, `Open`, and `Read` if `reader` fails.
    pub fn decryptor<R: Read>(&self, reader: R) -> Result<Decryptor<R>, Error> {
        decryptor_with(&self.identity, reader)
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochKey({})", self.recipient())
    }
}

fn parse_recipient(text: &str) -> Result<x25519::Recipient, Error> {
    let wrong = |reason| Error::Recipient { recipient: text.chars().take(80).collect(), reason };
    let recipient: x25519::Recipient = text.parse().map_err(wrong)?;
    if recipient.to_string() == text { Ok(recipient) } else { Err(wrong("it is not spelled as age prints it")) }
}

/// Tells whether an age header ends in these bytes. Its last line is the only one with three dashes.
fn has_header(bytes: &[u8]) -> bool {
    let end = bytes.windows(4).position(|window| window == b"\n---");
    end.is_some_and(|at| bytes[at + 1..].contains(&b'\n'))
}

/// An X25519 recipient as age prints it has 62 bytes.
pub const RECIPIENT_BYTES_MAX: usize = 62;
/// The age crate reads a header of any length, and again for each line; ours have about 200 bytes for each recipient.
const HEADER_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sealed_payload_opens_for_each_recipient_and_nobody_else() {
        let keys = [EpochKey::generate(), EpochKey::generate()];
        let sealed = seal_to(&[&keys[0].recipient(), &keys[1].recipient()], b"secret").unwrap();
        assert!(keys.iter().all(|key| key.open(&sealed, 6).unwrap() == b"secret"));
        assert!(matches!(keys[0].open(&sealed, 5), Err(Error::TooLarge { bound: 5 })));
        assert!(matches!(EpochKey::generate().open(&sealed, 6), Err(Error::Open(_))));
        assert!((0..sealed.len()).all(|end| keys[0].open(&sealed[..end], 6).is_err()));
    }

    #[test]
    fn stream_opens_and_a_cut_stream_ends_in_an_error() {
        let key = EpochKey::generate();
        let plaintext: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        let mut writer = key.encryptor(Vec::new()).unwrap();
        writer.write_all(&plaintext).unwrap();
        let sealed = writer.finish().unwrap();
        let mut opened = Vec::new();
        key.decryptor(&sealed[..]).unwrap().read_to_end(&mut opened).unwrap();
        assert!(opened == plaintext);
        for cut in [1, 70_000, sealed.len() - 300] {
            let mut reader = match key.decryptor(&sealed[..sealed.len() - cut]) {
                Ok(reader) => reader,
                Err(_) => continue,
            };
            assert!(reader.read_to_end(&mut Vec::new()).is_err(), "{cut} bytes are missing");
        }
    }

    #[test]
    fn endless_header_is_refused_without_reading_on() {
        let endless = io::repeat(b'a');
        assert!(matches!(EpochKey::generate().decryptor(endless), Err(Error::Header)));
        assert!(matches!(EpochKey::generate().open(&vec![b'\n'; 1 << 20], 9), Err(Error::Header)));
    }

    #[test]
    fn keys_have_one_spelling_and_secrets_never_show() {
        let key = EpochKey::generate();
        let text = key.secret_text();
        let same = EpochKey::from_secret_text(text.expose_secret()).unwrap();
        assert_eq!(same.recipient(), key.recipient());
        let lower = text.expose_secret().to_lowercase();
        let error = EpochKey::from_secret_text(&lower).unwrap_err().to_string();
        assert!(!error.to_lowercase().contains(&lower));
        assert!(!format!("{key:?}").contains("SECRET"));
        assert!(check_recipient(&key.recipient()).is_ok());
        assert!(check_recipient(&key.recipient().to_uppercase()).is_err());
        assert!(check_recipient("age1nothing").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_opened_without_panic(at: usize, flip in 1u8.., tail in proptest::collection::vec(any::<u8>(), 0..80)) {
            let key = EpochKey::from_secret_text(crate::keys::identity::tests::AGE_SECRETS[0]).unwrap();
            let mut sealed = seal_to(&[&key.recipient()], b"secret").unwrap();
            let at = at % sealed.len();
            sealed[at] ^= flip;
            prop_assert!(key.open(&sealed, 100).is_err());
            prop_assert!(key.open(&tail, 100).is_err());
            prop_assert!(key.decryptor(&tail[..]).is_err());
        }
    }
}
