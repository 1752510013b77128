//! A line to a hub that counts the bytes that cross it, and may be slow.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Listens on loopback and passes everything on to a hub and back.
#[derive(Debug)]
pub struct Wire {
    /// Where it listens, as `host:port`.
    pub address: String,
    /// Bytes that went to the hub.
    pub up: Arc<AtomicU64>,
    /// Bytes that came from it.
    pub down: Arc<AtomicU64>,
}

impl Wire {
    /// Starts a line to `hub` that lets so many bytes a second come down.
    pub fn start(hub: &str, bytes_per_second: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let wire = Self { address, up: Arc::default(), down: Arc::default() };
        let (up, down, hub) = (Arc::clone(&wire.up), Arc::clone(&wire.down), hub.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&hub) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let (up, down) = (Arc::clone(&up), Arc::clone(&down));
                std::thread::spawn(move || carry(from, to, &up, u64::MAX, Shutdown::Write));
                std::thread::spawn(move || carry(server, client, &down, bytes_per_second, Shutdown::Both));
            }
        });
        wire
    }

    /// Returns the bytes that came down since the last time.
    pub fn taken(&self) -> u64 {
        self.down.swap(0, Ordering::SeqCst)
    }

    /// Returns the bytes that crossed it either way since the last time.
    pub fn crossed(&self) -> u64 {
        self.taken() + self.up.swap(0, Ordering::SeqCst)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, count: &AtomicU64, bytes_per_second: u64, end: Shutdown) {
    let mut buffer = [0; 8 << 10];
    while let Ok(read) = from.read(&mut buffer) {
        // Counted before it is passed on: whoever has the answer finds it counted.
        count.fetch_add(read as u64, Ordering::SeqCst);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_micros(read as u64 * 1_000_000 / bytes_per_second));
    }
    let _ = to.shutdown(end);
}
