//! Records that refer to each other in a circle none of whose references can be left open: they are written at once, and the
//! database checks its foreign keys when all of them are there.
//!
//! Each of them waits for the next until the last one comes. Then one is written with a reference to nothing, the others from
//! there on, and the reference is set. It works where one foreign key of the circle can be checked late.

use std::collections::HashSet;

use super::apply::{Apply, Done, Fail};
use super::books::STUB;
use super::key::Key;
use super::plan::Plan;
use crate::connector::contract::Content;
use crate::record::recordid::RecordId;
use crate::scope::audience::{Audience, Reason};

/// The most records of one circle that are written at once.
const RECORDS_MAX: usize = 32;

/// A record of a circle.
struct Member {
    dataset: usize,
    id: RecordId,
    content: Content,
}

impl Apply<'_> {
    /// Writes the circle that a record closes, which waits as all others of it do; if there is none, nothing.
    pub(super) fn close_circle(&mut self, dataset: usize, id: &RecordId) -> Result<(), Fail> {
        if self.plans.list[dataset].circle.is_none() {
            return Ok(());
        }
        let Some(mut members) = self.circle_of(dataset, id)? else { return Ok(()) };
        // The foreign key that is checked late may be that of any of them.
        for _ in 0..members.len() {
            let origins = self.books.origins.len();
            let written = self.whole(|apply| apply.write_circle(&members))?;
            self.tied.clear();
            self.conn.defer_no_more()?;
            match written {
                Ok(()) => {
                    for member in members {
                        self.done(member.dataset, &member.id, Done::Inserted)?;
                    }
                    return Ok(());
                }
                Err(Fail::Refused(_) | Fail::Park { .. } | Fail::Dirty | Fail::Same { .. }) => self.undo(origins),
                Err(fail) => return Err(fail),
            }
            members.rotate_left(1);
        }
        Ok(())
    }

    /// Follows what waits for what until it comes back; the record that is waited for comes before the one that waits.
    fn circle_of(&self, dataset: usize, id: &RecordId) -> Result<Option<Vec<Member>>, Fail> {
        let (mut at, mut next) = (dataset, id.clone());
        let mut members: Vec<Member> = Vec::new();
        while members.len() < RECORDS_MAX && self.plans.list[at].circle == self.plans.list[dataset].circle {
            let Some((content, waits)) = self.waiting_for(at, &next)? else { return Ok(None) };
            members.push(Member { dataset: at, id: next, content });
            if waits == *id {
                members.reverse();
                return Ok(Some(members));
            }
            let Some(parent) = self.plans.index(&waits.dataset) else { return Ok(None) };
            (at, next) = (parent, waits);
        }
        Ok(None)
    }

    fn write_circle(&mut self, members: &[Member]) -> Result<(), Fail> {
        self.conn.defer()?;
        self.tied = members.iter().map(|member| member.id.clone()).collect::<HashSet<_>>();
        for Member { dataset, id, content } in members {
            if self.find(*dataset, id)?.is_some() {
                continue;
            }
            let origin = self.books.intern(self.conn, &id.origin)?;
            let wanted = self.wanted(*dataset, id, content, None, None)?;
            let key = self.insert(*dataset, id, &wanted.raws, content.scope.as_str())?;
            self.write_down(*dataset, id, origin, &key, Audience::Private(Reason::Withheld), STUB, &[])?;
        }
        for Member { dataset, id, content } in members {
            self.put(*dataset, id, content)?;
        }
        self.conn.check_deferred()?;
        self.purge_all()
    }
}

/// Makes a key that stands for a row of a circle which isn't there yet: any that its columns can hold.
pub(super) fn stand_in(parent: &Plan) -> Key {
    match parent.key.0.as_slice() {
        [only] if only.is_integer => Key::Int(0),
        columns => {
            let part = |is_integer| if is_integer { "0" } else { "00000000-0000-0000-0000-000000000000" };
            let parts: Vec<&str> = columns.iter().map(|column| part(column.is_integer)).collect();
            Key::Text(parts.join(",").into())
        }
    }
}
