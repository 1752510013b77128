//! Watching the application's database: a thread that says when something may have changed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::daemon::event::Event;
use crate::sync::backoff::Backoff;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::sys::{clock, random};

/// Whether the database is watched, and the thread that does it.
#[derive(Debug)]
pub struct Watch {
    root: PathBuf,
    events: Sender<Event>,
    /// Of the thread that watches: whether it is still wanted.
    wanted: Option<Arc<AtomicBool>>,
}

impl Watch {
    /// Begins with none.
    pub fn new(root: &Path, events: Sender<Event>) -> Self {
        Self { root: root.to_owned(), events, wanted: None }
    }

    /// Begins or ends to watch.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn set(&mut self, is_wanted: bool) -> io::Result<()> {
        match (&self.wanted, is_wanted) {
            (Some(wanted), false) => {
                wanted.store(false, Ordering::Relaxed);
                self.wanted = None;
            }
            (None, true) => {
                let wanted = Arc::new(AtomicBool::new(true));
                let (root, events, goes_on) = (self.root.clone(), self.events.clone(), Arc::clone(&wanted));
                thread::Builder::new().name("watch".into()).spawn(move || keep_watching(&root, &events, &goes_on))?;
                self.wanted = Some(wanted);
            }
            (Some(_), true) | (None, false) => {}
        }
        Ok(())
    }
}

fn keep_watching(root: &Path, events: &Sender<Event>, wanted: &AtomicBool) {
    let mut failures = 0;
    loop {
        let began = clock::moment().running;
        // Whatever ends it is found again, and reported, by the next job.
        if watch(root, events, wanted).is_ok() || !wanted.load(Ordering::Relaxed) {
            return;
        }
        let lasted = clock::moment().running.saturating_sub(began);
        failures = if lasted > Backoff::HERE.longest() { 1 } else { failures + 1 };
        let wait = Backoff::HERE.wait(failures, u64::from_le_bytes(random::bytes()));
        thread::sleep(wait.max(PAUSE));
    }
}

/// Watches until that isn't wanted any more, or nobody listens.
fn watch(root: &Path, events: &Sender<Event>, wanted: &AtomicBool) -> Result<(), Error> {
    let instance = Instance::open(root, Purpose::Look, silent())?;
    while wanted.load(Ordering::Relaxed) {
        if instance.with_database(|database| Ok(database.wait_for_change(WAIT)?))?
            && events.send(Event::Noticed).is_err()
        {
            break;
        }
        // An application that writes with every page view must not keep us awake.
        thread::sleep(PAUSE);
    }
    Ok(())
}

const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
