//! SSH: the protocol of a hub over the pipe of the system's `ssh`, which runs `wbsync serve --stdio` on the other side.
//!
//! Keys, agents, jump hosts and known hosts are all `ssh`'s own business. `WBSYNC_SSH` names another program, with options, as
//! `GIT_SSH_COMMAND` does for git.

mod pipe;
pub mod url;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;

use crate::exchange::store::StoreError;
use crate::keys::identity::Identity;
use crate::transport::http::client::Client;
use crate::transport::http::store::HttpStore;
use crate::transport::http::url::HttpUrl;
use crate::transport::ssh::pipe::{Nowhere, PipeConnector};
use crate::transport::ssh::url::SshUrl;

/// Opens the store at `url`. Requests are signed as `identity`, which matters where the other side asks for it.
///
/// # Errors
/// `Unreachable` if `ssh` or the program on the other side ends; `NotAStore` if something else answers; `NewerFormat`.
pub fn open(url: &SshUrl, identity: Option<&Identity>) -> Result<HttpStore, StoreError> {
    let (spoken, serve) = (url.clone(), format!("wbsync serve --stdio --store={}", quoted(&url.path)));
    over(format!("the store {url}"), identity, move || command_for(&spoken, &serve))
}

/// Opens the store that a program serves on its standard input and output.
///
/// # Errors
/// As `open`.
pub fn over(
    name: String,
    identity: Option<&Identity>,
    command: impl Fn() -> Command + Send + Sync + 'static,
) -> Result<HttpStore, StoreError> {
    let config = Config::builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .timeout_per_read(Some(IDLE_TIMEOUT))
        // The next connection would be another `ssh`.
        .max_idle_age(Duration::from_secs(12))
        .build();
    let agent = Agent::with_parts(config, PipeConnector::new(Arc::new(command)), Nowhere);
    let url = HttpUrl { tls: false, authority: AUTHORITY.to_owned(), prefix: String::new() };
    HttpStore::over(Client::new(agent, url, name, identity.cloned()), ASKED_WITHIN)
}

/// Makes the command that runs `remote` where `url` leads, by the `ssh` that the environment names.
pub(crate) fn command_for(url: &SshUrl, remote: &str) -> Command {
    let custom = std::env::var("WBSYNC_SSH").ok().filter(|custom| !custom.trim().is_empty());
    command(url, custom.as_deref(), remote)
}

fn command(url: &SshUrl, custom: Option<&str>, remote: &str) -> Command {
    let mut command = match custom {
        None => Command::new("ssh"),
        Some(custom) => {
            // As git does: the variable may hold options, quoted for a shell.
            let mut command = Command::new("sh");
            command.args(["-c", &format!("{custom} \"$@\""), "ssh"]);
            command
        }
    };
    command.args(["-T", "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]);
    if let Some(port) = url.port {
        command.args(["-p", &port.to_string()]);
    }
    let host = match &url.user {
        Some(user) => format!("{user}@{}", url.host),
        None => url.host.clone(),
    };
    command.args(["--", &host, remote]);
    command
}

/// Quotes a text for the shell on the other side.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What requests over a pipe name as their host, and sign.
pub const AUTHORITY: &str = "stdio";
/// A person may have to type a passphrase, or to look up a fingerprint.
const ASKED_WITHIN: Duration = Duration::from_secs(100);
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    fn args(text: &str, custom: Option<&str>) -> String {
        let url = SshUrl::parse(text).unwrap();
        let command = command(&url, custom, &format!("wbsync serve --stdio --store={}", quoted(&url.path)));
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        format!("{} {}", command.get_program().to_string_lossy(), args.join(" "))
    }

    #[test]
    fn nothing_of_a_url_becomes_an_option_or_a_second_command() {
        insta::assert_snapshot!(args("ssh://eve@host:2222/srv/a", None), @"ssh -T -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -p 2222 -- eve@host wbsync serve --stdio --store='/srv/a'");
        insta::assert_snapshot!(args("host:a'; rm -rf b", None), @r"ssh -T -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -- host wbsync serve --stdio --store='a'\''; rm -rf b'");
        insta::assert_snapshot!(args("host:--listen", Some("ssh -F none")), @r#"sh -c ssh -F none "$@" ssh -T -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -- host wbsync serve --stdio --store='--listen'"#);
    }
}
