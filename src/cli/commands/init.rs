//! `wbsync init`: make an instance beside an application.

use std::path::PathBuf;

use serde_json::json;

use super::clone;
use crate::cli::commands::db_map::tell;
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::connector::mapping::finding::{Finding, Weight};
use crate::id::name::{DatasetName, PeerName};
use crate::sync::config::Directory;
use crate::sync::init::InitOptions;
use crate::sync::instance::Instance;
use crate::sync::map::{self, Outline};
use crate::sync::network::NetworkMode;

/// Make an instance beside an application's database
///
/// Checks the mapping against the database, makes keys, and writes `wbsync.toml` and `.wbsync/`. Nothing is read from or
/// shared with anybody yet, unless `--from` names a store or a bundle: that is `wbsync clone`. Without a preset, the application is recognised by its tables, or a mapping is
/// proposed in which everything is private.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync init --db sqlite:///data/app.db --preset whiteballoon
  wbsync init --db /srv/board/app.db --preset whiteballoon --name alpha
  wbsync init --files docs --dataset docs
  wbsync init --preset whiteballoon --from https://hub.example/")]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Fill it from a store or a bundle, as `wbsync clone URL` does, which has more options
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

/// What a new instance needs to know.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The application's database, spelled as the application does; otherwise DATABASE_URL
    #[arg(long, value_name = "URL")]
    db: Option<String>,
    /// A mapping of tables that ships with wbsync: `whiteballoon`; otherwise recognised, or proposed
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// A directory whose files are records, beside a database or instead of one
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// The name of that directory's dataset
    #[arg(long, value_name = "NAME", requires = "files", default_value = "files")]
    dataset: DatasetName,
    /// What the instance calls itself; otherwise its directory's name
    #[arg(long, value_name = "NAME")]
    name: Option<PeerName>,
    /// Through which stores it exchanges: central (remotes), p2p (stores of peers), hybrid (both); otherwise central
    #[arg(long, value_name = "MODE")]
    mode: Option<NetworkMode>,
}

impl Options {
    /// Returns them as the library takes them.
    pub fn into_init(self) -> InitOptions {
        let Self { db, preset, name, mode, files, dataset } = self;
        let files = files.map(|dir| Directory { dir, dataset });
        InitOptions { database: db, preset, name, mode, files, mapping: None }
    }
}

/// Runs it.
///
/// # Errors
/// As `Instance::init`.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = Instance::root_from_environment(&context.dir).unwrap_or_else(|| context.dir.clone());
    if let Some(url) = args.from {
        return clone::run(context, clone::Args::of(url, root, args.options));
    }
    let mut options = args.options.into_init();
    let outline = map::complete(&root, &mut options)?;
    let instance = Instance::init(&root, &options, context.watcher())?;
    let (name, line) = (&instance.card.card.name, instance.card.line());
    let fingerprint = instance.identity.fingerprint();
    context.answer(
        &json!({ "name": name, "id": instance.id(), "fingerprint": fingerprint, "card": line }),
        &format!("name         {name}\nfingerprint  {fingerprint}\ncard         {line}\n"),
    )?;
    context.warn_of_misfits(&instance.misfits()?);
    explain(context, outline.as_ref());
    if let Some(Directory { dir, .. }) = &options.files {
        context.note(&format!(
            "\nThe files in {} are private until wbsync.toml says otherwise: `scope` or `rules` (docs/files.md).",
            dir.display()
        ));
    }
    context.note(
        "\nNext steps:\n  wbsync peer add CARD          add another instance by its card; give it yours\n  \
         wbsync peer trust NAME        let it read what is marked `trusted`\n  \
         wbsync follow NAME            take in what it shares\n  \
         wbsync remote add NAME URL    a store to exchange through: a hub, a shared directory, a stick\n  \
         wbsync sync                   exchange",
    );
    Ok(())
}

/// Says where the mapping comes from, and what to do with it.
pub(super) fn explain(context: &Context, outline: Option<&Outline>) {
    match outline {
        None => {}
        Some(Outline::Preset(name)) => {
            context.note(&format!("\nThe tables are those of {name}: wbsync.toml says preset = \"{name}\"."));
        }
        Some(Outline::Proposal(proposal)) => {
            let warnings: Vec<Finding> =
                proposal.findings.iter().filter(|finding| finding.weight == Weight::Warning).cloned().collect();
            tell(context, &warnings);
            context.note(&format!(
                "\nA mapping is proposed in wbsync.toml: {}. Everything in it is private.\n  \
                 wbsync db map --check                   what it does, and what may surprise, after you edited it\n  \
                 wbsync privacy default DATASET public   share the rows of a dataset",
                proposal.datasets.join(", ")
            ));
        }
    }
}
