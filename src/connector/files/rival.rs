//! Files of other instances that wait because a file that was born here has their path.
//!
//! Two people who begin with the same files, each in a directory of their own, have two records for each path. Of those
//! that nobody else has yet (the engine knows) the one that came is kept: with the same content ours was one too many;
//! with another ours gets the name of a conflict, and stays.

use rusqlite::params;

use super::aside;
use super::connector::FilesConnector;
use super::section::table;
use crate::connector::error::Error;
use crate::connector::twin::Twin;
use crate::id::bytes::{InstanceId, RecordKey};
use crate::id::name::DatasetName;
use crate::record::recordid::RecordId;

/// How many are dealt with at once; the others are in the next round.
const RIVALS_MAX: i64 = 10_000;

/// Two files for one path.
pub(super) struct Rival {
    pub(super) twin: Twin,
    /// The rows of both.
    own: i64,
    other: i64,
    path: String,
}

impl FilesConnector {
    /// Lists the files of ours that lie where one of another instance is to be.
    pub(super) fn rivals(&self) -> Result<Vec<Rival>, Error> {
        let failed = self.failed("look for files of one path");
        let mut rivals = Vec::new();
        if !self.shadow.conn.table_exists(None, "_wbsync_map").map_err(&failed)? {
            return Ok(rivals);
        }
        for dataset in self.sections.keys() {
            self.rivals_in(dataset, &mut rivals).map_err(&failed)?;
        }
        Ok(rivals)
    }

    fn rivals_in(&self, dataset: &DatasetName, rivals: &mut Vec<Rival>) -> rusqlite::Result<()> {
        let sql = RIVALS.replace("{}", &format!("\"{}\"", table(dataset)));
        let mut statement = self.shadow.conn.prepare_cached(&sql)?;
        let mut rows = statement.query(params![dataset.as_str(), RIVALS_MAX])?;
        while let Some(row) = rows.next()? {
            let id = |origin, key| RecordId { origin, dataset: dataset.clone(), key: RecordKey::from_bytes(key) };
            let Some(origin) = InstanceId::from_slice(&row.get::<_, Vec<u8>>(4)?) else { continue };
            let twin = Twin { own: id(self.context.own, row.get(3)?), other: id(origin, row.get(5)?) };
            if rivals.last().is_none_or(|last| last.twin.own != twin.own) {
                rivals.push(Rival { twin, own: row.get(0)?, other: row.get(1)?, path: row.get(2)? });
            }
        }
        Ok(())
    }

    /// Lets files of others have the places of ours.
    pub(super) fn yield_places(&mut self, twins: &[Twin]) -> Result<(), Error> {
        for rival in self.rivals()?.into_iter().filter(|rival| twins.contains(&rival.twin)) {
            let yielded = self.shadow.at_once(|| self.yield_place(&rival));
            yielded.map_err(self.failed("let a file have its place"))?;
        }
        self.check_out()
    }

    fn yield_place(&self, rival: &Rival) -> rusqlite::Result<()> {
        let dataset = &rival.twin.own.dataset;
        let (conn, table) = (&self.shadow.conn, table(dataset));
        let sql =
            format!("SELECT h.content IS w.content FROM \"{table}\" h, \"{table}\" w WHERE h.id = ?1 AND w.id = ?2");
        if conn.query_row(&sql, [rival.own, rival.other], |row| row.get(0))? {
            conn.execute(&format!("DELETE FROM \"{table}\" WHERE id = ?1"), [rival.own])?;
            let sql = "UPDATE disk SET file = ?3 WHERE dataset = ?1 AND file = ?2";
            conn.execute(sql, params![dataset.as_str(), rival.own, rival.other])?;
            return Ok(());
        }
        // For the same people as before, whatever the rules say of such a name.
        let name = aside::name(&rival.path);
        let ruled = self.sections[dataset].scope_of(&name);
        let sql = format!("UPDATE \"{table}\" SET path = ?2, ruled = ?3 WHERE id = ?1");
        conn.execute(&sql, params![rival.own, name, ruled]).map(drop)
    }
}

/// The rows of files of ours that lie on the disk as they are known, and of others of the same path that don't.
const RIVALS: &str = "
SELECT h.id, w.id, h.path, hm.record, o.instance, wm.record
FROM _wbsync_dataset n
JOIN _wbsync_map wm ON wm.dataset = n.dataset AND wm.origin <> 0
JOIN _wbsync_origin o ON o.origin = wm.origin
JOIN {} w ON w.id = wm.key AND w.content IS NOT NULL
JOIN {} h ON h.path = w.path AND h.id <> w.id
JOIN _wbsync_map hm ON hm.dataset = n.dataset AND hm.key = h.id AND hm.origin = 0
JOIN disk d ON d.dataset = n.name AND d.file = h.id AND d.path = h.path AND d.content IS h.content
WHERE n.name = ?1 AND NOT EXISTS (SELECT 1 FROM disk e WHERE e.dataset = n.name AND e.file = w.id)
ORDER BY h.id, w.id LIMIT ?2";
