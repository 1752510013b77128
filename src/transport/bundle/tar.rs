//! The tar of a bundle: POSIX ustar, plain files only, each header in the one form that we write.
//!
//! `tar -x` takes it apart. Reading is strict: what differs in a byte from what we would have written is refused, so that no
//! other program can see other files in a bundle than we do.

use std::io::{self, Read, Write};

/// Tar works in blocks of this many bytes.
pub const BLOCK: usize = 512;

/// Returns the header of a plain file.
///
/// # Panics
/// If the name doesn't fit, or the size exceeds 8 GiB: both are bounded by the layout of a store.
pub fn header(name: &str, bytes: u64) -> [u8; BLOCK] {
    assert!(bytes < 1 << 33, "a file of a bundle is bounded");
    let mut block = [0; BLOCK];
    let (prefix, rest) = split(name);
    block[..rest.len()].copy_from_slice(rest.as_bytes());
    block[345..345 + prefix.len()].copy_from_slice(prefix.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{bytes:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000000\0");
    block[156] = b'0';
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads a header: name and size. `None` is the first block of the end.
///
/// # Errors
/// `InvalidData` for anything that `header` doesn't write.
pub fn parse(block: &[u8; BLOCK]) -> io::Result<Option<(String, u64)>> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let refuse = || io::Error::new(io::ErrorKind::InvalidData, "a header of the tar file isn't one of a bundle");
    let text = |from: usize, to: usize| -> io::Result<&str> {
        let field = &block[from..to];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        std::str::from_utf8(&field[..end]).map_err(|_| refuse())
    };
    let (rest, prefix) = (text(0, 100)?, text(345, 500)?);
    let name = if prefix.is_empty() { rest.to_owned() } else { format!("{prefix}/{rest}") };
    let bytes = u64::from_str_radix(text(124, 136)?, 8).map_err(|_| refuse())?;
    if rest.is_empty() || bytes >= 1 << 33 || name.len() > NAME_MAX || header(&name, bytes) != *block {
        return Err(refuse());
    }
    Ok(Some((name, bytes)))
}

/// Writes the zeros that fill the last block of a file.
///
/// # Errors
/// As `to` fails.
pub fn pad(to: &mut dyn Write, bytes: u64) -> io::Result<()> {
    to.write_all(&[0; BLOCK][..padding(bytes)])
}

/// Writes the end of the tar file.
///
/// # Errors
/// As `to` fails.
pub fn end(to: &mut dyn Write) -> io::Result<()> {
    to.write_all(&[0; 2 * BLOCK])
}

/// Reads the zeros that fill the last block of a file.
///
/// # Errors
/// `InvalidData` if they aren't; as `from` fails.
pub fn skip_padding(from: &mut dyn Read, bytes: u64) -> io::Result<()> {
    let mut zeros = [0; BLOCK];
    let zeros = &mut zeros[..padding(bytes)];
    from.read_exact(zeros)?;
    match zeros.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(io::Error::new(io::ErrorKind::InvalidData, "a file in the tar file is longer than it says")),
    }
}

/// Returns how many zeros follow a file of so many bytes.
pub fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

/// Splits a name that is too long for its field at the last possible `/`.
fn split(name: &str) -> (&str, &str) {
    if name.len() <= 100 {
        return ("", name);
    }
    let at = name.rfind('/').expect("a long name has a directory");
    assert!(at <= 155 && name.len() - at - 1 <= 100, "a name of the layout fits");
    (&name[..at], &name[at + 1..])
}

/// The longest name that is looked at.
const NAME_MAX: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back_and_nothing_else_does() {
        let long = format!("scopes/{}/receipts/{}", "5c".repeat(16), "1a".repeat(32));
        for (name, bytes) in [("index", 1), ("objects/ab/x.age", 128 << 20), (long.as_str(), 4096)] {
            let block = header(name, bytes);
            assert_eq!(parse(&block).unwrap(), Some((name.to_owned(), bytes)));
            for at in 0..BLOCK {
                let mut altered = block;
                altered[at] ^= 1;
                assert!(parse(&altered).is_err(), "{name}: byte {at}");
            }
        }
        assert_eq!(parse(&[0; BLOCK]).unwrap(), None);
    }

    #[test]
    fn files_are_filled_up_to_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
        assert!(skip_padding(&mut &[0; 511][..], 1).is_ok());
        assert!(skip_padding(&mut &[0; 510][..], 1).is_err());
        assert!(skip_padding(&mut &[1; 511][..], 1).is_err());
    }
}
