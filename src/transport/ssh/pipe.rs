//! A program's standard input and output as a connection of the HTTP client.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};

use crate::transport::guard::Guard;

/// Starts the program for each connection.
#[derive(Clone)]
pub(crate) struct PipeConnector {
    command: Arc<dyn Fn() -> Command + Send + Sync>,
}

impl PipeConnector {
    pub(crate) fn new(command: Arc<dyn Fn() -> Command + Send + Sync>) -> Self {
        Self { command }
    }
}

impl fmt::Debug for PipeConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PipeConnector")
    }
}

impl Connector<()> for PipeConnector {
    type Out = Pipe;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Pipe>, Error> {
        let mut command = (self.command)();
        // What it says goes to our own standard error: questions and reasons are `ssh`'s.
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Error::Io(io::Error::new(error.kind(), format!("cannot run {program}: {error}")))
        })?;
        let stdin = child.stdin.take().expect("it was asked for");
        let mut stdout = child.stdout.take().expect("it was asked for");
        let (sender, receiver) = sync_channel(PARTS_WAITING);
        // Ends with the pipe, or when nobody listens any more.
        std::thread::spawn(move || {
            loop {
                let mut part = vec![0; PART_BYTES];
                let read = match stdout.read(&mut part) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    read => read,
                };
                let ended = !matches!(read, Ok(1..));
                let part = read.map(|count| {
                    part.truncate(count);
                    part
                });
                if sender.send(part).is_err() || ended {
                    return;
                }
            }
        });
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        let program = Program { guard: Guard::new(child), stdin: Some(stdin) };
        Ok(Some(Pipe { buffers, program, from: Mutex::new(receiver), part: Vec::new(), taken: 0, ended: false }))
    }
}

/// A running program as a connection.
pub(crate) struct Pipe {
    buffers: LazyBuffers,
    program: Program,
    // Only for `Sync`; nobody else locks it.
    from: Mutex<Receiver<io::Result<Vec<u8>>>>,
    part: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pipe")
    }
}

impl Transport for Pipe {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let stdin = self.program.stdin.as_mut().expect("it is closed only when dropped");
        let output = &self.buffers.output()[..amount];
        let sent = self.program.guard.during(|| stdin.write_all(output).and_then(|()| stdin.flush()));
        sent.map_err(|error| match self.program.ended() {
            Some(reason) => Error::Io(reason),
            None => Error::Io(error),
        })
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if self.taken == self.part.len() && !self.ended {
            let patience = if timeout.after.is_not_happening() { FOREVER } else { *timeout.after };
            let received = self.from.lock().unwrap_or_else(std::sync::PoisonError::into_inner).recv_timeout(patience);
            (self.part, self.taken) = match received {
                Ok(part) => (part.map_err(Error::Io)?, 0),
                Err(RecvTimeoutError::Timeout) => return Err(Error::Timeout(timeout.reason)),
                Err(RecvTimeoutError::Disconnected) => (Vec::new(), 0),
            };
            self.ended = self.part.is_empty();
        }
        if self.ended {
            return match self.program.ended() {
                Some(reason) => Err(Error::Io(reason)),
                None => Ok(false),
            };
        }
        let room = self.buffers.input_append_buf();
        let count = room.len().min(self.part.len() - self.taken);
        room[..count].copy_from_slice(&self.part[self.taken..self.taken + count]);
        self.taken += count;
        self.buffers.input_appended(count);
        Ok(count > 0)
    }

    fn is_open(&mut self) -> bool {
        !self.ended && matches!(self.program.guard.child().try_wait(), Ok(None))
    }
}

/// A running program; ends when its input does.
struct Program {
    guard: Guard,
    stdin: Option<ChildStdin>,
}

impl Program {
    /// Says why the program ended, if it did badly.
    fn ended(&mut self) -> Option<io::Error> {
        let until = Instant::now() + END_TIMEOUT;
        let status = loop {
            let status = self.guard.child().try_wait();
            match status {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        };
        if status.success() {
            return None;
        }
        // Not worth another try: a wrong key, an unknown host, no such program.
        let message = format!("ssh, or wbsync on the other side, ended with {status}; what it said is above");
        Some(io::Error::new(io::ErrorKind::ConnectionRefused, message))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let until = Instant::now() + END_TIMEOUT;
        let is_running = || matches!(self.guard.child().try_wait(), Ok(None));
        while is_running() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        // It may have ended just now; then there is nothing to do.
        let _ = self.guard.child().kill();
        let _ = self.guard.child().wait();
    }
}

/// Finds no address, for none is needed.
#[derive(Debug)]
pub(crate) struct Nowhere;

impl Resolver for Nowhere {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        Ok(addresses)
    }
}

const PARTS_WAITING: usize = 4;
const PART_BYTES: usize = 32 << 10;
const END_TIMEOUT: Duration = Duration::from_secs(1);
const FOREVER: Duration = Duration::from_secs(24 * 3600);
