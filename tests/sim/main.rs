//! Whole instances on a simulated network, clock and disk, driven by one seed.
//!
//! `scripts/sim --seed 17 --runs 1 --tell` replays a seed and says what happens; a seed that fails is shrunk to the steps
//! that it needs. In `cargo test` a few seeds run; `WBSYNC_SEEDS` and `WBSYNC_SEED` say which.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test binary has no outside; whatever fails here fails the test; seeds are printed"
)]
#![cfg(debug_assertions)]

#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "of what the engine's tests share a part is used")]
#[path = "../engine/world.rs"]
mod world;

mod check;
mod deeds;
mod exchange;
mod history;
mod meanwhile;
mod model;
mod people;
mod rig;
mod town;
mod volatile;
mod weather;

use std::process::ExitCode;

use history::History;

struct Options {
    first: u64,
    runs: u64,
    tells: bool,
    shrinks: bool,
    goes_on: bool,
}

fn options() -> Options {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("WBSYNC_SEED");
    let mut options = Options {
        first: one.unwrap_or(0),
        runs: if one.is_some() { 1 } else { number("WBSYNC_SEEDS").unwrap_or(12) },
        tells: one.is_some(),
        shrinks: true,
        goes_on: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().and_then(|text| text.parse().ok()).expect("a number after the option");
        match word.as_str() {
            "--seed" => options.first = value(),
            "--runs" => options.runs = value(),
            "--tell" => options.tells = true,
            "--no-shrink" => options.shrinks = false,
            "--go-on" => options.goes_on = true,
            // What the test runner of cargo says to every binary.
            _ => {}
        }
    }
    options
}

fn main() -> ExitCode {
    if std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    let options = options();
    history::keep_panics();
    let mut total = history::Outcome::default();
    let (mut good, mut failed) = (0, Vec::new());
    for seed in options.first..options.first + options.runs {
        let history = History::of(seed);
        match history.run(options.tells) {
            Ok(outcome) => {
                total.add(&outcome);
                good += 1;
            }
            Err(failure) => {
                println!("seed {seed} FAILED: {failure}");
                failed.push(seed);
                if options.shrinks {
                    let small = history.shrink();
                    println!("\nit needs {} of its {} steps:", small.steps(), history.steps());
                    let failure = small.run(true).err().unwrap_or_else(|| "it passed now: a race".into());
                    println!("{failure}");
                }
                println!("replay with: scripts/sim --seed {seed} --runs 1 --tell\n");
                if !options.goes_on {
                    break;
                }
            }
        }
        if (seed - options.first + 1).is_multiple_of(100) {
            println!("{good} histories from seed {}, and {} with a violation so far", options.first, failed.len());
        }
    }
    if !failed.is_empty() {
        println!(
            "{good} histories from seed {} without a violation, and {} with one: {failed:?}",
            options.first,
            failed.len()
        );
        return ExitCode::FAILURE;
    }
    println!("{good} histories from seed {}: no violation; {total}", options.first);
    ExitCode::SUCCESS
}
