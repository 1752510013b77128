//! A bundle read as a store: every byte of every part is checked against the signed index before anything is used.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;

use super::index::{self, Index};
use super::tar::{self, BLOCK};
use super::write::INDEX;
use crate::exchange::layout::{self, DOCUMENT_BYTES_MAX, StorePath};
use crate::exchange::store::{Doing, Store, StoreError, StoredObject};
use crate::id::bytes::{DocHash, InstanceId, ObjectId, ScopeId};
use crate::keys::document::hash_of;
use crate::sys::clock::UnixMillis;
use crate::sys::disk;

/// A bundle, whole and checked.
#[derive(Debug)]
pub struct BundleStore {
    indexes: Vec<Index>,
    places: BTreeMap<StorePath, Place>,
}

/// One part of a bundle, as it lies on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where to read it.
    pub file: PathBuf,
    /// What whoever handed it over calls it.
    pub name: String,
}

/// Where a file lies.
#[derive(Debug, Clone)]
struct Place {
    file: PathBuf,
    offset: u64,
    bytes: u64,
    hash: DocHash,
}

/// Files are no bundle that counts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read, ends early, or isn't a tar file of ours.
    #[error("cannot read the bundle {name}")]
    Read {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Its index doesn't count.
    #[error("the bundle {name} has no index that counts")]
    Index {
        /// The file.
        name: String,
        /// Why.
        #[source]
        source: index::Error,
    },
    /// A file in it isn't the one that the index lists at this point.
    #[error("the bundle {name} is damaged: {found} isn't what its index lists")]
    Differs {
        /// The file.
        name: String,
        /// What was found.
        found: String,
    },
    /// The files are parts of different bundles.
    #[error("{name} belongs to another bundle than the parts before it")]
    Mixed {
        /// The file.
        name: String,
    },
    /// Parts are lacking.
    #[error("of the {parts} parts of the bundle these are missing: {missing}")]
    Incomplete {
        /// Their numbers, as in `2, 5-7`.
        missing: String,
        /// How many there are.
        parts: u32,
    },
    /// It was packed by a later version.
    #[error("cannot use what the bundle holds")]
    Format(#[source] layout::FormatError),
}

impl BundleStore {
    /// Reads all parts of a bundle, in any order, from end to end.
    ///
    /// # Errors
    /// Every variant. Nothing of a bundle counts that isn't whole.
    pub fn open(parts: &[Part]) -> Result<Self, Error> {
        let mut store = Self { indexes: Vec::new(), places: BTreeMap::new() };
        let mut there = BTreeSet::new();
        for part in parts {
            let index = store.read(part)?;
            let is_other =
                |first: &Index| (first.id, first.signer, first.parts) != (index.id, index.signer, index.parts);
            if store.indexes.first().is_some_and(is_other) {
                return Err(Error::Mixed { name: part.name.clone() });
            }
            // A part may be given twice.
            if there.insert(index.part) {
                store.indexes.push(index);
            } else if !store.indexes.contains(&index) {
                return Err(Error::Mixed { name: part.name.clone() });
            }
        }
        let parts = store.indexes.first().map_or(1, |index| index.parts);
        let missing: Vec<u32> = (1..=parts).filter(|part| !there.contains(part)).collect();
        if !missing.is_empty() {
            return Err(Error::Incomplete { missing: spans(&missing), parts });
        }
        store.indexes.sort_by_key(|index| index.part);
        Ok(store)
    }

    /// Returns the index of each part.
    pub fn indexes(&self) -> &[Index] {
        &self.indexes
    }

    /// Reads and checks one part.
    fn read(&mut self, part: &Part) -> Result<Index, Error> {
        let (path, name) = (&part.file, || part.name.clone());
        let failed = |source| Error::Read { name: name(), source };
        let differs = |found: &str| Error::Differs { name: name(), found: found.to_owned() };
        let mut file = io::BufReader::with_capacity(256 << 10, disk::open_at(path, 0).map_err(failed)?);
        let (name, bytes) = next(&mut file).map_err(failed)?.ok_or_else(|| differs("its end"))?;
        if name != INDEX || bytes > DOCUMENT_BYTES_MAX {
            return Err(differs(&name));
        }
        let mut document = vec![0; usize::try_from(bytes).expect("bounded just above")];
        file.read_exact(&mut document).and_then(|()| tar::skip_padding(&mut file, bytes)).map_err(failed)?;
        let index = Index::open(&document).map_err(|source| Error::Index { name: part.name.clone(), source })?;
        let mut offset = (BLOCK + document.len() + tar::padding(bytes)) as u64;
        for entry in &index.entries {
            let (name, bytes) = next(&mut file).map_err(failed)?.ok_or_else(|| differs("its end"))?;
            if name != entry.path.to_string() || bytes != entry.bytes {
                return Err(differs(&name));
            }
            offset += BLOCK as u64;
            let mut hasher = blake3::Hasher::new();
            let moved = io::copy(&mut file.by_ref().take(bytes), &mut hasher).map_err(failed)?;
            if moved < bytes {
                return Err(failed(io::ErrorKind::UnexpectedEof.into()));
            }
            if hasher.finalize().as_bytes() != entry.hash.as_bytes() {
                return Err(differs(&name));
            }
            tar::skip_padding(&mut file, bytes).map_err(failed)?;
            let place = Place { file: path.to_owned(), offset, bytes, hash: entry.hash };
            offset += bytes + tar::padding(bytes) as u64;
            if entry.path == StorePath::Format {
                let line = read_at(&place).map_err(failed)?;
                layout::check_format(&line).map_err(Error::Format)?;
            }
            self.places.insert(entry.path, place);
        }
        // Two empty blocks and nothing else.
        let mut rest = Vec::new();
        file.take(3 * BLOCK as u64).read_to_end(&mut rest).map_err(failed)?;
        if rest != [0; 2 * BLOCK] {
            return Err(differs("what follows its last file"));
        }
        Ok(index)
    }

    fn document(&self, path: StorePath) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(place) = self.places.get(&path) else { return Ok(None) };
        let failed = |source| StoreError::Io { store: self.describe(), doing: Doing::Read(path), source };
        let bytes = read_at(place).map_err(failed)?;
        // The file may have changed since it was checked.
        match hash_of(&bytes) == place.hash {
            true => Ok(Some(bytes)),
            false => Err(failed(io::Error::new(io::ErrorKind::InvalidData, "it changed meanwhile"))),
        }
    }

    fn listed<T: Ord>(&self, pick: impl Fn(&StorePath) -> Option<T>) -> Vec<T> {
        let found: BTreeSet<T> = self.places.keys().filter_map(pick).collect();
        found.into_iter().collect()
    }

    fn read_only<T>(&self, path: StorePath) -> Result<T, StoreError> {
        let source = io::ErrorKind::ReadOnlyFilesystem.into();
        Err(StoreError::ReadOnly { store: self.describe(), doing: Doing::Write(path), source })
    }
}

/// Writes ascending numbers as in `2, 5-7`.
fn spans(numbers: &[u32]) -> String {
    let mut spans: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => spans.push((*number, *number)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    spans.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn next(file: &mut dyn Read) -> io::Result<Option<(String, u64)>> {
    let mut block = [0; BLOCK];
    file.read_exact(&mut block)?;
    tar::parse(&block)
}

fn read_at(place: &Place) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(place.bytes).unwrap_or(0));
    disk::open_at(&place.file, place.offset)?.take(place.bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Store for BundleStore {
    fn describe(&self) -> String {
        let file = self.places.values().next().map(|place| place.file.display().to_string());
        format!("the bundle {}", file.unwrap_or_default())
    }

    fn scopes(&self) -> Result<Vec<ScopeId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Manifest(scope) | StorePath::Head(scope, _) | StorePath::Receipt(scope, _) => Some(*scope),
            _ => None,
        }))
    }

    fn heads(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Head(of, signer) if of == scope => Some(*signer),
            _ => None,
        }))
    }

    fn cards(&self) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| if let StorePath::Card(instance) = path { Some(*instance) } else { None }))
    }

    fn manifest(&self, scope: &ScopeId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Manifest(*scope))
    }

    fn head(&self, scope: &ScopeId, signer: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Head(*scope, *signer))
    }

    fn card(&self, instance: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Card(*instance))
    }

    fn swap_manifest(&self, scope: &ScopeId, _: Option<DocHash>, _: &[u8]) -> Result<(), StoreError> {
        self.read_only(StorePath::Manifest(*scope))
    }

    fn swap_head(
        &self,
        scope: &ScopeId,
        signer: &InstanceId,
        _: Option<DocHash>,
        _: &[(ObjectId, u64)],
        _: &[u8],
    ) -> Result<(), StoreError> {
        self.read_only(StorePath::Head(*scope, *signer))
    }

    fn remove_head(&self, scope: &ScopeId, signer: &InstanceId, _: DocHash) -> Result<bool, StoreError> {
        self.read_only(StorePath::Head(*scope, *signer))
    }

    fn receipts(&self, scope: &ScopeId) -> Result<Vec<InstanceId>, StoreError> {
        Ok(self.listed(|path| match path {
            StorePath::Receipt(of, reader) if of == scope => Some(*reader),
            _ => None,
        }))
    }

    fn receipt(&self, scope: &ScopeId, reader: &InstanceId) -> Result<Option<Vec<u8>>, StoreError> {
        self.document(StorePath::Receipt(*scope, *reader))
    }

    fn swap_receipt(
        &self,
        scope: &ScopeId,
        reader: &InstanceId,
        _: Option<DocHash>,
        _: &[u8],
    ) -> Result<(), StoreError> {
        self.read_only(StorePath::Receipt(*scope, *reader))
    }

    fn swap_card(&self, instance: &InstanceId, _: Option<DocHash>, _: &[u8]) -> Result<(), StoreError> {
        self.read_only(StorePath::Card(*instance))
    }

    fn missing(&self, objects: &[(ObjectId, u64)]) -> Result<Vec<ObjectId>, StoreError> {
        let held = |(id, bytes): &(ObjectId, u64)| {
            self.places.get(&StorePath::Object(*id)).is_some_and(|place| place.bytes == *bytes)
        };
        Ok(objects.iter().filter(|object| !held(object)).map(|(id, _)| *id).collect())
    }

    fn object_size(&self, object: &ObjectId) -> Result<Option<u64>, StoreError> {
        Ok(self.places.get(&StorePath::Object(*object)).map(|place| place.bytes))
    }

    fn object(&self, object: &ObjectId, offset: u64) -> Result<Box<dyn Read + Send>, StoreError> {
        let path = StorePath::Object(*object);
        let missing = || StoreError::Missing { store: self.describe(), path };
        let place = self.places.get(&path).ok_or_else(missing)?;
        let offset = offset.min(place.bytes);
        let failed = |source| StoreError::Io { store: self.describe(), doing: Doing::Read(path), source };
        let file = disk::open_at(&place.file, place.offset + offset).map_err(failed)?;
        Ok(Box::new(file.take(place.bytes - offset)))
    }

    fn put_object(&self, object: &ObjectId, _: u64, _: &mut dyn Read) -> Result<(), StoreError> {
        self.read_only(StorePath::Object(*object))
    }

    fn heal_object(&self, object: &ObjectId, _: u64, _: &mut dyn Read) -> Result<bool, StoreError> {
        self.read_only(StorePath::Object(*object))
    }

    fn remove_object(&self, object: &ObjectId, _: UnixMillis) -> Result<bool, StoreError> {
        self.read_only(StorePath::Object(*object))
    }

    fn objects(&self) -> Result<Vec<StoredObject>, StoreError> {
        let object = |(path, place): (&StorePath, &Place)| match path {
            StorePath::Object(id) => Some(StoredObject { id: *id, bytes: place.bytes, used: UnixMillis(0) }),
            _ => None,
        };
        Ok(self.places.iter().filter_map(object).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::spans;

    #[test]
    fn missing_parts_are_named_shortly() {
        assert_eq!(spans(&[2]), "2");
        assert_eq!(spans(&[1, 3, 4, 5, 9, 10]), "1, 3-5, 9-10");
    }
}
