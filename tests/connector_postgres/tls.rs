//! TLS to a real server whose certificate a made-up authority signed.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use wbsync::connector::dburl::{self, Address};
use wbsync::connector::error::Error;
use wbsync::connector::mapping::model::Mapping;
use wbsync::connector::postgres::options::Options;

use super::harness::context;
use super::support::postgres::Cluster;

/// Makes an authority, certificates of it for `localhost` and for a user of the database, and another authority.
const SCRIPT: &str = "
authority() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=$1 \\
    -addext basicConstraints=critical,CA:TRUE -keyout $1.key -out $1.pem; }
authority good; authority other
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
printf 'subjectAltName=DNS:localhost\\nbasicConstraints=CA:FALSE\\n' > ext
openssl x509 -req -in server.csr -CA good.pem -CAkey good.key -CAcreateserial -days 2 -extfile ext -out server.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=postgres -keyout own.key -out own.csr
openssl x509 -req -in own.csr -CA good.pem -CAkey good.key -CAcreateserial -days 2 -extfile ext -out own.pem";

const MAPPING: &str = "
[dataset.things]
table = \"things\"
key = \"id\"
scope = { constant = \"public\" }
[dataset.things.fields]
word = { type = \"text\" }
";

fn open(dir: &Path, url: &str) -> Result<(), Error> {
    let Address::Postgres(url) = dburl::parse(url, dir).unwrap() else { panic!("{url}") };
    let mapping = Mapping::parse(MAPPING, "test").unwrap();
    wbsync::connector::postgres::open(Options::new(*url, dir), mapping, context()).map(drop)
}

#[test]
fn certificates_are_checked_as_sslmode_says() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("sh").args(["-ec", SCRIPT]).current_dir(dir.path()).output();
    if !made.is_ok_and(|made| made.status.success()) {
        // Past the harness, which would swallow it.
        return std::io::stderr().write_all(b"\n!!! SKIPPED: openssl makes no certificates\n").unwrap();
    }
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(_server) = Cluster::secured(port, &read("server.pem"), &read("server.key"), &read("good.pem")) else {
        return;
    };
    let url = |host: &str, query: &str| {
        let root = dir.path().display();
        format!("postgresql://postgres@{host}:{port}/postgres?{}", query.replace("ROOT", &root.to_string()))
    };
    // The server has no such table: whoever is told so got in.
    for (host, query) in [
        ("localhost", "sslmode=verify-full&sslrootcert=ROOT/good.pem"),
        ("localhost", "sslmode=verify-ca&sslrootcert=ROOT/good.pem"),
        ("localhost", "sslmode=require&sslrootcert=ROOT/good.pem"),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=prefer"),
        ("127.0.0.1", "sslmode=disable"),
    ] {
        let result = open(dir.path(), &url(host, query));
        assert!(matches!(result, Err(Error::UnknownTable { .. })), "{host} {query}: {result:?}");
    }
    // Another authority, another name, no authority at all: refused, and nothing is tried without TLS instead.
    for (host, query) in [
        ("localhost", "sslmode=verify-full&sslrootcert=ROOT/other.pem"),
        ("localhost", "sslmode=require&sslrootcert=ROOT/other.pem"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=ROOT/good.pem"),
        ("localhost", "sslmode=verify-full"),
    ] {
        let result = open(dir.path(), &url(host, query));
        assert!(matches!(result, Err(Error::Unreachable { .. })), "{host} {query}: {result:?}");
    }
    // One database is for those only who show a certificate of their own.
    let locked = |query: &str| open(dir.path(), &url("localhost", query).replace("/postgres?", "/template1?"));
    let result = locked("sslmode=verify-full&sslrootcert=ROOT/good.pem&sslcert=own.pem&sslkey=ROOT/own.key");
    assert!(matches!(result, Err(Error::UnknownTable { .. })), "{result:?}");
    let result = locked("sslmode=verify-full&sslrootcert=ROOT/good.pem");
    assert!(matches!(result, Err(Error::Unreachable { .. })), "{result:?}");
    for (query, said) in [
        ("sslmode=verify-full&sslrootcert=ROOT/none.pem", "none.pem"),
        ("sslmode=require&sslcert=none.pem&sslkey=own.key", "none.pem"),
        ("sslmode=require&sslcert=own.pem&sslkey=own.pem", "own.pem"),
    ] {
        match open(dir.path(), &url("localhost", query)) {
            Err(Error::Tls { why, .. }) => assert!(why.contains("cannot read") && why.contains(said), "{why}"),
            other => panic!("{query}: {other:?}"),
        }
    }
}
