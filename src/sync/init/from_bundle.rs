//! Cloning from a bundle: a site that no network reaches is made from one file, and exchanges sticks from then on.

use std::path::{Path, PathBuf};

use super::{CLONING_FILE, CloneOptions, CloneSummary, Making};
use crate::id::name::ScopeName;
use crate::state::peers::{Follow, PeerRow};
use crate::sync::bundle::open::{Opened, open};
use crate::sync::error::Error;
use crate::sync::instance::{DIR, Instance, Purpose};
use crate::sync::progress::{Watcher, silent};
use crate::sync::relay::CARRIES_KEY;
use crate::sys::disk::{self, Access};

impl Instance {
    /// Makes an instance and fills the application from a bundle, or goes on where a crash ended that. `-` is standard input.
    ///
    /// A bundle can be sealed only to keys that are there: so an instance that `init` made, and that knows nobody and published
    /// nothing, is filled too. It follows all that it may read of the instances in the bundle; a new one what is public.
    ///
    /// # Errors
    /// `Bundle` if it isn't whole, or sealed to others, or sealed and there is no instance; `AlreadyAnInstance` if there is one
    /// that is more than keys; as `clone_from`.
    pub fn clone_from_bundle(
        files: &[PathBuf],
        root: &Path,
        options: &CloneOptions,
        watcher: Watcher,
    ) -> Result<(Self, CloneSummary), Error> {
        let mut watcher = Some(watcher);
        let mut watch = || watcher.take().unwrap_or_else(silent);
        let found = match root.join(DIR).exists() {
            true => Some(Self::open(root, Purpose::Change, watch())?),
            false => None,
        };
        let opened = open(files, found.as_ref())?;
        let place = place_of(&opened);
        let made_before = found.is_some();
        let (cards, refused) = super::chosen(&opened.store, &place, options)?;
        let instance = match found {
            Some(instance) => {
                instance.begin_filling(root, &place)?;
                instance
            }
            None => Self::make(root, &options.init, &Making::CloneOf(place.clone()), watch())?,
        };
        let mut peers = Vec::new();
        for card in &cards {
            let peer = instance.add_cloned_peer(card)?;
            instance.follow_cloned(&peer, made_before)?;
            peers.push((peer.name.to_string(), Self::fingerprint(&peer.id)));
        }
        peers.sort();
        instance.state.set_meta(CARRIES_KEY, "yes")?;
        // What its packer has needn't come back with our first bundle for it.
        instance.take_all_told(&opened)?;
        let mut fetched = instance.fetch_store(&opened.store, &place)?;
        fetched.refused.extend(refused);
        instance.finish_clone(&place, options.schema, CloneSummary { peers, fetched, ..CloneSummary::default() })
    }

    /// Takes an instance that `init` made, and nobody has used yet, for a clone.
    fn begin_filling(&self, root: &Path, place: &str) -> Result<(), Error> {
        if Self::unfinished_clone(root, place)? {
            return Ok(());
        }
        let mut is_used = !self.state.peers()?.is_empty() || !self.state.remotes()?.is_empty();
        for row in self.state.scopes()? {
            is_used |= row.origin != self.id() || self.state.head(&row.id, &self.id())?.is_some();
        }
        if is_used {
            return Err(Error::AlreadyAnInstance { path: root.join(DIR) });
        }
        self.with_database(|database| Ok(database.check_ready()?))?;
        let path = self.dir().join(CLONING_FILE);
        disk::replace(&path, place.as_bytes(), Access::Shared).map_err(Error::io("write", &path))
    }

    /// Follows a peer from the bundle, unless an earlier try of the same clone does.
    fn follow_cloned(&self, peer: &PeerRow, made_before: bool) -> Result<(), Error> {
        let is_followed = self.state.follows()?.iter().any(|Follow { origin, .. }| *origin == peer.id);
        let scope = if made_before { None } else { Some(ScopeName::public()) };
        match is_followed {
            true => Ok(()),
            false => self.follow(peer.name.as_str(), scope).map(drop),
        }
    }
}

/// What a bundle is called: the same for whoever hands it over by whatever path.
fn place_of(opened: &Opened) -> String {
    let id: String = opened
        .store
        .indexes()
        .first()
        .map(|index| &index.id[..])
        .unwrap_or_default()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("bundle-{id}")
}
