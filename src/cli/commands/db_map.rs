//! `wbsync db map`: propose a mapping of an application's tables, and check an edited one.

use std::path::PathBuf;

use serde_json::json;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::text::{count, table};
use crate::connector::mapping::finding::{Finding, Weight};
use crate::connector::mapping::preset;
use crate::sync::error::exit;
use crate::sync::instance::{DIR, Instance};
use crate::sync::map::{self, Outline, Review};

/// Propose a mapping of the application's tables, or check an edited one
///
/// What is proposed goes to stdout as TOML to be edited, with the reason beside each choice. Nothing of it is shared:
/// every dataset is private until you say otherwise. Columns that sound secret are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  wbsync db map --db sqlite:///data/app.db > wbsync.toml
  wbsync db map --check
  wbsync db map --check --preset whiteballoon --db sqlite:///data/app.db")]
pub struct Args {
    /// The application's database, spelled as the application does; otherwise that of wbsync.toml, or DATABASE_URL
    #[arg(long, value_name = "URL")]
    db: Option<String>,
    /// Show a mapping that ships with wbsync instead of proposing one: `whiteballoon`
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// Check wbsync.toml, or the preset, against the database; ends with 8 if syncing would be impossible
    #[arg(long)]
    check: bool,
}

/// Runs it.
///
/// # Errors
/// The database or `wbsync.toml` can't be read; `NothingToMap`.
pub fn run(context: &mut Context, args: &Args) -> Result<(), Failure> {
    let root = root(context);
    if args.check {
        let review = map::check(&root, args.db.as_deref(), args.preset.as_deref())?;
        return show(context, &review);
    }
    if let Some(name) = &args.preset {
        let text = preset::text(name).map_err(crate::sync::error::Error::from)?;
        return context.answer(&json!({ "preset": name, "toml": text }), text);
    }
    let proposal = map::propose(&root, args.db.as_deref())?;
    context.answer(&proposal, &proposal.toml)?;
    tell(context, &proposal.findings);
    if let Outline::Preset(name) = map::outline(&root, args.db.as_deref())? {
        context.hint(&format!("these are the tables of {name}: `wbsync init --preset {name}` knows them better"));
    }
    context.hint("write it to wbsync.toml, edit it, look at `wbsync db map --check`, then run `wbsync init`");
    Ok(())
}

/// Finds the directory of wbsync.toml: the instance's, or the current one.
fn root(context: &Context) -> PathBuf {
    let instance = || context.dir.ancestors().find(|dir| dir.join(DIR).is_dir()).map(Into::into);
    Instance::root_from_environment(&context.dir).or_else(instance).unwrap_or_else(|| context.dir.clone())
}

fn show(context: &mut Context, review: &Review) -> Result<(), Failure> {
    let rows: Vec<[String; 3]> = (review.datasets.iter())
        .map(|mapped| [mapped.dataset.clone(), mapped.scope.clone(), mapped.fields.join(", ")])
        .collect();
    let errors = review.findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    let verdict = match errors {
        0 => format!("the mapping fits {}\n", review.database),
        errors => format!("the mapping does not fit {}: {}\n", review.database, count(errors as u64, "error")),
    };
    context.answer(review, &(table("", &rows) + &verdict))?;
    tell(context, &review.findings);
    if review.is_wrong() {
        context.exit_with(exit::FINDINGS);
    }
    Ok(())
}

/// Says what was found, each in a line, with what to do below.
pub(super) fn tell(context: &Context, findings: &[Finding]) {
    for finding in findings {
        let weight = match finding.weight {
            Weight::Error => "error",
            Weight::Warning => "warning",
            Weight::Note => "note",
        };
        let next = finding.next.as_deref().map(|next| format!("\n  {next}")).unwrap_or_default();
        context.note(&format!("{weight}: {finding}{next}"));
    }
}
