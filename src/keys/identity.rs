//! The identity of an instance: an Ed25519 key that signs and an age key that opens, in their ordinary files.
//!
//! `id_ed25519` (OpenSSH private key), `id_ed25519.pub`, and `age.key` (age identity file), so that
//! `ssh-keygen` and `age` work on them. Whoever may read the two secret files is this instance. Files: format/identity.md.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use age::x25519;
use ed25519_dalek::SigningKey;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{Fingerprint, HashAlg, LineEnding, PrivateKey, PublicKey};
use zeroize::Zeroizing;

use super::sealing;
use crate::id::bytes::InstanceId;
use crate::sys::{disk, random};

/// The secret keys of one instance.
///
/// Both are overwritten in memory when dropped.
#[derive(Clone)]
pub struct Identity {
    signing: SigningKey,
    age: x25519::Identity,
}

/// The identity could not be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is an identity already; it is never overwritten.
    #[error("there is an identity already: {path}")]
    Exists {
        /// The signing key's file.
        path: PathBuf,
    },
    /// A file of the identity is missing.
    #[error("the secret key {path} is missing; `wbsync init` makes a new identity, a backup brings the old one back")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A file can't be read.
    #[error("cannot read the secret key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file can't be written.
    #[error("cannot write the key {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read a secret.
    #[error("others may read the secret key {path} (mode {mode:04o}); run `chmod 600 {path}`")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A secret is locked with a passphrase, which wbsync can't ask for when it runs by itself.
    #[error("the secret key {path} is locked with a passphrase; unlock it with `{command}`")]
    Locked {
        /// The file.
        path: PathBuf,
        /// What unlocks it.
        command: String,
    },
    /// The signing key's file is no OpenSSH private key.
    #[error("cannot read {path} as an OpenSSH private key")]
    SigningKey {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ssh_key::Error,
    },
    /// The signing key is of another kind than Ed25519.
    #[error("{path} holds another kind of key than ssh-ed25519, which an instance needs")]
    OtherAlgorithm {
        /// The file.
        path: PathBuf,
    },
    /// The age key's file is no age identity file with exactly one X25519 key.
    #[error("cannot read {path} as an age identity file: {problem}")]
    AgeKey {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Identity {
    /// Makes a new identity and writes it to `dir`, which is made if needed.
    ///
    /// The signing key is written last, so after a crash there is either the whole identity or none. An
    /// `age.key` that is there already (from such a crash) is kept and used: no sealed byte loses its key.
    ///
    /// # Errors
    /// `Exists` if there is a signing key; `Write`; and as `open` for an `age.key` that is there.
    pub fn create(dir: &Path) -> Result<Self, Error> {
        let age_path = dir.join(AGE_FILE);
        disk::create_dir(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })?;
        absent(&dir.join(SIGNING_FILE))?;
        let mut identity = Self::generate();
        match read_age(&age_path) {
            Ok(age) => identity.age = age,
            Err(Error::Missing { .. }) => write(&age_path, identity.age_file().as_bytes(), disk::Access::Secret)?,
            Err(error) => return Err(error),
        }
        identity.write_signing(dir)?;
        Ok(identity)
    }

    /// Writes the identity to `dir`, which is made if needed, in the order of `create`; one that is there already,
    /// and is the same, is left alone.
    ///
    /// # Errors
    /// `Exists` if there is another; `Write`; and as `open` for what is there.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let age_path = dir.join(AGE_FILE);
        disk::create_dir(dir).map_err(|source| Error::Write { path: dir.to_owned(), source })?;
        match read_age(&age_path) {
            Ok(age) if age.to_public().to_string() == self.recipient() => {}
            Ok(_) => return Err(Error::Exists { path: age_path }),
            Err(Error::Missing { .. }) => write(&age_path, self.age_file().as_bytes(), disk::Access::Secret)?,
            Err(error) => return Err(error),
        }
        match absent(&dir.join(SIGNING_FILE)) {
            Ok(()) => self.write_signing(dir),
            Err(Error::Exists { .. }) if Self::open(dir)?.id() == self.id() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn write_signing(&self, dir: &Path) -> Result<(), Error> {
        write(&dir.join(PUBLIC_FILE), self.public_line().as_bytes(), disk::Access::Shared)?;
        write(&dir.join(SIGNING_FILE), self.signing_file().as_bytes(), disk::Access::Secret)
    }

    /// Reads the identity in `dir`.
    ///
    /// # Errors
    /// Every variant but `Exists` and `Write`.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        Ok(Self { signing: read_signing(&dir.join(SIGNING_FILE))?, age: read_age(&dir.join(AGE_FILE))? })
    }

    /// Makes a new identity in memory only.
    pub fn generate() -> Self {
        let seed = Zeroizing::new(random::bytes());
        Self { signing: SigningKey::from_bytes(&seed), age: x25519::Identity::generate() }
    }

    /// Makes the identity of these secrets: an Ed25519 seed and an age secret key (`AGE-SECRET-KEY-1…`).
    ///
    /// # Errors
    /// `SecretText` of the sealing module.
    pub fn from_secrets(seed: &[u8; 32], age_secret: &str) -> Result<Self, sealing::Error> {
        let age = age_secret.parse().map_err(sealing::Error::SecretText)?;
        Ok(Self { signing: SigningKey::from_bytes(seed), age })
    }

    /// Returns the id of this instance.
    pub fn id(&self) -> InstanceId {
        InstanceId::from_bytes(self.signing.verifying_key().to_bytes())
    }

    /// Returns the age recipient that others seal to: `age1…`.
    pub fn recipient(&self) -> String {
        self.age.to_public().to_string()
    }

    /// Returns the fingerprint of the signing key as `ssh-keygen -lf` prints it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        fingerprint_of(&self.id())
    }

    /// Returns the line of `id_ed25519.pub`: kind, key, comment.
    pub fn public_line(&self) -> String {
        public_line_of(&self.id()) + "\n"
    }

    /// Opens what was sealed to `recipient`; see `sealing::open_with`.
    ///
    /// # Errors
    /// As there.
    pub fn open_sealed(&self, sealed: &[u8], plaintext_bytes_max: usize) -> Result<Vec<u8>, sealing::Error> {
        sealing::open_with(&self.age, sealed, plaintext_bytes_max)
    }

    /// Reads the header of an age file to `recipient`; see `sealing::EpochKey::decryptor`.
    ///
    /// # Errors
    /// As there.
    pub fn decryptor<R: Read>(&self, reader: R) -> Result<sealing::Decryptor<R>, sealing::Error> {
        sealing::decryptor_with(&self.age, reader)
    }

    /// Returns the key that signs.
    pub fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    /// Returns the text of `id_ed25519`: the secret signing key.
    pub(super) fn signing_file(&self) -> Zeroizing<String> {
        let pair = KeypairData::Ed25519(Ed25519Keypair::from(&self.signing));
        let key = PrivateKey::new(pair, COMMENT).expect("the pair is not locked");
        key.to_openssh(LineEnding::LF).expect("an Ed25519 key has an OpenSSH form")
    }

    /// Returns the secret age key: `AGE-SECRET-KEY-1…`.
    pub(super) fn age_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(self.age.to_string().expose_secret().to_owned())
    }

    fn age_file(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "# {COMMENT}: opens what is sealed to this instance; keep it secret\n# public key: {}\n{}\n",
            self.recipient(),
            *self.age_secret()
        ))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.id().short())
    }
}

/// Returns the fingerprint of any instance as `ssh-keygen -lf` prints it: `SHA256:…`.
pub fn fingerprint_of(instance: &InstanceId) -> String {
    Fingerprint::new(HashAlg::Sha256, &key_data(instance)).to_string()
}

/// Returns the OpenSSH public key line of any instance, without an end of line.
///
/// After a name of your choice it makes a line of `allowed_signers` for `ssh-keygen -Y verify`.
pub fn public_line_of(instance: &InstanceId) -> String {
    PublicKey::new(key_data(instance), COMMENT).to_openssh().expect("an Ed25519 key has an OpenSSH form")
}

fn key_data(instance: &InstanceId) -> KeyData {
    KeyData::Ed25519(Ed25519PublicKey(*instance.as_bytes()))
}

/// Reads the two secrets as their files hold them; says what is wrong with one, without showing it.
pub(super) fn of_texts(signing: &[u8], age: &str) -> Result<Identity, String> {
    let age = age.parse().map_err(|why| format!("the age key can't be read: {why}"))?;
    let key = PrivateKey::from_openssh(signing).map_err(|why| format!("the signing key can't be read: {why}"))?;
    let KeypairData::Ed25519(pair) = key.key_data() else {
        return Err("the signing key is locked, or no Ed25519 key".into());
    };
    let signing = SigningKey::try_from(pair).map_err(|why| format!("the signing key can't be read: {why}"))?;
    Ok(Identity { signing, age })
}

fn write(path: &Path, bytes: &[u8], access: disk::Access) -> Result<(), Error> {
    disk::replace(path, bytes, access).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Makes sure that there is no file yet.
fn absent(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(Error::Exists { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

fn read_signing(path: &Path) -> Result<SigningKey, Error> {
    let bytes = read_secret(path)?;
    let unreadable = |source| Error::SigningKey { path: path.to_owned(), source };
    let other = || Error::OtherAlgorithm { path: path.to_owned() };
    let key = PrivateKey::from_openssh(&bytes[..]).map_err(|source| match source {
        // The crate is built without the other kinds.
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => other(),
        source => unreadable(source),
    })?;
    if key.is_encrypted() {
        let command = format!("ssh-keygen -p -N '' -f {}", path.display());
        return Err(Error::Locked { path: path.to_owned(), command });
    }
    let KeypairData::Ed25519(pair) = key.key_data() else {
        return Err(other());
    };
    SigningKey::try_from(pair).map_err(unreadable)
}

fn read_age(path: &Path) -> Result<x25519::Identity, Error> {
    let bytes = read_secret(path)?;
    let wrong = |problem| Error::AgeKey { path: path.to_owned(), problem };
    if bytes.starts_with(b"age-encryption.org/") || bytes.starts_with(b"-----BEGIN AGE ENCRYPTED FILE") {
        let command =
            format!("age -d -o age.key.open {0} && chmod 600 age.key.open && mv age.key.open {0}", path.display());
        return Err(Error::Locked { path: path.to_owned(), command });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong("it is not text"))?;
    let mut keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (keys.next(), keys.next()) {
        (Some(key), None) => key.parse().map_err(wrong),
        (None, _) => Err(wrong("it holds no key")),
        (Some(_), Some(_)) => Err(wrong("it holds more than one key")),
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let unreadable = |source| Error::Read { path: path.to_owned(), source };
    let bytes = disk::read_bounded(path, FILE_BYTES_MAX).map_err(unreadable)?;
    let bytes = Zeroizing::new(bytes.ok_or_else(|| Error::Missing { path: path.to_owned() })?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(Error::TooOpen { path: path.to_owned(), mode });
        }
    }
    Ok(bytes)
}

/// File of the signing key: an OpenSSH private key.
pub const SIGNING_FILE: &str = "id_ed25519";
/// File of the public signing key: one OpenSSH line.
pub const PUBLIC_FILE: &str = "id_ed25519.pub";
/// File of the age key: an age identity file.
pub const AGE_FILE: &str = "age.key";
const COMMENT: &str = "wbsync";
const FILE_BYTES_MAX: u64 = 64 << 10;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::keys::sealing::EpochKey;

    /// The age secrets of `Identity::fixed`: 32 bytes of 1, 2 and 3.
    pub(crate) const AGE_SECRETS: [&str; 3] = [
        "AGE-SECRET-KEY-1QYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZ9K4CN",
        "AGE-SECRET-KEY-1QGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQYQSZQGPQ0N3JDM",
        "AGE-SECRET-KEY-1QVPSXQCRQVPSXQCRQVPSXQCRQVPSXQCRQVPSXQCRQVPSXQCRQVPS2PGGME",
    ];

    impl Identity {
        /// The test identity `number` (1 to 3), the same each time.
        pub(crate) fn fixed(number: u8) -> Self {
            Self::from_secrets(&[number; 32], AGE_SECRETS[usize::from(number) - 1]).unwrap()
        }

        /// Its age key.
        pub(crate) fn fixed_age(number: u8) -> EpochKey {
            EpochKey::from_secret_text(AGE_SECRETS[usize::from(number) - 1]).unwrap()
        }
    }

    fn refused(dir: &Path) -> String {
        Identity::open(dir).unwrap_err().to_string()
    }

    fn put(path: &Path, text: &str) {
        disk::replace(path, text.as_bytes(), disk::Access::Secret).unwrap();
    }

    #[test]
    fn created_identity_opens_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("keys");
        let made = Identity::create(&dir).unwrap();
        let opened = Identity::open(&dir).unwrap();
        assert_eq!((opened.id(), opened.recipient()), (made.id(), made.recipient()));
        assert!(made.fingerprint().starts_with("SHA256:"));
        assert!(matches!(Identity::create(&dir), Err(Error::Exists { .. })));
        assert_eq!(Identity::open(&dir).unwrap().id(), made.id());
        assert!(!format!("{made:?}").contains("SECRET"));
    }

    /// A crash before the last write leaves no signing key; the next `create` keeps the age key.
    #[test]
    fn interrupted_creation_is_finished_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::create(dir.path()).unwrap();
        fs::remove_file(dir.path().join(SIGNING_FILE)).unwrap();
        assert!(refused(dir.path()).contains("is missing"));
        let second = Identity::create(dir.path()).unwrap();
        assert_eq!(second.recipient(), first.recipient());
        assert_eq!(Identity::open(dir.path()).unwrap().id(), second.id());
    }

    #[cfg(unix)]
    #[test]
    fn secret_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        Identity::create(dir.path()).unwrap();
        for file in [SIGNING_FILE, AGE_FILE] {
            let path = dir.path().join(file);
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(refused(dir.path()).ends_with(&format!("(mode 0640); run `chmod 600 {}`", path.display())));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        assert!(Identity::open(dir.path()).is_ok());
    }

    #[test]
    fn malformed_files_are_refused_with_their_reason() {
        let dir = tempfile::tempdir().unwrap();
        Identity::create(dir.path()).unwrap();
        let age = dir.path().join(AGE_FILE);
        let good = fs::read_to_string(&age).unwrap();
        for (text, reason) in [
            ("", "it holds no key"),
            ("# only a comment\n", "it holds no key"),
            ("AGE-SECRET-KEY-1X", "Bech32"),
            (&good.repeat(2), "more than one key"),
            ("age-encryption.org/v1\n-> scrypt", "locked with a passphrase"),
        ] {
            put(&age, text);
            assert!(refused(dir.path()).contains(reason), "{text:?}: {}", refused(dir.path()));
        }
        put(&age, &good);
        put(&dir.path().join(SIGNING_FILE), "hello");
        assert!(refused(dir.path()).ends_with("as an OpenSSH private key"));
    }
}
