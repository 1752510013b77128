//! TLS: by the hub itself, and by nginx in front of it, with a certificate authority of our own.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::site::{Site, befriend, instance};
use crate::support::app::App;
use crate::support::run::{Run, wbsync_with};

/// A certificate for `localhost`, and the authority that signed it.
pub(crate) struct Certificates {
    dir: TempDir,
}

impl Certificates {
    /// Makes them, or says why it can't.
    pub(crate) fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
            -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem && \
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout hub.key -out hub.csr && \
            printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext && \
            openssl x509 -req -in hub.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out hub.pem";
        let made = Command::new("sh").args(["-ec", script]).current_dir(dir.path()).output();
        if !made.is_ok_and(|made| made.status.success()) {
            skipped("openssl makes no certificates");
            return None;
        }
        Some(Self { dir })
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// Runs `wbsync` where the authority is trusted.
    fn run(&self, app: &App, args: &[&str]) -> Run {
        wbsync_with(app.dir(), args, &[("SSL_CERT_FILE", &self.path("ca.pem"))])
    }

    /// Lets two instances meet at `url`, whose hub has its store at `site`.
    fn exchange(&self, site: &Site, url: &str) {
        let (alpha, beta) = (instance("alpha"), instance("beta"));
        befriend(&alpha, &beta);
        for app in [&alpha, &beta] {
            fs::write(app.dir().join("token"), site.hub(&["invite"]).ok().stdout).unwrap();
            app.wbsync(&["remote", "add", "hub", url]).ok();
            self.run(app, &["hub", "join", "hub", "--token-file", "token"]).ok();
        }
        let long = "a long way to go. ".repeat(10_000);
        alpha.insert_request(Some(App::ADMIN), &long, "trusted");
        self.run(&alpha, &["sync"]).ok();
        self.run(&beta, &["sync"]).ok();
        assert_eq!(beta.value("SELECT count(*) FROM help_requests WHERE description LIKE 'a long way%'"), "1");
        let distrustful = alpha.wbsync(&["fetch"]);
        assert_ne!(distrustful.code, 0, "an authority that isn't known counts for nothing: {distrustful}");
        assert!(distrustful.stderr.contains("ertificate"), "{distrustful}");
    }
}

pub(crate) fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
    let excused = std::env::var_os("CI").is_none() || std::env::var_os("WBSYNC_ALLOW_SKIPS").is_some();
    assert!(excused, "{why}");
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_hub_does_tls_itself() {
    let Some(certificates) = Certificates::new() else { return };
    let port = free_port();
    let url = format!("https://localhost:{port}/");
    let (chain, key) = (certificates.path("hub.pem"), certificates.path("hub.key"));
    let options = ["--tls-cert", &chain, "--tls-key", &key, "--url", &url];
    let site = Site::start_in(tempfile::tempdir().unwrap(), &format!("127.0.0.1:{port}"), &options);
    certificates.exchange(&site, &url);
}

#[test]
fn a_proxy_of_the_environment_is_gone_through() {
    let Some(certificates) = Certificates::new() else { return };
    let (port, seen) = (free_port(), Arc::new(AtomicUsize::new(0)));
    let url = format!("https://localhost:{port}/");
    let (chain, key) = (certificates.path("hub.pem"), certificates.path("hub.key"));
    let options = ["--tls-cert", &chain, "--tls-key", &key, "--url", &url];
    let site = Site::start_in(tempfile::tempdir().unwrap(), &format!("127.0.0.1:{port}"), &options);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::clone(&seen);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let mut asked = BufReader::new(client.try_clone().unwrap());
            let mut line = String::new();
            asked.read_line(&mut line).unwrap();
            assert!(line.starts_with(&format!("CONNECT localhost:{port} ")), "{line}");
            while asked.read_line(&mut line).is_ok_and(|read| read > 2) {}
            let hub = TcpStream::connect(("127.0.0.1", port)).unwrap();
            (&client).write_all(b"HTTP/1.1 200 Established\r\n\r\n").unwrap();
            let (from, to) = (hub.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut &from, &mut &to));
            std::thread::spawn(move || std::io::copy(&mut asked, &mut &hub));
        }
    });
    let alpha = instance("alpha");
    fs::write(alpha.dir().join("token"), site.hub(&["invite"]).ok().stdout).unwrap();
    alpha.wbsync(&["remote", "add", "hub", &url]).ok();
    let variables = [("SSL_CERT_FILE", &certificates.path("ca.pem")[..]), ("HTTPS_PROXY", &proxy)];
    wbsync_with(alpha.dir(), &["hub", "join", "hub", "--token-file", "token"], &variables).ok();
    assert!(seen.load(Ordering::Relaxed) > 0);
}

/// A running nginx. Killed when dropped.
struct Nginx(Child);

impl Nginx {
    fn start(certificates: &Certificates, port: u16, to: &str) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].map(PathBuf::from).into_iter().find(|path| path.exists());
        let Some(program) = program else {
            skipped("there is no nginx");
            return None;
        };
        let dir = certificates.dir.path();
        // What docs/hub.md recommends, with the paths of this test.
        let config = format!(
            "daemon off; pid {pid}; error_log stderr; events {{}}\nhttp {{ access_log off;\n\
            client_body_temp_path {tmp}/1; proxy_temp_path {tmp}/2; fastcgi_temp_path {tmp}/3; uwsgi_temp_path {tmp}/4; scgi_temp_path {tmp}/5;\n\
            server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {chain}; ssl_certificate_key {key};\n\
            location /sync/ {{ proxy_pass {to}; proxy_http_version 1.1; client_max_body_size 0; proxy_request_buffering off; \
            proxy_buffering off; proxy_read_timeout 130s; }} }} }}\n",
            pid = certificates.path("nginx.pid"),
            tmp = dir.display(),
            chain = certificates.path("hub.pem"),
            key = certificates.path("hub.key"),
        );
        fs::write(dir.join("nginx.conf"), config).unwrap();
        let child = Command::new(program)
            .args(["-p", &certificates.path(""), "-c", &certificates.path("nginx.conf")])
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("nginx.log")).unwrap())
            .spawn()
            .unwrap();
        let mut nginx = Self(child);
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = || fs::read_to_string(Path::new(&certificates.path("nginx.log"))).unwrap();
            assert!(nginx.0.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20), "{}", log());
            std::thread::yield_now();
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its workers.
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn nginx_does_tls_and_takes_off_a_path() {
    let Some(certificates) = Certificates::new() else { return };
    let port = free_port();
    let url = format!("https://localhost:{port}/sync/");
    let site = Site::start(&["--behind-proxy", "--url", &url]);
    let Some(_nginx) = Nginx::start(&certificates, port, &site.url) else { return };
    certificates.exchange(&site, &url);
}

/// Runs curl, and returns the version of HTTP that it spoke, the status and the body.
fn curl(certificates: &Certificates, args: &[&str]) -> Option<(String, String)> {
    let program = Command::new("curl").arg("--version").stderr(Stdio::null()).output();
    let Some(features) = program.ok().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()) else {
        skipped("there is no curl");
        return None;
    };
    if !features.contains(" HTTP2") {
        skipped("this curl speaks no HTTP/2");
        return None;
    }
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", "--cacert", &certificates.path("ca.pem")])
        .args(["--write-out", "\n%{http_version} %{http_code}"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, spoken) = text.rsplit_once('\n').unwrap();
    Some((spoken.to_owned(), body.to_owned()))
}

#[test]
fn curl_speaks_both_versions_with_and_without_tls() {
    let Some(certificates) = Certificates::new() else { return };
    let port = free_port();
    let url = format!("https://localhost:{port}/");
    let (chain, key) = (certificates.path("hub.pem"), certificates.path("hub.key"));
    let options = ["--tls-cert", &chain, "--tls-key", &key, "--url", &url];
    let secure = Site::start_in(tempfile::tempdir().unwrap(), &format!("127.0.0.1:{port}"), &options);
    let plain = Site::start(&[]);
    for (site, version, option) in [
        (&url, "2", "--http2"),
        (&url, "1.1", "--http1.1"),
        (&plain.url, "2", "--http2-prior-knowledge"),
        (&plain.url, "1.1", "--http1.1"),
        // An offer to change in the midst is not taken up.
        (&plain.url, "1.1", "--http2"),
    ] {
        let Some((spoken, body)) = curl(&certificates, &[option, &format!("{site}info")]) else { return };
        assert_eq!(spoken, format!("{version} 200"), "{option} {site}");
        assert!(body.contains("\"service\":\"wbsync\""), "{body}");
        let (spoken, body) = curl(&certificates, &[option, &format!("{site}scopes")]).unwrap();
        assert_eq!(spoken, format!("{version} 401"), "{option} {site}");
        assert!(body.contains("\"code\":\"unsigned\""), "{body}");
    }
    drop((secure, plain));
}
