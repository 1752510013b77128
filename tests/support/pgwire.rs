//! A wire between a client and PostgreSQL that counts what is asked, and is cut where a test says.
//!
//! Each question ends in one message of the protocol (a simple query, or a synchronisation): those are counted.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What happens at a question.
pub enum Fault {
    /// The connection ends before the server hears it.
    Before,
    /// The server does what it is told, and nobody hears of it.
    After,
    /// Something else first.
    First(Box<dyn FnOnce() + Send>),
}

/// A listener in front of a server.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    questions: AtomicU64,
    armed: Mutex<Option<(u64, Fault)>>,
    /// Held while something happens first.
    acting: Mutex<()>,
}

impl Wire {
    /// Listens in front of the server whose socket is in a directory.
    pub fn before(directory: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State::default());
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(directory.join(".s.PGSQL.5432"))) else {
                    continue;
                };
                let state = shared.clone();
                std::thread::spawn(move || carry(client, server, &state));
            }
        });
        Self { port, state }
    }

    /// Returns the address of a database by way of this wire.
    pub fn url(&self, direct: &str) -> String {
        let (start, _) = direct.split_once("?host=").expect("a socket's address");
        format!("{}&sslmode=disable", start.replace("@/", &format!("@127.0.0.1:{}/", self.port)) + "?connect_timeout=5")
    }

    /// Returns how many questions were asked so far.
    pub fn questions(&self) -> u64 {
        self.state.questions.load(Ordering::SeqCst)
    }

    /// Begins to count anew; at the question with this number, from 1, something happens once.
    pub fn arm(&self, at: u64, fault: Fault) {
        *self.state.armed.lock().expect("nobody panicked") = Some((at, fault));
        self.state.questions.store(0, Ordering::SeqCst);
    }

    /// Lets everything pass again; tells whether nothing had happened yet.
    pub fn disarm(&self) -> bool {
        // What happens at a question ends, though the client may know already that the connection is gone.
        drop(self.state.acting.lock().expect("nobody panicked"));
        self.state.armed.lock().expect("nobody panicked").take().is_some()
    }
}

/// Carries one connection until it ends.
fn carry(mut client: TcpStream, mut server: UnixStream, state: &State) {
    let _ = client.set_nodelay(true);
    let deaf = Arc::new(AtomicBool::new(false));
    let back = {
        let (mut from, mut to) = (server.try_clone().expect("a socket"), client.try_clone().expect("a socket"));
        let deaf = deaf.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            loop {
                let read = from.read(&mut buffer).unwrap_or(0);
                // An answer came: what was asked is done.
                if read == 0 || deaf.load(Ordering::SeqCst) || to.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        })
    };
    let mut has_begun = false;
    while let Some(message) = next(&mut client, has_begun) {
        let is_start = !has_begun;
        has_begun = true;
        if !is_start && matches!(message[0], b'Q' | b'S') {
            let number = state.questions.fetch_add(1, Ordering::SeqCst) + 1;
            let mut armed = state.armed.lock().expect("nobody panicked");
            let fault = armed.take_if(|(at, _)| *at == number);
            let acting = state.acting.lock().expect("nobody panicked");
            drop(armed);
            match fault {
                None => {}
                Some((_, Fault::Before)) => break,
                Some((_, Fault::After)) => deaf.store(true, Ordering::SeqCst),
                Some((_, Fault::First(act))) => act(),
            }
            drop(acting);
        }
        if server.write_all(&message).is_err() {
            break;
        }
    }
    if !deaf.load(Ordering::SeqCst) {
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    }
    let _ = back.join();
}

/// Reads a message with its head; the first of a connection has no letter.
fn next(from: &mut TcpStream, has_letter: bool) -> Option<Vec<u8>> {
    let head = if has_letter { 5 } else { 4 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).ok()?;
    let length = u32::from_be_bytes(message[head - 4..].try_into().expect("four bytes"));
    let rest = usize::try_from(length).ok()?.checked_sub(4)?;
    message.resize(head + rest, 0);
    from.read_exact(&mut message[head..]).ok()?;
    Some(message)
}
