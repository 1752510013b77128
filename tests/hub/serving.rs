//! An instance that serves its own store, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::support::app::App;

/// A running `wbsync serve` of an instance. Killed when dropped.
pub(crate) struct Serving {
    child: Child,
    listen: String,
}

impl Serving {
    pub(crate) fn start(app: &App, listen: &str, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wbsync"))
            .args(["serve", "--listen", listen])
            .args(options)
            .current_dir(app.dir())
            .env_clear()
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        assert!(first.starts_with("listening on "), "{first}");
        // Nobody reads the log; a full pipe would stop the program.
        std::thread::spawn(move || lines.lines().map_while(Result::ok).for_each(drop));
        Self { child, listen: listen.to_owned() }
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn start_again(&mut self, app: &App) {
        *self = Self::start(app, &self.listen.clone(), &[]);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop();
    }
}
