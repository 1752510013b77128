//! `wbsync hub`: who may use a served store, and how much of it.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::commands::serve::open;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{bytes, table};
use crate::hub::limits::INVITATION_DAYS;
use crate::hub::members::{Invitation, Members, Role};
use crate::id::bytes::InstanceId;
use crate::id::name::PeerName;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sync::peers::read_card;
use crate::sys::clock::{self, UnixMillis};

/// Say who may use a served store, or join one
///
/// Works on the same directory as `wbsync serve`, also while that runs. Changes count from the next request on.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync hub invite --store /srv/hub
  wbsync hub join hub --token-file invitation.txt
  wbsync hub list --store /srv/hub")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an invitation; its token is shown once
    #[command(
        after_help = "Examples:\n  wbsync hub invite --store /srv/hub > invitation.txt\n  wbsync hub invite --store /srv/hub --role reader --uses 5 --days 1"
    )]
    Invite {
        #[command(flatten)]
        place: Place,
        /// What whoever uses it may do: reader, writer, admin
        #[arg(long, default_value = "writer")]
        role: RoleName,
        /// How many instances may use it
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        uses: u32,
        /// How many days it counts
        #[arg(long, default_value_t = INVITATION_DAYS, value_parser = clap::value_parser!(u32).range(1..=365))]
        days: u32,
    },
    /// Let an instance use the store, or change what it may do
    #[command(
        after_help = "Examples:\n  wbsync hub allow 5f1c… --store /srv/hub\n  wbsync hub allow beta.card --role reader"
    )]
    Allow {
        #[command(flatten)]
        place: Place,
        /// Its id, its card in one line, or a file that holds the card
        instance: String,
        /// What it may do: reader, writer, admin
        #[arg(long, default_value = "writer")]
        role: RoleName,
    },
    /// Let an instance use the store no more; what it stored stays
    #[command(after_help = "Examples:\n  wbsync hub deny 5f1c… --store /srv/hub")]
    Deny {
        #[command(flatten)]
        place: Place,
        /// Its id, its card in one line, or a file that holds the card
        instance: String,
    },
    /// List who may use the store, and what they store
    #[command(after_help = "Examples:\n  wbsync hub list --store /srv/hub\n  wbsync --json hub list")]
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Set how many bytes of objects an instance may store
    #[command(after_help = "Examples:\n  wbsync hub quota 5f1c… 20G --store /srv/hub")]
    Quota {
        #[command(flatten)]
        place: Place,
        /// Its id, its card in one line, or a file that holds the card
        instance: String,
        /// Bytes, or with K, M, G or T
        #[arg(value_parser = parse_bytes)]
        bytes: u64,
    },
    /// Join the hub of a remote with an invitation
    #[command(
        after_help = "Examples:\n  wbsync hub join hub --token-file invitation.txt\n  wbsync hub join hub < invitation.txt"
    )]
    Join {
        /// The remote
        remote: PeerName,
        /// The file with the token; standard input if not given
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
    },
}

/// Which store.
#[derive(Debug, clap::Args)]
struct Place {
    /// The served store; this instance's own if not given
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleName {
    Reader,
    Writer,
    Admin,
}

/// Runs it.
///
/// # Errors
/// As the functions of `Members` of the same names; `join` as the remote refuses.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Invite { place, role, uses, days } => {
            let expires = UnixMillis(clock::now().0 + u64::from(days) * 24 * 3_600_000);
            let token = members(context, &place)?.invite(&Invitation { role: role.role(), uses, expires })?;
            let answer = json!({ "token": token, "role": role.role(), "uses": uses, "expires": expires.to_string() });
            context.answer(&answer, &format!("{token}\n"))?;
            context.hint("whoever has it can join: `wbsync hub join REMOTE --token-file FILE`");
            Ok(())
        }
        Command::Allow { place, instance, role } => {
            let id = parse_instance(context, &instance)?;
            members(context, &place)?.allow(&id, role.role(), clock::now())?;
            context.answer(&json!({ "instance": id, "role": role.role() }), &format!("allowed {id}\n"))
        }
        Command::Deny { place, instance } => {
            let id = parse_instance(context, &instance)?;
            members(context, &place)?.deny(&id)?;
            context.answer(&json!({ "denied": id }), &format!("denied {id}\n"))
        }
        Command::List { place } => {
            let members = members(context, &place)?.list()?;
            let rows: Vec<_> = members
                .iter()
                .map(|member| {
                    let role = RoleName::of(member.role).to_owned();
                    [
                        member.id.to_string(),
                        role,
                        format!("{} of {}", bytes(member.used_bytes), bytes(member.quota_bytes)),
                    ]
                })
                .collect();
            context.answer(&json!({ "members": members }), &table("", &rows))?;
            if members.is_empty() {
                context.hint("nobody yet: `wbsync hub invite` or `wbsync hub allow ID`");
            }
            Ok(())
        }
        Command::Quota { place, instance, bytes: most } => {
            let id = parse_instance(context, &instance)?;
            members(context, &place)?.set_quota(&id, most)?;
            context
                .answer(&json!({ "instance": id, "quota_bytes": most }), &format!("{id} may store {}\n", bytes(most)))
        }
        Command::Join { remote, token_file } => {
            let token = read_token(context, token_file.as_deref())?;
            let instance = context.instance(Purpose::Change)?;
            instance.join_hub(&remote, &token)?;
            context.answer(&json!({ "joined": remote }), &format!("joined {remote}\n"))
        }
    }
}

/// Reads the token of an invitation from a file, or from standard input for `-` and without one.
///
/// # Errors
/// It can't be read.
pub(super) fn read_token(context: &Context, file: Option<&Path>) -> Result<String, Failure> {
    let token = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => std::fs::File::open(context.dir.join(file)).and_then(read_bounded),
        None => read_bounded(std::io::stdin().lock()),
    };
    let token = token.map_err(|error| Failure::Usage(format!("cannot read the invitation: {error}")))?;
    Ok(token.trim().to_owned())
}

fn members(context: &Context, place: &Place) -> Result<Members, Failure> {
    let (dir, _) = open(context, place.store.as_deref())?;
    Ok(Members::open(&dir)?)
}

fn parse_instance(context: &Context, text: &str) -> Result<InstanceId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    match read_card(text, &context.dir) {
        Ok(card) => Ok(card.card.instance),
        Err(Error::Card(error)) => Err(Failure::Usage(format!(
            "this is neither an id of 64 digits, as `wbsync --json id` shows it, nor a card, nor a file with one: {error}"
        ))),
        Err(error) => Err(error.into()),
    }
}

fn parse_bytes(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M')) => (&text[..at], 1 << 20),
        Some((at, 'G')) => (&text[..at], 1 << 30),
        Some((at, 'T')) => (&text[..at], 1 << 40),
        _ => (text, 1u64),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes is wanted, such as 500M or 20G".to_owned())?;
    number.checked_mul(unit).ok_or_else(|| "this is more than there is".to_owned())
}

fn read_bounded(reader: impl Read) -> std::io::Result<String> {
    const TOKEN_BYTES_MAX: u64 = 4096;
    let mut text = String::new();
    reader.take(TOKEN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

impl RoleName {
    fn role(self) -> Role {
        match self {
            Self::Reader => Role::Reader,
            Self::Writer => Role::Writer,
            Self::Admin => Role::Admin,
        }
    }

    fn of(role: Role) -> &'static str {
        match role {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Admin => "admin",
        }
    }
}
