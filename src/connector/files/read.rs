//! Reading a file as a whole: its content in pieces, unless it changes meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use fastcdc::v2020::StreamCDC;

use super::content::{CHUNK_BYTES_MAX, CHUNKS_MAX, Chunk, Content};
use crate::sys::beneath::{Beneath, Kind, Stat};

/// The least and the usual bytes of a piece.
const CHUNK_BYTES_MIN: usize = 16 << 10;
const CHUNK_BYTES_USUAL: usize = 64 << 10;

/// What came of reading a file.
#[derive(Debug)]
pub(super) enum Reading {
    /// Its content, and what the file system said of it before and after.
    Whole(Content, Stat),
    /// It changed while it was read, or is gone: the next round will see.
    Restless,
    /// It has more pieces than a record can name.
    TooLarge,
}

/// Reads a file. Up to `inline_max` bytes are read as they are, what is larger in pieces.
///
/// # Errors
/// It can't be read.
pub(super) fn whole(beneath: &Beneath, path: &str, inline_max: usize) -> io::Result<Reading> {
    let mut file = match beneath.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Reading::Restless),
        file => file?,
    };
    let before = Stat::of(&file.metadata()?);
    if before.kind != Kind::File {
        return Ok(Reading::Restless);
    }
    if before.size > (CHUNKS_MAX * CHUNK_BYTES_MAX) as u64 {
        return Ok(Reading::TooLarge);
    }
    let Some(content) = content(&mut file, before.size, inline_max)? else { return Ok(Reading::TooLarge) };
    let after = Stat::of(&file.metadata()?);
    let size: u64 = match &content {
        Content::Inline(bytes) => bytes.len() as u64,
        Content::Chunks(chunks) => chunks.iter().map(|chunk| chunk.size).sum(),
    };
    Ok(if before == after && size == after.size { Reading::Whole(content, after) } else { Reading::Restless })
}

/// Cuts what a file holds; `None` if there are too many pieces.
fn content(file: &mut File, size: u64, inline_max: usize) -> io::Result<Option<Content>> {
    if size <= inline_max as u64 {
        let mut bytes = Vec::new();
        file.take(inline_max as u64 + 1).read_to_end(&mut bytes)?;
        return Ok(Some(Content::Inline(bytes)));
    }
    let mut chunks = Vec::new();
    for piece in StreamCDC::new(file, CHUNK_BYTES_MIN, CHUNK_BYTES_USUAL, CHUNK_BYTES_MAX) {
        let piece = piece.map_err(io::Error::from)?;
        if chunks.len() == CHUNKS_MAX {
            return Ok(None);
        }
        chunks.push(Chunk { hash: *blake3::hash(&piece.data).as_bytes(), size: piece.data.len() as u64 });
    }
    // A file that was cut short meanwhile; whoever asked sees its size.
    if chunks.is_empty() { Ok(Some(Content::Inline(Vec::new()))) } else { Ok(Some(Content::Chunks(chunks))) }
}

/// Reads one piece, if it is still what it was.
///
/// # Errors
/// The file can't be read.
pub(super) fn piece(beneath: &Beneath, path: &str, offset: u64, chunk: &Chunk) -> io::Result<Option<Vec<u8>>> {
    let mut file = match beneath.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::with_capacity(usize::try_from(chunk.size).unwrap_or(0).min(CHUNK_BYTES_MAX));
    file.take(chunk.size).read_to_end(&mut bytes)?;
    Ok((*blake3::hash(&bytes).as_bytes() == chunk.hash).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connector::files::content::INLINE_BYTES_MAX;

    fn noise(bytes: usize) -> Vec<u8> {
        let mut noise = vec![0; bytes];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        noise
    }

    fn read(bytes: &[u8]) -> Content {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), bytes).unwrap();
        match whole(&Beneath::open(dir.path()).unwrap(), "f", INLINE_BYTES_MAX).unwrap() {
            Reading::Whole(content, stat) => {
                assert_eq!(stat.size, bytes.len() as u64);
                content
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_byte_in_front_moves_few_pieces() {
        let bytes = noise(5 << 20);
        let before = read(&bytes);
        let after = read(&[b"x", &bytes[..]].concat());
        let fresh = after.chunks().iter().filter(|chunk| !before.chunks().contains(chunk)).count();
        assert!(before.chunks().len() > 40, "{}", before.chunks().len());
        assert!(fresh <= 3, "{fresh} of {}", after.chunks().len());
        let bounds = CHUNK_BYTES_MIN as u64..=CHUNK_BYTES_MAX as u64;
        let (_, all_but_last) = before.chunks().split_last().unwrap();
        assert!(all_but_last.iter().all(|chunk| bounds.contains(&chunk.size)));
    }

    #[test]
    fn the_bound_of_what_is_inline_is_exact() {
        assert_eq!(read(b""), Content::Inline(Vec::new()));
        assert!(matches!(read(&noise(INLINE_BYTES_MAX)), Content::Inline(_)));
        assert!(matches!(read(&noise(INLINE_BYTES_MAX + 1)), Content::Chunks(_)));
    }

    #[test]
    fn a_piece_is_given_only_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = noise(100_000);
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let Reading::Whole(content, _) = whole(&beneath, "f", INLINE_BYTES_MAX).unwrap() else { panic!("it rests") };
        let first = content.chunks()[0];
        let size = first.size as usize;
        assert_eq!(piece(&beneath, "f", 0, &first).unwrap().unwrap(), bytes[..size]);
        assert_eq!(piece(&beneath, "f", 1, &first).unwrap(), None);
        assert_eq!(piece(&beneath, "g", 0, &first).unwrap(), None);
    }
}
