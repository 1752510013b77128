//! The helpers of the integration tests do what they say, and notice what they are for.

#![allow(clippy::unwrap_used, reason = "whatever fails here fails the test")]

mod support;

use support::app::{App, Request};
use wbsync::testing::whiteballoon::seed::Seed;

#[test]
fn an_application_is_written_in_its_own_spelling() {
    let app = App::new();
    let user = app.insert_user("maria", "public");
    let request = app.insert_request(Some(user), "a ladder,\nplease", "public");
    let comment = app.insert_comment(request, App::ADMIN, "take 'mine'", "private");
    app.edit_request(request, "a ladder");
    app.complete_request(request);
    app.delete_comment(comment);
    app.set_scope("users", user, "private");
    app.insert_vouch(App::ADMIN, user);
    app.insert_attribute(user, "invited_by_user_id", "1");
    app.insert_invite("00ff00", Some(App::ADMIN), "private");
    app.insert_request_with(&Request { status: "draft", title: Some("later"), ..Request::default() });

    assert_eq!(
        app.dump("users"),
        "id=1 username='admin' is_admin=1 contact_email=NULL created_at='2026-02-01 12:00:01.000001' sync_scope='private'\n\
         id=2 username='maria' is_admin=0 contact_email=NULL created_at='2026-02-01 12:00:02.000002' sync_scope='private'\n"
    );
    assert_eq!(
        app.dump_columns("help_requests", &["description", "status", "updated_at = completed_at"]),
        "description='' status='draft' updated_at = completed_at=NULL\n\
         description='a ladder' status='completed' updated_at = completed_at=1\n"
    );
    assert_eq!(app.value("SELECT body FROM request_comments WHERE deleted_at IS NOT NULL"), "take 'mine'");
    app.assert_whole();
}

#[test]
#[should_panic(expected = "rows that refer to nothing")]
fn a_dangling_reference_is_noticed() {
    let app = App::new();
    app.insert_comment(99, App::ADMIN, "under nothing", "public");
    app.assert_whole();
}

#[test]
fn a_seeded_application_is_whole() {
    let app = App::seeded(&Seed::new(300, 1));
    app.assert_whole();
    assert_eq!(app.value("SELECT count(*) FROM help_requests"), "30");
}

#[test]
fn the_program_runs_and_its_exit_code_is_seen() {
    let app = App::new();
    let run = app.wbsync(&["--version"]).ok().says_nothing_of("admin");
    assert!(run.took.as_secs() < 60);
    let wrong = std::panic::catch_unwind(|| app_free_run().exits(77));
    assert!(wrong.is_err(), "exit code 0 must not pass for 77");
}

fn app_free_run() -> support::run::Run {
    let dir = tempfile::tempdir().expect("a temporary directory");
    support::run::wbsync(dir.path(), &["--version"])
}
