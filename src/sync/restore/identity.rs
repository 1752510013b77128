//! The way out and back of an exported identity: from this instance to paper, and from paper to a new machine.

use std::path::Path;

use crate::connector::mapping::model::Mapping;
use crate::keys::export::Export;
use crate::keys::identity::Identity;
use crate::sync::config;
use crate::sync::error::Error;
use crate::sync::init::{InitOptions, configured};
use crate::sync::instance::{DIR, Instance};
use crate::sys::disk::{self, Access};

impl Instance {
    /// Returns what is to be sealed with a passphrase and kept elsewhere.
    ///
    /// # Errors
    /// `State`.
    pub fn export_identity(&self) -> Result<Export, Error> {
        let remotes = self.state.remotes()?.into_iter().map(|remote| (remote.name, remote.url)).collect();
        let (name, incarnation) = (self.card.card.name.clone(), self.card.card.incarnation);
        Ok(Export { identity: self.identity.clone(), name, incarnation, remotes })
    }

    /// Adds the remotes that an export names, and that are not here yet.
    ///
    /// # Errors
    /// `State`. A URL that can't be read any more is left out.
    pub fn remotes_of(&self, export: &Export) -> Result<(), Error> {
        for (name, url) in &export.remotes {
            match self.remote_add(name, url, &self.root) {
                Err(error @ Error::State(_)) => return Err(error),
                Err(_) | Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// Puts an exported identity into `root`, with a configuration if there is none; what is there and the same stays.
/// `bare::complete` makes the rest.
///
/// # Errors
/// `Identity` if another instance is there; `Config`, `ConfigDisagrees`, `Database` as the options are wrong.
pub fn place(root: &Path, export: &Export, options: &InitOptions) -> Result<(), Error> {
    let keys = root.join(DIR).join("keys");
    // Nothing is written beside an instance that is somebody else, nor with a mapping that nobody ships.
    if keys.exists() && Identity::open(&keys).is_ok_and(|there| there.id() != export.identity.id()) {
        return Err(Error::AlreadyAnInstance { path: root.join(DIR) });
    }
    let (config, written) = configured(root, options)?;
    let path = root.join(config::FILE);
    Mapping::load(config.preset.as_deref(), config.mapping(), &path.display().to_string())?;
    if let Some(text) = written {
        // An address of PostgreSQL may hold a password.
        disk::replace(&path, text.as_bytes(), Access::Secret).map_err(Error::io("write", &path))?;
    }
    disk::create_dir(&root.join(DIR)).map_err(Error::io("make", root.join(DIR)))?;
    export.identity.save(&keys).map_err(Error::Identity)
}
