//! A hub sees nothing: neither its disk, its log nor its memory holds a word that isn't public.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};

use crate::site::{Site, befriend, instance, is_found};
use crate::support::app::App;

const CANARY: &str = "kaNArieNvogel-7f3a";

#[test]
fn no_trusted_word_is_on_the_disk_in_the_log_or_in_the_memory_of_a_hub() {
    let site = Site::start(&[]);
    let (alpha, beta) = (instance("alpha"), instance("beta"));
    befriend(&alpha, &beta);
    for app in [&alpha, &beta] {
        site.admit(app);
    }
    alpha.insert_request(Some(App::ADMIN), CANARY, "trusted");
    for app in [&alpha, &beta, &alpha] {
        app.wbsync(&["sync"]).ok();
    }
    let there = beta.value("SELECT count(*) FROM help_requests WHERE description LIKE '%kaNArieN%'");
    assert_eq!(there, "1", "it arrived, so it went through the hub");
    assert!(is_found(alpha.dir(), CANARY), "the search itself works");
    assert!(!is_found(site.dir.path(), CANARY));
    assert!(!site.log().contains(CANARY));
    match memory(site.pid()) {
        Some(memory) => {
            let holds = |word: &str| memory.windows(word.len()).any(|part| part == word.as_bytes());
            assert!(holds("wbsync store 1"), "the search itself works");
            assert!(!holds(CANARY));
        }
        None => {
            let _ = writeln!(std::io::stderr(), "SKIPPED: the memory of another process can't be read here");
        }
    }
}

/// Reads the writable memory of a process.
fn memory(pid: u32) -> Option<Vec<u8>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let mut file = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut memory = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with('r'))) {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap_or(0));
        // Some pages, such as the kernel's own, can't be read.
        if file.seek(SeekFrom::Start(from)).is_ok() {
            let _ = Read::by_ref(&mut file).take(to - from).read_to_end(&mut memory);
        }
    }
    Some(memory)
}
