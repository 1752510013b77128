//! What a capture reports, once, and under which id.

use wbsync::connector::contract::{Base, Connector, Seen};
use wbsync::id::name::ScopeName;
use wbsync::record::value::Value;
use wbsync::scope::audience::{Audience, Reason};

use super::harness::*;

fn public() -> Option<Audience> {
    Some(Audience::Shared(ScopeName::public()))
}

fn private(reason: Reason) -> Option<Audience> {
    Some(Audience::Private(reason))
}

#[test]
fn rows_keep_their_ids_and_are_reported_once() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    let request = app.request("bike", Some(ann), "public");
    app.comment(request, ann, "mine", "public");
    let seen = app.settle();
    assert_eq!(seen.len(), 4, "{seen:#?}");
    let (user, post, said) =
        (find(&seen, "username", "ann"), find(&seen, "title", "bike"), find(&seen, "body", "mine"));
    assert!([user, post, said].iter().all(|found| audience(found) == public() && found.base == Base::Applied));
    assert_eq!(shown(post, "author"), Some(Value::Ref(user.id.clone())));
    assert_eq!(shown(said, "request"), Some(Value::Ref(post.id.clone())));
    assert_eq!(shown(post, "created_at"), Some(time()));
    assert_eq!(shown(post, "contact_email"), None);
    assert_eq!(app.settle(), [], "nothing changed");

    app.sql("UPDATE help_requests SET title = 'boat'");
    let again = app.settle();
    assert_eq!(again.len(), 1);
    assert_eq!(find(&again, "title", "boat").id, post.id);
    app.sql("DELETE FROM request_comments");
    let again = app.settle();
    assert_eq!((again.len(), &again[0].id, &again[0].seen), (1, &said.id, &Seen::Gone));
    assert_eq!(app.settle(), []);
    assert_eq!(app.sync.locate(&user.id).unwrap().unwrap(), format!("users {ann}"));
    assert_eq!(app.sync.audience(&said.id).unwrap(), None);
    assert_eq!(app.sync.audience(&post.id).unwrap(), public());
}

#[test]
fn new_ids_ascend_with_local_keys() {
    let mut app = App::new();
    for number in 0..500 {
        app.user(&format!("u{number}"), "public");
    }
    let seen = app.settle();
    assert!(seen.windows(2).all(|pair| pair[0].id.key < pair[1].id.key));
}

#[test]
fn a_reused_key_is_a_new_record_and_shares_nothing() {
    let mut app = App::new();
    app.request("first", None, "public");
    let reused = app.request("old", None, "public");
    let seen = app.settle();
    let old = find(&seen, "title", "old").id.clone();
    app.sql(&format!(
        "DELETE FROM help_requests WHERE id = {reused};
         INSERT INTO help_requests(title, description, status, created_at, updated_at, sync_scope)
         VALUES('hidden', 'x', 'open', '2026-09-09 00:00:00.000000', '2026-09-09 00:00:00.000000', 'private')"
    ));
    assert_eq!(app.text("SELECT max(id) FROM help_requests"), reused.to_string(), "the key was handed out again");
    let (_, seen) = app.capture();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    assert_eq!((&seen[0].id, &seen[0].seen), (&old, &Seen::Gone));
    assert_ne!(seen[1].id, old);
    assert_eq!(audience(&seen[1]), private(Reason::Chosen));
    assert!(!format!("{seen:?}").contains("hidden"), "a private row says nothing");
}

#[test]
fn a_parent_that_goes_home_takes_its_children_along() {
    let mut app = App::new();
    let ann = app.user("ann", "private");
    let request = app.request("bike", Some(ann), "public");
    app.comment(request, ann, "mine", "public");
    let seen = app.settle();
    assert_eq!(audience(find(&seen, "body", "mine")), public(), "a private author caps nothing");
    let said = find(&seen, "body", "mine").id.clone();
    app.sql("UPDATE help_requests SET sync_scope = 'private'");
    let seen = app.settle();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    let child = seen.iter().find(|sighting| sighting.id == said).unwrap();
    assert_eq!(audience(child), private(Reason::Parent));
    assert_eq!(app.sync.audience(&said).unwrap(), private(Reason::Parent));
    app.sql("UPDATE help_requests SET sync_scope = 'trusted'");
    let seen = app.settle();
    assert_eq!(audience(find(&seen, "body", "mine")), Some(Audience::Shared(ScopeName::trusted())));
}

#[test]
fn each_reason_to_stay_home_is_counted() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    let odd = app.user("odd", "everyone");
    let request = app.request("bike", Some(ann), "public");
    let draft = app.request("draft", Some(ann), "public");
    let deleted = app.comment(request, ann, "gone", "public");
    app.comment(draft, ann, "under a draft", "public");
    app.comment(99, ann, "under nothing", "public");
    app.request("dangling author", Some(77), "public");
    app.sql(&format!(
        "UPDATE help_requests SET status = 'draft' WHERE id = {draft};
         UPDATE request_comments SET deleted_at = created_at WHERE id = {deleted};
         INSERT INTO user_attributes(user_id, key, value, created_at, updated_at) VALUES
            ({ann}, 'profile_photo_url', 'p', '{TIME}', '{TIME}'), ({ann}, 'ui_theme', 'dark', '{TIME}', '{TIME}'),
            ({ann}, 'signal_display_name:a', 's', '{TIME}', '{TIME}'), ({odd}, 'profile_photo_url', 'q', '{TIME}', '{TIME}');
         INSERT INTO vouches(voucher_user_id, subject_user_id, created_at) VALUES({ann}, {odd}, '{TIME}')"
    ));
    let (capture, seen) = app.capture();
    let count = |dataset: &str, reason| {
        let mut counts = capture.private.iter();
        counts.find(|((name, why), _)| name.as_str() == dataset && *why == reason).map_or(0, |(_, count)| *count)
    };
    assert_eq!(count("users", Reason::Chosen), 1);
    assert_eq!(count("users", Reason::UnknownScope), 1);
    assert_eq!(count("requests", Reason::Filtered), 1);
    assert_eq!(count("comments", Reason::SoftDeleted), 1);
    assert_eq!(count("comments", Reason::Parent), 1);
    assert_eq!(count("comments", Reason::Withheld), 1);
    assert_eq!(count("vouches", Reason::Parent), 1);
    assert_eq!(count("user_attributes", Reason::Filtered), 1);
    assert_eq!(count("user_attributes", Reason::Parent), 1);
    assert_eq!(shown(find(&seen, "title", "dangling author"), "author"), Some(Value::Null));
    find(&seen, "value", "p");
    find(&seen, "value", "s");
    for secret in ["dark", "under a draft", "secret@example.org", "admin"] {
        assert!(!format!("{seen:?}").contains(secret), "{secret} got out");
    }
}

#[test]
fn what_was_not_settled_is_reported_again_with_the_same_ids() {
    let mut app = App::new();
    app.user("ann", "public");
    let bob = app.user("bob", "public");
    let (_, first) = app.capture();
    app.reopen();
    let (_, second) = app.capture();
    assert_eq!(first, second);
    let ids: Vec<_> = app.settle().into_iter().map(|sighting| sighting.id).collect();
    assert_eq!(ids, first.iter().map(|sighting| sighting.id.clone()).collect::<Vec<_>>());
    app.sql(&format!("DELETE FROM users WHERE id = {bob}; UPDATE users SET username = 'anna' WHERE username = 'ann'"));
    let (_, first) = app.capture();
    assert_eq!(first.len(), 2);
    app.reopen();
    let (_, second) = app.capture();
    assert_eq!((second.len(), find(&second, "username", "anna")), (2, find(&first, "username", "anna")));
    assert!(second.iter().any(|sighting| sighting.seen == Seen::Gone));
    app.settle();
    assert_eq!(app.settle(), []);
}

#[test]
fn an_old_capture_cannot_be_settled() {
    let mut app = App::new();
    let (old, _) = app.capture();
    app.settle();
    let position = app.sync.position().unwrap();
    assert!(app.sync.settle(&old, &position).is_err());
}

#[test]
fn a_failing_sink_loses_nothing() {
    let mut app = App::new();
    app.user("ann", "public");
    let error = app.sync.capture(NOW, &mut |_| Err("full".into())).unwrap_err();
    assert!(error.to_string().contains("cannot take in"), "{error}");
    assert_eq!(app.settle().len(), 2);
}
