//! The edits of one scope between capture and commit: in memory, and sorted in temporary files where there are many.
//!
//! A first commit has as many edits as there are rows. They come in about the order of their keys, so that sorting costs
//! little; runs that were put aside are merged as they are read. Of several edits of one record the last counts.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::id::bytes::RecordKey;
use crate::id::name::DatasetName;
use crate::record::codec::RECORD_BYTES_MAX;
use crate::sys::disk::{self, Access};

/// What becomes of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    Put(Vec<u8>),
    /// As `Put`; fields were taken out that are for fewer readers now.
    Narrowed(Vec<u8>),
    Deleted,
    Withdrawn,
}

/// An edit with the record that it is of.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Edited {
    pub(super) dataset: DatasetName,
    pub(super) key: RecordKey,
    pub(super) edit: Edit,
}

/// The edits of one scope that build on one view.
#[derive(Debug, Default)]
pub(super) struct Edits {
    held: Vec<Edited>,
    held_bytes: usize,
    runs: Vec<tempfile::NamedTempFile>,
}

impl Edit {
    /// Returns what the record is to be; `None` if it goes.
    pub(super) fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Put(bytes) | Self::Narrowed(bytes) => Some(bytes),
            Self::Deleted | Self::Withdrawn => None,
        }
    }

    /// Takes what `content` returns.
    pub(super) fn into_content(self) -> Option<Vec<u8>> {
        match self {
            Self::Put(bytes) | Self::Narrowed(bytes) => Some(bytes),
            Self::Deleted | Self::Withdrawn => None,
        }
    }
}

impl Edits {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty() && self.runs.is_empty()
    }

    /// Returns how many bytes are held in memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Adds an edit; returns how many bytes it takes.
    pub(super) fn add(&mut self, edited: Edited) -> usize {
        let bytes = size_of::<Edited>() + edited.edit.content().map_or(0, <[u8]>::len);
        self.held.push(edited);
        self.held_bytes += bytes;
        bytes
    }

    /// Puts what is held in memory into a file in `dir`.
    ///
    /// # Errors
    /// As the operating system says.
    pub(super) fn put_aside(&mut self, dir: &Path) -> io::Result<()> {
        let file = disk::temporary_in(dir, Access::Secret)?;
        self.sort();
        let mut writer = BufWriter::with_capacity(RUN_BUFFER_BYTES, file.as_file());
        for edited in &self.held {
            write(&mut writer, edited)?;
        }
        writer.flush()?;
        drop(writer);
        (self.held, self.held_bytes) = (Vec::new(), 0);
        self.runs.push(file);
        Ok(())
    }

    /// Gives every edit once, by ascending dataset and key. Memory: a buffer for each file.
    ///
    /// # Errors
    /// As the operating system says; what was written can't be read back.
    pub(super) fn into_sorted(mut self) -> io::Result<Sorted> {
        self.sort();
        let mut sorted = Sorted { heads: BinaryHeap::new(), runs: Vec::new(), held: self.held.into_iter(), last: None };
        for run in self.runs {
            run.as_file().seek(SeekFrom::Start(0))?;
            sorted.runs.push((BufReader::with_capacity(RUN_BUFFER_BYTES, run.reopen()?), run));
        }
        // What is in memory came last.
        for run in 0..=sorted.runs.len() {
            sorted.refill(run)?;
        }
        Ok(sorted)
    }

    /// Orders what is held, and keeps the last of several edits of one record.
    fn sort(&mut self) {
        self.held.sort_by(Edited::place);
        self.held.reverse();
        self.held.dedup_by(|later, kept| later.place(kept) == Ordering::Equal);
        self.held.reverse();
    }
}

impl Edited {
    fn place(&self, other: &Self) -> Ordering {
        (&self.dataset, &self.key).cmp(&(&other.dataset, &other.key))
    }
}

/// The edits in order; see `Edits::into_sorted`.
pub(super) struct Sorted {
    heads: BinaryHeap<Head>,
    runs: Vec<(BufReader<File>, tempfile::NamedTempFile)>,
    held: std::vec::IntoIter<Edited>,
    /// What was given last.
    last: Option<(DatasetName, RecordKey)>,
}

/// The next edit of a run; the heap's greatest is the first in order, and of equal ones the latest.
struct Head {
    edited: Edited,
    run: usize,
}

impl Sorted {
    fn refill(&mut self, run: usize) -> io::Result<()> {
        let next = match self.runs.get_mut(run) {
            Some((reader, _)) => read(reader)?,
            None => self.held.next(),
        };
        self.heads.extend(next.map(|edited| Head { edited, run }));
        Ok(())
    }

    fn next_edit(&mut self) -> io::Result<Option<Edited>> {
        while let Some(Head { edited, run }) = self.heads.pop() {
            self.refill(run)?;
            let place = (edited.dataset.clone(), edited.key);
            if self.last.as_ref() != Some(&place) {
                self.last = Some(place);
                return Ok(Some(edited));
            }
        }
        Ok(None)
    }
}

impl Iterator for Sorted {
    type Item = io::Result<Edited>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_edit().transpose()
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        other.edited.place(&self.edited).then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

/// Written: the length of the dataset's name and the name, the key, what becomes of the record, the length of its bytes
/// and the bytes. Only the process that wrote such a file reads it.
fn write(writer: &mut impl Write, Edited { dataset, key, edit }: &Edited) -> io::Result<()> {
    let name = dataset.as_str().as_bytes();
    let tag = match edit {
        Edit::Put(_) => 0,
        Edit::Narrowed(_) => 1,
        Edit::Deleted => 2,
        Edit::Withdrawn => 3,
    };
    let bytes = edit.content().unwrap_or_default();
    writer.write_all(&[u8::try_from(name.len()).expect("a name has at most 65 bytes")])?;
    writer.write_all(name)?;
    writer.write_all(key.as_bytes())?;
    writer.write_all(&[tag])?;
    writer.write_all(&u32::try_from(bytes.len()).expect("a record is bounded").to_le_bytes())?;
    writer.write_all(bytes)
}

fn read(reader: &mut impl Read) -> io::Result<Option<Edited>> {
    let mut length = [0];
    if reader.read(&mut length)? == 0 {
        return Ok(None);
    }
    let mut name = [0; u8::MAX as usize];
    let name = &mut name[..usize::from(length[0])];
    reader.read_exact(name)?;
    let (mut key, mut tag, mut length) = ([0; 16], [0], [0; 4]);
    reader.read_exact(&mut key)?;
    reader.read_exact(&mut tag)?;
    reader.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    let dataset = std::str::from_utf8(name).ok().and_then(|name| DatasetName::new(name).ok());
    let dataset = dataset.filter(|_| length <= RECORD_BYTES_MAX).ok_or_else(altered)?;
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    let edit = match tag[0] {
        0 => Edit::Put(bytes),
        1 => Edit::Narrowed(bytes),
        2 => Edit::Deleted,
        3 => Edit::Withdrawn,
        _ => return Err(altered()),
    };
    Ok(Some(Edited { dataset, key: RecordKey::from_bytes(key), edit }))
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a temporary file was altered")
}

const RUN_BUFFER_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(dataset: &str, key: u8, edit: Edit) -> Edited {
        Edited { dataset: DatasetName::new(dataset).unwrap(), key: RecordKey::from_bytes([key; 16]), edit }
    }

    /// However the edits are spread over memory and files, what is read is each record once, in order, as edited last.
    #[test]
    fn edits_put_aside_at_any_time_read_the_same() {
        let all = [
            ("users", 3, Edit::Put(vec![1])),
            ("users", 1, Edit::Put(vec![2; 3000])),
            ("a", 9, Edit::Withdrawn),
            ("users", 3, Edit::Deleted),
            ("a+", 9, Edit::Narrowed(vec![4])),
            ("users", 1, Edit::Put(Vec::new())),
            ("users", 2, Edit::Put(vec![5])),
        ];
        let wanted = [
            edited("a", 9, Edit::Withdrawn),
            edited("a+", 9, Edit::Narrowed(vec![4])),
            edited("users", 1, Edit::Put(Vec::new())),
            edited("users", 2, Edit::Put(vec![5])),
            edited("users", 3, Edit::Deleted),
        ];
        let dir = tempfile::tempdir().unwrap();
        for aside in 0..1u32 << all.len() {
            let mut edits = Edits::default();
            assert!(edits.is_empty());
            for (at, (dataset, key, edit)) in all.iter().enumerate() {
                edits.add(edited(dataset, *key, edit.clone()));
                if aside >> at & 1 == 1 {
                    edits.put_aside(dir.path()).unwrap();
                    assert_eq!(edits.held_bytes(), 0);
                }
                assert!(!edits.is_empty());
            }
            let read: Vec<Edited> = edits.into_sorted().unwrap().map(Result::unwrap).collect();
            assert_eq!(read, wanted, "put aside {aside:b}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
    }
}
