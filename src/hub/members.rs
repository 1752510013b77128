//! The members of a hub, their invitations and what they store: `hub/members.db` in the store's directory.
//!
//! No keys lie here, only public ids and hashes of invitations. The commands of `wbsync hub` write it while a hub runs.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use crate::hub::error::Error;
use crate::hub::limits::QUOTA_BYTES;
use crate::id::bytes::{InstanceId, ObjectId, RecordKey};
use crate::sys::clock::UnixMillis;
use crate::sys::{disk, random};
use crate::transport::strays::HUB_DIR;

/// What a member may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Read what it is granted.
    Reader,
    /// Also store its own, and what it may read.
    Writer,
    /// Also see and remove objects of others.
    Admin,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Member {
    /// Its id.
    pub id: InstanceId,
    /// What it may do.
    pub role: Role,
    /// How many bytes of objects it may store.
    pub quota_bytes: u64,
    /// How many it does.
    pub used_bytes: u64,
    /// Since when it is one.
    pub added: UnixMillis,
}

/// An invitation as it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invitation {
    /// What whoever uses it may do.
    pub role: Role,
    /// How often it may be used.
    pub uses: u32,
    /// When it ends.
    pub expires: UnixMillis,
}

/// The list of members.
#[derive(Debug)]
pub struct Members {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Members {
    /// Opens the list of the store in `store_dir`, making it if there is none.
    ///
    /// # Errors
    /// `Members`, `NewerMembers`.
    pub fn open(store_dir: &Path) -> Result<Self, Error> {
        let dir = store_dir.join(HUB_DIR);
        let path = dir.join("members.db");
        let failed = |source| Error::Members { path: path.clone(), source };
        let made = disk::create_dir_in_parent(&dir);
        made.map_err(|error| failed(rusqlite::Error::ToSqlConversionFailure(Box::new(error))))?;
        let connection = Connection::open(&path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(10)).map_err(failed)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL").map_err(failed)?;
        let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
        match found {
            0 => connection.execute_batch(SCHEMA).map_err(failed)?,
            FORMAT => {}
            found => return Err(Error::NewerMembers { path, found }),
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Returns a member.
    ///
    /// # Errors
    /// `Members`.
    pub fn member(&self, id: &InstanceId) -> Result<Option<Member>, Error> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(&format!("{SELECT} WHERE id = ?1")).map_err(self.failed())?;
        select.query_row([&id.as_bytes()[..]], member_of).optional().map_err(self.failed())
    }

    /// Returns what a member may do.
    ///
    /// # Errors
    /// `Members`.
    pub fn role(&self, id: &InstanceId) -> Result<Option<Role>, Error> {
        let connection = self.lock();
        let mut select = connection.prepare_cached("SELECT role FROM member WHERE id = ?1").map_err(self.failed())?;
        select.query_row([&id.as_bytes()[..]], |row| Ok(role_of(row.get(0)?))).optional().map_err(self.failed())
    }

    /// Returns all members, by id.
    ///
    /// # Errors
    /// `Members`.
    pub fn list(&self) -> Result<Vec<Member>, Error> {
        let connection = self.lock();
        let mut select = connection.prepare_cached(&format!("{SELECT} ORDER BY id")).map_err(self.failed())?;
        select.query_map([], member_of).and_then(Iterator::collect).map_err(self.failed())
    }

    /// Makes an instance a member, or changes what it may do.
    ///
    /// # Errors
    /// `Members`.
    pub fn allow(&self, id: &InstanceId, role: Role, now: UnixMillis) -> Result<(), Error> {
        let sql = "INSERT INTO member (id, role, added) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET role = ?2";
        self.lock().execute(sql, params![&id.as_bytes()[..], role as u8, millis(now)]).map(drop).map_err(self.failed())
    }

    /// Ends a membership. What the instance stored stays.
    ///
    /// # Errors
    /// `NoMember`, `Members`.
    pub fn deny(&self, id: &InstanceId) -> Result<(), Error> {
        let sql = "DELETE FROM member WHERE id = ?1";
        match self.lock().execute(sql, [&id.as_bytes()[..]]).map_err(self.failed())? {
            0 => Err(Error::NoMember { id: *id }),
            _ => Ok(()),
        }
    }

    /// Sets how many bytes of objects a member may store.
    ///
    /// # Errors
    /// `NoMember`, `Members`.
    pub fn set_quota(&self, id: &InstanceId, bytes: u64) -> Result<(), Error> {
        let sql = "UPDATE member SET quota = ?2 WHERE id = ?1";
        match self.lock().execute(sql, params![&id.as_bytes()[..], int(bytes)]).map_err(self.failed())? {
            0 => Err(Error::NoMember { id: *id }),
            _ => Ok(()),
        }
    }

    /// Makes an invitation and returns its token, which is kept nowhere.
    ///
    /// # Errors
    /// `Members`.
    pub fn invite(&self, invitation: &Invitation) -> Result<String, Error> {
        let [first, second] = [(); 2].map(|()| RecordKey::from_bytes(random::bytes()));
        let token = format!("{TOKEN_PREFIX}{first}{second}");
        let sql = "INSERT INTO invitation (hash, role, uses, expires) VALUES (?1, ?2, ?3, ?4)";
        let Invitation { role, uses, expires } = *invitation;
        let values = params![&hash_of(&token)[..], role as u8, uses, millis(expires)];
        self.lock().execute(sql, values).map_err(self.failed())?;
        Ok(token)
    }

    /// Uses an invitation; `None` if it doesn't count. A member keeps the role that it has, and uses nothing up.
    ///
    /// # Errors
    /// `Members`.
    pub fn join(&self, token: &str, id: &InstanceId, now: UnixMillis) -> Result<Option<Role>, Error> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.failed())?;
        let member = transaction.query_row(&format!("{SELECT} WHERE id = ?1"), [&id.as_bytes()[..]], member_of);
        if let Some(member) = member.optional().map_err(self.failed())? {
            return Ok(Some(member.role));
        }
        let sql = "UPDATE invitation SET uses = uses - 1 WHERE hash = ?1 AND uses > 0 AND expires > ?2 RETURNING role";
        let found = transaction
            .query_row(sql, params![&hash_of(token)[..], millis(now)], |row| Ok(role_of(row.get(0)?)))
            .optional()
            .map_err(self.failed())?;
        let Some(role) = found else { return Ok(None) };
        let sql = "INSERT INTO member (id, role, added) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        transaction.execute(sql, params![&id.as_bytes()[..], role as u8, millis(now)]).map_err(self.failed())?;
        transaction.commit().map_err(self.failed())?;
        Ok(Some(role))
    }

    /// Returns the directory of the hub's own files.
    pub fn dir(&self) -> &Path {
        self.path.parent().expect("the list lies in a directory")
    }

    /// Counts an object towards a member's quota before it is stored; tells whether there is room for it.
    ///
    /// What is counted for a part of it already counts once.
    ///
    /// # Errors
    /// `Members`.
    pub fn reserve(&self, id: &InstanceId, object: &ObjectId, bytes: u64) -> Result<bool, Error> {
        let mut connection = self.lock();
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(self.failed())?;
        let member = transaction.query_row(&format!("{SELECT} WHERE id = ?1"), [&id.as_bytes()[..]], member_of);
        let fits = match member.optional().map_err(self.failed())? {
            Some(member) => {
                let part = undone(&transaction, id, object).map_err(self.failed())?;
                member.used_bytes.saturating_sub(part).saturating_add(bytes) <= member.quota_bytes
            }
            None => false,
        };
        if fits {
            let sql = "INSERT INTO stored (object, member, bytes, done) VALUES (?1, ?2, ?3, 0)
                ON CONFLICT DO UPDATE SET bytes = ?3 WHERE member = ?2 AND done = 0";
            let values = params![&object.as_bytes()[..], &id.as_bytes()[..], int(bytes)];
            transaction.execute(sql, values).map_err(self.failed())?;
            transaction.commit().map_err(self.failed())?;
        }
        Ok(fits)
    }

    /// Returns how many bytes are counted for uploads of these objects by this member that haven't ended.
    ///
    /// # Errors
    /// `Members`.
    pub fn undone_bytes<'a>(
        &self,
        id: &InstanceId,
        objects: impl IntoIterator<Item = &'a ObjectId>,
    ) -> Result<u64, Error> {
        let connection = self.lock();
        let counted = objects.into_iter().map(|object| undone(&connection, id, object));
        counted.sum::<rusqlite::Result<u64>>().map_err(self.failed())
    }

    /// Counts only what came of an object whose upload by this member broke off.
    ///
    /// # Errors
    /// `Members`.
    pub fn keep_part(&self, id: &InstanceId, object: &ObjectId, bytes: u64) -> Result<(), Error> {
        let sql = "UPDATE stored SET bytes = ?3 WHERE object = ?1 AND member = ?2 AND done = 0";
        let values = params![&object.as_bytes()[..], &id.as_bytes()[..], int(bytes)];
        self.lock().execute(sql, values).map(drop).map_err(self.failed())
    }

    /// Notes that an object is stored now, by this member or by the store's owner.
    ///
    /// # Errors
    /// `Members`.
    pub fn stored(&self, object: &ObjectId, by: Option<&InstanceId>, bytes: u64) -> Result<(), Error> {
        let connection = self.lock();
        // Whoever was sending it too needn't go on.
        let done = match by {
            None => connection.execute("DELETE FROM stored WHERE object = ?1 AND done = 0", [&object.as_bytes()[..]]),
            Some(id) => {
                let sql = "INSERT INTO stored (object, member, bytes, done) VALUES (?1, ?2, ?3, 1)
                    ON CONFLICT DO UPDATE SET member = ?2, bytes = ?3, done = 1 WHERE done = 0";
                connection.execute(sql, params![&object.as_bytes()[..], &id.as_bytes()[..], int(bytes)])
            }
        };
        done.map(drop).map_err(self.failed())
    }

    /// Counts an object no more whose upload by this member failed.
    ///
    /// # Errors
    /// `Members`.
    pub fn release_undone(&self, id: &InstanceId, object: &ObjectId) -> Result<(), Error> {
        let sql = "DELETE FROM stored WHERE object = ?1 AND member = ?2 AND done = 0";
        let values = params![&object.as_bytes()[..], &id.as_bytes()[..]];
        self.lock().execute(sql, values).map(drop).map_err(self.failed())
    }

    /// Counts an object no more that isn't held any more.
    ///
    /// # Errors
    /// `Members`.
    pub fn release(&self, object: &ObjectId) -> Result<(), Error> {
        let sql = "DELETE FROM stored WHERE object = ?1";
        self.lock().execute(sql, [&object.as_bytes()[..]]).map(drop).map_err(self.failed())
    }

    /// Tells whether the member was the one to store this object.
    ///
    /// # Errors
    /// `Members`.
    pub fn has_stored(&self, id: &InstanceId, object: &ObjectId) -> Result<bool, Error> {
        let connection = self.lock();
        let sql = "SELECT EXISTS (SELECT 1 FROM stored WHERE object = ?1 AND member = ?2)";
        let mut select = connection.prepare_cached(sql).map_err(self.failed())?;
        select.query_row([&object.as_bytes()[..], &id.as_bytes()[..]], |row| row.get(0)).map_err(self.failed())
    }

    /// Counts no more what isn't there: objects that garbage collection took, and uploads that a crash ended. `size_of` tells
    /// the size of an object that is held, and `part_of` how much of it a member has sent.
    ///
    /// Only while nothing is being uploaded.
    ///
    /// # Errors
    /// `Members`.
    pub fn recount(
        &self,
        size_of: impl Fn(&ObjectId) -> Option<u64>,
        part_of: impl Fn(&InstanceId, &ObjectId) -> u64,
    ) -> Result<(), Error> {
        let counted: Vec<(Vec<u8>, Vec<u8>)> = {
            let connection = self.lock();
            let mut select = connection.prepare("SELECT object, member FROM stored").map_err(self.failed())?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
            rows.and_then(Iterator::collect).map_err(self.failed())?
        };
        for (object, member) in counted {
            let (Some(object), Some(member)) = (ObjectId::from_slice(&object), InstanceId::from_slice(&member)) else {
                continue;
            };
            match (size_of(&object), part_of(&member, &object)) {
                (Some(size), _) => self.stored(&object, Some(&member), size)?,
                (None, 0) => self.release(&object)?,
                (None, part) => self.keep_part(&member, &object, part)?,
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic of another thread leaves at most a transaction that SQLite takes back.
        self.connection.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn failed(&self) -> impl Fn(rusqlite::Error) -> Error + '_ {
        |source| Error::Members { path: self.path.clone(), source }
    }
}

fn undone(connection: &Connection, id: &InstanceId, object: &ObjectId) -> rusqlite::Result<u64> {
    let sql = "SELECT bytes FROM stored WHERE object = ?1 AND member = ?2 AND done = 0";
    let mut select = connection.prepare_cached(sql)?;
    let found = select.query_row([&object.as_bytes()[..], &id.as_bytes()[..]], |row| row.get::<_, i64>(0));
    Ok(found.optional()?.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0))
}

fn member_of(row: &Row<'_>) -> rusqlite::Result<Member> {
    let id: Vec<u8> = row.get(0)?;
    let id = InstanceId::from_slice(&id).ok_or(rusqlite::Error::InvalidQuery)?;
    let (quota, used, added): (Option<i64>, i64, i64) = (row.get(2)?, row.get(3)?, row.get(4)?);
    Ok(Member {
        id,
        role: role_of(row.get(1)?),
        quota_bytes: quota.map_or(QUOTA_BYTES, |bytes| u64::try_from(bytes).unwrap_or(0)),
        used_bytes: u64::try_from(used).unwrap_or(0),
        added: UnixMillis(u64::try_from(added).unwrap_or(0)),
    })
}

fn role_of(number: u8) -> Role {
    match number {
        2 => Role::Admin,
        1 => Role::Writer,
        _ => Role::Reader,
    }
}

fn hash_of(token: &str) -> [u8; 32] {
    blake3::derive_key("wbsync 2026 hub invitation v1", token.trim().as_bytes())
}

fn millis(time: UnixMillis) -> i64 {
    int(time.0)
}

fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// How a token begins, so that it is recognised where it shouldn't be.
pub const TOKEN_PREFIX: &str = "wbsync-invite1:";
const FORMAT: u32 = 1;
const SELECT: &str =
    "SELECT id, role, quota, (SELECT coalesce(sum(bytes), 0) FROM stored WHERE member = member.id), added FROM member";
const SCHEMA: &str = "BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS member (id BLOB PRIMARY KEY, role INTEGER NOT NULL, quota INTEGER, added INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS invitation (hash BLOB PRIMARY KEY, role INTEGER NOT NULL, uses INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS stored (object BLOB PRIMARY KEY, member BLOB NOT NULL, bytes INTEGER NOT NULL, done INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stored_by ON stored (member, bytes);
PRAGMA user_version = 1;
COMMIT;";

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHA: InstanceId = InstanceId::from_bytes([1; 32]);
    const BETA: InstanceId = InstanceId::from_bytes([2; 32]);
    const NOW: UnixMillis = UnixMillis(1000);

    fn members() -> (tempfile::TempDir, Members) {
        let dir = tempfile::tempdir().unwrap();
        let members = Members::open(dir.path()).unwrap();
        (dir, members)
    }

    #[test]
    fn an_invitation_counts_once_and_not_too_late() {
        let (dir, members) = members();
        let once = Invitation { role: Role::Writer, uses: 1, expires: UnixMillis(2000) };
        let token = members.invite(&once).unwrap();
        assert_eq!(members.join("wbsync-invite1:00", &ALPHA, NOW).unwrap(), None);
        assert_eq!(members.join(&token, &ALPHA, NOW).unwrap(), Some(Role::Writer));
        assert_eq!(members.join(&token, &ALPHA, NOW).unwrap(), Some(Role::Writer), "it is a member already");
        assert_eq!(members.join(&token, &BETA, NOW).unwrap(), None, "it is used up");
        let late = members.invite(&once).unwrap();
        assert_eq!(members.join(&late, &BETA, UnixMillis(2000)).unwrap(), None);
        let role = Members::open(dir.path()).unwrap().role(&ALPHA).unwrap();
        assert_eq!(role, Some(Role::Writer));
        let file = std::fs::read(dir.path().join("hub/members.db")).unwrap();
        assert!(!file.windows(token.len()).any(|part| part == token.as_bytes()), "the token is kept");
    }

    #[test]
    fn a_quota_is_never_exceeded_and_given_back() {
        let (_dir, members) = members();
        let object = |n| ObjectId::from_bytes([n; 32]);
        assert!(!members.reserve(&ALPHA, &object(1), 1).unwrap(), "no member has no quota");
        members.allow(&ALPHA, Role::Writer, NOW).unwrap();
        members.set_quota(&ALPHA, 100).unwrap();
        assert!(members.reserve(&ALPHA, &object(1), 60).unwrap());
        assert!(!members.reserve(&ALPHA, &object(2), 41).unwrap());
        members.release_undone(&ALPHA, &object(1)).unwrap();
        assert!(members.reserve(&ALPHA, &object(2), 100).unwrap());
        members.stored(&object(2), Some(&ALPHA), 100).unwrap();
        members.release_undone(&ALPHA, &object(2)).unwrap();
        assert_eq!(members.member(&ALPHA).unwrap().unwrap().used_bytes, 100, "it was stored");
        members.recount(|_| None, |_, _| 0).unwrap();
        assert_eq!(members.list().unwrap()[0].used_bytes, 0);
    }

    #[test]
    fn a_part_counts_for_what_it_has_and_never_twice() {
        let (_dir, members) = members();
        let object = ObjectId::from_bytes([1; 32]);
        let used = |id| members.member(id).unwrap().unwrap().used_bytes;
        for id in [&ALPHA, &BETA] {
            members.allow(id, Role::Writer, NOW).unwrap();
            members.set_quota(id, 100).unwrap();
        }
        assert!(members.reserve(&ALPHA, &object, 90).unwrap());
        members.keep_part(&ALPHA, &object, 40).unwrap();
        assert_eq!((used(&ALPHA), members.undone_bytes(&ALPHA, [&object]).unwrap()), (40, 40));
        members.recount(|_| None, |_, _| 35).unwrap();
        assert_eq!(used(&ALPHA), 35);
        assert!(members.reserve(&ALPHA, &object, 90).unwrap(), "the part is in it");
        assert_eq!(used(&ALPHA), 90);
        members.keep_part(&ALPHA, &object, 40).unwrap();
        assert!(members.reserve(&BETA, &object, 90).unwrap());
        members.stored(&object, Some(&BETA), 90).unwrap();
        assert_eq!((used(&ALPHA), used(&BETA)), (0, 90), "who brought all of it has it");
        members.recount(|_| Some(90), |_, _| 0).unwrap();
        assert_eq!(used(&BETA), 90);
    }

    #[test]
    fn who_is_denied_is_no_member() {
        let (_dir, members) = members();
        members.allow(&ALPHA, Role::Reader, NOW).unwrap();
        members.allow(&ALPHA, Role::Admin, NOW).unwrap();
        assert_eq!(members.role(&ALPHA).unwrap(), Some(Role::Admin));
        members.deny(&ALPHA).unwrap();
        assert_eq!(members.role(&ALPHA).unwrap(), None);
        assert!(matches!(members.deny(&ALPHA), Err(Error::NoMember { .. })));
        assert!(matches!(members.set_quota(&ALPHA, 1), Err(Error::NoMember { .. })));
    }
}
