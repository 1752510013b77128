//! Progress of long work: a bar on a terminal, elsewhere a plain line every thirty seconds.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::context::say;
use super::text::grouped;
use crate::sync::progress::{Event, Watcher};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);
/// How often a bar is drawn while nothing is reported.
const TICK: Duration = Duration::from_millis(120);

/// Draws a bar for each phase, and wipes it when the phase is over.
pub fn bars(verbose: bool) -> Watcher {
    let current: RefCell<Option<(ProgressBar, Phase)>> = RefCell::new(None);
    Box::new(move |event| {
        let mut current = current.borrow_mut();
        match event {
            Event::Phase { name, total } => {
                let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                let template = match total {
                    Some(_) => "{spinner} {msg} {wide_bar} {percent}% {eta}",
                    None => "{spinner} {msg} {human_pos}",
                };
                bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
                bar.set_message(name.to_owned());
                bar.enable_steady_tick(TICK);
                *current = Some((bar, Phase::new(name)));
            }
            Event::Done(done) => {
                if let Some((bar, phase)) = current.as_mut() {
                    bar.set_position(done);
                    phase.done = done;
                }
            }
            Event::End => {
                if let Some((bar, phase)) = current.take() {
                    bar.finish_and_clear();
                    phase.close(verbose);
                }
            }
        }
    })
}

/// Writes a line every thirty seconds, and with `verbose` one at the end of each phase.
pub fn lines(verbose: bool) -> Watcher {
    let current: RefCell<Option<Phase>> = RefCell::new(None);
    Box::new(move |event| {
        let mut current = current.borrow_mut();
        match event {
            Event::Phase { name, .. } => *current = Some(Phase::new(name)),
            Event::Done(done) => {
                if let Some(phase) = current.as_mut() {
                    phase.done = done;
                    if phase.told.elapsed() >= LINE_EVERY {
                        phase.told = Instant::now();
                        say(&phase.to_string());
                    }
                }
            }
            Event::End => {
                if let Some(phase) = current.take() {
                    phase.close(verbose);
                }
            }
        }
    })
}

/// A phase under way.
struct Phase {
    name: String,
    began: Instant,
    told: Instant,
    done: u64,
}

impl Phase {
    fn new(name: &str) -> Self {
        let now = Instant::now();
        Self { name: name.to_owned(), began: now, told: now, done: 0 }
    }

    fn close(&self, verbose: bool) {
        if verbose {
            say(&self.to_string());
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.name)?;
        if self.done > 0 {
            write!(f, ": {}", grouped(self.done))?;
        }
        write!(f, " ({:.1} s)", self.began.elapsed().as_secs_f64())
    }
}
