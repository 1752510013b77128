//! `wbsync peer`: the instances that we know.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{table, tame};
use crate::id::name::PeerName;
use crate::state::peers::Trust;
use crate::sync::instance::{Instance, Purpose};
use crate::sync::peers::{PeerAdd, read_card};
use crate::sync::show::PeerShown;

/// Add, list, show and trust other instances
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
        after_help = "Examples:\n  wbsync peer add wbsync-card:… --name beta\n  wbsync peer add beta.card --expect SHA256:…"
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
    /// It gets the scope's whole history. It takes effect there after our next push.
    #[command(after_help = "Examples:\n  wbsync peer trust beta\n  wbsync peer trust beta --write")]
    Trust {
        /// Its name here, or the first digits of its id
        name: String,
        /// Also let it edit our public and trusted records
        #[arg(long)]
        write: bool,
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
            let peer = context.instance(Purpose::Change)?.peer_add(&card, &PeerAdd { name, expect })?;
            let (name, fingerprint) = (&peer.name, Instance::fingerprint(&peer.id));
            context.answer(
                &json!({ "name": name, "id": peer.id, "fingerprint": fingerprint, "trust": peer.trust }),
                &format!("added {name}\nfingerprint  {fingerprint}\n"),
            )?;
            if !is_pinned {
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
        Command::Trust { name, write } => {
            let trust = if write { Trust::Writer } else { Trust::Trusted };
            let peer = context.instance(Purpose::Change)?.peer_trust(&name, trust)?;
            let (name, may) = (
                &peer.name,
                match peer.trust {
                    Trust::Writer => "reads our trusted scope and may edit our records",
                    Trust::Known | Trust::Trusted => "reads our trusted scope",
                },
            );
            context.answer(
                &json!({ "name": name, "id": peer.id, "trust": peer.trust }),
                &format!("{name} {may}, from our next push on\n"),
            )
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

/// Says which scopes of a peer are followed.
pub fn followed(follows: &[String]) -> String {
    if follows.is_empty() { "not followed".into() } else { format!("follows {}", follows.join(", ")) }
}

fn describe(peer: &PeerShown) -> String {
    let status = &peer.status;
    let mut rows = vec![
        ["name".to_owned(), status.name.clone()],
        ["own name".to_owned(), peer.own_name.clone()],
        ["id".to_owned(), status.id.to_string()],
        ["fingerprint".to_owned(), status.fingerprint.clone()],
        ["trust".to_owned(), status.trust.to_string()],
        ["follows".to_owned(), if status.follows.is_empty() { "nothing".into() } else { status.follows.join(", ") }],
        ["heard".to_owned(), status.heard.clone().unwrap_or_else(|| "never".into())],
        ["added".to_owned(), peer.added.to_string()],
    ];
    rows.extend(peer.urls.iter().map(|url| ["url".to_owned(), tame(url)]));
    rows.push(["card".to_owned(), peer.card.clone()]);
    table("", &rows)
}
