//! Watching the application's database: a thread that says when something may have changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::daemon::event::Event;
use crate::sync::backoff::Backoff;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sys::{clock, random};

/// Begins to watch.
///
/// # Errors
/// The thread can't be started.
pub fn start(root: &Path, events: Sender<Event>) -> io::Result<()> {
    let root: PathBuf = root.to_owned();
    thread::Builder::new().name("watch".into()).spawn(move || {
        let mut failures = 0;
        loop {
            let began = clock::moment().running;
            // Whatever ends it is found again, and reported, by the next job.
            let gone = watch(&root, &events);
            if gone.is_ok() {
                return;
            }
            let lasted = clock::moment().running.saturating_sub(began);
            failures = if lasted > Backoff::HERE.longest() { 1 } else { failures + 1 };
            let wait = Backoff::HERE.wait(failures, u64::from_le_bytes(random::bytes()));
            thread::sleep(wait.max(PAUSE));
        }
    })?;
    Ok(())
}

/// Watches until nobody listens any more.
fn watch(root: &Path, events: &Sender<Event>) -> Result<(), Error> {
    let instance = Instance::open(root, Purpose::Look, silent())?;
    loop {
        if instance.with_database(|database| Ok(database.wait_for_change(WAIT)?))?
            && events.send(Event::Noticed).is_err()
        {
            return Ok(());
        }
        // An application that writes with every page view must not keep us awake.
        thread::sleep(PAUSE);
    }
}

const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
