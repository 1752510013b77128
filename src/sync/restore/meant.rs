//! For whom an own row is that was edited, after its backup came back: a merge of the row's audience.
//!
//! The row names the audience that it had at the backup, or that somebody chose since. What was narrowed or withdrawn
//! meanwhile must not be published again because of an edit, and what was written where fewer read it must not reach more.

use super::side::Side;
use crate::connector::contract::Base;
use crate::id::name::ScopeName;
use crate::record::recordid::RecordId;
use crate::scope::audience::{Addressees, Audience, Reason};
use crate::sync::error::Error;
use crate::sync::instance::Instance;

/// Where an own record's newest states have it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    /// In this scope.
    In(ScopeName),
    /// In none: it never was in one, or its record was deleted.
    Nowhere,
    /// In none any more: it was taken out of its scope, or the scope lost it.
    TakenOut,
}

/// Decides for whom an edited row is; `holders` are the places where the newest states have its record, or an overlay of it.
pub(super) fn edited(
    instance: &Instance,
    sides: &[Side],
    (id, base): (&RecordId, Base),
    row: &Audience,
    holders: &[(usize, RecordId)],
) -> Result<Audience, Error> {
    let newest = match holders.iter().find(|(_, piece)| piece == id) {
        Some((index, _)) => Home::In(sides[*index].open.row.name.clone()),
        None if was_taken_out(instance, sides, id)? => Home::TakenOut,
        None => Home::Nowhere,
    };
    let mut then = None;
    for side in of(sides, id) {
        if side.at(instance, side.known(base).or(side.base.as_ref()), id)?.is_some() {
            then = Some(&side.open.row.name);
        }
    }
    Ok(meant(row, then, &newest, &instance.addressees()?))
}

/// Tells whether a record that no newest state has left its scope otherwise than by being deleted, or may have.
pub(super) fn was_taken_out(instance: &Instance, sides: &[Side], id: &RecordId) -> Result<bool, Error> {
    let (mut was_shared, mut may_be) = (false, false);
    for side in of(sides, id) {
        was_shared = was_shared || side.was_there(instance, id)?;
        may_be |= side.standing.lost;
        may_be = may_be || instance.state.withdrawn(&side.open.row.id, &id.dataset)?.contains(&id.key);
    }
    Ok(was_shared && may_be)
}

fn of<'a>(sides: &'a [Side], id: &RecordId) -> impl Iterator<Item = &'a Side> {
    sides.iter().filter(|side| side.open.row.origin == id.origin)
}

/// Merges the audience of a row with that of its record.
///
/// `then` is the scope that the record was in when the row was last in step with it, if that is known. Where only the row
/// has moved since, the row counts; else whoever both the row and the record are for, and nobody if that can't be said.
fn meant(row: &Audience, then: Option<&ScopeName>, newest: &Home, addressees: &Addressees) -> Audience {
    match newest {
        Home::Nowhere => row.clone(),
        Home::TakenOut => row.clone().capped_by(&Audience::Private(Reason::Chosen), addressees),
        Home::In(newest) if then == Some(newest) => row.clone(),
        Home::In(newest) => row.clone().capped_by(&Audience::Shared(newest.clone()), addressees),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::id::name::PeerName;

    /// The scopes whose rows a table names by a letter: public, trusted, one peer that is trusted, a group.
    fn scope(letter: char) -> Option<ScopeName> {
        let name = match letter {
            'p' => "public",
            't' => "trusted",
            'g' => "group:board",
            'o' => return ScopeName::peers(&[PeerName::new("a").unwrap()].into()),
            _ => return None,
        };
        Some(ScopeName::new(name).unwrap())
    }

    #[test]
    fn an_edit_reaches_nobody_whom_row_or_record_leave_out() {
        let members = BTreeMap::from([
            (scope('t').unwrap(), ["a", "b"].map(|name| PeerName::new(name).unwrap()).into()),
            (scope('g').unwrap(), ["b", "c"].map(|name| PeerName::new(name).unwrap()).into()),
        ]);
        let peers = ["a", "b", "c"].map(|name| PeerName::new(name).unwrap()).into();
        let addressees = Addressees { members, peers };
        // The row's scope, the record's then and now (x: taken out, -: none), and for whom it is.
        let table = [
            "ppp p", "tpp t", "-pp -", "ppt t", "ppx -", "pp- p", "ppo o", "tpo o", "opt o", "gpt -", "p-t t", "t-p t",
            "ttp t", "-tp -", "ptt p", "ott o", "gtt g", "p-- p", "p-x -", "ttx -", "t-- t", "pgg p", "tgp t", "ptp p",
        ];
        for line in table {
            let letters: Vec<char> = line.chars().collect();
            let row = scope(letters[0]).map_or(Audience::Private(Reason::Chosen), Audience::Shared);
            let newest = match letters[2] {
                'x' => Home::TakenOut,
                letter => scope(letter).map_or(Home::Nowhere, Home::In),
            };
            let found = meant(&row, scope(letters[1]).as_ref(), &newest, &addressees);
            assert_eq!(found.scope(), scope(letters[4]).as_ref(), "{line}");
        }
    }
}
