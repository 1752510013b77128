//! A real sshd for the user that runs the tests, with keys of its own.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wbsync");

/// A real sshd on a free port, for the user that runs the tests.
pub struct Sshd {
    pub dir: TempDir,
    child: Child,
    pub port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it, or says why it can't.
    pub fn start() -> Option<Self> {
        let sshd = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let Some(sshd) = sshd else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no sshd");
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some());
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::create_dir(dir.path().join("home")).unwrap();
        for key in ["host_key", "client_key", "forced_key", "home_key"] {
            let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]).status();
            assert!(made.unwrap().success());
        }
        let public = |key: &str| fs::read_to_string(path(&format!("{key}.pub"))).unwrap();
        let forced = format!("restrict,command=\"{PROGRAM} serve --stdio --store {}\"", path("forced"));
        // Whoever comes with this key is at home in a directory of ours, and not in that of the user that runs the tests.
        let home = path("home");
        let at_home = format!("command=\"cd '{home}' && HOME='{home}' exec sh -c \\\"$SSH_ORIGINAL_COMMAND\\\"\"");
        let [client, forced_key, home_key] = ["client_key", "forced_key", "home_key"].map(public);
        let keys = format!("{client}{forced} {forced_key}{at_home} {home_key}");
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
    pub fn command(&self, key: &str) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        format!(
            "ssh -F none -i {} -o IdentitiesOnly=yes -o UserKnownHostsFile={} -o StrictHostKeyChecking=yes -o BatchMode=yes",
            path(key),
            path("known_hosts")
        )
    }

    /// Returns a script to stand before `ssh` in a PATH: every host is this one, and its users are at home in `dir`'s `home`.
    pub fn script(&self) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let config = format!(
            "HostName 127.0.0.1\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\n\
            UserKnownHostsFile {}\nStrictHostKeyChecking yes\nBatchMode yes\nLogLevel ERROR\n",
            path("home_key"),
            path("known_hosts"),
            port = self.port
        );
        fs::write(self.dir.path().join("ssh_config"), config).unwrap();
        format!("#!/bin/sh\nPATH=/usr/local/bin:/usr/bin:/bin exec ssh -F {} \"$@\"\n", path("ssh_config"))
    }

    /// Returns whose account it is.
    pub fn user() -> String {
        let user = Command::new("id").arg("-un").output().unwrap();
        String::from_utf8(user.stdout).unwrap().trim().to_owned()
    }
}
