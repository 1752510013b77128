//! git's smart protocol over HTTP: one request to hear what there is, one for everything else.

use std::fs::File;
use std::io::{self, Cursor, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::StreamingPeekableIter;
use ureq::http::Response;
use ureq::{Agent, Body, Error, SendBody};
use zeroize::Zeroizing;

use crate::transport::git::error::GitError;
use crate::transport::git::url::Password;
use crate::transport::git::wire::{Link, Service, Talk};
use crate::transport::http::store::agent;
use crate::transport::http::trouble::io_of;
use crate::transport::http::url::HttpUrl;

/// A repository behind a web server.
pub(super) struct Web {
    agent: Agent,
    url: HttpUrl,
    authorization: Option<Zeroizing<String>>,
}

impl Web {
    /// Asks as `user`; without a password in the URL, with the one in the environment.
    pub(super) fn new(url: HttpUrl, user: Option<String>, password: Option<Password>) -> Self {
        let password = password.or_else(|| std::env::var(PASSWORD_VARIABLE).ok().map(Password::new));
        let is_safe = url.tls || ["localhost", "127.0.0.1", "[::1]"].iter().any(|near| is_at(&url.authority, near));
        let authorization = user.zip(password).filter(|_| is_safe).map(|(user, password)| {
            let plain = Zeroizing::new(format!("{user}:{}", password.reveal()));
            Zeroizing::new(format!("Basic {}", STANDARD.encode(plain.as_bytes())))
        });
        Self { agent: agent(AGENT), url, authorization }
    }

    fn address(&self, path: &str) -> String {
        let scheme = if self.url.tls { "https" } else { "http" };
        format!("{scheme}://{}{}/{path}", self.url.authority, self.url.prefix)
    }
}

fn is_at(authority: &str, host: &str) -> bool {
    authority.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

impl Link for Web {
    fn connect(&self, service: Service) -> Result<Box<dyn Talk>, GitError> {
        let name = service.program();
        let mut request = self.agent.get(self.address(&format!("info/refs?service={name}")));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.as_str());
        }
        let mut body = answer(request.call(), &format!("application/x-{name}-advertisement"))?;
        {
            // "# service=…", which says what the type said already.
            let mut lines = StreamingPeekableIter::new(&mut body, &[PacketLineRef::Flush], false);
            let is_service =
                matches!(lines.read_line(), Some(Ok(Ok(PacketLineRef::Data(line)))) if line.starts_with(b"# "));
            if !is_service || lines.read_line().is_some() {
                return Err(GitError::said("it doesn't begin as git's smart protocol does"));
            }
        }
        let web = Self { agent: self.agent.clone(), url: self.url.clone(), authorization: self.authorization.clone() };
        Ok(Box::new(Exchange { web, service, answer: body }))
    }
}

struct Exchange {
    web: Web,
    service: Service,
    answer: Box<dyn Read + Send>,
}

impl Talk for Exchange {
    fn listen(&mut self) -> &mut dyn Read {
        &mut self.answer
    }

    fn ask(&mut self, request: &[u8], pack: Option<&mut File>) -> Result<(), GitError> {
        let name = self.service.program();
        let pack_bytes = match &pack {
            Some(pack) => pack.metadata().map_err(GitError::Local)?.len(),
            None => 0,
        };
        let mut nothing = io::empty();
        let pack: &mut dyn Read = match pack {
            Some(pack) => pack,
            None => &mut nothing,
        };
        let mut body = Cursor::new(request).chain(pack);
        let mut post = self
            .web
            .agent
            .post(self.web.address(name))
            .header("content-type", format!("application/x-{name}-request"))
            .header("accept", format!("application/x-{name}-result"))
            .header("content-length", (request.len() as u64 + pack_bytes).to_string());
        if let Some(authorization) = &self.web.authorization {
            post = post.header("authorization", authorization.as_str());
        }
        let sent = post.send(SendBody::from_reader(&mut body));
        self.answer = answer(sent, &format!("application/x-{name}-result"))?;
        Ok(())
    }

    fn leave(&mut self) {}

    fn explain(&mut self, error: io::Error) -> GitError {
        GitError::Spoken(error)
    }
}

/// Returns the body of an answer of the type that is wanted.
fn answer(sent: Result<Response<Body>, Error>, wanted: &str) -> Result<Box<dyn Read + Send>, GitError> {
    let denied = |why: &str| GitError::Denied(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let response = sent.map_err(|error| match io_of(error) {
        // A certificate that doesn't count won't do so by itself.
        error if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => {
            GitError::Spoken(error)
        }
        error => GitError::Unreachable(error),
    })?;
    match response.status().as_u16() {
        200 => {}
        401 => return Err(denied("it wants a user and a password or token, or other ones than it got")),
        403 => return Err(denied("this user may not do that, or nobody may push here")),
        404 | 410 => {
            return Err(GitError::NotARepository(
                "the web server knows no repository there, or hides it from this user",
            ));
        }
        300..=399 => return Err(GitError::NotARepository("the web server says that it has moved: give its new URL")),
        413 => return Err(denied("the web server takes no push of this size")),
        status => {
            let why = format!("the web server answers with status {status}");
            return Err(GitError::Unreachable(io::Error::new(io::ErrorKind::HostUnreachable, why)));
        }
    }
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    if kind.is_none_or(|kind| !kind.eq_ignore_ascii_case(wanted)) {
        return Err(GitError::NotARepository("the web server doesn't speak git's smart protocol there"));
    }
    Ok(Box::new(response.into_body().into_reader()))
}

/// Some hosts answer to programs that call themselves git only.
const AGENT: &str = concat!("git/2.0 wbsync/", env!("CARGO_PKG_VERSION"));
/// Names the password or token for a repository whose URL names a user only.
const PASSWORD_VARIABLE: &str = "WBSYNC_GIT_PASSWORD";
