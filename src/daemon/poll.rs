//! Asking hubs what changed: a thread for each, which holds its connection and the cursor.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::daemon::event::{Event, Polled};
use crate::id::bytes::InstanceId;
use crate::id::name::PeerName;
use crate::sync::error::Error;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::progress::silent;
use crate::transport::http::store::HttpStore;

/// The threads that ask.
#[derive(Debug)]
pub struct Pollers {
    root: PathBuf,
    events: Sender<Event>,
    asking: BTreeMap<PeerName, Sender<()>>,
}

impl Pollers {
    /// Begins with none.
    pub fn new(root: &Path, events: Sender<Event>) -> Self {
        Self { root: root.to_owned(), events, asking: BTreeMap::new() }
    }

    /// Asks a remote once; what it answers comes as an event.
    ///
    /// # Errors
    /// The thread can't be started.
    pub fn ask(&mut self, name: &PeerName) -> io::Result<()> {
        if self.asking.get(name).is_some_and(|thread| thread.send(()).is_ok()) {
            return Ok(());
        }
        let (sender, asked) = channel();
        let (root, remote, events) = (self.root.clone(), name.clone(), self.events.clone());
        thread::Builder::new().name("poll".into()).spawn(move || answer(&root, &remote, &asked, &events))?;
        // It is there to hear it.
        let _ = sender.send(());
        self.asking.insert(name.clone(), sender);
        Ok(())
    }

    /// Lets the threads of remotes end that aren't asked any more, after their last answer.
    pub fn keep(&mut self, wanted: impl Fn(&PeerName) -> bool) {
        self.asking.retain(|name, _| wanted(name));
    }
}

fn answer(root: &Path, remote: &PeerName, asked: &Receiver<()>, events: &Sender<Event>) {
    let mut hub = None;
    while asked.recv().is_ok() {
        let polled = hub.take().map_or_else(|| Hub::open(root, remote), Ok).and_then(|mut open: Hub| {
            let polled = open.poll(remote)?;
            hub = Some(open);
            Ok(polled)
        });
        if events.send(Event::Polled(remote.clone(), polled.unwrap_or(Polled::Failed))).is_err() {
            return;
        }
    }
}

/// A hub that is asked again and again.
struct Hub {
    store: HttpStore,
    own: InstanceId,
    cursor: Option<String>,
}

impl Hub {
    fn open(root: &Path, remote: &PeerName) -> Result<Self, Error> {
        let instance = Instance::open(root, Purpose::Look, silent())?;
        Ok(Self { store: instance.open_hub(remote)?, own: instance.id(), cursor: None })
    }

    fn poll(&mut self, remote: &PeerName) -> Result<Polled, Error> {
        let changes = self.store.changes(self.cursor.as_deref(), WAIT).map_err(Error::store(remote.as_str()))?;
        self.cursor = Some(changes.cursor);
        // What we wrote ourselves ends with our own id.
        let own = self.own.to_string();
        let is_news = changes.more || changes.changes.iter().any(|change| !change.path.ends_with(&own));
        Ok(if is_news { Polled::Changed } else { Polled::Quiet })
    }
}

/// Hubs wait at most this long; proxies cut connections on which nothing moves for a minute.
const WAIT: Duration = Duration::from_secs(50);
