//! Local names for records whose unique name is taken here.

use super::apply::{Apply, Fail};
use super::key::Key;
use super::plan::{Plan, quote};
use super::put::tail;
use crate::record::recordid::RecordId;

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
        let (table, key) = (&plan.table, quote(&plan.spec.key));
        let column = quote(&plan.fields[index].column);
        let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?1 AND {key} IS DISTINCT FROM ?2");
        Ok(self.conn.exists(&sql, &bind![name, own])?)
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
