//! What the guides start besides commands: `systemctl` for the units of scripts/deploy, and `curl`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// The services of one page; those that still run end with it.
#[derive(Default)]
pub(crate) struct Services {
    /// Where `/srv` is.
    pub(crate) root: PathBuf,
    /// Where the hub listens.
    pub(crate) hub: String,
    /// Where workers listen, by instance.
    pub(crate) workers: BTreeMap<String, String>,
    running: RefCell<BTreeMap<String, Child>>,
}

impl Services {
    /// Runs a command if it is one of these.
    pub(crate) fn run(&self, command: &str) -> Option<String> {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["systemctl", "start", unit] => Some(self.start(unit)),
            ["systemctl", "stop", unit] => Some(self.stop(unit)),
            ["systemctl", "reload", unit] => Some(self.reload(unit)),
            ["curl", "-fsS", url] => Some(get(url)),
            ["curl", "-fsS", url, "|", "grep", beginning] => {
                let beginning = beginning.trim_matches('\'').strip_prefix('^').expect("the beginning of a line");
                let page = get(url);
                Some(
                    page.lines()
                        .filter(|line| line.starts_with(beginning))
                        .map(|line| line.to_owned() + "\n")
                        .collect(),
                )
            }
            ["install", "-m", "755", from, to] => {
                // Without its many megabytes.
                let _ = std::fs::remove_file(to);
                std::os::unix::fs::symlink(from, to).unwrap();
                Some(String::new())
            }
            _ => None,
        }
    }

    /// Starts what the unit starts, and waits until it says that it has begun.
    fn start(&self, unit: &str) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_wbsync"));
        if unit == "wbsync-hub" {
            // By either name: `localhost` is what stands for hub.example.
            let url = format!("http://{}/", self.hub);
            let by_name = url.replace("127.0.0.1", "localhost");
            command.args([
                "serve",
                "--listen",
                &self.hub,
                "--store",
                "store",
                "--metrics",
                "--url",
                &url,
                "--url",
                &by_name,
            ]);
            command.current_dir(self.root.join("hub"));
        } else {
            let name = unit.strip_prefix("wbsync@").expect("a unit of scripts/deploy");
            command.args(["run", "--listen", &self.workers[name]]).current_dir(self.root.join(name));
        }
        command.env_clear().env("NO_COLOR", "1").stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert!(first.contains("listening") || first.contains("started"), "{unit}: {first}");
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        self.running.borrow_mut().insert(unit.to_owned(), child);
        String::new()
    }

    fn reload(&self, unit: &str) -> String {
        let pid = self.running.borrow()[unit].id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
        String::new()
    }

    fn stop(&self, unit: &str) -> String {
        let mut child = self.running.borrow_mut().remove(unit).unwrap_or_else(|| panic!("{unit} isn't running"));
        assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
        assert!(child.wait().unwrap().success(), "{unit} ends well");
        String::new()
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        for child in self.running.borrow_mut().values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Gets a page, like `curl -fsS`.
fn get(url: &str) -> String {
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("an http URL");
    let Ok(mut stream) = TcpStream::connect(address) else {
        return "curl: (7) Failed to connect\n(exit code 7)\n".into();
    };
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    match head.split(' ').nth(1).unwrap() {
        "200" => body.to_owned(),
        status => format!("curl: (22) The requested URL returned error: {status}\n(exit code 22)\n"),
    }
}
