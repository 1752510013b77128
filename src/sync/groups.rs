//! Groups: named sets of peers, each of them the readers of one of our scopes.
//!
//! A group is there if and only if we have the scope `group:NAME`; its members are the readers of that scope besides us.

use super::commit::Mode;
use super::error::Error;
use super::instance::Instance;
use super::refold::OWN_STORE_KEY;
use super::scopes::OpenScope;
use super::trust::{Right, TrustChange};
use crate::id::bytes::InstanceId;
use crate::id::name::ScopeName;
use crate::scope::manifest::draft::Since;
use crate::state::database;
use crate::state::peers::Trust;
use crate::sys::disk;

/// A group.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GroupShown {
    /// Its name.
    pub name: String,
    /// The scope of what is shared with it.
    pub scope: ScopeName,
    /// Who is in it, by name.
    pub members: Vec<Member>,
    /// Records shared with it as of the last commit.
    pub records: u64,
    /// The number of its newest key.
    pub epoch: u32,
}

/// A member of a group.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Member {
    /// What we call it.
    pub name: String,
    /// Its id.
    pub id: InstanceId,
    /// Whether it may also edit what is shared with the group.
    pub writes: bool,
    /// The first epoch that it can open.
    pub since_epoch: u32,
}

impl Instance {
    /// Makes a group without members.
    ///
    /// # Errors
    /// `Name`, `GroupExists`, `ManifestDraft`.
    pub fn group_create(&self, name: &str, mode: Mode) -> Result<GroupShown, Error> {
        let scope = scope_of(name)?;
        if RESERVED.contains(&name) {
            return Err(Error::NameTakenByScope { name: name.into() });
        }
        if self.own_scope(&scope)?.is_some() {
            return Err(Error::GroupExists { name: name.into() });
        }
        let transaction = self.state.transaction()?;
        self.create_scope(&scope)?;
        let shown = self.group_show(name)?;
        self.conclude(transaction, mode)?;
        Ok(shown)
    }

    /// Lets a peer read, or read and edit, what is shared with a group; see `peer_trust_since` for `since`.
    ///
    /// # Errors
    /// `UnknownGroup`, `UnknownPeer`, `Revoked`, `ManifestDraft`.
    pub fn group_add(
        &self,
        name: &str,
        peer: &str,
        right: Right,
        since: Since,
        mode: Mode,
    ) -> Result<TrustChange, Error> {
        let scope = self.group(name)?;
        let peer = self.peer_named(peer)?;
        if peer.trust == Trust::Revoked {
            return Err(Error::Revoked { name: peer.name.to_string() });
        }
        // Who may edit our records may edit those of every scope that it reads.
        let right = if peer.trust == Trust::Writer { Right::Write } else { right };
        let mut change = TrustChange::of(&peer);
        let transaction = self.state.transaction()?;
        self.let_in(&scope, &peer, right, since, &mut change)?;
        self.conclude(transaction, mode)?;
        Ok(change)
    }

    /// Removes a peer from a group, with a new epoch for those who stay.
    ///
    /// # Errors
    /// `UnknownGroup`, `UnknownPeer`, `LastReader`, `ManifestDraft`.
    pub fn group_remove(&self, name: &str, peer: &str, mode: Mode) -> Result<TrustChange, Error> {
        let scope = self.group(name)?;
        let peer = self.peer_to_remove(peer)?;
        let mut change = TrustChange::of(&peer);
        let transaction = self.state.transaction()?;
        self.put_out(&scope, &peer, &mut change)?;
        self.conclude(transaction, mode)?;
        Ok(change)
    }

    /// Deletes a group that nothing is shared with. What members have read and what stores hold of it stays there.
    ///
    /// # Errors
    /// `UnknownGroup`; `GroupInUse` as of the last commit.
    pub fn group_delete(&self, name: &str, mode: Mode) -> Result<GroupShown, Error> {
        let group = self.group_show(name)?;
        if group.records > 0 {
            return Err(Error::GroupInUse { name: name.into(), records: group.records });
        }
        if mode == Mode::DryRun {
            return Ok(group);
        }
        let scope = self.group(name)?;
        // The store first: after a crash in between, the next publish makes it again from the state.
        self.drop_own_store_scope(&scope.row.id)?;
        let transaction = self.state.transaction()?;
        self.drop_scope_state(&scope.row)?;
        self.state.retire(&scope.row.id)?;
        database::commit(transaction)?;
        self.forget_database();
        Ok(group)
    }

    /// Lists the groups by name.
    ///
    /// # Errors
    /// `State`, `Manifest`.
    pub fn groups(&self) -> Result<Vec<GroupShown>, Error> {
        let scopes = self.open_scopes_of(&self.id())?;
        scopes.iter().filter(|scope| scope.row.name.group().is_some()).map(|scope| self.shown(scope)).collect()
    }

    /// Shows a group.
    ///
    /// # Errors
    /// `UnknownGroup`.
    pub fn group_show(&self, name: &str) -> Result<GroupShown, Error> {
        self.shown(&self.group(name)?)
    }

    fn group(&self, name: &str) -> Result<OpenScope, Error> {
        if let Some(scope) = self.own_scope(&scope_of(name)?)? {
            return Ok(scope);
        }
        let known = self.groups()?.into_iter().map(|group| group.name).collect();
        Err(Error::UnknownGroup { name: name.into(), known })
    }

    /// Opens one of our scopes by name.
    pub(super) fn own_scope(&self, name: &ScopeName) -> Result<Option<OpenScope>, Error> {
        Ok(self.open_scopes_of(&self.id())?.into_iter().find(|scope| scope.row.name == *name))
    }

    fn shown(&self, scope: &OpenScope) -> Result<GroupShown, Error> {
        let manifest = &scope.manifest;
        let mut members = Vec::new();
        for id in manifest.readers().into_iter().filter(|id| *id != self.id()) {
            members.push(Member {
                name: self.instance_label(&id)?,
                id,
                writes: manifest.may_write(&id),
                since_epoch: manifest.granted_since(&id).expect("a reader is granted an epoch"),
            });
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let head = scope.row.local_head.map(|id| self.state.known_commit(&scope.row.id, &id)).transpose()?;
        Ok(GroupShown {
            name: scope.row.name.group().expect("it is a group's scope").to_owned(),
            scope: scope.row.name.clone(),
            members,
            records: head.map_or(0, |head| head.commit.records()),
            epoch: manifest.newest_epoch().number,
        })
    }

    /// Removes the documents of a scope from our own store; its objects go with the next publish.
    pub(super) fn drop_own_store_scope(&self, scope: &crate::id::bytes::ScopeId) -> Result<(), Error> {
        self.state.set_meta(OWN_STORE_KEY, "due")?;
        let dir = self.dir().join("store").join("scopes").join(scope.to_string());
        disk::remove_tree(&dir).map_err(Error::io("remove", &dir))
    }
}

/// Words that mean another scope: a group of that name would be taken for it.
const RESERVED: &[&str] = &["private", "public", "trusted"];

fn scope_of(name: &str) -> Result<ScopeName, Error> {
    Ok(ScopeName::new(&format!("group:{name}"))?)
}
