//! The hub over standard input and output: the same requests and answers, for `ssh` to carry.

use std::sync::Arc;

use crate::hub::error::Error;
use crate::hub::listen::{converse, runtime};
use crate::hub::service::{Connection, Hub};

/// Serves until the input ends. With `trusted`, whoever is at the other end has all rights.
///
/// # Errors
/// `Start`.
pub fn serve(hub: Arc<Hub>, trusted: bool) -> Result<(), Error> {
    let runtime = runtime()?;
    let connection = Connection { address: None, tls: false, trusted };
    runtime.block_on(converse(hub, connection, tokio::io::join(tokio::io::stdin(), tokio::io::stdout())));
    // A thread may still be waiting for input that never comes.
    runtime.shutdown_background();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::members::Members;
    use crate::hub::service::Options;
    use crate::transport::dir::DirStore;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn the_owner_of_a_store_is_answered_without_reading_all_of_it() {
        for (trusted, reads) in [(true, 0), (false, 3)] {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().join("store");
            let store = DirStore::create(&root).unwrap();
            for digit in ["1", "2", "3"] {
                std::fs::write(root.join("instances").join(digit.repeat(64)), "no card").unwrap();
            }
            let members = Members::open(&root).unwrap();
            let options = Options { public: true, ..Options::default() };
            let hub = Arc::new(Hub::new(store, members, options, Arc::new(|_| {})).unwrap());
            let serving = Arc::clone(&hub);
            let connection = Connection { address: None, tls: false, trusted };
            runtime().unwrap().block_on(async move {
                let (mut near, far) = tokio::io::duplex(64 << 10);
                let served = tokio::spawn(converse(serving, connection, far));
                let ask = "GET /instances HTTP/1.1\r\nHost: stdio\r\nConnection: close\r\n\r\n";
                near.write_all(ask.as_bytes()).await.unwrap();
                let mut answer = String::new();
                near.read_to_string(&mut answer).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                assert_eq!(answer.contains(&"2".repeat(64)), trusted, "{answer}");
                served.await.unwrap();
            });
            assert_eq!(hub.documents_read(), reads);
        }
    }
}
