//! Rotation: a new key for one of our scopes, and letting the old ones go.
//!
//! Old epochs may go only when nothing that is live needs them: the fresh ladder was published, every writer's head is sealed
//! to what stays, and every remote has been pushed to since. So the order is: a manifest with the new epoch, a head sealed
//! to it, a push to each remote, a manifest without the old epochs. Whoever reads any remote at any time finds keys for what
//! lies there.

use super::commit::Mode;
use super::error::Error;
use super::instance::Instance;
use super::scopes::OpenScope;
use crate::exchange::head::Head;
use crate::scope::manifest::draft::DraftError;
use crate::state::database;
use crate::state::forgotten::Reseal;

/// Whether what was sealed before is sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resealing {
    /// No: the new key is for what comes.
    Never,
    /// Yes: the next publish makes a fresh ladder, and later the old keys go.
    AtNextPush,
}

/// A rotation.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Rotated {
    /// The scope.
    pub scope: String,
    /// The number of its new key.
    pub epoch: u32,
    /// Who has it, besides us.
    pub readers: Vec<String>,
    /// Whether the scope is sealed anew.
    pub reseal: bool,
}

impl Instance {
    /// Starts a new epoch of one of our scopes for the readers that it has.
    ///
    /// # Errors
    /// `NotFound`; `ForeignScope`; `ManifestDraft`, also if the scope is public.
    pub fn scope_rotate(&self, label: &str, resealing: Resealing, mode: Mode) -> Result<Rotated, Error> {
        let open = self.scopes_labelled(Some(label))?.into_iter().next();
        let scope = open.ok_or_else(|| Error::NotFound { what: format!("scope {label:?}") })?;
        if scope.row.origin != self.id() {
            return Err(Error::ForeignScope { scope: label.into() });
        }
        if scope.manifest.public {
            let source = DraftError::Public { scope: scope.row.id };
            return Err(Error::ManifestDraft { scope: label.into(), source });
        }
        let readers = self.other_readers(&scope, &[])?;
        let epoch = scope.manifest.newest_epoch().number + 1;
        let transaction = self.state.transaction()?;
        self.change_scope(&scope, |draft| draft.new_epoch(&readers))?;
        if resealing == Resealing::AtNextPush {
            self.state.mark_refold(&scope.row.id)?;
            self.state.put_reseal(&scope.row.id, &Reseal { epoch, since: None })?;
        }
        self.conclude(transaction, mode)?;
        let mut names: Vec<String> =
            readers.iter().map(|reader| self.instance_label(&reader.instance)).collect::<Result<_, _>>()?;
        names.sort();
        let reseal = resealing == Resealing::AtNextPush;
        Ok(Rotated { scope: label.into(), epoch, readers: names, reseal })
    }

    /// Lets the old epochs of a scope go, if that was asked for and nothing needs them any more. Returns the scope as it is
    /// then.
    pub(super) fn drop_old_epochs(&self, scope: OpenScope) -> Result<OpenScope, Error> {
        let id = scope.row.id;
        let Some(reseal) = self.state.reseal(&id)? else { return Ok(scope) };
        if scope.row.origin != self.id() || self.state.refold_due(&id)? {
            return Ok(scope);
        }
        let Some(own) = self.state.head(&id, &self.id())? else { return Ok(scope) };
        let damaged = |error| crate::state::error::Error::damaged(format!("a tracked head: {error}"));
        let published = self.state.known_commit(&id, &own.commit)?;
        for head in self.state.heads(&id)? {
            let (opened, _) = Head::open(&head.document, &head.signer).map_err(damaged)?;
            let merged = published.commit.clock.seen(&head.signer, head.incarnation) >= head.writes;
            let live = head.signer == self.id() || scope.manifest.may_write(&head.signer) && !merged;
            if live && opened.epoch < reseal.epoch {
                return Ok(scope);
            }
        }
        let since = match reseal.since {
            Some(since) => since,
            None => {
                self.state.put_reseal(&id, &Reseal { since: Some(own.received), ..reseal })?;
                own.received
            }
        };
        if !self.state.remotes()?.iter().all(|remote| remote.pushed.is_some_and(|pushed| pushed >= since)) {
            return Ok(scope);
        }
        let transaction = self.state.transaction()?;
        self.change_scope(&scope, |draft| {
            draft.drop_epochs_before(reseal.epoch);
            Ok(())
        })?;
        self.state.clear_reseal(&id)?;
        database::commit(transaction)?;
        let row = self.scope_row(&id)?;
        Ok(self.open_scope(row)?.expect("the origin reads its own scope"))
    }
}
