//! The small files that an instance can't be opened without, `card` and `format`: whether they are whole, and written
//! again from what else says the same.
//!
//! A card is signed, so that any copy is as good as the one that was lost: the one in our own store, or in a remote.
//! Its incarnation never falls behind the heads that this instance has signed.

use std::path::Path;

use super::error::Error;
use super::instance::{DIR, FORMAT, LOCK_FILE};
use super::remotes;
use crate::exchange::store::Store;
use crate::keys::card::{self, Card, SignedCard};
use crate::keys::identity::Identity;
use crate::state::database::State;
use crate::sys::disk::{self, Access, Lock};
use crate::transport::dir::DirStore;
use crate::transport::url;

/// What is wrong with a file of an instance.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is none.
    #[error("is missing")]
    Missing,
    /// It says something that no version writes.
    #[error("is damaged")]
    Damaged,
    /// It isn't the signed card that it should be.
    #[error("is damaged: {0}")]
    Unsigned(card::Error),
    /// It is the card of somebody else.
    #[error("isn't the card of the keys that are here")]
    Foreign,
}

/// Reads our own card.
///
/// # Errors
/// `OwnFile`, `Io`.
pub(super) fn read_card(dir: &Path, identity: &Identity) -> Result<SignedCard, Error> {
    let path = dir.join("card");
    let bytes = disk::read_bounded(&path, CARD_BYTES_MAX).map_err(Error::io("read", &path))?;
    let read = |bytes: Vec<u8>| match SignedCard::open(&bytes) {
        Ok(card) if is_of(&card, identity) => Ok(card),
        Ok(_) => Err(Fault::Foreign),
        Err(error) => Err(Fault::Unsigned(error)),
    };
    bytes.ok_or(Fault::Missing).and_then(read).map_err(|fault| Error::OwnFile { path, fault })
}

/// Sees that the instance in `dir` is one of this version.
///
/// # Errors
/// `NotAnInstance`, `NewerInstance`, `OwnFile`, `Io`.
pub(super) fn check_format(root: &Path, dir: &Path) -> Result<(), Error> {
    let path = dir.join("format");
    let found = disk::read_bounded(&path, 256).map_err(Error::io("read", &path))?;
    match found {
        Some(found) if found == FORMAT.as_bytes() => Ok(()),
        Some(found) => {
            let found = String::from_utf8_lossy(&found).trim().to_owned();
            let (kind, version) = found.rsplit_once(' ').unwrap_or_default();
            match FORMAT.starts_with(kind) && version.parse::<u32>().is_ok() {
                true => Err(Error::NewerInstance { path: dir.to_owned(), found }),
                false => Err(Error::OwnFile { path, fault: Fault::Damaged }),
            }
        }
        None if is_lone(dir) => Err(Error::OwnFile { path, fault: Fault::Missing }),
        None => Err(Error::NotAnInstance { start: root.to_owned() }),
    }
}

/// Writes these files again where they aren't whole, and returns what was done, in words.
///
/// # Errors
/// `OwnFile` if nobody has a copy of the card; `Busy`, `Identity`, `State`, `Io`.
pub fn mend(root: &Path) -> Result<Vec<String>, Error> {
    let dir = root.join(DIR);
    let format = check_format(root, &dir);
    if !matches!(format, Ok(()) | Err(Error::OwnFile { .. })) || !dir.join("state.db").exists() {
        return format.map(|()| Vec::new());
    }
    let identity = Identity::open(&dir.join("keys")).map_err(Error::Identity)?;
    let card = read_card(&dir, &identity);
    if format.is_ok() && card.is_ok() {
        return Ok(Vec::new());
    }
    let path = dir.join(LOCK_FILE);
    let lock = Lock::try_take(&path).map_err(Error::io("lock", &path))?;
    let _lock = lock.ok_or_else(|| Error::Busy { path: dir.clone() })?;
    let mut done = Vec::new();
    if let Err(error) = card {
        let Error::OwnFile { path, .. } = &error else { return Err(error) };
        let state = State::open(&dir.join("state.db"))?;
        let Some((card, from)) = copy(&dir, &state, &identity) else { return Err(error) };
        let card = raised(card, &state, &identity)?;
        disk::replace(path, &card.bytes, Access::Shared).map_err(Error::io("write", path))?;
        done.push(format!("wrote the card of this instance again, from the copy in {from}"));
    }
    // The last: without it there is no instance.
    if format.is_err() {
        let path = dir.join("format");
        disk::replace(&path, FORMAT.as_bytes(), Access::Shared).map_err(Error::io("write", &path))?;
        done.push("wrote the format file of this instance again".into());
    }
    Ok(done)
}

/// Finds the newest copy of our card, with the name of the store that has it.
fn copy(dir: &Path, state: &State, identity: &Identity) -> Option<(SignedCard, String)> {
    let read = |store: &dyn Store| -> Option<SignedCard> {
        let bytes = store.card(&identity.id()).ok()??;
        SignedCard::open(&bytes).ok().filter(|card| is_of(card, identity))
    };
    let own = DirStore::open(&dir.join("store")).ok().and_then(|store| read(&store));
    if let Some(card) = own {
        return Some((card, "our own store".into()));
    }
    // Whoever can't be reached has nothing to say.
    let there = state.remotes().ok()?.into_iter().filter_map(|remote| {
        let store = url::open(&remotes::parse(&remote.url, dir.parent()?).ok()?, Some(identity)).ok()?;
        Some((read(store.as_ref())?, remote.name.to_string()))
    });
    there.max_by_key(|(card, _)| card.card.incarnation)
}

/// Signs the card anew if this instance has signed heads in a later incarnation.
fn raised(found: SignedCard, state: &State, identity: &Identity) -> Result<SignedCard, Error> {
    let mut incarnation = found.card.incarnation;
    for scope in state.scopes()? {
        if let Some(head) = state.head(&scope.id, &identity.id())? {
            incarnation = incarnation.max(head.incarnation);
        }
    }
    match incarnation == found.card.incarnation {
        true => Ok(found),
        false => Ok(SignedCard::sign(Card { incarnation, ..found.card }, identity)),
    }
}

fn is_of(card: &SignedCard, identity: &Identity) -> bool {
    card.card.instance == identity.id() && card.card.recipient == identity.recipient()
}

/// Tells whether all but the one file is there.
fn is_lone(dir: &Path) -> bool {
    dir.join("keys").is_dir() && dir.join("state.db").is_file()
}

/// As a card is bounded, generously.
const CARD_BYTES_MAX: u64 = 1 << 20;
