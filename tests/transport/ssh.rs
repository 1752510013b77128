//! The store contract over a pipe, and over a real sshd with keys of its own.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::hub::members::{Members, Role};
use wbsync::keys::identity::Identity;
use wbsync::sys::clock;
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::ssh;

use crate::contract::{get, noise, put, store_contract};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wbsync");

fn piped(store: &Path, options: &'static [&'static str], identity: Option<&Identity>) -> Result<HttpStore, StoreError> {
    let store = store.to_owned();
    ssh::over("the pipe".into(), identity, move || {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--stdio", "--store"]).arg(&store).args(options);
        command
    })
}

#[test]
fn a_pipe_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        Box::new(piped(&dir.path().join(number.get().to_string()), &[], None).unwrap())
    });
}

#[test]
fn a_signed_pipe_holds_its_client_to_the_rules_of_a_hub() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    DirStore::create(&store).unwrap();
    let [member, stranger] = [(); 2].map(|()| Identity::generate());
    Members::open(&store).unwrap().allow(&member.id(), Role::Writer, clock::now()).unwrap();
    let opened = piped(&store, &["--signed"], Some(&member)).unwrap();
    let id = put(&opened, b"sealed");
    assert_eq!(get(&opened, &id, 0), b"sealed");
    assert!(matches!(opened.objects(), Err(StoreError::Denied { .. })), "a writer is no admin");
    for nobody in [Some(&stranger), None] {
        let opened = piped(&store, &["--signed"], nobody).unwrap();
        assert!(matches!(opened.scopes(), Err(StoreError::Denied { .. })));
    }
}

#[test]
fn a_program_that_ends_or_babbles_is_told_at_once() {
    for (program, args) in
        [("false", &[][..]), ("true", &[]), ("echo", &["welcome to this machine"]), ("no-such-program-here", &[])]
    {
        let started = Instant::now();
        let opened = ssh::over("the pipe".into(), None, move || {
            let mut command = Command::new(program);
            command.args(args);
            command
        });
        let error = opened.err().unwrap();
        assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::NotAStore { .. }), "{program}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{program}");
    }
}

/// A real sshd on a free port, for the user that runs the tests.
pub(crate) struct Sshd {
    pub(crate) dir: TempDir,
    child: Child,
    pub(crate) port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it, or says why it can't.
    pub(crate) fn start() -> Option<Self> {
        let sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let Some(sshd) = sshd else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no sshd");
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some());
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        for key in ["host_key", "client_key", "forced_key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status();
            assert!(made.unwrap().success());
        }
        let public = |key: &str| fs::read_to_string(path(&format!("{key}.pub"))).unwrap();
        let forced = format!("restrict,command=\"{PROGRAM} serve --stdio --store {}\"", path("forced"));
        let keys = format!("{}{forced} {}", public("client_key"), public("forced_key"));
        fs::write(dir.path().join("authorized_keys"), keys).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let bin = Path::new(PROGRAM).parent().unwrap().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile {}\nAuthorizedKeysFile {}\nPasswordAuthentication no\n\
            KbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nPermitRootLogin prohibit-password\n\
            SetEnv PATH={bin}:/usr/bin:/bin\n",
            path("host_key"),
            path("pid"),
            path("authorized_keys")
        );
        fs::write(dir.path().join("sshd_config"), config).unwrap();
        // Only root's sshd wants it, and only root can make it.
        let _ = fs::create_dir_all("/run/sshd");
        let child = Command::new(sshd)
            .args(["-D", "-f", &path("sshd_config"), "-E", &path("log")])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = public("host_key");
        let host: Vec<&str> = host.split(' ').take(2).collect();
        fs::write(dir.path().join("known_hosts"), format!("[127.0.0.1]:{port} {}\n", host.join(" "))).unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "sshd doesn't listen");
            std::thread::yield_now();
        }
        Some(Self { dir, child, port })
    }

    /// Returns what `WBSYNC_SSH` is, for a key.
    pub(crate) fn command(&self, key: &str) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes -o BatchMode=yes",
            path(key),
            path("known_hosts")
        )
    }

    pub(crate) fn user() -> String {
        let user = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(user.stdout).unwrap().trim().to_owned()
    }

    /// Opens a store there, as the library does for a URL but for the key.
    fn open(&self, key: &str, store: &Path) -> Result<HttpStore, StoreError> {
        let (ssh, port, store) = (self.command(key), self.port, store.display().to_string());
        let host = format!("{}@127.0.0.1", Self::user());
        ssh::over(format!("sshd on {port}"), None, move || {
            let mut command = Command::new("sh");
            let script = format!("exec {ssh} -T -p {port} -- {host} \"wbsync serve --stdio --store='{store}'\"");
            command.args(["-c", &script]);
            command
        })
    }
}

#[test]
fn a_real_sshd_keeps_the_store_contract() {
    let Some(sshd) = Sshd::start() else { return };
    let number = RefCell::new(0);
    store_contract(|| {
        *number.borrow_mut() += 1;
        let store: PathBuf = sshd.dir.path().join(format!("store {}", number.borrow()));
        Box::new(sshd.open("client_key", &store).unwrap())
    });
}

#[test]
fn a_forced_command_decides_which_store_it_is() {
    let Some(sshd) = Sshd::start() else { return };
    let elsewhere = sshd.dir.path().join("elsewhere");
    let opened = sshd.open("forced_key", &elsewhere).unwrap();
    let bytes = noise(3_000_000, 1);
    let id = put(&opened, &bytes);
    assert!(get(&opened, &id, 1_000_000) == bytes[1_000_000..]);
    assert!(!elsewhere.exists());
    let forced = DirStore::open(&sshd.dir.path().join("forced")).unwrap();
    assert_eq!(forced.object_size(&id).unwrap(), Some(3_000_000));
    assert!(matches!(sshd.open("host_key", &elsewhere).err(), Some(StoreError::Unreachable { .. })), "a wrong key");
}

#[test]
fn the_program_pushes_and_fetches_by_ssh_urls() {
    let Some(sshd) = Sshd::start() else { return };
    let url = format!("ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, sshd.dir.path().join("shared").display());
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
}
