//! Races: several that write one scope at the same moment, over a directory and over HTTP, and nobody helps.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::site::{Site, befriend, id, instance};
use crate::support::app::App;
use crate::support::run::{wbsync, wbsync_with};
use crate::support::sshd::Sshd;

/// Writes one column of the shared request, as the application would at any moment.
fn write(database: &Path, column: &str, value: &str) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection.busy_timeout(Duration::from_secs(20)).unwrap();
    let sql = format!("UPDATE help_requests SET {column} = ?1 WHERE description LIKE 'shared%'");
    assert_eq!(connection.execute(&sql, [value]).unwrap(), 1);
}

fn rows(app: &App) -> String {
    app.dump_columns("help_requests", &["title", "description"])
}

/// Both write the same record and sync, again and again at the same time.
fn write_at_once(alpha: &App, beta: &App, variables: &[(&str, &str)]) {
    const ROUNDS: usize = 6;
    let sync = |dir: &Path| drop(wbsync_with(dir, &["sync"], variables).ok());
    alpha.insert_request(Some(App::ADMIN), "shared", "trusted");
    for app in [alpha, beta, alpha] {
        sync(app.dir());
    }
    std::thread::scope(|scope| {
        for (app, column) in [(alpha, "description"), (beta, "title")] {
            let (dir, database) = (app.dir(), app.db_path());
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    write(&database, column, &format!("shared {column} {round}"));
                    sync(dir);
                }
            });
        }
    });
    // Whoever ended first has not seen the other's last words.
    for app in [alpha, beta, alpha] {
        sync(app.dir());
    }
    assert_eq!(rows(alpha), rows(beta));
    for column in ["description", "title"] {
        assert!(rows(alpha).contains(&format!("shared {column} {}", ROUNDS - 1)), "{}", rows(alpha));
    }
}

#[test]
fn two_that_write_at_once_through_a_hub_need_no_help() {
    let site = Site::start(&[]);
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    [&alpha, &beta].into_iter().for_each(|app| site.admit(app));
    write_at_once(&alpha, &beta, &[]);
}

#[test]
fn two_that_write_at_once_over_ssh_need_no_help() {
    let Some(sshd) = Sshd::start() else { return };
    let (ssh, place) = (sshd.command("client_key"), sshd.dir.path().join("shared"));
    let url = format!("ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, place.display());
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        app.wbsync(&["remote", "add", "far", &url]).ok();
    }
    write_at_once(&alpha, &beta, &[("WBSYNC_SSH", &ssh)]);
}

#[test]
fn two_that_write_at_once_through_a_directory_need_no_help() {
    let stick = tempfile::tempdir().unwrap();
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        app.wbsync(&["remote", "add", "stick", stick.path().to_str().unwrap()]).ok();
    }
    write_at_once(&alpha, &beta, &[]);
}

/// Passes connections on to `server`; the first time that something is put whose path has `word`, runs `first` before.
fn interrupt(listener: TcpListener, server: String, word: String, first: impl FnOnce() + Send + 'static) {
    let first = Arc::new(Mutex::new(Some(first)));
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let Ok(mut up) = TcpStream::connect(&server) else { continue };
            let (mut down, mut back) = (up.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut down, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            let (word, first) = (word.clone(), Arc::clone(&first));
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..read]);
                    if text.starts_with("PUT ")
                        && text.lines().next().is_some_and(|line| line.contains(&word))
                        && let Some(first) = first.lock().unwrap().take()
                    {
                        first();
                    }
                    if up.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = up.shutdown(Shutdown::Both);
            });
        }
    });
}

/// Alpha brings a head of beta's from a stick to a hub; just before it gets there, beta puts a newer one in its place.
#[test]
fn who_loses_the_swap_of_a_head_fetches_merges_and_pushes_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let before = format!("http://{}/", listener.local_addr().unwrap());
    let hub = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let direct = format!("http://{hub}/");
    let site = Site::start_in(tempfile::tempdir().unwrap(), &hub, &["--url", &before, "--url", &direct]);
    let stick = tempfile::tempdir().unwrap();
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    [&alpha, &beta].into_iter().for_each(|app| site.admit(app));
    for app in [&alpha, &beta] {
        app.wbsync(&["remote", "add", "stick", stick.path().to_str().unwrap()]).ok();
    }
    alpha.wbsync(&["remote", "add", "far", &before]).ok();
    alpha.insert_request(Some(App::ADMIN), "shared", "trusted");
    for (app, remote) in [(&alpha, "hub"), (&beta, "hub"), (&alpha, "hub")] {
        app.wbsync(&["sync", remote]).ok();
    }
    write(&beta.db_path(), "title", "first words");
    beta.wbsync(&["sync", "stick"]).ok();
    alpha.wbsync(&["pull", "stick"]).ok();
    let (dir, database) = (beta.dir().to_owned(), beta.db_path());
    interrupt(listener, hub, format!("heads/{}", id(&beta)), move || {
        write(&database, "title", "last words");
        wbsync(&dir, &["sync", "hub"]).ok();
    });
    write(&alpha.db_path(), "description", "shared by alpha");
    let run = alpha.wbsync(&["--json", "sync", "far"]).ok();
    assert!(run.json()["pushed"]["remotes"]["far"]["raced"].as_u64().unwrap() > 0, "{run}");
    assert!(rows(&alpha).contains("last words"), "{}", rows(&alpha));
    beta.wbsync(&["sync", "hub"]).ok();
    assert_eq!(rows(&alpha), rows(&beta));
}
