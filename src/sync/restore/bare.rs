//! An instance of which only the keys are left: `.wbsync/keys` and `wbsync.toml`.

use std::path::Path;

use crate::id::name::PeerName;
use crate::keys::card::{Card, SignedCard};
use crate::keys::export::Export;
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

/// What is known of an instance beside its keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// A store that it pushed to.
    pub url: Option<&'a str>,
    /// What it is to be called from now on.
    pub name: Option<&'a PeerName>,
    /// Its export.
    pub export: Option<&'a Export>,
}

/// Makes the missing parts around the keys, if something is missing. What the instance calls itself is what it is
/// to be called, else what its card in the store says, else its export. Returns whether anything was made.
///
/// # Errors
/// `Identity` if the keys aren't whole either; `NothingToRestore` if nothing knows the instance's name.
pub fn complete(root: &Path, known: Known<'_>, current_dir: &Path) -> Result<bool, Error> {
    let dir = root.join(DIR);
    if !is_bare(root) {
        return Ok(false);
    }
    let identity = Identity::open(&dir.join("keys")).map_err(Error::Identity)?;
    let path = dir.join("card");
    let left = disk::read_bounded(&path, CARD_BYTES_MAX).map_err(Error::io("read", &path))?;
    if left.and_then(|bytes| own_card(&bytes, &identity)).is_none() {
        let there = match known.url.map(|text| card_in(text, &identity, current_dir)) {
            // The export knows the name; what can't be reached is told when it is asked.
            Some(Err(Error::Store { .. })) if known.export.is_some() => None,
            there => there.transpose()?.flatten(),
        };
        let exported = known.export.map(|export| export.name.clone());
        let name = known.name.cloned().or(there.map(|there| there.card.name)).or(exported);
        let remote = || known.url.unwrap_or_default().to_owned();
        let name = name.ok_or_else(|| Error::NothingToRestore { remote: remote() })?;
        let (instance, recipient) = (identity.id(), identity.recipient());
        let incarnation = known.export.map_or(0, |export| export.incarnation);
        let card = SignedCard::sign(Card { instance, recipient, name, urls: Vec::new(), incarnation }, &identity);
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
        let remote = urls.first().map(RemoteUrl::to_string).unwrap_or_default();
        return Err(Error::NothingToRestore { remote });
    }
    let heard = summary.asked.values().map(|asked| asked.incarnation).max().unwrap_or(0);
    summary.incarnation = (0, heard.saturating_add(1));
    Ok(summary)
}

/// Tells whether something beside the keys of an instance is missing in `root`.
pub fn is_bare(root: &Path) -> bool {
    let dir = root.join(DIR);
    let is_card = |bytes: Vec<u8>| SignedCard::open(&bytes).is_ok();
    let has_card = disk::read_bounded(&dir.join("card"), CARD_BYTES_MAX).is_ok_and(|bytes| bytes.is_some_and(is_card));
    let is_whole = has_card && ["format", "state.db"].iter().all(|part| dir.join(part).exists());
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
