//! Records that mean the same as a row that is there stand behind it, and come forward when it goes.

use wbsync::connector::contract::{Change, Connector};
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;

use super::harness::{App, BETA, GAMMA, gone, id, put, text, time, user};

/// An application in which whoever is at an instance may vouch for anybody.
fn free() -> App {
    App::with("", "[dataset.vouches.fields.voucher]\nauthor = false")
}

fn vouch(id: &RecordId, voucher: &RecordId, subject: &RecordId, signature: &str) -> Change {
    let (voucher, subject) = (Value::Ref(voucher.clone()), Value::Ref(subject.clone()));
    put(id, &[("signature", text(signature)), ("created_at", time()), ("voucher", voucher), ("subject", subject)])
}

/// Alice and bob of beta are here.
fn pair(app: &mut App) -> (RecordId, RecordId) {
    let (alice, bob) = (id(BETA, "users", 1), id(BETA, "users", 2));
    app.settle();
    app.apply_quietly(vec![user(&alice, "alice"), user(&bob, "bob")]);
    (alice, bob)
}

const SIGNATURES: &str = "SELECT coalesce(group_concat(signature), 'none') FROM vouches";

#[test]
fn each_in_turn_comes_forward_with_what_it_said_last() {
    let mut app = free();
    let (alice, bob) = pair(&mut app);
    let [first, second, third] =
        [(BETA, 5), (GAMMA, 6), (GAMMA, 7)].map(|(origin, number)| id(origin, "vouches", number));
    let all = [(&first, "first"), (&second, "second"), (&third, "third")];
    let applied = app.apply_quietly(all.map(|(id, signature)| vouch(id, &alice, &bob, signature)).into());
    assert_eq!((applied.unchanged, applied.parked.len()), (2, 0), "{applied:?}");
    assert_eq!(app.text(SIGNATURES), "first");
    let row = app.sync.locate(&first).unwrap();
    assert!(row.is_some() && row == app.sync.locate(&second).unwrap() && row == app.sync.locate(&third).unwrap());
    // What is behind the row changes, and the row doesn't.
    app.apply_quietly(vec![vouch(&second, &alice, &bob, "second again")]);
    assert_eq!((app.text(SIGNATURES).as_str(), app.sync.parked(9).unwrap().1), ("first", 0));
    app.apply_quietly(vec![gone(&first)]);
    assert_eq!((app.text(SIGNATURES).as_str(), app.sync.parked(9).unwrap().1), ("second again", 0));
    // The one behind is gone before it was ever seen.
    app.apply_quietly(vec![gone(&third)]);
    assert_eq!(app.sync.locate(&third).unwrap(), None);
    app.apply_quietly(vec![gone(&second)]);
    assert_eq!((app.text(SIGNATURES).as_str(), app.sync.parked(9).unwrap().1), ("none", 0));
}

#[test]
fn a_row_that_no_capture_has_seen_gets_its_own_record_first() {
    let mut app = free();
    let (alice, bob) = pair(&mut app);
    let local = "INSERT INTO vouches(voucher_user_id, subject_user_id, signature, created_at)
                 SELECT a.id, b.id, 'ours', '2026-01-02 00:00:00.000000' FROM users a, users b
                 WHERE a.username = 'alice' AND b.username = 'bob'";
    app.sql(local);
    let theirs = vouch(&id(GAMMA, "vouches", 6), &alice, &bob, "theirs");
    let applied = app.apply(vec![theirs.clone()]);
    assert_eq!(applied.dirty, std::slice::from_ref(&theirs.id));
    let seen = app.settle();
    assert_eq!(seen.len(), 1, "it is reported as a new row: {seen:?}");
    let applied = app.apply_quietly(vec![theirs.clone()]);
    assert_eq!((applied.unchanged, app.text(SIGNATURES).as_str()), (1, "ours"));
    // Once the application deletes it, the other waits for the next apply, and says so.
    app.sql("DELETE FROM vouches");
    assert_eq!(app.settle().len(), 1);
    let (waits, count) = app.sync.parked(9).unwrap();
    assert_eq!((count, waits[0].record.as_str()), (1, theirs.id.to_string().as_str()));
    app.apply_quietly(Vec::new());
    assert_eq!((app.text(SIGNATURES).as_str(), app.sync.parked(9).unwrap().1), ("theirs", 0));
}

#[test]
fn a_row_that_comes_to_mean_something_else_makes_room() {
    let mut app = free();
    let (alice, bob) = pair(&mut app);
    let (first, second) = (id(BETA, "vouches", 5), id(GAMMA, "vouches", 6));
    app.apply_quietly(vec![vouch(&first, &alice, &bob, "first"), vouch(&second, &alice, &bob, "second")]);
    app.apply_quietly(vec![vouch(&first, &bob, &alice, "first")]);
    assert_eq!(
        app.text("SELECT group_concat(signature) FROM (SELECT signature FROM vouches ORDER BY 1) t"),
        "first,second"
    );
    assert_eq!(app.sync.parked(9).unwrap().1, 0);
}
