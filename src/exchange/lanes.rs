//! Lanes: objects moved several at a time, with an outcome as if it were one after the other.
//!
//! Items are begun in the order given, and of several that fail the first in that order is the one that counts, so
//! the error doesn't depend on which thread was faster. Progress is told on the calling thread only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;

use crate::sys::rig;

/// What came of some items.
#[derive(Debug)]
pub(crate) struct Outcome<T, E> {
    /// By item: what was made of it; `None` if it failed or was not begun.
    pub(crate) done: Vec<Option<T>>,
    /// The first that failed, by its place.
    pub(crate) failed: Option<(usize, E)>,
}

/// How far all items together have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Items done.
    pub(crate) items: u64,
    /// What `work` has told, summed up; less than nothing counts as nothing.
    pub(crate) bytes: u64,
}

enum Told<T, E> {
    Step(i64),
    Done(usize, Result<T, E>),
}

/// Works on items, at most `lanes` at once; after a failure none is begun that comes later.
///
/// `work` gets an item and something to tell bytes to as they pass; what it takes back is negative.
pub(crate) fn in_lanes<I: Sync, T: Send, E: Send>(
    items: &[I],
    lanes: usize,
    work: impl Fn(&I, &dyn Fn(i64)) -> Result<T, E> + Sync,
    progress: &mut dyn FnMut(Reached),
) -> Outcome<T, E> {
    let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(items.len()));
    let mut outcome = Outcome { done: items.iter().map(|_| None).collect(), failed: None };
    let world = rig::share();
    let lanes = if world.is_simulated() { 1 } else { lanes.clamp(1, LANES_MAX) };
    std::thread::scope(|scope| {
        let (sender, told) = channel::<Told<T, E>>();
        for _ in 0..lanes.min(items.len()) {
            let (sender, next, end, work, world) = (sender.clone(), &next, &end, &work, &world);
            scope.spawn(move || {
                world.enter();
                // Whoever listens waits for every worker, so that nothing sent is lost.
                let step = |bytes| drop(sender.send(Told::Step(bytes)));
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    if at >= end.load(Ordering::SeqCst) {
                        return;
                    }
                    let result = work(&items[at], &step);
                    if result.is_err() {
                        end.fetch_min(at, Ordering::SeqCst);
                    }
                    drop(sender.send(Told::Done(at, result)));
                }
            });
        }
        drop(sender);
        let (mut reached, mut bytes) = (Reached::default(), 0_i64);
        for message in told {
            match message {
                Told::Step(step) => bytes += step,
                Told::Done(at, Ok(done)) => {
                    outcome.done[at] = Some(done);
                    reached.items += 1;
                }
                Told::Done(at, Err(error)) => {
                    if outcome.failed.as_ref().is_none_or(|(first, _)| at < *first) {
                        outcome.failed = Some((at, error));
                    }
                    continue;
                }
            }
            reached.bytes = u64::try_from(bytes).unwrap_or(0);
            progress(reached);
        }
    });
    outcome
}

/// The most lanes that anything is worth.
const LANES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn everything_is_done_once_and_in_its_place() {
        let items: Vec<u64> = (0..100).collect();
        let mut last = Reached::default();
        let work = |item: &u64, step: &dyn Fn(i64)| {
            step(10);
            step(-3);
            Ok::<_, ()>(item * 2)
        };
        for lanes in [0, 1, 4, 1000] {
            let outcome = in_lanes(&items, lanes, work, &mut |reached| last = reached);
            assert_eq!(outcome.done, items.iter().map(|item| Some(item * 2)).collect::<Vec<_>>());
            assert!(outcome.failed.is_none());
            assert_eq!(last, Reached { items: 100, bytes: 700 });
        }
        assert!(in_lanes(&[], 4, work, &mut |_| panic!("nothing happens")).done.is_empty());
    }

    #[test]
    fn lanes_work_at_once_and_no_more_than_there_are() {
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = |(): &(), _: &dyn Fn(i64)| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, ()>(())
        };
        in_lanes(&[(); 24], 4, work, &mut |_| {});
        assert_eq!(most.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn the_first_failure_counts_whichever_thread_was_faster() {
        let items: Vec<u64> = (0..40).collect();
        for _ in 0..20 {
            let begun = AtomicU64::new(0);
            let work = |item: &u64, _: &dyn Fn(i64)| {
                begun.fetch_add(1, Ordering::SeqCst);
                match item {
                    // The earlier one takes its time to fail.
                    5 => std::thread::sleep(Duration::from_millis(5)),
                    7 => {}
                    _ => return Ok(()),
                }
                Err(*item)
            };
            let outcome = in_lanes(&items, 4, work, &mut |_| {});
            assert_eq!(outcome.failed, Some((5, 5)));
            assert!(outcome.done[..5].iter().all(Option::is_some));
            assert!(begun.load(Ordering::SeqCst) < 40, "it goes on no longer than it has to");
        }
    }
}
