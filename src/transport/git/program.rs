//! The program `git` instead of ourselves: for people whose hosts want its credential helpers, proxies or own transports.
//!
//! It works on the cache, which is an ordinary bare repository, and reads its user's configuration; hooks it leaves alone.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::process::{Command, Output};

use gix_hash::ObjectId as Oid;

use crate::transport::git::branch::BranchName;
use crate::transport::git::cache::Cache;
use crate::transport::git::error::GitError;
use crate::transport::git::hub::Server;
use crate::transport::git::process::forget_repository;
use crate::transport::git::wire::{Update, shown};

/// A repository that `git` reaches by this URL of its own.
#[derive(Debug)]
pub(super) struct Program(pub(super) String);

impl Program {
    fn run(&self, cache: &Cache, verb: &str, args: &[String]) -> Result<Output, GitError> {
        let mut command = Command::new("git");
        command.arg("-C").arg(cache.dir()).args(["-c", "core.hooksPath=/dev/null", verb]).args(args);
        forget_repository(&mut command);
        command
            .output()
            .map_err(|error| GitError::Unreachable(io::Error::new(error.kind(), format!("cannot run git: {error}"))))
    }
}

impl Server for Program {
    fn refresh(&self, cache: &Cache, prefix: &str) -> Result<BTreeMap<BranchName, Oid>, GitError> {
        let flags = ["--quiet", "--no-tags", "--no-write-fetch-head", "--prune", "--force", "--"].map(str::to_owned);
        let args = [&flags[..], &[self.0.clone(), format!("+{prefix}/*:refs/hub/*")]].concat();
        let ended = self.run(cache, "fetch", &args)?;
        if !ended.status.success() {
            return Err(unreachable(&ended));
        }
        cache.packs().look_again()?;
        Ok(cache.tips())
    }

    fn push(&self, cache: &Cache, updates: &[Update], _: File) -> Result<(), GitError> {
        let mut args = vec!["--porcelain".to_owned(), "--quiet".to_owned()];
        if updates.len() > 1 {
            args.push("--atomic".to_owned());
        }
        for update in updates {
            let old = update.old.map(|old| old.to_string()).unwrap_or_default();
            args.push(format!("--force-with-lease={}:{old}", update.name));
        }
        args.extend(["--".to_owned(), self.0.clone()]);
        args.extend(updates.iter().map(|update| format!("{}:{}", update.new, update.name)));
        let ended = self.run(cache, "push", &args)?;
        if ended.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&ended.stdout);
        let refused: Vec<&str> =
            told.lines().filter(|line| line.starts_with('!')).filter_map(|line| line.split('\t').nth(2)).collect();
        match refused.is_empty() {
            true => Err(unreachable(&ended)),
            false => {
                let why = format!("{}; {}", shown(&refused.join("; ")), shown(&String::from_utf8_lossy(&ended.stderr)));
                Err(GitError::Denied(io::Error::new(io::ErrorKind::PermissionDenied, why)))
            }
        }
    }
}

fn unreachable(ended: &Output) -> GitError {
    let said = shown(&String::from_utf8_lossy(&ended.stderr));
    GitError::Unreachable(io::Error::new(io::ErrorKind::ConnectionRefused, format!("git says: {said}")))
}
