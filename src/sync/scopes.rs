//! Our own scopes and those we hold of others: manifests and keys.

use super::error::Error;
use super::instance::Instance;
use crate::connector::mapping::model::Mapping;
use crate::id::bytes::{InstanceId, ScopeId};
use crate::id::name::ScopeName;
use crate::keys::card::SignedCard;
use crate::keys::identity::Identity;
use crate::record::schema::Schema;
use crate::scope::manifest::draft::{ManifestDraft, Reader, Signed, Since};
use crate::scope::manifest::{Keys, Manifest};
use crate::state::peers::{PeerRow, Trust};
use crate::state::scopes::ScopeRow;
use crate::sys::clock;
use crate::tree::key::IdKey;

/// A scope with its verified manifest and our keys to it.
#[derive(Debug, Clone)]
pub struct OpenScope {
    /// The row of the local state.
    pub row: ScopeRow,
    /// The newest manifest.
    pub manifest: Manifest,
    /// What we can open.
    pub keys: Keys,
    /// How concurrent values are shown in it.
    pub schema: Schema,
}

impl OpenScope {
    /// Returns `name` of our own scopes and `peer/name` of others', for people.
    pub fn label(&self, instance: &Instance) -> Result<String, Error> {
        instance.scope_label(&self.row)
    }
}

impl Instance {
    /// Makes one of our scopes, signed and stored in the local state.
    ///
    /// # Errors
    /// `ManifestDraft`, `State`; whatever is wrong with the mapping.
    pub fn create_scope(&self, name: &ScopeName) -> Result<(), Error> {
        Ok(self.state.put_manifest(&self.draft_scope(name, &self.mapping()?)?.row)?)
    }

    /// Makes one of our scopes, signed and not stored. A scope of peers is granted to those that it names;
    /// those of them that may edit our records may edit these too.
    ///
    /// # Errors
    /// `ManifestDraft`, `State`.
    pub(super) fn draft_scope(&self, name: &ScopeName, mapping: &Mapping) -> Result<OpenScope, Error> {
        let label = |source| Error::ManifestDraft { scope: name.to_string(), source };
        let schema = mapping.schema(name).encode();
        let mut draft = ManifestDraft::new(&self.identity, name, &schema, clock::now()).map_err(label)?;
        let named = name.peer_names().unwrap_or_default();
        for peer in self.state.peers()?.iter().filter(|peer| named.contains(&peer.name)) {
            // Revoked is revoked, whoever names it.
            if peer.trust == Trust::Revoked {
                continue;
            }
            draft.grant(&reader_of(peer)?, Since::Beginning).map_err(label)?;
            if peer.trust == Trust::Writer {
                draft.add_writer(peer.id).map_err(label)?;
            }
        }
        let row = own_row(name, draft.sign().map_err(label)?, &self.identity)?;
        Ok(self.open_scope(row)?.expect("the origin is a reader of its own scope"))
    }

    /// Changes the manifest of one of our scopes.
    ///
    /// # Errors
    /// `ManifestDraft`, `State`, and what `change` gives.
    pub fn change_scope(
        &self,
        scope: &OpenScope,
        change: impl FnOnce(&mut ManifestDraft<'_>) -> Result<(), crate::scope::manifest::draft::DraftError>,
    ) -> Result<(), Error> {
        let name = &scope.row.name;
        let label = |source| Error::ManifestDraft { scope: name.to_string(), source };
        let mut draft = ManifestDraft::next(&self.identity, &scope.manifest, scope.row.manifest_hash, clock::now())
            .map_err(label)?;
        change(&mut draft).map_err(label)?;
        let signed = draft.sign().map_err(label)?;
        Ok(self.state.put_manifest(&own_row(name, signed, &self.identity)?)?)
    }

    /// Brings the schemas of our scopes in step with the mapping.
    ///
    /// # Errors
    /// `ManifestDraft`, `State`.
    pub(super) fn refresh_schemas(&self) -> Result<(), Error> {
        let mapping = self.mapping()?;
        for scope in self.open_scopes_of(&self.id())? {
            let schema = mapping.schema(&scope.row.name);
            if scope.schema != schema {
                self.change_scope(&scope, |draft| draft.set_schema(&schema.encode()))?;
            }
        }
        Ok(())
    }

    /// Opens a scope that we hold.
    ///
    /// # Errors
    /// `Manifest` if the stored manifest doesn't verify or we can't read it (any more).
    pub fn open_scope(&self, row: ScopeRow) -> Result<Option<OpenScope>, Error> {
        // The same manifest is asked for again and again, and to verify and unlock it is dear.
        if let Some(known) = self.unlocked.borrow().get(&row.id)
            && known.row.manifest == row.manifest
            && known.row.origin == row.origin
        {
            return Ok(Some(OpenScope { row, ..known.clone() }));
        }
        let open = self.unlock_scope(row)?;
        if let Some(open) = &open {
            self.unlocked.borrow_mut().insert(open.row.id, open.clone());
        }
        Ok(open)
    }

    fn unlock_scope(&self, row: ScopeRow) -> Result<Option<OpenScope>, Error> {
        let error = |source| Error::Manifest { scope: row.name.to_string(), source };
        let (manifest, _) = Manifest::open(&row.manifest, &row.origin).map_err(error)?;
        let error = |source| Error::Manifest { scope: row.name.to_string(), source };
        let Some(keys) = manifest.unlock(&self.identity).map_err(error)? else { return Ok(None) };
        let schema =
            Schema::decode(&keys.schema).map_err(|source| Error::Schema { scope: row.name.to_string(), source })?;
        Ok(Some(OpenScope { row, manifest, keys, schema }))
    }

    /// Opens all scopes of an origin that we can read.
    ///
    /// # Errors
    /// As `open_scope`.
    pub fn open_scopes_of(&self, origin: &InstanceId) -> Result<Vec<OpenScope>, Error> {
        let rows = self.state.scopes_of(origin)?;
        let opened: Result<Vec<_>, _> = rows.into_iter().map(|row| self.open_scope(row)).collect();
        Ok(opened?.into_iter().flatten().collect())
    }

    /// Returns the row of a scope that must be there.
    ///
    /// # Errors
    /// `State`.
    pub fn scope_row(&self, id: &ScopeId) -> Result<ScopeRow, Error> {
        let damaged = || crate::state::error::Error::damaged(format!("scope {id} is missing"));
        Ok(self.state.scope(id)?.ok_or_else(damaged)?)
    }

    /// Tells whether we follow a scope: our own always, others' by rule.
    ///
    /// # Errors
    /// `State`.
    pub fn follows(&self, row: &ScopeRow) -> Result<bool, Error> {
        Ok(row.origin == self.id() || self.follows_name(&row.origin, &row.name)?)
    }

    /// Tells whether a rule follows a scope of this origin and name.
    ///
    /// # Errors
    /// `State`.
    pub fn follows_name(&self, origin: &InstanceId, name: &ScopeName) -> Result<bool, Error> {
        let rules = self.state.follows()?;
        Ok(rules.iter().any(|rule| rule.origin == *origin && rule.scope.as_ref().is_none_or(|scope| scope == name)))
    }

    /// Returns `name` of our own scopes and `peer/name` of others', for people.
    ///
    /// # Errors
    /// `State`.
    pub fn scope_label(&self, row: &ScopeRow) -> Result<String, Error> {
        if row.origin == self.id() {
            return Ok(row.name.to_string());
        }
        Ok(format!("{}/{}", self.instance_label(&row.origin)?, row.name))
    }

    /// Returns what we call a scope by its id: its label, or the digits that its place in a store has.
    ///
    /// # Errors
    /// `State`.
    pub(super) fn scope_called(&self, id: &ScopeId) -> Result<String, Error> {
        match self.state.scope(id)? {
            Some(row) => self.scope_label(&row),
            None => Ok(format!("an unknown scope ({id})")),
        }
    }

    /// Returns what we call an instance: our own name, a peer's, or the first digits of the id.
    ///
    /// # Errors
    /// `State`.
    pub fn instance_label(&self, id: &InstanceId) -> Result<String, Error> {
        if *id == self.id() {
            return Ok(self.card.card.name.to_string());
        }
        Ok(self.state.peer(id)?.map_or_else(|| id.short(), |peer| peer.name.to_string()))
    }
}

/// Makes the row of one of our scopes out of its manifest.
fn own_row(name: &ScopeName, signed: Signed, identity: &Identity) -> Result<ScopeRow, Error> {
    let manifest_error = |source| Error::Manifest { scope: name.to_string(), source };
    let keys = signed.manifest.unlock(identity).map_err(manifest_error)?;
    let keys = keys.expect("the origin is a reader of its own scope");
    Ok(ScopeRow {
        id: signed.manifest.scope,
        origin: identity.id(),
        name: name.clone(),
        id_key: IdKey::from_bytes(*keys.id_key),
        manifest: signed.bytes,
        manifest_seq: signed.manifest.seq,
        manifest_hash: signed.hash,
        local_head: None,
        sequence: 0,
    })
}

/// Returns where to seal for a peer, as its card says.
pub(super) fn reader_of(peer: &PeerRow) -> Result<Reader, Error> {
    let card = SignedCard::open(&peer.card).map_err(Error::Card)?;
    Ok(Reader { instance: peer.id, recipient: card.card.recipient })
}
