//! Progress of long work: a bar on a terminal, elsewhere a plain line every thirty seconds.

use std::cell::RefCell;
use std::fmt::Write;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

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
                    Some(_) => "{spinner} {msg} {wide_bar} {percent}%{rate} {eta}",
                    None => "{spinner} {msg} {human_pos}{rate}",
                };
                let style = ProgressStyle::with_template(template).expect("the template is sound");
                bar.set_style(style.with_key("rate", |state: &ProgressState, to: &mut dyn Write| {
                    let speed = state.per_sec() as u64;
                    if speed > 0 {
                        // A terminal that takes nothing shows nothing.
                        let _ = write!(to, " {}/s", grouped(speed));
                    }
                }));
                bar.set_message(name.to_owned());
                bar.enable_steady_tick(TICK);
                *current = Some((bar, Phase::new(name, total)));
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
            Event::Phase { name, total } => *current = Some(Phase::new(name, total)),
            Event::Done(done) => {
                if let Some(phase) = current.as_mut() {
                    phase.done = done;
                    if phase.told.elapsed() >= LINE_EVERY {
                        phase.told = Instant::now();
                        say(&phase.under_way(phase.began.elapsed()));
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
    total: Option<u64>,
}

impl Phase {
    fn new(name: &str, total: Option<u64>) -> Self {
        let now = Instant::now();
        Self { name: name.to_owned(), began: now, told: now, done: 0, total }
    }

    /// How far it is after so long, how fast it goes, and how long it will take at that.
    fn under_way(&self, lasted: Duration) -> String {
        let seconds = lasted.as_secs_f64().max(0.001);
        let speed = self.done as f64 / seconds;
        let mut text = format!("{}: {}", self.name, grouped(self.done));
        if let Some(total) = self.total {
            text += &format!(" of {}", grouped(total));
        }
        text += &format!(" ({seconds:.1} s, {}/s", grouped(speed as u64));
        if let Some(total) = self.total
            && self.done > 0
        {
            let left = total.saturating_sub(self.done) as f64 / speed;
            text += &format!(", about {} s left", grouped(left.ceil() as u64));
        }
        text + ")"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_rate_and_remaining_time() {
        let at = |done, total| Phase { done, ..Phase::new("packing", total) }.under_way(Duration::from_secs(30));
        assert_eq!(at(60_000, Some(240_000)), "packing: 60,000 of 240,000 (30.0 s, 2,000/s, about 90 s left)");
        assert_eq!(at(60_000, None), "packing: 60,000 (30.0 s, 2,000/s)");
        assert_eq!(at(0, Some(9)), "packing: 0 of 9 (30.0 s, 0/s)");
        assert_eq!(at(10, Some(9)), "packing: 10 of 9 (30.0 s, 0/s, about 0 s left)");
    }
}
