//! How the worker's events are written: lines for people, for the journal, or JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use super::arguments::LogFormat;
use super::context::{Context, say};
use super::text::{bytes, count, tame};
use crate::daemon::event::Trouble;
use crate::daemon::log::{Level, Log, Told};
use crate::sys::clock;

/// Returns what writes events to stderr as the options want it.
pub fn log(context: &Context) -> Log {
    let least = match () {
        () if context.global.quiet => Level::Warning,
        () if context.global.verbose => Level::Detail,
        () => Level::Info,
    };
    let format = context.log_format();
    // The journal dates each line itself, and takes its weight from a prefix (sd-daemon(3)).
    let is_journal = format == LogFormat::Text && std::env::var_os("JOURNAL_STREAM").is_some();
    Arc::new(move |told| {
        let level = told.level();
        if level < least {
            return;
        }
        say(&match format {
            LogFormat::Json => line_of_json(told).to_string(),
            LogFormat::Text if is_journal => format!("<{}>{}", weight(level), text(told)),
            LogFormat::Text => format!("{} {}", clock::now(), text(told)),
        });
    })
}

fn weight(level: Level) -> u8 {
    match level {
        Level::Detail => 7,
        Level::Info => 6,
        Level::Warning => 4,
        Level::Error => 3,
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Detail => "debug",
        Level::Info => "info",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}

fn text(told: &Told) -> String {
    match told {
        Told::Started { remotes: 0 } => "started; there is no remote to exchange with yet".into(),
        Told::Started { remotes } => format!("started; exchanges with {}", count(*remotes, "remote")),
        Told::Listening { url } => format!("listening on {url}"),
        Told::Committed { records } => format!("committed {} of the application's", count(*records, "changed record")),
        Told::Exchanged { remote, heads_fetched: 0, heads_pushed: 0, .. } => format!("{remote}: nothing new"),
        Told::Exchanged { remote, heads_fetched, bytes_fetched, heads_pushed, bytes_pushed } => {
            let part = |verb: &str, heads: u64, size: u64| {
                (heads > 0).then(|| format!("{verb} {} ({})", count(heads, "head"), bytes(size)))
            };
            let parts = [part("fetched", *heads_fetched, *bytes_fetched), part("pushed", *heads_pushed, *bytes_pushed)];
            format!("{remote}: {}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
        }
        Told::Applied { rows } => format!("wrote {} of the application's", count(*rows, "row")),
        Told::KeptHome { dataset, rows } => {
            let rows = count(*rows, "new row");
            format!(
                "{rows} of {dataset} stay home, private: they may be rows that were marked; see `wbsync privacy list {dataset} --rows`"
            )
        }
        Told::Conflicts { open } => format!("{} open; see `wbsync conflicts`", count(*open, "conflict")),
        Told::Refused { remote, document, reason } => format!("{remote}: refused {document}: {}", tame(reason)),
        Told::Failed { remote, trouble } => {
            let wait = trouble.wait.map(|wait| format!("; next try in {} s", wait.as_secs())).unwrap_or_default();
            format!("{remote}: {}{wait}", words(trouble))
        }
        Told::Stopped { trouble } => format!("cannot work at the moment: {}", words(trouble)),
        Told::Heard { remote } => format!("{remote}: something changed there"),
        Told::Resumed { millis } => {
            format!("the machine slept, or its clock was set, by {} s; trying everybody", millis / 1000)
        }
        Told::Reloaded => "configuration read again; trying everybody".into(),
        Told::NotReloaded { trouble } => {
            format!("the configuration can't be read again, the old one holds: {}", words(trouble))
        }
        Told::Ending => "ending; the exchange at work may finish".into(),
        Told::Abandoned => "ended in the middle of an exchange; the next one goes on from there".into(),
    }
}

fn words(trouble: &Trouble) -> String {
    let hint = trouble.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{hint}", tame(&trouble.text))
}

fn line_of_json(told: &Told) -> Value {
    let (event, members) = match told {
        Told::Started { remotes } => ("started", json!({ "remotes": remotes })),
        Told::Listening { url } => ("listening", json!({ "url": url })),
        Told::Committed { records } => ("committed", json!({ "records": records })),
        Told::Exchanged { remote, heads_fetched, bytes_fetched, heads_pushed, bytes_pushed } => (
            "exchanged",
            json!({
                "remote": remote, "heads_fetched": heads_fetched, "bytes_fetched": bytes_fetched,
                "heads_pushed": heads_pushed, "bytes_pushed": bytes_pushed,
            }),
        ),
        Told::Applied { rows } => ("applied", json!({ "rows": rows })),
        Told::KeptHome { dataset, rows } => ("kept-home", json!({ "dataset": dataset.as_str(), "rows": rows })),
        Told::Conflicts { open } => ("conflicts", json!({ "open": open })),
        Told::Refused { remote, document, reason } => {
            ("refused", json!({ "remote": remote, "document": document, "reason": reason }))
        }
        Told::Failed { remote, trouble } => ("failed", with(json!({ "remote": remote.as_str() }), trouble)),
        Told::Stopped { trouble } => ("stopped", with(json!({}), trouble)),
        Told::Heard { remote } => ("heard", json!({ "remote": remote.as_str() })),
        Told::Resumed { millis } => ("resumed", json!({ "millis": millis })),
        Told::Reloaded => ("reloaded", json!({})),
        Told::NotReloaded { trouble } => ("not-reloaded", with(json!({}), trouble)),
        Told::Ending => ("ending", json!({})),
        Told::Abandoned => ("abandoned", json!({})),
    };
    let mut line = json!({ "time": clock::now().to_string(), "level": word(told.level()), "event": event });
    if let (Value::Object(line), Value::Object(members)) = (&mut line, members) {
        line.extend(members);
    }
    line
}

/// Returns an error as JSON.
pub fn wrong(trouble: &Trouble) -> Value {
    with(json!({}), trouble)
}

fn with(mut members: Value, trouble: &Trouble) -> Value {
    members["code"] = trouble.code.as_str().into();
    members["message"] = trouble.text.clone().into();
    members["hint"] = trouble.hint.clone().into();
    members["wait_millis"] = trouble.wait.map(|wait| wait.as_millis() as u64).into();
    members
}
