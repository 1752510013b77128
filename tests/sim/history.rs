//! One history: a seed for the beginning and one for each step, so that steps can be left out.

use std::fmt;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use wbsync::sys::rig;
use wbsync::testing::prng::Prng;

use super::town::Town;

/// What a seed stands for.
#[derive(Clone)]
pub struct History {
    seed: u64,
    steps: Vec<u64>,
}

/// What happened in histories that went well.
#[derive(Debug, Default)]
pub struct Outcome {
    pub sites: u64,
    pub steps: u64,
    pub texts: u64,
    pub exchanges: u64,
    pub cuts: u64,
    pub meanwhile: u64,
    pub lies: u64,
    pub refused: u64,
    pub bundles: u64,
    pub restores: u64,
    pub revoked: u64,
    pub rotations: u64,
    pub prunes: u64,
    pub collected: u64,
    pub requests: u64,
}

impl Outcome {
    pub fn add(&mut self, other: &Self) {
        self.sites += other.sites;
        self.steps += other.steps;
        self.texts += other.texts;
        self.exchanges += other.exchanges;
        self.cuts += other.cuts;
        self.meanwhile += other.meanwhile;
        self.lies += other.lies;
        self.refused += other.refused;
        self.bundles += other.bundles;
        self.restores += other.restores;
        self.revoked += other.revoked;
        self.rotations += other.rotations;
        self.prunes += other.prunes;
        self.collected += other.collected;
        self.requests += other.requests;
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sites, {} steps, {} texts, {} exchanges, {} writes under a command, {} stops and full disks, {} bad requests, {} lies of stores, {} answers \
             refused or failed, {} bundles, {} restores, {} took back trust, {} new keys, {} prunes, {} objects collected",
            self.sites,
            self.steps,
            self.texts,
            self.exchanges,
            self.meanwhile,
            self.cuts,
            self.requests,
            self.lies,
            self.refused,
            self.bundles,
            self.restores,
            self.revoked,
            self.rotations,
            self.prunes,
            self.collected
        )
    }
}

/// What the last panic said, and where.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Keeps what panics say for the report instead of printing it.
pub fn keep_panics() {
    panic::set_hook(Box::new(|info| {
        *SAID.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
}

impl History {
    /// Makes the history of a seed.
    pub fn of(seed: u64) -> Self {
        let mut random = Prng::new(seed);
        let count = 25 + random.below(35);
        Self { seed, steps: (0..count).map(|_| random.bits()).collect() }
    }

    /// Returns how many steps it has.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Plays it; what is wrong comes back as text.
    pub fn run(&self, tells: bool) -> Result<Outcome, String> {
        let said = || SAID.lock().unwrap_or_else(PoisonError::into_inner);
        // What stops the machine says nothing: such a one is never to come as far as this.
        *said() = "the machine stopped where nobody waits for it".into();
        let run = catch_unwind(AssertUnwindSafe(|| {
            let mut town = Town::new(self.seed, tells);
            for step in &self.steps {
                town.step(*step);
            }
            town.heal();
            town.check();
            Outcome { steps: self.steps.len() as u64, requests: town.machine.lost(), ..town.outcome }
        }));
        rig::install(None);
        run.map_err(|_| said().clone())
    }

    /// Leaves out steps as long as it still fails (Zeller: delta debugging).
    pub fn shrink(&self) -> Self {
        let mut small = self.clone();
        let mut width = small.steps.len().div_ceil(2);
        while width > 0 {
            let mut at = 0;
            while at < small.steps.len() {
                let mut fewer = small.clone();
                fewer.steps.drain(at..(at + width).min(small.steps.len()));
                if fewer.run(false).is_err() { small = fewer } else { at += width }
            }
            width /= 2;
        }
        small
    }
}
