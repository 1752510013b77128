//! Every decoder of foreign bytes under random changes of the vectors: no panic, nothing has two spellings, and no more memory than a
//! bound.
//!
//! `WBSYNC_CASES=100000` tries more of each, `WBSYNC_CORPUS=DIR` writes what `scripts/fuzz` begins with. What coverage
//! guides is in tests/fuzz.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test binary has no outside; figures are printed")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use peak_alloc::PeakAlloc;
use wbsync::testing::decoders::ALL;
use wbsync::testing::prng::Prng;
use wbsync::testing::seeds;

/// Counts what is allocated: this binary has one test, so that all of it is the decoder's.
#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes of memory that an input of a few KiB may cost: 16 MiB. An object may open to 64 MiB (format/changeset.md), and is
/// held packed and open; room for the objects of a git pack is reserved by their number (format/git.md).
fn memory_max(decoder: &str) -> usize {
    match decoder {
        "changeset/sealed" => 192 << 20,
        "git/pack" => 272 << 20,
        _ => 16 << 20,
    }
}

/// Changes some bytes: flips, repeats, removes, cuts, or takes a piece of another example.
fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Prng) {
    for _ in 0..1 + random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let end = (at + 1 + random.below(9) as usize).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => bytes.insert(at, random.bits() as u8),
            2 => drop(bytes.drain(at.min(end)..end)),
            3 => bytes.truncate(at),
            4 => {
                let piece = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, piece);
            }
            // A length or number at its edge.
            5 => {
                let edges: [&[u8]; 6] = [&[0xff; 9], &[0x1b, 0x7f], &[0x5f], &[0x9f], &[0xbf], &[0x00]];
                bytes.splice(at..at, edges[random.below(6) as usize].iter().copied());
            }
            _ => {
                let other = &others[random.below(others.len() as u64) as usize];
                let from = random.below(other.len() as u64 + 1) as usize;
                bytes.splice(at.., other[from..].iter().copied());
            }
        }
    }
}

#[test]
fn no_decoder_panics_or_has_two_spellings() {
    let cases: u64 = std::env::var("WBSYNC_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let corpus = std::env::var_os("WBSYNC_CORPUS");
    for decoder in ALL {
        let examples = seeds::of(decoder.name);
        assert!(!examples.is_empty(), "{} has nothing to begin with", decoder.name);
        if let Some(corpus) = &corpus {
            let dir = Path::new(corpus).join(decoder.name.replace('/', "-"));
            fs::create_dir_all(&dir).unwrap();
            for (number, example) in examples.iter().enumerate() {
                fs::write(dir.join(number.to_string()), example).unwrap();
            }
        }
        let accepted = examples.iter().filter(|example| (decoder.read)(example)).count();
        let mut random = Prng::new(7);
        let (mut survived, mut most) = (0, 0);
        for _ in 0..cases {
            let mut bytes = examples[random.below(examples.len() as u64) as usize].clone();
            change(&mut bytes, &examples, &mut random);
            let before = MEMORY.current_usage();
            MEMORY.reset_peak_usage();
            let read = catch_unwind(AssertUnwindSafe(|| (decoder.read)(&bytes)));
            let read = read.unwrap_or_else(|_| panic!("{} panics at {bytes:02x?}", decoder.name));
            survived += u64::from(read);
            let taken = MEMORY.peak_usage().saturating_sub(before);
            assert!(taken <= memory_max(decoder.name), "{} takes {taken} bytes for {bytes:02x?}", decoder.name);
            most = most.max(taken);
        }
        println!(
            "{}: {accepted} of {} examples and {survived} of {cases} changed ones accepted, {} KiB of memory at most",
            decoder.name,
            examples.len(),
            most >> 10
        );
        assert!(accepted > 0, "no example of {} is accepted: its decoder isn't reached", decoder.name);
    }
}
