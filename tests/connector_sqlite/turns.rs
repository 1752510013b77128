//! A column that is different fields in different rows: `user_attributes.value` is a text, or the number of whoever invited
//! somebody, spelled as a text.

use wbsync::connector::contract::{Change, Connector, Seen, Sighting};
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;

use super::harness::*;

fn attribute(app: &App, user: i64, key: &str, value: &str) {
    app.sql(&format!(
        "INSERT INTO user_attributes(user_id, key, value, created_at, updated_at)
         VALUES({user}, '{key}', '{value}', '{TIME}', '{TIME}')"
    ));
}

/// A record of an attribute: what it says of `value` and `invited_by`.
pub(crate) fn said(id: &RecordId, of: &RecordId, key: &str, value: Value, invited_by: Value) -> Change {
    let fields = [
        ("user", Value::Ref(of.clone())),
        ("key", text(key)),
        ("value", value),
        ("invited_by", invited_by),
        ("created_at", time()),
        ("updated_at", time()),
    ];
    put(id, &fields)
}

fn invitations(seen: &[Sighting]) -> Vec<Value> {
    let is_shared = |sighting: &&Sighting| matches!(&sighting.seen, Seen::Row { fields, .. } if !fields.is_empty());
    let seen = seen.iter().filter(|sighting| sighting.id.dataset.as_str() == "user_attributes").filter(is_shared);
    seen.filter(|sighting| shown(sighting, "key") == Some(text("invited_by_user_id")))
        .map(|sighting| {
            assert_eq!(shown(sighting, "value"), Some(Value::Null), "a local number got out");
            shown(sighting, "invited_by").unwrap()
        })
        .collect()
}

#[test]
fn who_invited_somebody_travels_as_a_record() {
    for is_watched in [false, true] {
        let mut app = App::new();
        let (ann, bob, cid) = (app.user("ann", "public"), app.user("bob", "private"), app.user("cid", "public"));
        attribute(&app, cid, "invited_by_user_id", &ann.to_string());
        attribute(&app, ann, "invited_by_user_id", &bob.to_string());
        attribute(&app, ann, "profile_photo_url", &cid.to_string());
        let (capture, mut seen) = app.capture();
        let position = app.sync.position().unwrap();
        app.sync.settle(&capture, &position).unwrap();
        let ann_id = find(&seen, "username", "ann").id.clone();
        assert_eq!(invitations(&seen), [Value::Ref(ann_id)], "only if the inviter is public too");
        let photo = find(&seen, "value", &cid.to_string());
        assert_eq!(shown(photo, "invited_by"), Some(Value::Null));
        if is_watched {
            app = app.watched();
        }
        let mut settle = |app: &mut App| {
            seen = if is_watched { app.settle_exactly() } else { app.settle() };
            seen.clone()
        };
        app.sql(&format!("UPDATE users SET sync_scope = 'public' WHERE id = {bob}"));
        let now = settle(&mut app);
        let bob_id = find(&now, "username", "bob").id.clone();
        assert_eq!(invitations(&now), [Value::Ref(bob_id)]);
        // What spells no number as a number is spelled refers to nobody, and stays home.
        for odd in ["007", "", "somebody"] {
            app.sql(&format!(
                "UPDATE user_attributes SET value = '{odd}' WHERE user_id = {cid} AND key = 'invited_by_user_id'"
            ));
            assert_eq!(invitations(&settle(&mut app)), [], "{odd:?}");
        }
    }
}

#[test]
fn what_arrives_shows_the_number_of_this_instance() {
    let mut app = App::new();
    for number in 0..5 {
        app.user(&format!("local{number}"), "private");
    }
    app.settle();
    let (bea, dee, by) = (id(BETA, "users", 1), id(BETA, "users", 2), id(BETA, "user_attributes", 3));
    let value = "SELECT coalesce(max(value), 'NULL') FROM user_attributes";
    let invited = said(&by, &dee, "invited_by_user_id", Value::Null, Value::Ref(bea.clone()));
    let applied = app.apply_quietly(vec![user(&dee, "dee"), invited]);
    assert_eq!(applied.parked.values().sum::<u64>(), 1, "it waits for whoever invited");
    app.apply_quietly(vec![user(&bea, "bea")]);
    let bea_here = app.text("SELECT id FROM users WHERE username = 'bea'");
    assert_eq!(app.text(value), bea_here);
    // The column becomes another field, and back.
    app.apply_quietly(vec![said(&by, &dee, "profile_photo_url", text("p.jpg"), Value::Null)]);
    assert_eq!(app.text(value), "p.jpg");
    app.apply_quietly(vec![said(&by, &dee, "invited_by_user_id", Value::Null, Value::Ref(bea.clone()))]);
    assert_eq!(app.text(value), bea_here);
    // A number of another instance's is never believed.
    app.apply_quietly(vec![said(&by, &dee, "invited_by_user_id", text("1"), Value::Null)]);
    assert_eq!(app.text(value), "NULL");
    let forged = said(&by, &dee, "profile_photo_url", text("q.jpg"), Value::Ref(bea.clone()));
    app.apply(vec![forged]);
    assert_eq!(app.text(value), "q.jpg");
}

/// Records that are written together need what each of them alone would need.
#[test]
fn of_many_at_once_only_references_make_placeholders() {
    let mut app = App::with("", "[dataset.user_attributes.fields.invited_by]\nmissing = \"stub\"\n");
    app.settle();
    let people: Vec<RecordId> = (1..=40).map(|number| id(BETA, "users", number)).collect();
    let mut changes: Vec<Change> = people.iter().map(|person| user(person, &format!("u{person}"))).collect();
    changes.extend(people.iter().zip(1..).map(|(person, number)| {
        let nobody = Value::Ref(id(BETA, "users", 100 + number));
        let attribute = id(BETA, "user_attributes", number);
        match number % 2 {
            0 => said(&attribute, person, "invited_by_user_id", Value::Null, nobody),
            // What it refers to is not the column of this row.
            _ => said(&attribute, person, "profile_photo_url", text("p.jpg"), nobody),
        }
    }));
    let applied = app.apply_quietly(changes.clone());
    assert_eq!(applied.parked, [].into());
    assert_eq!(applied.inserted.values().sum::<u64>(), 100);
    let invited = "SELECT count(*) FROM user_attributes a JOIN users u ON a.value = CAST(u.id AS TEXT)";
    assert_eq!((app.text("SELECT count(*) FROM users").as_str(), app.text(invited).as_str()), ("61", "20"));
    // Now each is what the other was.
    for (number, change) in (1..).zip(&mut changes[40..]) {
        let (person, nobody) = (&people[number - 1], Value::Ref(id(BETA, "users", 100 + number as u8)));
        *change = match number % 2 {
            0 => said(&change.id, person, "profile_photo_url", text("q.jpg"), nobody),
            _ => said(&change.id, person, "invited_by_user_id", text("1"), nobody),
        };
    }
    let applied = app.apply_quietly(changes.split_off(40));
    assert_eq!(applied.parked, [].into());
    assert_eq!((app.text("SELECT count(*) FROM users").as_str(), app.text(invited).as_str()), ("81", "20"));
    assert_eq!(app.text("SELECT count(*) FROM user_attributes WHERE value = 'q.jpg'"), "20");
}

#[test]
fn whom_a_text_refers_to_is_not_deleted() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    let bea = id(BETA, "users", 1);
    app.apply(vec![user(&bea, "bea")]);
    let bea_here = app.text("SELECT id FROM users WHERE username = 'bea'");
    attribute(&app, ann, "invited_by_user_id", &bea_here);
    // The same digits in another attribute refer to nobody.
    attribute(&app, ann, "profile_photo_url", &bea_here);
    app.settle();
    let applied = app.apply(vec![gone(&bea)]);
    assert_eq!(applied.blanked.values().sum::<u64>(), 1, "the number would be handed out again");
    let seen = app.settle();
    assert_eq!((seen.len(), audience(&seen[0]).unwrap().scope()), (1, None), "it goes with its inviter");
    app.sql("DELETE FROM user_attributes WHERE key = 'invited_by_user_id'");
    app.settle();
    app.apply_quietly(vec![user(&bea, "bea")]);
    let applied = app.apply_quietly(vec![gone(&bea)]);
    assert_eq!(applied.deleted.values().sum::<u64>(), 1);
}
