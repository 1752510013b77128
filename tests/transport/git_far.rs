//! The store in a git repository on other machines: behind a real sshd, and behind nginx with git's own HTTP backend.

use std::cell::Cell;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wbsync::exchange::store::{Store, StoreError};
use wbsync::id::bytes::InstanceId;
use wbsync::transport::git::store::GitStore;
use wbsync::transport::git::url::GitUrl;

use crate::contract::{ALPHA, BETA, get, noise, put, store_contract};
use crate::git::{assert_sound, bare, race};
use crate::support::sshd::Sshd;
use crate::through::Through;

fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some());
}

/// Opens a repository behind sshd, as the library does for a URL but for the key.
fn open_over(sshd: &Sshd, hub: &Path, own: InstanceId, cache: Option<&Path>) -> Result<GitStore, StoreError> {
    let (ssh, port, hub) = (sshd.command("client_key"), sshd.port, hub.display().to_string());
    let host = format!("{}@127.0.0.1", Sshd::user());
    GitStore::over(format!("git over sshd on {port}"), "refs/wbsync", Some(own), cache, move |program| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("exec {ssh} -T -p {port} -- {host} \"{program} '{hub}'\"")]);
        command
    })
}

#[test]
fn a_real_sshd_keeps_the_store_contract() {
    let Some(sshd) = Sshd::start() else { return };
    let sshd = Arc::new(sshd);
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        let hub = bare(sshd.dir.path(), &format!("{} 'x.git", number.get()).replace('\'', "_"));
        let (sshd, cache) = (Arc::clone(&sshd), sshd.dir.path().join(format!("caches/{}", number.get())));
        Box::new(Through::new(move || Box::new(open_over(&sshd, &hub, ALPHA, Some(&cache)).unwrap())))
    });
    let hub = bare(sshd.dir.path(), "race.git");
    race(|own| open_over(&sshd, &hub, own, None).unwrap());
    assert_sound(&hub);
    let missing = open_over(&sshd, Path::new("/no/such/repository.git"), ALPHA, None).err().unwrap();
    assert!(matches!(missing, StoreError::Unreachable { .. }), "{missing:?}");
}

#[test]
fn the_program_syncs_by_git_ssh_urls() {
    let Some(sshd) = Sshd::start() else { return };
    let hub = bare(sshd.dir.path(), "hub.git");
    let url = format!("git+ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, hub.display());
    let ssh = sshd.command("client_key");
    let run = |app: &crate::support::app::App, args: &[&str]| {
        crate::support::run::wbsync_with(app.dir(), args, &[("WBSYNC_SSH", &ssh)]).ok()
    };
    let [alpha, beta] = ["alpha", "beta"].map(|name| {
        let app = crate::support::app::App::new();
        run(&app, &["init", "--preset", "whiteballoon", "--name", name]);
        run(&app, &["remote", "add", "far", &url]);
        app
    });
    let card = run(&alpha, &["id"]).stdout;
    run(&beta, &["peer", "add", card.trim()]);
    run(&beta, &["follow", "alpha"]);
    alpha.insert_request(None, "a ladder, please", "public");
    run(&alpha, &["sync"]);
    run(&beta, &["sync"]);
    assert!(beta.dump("help_requests").contains("a ladder, please"));
    assert_sound(&hub);
}

/// nginx in front of `git http-backend`, which this test runs for it by SCGI, as fcgiwrap would by FastCGI. Asks for a password.
struct GitSite {
    dir: tempfile::TempDir,
    nginx: Child,
    port: u16,
}

impl Drop for GitSite {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its workers.
        let _ = Command::new("kill").arg(self.nginx.id().to_string()).status();
        let _ = self.nginx.wait();
    }
}

impl GitSite {
    fn start() -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            skipped("there is no nginx");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().display().to_string();
        let gateway = TcpListener::bind("127.0.0.1:0").unwrap();
        let scgi = gateway.local_addr().unwrap();
        let root = dir.path().to_owned();
        std::thread::spawn(move || {
            for connection in gateway.incoming().map_while(Result::ok) {
                let root = root.clone();
                std::thread::spawn(move || run_backend(connection, &root));
            }
        });
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        fs::write(dir.path().join("passwords"), "eve:{PLAIN}s3cret-kanarie\n").unwrap();
        let user = if Sshd::user() == "root" { "user root;" } else { "" };
        let config = format!(
            "daemon off; {user} pid {here}/nginx.pid; error_log stderr; events {{}}\nhttp {{ access_log {here}/access;\n\
            client_body_temp_path {here}/1; proxy_temp_path {here}/2; fastcgi_temp_path {here}/3; uwsgi_temp_path {here}/4; scgi_temp_path {here}/5;\n\
            server {{ listen 127.0.0.1:{port}; client_max_body_size 0; location /moved {{ return 301 /elsewhere; }}\n\
            location / {{ auth_basic git; auth_basic_user_file {here}/passwords; scgi_pass {scgi};\n\
            scgi_param PATH_INFO $uri; scgi_param QUERY_STRING $query_string; scgi_param REQUEST_METHOD $request_method;\n\
            scgi_param CONTENT_TYPE $content_type; scgi_param CONTENT_LENGTH $content_length; scgi_param REMOTE_USER $remote_user; }} }} }}\n"
        );
        fs::write(dir.path().join("nginx.conf"), config).unwrap();
        let nginx = Command::new(program)
            .args(["-p", &here, "-c", &format!("{here}/nginx.conf")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.path().join("nginx.log")).unwrap())
            .spawn()
            .unwrap();
        let mut site = Self { dir, nginx, port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(site.dir.path().join("nginx.log")).unwrap();
            assert!(
                site.nginx.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20),
                "{}",
                log()
            );
            std::thread::yield_now();
        }
        Some(site)
    }

    fn url(&self, user: &str, path: &str) -> String {
        format!("git+http://{user}127.0.0.1:{}/{path}", self.port)
    }

    fn open(&self, user: &str, path: &str, own: InstanceId) -> Result<GitStore, StoreError> {
        GitStore::open(&GitUrl::parse(&self.url(user, path)).unwrap(), Some(own), None)
    }
}

/// Runs the backend for one SCGI request: a netstring of headers, and the body.
fn run_backend(mut connection: TcpStream, root: &Path) {
    let mut digits = String::new();
    let mut byte = [0];
    while connection.read_exact(&mut byte).is_ok() && byte[0] != b':' {
        digits.push(byte[0] as char);
    }
    let Ok(length) = digits.parse::<usize>() else { return };
    let mut headers = vec![0; length + 1];
    connection.read_exact(&mut headers).unwrap();
    let headers: Vec<String> =
        headers[..length].split(|byte| *byte == 0).map(|text| String::from_utf8(text.to_vec()).unwrap()).collect();
    let headers: Vec<(&str, &str)> = headers.chunks_exact(2).map(|pair| (pair[0].as_str(), pair[1].as_str())).collect();
    let body = headers.iter().find(|(name, _)| *name == "CONTENT_LENGTH").unwrap().1.parse().unwrap_or(0);
    // All of it first: the backend begins its answer early, and nginx stops sending then.
    let mut sent = vec![0; body];
    connection.read_exact(&mut sent).unwrap();
    let mut backend = Command::new("git")
        .arg("http-backend")
        .env_remove("GIT_DIR")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .envs(headers.into_iter().filter(|(_, value)| !value.is_empty()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (backend.stdin.take().unwrap(), backend.stdout.take().unwrap());
    let fed = std::thread::spawn(move || stdin.write_all(&sent));
    let _ = std::io::copy(&mut stdout, &mut connection);
    fed.join().unwrap().unwrap();
    let _ = backend.wait();
}

#[test]
fn gits_own_backend_behind_nginx_keeps_the_store_contract() {
    let Some(site) = GitSite::start() else { return };
    let number = Cell::new(0);
    let site = Arc::new(site);
    store_contract(|| {
        number.set(number.get() + 1);
        bare(site.dir.path(), &format!("{}.git", number.get()));
        let (site, path) = (Arc::clone(&site), format!("{}.git", number.get()));
        Box::new(Through::new(move || Box::new(site.open("eve:s3cret-kanarie@", &path, ALPHA).unwrap())))
    });
    let hub = bare(site.dir.path(), "race.git");
    race(|own| site.open("eve:s3cret-kanarie@", "race.git", own).unwrap());
    assert_sound(&hub);
}

#[test]
fn nine_megabytes_go_through_a_web_server() {
    let Some(site) = GitSite::start() else { return };
    let big = bare(site.dir.path(), "big.git");
    let store = site.open("eve:s3cret-kanarie@", "big.git", ALPHA).unwrap();
    let bytes = noise(9_000_000, 7);
    let id = put(&store, &bytes);
    store.flush().unwrap();
    assert!(get(&site.open("eve:s3cret-kanarie@", "big.git", BETA).unwrap(), &id, 0) == bytes);
    assert_sound(&big);
}

#[test]
fn a_web_server_that_refuses_is_told_without_the_password() {
    let Some(site) = GitSite::start() else { return };
    bare(site.dir.path(), "hub.git");
    for (user, path, wanted) in [
        ("", "hub.git", "password"),
        ("eve:wr0ng-kanarie@", "hub.git", "password"),
        ("eve:s3cret-kanarie@", "none.git", "no repository"),
        ("eve:s3cret-kanarie@", "moved", "moved"),
    ] {
        let error = site.open(user, path, ALPHA).err().unwrap();
        let said = format!("{error:?} {error}");
        assert!(said.contains(wanted) && !said.contains("kanarie"), "{said}");
        let is_refused = matches!(error, StoreError::Denied { .. });
        assert!(is_refused == (wanted == "password"), "{said}");
    }
}

#[test]
fn a_password_in_a_url_is_kept_and_shown_nowhere() {
    let Some(site) = GitSite::start() else { return };
    bare(site.dir.path(), "hub.git");
    let app = crate::support::app::App::new();
    app.wbsync(&["init", "--preset", "whiteballoon", "--name", "alpha"]).ok();
    let url = site.url("eve:s3cret-kanarie@", "hub.git");
    app.insert_request(None, "a ladder, please", "public");
    let added = app.wbsync(&["remote", "add", "web", &url]).ok().says_nothing_of("kanarie");
    assert!(added.stdout.contains("git+http://eve@127.0.0.1"));
    app.wbsync(&["sync"]).ok().says_nothing_of("kanarie");
    for args in [&["remote", "list"][..], &["--json", "remote", "list"], &["status"], &["--json", "status"]] {
        app.wbsync(args).ok().says_nothing_of("kanarie");
    }
    app.wbsync(&["remote", "add", "web", &url]).exits(1).says_nothing_of("kanarie");
    let odd = url.replace("git+http", "git+gopher");
    app.wbsync(&["remote", "add", "odd", &odd]).exits(1).says_nothing_of("kanarie");
    // Another instance starts from it.
    let other = crate::support::app::App::new();
    other.wbsync(&["clone", &url, ".", "--preset", "whiteballoon"]).ok().says_nothing_of("kanarie");
    assert!(other.dump("help_requests").contains("a ladder, please"));
    other.wbsync(&["sync"]).ok().says_nothing_of("kanarie");
    fs::write(site.dir.path().join("passwords"), "eve:{PLAIN}changed\n").unwrap();
    app.wbsync(&["sync"]).says_nothing_of("kanarie").exits(5);
    app.wbsync(&["remote", "remove", "web"]).ok();
    assert_eq!(fs::read_dir(app.dir().join(".wbsync/git")).unwrap().count(), 0);
}
