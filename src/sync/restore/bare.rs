//! An instance of which only the keys are left: `.wbsync/keys` and `wbsync.toml`.

use std::path::Path;

use crate::id::name::PeerName;
use crate::keys::card::{Card, SignedCard};
use crate::keys::identity::Identity;
use crate::state::database::State;
use crate::sync::error::Error;
use crate::sync::instance::{DIR, FORMAT};
use crate::sync::remotes;
use crate::sync::restore::RestoreSummary;
use crate::sync::restore::ask::Here;
use crate::sys::disk::{self, Access};
use crate::transport::url::{self, RemoteUrl};

/// The name under which the store is kept that a bare instance is restored from.
pub const REMOTE: &str = "origin";
const CARD_BYTES_MAX: u64 = 1 << 20;

/// Makes the missing parts around the keys, if something is missing. What the instance calls itself is taken
/// from its card in the store at `url_text`, else it is `name`. Returns whether anything was made.
///
/// # Errors
/// `Identity` if the keys aren't whole either; `NothingToRestore` if the store doesn't know the instance.
pub fn complete(
    root: &Path,
    url_text: Option<&str>,
    name: Option<PeerName>,
    current_dir: &Path,
) -> Result<bool, Error> {
    let dir = root.join(DIR);
    if !is_bare(root) {
        return Ok(false);
    }
    let identity = Identity::open(&dir.join("keys")).map_err(Error::Identity)?;
    let path = dir.join("card");
    let left = disk::read_bounded(&path, CARD_BYTES_MAX).map_err(Error::io("read", &path))?;
    if left.and_then(|bytes| own_card(&bytes, &identity)).is_none() {
        let known = url_text.map(|text| card_in(text, &identity, current_dir)).transpose()?.flatten();
        let name = match (known, name) {
            (_, Some(name)) => name,
            (Some(known), None) => known.card.name,
            (None, None) => return Err(Error::NothingToRestore { remote: url_text.unwrap_or("nobody").to_owned() }),
        };
        let (instance, recipient) = (identity.id(), identity.recipient());
        let card = SignedCard::sign(Card { instance, recipient, name, urls: Vec::new(), incarnation: 0 }, &identity);
        disk::replace(&path, &card.bytes, Access::Shared).map_err(Error::io("write", &path))?;
    }
    State::open(&dir.join("state.db"))?;
    let path = dir.join("format");
    disk::replace(&path, FORMAT.as_bytes(), Access::Shared).map_err(Error::io("write", &path))?;
    Ok(true)
}

/// Asks stores for what they have of an instance of which only the keys are here, and writes nothing.
///
/// # Errors
/// `Identity` if the keys aren't whole; `NothingToRestore` if no store is named, or none that answers knows the instance;
/// `RestoreAlone` if none answers.
pub fn preview(root: &Path, urls: &[RemoteUrl]) -> Result<RestoreSummary, Error> {
    let identity = Identity::open(&root.join(DIR).join("keys")).map_err(Error::Identity)?;
    let mut summary = RestoreSummary::default();
    summary.ask_urls(&Here::Keys(&identity), urls, &identity);
    if summary.asked.is_empty() && !urls.is_empty() {
        return Err(Error::RestoreAlone);
    }
    if !summary.asked.values().any(|asked| asked.knows_us) {
        let remote = urls.first().map_or_else(|| "nobody".to_owned(), RemoteUrl::to_string);
        return Err(Error::NothingToRestore { remote });
    }
    let heard = summary.asked.values().map(|asked| asked.incarnation).max().unwrap_or(0);
    summary.incarnation = (0, heard.saturating_add(1));
    Ok(summary)
}

/// Tells whether nothing but the keys of an instance is whole in `root`.
pub fn is_bare(root: &Path) -> bool {
    let dir = root.join(DIR);
    let is_whole = ["format", "state.db", "card"].iter().all(|part| dir.join(part).exists());
    !is_whole && dir.join("keys").is_dir()
}

fn card_in(text: &str, identity: &Identity, current_dir: &Path) -> Result<Option<SignedCard>, Error> {
    let url = remotes::parse(text, current_dir)?;
    let store = url::open(&url, Some(identity)).map_err(Error::store(url.to_string()))?;
    let bytes = store.card(&identity.id()).map_err(Error::store(url.to_string()))?;
    Ok(bytes.and_then(|bytes| own_card(&bytes, identity)))
}

fn own_card(bytes: &[u8], identity: &Identity) -> Option<SignedCard> {
    SignedCard::open(bytes).ok().filter(|card| card.card.instance == identity.id())
}
