//! What all the tables of one made-up database share: randomness, prose, members, canaries, the calendar.

use crate::testing::prng::Prng;
use crate::testing::prose::Prose;
use crate::testing::whiteballoon::audience::Audience;
use crate::testing::whiteballoon::oddities;
use crate::testing::whiteballoon::seed::Seed;

pub(super) struct Maker<'a> {
    pub(super) options: &'a Seed,
    pub(super) random: Prng,
    pub(super) prose: Prose,
    pub(super) members: Vec<Member>,
    canaries: u64,
}

/// A user, as the other tables need to know them.
pub(super) struct Member {
    pub(super) audience: Audience,
    pub(super) email: Option<String>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(options: &'a Seed) -> Self {
        Self { options, random: Prng::new(options.seed), prose: Prose::new(), members: Vec::new(), canaries: 0 }
    }

    /// Returns the key of the row written as the `index`th of its table, counted from 0.
    pub(super) fn id(&self, index: u64) -> i64 {
        self.options.id_offset + i64::try_from(index).expect("row counts are far below 2⁶³") + 1
    }

    /// Returns the time of the `index`th of `total` events, which ascend over about two years.
    pub(super) fn time(&mut self, index: u64, total: u64) -> i64 {
        let step = (SPAN / total.max(1)).max(1);
        let micros = step * index + self.random.below(step);
        // People's rows rarely fall on a full second; scripts' do.
        let micros = if self.random.chance(10) { micros / 1_000_000 * 1_000_000 } else { micros };
        START + i64::try_from(micros).expect("two years of microseconds fit")
    }

    /// Draws a member who exists at that point of the calendar; old members more often than new ones.
    pub(super) fn member(&mut self, index: u64, total: u64) -> u64 {
        let members = self.members.len() as u64;
        let joined = (members * (index + 1) / total.max(1)).clamp(1, members);
        let reach = self.random.below(joined) + 1;
        self.random.below(reach)
    }

    /// Appends the canary with a number of its own to what must never leave.
    pub(super) fn mark(&mut self, private: bool, separator: char, text: &mut String) {
        if let (true, Some(word)) = (private, &self.options.canary) {
            self.canaries += 1;
            if !text.is_empty() {
                text.push(separator);
            }
            text.push_str(word);
            text.push_str(&self.canaries.to_string());
        }
    }

    /// Returns a text that must never leave, with its canary.
    pub(super) fn secret(&mut self, mut text: String) -> String {
        self.mark(true, '-', &mut text);
        text
    }

    /// Writes a body of `bytes` or, rarely, an odd one.
    pub(super) fn body(&mut self, bytes: usize, private: bool, out: &mut String) {
        out.clear();
        match self.random.below(4000) {
            0 => {
                let bytes = 60_000 + self.random.below(140_000) as usize;
                self.prose.text(&mut self.random, bytes, out);
            }
            1..50 => out.push_str(self.random.pick(oddities::BODIES)),
            _ => self.prose.text(&mut self.random, bytes, out),
        }
        self.mark(private, ' ', out);
    }

    /// Returns a sentence, with its canary if `private`.
    pub(super) fn sentence(&mut self, private: bool) -> String {
        let mut text = String::new();
        self.prose.sentence(&mut self.random, &mut text);
        self.mark(private, ' ', &mut text);
        text
    }

    /// Returns `digits` random hexadecimal digits, at most 32.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        let mut text = format!("{:016x}{:016x}", self.random.bits(), self.random.bits());
        text.truncate(digits);
        text
    }
}

/// 2024-01-08 09:00:00 UTC in microseconds.
pub(super) const START: i64 = 1_704_704_400_000_000;
/// 750 days.
const SPAN: u64 = 750 * 24 * 3600 * 1_000_000;
