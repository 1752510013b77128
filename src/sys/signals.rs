//! Signals that ask a program that runs on: to end, or to read its configuration again.

use std::io;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// To end (SIGTERM, SIGINT).
    End,
    /// To read the configuration again (SIGHUP).
    Reload,
}

/// Lets interrupts from the terminal pass, for as long as the program runs: another one in the foreground takes them.
///
/// # Errors
/// The system refuses the handler.
pub fn hold_interrupts() -> io::Result<()> {
    #[cfg(unix)]
    {
        let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGINT, ignored)?;
    }
    Ok(())
}

/// Calls `take` for each signal, on a thread of its own, as long as the program runs.
///
/// Where there are no such signals, it is never called.
///
/// # Errors
/// The system refuses the handlers or the thread.
pub fn listen(take: impl Fn(Signal) + Send + 'static) -> io::Result<()> {
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM])?;
        let wait = move || {
            for signal in signals.forever() {
                take(if signal == SIGHUP { Signal::Reload } else { Signal::End });
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(wait)?;
    }
    #[cfg(not(unix))]
    drop(take);
    Ok(())
}
