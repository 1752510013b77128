//! Seals a plaintext into an object and opens it again: zstd, padding, age.
//!
//! `age -d -i epoch.key OBJECT | zstd -d` gives the plaintext back with the ordinary tools.

use std::io::{self, Read, Write};

use super::entry::PLAIN_BYTES_MAX;
use crate::id::bytes::ObjectId;
use crate::keys::sealing::{self, EpochKey};

/// The zstd level: higher ones cost several times the work for a few per cent.
const ZSTD_LEVEL: i32 = 3;
/// That of a plaintext with fewer than `SMALL_BYTES`: a twentieth less on the wire is worth a millisecond.
const ZSTD_LEVEL_SMALL: i32 = 9;
const SMALL_BYTES: usize = 256 << 10;
/// Magic number of a zstd skippable frame (RFC 8878 §3.1.2), and the size of its head.
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
const SKIPPABLE_HEAD: u64 = 8;
/// The most bytes of a sealed object that we open.
const SEALED_BYTES_MAX: usize = PLAIN_BYTES_MAX + (8 << 20);

/// Whether the size of an object is blurred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// As long as it is: everybody may read the content.
    None,
    /// Padded to a Padmé length, which leaks O(log log size) bits (Nikitin et al., "Reducing Metadata
    /// Leakage from Encrypted Files", 2019).
    Padme,
}

/// A sealed object.
#[derive(Debug)]
pub struct Sealed {
    /// Its name.
    pub id: ObjectId,
    /// Its bytes: a plain age v1 file.
    pub bytes: Vec<u8>,
}

/// Why an object couldn't be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes aren't those of the name.
    #[error("object {wanted} holds other bytes (they hash to {found})")]
    Hash {
        /// The object's name.
        wanted: ObjectId,
        /// What its bytes hash to.
        found: ObjectId,
    },
    /// It isn't sealed to this key, or damaged.
    #[error("cannot decrypt object {id}")]
    Decrypt {
        /// The object.
        id: ObjectId,
        /// Why.
        source: sealing::Error,
    },
    /// What is inside isn't zstd, or larger than allowed.
    #[error("cannot decompress object {id}")]
    Decompress {
        /// The object.
        id: ObjectId,
        /// Why.
        source: io::Error,
    },
}

/// Compresses, pads and seals a plaintext to an age recipient.
///
/// # Errors
/// If the recipient isn't one.
pub fn seal(plain: &[u8], recipient: &str, padding: Padding) -> io::Result<Sealed> {
    assert!(plain.len() <= PLAIN_BYTES_MAX, "an object of {} bytes is too large", plain.len());
    let level = if plain.len() < SMALL_BYTES { ZSTD_LEVEL_SMALL } else { ZSTD_LEVEL };
    let mut packed = zstd::bulk::compress(plain, level)?;
    if padding == Padding::Padme {
        pad(&mut packed);
    }
    let mut bytes = Vec::with_capacity(packed.len() + 1024);
    let mut writer = sealing::encryptor(recipient, &mut bytes)?;
    writer.write_all(&packed)?;
    writer.finish()?;
    Ok(Sealed { id: id_of(&bytes), bytes })
}

/// Returns the name of an object: BLAKE3 of its bytes.
pub fn id_of(bytes: &[u8]) -> ObjectId {
    ObjectId::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Opens an object. Nothing is decrypted before the hash is checked, nothing returned before the end.
///
/// # Errors
/// As the variants say.
pub fn open(id: &ObjectId, bytes: &[u8], key: &EpochKey) -> Result<Vec<u8>, Error> {
    let found = id_of(bytes);
    if found != *id {
        return Err(Error::Hash { wanted: *id, found });
    }
    let packed = key.open(bytes, SEALED_BYTES_MAX).map_err(|source| Error::Decrypt { id: *id, source })?;
    let decompress = |source| Error::Decompress { id: *id, source };
    // Ours say how much is in them; whoever says otherwise only costs an address.
    let said = zstd::zstd_safe::get_frame_content_size(&packed).ok().flatten().unwrap_or(0);
    let mut plain = Vec::with_capacity(usize::try_from(said).unwrap_or(0).min(PLAIN_BYTES_MAX + 1));
    let decoder = zstd::Decoder::with_buffer(&packed[..]).map_err(decompress)?;
    decoder.take(PLAIN_BYTES_MAX as u64 + 1).read_to_end(&mut plain).map_err(decompress)?;
    if plain.len() > PLAIN_BYTES_MAX {
        let message = format!("it holds more than {PLAIN_BYTES_MAX} bytes");
        return Err(decompress(io::Error::new(io::ErrorKind::InvalidData, message)));
    }
    Ok(plain)
}

fn pad(packed: &mut Vec<u8>) {
    let padded = padme(packed.len() as u64 + SKIPPABLE_HEAD);
    let filler = padded - packed.len() as u64 - SKIPPABLE_HEAD;
    packed.extend_from_slice(&SKIPPABLE_MAGIC.to_le_bytes());
    packed.extend_from_slice(&u32::try_from(filler).expect("an eighth of 64 MiB at most").to_le_bytes());
    packed.resize(usize::try_from(padded).expect("it was a length in memory"), 0);
}

/// Rounds a length up so that only O(log log length) of its bits are not zero at the end.
fn padme(length: u64) -> u64 {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let mantissa_bits = exponent.ilog2() + 1;
    let mask = (1u64 << exponent.saturating_sub(mantissa_bits)) - 1;
    (length + mask) & !mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_objects_open_and_padded_ones_have_few_sizes() {
        let key = EpochKey::generate();
        let mut sizes = std::collections::BTreeSet::new();
        for length in 0..600usize {
            let plain: Vec<u8> = (0..length).map(|at| (at * at % 251) as u8).collect();
            let sealed = seal(&plain, &key.recipient(), Padding::Padme).unwrap();
            assert_eq!(open(&sealed.id, &sealed.bytes, &key).unwrap(), plain);
            let mut packed = zstd::bulk::compress(&plain, ZSTD_LEVEL).unwrap();
            pad(&mut packed);
            sizes.insert(packed.len());
        }
        assert!(sizes.len() < 60, "{} sizes", sizes.len());
    }

    #[test]
    fn changed_and_foreign_objects_are_refused() {
        let key = EpochKey::generate();
        let mut sealed = seal(b"text", &key.recipient(), Padding::None).unwrap();
        let other = EpochKey::generate();
        assert!(matches!(open(&sealed.id, &sealed.bytes, &other), Err(Error::Decrypt { .. })));
        sealed.bytes[20] ^= 1;
        assert!(matches!(open(&sealed.id, &sealed.bytes, &key), Err(Error::Hash { .. })));
        assert!(matches!(open(&id_of(&sealed.bytes), &sealed.bytes, &key), Err(Error::Decrypt { .. })));
    }

    #[test]
    fn a_decompression_bomb_is_refused() {
        let key = EpochKey::generate();
        let packed = zstd::bulk::compress(&vec![0; PLAIN_BYTES_MAX + 1], 1).unwrap();
        let mut bytes = Vec::new();
        let mut writer = key.encryptor(&mut bytes).unwrap();
        writer.write_all(&packed).unwrap();
        writer.finish().unwrap();
        assert!(matches!(open(&id_of(&bytes), &bytes, &key), Err(Error::Decompress { .. })));
    }

    #[test]
    fn padme_is_as_in_the_paper() {
        for (length, padded) in [(1, 1), (9, 10), (100, 104), (1000, 1024), (1_000_000, 1_015_808)] {
            assert_eq!(padme(length), padded, "{length}");
        }
    }
}
