//! Local names for records whose unique name is taken here.

use super::ahead::Taken;
use super::apply::{Apply, Fail};
use super::books::Books;
use super::connector::SqlConnector;
use super::key::{Key, bound};
use super::plan::{Plan, Plans, quote};
use super::put::tail;
use super::raw::{Bind, Raw};
use super::session::{Session, SqlError};
use crate::connector::error::Error;
use crate::record::recordid::RecordId;

/// Why a row shows an alias.
pub(super) const REASON: &str = "the name is taken here";

impl SqlConnector {
    /// See `Connector::wants`.
    pub(super) fn freed_names(&self) -> Result<Vec<RecordId>, Error> {
        let doing = "look for names that are free again";
        let books = self.books(doing)?;
        freed(self.session(), &self.plans, &books).map_err(|source| self.failed(doing, source))
    }
}

/// Finds the records that show an alias though no row seems to have their name any more. An alias tells the name but for
/// capitals and a few characters; whoever writes the record looks again.
fn freed(conn: &dyn Session, plans: &Plans, books: &Books) -> Result<Vec<RecordId>, SqlError> {
    let mut freed = Vec::new();
    for (dataset, plan) in plans.list.iter().enumerate() {
        let Some(index) = plan.spec.alias.as_ref().and_then(|alias| plan.field(alias)) else { continue };
        let sql = "SELECT m.origin, m.record, o.shown FROM _wbsync_override o
                   JOIN _wbsync_map m ON m.dataset = o.dataset AND m.key = o.key
                   WHERE o.dataset = ?1 AND o.field = ?2 AND o.reason = ?3 ORDER BY o.key";
        let (number, field) = (books.datasets[dataset], plan.fields[index].name.as_str());
        let shown = conn.all(sql, &bind![number, field, REASON], |row| {
            Ok((row.get::<i64>(0)?, row.get(1)?, conn.unpack(row.raw(2)?)))
        })?;
        let column = quote(&plan.fields[index].columns.0[0].name);
        let sql = format!("SELECT 1 FROM {} WHERE {column} = ?1", plan.table);
        for (origin, record, shown) in shown {
            if let Some(Raw::Text(alias)) = shown
                && let Some((name, _)) = alias.rsplit_once('@')
                && !conn.exists(&sql, &bind![name])?
            {
                freed.push(books.record_id(plans, dataset, origin, record));
            }
        }
    }
    Ok(freed)
}

impl Apply<'_> {
    /// Returns `name` if no other row has it, else `name@peer`, else `name@peer-<4 hex>`.
    pub(super) fn free_name(
        &self,
        plan: &Plan,
        index: usize,
        name: &str,
        id: &RecordId,
        own: Option<&Key>,
    ) -> Result<String, Fail> {
        if !self.is_taken(plan, index, name, own)? {
            return Ok(name.to_owned());
        }
        let peer = self.names.get(&id.origin).map_or_else(|| id.origin.short(), ToString::to_string);
        let plain = format!("{}@{peer}", tame(name));
        let candidates = [plain.clone(), format!("{plain}-{}", tail(id, 4)), format!("{plain}-{}", tail(id, 16))];
        for candidate in candidates {
            if !self.is_taken(plan, index, &candidate, own)? {
                return Ok(candidate);
            }
        }
        Err(Fail::park(format!("the name {name:?} and its aliases are taken here")))
    }

    fn is_taken(&self, plan: &Plan, index: usize, name: &str, own: Option<&Key>) -> Result<bool, Fail> {
        match self.ahead.taken(plan, name, own) {
            Taken::Yes => return Ok(true),
            Taken::No => return Ok(false),
            Taken::Unknown => {}
        }
        let column = quote(&plan.fields[index].columns.0[0].name);
        let sql = format!("SELECT 1 FROM {} WHERE {column} = ?1", plan.table);
        let Some(own) = own else { return Ok(self.conn.exists(&sql, &bind![name])?) };
        let given = plan.key.given(own);
        let values: Vec<_> = [name.bind()].into_iter().chain(bound(&given)).collect();
        Ok(self.conn.exists(&format!("{sql} AND NOT ({})", plan.key.test(self.conn, 2)), &values)?)
    }
}

/// Makes a name that is safe in addresses and mentions.
fn tame(name: &str) -> String {
    let tame = |c: char| if c.is_whitespace() || c.is_control() || matches!(c, '/' | '?' | '#') { '-' } else { c };
    name.to_lowercase().chars().map(tame).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_hold_nothing_that_breaks_addresses() {
        assert_eq!(tame("Al ice/B?#\nC"), "al-ice-b---c");
    }
}
