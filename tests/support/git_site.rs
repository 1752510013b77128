//! A host of git repositories: nginx with git's own HTTP backend, and a password.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::sshd::Sshd;

/// nginx in front of `git http-backend`, which this test runs for it by SCGI, as fcgiwrap would by FastCGI. Asks for a password.
pub struct GitSite {
    /// The repositories, by their paths in the URL.
    pub dir: TempDir,
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
    /// Starts it, or says why it can't.
    pub fn start() -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: there is no nginx");
            assert!(std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some());
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

    /// Returns the URL of a repository, for `NAME:PASSWORD@`, `NAME@` or nobody.
    pub fn url(&self, user: &str, path: &str) -> String {
        format!("git+http://{user}127.0.0.1:{}/{path}", self.port)
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
