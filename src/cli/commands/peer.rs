//! `wbsync peer`: the instances that we know.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{by_name, count, mode_of, planned, table, tame};
use crate::id::name::PeerName;
use crate::scope::manifest::draft::Since;
use crate::state::peers::Trust;
use crate::sync::commit::Mode;
use crate::sync::error::Error;
use crate::sync::forget::Forgotten;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::peers::{PeerAdd, read_card};
use crate::sync::show::{PeerShown, ReadAccess};
use crate::sync::trust::TrustChange;

/// Add, list, show, trust, revoke and forget other instances
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync peer add beta.card --expect SHA256:…
  wbsync peer trust beta
  wbsync peer list")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Add an instance by its card
    ///
    /// The card is the line that `wbsync id` prints there. Compare the fingerprint with its owner: a card proves only
    /// that whoever holds the key wrote it.
    #[command(
        after_help = "Examples:\n  wbsync peer add wbsync-card1:… --name beta\n  wbsync peer add beta.card --expect SHA256:…"
    )]
    Add {
        /// The card's line, or a file that holds it
        card: String,
        /// What to call it here; otherwise as it calls itself
        #[arg(long)]
        name: Option<PeerName>,
        /// Go on only if the card has this fingerprint
        #[arg(long, value_name = "FINGERPRINT")]
        expect: Option<String>,
    },
    /// List the instances that we know
    #[command(after_help = "Examples:\n  wbsync peer list\n  wbsync --json peer list")]
    List,
    /// Show an instance, with its card
    #[command(after_help = "Examples:\n  wbsync peer show beta")]
    Show {
        /// Its name here, or the first digits of its id
        name: String,
    },
    /// Let an instance read our `trusted` scope, and with --write edit our records
    ///
    /// It gets the scope's whole history, unless --from-now is given: then the scope gets a new key and its records are
    /// sealed anew as they are now; older versions stay closed to it. It takes effect there after our next push. Trusting a
    /// revoked instance takes the revocation back.
    #[command(after_help = "\
Examples:
  wbsync peer trust beta
  wbsync peer trust beta --write
  wbsync peer trust beta --from-now")]
    Trust {
        /// Its name here, or the first digits of its id
        name: String,
        /// Also let it edit our public and trusted records
        #[arg(long)]
        write: bool,
        /// Let it read the records as they are now and what follows, but nothing sealed before
        #[arg(long)]
        from_now: bool,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Take back what `trust` gave: it reads our `trusted` scope no more, and edits none of our records
    ///
    /// It stays in its groups. What it has read already stays with it.
    #[command(after_help = "Examples:\n  wbsync peer untrust beta")]
    Untrust {
        /// Its name here, or the first digits of its id
        name: String,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// End all that an instance may do: it reads only what is public, edits nothing, and its later heads are refused
    ///
    /// Every scope that it could read gets a new key, its groups too. What was sealed before stays readable to it.
    #[command(after_help = "Examples:\n  wbsync peer revoke beta\n  wbsync push")]
    Revoke {
        /// Its name here, or the first digits of its id
        name: String,
        /// Only say what would change
        #[arg(long, short = 'n')]
        dry_run: bool,
    },
    /// Remove an instance with all that came from it, here only
    ///
    /// Its rows, records and heads go from here; rows of ours that refer to its rows keep placeholders. Nothing is deleted
    /// anywhere else, and nothing of it comes back until it is added again.
    #[command(after_help = "Examples:\n  wbsync peer forget beta --dry-run\n  wbsync peer forget beta --yes")]
    Forget {
        /// Its name here, or the first digits of its id
        name: String,
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Go on with an instance whose heads wait for you: it published two histories, or its numbers jump
    ///
    /// Two histories are settled by a `wbsync restore` on its side. Ask its operator what happened before you accept:
    /// whoever has stolen its keys can do the same.
    #[command(after_help = "Examples:\n  wbsync peer accept beta")]
    Accept {
        /// Its name here, or the first digits of its id
        name: String,
    },
}

/// Runs it.
///
/// # Errors
/// As the library's functions of the same names.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Add { card, name, expect } => {
            let card = read_card(&card, &context.dir)?;
            let is_pinned = expect.is_some();
            let instance = context.instance(Purpose::Change)?;
            let was_known =
                instance.state.peers().map_err(Error::State)?.iter().any(|peer| peer.id == card.card.instance);
            let peer = instance.peer_add(&card, &PeerAdd { name, expect })?;
            let (name, fingerprint) = (&peer.name, Instance::fingerprint(&peer.id));
            context.answer(
                &json!({ "name": name, "id": peer.id, "fingerprint": fingerprint, "trust": peer.trust }),
                &match was_known {
                    true => format!("took the card of {name}, whom we know\nfingerprint  {fingerprint}\n"),
                    false => format!("added {name}\nfingerprint  {fingerprint}\n"),
                },
            )?;
            // The id is the one that was compared when the peer was added.
            if !is_pinned && !was_known {
                context.hint(&format!(
                    "compare it with what {name}'s owner sees in `wbsync id --fingerprint`, then `wbsync follow {name}` \
                     or `wbsync peer trust {name}`"
                ));
            }
            Ok(())
        }
        Command::List => {
            let peers = context.instance(Purpose::Look)?.peers_status()?;
            let rows: Vec<_> = peers
                .iter()
                .map(|peer| {
                    [peer.name.clone(), peer.trust.to_string(), followed(&peer.follows), peer.fingerprint.clone()]
                })
                .collect();
            context.answer(&json!({ "peers": peers }), &table("", &rows))?;
            if peers.is_empty() {
                context.hint("there are none yet: `wbsync peer add CARD`, with the line that `wbsync id` prints there");
            }
            Ok(())
        }
        Command::Show { name } => {
            let peer = context.instance(Purpose::Look)?.peer_show(&name)?;
            context.answer(&peer, &describe(&peer))
        }
        Command::Trust { name, write, from_now, dry_run } => {
            let mode = mode_of(dry_run);
            let trust = if write { Trust::Writer } else { Trust::Trusted };
            let since = if from_now { Since::Now } else { Since::Beginning };
            let change = context.instance(Purpose::Change)?.peer_trust_since(&name, trust, since, mode)?;
            context.answer(&change, &planned(&trusted(&change), mode))?;
            if change.before == Trust::Revoked {
                context.hint(&format!("it is not followed any more; `wbsync follow {}` does", change.name));
            }
            if from_now && change.reads.is_empty() {
                context.warn(&format!(
                    "{} reads our trusted scope already, and keeps the keys that it was granted",
                    change.name
                ));
            }
            Ok(())
        }
        Command::Untrust { name, dry_run } => {
            let mode = mode_of(dry_run);
            let change = context.instance(Purpose::Change)?.peer_untrust(&name, mode)?;
            if change.trust == Trust::Revoked {
                let text = format!("{} is revoked already: there is nothing left to take back\n", change.name);
                return context.answer(&change, &text);
            }
            context.answer(&change, &planned(&shut_out(&change), mode))?;
            tell_shut_out(context, &change, mode);
            Ok(())
        }
        Command::Revoke { name, dry_run } => {
            let mode = mode_of(dry_run);
            let change = context.instance(Purpose::Change)?.peer_revoke(&name, mode)?;
            context.answer(&change, &planned(&shut_out(&change), mode))?;
            tell_shut_out(context, &change, mode);
            Ok(())
        }
        Command::Forget { name, dry_run, yes } => {
            let instance = context.instance(Purpose::Change)?;
            if dry_run {
                let forgotten = instance.peer_forget(&name, Mode::DryRun)?;
                return context.answer(&forgotten, &format!("would forget {}", removed(&forgotten)));
            }
            if !yes {
                let forgotten = instance.peer_forget(&name, Mode::DryRun)?;
                context.confirm(&format!("forget {}", removed(&forgotten).trim_end()))?;
            }
            let forgotten = instance.peer_forget(&name, Mode::Keep)?;
            context.answer(&forgotten, &format!("forgot {}", removed(&forgotten)))?;
            context.hint("nothing was deleted anywhere else; its objects in remotes are left there");
            if !forgotten.reads_no_more.is_empty() {
                context.hint("`wbsync push` tells the others that it reads our scopes no more");
            }
            Ok(())
        }
        Command::Accept { name } => {
            let accepted = context.instance(Purpose::Change)?.peer_accept(&name)?;
            let name = &accepted.name;
            let mut text = String::new();
            for scope in &accepted.forks {
                text += &format!("{name}'s heads of {scope} count again; the proof of its two histories is kept\n");
            }
            for jump in &accepted.jumps {
                text += &format!("{name}'s head {jump} is taken by the next fetch\n");
            }
            if text.is_empty() {
                text = format!("nothing of {name} waits to be accepted\n");
            }
            context.answer(&accepted, &text)
        }
    }
}

fn trusted(change: &TrustChange) -> String {
    let may = match change.trust {
        Trust::Writer => "reads our trusted scope and may edit our records",
        _ => "reads our trusted scope",
    };
    let again = if change.before == Trust::Revoked { ", which was revoked," } else { "" };
    format!("{}{again} {may}, from our next push on\n", change.name)
}

/// Says what a peer may not do any more.
pub fn shut_out(change: &TrustChange) -> String {
    let name = &change.name;
    let mut text = String::new();
    if !change.reads_no_more.is_empty() {
        text += &format!("{name} reads no more: {}\n", change.reads_no_more.join(", "));
    }
    if !change.writes_no_more.is_empty() {
        text += &format!("{name} edits no more: {}\n", change.writes_no_more.join(", "));
    }
    if change.unfollowed {
        text += &format!("{name} is not followed any more; its rows stay\n");
    }
    if change.trust == Trust::Revoked {
        text += &format!("{name} is revoked: what it publishes from now on is refused\n");
    }
    if text.is_empty() { format!("{name} could do nothing that it can't do now\n") } else { text }
}

/// Says what stays with a peer that was removed, and who is left.
pub fn tell_shut_out(context: &Context, change: &TrustChange, mode: Mode) {
    let name = &change.name;
    if mode == Mode::Keep && !change.reads_no_more.is_empty() {
        context.note(&format!(
            "{name} keeps what it has read, and can open what was sealed before, wherever it finds it; what is sealed from \
             now on it can't"
        ));
        context.hint(
            "`wbsync push` makes it known; `wbsync scope rotate NAME --reseal` also seals anew what lies in stores",
        );
    }
    for scope in &change.alone {
        context.warn(&format!("nobody but this instance reads {scope} now"));
    }
}

fn removed(forgotten: &Forgotten) -> String {
    let rows =
        if forgotten.rows.is_empty() { "no rows".into() } else { format!("rows of {}", by_name(&forgotten.rows)) };
    format!(
        "{}: {rows}, {}, {}\n",
        forgotten.name,
        count(forgotten.scopes.len() as u64, "scope"),
        count(forgotten.heads, "head")
    )
}

/// Says which scopes of a peer are followed.
pub fn followed(follows: &[String]) -> String {
    if follows.is_empty() { "not followed".into() } else { format!("follows {}", follows.join(", ")) }
}

fn access(reads: &[ReadAccess]) -> String {
    let one = |access: &ReadAccess| match access.since_epoch {
        1 => access.scope.clone(),
        since => format!("{} since epoch {since}", access.scope),
    };
    reads.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn describe(peer: &PeerShown) -> String {
    let status = &peer.status;
    let mut rows = vec![
        ["name".to_owned(), status.name.clone()],
        ["own name".to_owned(), peer.own_name.clone()],
        ["id".to_owned(), status.id.to_string()],
        ["fingerprint".to_owned(), status.fingerprint.clone()],
        ["trust".to_owned(), status.trust.to_string()],
        ["reads".to_owned(), if peer.reads.is_empty() { "what is public".into() } else { access(&peer.reads) }],
        ["writes".to_owned(), if peer.writes.is_empty() { "nothing".into() } else { peer.writes.join(", ") }],
        ["groups".to_owned(), if peer.groups.is_empty() { "none".into() } else { peer.groups.join(", ") }],
        ["follows".to_owned(), if status.follows.is_empty() { "nothing".into() } else { status.follows.join(", ") }],
        ["heard".to_owned(), status.heard.clone().unwrap_or_else(|| "never".into())],
        ["added".to_owned(), peer.added.to_string()],
    ];
    rows.extend(peer.urls.iter().map(|url| ["url".to_owned(), tame(url)]));
    rows.push(["card".to_owned(), peer.card.clone()]);
    table("", &rows)
}
