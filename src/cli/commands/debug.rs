//! `wbsync debug`: plumbing for people who look inside.

use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{ADDED, HEADING, REMOVED, count, grouped, table, tame};
use crate::exchange::layout::OBJECT_BYTES_MAX;
use crate::id::name::DatasetName;
use crate::sync::debug::document::{self, DocumentShown};
use crate::sync::debug::fork::ForkShown;
use crate::sync::debug::object::{self, ObjectShown};
use crate::sync::debug::plain;
use crate::sync::error::{Error, exit};
use crate::sync::instance::Purpose;
use crate::sys::disk::{self, Access};
use crate::sys::output;

/// Look inside: documents, objects, CBOR, trees, keys
///
/// Nothing is changed, and most of it needs no instance: any file from any store will do.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync debug doc alpha.card
  wbsync debug object /media/stick/wbsync/objects/ab/abcd….age
  wbsync debug tree public requests")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print a signed document: card, manifest, head or receipt
    ///
    /// Exit code 6 if its signature or content doesn't hold.
    #[command(after_help = "\
Examples:
  wbsync debug doc alpha.card
  wbsync debug doc /media/stick/wbsync/scopes/SCOPE/manifest
  wbsync debug doc alpha.card --armored card
  ssh-keygen -Y verify -f card.allowed -I ID -n card@wbsync -s card.sig < card.payload")]
    Doc {
        /// The document, or a card's line in a file
        file: PathBuf,
        /// Also write PREFIX.payload, PREFIX.sig and PREFIX.allowed for `ssh-keygen -Y verify`
        #[arg(long, value_name = "PREFIX")]
        armored: Option<PathBuf>,
    },
    /// Open a sealed object and list its records
    #[command(after_help = "\
Examples:
  wbsync debug object /media/stick/wbsync/objects/ab/abcd….age
  wbsync debug object abcd….age --key epoch.key")]
    Object {
        /// The object
        file: PathBuf,
        /// An age identity file; otherwise the keys of this instance's scopes are tried
        #[arg(long, value_name = "AGE-KEY-FILE")]
        key: Option<PathBuf>,
    },
    /// Print CBOR in diagnostic notation
    #[command(after_help = "Examples:\n  wbsync debug cbor card.payload")]
    Cbor {
        /// The file
        file: PathBuf,
    },
    /// List the nodes of a dataset's tree
    #[command(after_help = "Examples:\n  wbsync debug tree public requests")]
    Tree {
        /// The scope: `public`, `beta/public`
        scope: String,
        /// The dataset
        dataset: DatasetName,
    },
    /// Print the proofs that a peer signed two histories
    ///
    /// Each is two signed documents, which prove it to anyone. With --out they are written to files.
    #[command(after_help = "\
Examples:
  wbsync debug fork
  wbsync debug fork beta --out proof
  wbsync debug doc proof.1.a")]
    Fork {
        /// The peer; otherwise everybody
        peer: Option<String>,
        /// Write the documents to PREFIX.1.a, PREFIX.1.b, PREFIX.2.a …
        #[arg(long, value_name = "PREFIX")]
        out: Option<PathBuf>,
    },
    /// Print the secret key of a scope's newest epoch, for `age -d -i`
    ///
    /// Whoever has it reads what was written to the scope in this epoch. The only command that prints a secret.
    #[command(after_help = "\
Examples:
  wbsync debug epoch-key trusted > epoch.key
  age -d -i epoch.key abcd….age | zstd -d | wbsync debug cbor /dev/stdin")]
    EpochKey {
        /// The scope: `trusted`, `beta/trusted`
        scope: String,
    },
}

/// Runs it.
///
/// # Errors
/// The file can't be read or isn't what it should be.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Doc { file, armored } => doc(context, &file, armored.as_deref()),
        Command::Object { file, key } => {
            let path = context.dir.join(&file);
            let bytes = read(&path, OBJECT_BYTES_MAX)?;
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let shown = match key {
                Some(key) => {
                    let text = read(&context.dir.join(key), KEY_BYTES_MAX)?;
                    object::open(&bytes, &stem, &object::key_in(&String::from_utf8_lossy(&text))?)?
                }
                None => context.instance(Purpose::Look)?.open_object(&bytes, &stem)?,
            };
            context.answer(&shown, &describe_object(&shown))
        }
        Command::Cbor { file } => {
            let bytes = read(&context.dir.join(&file), OBJECT_BYTES_MAX)?;
            let items = plain::read(&bytes).map_err(|error| in_file(error, &file))?;
            let pictures: Vec<_> = items.iter().map(plain::json).collect();
            context.answer(&json!({ "items": pictures }), &plain::diagnostic(&items))
        }
        Command::Tree { scope, dataset } => {
            let tree = context.instance(Purpose::Look)?.tree_nodes(&scope, &dataset)?;
            let row = |node: &crate::sync::debug::tree::NodeShown| {
                let level = format!("level {}", node.level);
                let size = count(node.bytes as u64, "byte");
                let entries = count(node.entries as u64, "item");
                [
                    node.id.short(),
                    level,
                    size,
                    entries,
                    count(node.records, "record"),
                    format!("to {}", node.greatest_key),
                ]
            };
            let rows: Vec<_> = tree.nodes.iter().map(row).collect();
            let nodes = count(tree.nodes.len() as u64, "node");
            context.answer(&tree, &format!("{}, {nodes}\n{}", count(tree.records, "record"), table("", &rows)))
        }
        Command::Fork { peer, out } => fork(context, peer.as_deref(), out.as_deref()),
        Command::EpochKey { scope } => {
            let (epoch, key) = context.instance(Purpose::Look)?.epoch_key(&scope)?;
            context.warn(&format!("this is a secret: whoever has it reads scope {scope}, epoch {epoch}"));
            let key = key.expose_secret();
            context.answer(&json!({ "scope": scope, "epoch": epoch, "key": key }), &format!("{key}\n"))
        }
    }
}

fn doc(context: &mut Context, file: &Path, armored: Option<&Path>) -> Result<(), Failure> {
    let bytes = read(&context.dir.join(file), document::FILE_BYTES_MAX)?;
    let bytes = document::bytes_of(bytes).map_err(|error| in_file(error, file))?;
    let shown = document::describe(&bytes).map_err(|error| in_file(error, file))?;
    context.answer(&shown, &describe_document(&shown))?;
    if !shown.valid {
        context.exit_with(exit::DAMAGED);
    }
    let Some(prefix) = armored else { return Ok(()) };
    let parts = document::armored(&bytes)?;
    let endings = [
        ("payload", parts.payload.as_slice()),
        ("sig", parts.signature.as_bytes()),
        ("allowed", parts.allowed_signer.as_bytes()),
    ];
    for (ending, bytes) in endings {
        let mut path = context.dir.join(prefix).into_os_string();
        path.push(format!(".{ending}"));
        output::write(Path::new(&path), bytes, Access::Shared).map_err(Error::io("write", &path))?;
    }
    let prefix = prefix.display();
    context.hint(&format!(
        "ssh-keygen -Y verify -f {prefix}.allowed -I {} -n {} -s {prefix}.sig < {prefix}.payload",
        parts.signer, parts.namespace
    ));
    Ok(())
}

fn fork(context: &mut Context, peer: Option<&str>, out: Option<&Path>) -> Result<(), Failure> {
    let proofs = context.instance(Purpose::Look)?.fork_proofs(peer)?;
    let mut text = String::new();
    for (number, proof) in proofs.iter().enumerate() {
        let ForkShown { signer, scope, seen, valid, .. } = proof;
        let verdict = if *valid { "the two documents prove it" } else { "the two documents prove nothing" };
        text += &format!("{HEADING}two histories by {signer} in {scope}{HEADING:#}, met {seen}: {verdict}\n");
        text += &proof.documents.each_ref().map(describe_document).concat();
        let Some(prefix) = out else { continue };
        for (letter, bytes) in ["a", "b"].into_iter().zip(&proof.bytes) {
            let mut path = context.dir.join(prefix).into_os_string();
            path.push(format!(".{}.{letter}", number + 1));
            output::write(Path::new(&path), bytes, Access::Shared).map_err(Error::io("write", &path))?;
        }
    }
    if proofs.is_empty() {
        text = "nobody is known to have signed two histories\n".into();
    }
    context.answer(&json!({ "forks": proofs }), &text)
}

fn describe_document(shown: &DocumentShown) -> String {
    let verdict = match &shown.problem {
        None => format!("{ADDED}good{ADDED:#}"),
        Some(problem) => format!("{REMOVED}BAD: {}{REMOVED:#}", tame(problem)),
    };
    format!(
        "kind         {}\nhash         {}\nsigner       {}\nfingerprint  {}\nsignature    {verdict}\n{}",
        shown.kind, shown.hash, shown.signer, shown.fingerprint, shown.text
    )
}

fn describe_object(shown: &ObjectShown) -> String {
    let mismatch = if shown.name_matches == Some(false) { "  (the file has another name)" } else { "" };
    let label = shown.label.as_ref().map(|label| format!("  ({label})")).unwrap_or_default();
    let from = if shown.from == 0 { "nothing: a snapshot".into() } else { format!("head {}", shown.from) };
    let last = if shown.last { " (the last)" } else { "" };
    let mut text = format!("object       {}{mismatch}\nopened with  {}\n", shown.object, shown.opened_with);
    text += &format!("scope        {}{label}\nfrom         {from}\nto commit    {}\n", shown.scope, shown.tip);
    text += &format!("part         {}{last}\ncommits      {}\n", shown.part, shown.commits);
    text += &format!("records      {}\n", grouped(shown.entries.len() as u64));
    for entry in &shown.entries {
        let fields = entry.fields.as_ref().map(|fields| format!(" {}", tame(&fields.to_string()))).unwrap_or_default();
        let size = if entry.bytes > 0 { format!(" ({})", count(entry.bytes as u64, "byte")) } else { String::new() };
        text += &format!("{HEADING}{} {}{HEADING:#}{size}{fields}\n", entry.change, entry.record);
    }
    text
}

/// Says in which file something isn't what it should be.
fn in_file(error: Error, file: &Path) -> Error {
    match error {
        Error::Document { what, source } => Error::Document { what: format!("{what} in {}", file.display()), source },
        other => other,
    }
}

fn read(path: &Path, bound: u64) -> Result<Vec<u8>, Failure> {
    let found = disk::read_bounded(path, bound).map_err(Error::io("read", path))?;
    Ok(found.ok_or_else(|| {
        Error::io("read", path)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"))
    })?)
}

const KEY_BYTES_MAX: u64 = 64 << 10;
