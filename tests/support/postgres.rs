//! A real PostgreSQL: a cluster in a temporary directory, reached by a socket there, gone with the process.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use postgres::{Client, NoTls};

/// A running server.
pub struct Cluster {
    socket: PathBuf,
    databases: AtomicU32,
    /// The script that runs it ends when its input is closed, also by a crash of ours; with each line it kills the server
    /// and starts it again.
    script: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    _server: Child,
}

/// Makes the cluster in `$1` with the programs in `$2` and the options in `$3`, tells when it runs, kills and starts it again with each line, and removes it when its input ends.
const SCRIPT: &str = r#"
dir=$1 PATH=$2:$PATH
trap 'kill -INT "$pid" 2>/dev/null; wait "$pid"; rm -rf "$dir"; exit' EXIT
initdb -D "$dir/data" -A trust -U postgres -E UTF8 --locale=C --no-sync >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
start() {
    postgres -D "$dir/data" -k "$dir" -c fsync=off -c synchronous_commit=off -c full_page_writes=off \
        -c max_connections=200 $3 >>"$dir/log" 2>&1 </dev/null & pid=$!
    tries=0
    until psql -h "$dir" ${4:+-p "$4"} -U postgres -c 'SELECT 1' postgres >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -gt 300 ] && { cat "$dir/log" >&2; exit 1; }
        sleep 0.1
    done
    echo ready
}
start "$@"
while read -r _; do
    kill -QUIT "$pid"; wait "$pid"
    start "$@"
done
"#;

impl Cluster {
    /// Returns the cluster of this process; `None`, loudly, where PostgreSQL isn't installed.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("", &[], "-c listen_addresses=", "")).as_ref()
    }

    /// Starts one that takes TLS on a port of this machine, with a certificate and its key. It stops when the value is dropped.
    pub fn secured(port: u16, certificate: &str, key: &str, authority: &str) -> Option<Self> {
        let configured = Command::new(programs()?.join("pg_config")).arg("--configure").output();
        if configured.is_ok_and(|told| !String::from_utf8_lossy(&told.stdout).contains("ssl")) {
            let told = b"\n!!! SKIPPED: TLS of PostgreSQL, which was built without it\n";
            std::io::stderr().write_all(told).expect("standard error is open");
            return None;
        }
        let files = [("server.crt", certificate), ("server.key", key), ("authority.crt", authority), ("hba.conf", HBA)];
        let options = format!(
            "-c listen_addresses=127.0.0.1 -p {port} -c ssl=on -c ssl_cert_file=../server.crt -c ssl_key_file=../server.key \
             -c ssl_ca_file=../authority.crt -c hba_file=hba.conf"
        );
        Self::start("-tls", &files, &options, &port.to_string())
    }

    /// Like `shared`; without PostgreSQL it says so and ends the whole test program, as if it had passed.
    pub fn or_skip() -> &'static Self {
        Self::shared().unwrap_or_else(|| std::process::exit(0))
    }

    /// Makes an empty database and returns its address.
    pub fn new_database(&self) -> String {
        let name = format!("app{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut client = connect(&self.url("postgres"));
        client.batch_execute(&format!("CREATE DATABASE {name} TEMPLATE template0")).expect("a database is made");
        self.url(&name)
    }

    /// Returns the directory with its socket.
    pub fn directory(&self) -> &Path {
        &self.socket
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql+psycopg2://postgres@/{database}?host={}", self.socket.display())
    }

    fn start(suffix: &str, files: &[(&str, &str)], options: &str, port: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            // Past the harness, which would swallow it.
            let told = b"\n!!! SKIPPED: all tests of PostgreSQL, which is not installed (apt-get install postgresql)\n";
            std::io::stderr().write_all(told).expect("standard error is open");
            return None;
        };
        // The server refuses to run as root, and another user may not get into our own temporary directory.
        let is_root =
            Path::new("/proc/self").metadata().is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == 0);
        let base = match is_root {
            true => ["/dev/shm", "/tmp"].map(PathBuf::from).into_iter().find(|dir| dir.is_dir())?,
            false => std::env::temp_dir(),
        };
        let dir = base.join(format!("wbsync-pg-{}{suffix}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        for (name, text) in files {
            let path = dir.join(name);
            fs::write(&path, text).expect("a file");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).expect("its rights");
        }
        let mut command = Command::new(if is_root { "setpriv" } else { "sh" });
        if is_root {
            assert!(
                Command::new("chown").args(["-R", "nobody", dir.to_str()?]).status().expect("chown runs").success()
            );
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "sh"]);
        }
        command.args(["-c", SCRIPT, "cluster", dir.to_str()?, programs.to_str()?, options, port]);
        // The script stops the server when our end of its input closes, also if we are killed: nobody waits for it.
        #[allow(
            clippy::zombie_processes,
            reason = "it outlives every test of this process; not every test binary is told so"
        )]
        let mut child =
            command.current_dir(&dir).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh runs");
        let (input, output) = (child.stdin.take().expect("it is piped"), child.stdout.take().expect("it is piped"));
        let script = Mutex::new((input, BufReader::new(output)));
        let cluster = Self { socket: dir, databases: AtomicU32::new(0), script, _server: child };
        cluster.is_ready();
        Some(cluster)
    }

    /// Starts one that a test may stop, by a name of its own. It stops when the value is dropped.
    pub fn alone(suffix: &str) -> Option<Self> {
        // What was committed stays, though the server is killed.
        Self::start(suffix, &[], "-c listen_addresses= -c synchronous_commit=on -c full_page_writes=on", "")
    }

    /// Kills the server as a crash does, and starts it again.
    pub fn crash(&self) {
        self.script.lock().expect("nobody panicked").0.write_all(b"again\n").expect("the script listens");
        self.is_ready();
    }

    fn is_ready(&self) {
        let mut line = String::new();
        self.script.lock().expect("nobody panicked").1.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n", "the server starts");
    }
}

/// Connects as an application would.
pub fn connect(url: &str) -> Client {
    Client::connect(&url.replace("+psycopg2", ""), NoTls).expect("the server answers")
}

/// Finds the directory with `initdb`: that of `WBSYNC_PG_BIN`, or of the newest version here.
fn programs() -> Option<PathBuf> {
    let has = |dir: &PathBuf| dir.join("initdb").is_file() && dir.join("postgres").is_file();
    if let Some(dir) = std::env::var_os("WBSYNC_PG_BIN").map(PathBuf::from) {
        assert!(has(&dir), "{} holds no initdb and postgres", dir.display());
        return Some(dir);
    }
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions.into_iter().rev().find(has).or_else(|| std::env::split_paths(&path).find(has))
}

/// Who gets into a server with certificates: into one database only who shows one.
const HBA: &str = "local all all trust\nhostssl template1 all all cert\nhost all all all trust\n";
