//! `wbsync config`: what is set, where it comes from, and whether it is sound.

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::table;
use crate::connector::dburl;
use crate::daemon::worker;
use crate::sync::config::Config;
use crate::sync::error::Error;
use crate::sync::instance::Purpose;
use crate::sync::settings;

/// Show the configuration, or check it
///
/// The environment counts more than the application's .env, that more than wbsync.toml, that more than what holds by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync config show --origin
  wbsync config check")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show what is set
    #[command(after_help = "Examples:\n  wbsync config show\n  wbsync config show --origin")]
    Show {
        /// Also where each value comes from
        #[arg(long)]
        origin: bool,
    },
    /// Check the configuration, and whether it fits the application's database
    #[command(after_help = "Examples:\n  wbsync config check")]
    Check,
}

/// Runs it.
///
/// # Errors
/// As `Config::read_shown`; `check` also as opening the database.
pub fn run(context: &mut Context, args: Args) -> Result<(), Failure> {
    let root = worker::place_of(&context.dir)?;
    let (config, shown) = Config::read_shown(&root)?;
    match args.command {
        Command::Show { origin } => {
            let rows = shown.iter().map(|shown| {
                let from = if origin { format!("# {}", shown.origin) } else { String::new() };
                [shown.key.to_owned(), format!("= {}", shown.value), from]
            });
            let mut text = table("", &rows.collect::<Vec<_>>());
            text += &config.dataset.keys().map(|name| format!("[dataset.{name}]\n")).collect::<String>();
            context.answer(&json!({ "settings": shown, "datasets": config.dataset.keys().collect::<Vec<_>>() }), &text)
        }
        Command::Check => {
            let instance = context.instance(Purpose::Look)?;
            instance.with_database(|database| Ok(database.position()?))?;
            let environment = settings::unknown(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
            let file = settings::unknown(dburl::env_file_names(&root).map_err(Error::from)?);
            let mut unknown = Vec::new();
            for (place, names) in [("the environment", environment), (".env", file)] {
                for (name, near) in names {
                    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    context.warn(&format!("{name} is in {place} and means nothing to wbsync{near}"));
                    unknown.push(name);
                }
            }
            let misfits = instance.misfits()?;
            context.warn_of_misfits(&misfits);
            let text = "the configuration is sound, and fits the application's database\n";
            context.answer(&json!({ "sound": true, "unknown": unknown, "misfits": misfits }), text)
        }
    }
}
