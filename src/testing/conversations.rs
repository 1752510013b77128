//! Conversations with somebody who says any bytes: a client of the hub, a git server, whoever packed a bundle.
//!
//! They work on a disk or in a runtime, so that they are slower than the decoders, and what they leave behind is removed.

use std::fs;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Runtime;

use crate::hub::listen::{converse, runtime};
use crate::hub::members::Members;
use crate::hub::service::{Connection, Hub, Options};
use crate::transport::bundle::store::{BundleStore, Part};
use crate::transport::dir::DirStore;
#[cfg(feature = "git")]
use crate::transport::git::heard;

/// Says these bytes to a hub, once as a stranger and once as its owner; tells whether the owner got an answer that isn't a refusal.
pub(super) fn hub_answers(bytes: &[u8]) -> bool {
    let said = [false, true].map(|trusted| said_to_hub(bytes, trusted));
    said[1].starts_with("HTTP/1.1 2")
}

fn said_to_hub(bytes: &[u8], trusted: bool) -> String {
    static PLACE: LazyLock<(Runtime, tempfile::TempDir, Arc<Hub>)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().expect("there is a temporary directory");
        let root = dir.path().join("store");
        let store = DirStore::create(&root).expect("a store can be made");
        let members = Members::open(&root).expect("its list of members can be made");
        let options = Options { public: true, ..Options::default() };
        let hub = Hub::new(store, members, options, Arc::new(|_| {})).expect("the store is empty");
        (runtime().expect("a runtime can be made"), dir, Arc::new(hub))
    });
    let (runtime, _, hub) = &*PLACE;
    let connection = Connection { address: None, tls: false, trusted };
    runtime.block_on(async {
        let (mut near, far) = tokio::io::duplex(1 << 20);
        let serving = tokio::spawn(converse(Arc::clone(hub), connection, far));
        // All of it fits, so that nobody has to read meanwhile.
        let _ = near.write_all(bytes).await;
        let _ = near.shutdown().await;
        let mut answer = Vec::new();
        // Whoever asks to wait for changes is left alone.
        let _ = tokio::time::timeout(WAIT, near.read_to_end(&mut answer)).await;
        serving.abort();
        if let Err(ended) = serving.await {
            assert!(!ended.is_panic(), "the hub panicked");
        }
        String::from_utf8_lossy(&answer).into_owned()
    })
}

/// Reads a bundle of one part.
pub(super) fn is_bundle(bytes: &[u8]) -> bool {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    fs::write(file.path(), bytes).expect("a temporary file can be written");
    BundleStore::open(&[Part { file: file.path().to_owned(), name: "it".to_owned() }]).is_ok()
}

/// Listens to a git server.
#[cfg(feature = "git")]
pub(super) fn is_git_server(bytes: &[u8]) -> bool {
    heard::understood(bytes)
}

/// Takes a pack of git objects in.
#[cfg(feature = "git")]
pub(super) fn is_git_pack(bytes: &[u8]) -> bool {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    heard::is_pack(dir.path(), bytes).expect("an empty directory can be used")
}

/// Returns a pack.
#[cfg(feature = "git")]
pub(super) fn git_pack() -> Vec<u8> {
    let dir = tempfile::tempdir().expect("there is a temporary directory");
    heard::sample_pack(dir.path()).expect("an empty directory can be used")
}

/// Returns what a git server says.
#[cfg(feature = "git")]
pub(super) fn git_answer() -> Vec<u8> {
    heard::sample_answer(&git_pack())
}

const WAIT: Duration = Duration::from_millis(200);
