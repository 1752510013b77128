//! git's own programs behind a pipe: on this machine, or on another over SSH.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::transport::git::error::GitError;
use crate::transport::git::wire::{Link, Service, Talk, shown};
use crate::transport::guard::Guard;
use crate::transport::ssh;
use crate::transport::ssh::url::SshUrl;

/// Makes the command that runs a service, given its program's name.
type MakeCommand = Box<dyn Fn(&str) -> Command + Send + Sync>;

/// A repository that programs reach.
pub(super) struct Programs {
    make: MakeCommand,
    /// Where it is, if it is on this machine: git says nothing good of what isn't there.
    here: Option<PathBuf>,
}

impl Programs {
    /// Reaches a repository on this machine.
    pub(super) fn here(path: PathBuf) -> Self {
        let at = path.clone();
        let make = move |program: &str| {
            let mut command = Command::new("git");
            let name = program.strip_prefix("git-").expect("git's programs are called so");
            command.arg(name).arg("--").arg(&at).stderr(Stdio::piped());
            command
        };
        Self { make: Box::new(make), here: Some(path) }
    }

    /// Reaches a repository on another machine. Questions and reasons are `ssh`'s own.
    pub(super) fn over(url: SshUrl) -> Self {
        let make = move |program: &str| ssh::command_for(&url, &format!("{program} {}", ssh::quoted(&url.path)));
        Self { make: Box::new(make), here: None }
    }

    /// Reaches a repository by whatever command.
    pub(super) fn by(make: impl Fn(&str) -> Command + Send + Sync + 'static) -> Self {
        Self { make: Box::new(make), here: None }
    }
}

impl Link for Programs {
    fn connect(&self, service: Service) -> Result<Box<dyn Talk>, GitError> {
        if self.here.as_ref().is_some_and(|path| !path.is_dir()) {
            return Err(GitError::Unreachable(io::ErrorKind::NotFound.into()));
        }
        let mut command = (self.make)(service.program());
        forget_repository(&mut command);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            GitError::Unreachable(io::Error::new(error.kind(), format!("cannot run {program}: {error}")))
        })?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it was asked for"));
        let guard = Guard::new(child);
        let stdin = stdin.map(|pipe| Guarded { pipe, guard: guard.clone() });
        Ok(Box::new(Program { stdin, stdout: Guarded { pipe: stdout, guard: guard.clone() }, guard }))
    }
}

/// Takes out of a program's environment what would lead git to another repository, or to another protocol.
pub(super) fn forget_repository(command: &mut Command) {
    for variable in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_NAMESPACE",
        "GIT_QUARANTINE_PATH",
        "GIT_PREFIX",
        "GIT_PROTOCOL",
    ] {
        command.env_remove(variable);
    }
}

struct Program {
    guard: Guard,
    stdin: Option<Guarded<ChildStdin>>,
    stdout: Guarded<ChildStdout>,
}

/// A pipe whose program is guarded while it is waited for.
struct Guarded<T> {
    pipe: T,
    guard: Guard,
}

impl<T: Read> Read for Guarded<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.guard.during(|| self.pipe.read(buffer))
    }
}

impl<T: Write> Write for Guarded<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A pipe takes all at once or lets us wait: each part has its own time.
        let part = &bytes[..bytes.len().min(PART_BYTES)];
        self.guard.during(|| self.pipe.write(part))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.guard.during(|| self.pipe.flush())
    }
}

impl Talk for Program {
    fn listen(&mut self) -> &mut dyn Read {
        &mut self.stdout
    }

    fn ask(&mut self, request: &[u8], pack: Option<&mut File>) -> Result<(), GitError> {
        let stdin = self.stdin.as_mut().expect("it is closed only when dropped");
        let mut sent = stdin.write_all(request);
        if let Some(pack) = pack
            && sent.is_ok()
        {
            sent = io::copy(pack, stdin).map(drop);
        }
        sent.and_then(|()| stdin.flush()).map_err(|error| self.explain(error))
    }

    fn leave(&mut self) {
        // Who is gone already needs no farewell.
        let _ = self.ask(b"0000", None);
    }

    fn explain(&mut self, error: io::Error) -> GitError {
        if error.kind() == io::ErrorKind::TimedOut {
            return GitError::Unreachable(error);
        }
        // Only what ended by itself has a reason of its own; the others are ended by our not understanding them.
        let Some(status) = ended(&self.guard) else { return GitError::Spoken(error) };
        let mut said = Vec::new();
        let stderr = self.guard.child().stderr.take();
        if let Some(stderr) = stderr {
            // What is lost of a reason is no failure of its own.
            let _ = stderr.take(SAID_BYTES_MAX).read_to_end(&mut said);
        }
        if status.success() {
            return GitError::Spoken(error);
        }
        let said = shown(&String::from_utf8_lossy(&said));
        if said.contains("not appear to be a git repository") {
            return GitError::NotARepository("git finds no repository there");
        }
        let why = match said.is_empty() {
            true => format!("git on the other side, or ssh, ended with {status}; what it said is above"),
            false => said,
        };
        // Not worth another try: a wrong key, an unknown host, no such repository.
        GitError::Unreachable(io::Error::new(io::ErrorKind::ConnectionRefused, why))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.stdin.take());
        if ended(&self.guard).is_none() {
            // It may have ended just now; then there is nothing to do.
            let _ = self.guard.child().kill();
            let _ = self.guard.child().wait();
        }
    }
}

fn ended(guard: &Guard) -> Option<ExitStatus> {
    let until = Instant::now() + END_TIMEOUT;
    loop {
        let status = guard.child().try_wait();
        match status {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            _ => return None,
        }
    }
}

const END_TIMEOUT: Duration = Duration::from_secs(2);
const PART_BYTES: usize = 32 << 10;
const SAID_BYTES_MAX: u64 = 4 << 10;
