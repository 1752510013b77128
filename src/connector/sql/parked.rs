//! Lists the records that wait, for people.

use super::books::Books;
use super::plan::Plans;
use super::same::IS_COVERED;
use super::session::{Session, SqlError};
use crate::connector::applied::Parked;
use crate::id::bytes::RecordKey;

impl Books {
    /// Lists records that wait, at most `limit`, and counts them.
    pub(super) fn parked(
        &self,
        conn: &dyn Session,
        plans: &Plans,
        limit: usize,
    ) -> Result<(Vec<Parked>, u64), SqlError> {
        let waits = format!("w.field = '' AND NOT ({IS_COVERED})");
        let count: i64 =
            conn.only(&format!("SELECT count(*) FROM _wbsync_waiting w WHERE {waits}"), &[], |row| row.get(0))?;
        let sql = format!(
            "SELECT d.name, w.dataset, w.origin, w.record, w.reason FROM _wbsync_waiting w
                   JOIN _wbsync_dataset d USING(dataset) WHERE {waits} ORDER BY w.id LIMIT ?1"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parked = conn.all(&sql, &bind![limit], |row| {
            let number: i64 = row.get(1)?;
            let record: [u8; 16] = row.get(3)?;
            let record = match self.datasets.iter().position(|known| *known == number) {
                Some(dataset) => self.record_id(plans, dataset, row.get(2)?, record).to_string(),
                None => format!("{}/{}", row.str(0)?, RecordKey::from_bytes(record)),
            };
            Ok(Parked { record, reason: row.get(4)? })
        })?;
        Ok((parked, count.unsigned_abs()))
    }
}
