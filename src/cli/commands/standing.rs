//! How far apart we and a remote or a peer are, in words; for `status`.

use super::peer::followed;
use crate::cli::text::{HEADING, HINT, WARNING, bytes, count, table, tame};
use crate::sync::queue::Waiting;
use crate::sync::standing::{Failed, Reach};
use crate::sync::status::{PeerStatus, RemoteStatus};

/// Writes the section of peers.
pub fn peers(peers: &[PeerStatus]) -> String {
    let row = |peer: &PeerStatus| {
        let heard = peer.heard.as_ref().map_or_else(|| "nothing heard yet".into(), |heard| format!("heard {heard}"));
        let url = peer.reached_at.first().cloned().unwrap_or_default();
        [peer.name.clone(), peer.trust.to_string(), followed(&peer.follows), heard, told(peer), url]
    };
    let mut text = table("  ", &peers.iter().map(row).collect::<Vec<_>>());
    for peer in peers {
        text += &failed(&peer.name, peer.failed.as_ref(), peer.failures, peer.next_try.as_deref());
    }
    section("peers", &text)
}

/// Writes the section of remotes.
pub fn remotes(remotes: &[RemoteStatus]) -> String {
    let at = |time: &Option<String>| time.clone().unwrap_or_else(|| "never".into());
    let row = |remote: &RemoteStatus| {
        let (fetched, pushed) = (at(&remote.fetched), at(&remote.pushed));
        [
            remote.name.clone(),
            remote.url.clone(),
            reach(remote.reach).to_owned(),
            format!("fetched {fetched}"),
            format!("pushed {pushed}"),
            apart(remote),
        ]
    };
    let mut text = table("  ", &remotes.iter().map(row).collect::<Vec<_>>());
    for remote in remotes {
        text += &failed(&remote.name, remote.failed.as_ref(), remote.failures, remote.next_try.as_deref());
    }
    section("remotes", &text)
}

/// Says what waits for a remote, if anything does.
pub fn waiting(waiting: &Waiting) -> Option<String> {
    let text = || format!("waiting: {}, {}", count(waiting.heads, "head"), bytes(waiting.bytes));
    (waiting.heads > 0).then(text)
}

/// Writes a heading, and what is beneath it.
pub fn section(name: &str, body: &str) -> String {
    if body.is_empty() {
        format!("\n{HEADING}{name}{HEADING:#}\n  none\n")
    } else {
        format!("\n{HEADING}{name}{HEADING:#}\n{body}")
    }
}

fn reach(reach: Reach) -> &'static str {
    match reach {
        Reach::Untried => "untried",
        Reach::Reached => "reached",
        Reach::Away => "away",
        Reach::Failing => "failing",
    }
}

/// Says which of both lacks something, as far as is known.
fn apart(remote: &RemoteStatus) -> String {
    let mut parts = Vec::new();
    if remote.ahead > 0 {
        let size = if remote.waiting.bytes > 0 { format!(", {}", bytes(remote.waiting.bytes)) } else { String::new() };
        parts.push(format!("ahead by {}{size}", count(remote.ahead, "head")));
    }
    if remote.behind > 0 {
        parts.push(format!("behind by {}", count(remote.behind, "head")));
    }
    match (parts.is_empty(), remote.reach) {
        (true, Reach::Untried) => String::new(),
        (true, _) => "level".into(),
        (false, _) => parts.join("; "),
    }
}

fn told(peer: &PeerStatus) -> String {
    let mut parts = Vec::new();
    if peer.behind > 0 {
        parts.push(format!("behind by {}", count(peer.behind, "head")));
    }
    match (peer.ahead, &peer.told_at) {
        (Some(0), Some(at)) => parts.push(format!("shows all of ours, it said {at}")),
        (Some(lacks), Some(at)) => parts.push(format!("ahead by {}, it said {at}", count(lacks, "head"))),
        _ => {}
    }
    parts.join("; ")
}

fn failed(name: &str, failed: Option<&Failed>, failures: u32, next: Option<&str>) -> String {
    let Some(failed) = failed else { return String::new() };
    let again = match next {
        Some(next) => format!("; {}, next try {next}", count(failures.into(), "failure")),
        None => String::new(),
    };
    let message = tame(&failed.message);
    let mut text = format!("  {WARNING}{name} failed{WARNING:#} {}: {message}{again}\n", failed.at);
    if let Some(hint) = &failed.hint {
        text += &format!("    {HINT}hint:{HINT:#} {}\n", tame(hint));
    }
    text
}
