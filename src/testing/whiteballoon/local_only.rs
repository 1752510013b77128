//! Made-up rows of the tables that never travel: sessions, approvals, feed secrets, caches, schedules, biographies.
//!
//! Every text in them carries the canary.

use rusqlite::{Connection, params};

use crate::testing::whiteballoon::maker::Maker;
use crate::testing::whiteballoon::seed::{SeedError, in_table};
use crate::testing::whiteballoon::stamp::{HOUR, spell};

pub(super) fn write(maker: &mut Maker<'_>, db: &Connection) -> Result<(), SeedError> {
    let members = maker.members.len() as u64;
    for user in 0..members {
        sign_in(maker, db, user, members)?;
        if user % 10 == 0 {
            extras(maker, db, user, members)?;
        }
        if user % 100 == 0 {
            schedule(maker, db, user, members)?;
        }
    }
    Ok(())
}

fn sign_in(maker: &mut Maker<'_>, db: &Connection, user: u64, members: u64) -> Result<(), SeedError> {
    let id = maker.id(user);
    let created = maker.time(user, members);
    let [request, session, approval] = [(); 3].map(|()| {
        let id = maker.hex(32);
        maker.secret(id)
    });
    let code = maker.hex(6).to_uppercase();
    let approved = user % 5 != 4;
    let status = if approved { "approved" } else { "pending" };
    let device = maker.secret("Mozilla/5.0 (X11; Linux x86_64)".to_owned());
    db.prepare_cached("INSERT INTO auth_requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .and_then(|mut insert| {
            let expires = spell(created + HOUR / 4);
            insert.execute(params![request, id, status, spell(created), expires, code, device, "192.0.2.7"])
        })
        .map_err(in_table("auth_requests"))?;
    if !approved {
        return Ok(());
    }
    db.prepare_cached("INSERT INTO auth_approvals VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute(params![approval, request, maker.id(0), spell(created + HOUR / 60)]))
        .map_err(in_table("auth_approvals"))?;
    db.prepare_cached("INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1)")
        .and_then(|mut insert| {
            let (expires, seen) = (spell(created + 14 * 24 * HOUR), spell(created + 3 * HOUR));
            insert.execute(params![session, id, spell(created), expires, seen, request])
        })
        .map_err(in_table("sessions"))?;
    Ok(())
}

fn extras(maker: &mut Maker<'_>, db: &Connection, user: u64, members: u64) -> Result<(), SeedError> {
    let id = maker.id(user);
    let created = spell(maker.time(user, members));
    let token = maker.hex(32);
    let token = maker.secret(token);
    db.prepare_cached("INSERT INTO rss_feed_tokens VALUES (?1, ?2, 'requests', ?3, ?4, NULL, NULL, NULL)")
        .and_then(|mut insert| insert.execute(params![maker.id(user / 10), id, token, created]))
        .map_err(in_table("rss_feed_tokens"))?;

    let payload = format!("{{\"root\":{{\"user_id\":{id},\"username\":\"{}\"}}}}", maker.secret("member".to_owned()));
    db.prepare_cached("INSERT INTO invite_map_cache VALUES (?1, ?2, 'v1', ?3)")
        .and_then(|mut insert| insert.execute(params![id, payload, created]))
        .map_err(in_table("invite_map_cache"))?;

    let (biography, hash) = (maker.sentence(true), maker.hex(32));
    db.prepare_cached(
        "INSERT INTO user_profile_highlights VALUES \
         (?1, ?2, '[]', '[]', NULL, NULL, ?3, ?4, NULL, '[]', ?4, NULL, 0, NULL, 0, NULL, ?4, ?4)",
    )
    .and_then(|mut insert| insert.execute(params![id, biography, hash, created]))
    .map_err(in_table("user_profile_highlights"))?;
    Ok(())
}

fn schedule(maker: &mut Maker<'_>, db: &Connection, user: u64, members: u64) -> Result<(), SeedError> {
    let id = maker.id(user / 100);
    let created = maker.time(user, members);
    let (title, description) = (maker.secret("Weekly shopping".to_owned()), maker.sentence(true));
    db.prepare_cached(
        "INSERT INTO recurring_request_templates VALUES (?1, ?2, ?3, ?4, NULL, 'draft', 10080, ?5, NULL, 0, NULL, ?6, ?6)",
    )
    .and_then(|mut insert| {
        let next = spell(created + 7 * 24 * HOUR);
        insert.execute(params![id, maker.id(user), title, description, next, spell(created)])
    })
    .map_err(in_table("recurring_request_templates"))?;

    let message = maker.secret("template owner was away".to_owned());
    db.prepare_cached("INSERT INTO recurring_request_runs VALUES (?1, ?1, NULL, 'error', ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![id, message, spell(created + HOUR)]))
        .map_err(in_table("recurring_request_runs"))?;
    Ok(())
}
