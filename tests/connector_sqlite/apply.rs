//! What apply writes, and what it leaves alone.

use wbsync::connector::contract::{Base, Change, Connector, Seen};
use wbsync::id::name::ScopeName;
use wbsync::record::value::Value;
use wbsync::scope::audience::Audience;

use super::database::{ODD, REFUSALS};
use super::harness::*;

fn rows(app: &App, sql: &str) -> Vec<Vec<Raw>> {
    app.rows(sql)
}

fn count(app: &App, table: &str) -> String {
    app.text(&format!("SELECT count(*) FROM {table}"))
}

#[test]
fn records_are_inserted_updated_and_deleted_without_echo() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.request("mine", Some(ann), "private");
    app.settle();
    let local = rows(&app, "SELECT * FROM users, help_requests");
    let (bea, post, said) = (id(BETA, "users", 1), id(BETA, "requests", 2), id(BETA, "comments", 3));
    let applied = app.apply_quietly(vec![
        user(&bea, "bea"),
        request(&post, "boat", Some(&bea)),
        comment(&said, &post, &bea, ODD),
    ]);
    assert_eq!(applied.inserted.values().sum::<u64>(), 3);
    assert_eq!(
        rows(&app, "SELECT username, is_admin, contact_email, created_at, sync_scope FROM users WHERE id > 2"),
        [[text_of("bea"), Raw::Integer(0), Raw::Null, text_of(TIME), text_of("public")]]
    );
    assert_eq!(app.text("SELECT body FROM request_comments"), ODD);

    let applied = app.apply_quietly(vec![user(&bea, "bea"), request(&post, "ship", Some(&bea))]);
    assert_eq!((applied.unchanged, applied.updated.values().sum::<u64>()), (1, 1));
    assert_eq!(app.text("SELECT title FROM help_requests WHERE id = 2"), "ship");
    let applied = app.apply_quietly(vec![gone(&said), gone(&post), gone(&bea)]);
    assert_eq!(applied.deleted.values().sum::<u64>(), 3);
    assert_eq!(rows(&app, "SELECT * FROM users, help_requests"), local, "local rows are untouched");
    assert_eq!(count(&app, "request_comments"), "0");
}

/// What is remembered within a transaction is what is there, in whatever order records come.
#[test]
fn records_come_in_any_order_and_twice() {
    let mut app = App::new();
    app.settle();
    let (first, second) = (id(BETA, "users", 1), id(BETA, "users", 2));
    let post = |number, author| request(&id(BETA, "requests", number), "boat", Some(author));
    let applied = app.apply_quietly(vec![
        user(&second, "b"),
        user(&first, "a"),
        user(&second, "c"),
        user(&first, "a"),
        post(4, &first),
        gone(&second),
        user(&second, "d"),
        post(3, &second),
    ]);
    assert_eq!((applied.inserted.values().sum::<u64>(), applied.deleted.values().sum::<u64>()), (5, 1));
    assert_eq!((applied.unchanged, applied.updated.values().sum::<u64>()), (1, 1));
    let sql = "SELECT title, username FROM help_requests r JOIN users u ON u.id = r.created_by_user_id ORDER BY r.id";
    assert_eq!(rows(&app, sql), [[text_of("boat"), text_of("a")], [text_of("boat"), text_of("d")]]);
}

/// Records share a savepoint; one that is refused takes none of the others with it.
#[test]
fn a_record_that_is_refused_takes_no_other_along() {
    let mut app = App::new();
    app.settle();
    let changes = (1..=200u8).map(|number| {
        let refused = number % 70 == 0;
        let description = if refused { Value::Null } else { text("text") };
        let mut change = request(&id(BETA, "requests", number), "boat", None);
        change.content.as_mut().unwrap().fields.insert(field("description"), description);
        change
    });
    let applied = app.apply(changes.collect());
    assert_eq!((applied.inserted.values().sum::<u64>(), applied.parked.values().sum::<u64>()), (198, 2));
    assert_eq!(count(&app, "help_requests"), "198");
    assert_eq!(app.settle(), [], "what was applied came back");
}

fn text_of(text: &str) -> Raw {
    Raw::Text(text.into())
}

#[test]
fn an_unknown_author_is_a_placeholder_until_the_profile_arrives() {
    let mut app = App::new();
    app.settle();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    let applied = app.apply_quietly(vec![request(&post, "boat", Some(&bea))]);
    assert_eq!(applied.inserted.values().sum::<u64>(), 2);
    assert_eq!(
        rows(&app, "SELECT username, sync_scope, contact_email, is_admin FROM users WHERE id = 2"),
        [[text_of("member-01010101"), text_of("private"), Raw::Null, Raw::Integer(0)]]
    );
    let applied = app.apply_quietly(vec![user(&bea, "bea")]);
    assert_eq!((applied.updated.values().sum::<u64>(), applied.inserted.len()), (1, 0));
    assert_eq!(app.text("SELECT username || id || sync_scope FROM users WHERE id = 2"), "bea2public");
    // The profile becomes private again: the name goes, the request stays.
    let applied = app.apply_quietly(vec![gone(&bea)]);
    assert_eq!(applied.blanked.values().sum::<u64>(), 1);
    assert_eq!(app.text("SELECT username || id || sync_scope FROM users WHERE id = 2"), "member-010101012private");
    assert_eq!(app.text("SELECT created_by_user_id FROM help_requests"), "2");
    let applied = app.apply_quietly(vec![user(&bea, "bee")]);
    assert_eq!(applied.updated.values().sum::<u64>(), 1);
    assert_eq!(app.text("SELECT username FROM users WHERE id = 2"), "bee");
}

#[test]
fn a_comment_waits_for_its_request() {
    let mut app = App::new();
    app.settle();
    let (bea, post, said) = (id(BETA, "users", 1), id(BETA, "requests", 2), id(BETA, "comments", 3));
    let applied = app.apply_quietly(vec![user(&bea, "bea"), comment(&said, &post, &bea, "early")]);
    assert_eq!(applied.parked.values().sum::<u64>(), 1);
    app.apply_quietly(vec![comment(&said, &post, &bea, "later")]);
    let (parked, total) = app.sync.parked(10).unwrap();
    assert_eq!((parked.len(), total, parked[0].record.as_str()), (1, 1, said.to_string().as_str()));
    assert!(parked[0].reason.contains(&post.to_string()), "{}", parked[0].reason);
    let applied = app.apply_quietly(vec![request(&post, "boat", Some(&bea))]);
    assert_eq!(applied.inserted.values().sum::<u64>(), 2);
    assert_eq!(app.text("SELECT body FROM request_comments"), "later", "the later change replaced the parked one");
    assert_eq!(app.sync.parked(10).unwrap().1, 0);
    // A deletion drops what waits.
    let orphan = comment(&id(BETA, "comments", 9), &id(BETA, "requests", 8), &bea, "orphan");
    app.apply(vec![orphan.clone()]);
    assert_eq!(app.sync.parked(10).unwrap().1, 1);
    app.apply(vec![gone(&orphan.id)]);
    assert_eq!(app.sync.parked(10).unwrap().1, 0);
}

#[test]
fn a_taken_name_gets_an_alias_that_never_travels() {
    let mut app = App::new();
    app.user("alice", "public");
    app.settle();
    let (beta, gamma, other) = (id(BETA, "users", 1), id(BETA, "users", 2), id(GAMMA, "users", 3));
    app.apply_quietly(vec![user(&beta, "alice"), user(&gamma, "alice"), user(&other, "alice")]);
    let names = rows(&app, "SELECT username FROM users WHERE id > 2 ORDER BY id");
    assert_eq!(names, [[text_of("alice@beta")], [text_of("alice@beta-0202")], [text_of("alice@gamma")]]);
    // An edit of another field doesn't carry the alias along; an edit of the alias does.
    let applied = app.apply_quietly(vec![user(&beta, "alicia")]);
    assert_eq!(applied.updated.values().sum::<u64>(), 1);
    assert_eq!(app.text("SELECT username FROM users WHERE id = 3"), "alicia");
    app.sql("UPDATE users SET username = 'ally' WHERE id = 4");
    let seen = app.settle();
    assert_eq!(shown(&seen[0], "username"), Some(text("ally")));
    assert_eq!((seen.len(), &seen[0].id, audience(&seen[0])), (1, &gamma, None));
}

/// What one row gives up another may have in the same round, also where the mapping can't name what is unique.
#[test]
fn what_is_refused_for_a_row_that_goes_later_is_tried_again_at_the_end() {
    let mut app = App::with("CREATE UNIQUE INDEX lower_title ON help_requests(lower(title))", "");
    app.settle();
    let bea = id(BETA, "users", 1);
    let [first, second] = [1, 2].map(|number| id(BETA, "requests", number));
    app.apply_quietly(vec![user(&bea, "bea"), request(&first, "Soup", Some(&bea))]);
    let applied = app.apply_quietly(vec![request(&second, "soup", Some(&bea)), gone(&first)]);
    assert_eq!((app.sync.parked(10).unwrap().1, applied.parked.values().sum::<u64>()), (0, 0));
    assert_eq!(rows(&app, "SELECT title FROM help_requests"), [[text_of("soup")]]);
}

#[test]
fn a_row_that_the_application_changed_is_dirty_and_kept() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.request("mine", Some(ann), "public");
    let seen = app.settle();
    let mine = find(&seen, "title", "mine").id.clone();
    let (theirs, gone_one) = (id(BETA, "requests", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![request(&theirs, "boat", None), request(&gone_one, "car", None)]);
    app.sql("UPDATE help_requests SET description = 'edited' WHERE title IN ('mine', 'boat'); DELETE FROM help_requests WHERE title = 'car'");
    let changes =
        vec![request(&mine, "changed", None), request(&theirs, "changed", None), request(&gone_one, "x", None)];
    let applied = app.apply(changes);
    assert_eq!(applied.dirty, [mine.clone(), theirs.clone(), gone_one.clone()]);
    assert_eq!(
        app.text("SELECT group_concat(title) FROM (SELECT title FROM help_requests ORDER BY id) t"),
        "mine,boat"
    );
    let seen = app.settle();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().any(|sighting| sighting.id == gone_one && sighting.seen == Seen::Gone));
    let applied = app.apply_quietly(vec![request(&theirs, "changed", None), request(&gone_one, "x", None)]);
    assert!(applied.dirty.is_empty());
}

#[test]
fn own_records_can_be_edited_from_outside_but_not_moved_to_another_scope() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.request("mine", Some(ann), "trusted");
    let seen = app.settle();
    let (user, mine) = (find(&seen, "username", "ann").id.clone(), find(&seen, "title", "mine").id.clone());
    app.apply_quietly(vec![request(&mine, "edited", Some(&user))]);
    assert_eq!(
        app.text("SELECT title || sync_scope || contact_email FROM help_requests"),
        "editedtrustedsecret@example.org"
    );
    // It became private while a writer still edited or deleted it: it stays.
    app.sql("UPDATE help_requests SET sync_scope = 'private'");
    app.settle();
    app.apply_quietly(vec![request(&mine, "intruder", Some(&user))]);
    app.apply_quietly(vec![gone(&mine)]);
    assert_eq!(app.text("SELECT title FROM help_requests"), "edited");
    app.sql("UPDATE help_requests SET sync_scope = 'public'");
    app.settle();
    app.apply_quietly(vec![gone(&mine)]);
    assert_eq!(count(&app, "help_requests"), "0");
    // Edit against delete: the edited record comes back as the same record.
    app.apply_quietly(vec![request(&mine, "back", Some(&user))]);
    assert_eq!(app.sync.audience(&mine).unwrap(), Some(Audience::Shared(ScopeName::public())));
    app.sql("UPDATE help_requests SET title = 'again'");
    assert_eq!(app.settle()[0].id, mine);
}

#[test]
fn a_withdrawn_request_with_local_comments_is_blanked() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    app.settle();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![user(&bea, "bea"), request(&post, "boat", Some(&bea))]);
    let local = app.text("SELECT id FROM help_requests").parse().unwrap();
    app.comment(local, ann, "local", "public");
    let seen = app.settle();
    assert!(audience(find(&seen, "body", "local")).unwrap().scope().is_some());
    app.apply(vec![gone(&post)]);
    assert_eq!(
        rows(&app, "SELECT title, description, status, created_by_user_id, sync_scope FROM help_requests"),
        [[Raw::Null, text_of(""), text_of("draft"), Raw::Null, text_of("private")]]
    );
    assert_eq!(app.text("SELECT body FROM request_comments"), "local");
    let seen = app.settle();
    assert_eq!(seen.len(), 1, "the local comment is capped now: {seen:#?}");
    assert_eq!(audience(&seen[0]).unwrap().scope(), None);
    // A foreign comment doesn't hang itself under what was withdrawn.
    let applied = app.apply(vec![comment(&id(BETA, "comments", 5), &post, &bea, "late")]);
    assert_eq!(applied.parked.values().sum::<u64>(), 1);
}

#[test]
fn nobody_speaks_for_a_member_of_another_instance() {
    let mut app = App::new();
    let ann = app.user("ann", "public");
    let seen = app.settle();
    let ann_id = find(&seen, "username", "ann").id.clone();
    let bea = id(BETA, "users", 1);
    let forged = request(&id(BETA, "requests", 2), "in ann's name", Some(&ann_id));
    let by_third = request(&id(GAMMA, "requests", 3), "in bea's name", Some(&bea));
    let right = put(
        &id(BETA, "user_attributes", 4),
        &[
            ("user", Value::Ref(bea.clone())),
            ("key", text("peer_auth_reviewer")),
            ("value", text("1")),
            ("created_at", time()),
            ("updated_at", time()),
        ],
    );
    let applied = app.apply_quietly(vec![user(&bea, "bea"), forged, by_third, right]);
    assert_eq!(applied.parked.values().sum::<u64>(), 3);
    assert_eq!(count(&app, "help_requests") + &count(&app, "user_attributes"), "00");
    // Locally, in a remote member's name.
    app.request("local puppet", Some(3), "public");
    let real = app.request("real", Some(ann), "public");
    app.comment(real, 3, "puppet", "public");
    let seen = app.settle();
    find(&seen, "title", "real");
    assert!(!format!("{seen:?}").contains("puppet"));
}

#[test]
fn what_a_column_or_constraint_refuses_waits_with_a_reason() {
    let mut app = App::with("", "[dataset.vouches]\nsame = []");
    app.settle();
    let (bea, ben) = (id(BETA, "users", 1), id(BETA, "users", 2));
    let vouch = |number: u8| {
        put(
            &id(BETA, "vouches", number),
            &[
                ("voucher", Value::Ref(bea.clone())),
                ("subject", Value::Ref(ben.clone())),
                ("signature", Value::Null),
                ("created_at", time()),
            ],
        )
    };
    let mut odd = request(&id(BETA, "requests", 7), "odd", None);
    odd.content.as_mut().unwrap().fields.insert(field("updated_at"), text(""));
    let mut null = request(&id(BETA, "requests", 8), "null", None);
    null.content.as_mut().unwrap().fields.insert(field("description"), Value::Null);
    let applied = app.apply_quietly(vec![user(&bea, "bea"), user(&ben, "ben"), odd, null, vouch(3), vouch(4)]);
    assert_eq!((applied.inserted.values().sum::<u64>(), applied.parked.values().sum::<u64>()), (3, 3));
    let reasons: Vec<String> = app.sync.parked(10).unwrap().0.into_iter().map(|parked| parked.reason).collect();
    assert!(reasons[0].contains("updated_at holds a text where this database wants a time"), "{reasons:?}");
    assert!(reasons[1].contains(REFUSALS[0]), "{reasons:?}");
    assert!(reasons[2].contains(REFUSALS[1]), "{reasons:?}");
    // The first vouch goes, and the one that waited takes its place at the next apply.
    app.apply_quietly(vec![gone(&id(BETA, "vouches", 3))]);
    app.apply_quietly(vec![]);
    assert_eq!(app.sync.parked(10).unwrap().1, 2);
    assert_eq!(count(&app, "vouches"), "1");
}

#[test]
fn a_refused_update_is_not_taken_for_a_local_edit() {
    let mut app = App::new();
    app.settle();
    let post = id(BETA, "requests", 1);
    app.apply_quietly(vec![request(&post, "boat", None)]);
    let mut refused = request(&post, "ship", None);
    refused.content.as_mut().unwrap().fields.insert(field("updated_at"), text("soon"));
    app.apply_quietly(vec![refused]);
    app.sql("UPDATE help_requests SET description = 'local edit'");
    let seen = app.settle();
    assert_eq!(seen.len(), 1);
    assert_eq!(shown(&seen[0], "description"), Some(text("local edit")));
    assert_eq!((shown(&seen[0], "title"), shown(&seen[0], "updated_at")), (None, None), "the old values are no edit");
}

#[test]
fn an_apply_goes_on_where_it_stopped() {
    let mut app = App::new();
    app.settle();
    let (one, two) = (id(BETA, "requests", 1), id(BETA, "requests", 2));
    app.sync.begin_apply(b"t").unwrap();
    let mut broken = vec![Ok(request(&one, "one", None)), Err("cut".into())].into_iter();
    assert!(app.sync.apply(&mut broken, &mut |_| {}).is_err());
    app.sync.apply(&mut vec![Ok(request(&one, "one", None))].into_iter(), &mut |_| {}).unwrap();
    app.reopen();
    assert_eq!(app.sync.position().unwrap().target.as_deref(), Some(&b"t"[..]));
    assert!(app.sync.begin_apply(b"other").is_err(), "another apply is open");
    // The application edits a row that reflects the target already.
    app.sql("UPDATE help_requests SET title = 'edited'");
    let seen = app.settle();
    assert_eq!((seen.len(), seen[0].base), (1, Base::Target));
    app.sync.begin_apply(b"t").unwrap();
    let changes: Vec<Change> = vec![request(&one, "edited", None), request(&two, "two", None)];
    let applied = app.sync.apply(&mut changes.into_iter().map(Ok), &mut |_| {}).unwrap();
    assert_eq!((applied.unchanged, applied.inserted.values().sum::<u64>()), (1, 1));
    app.sync.finish_apply().unwrap();
    assert!(app.sync.finish_apply().is_err());
    assert_eq!(app.settle(), []);
}

#[test]
fn a_key_handed_out_again_between_capture_and_apply_links_nothing_to_a_stranger() {
    let mut app = App::new();
    app.settle();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![user(&bea, "bea")]);
    app.sql("DELETE FROM users WHERE id = 2; INSERT INTO users VALUES(2, 'eve', FALSE, NULL, '2027-01-01 00:00:00.000000', 'private')");
    let applied = app.apply(vec![request(&post, "boat", Some(&bea))]);
    assert_eq!(applied.dirty, std::slice::from_ref(&post));
    assert_eq!(count(&app, "help_requests"), "0");
    // And our own insert may get the key of a row that vanished unseen.
    app.settle();
    app.apply_quietly(vec![request(&post, "boat", None)]);
    app.sql("DELETE FROM help_requests");
    let other = id(BETA, "requests", 3);
    app.apply(vec![request(&other, "car", None)]);
    let seen = app.settle();
    assert_eq!((seen.len(), &seen[0].id, &seen[0].seen), (1, &post, &Seen::Gone));
}

#[test]
fn a_reference_shown_as_null_is_filled_when_its_target_arrives() {
    let own = "[dataset.invites]\nenabled = true";
    let mut app = App::with("", own);
    app.settle();
    let (bea, invite) = (id(BETA, "users", 1), id(BETA, "invites", 2));
    let change = put(
        &invite,
        &[
            ("token", text("abc123")),
            ("created_at", time()),
            ("max_uses", Value::Int(1)),
            ("use_count", Value::Int(0)),
            ("disabled", Value::Bool(false)),
            ("auto_approve", Value::Bool(true)),
            ("author", Value::Ref(bea.clone())),
        ],
    );
    app.apply_quietly(vec![change]);
    assert_eq!(app.text("SELECT created_by_user_id FROM invite_tokens WHERE token = 'abc123'"), "NULL");
    assert_eq!(app.sync.locate(&invite).unwrap().unwrap(), "invite_tokens abc123");
    app.apply_quietly(vec![user(&bea, "bea")]);
    assert_eq!(app.text("SELECT created_by_user_id FROM invite_tokens"), "2");
    app.sql("UPDATE invite_tokens SET use_count = 1");
    let seen = app.settle();
    assert_eq!(shown(&seen[0], "author"), Some(Value::Ref(bea)));
}

#[test]
fn a_reference_that_the_application_filled_itself_is_not_overwritten() {
    let mut app = App::with("", "[dataset.invites]\nenabled = true");
    app.settle();
    let (bea, invite) = (id(BETA, "users", 1), id(BETA, "invites", 2));
    let mut fields = vec![("token", text("abc123")), ("created_at", time()), ("author", Value::Ref(bea.clone()))];
    fields.extend([("max_uses", Value::Int(1)), ("use_count", Value::Int(0))]);
    fields.extend([("disabled", Value::Bool(false)), ("auto_approve", Value::Bool(true))]);
    app.apply_quietly(vec![put(&invite, &fields)]);
    app.sql("UPDATE invite_tokens SET created_by_user_id = 1");
    let seen = app.settle();
    assert!(matches!(shown(&seen[0], "author"), Some(Value::Ref(author)) if author.origin == OWN));
    app.apply_quietly(vec![user(&bea, "bea")]);
    assert_eq!(app.text("SELECT created_by_user_id FROM invite_tokens"), "1");
}

#[test]
fn caches_of_touched_records_are_removed() {
    let mut app = App::new();
    app.settle();
    let cache = app.dir.path().join("storage/cache/request_chats");
    std::fs::create_dir_all(&cache).unwrap();
    let (bea, post) = (id(BETA, "users", 1), id(BETA, "requests", 2));
    app.apply_quietly(vec![user(&bea, "bea"), request(&post, "boat", Some(&bea))]);
    let (mine, other) = (cache.join("request_1.json"), cache.join("request_2.json"));
    std::fs::write(&mine, "x").unwrap();
    std::fs::write(&other, "x").unwrap();
    app.sql("INSERT INTO invite_map_cache VALUES(1, 'a'), (2, 'b')");
    app.apply_quietly(vec![user(&bea, "bee"), comment(&id(BETA, "comments", 3), &post, &bea, "new")]);
    assert!(!mine.exists() && other.exists());
    assert_eq!(app.text("SELECT group_concat(user_id) FROM invite_map_cache"), "1");
}

/// What the mapping doesn't name is never written, nor taken along: also where the database would.
#[test]
fn a_deletion_takes_no_row_along_of_a_table_that_takes_no_part() {
    for action in ["CASCADE", "SET NULL"] {
        let tables = format!(
            "CREATE TABLE keepsakes (id INTEGER PRIMARY KEY, body TEXT,
             request_id INTEGER REFERENCES help_requests(id) ON DELETE {action})"
        );
        let mut app = App::with(&tables, "");
        app.settle();
        let posts = [1, 2].map(|number| id(BETA, "requests", number));
        app.apply_quietly(posts.iter().map(|post| request(post, "boat", None)).collect());
        let of = app.text("SELECT min(id) FROM help_requests");
        app.sql(&format!("INSERT INTO keepsakes VALUES(1, 'ours', {of})"));
        app.apply_quietly(posts.iter().map(gone).collect());
        assert_eq!(app.text("SELECT request_id FROM keepsakes"), of, "{action}");
        assert_eq!(count(&app, "help_requests"), "1", "{action}: blanked");
        assert_eq!(app.text("SELECT count(*) FROM help_requests WHERE title = 'boat'"), "0", "{action}");
    }
}
