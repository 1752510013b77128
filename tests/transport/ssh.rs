//! The store contract over a pipe, and over a real sshd with keys of its own.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use wbsync::exchange::copy::copy_objects;
use wbsync::exchange::store::{Store, StoreError};
use wbsync::hub::members::{Members, Role};
use wbsync::keys::identity::Identity;
use wbsync::sys::clock;
use wbsync::transport::dir::DirStore;
use wbsync::transport::http::store::HttpStore;
use wbsync::transport::ssh;

use crate::contract::{get, noise, put, store_contract};
use crate::signed::{People, writer_head};
use crate::support::sshd::Sshd;

const PROGRAM: &str = env!("CARGO_BIN_EXE_wbsync");

fn piped(store: &Path, options: &'static [&'static str], identity: Option<&Identity>) -> Result<HttpStore, StoreError> {
    let store = store.to_owned();
    ssh::over("the pipe".into(), identity, move || {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--stdio", "--store"]).arg(&store).args(options);
        command
    })
}

#[test]
fn a_pipe_keeps_the_store_contract() {
    let dir = tempfile::tempdir().unwrap();
    let number = Cell::new(0);
    store_contract(|| {
        number.set(number.get() + 1);
        Box::new(piped(&dir.path().join(number.get().to_string()), &[], None).unwrap())
    });
}

#[test]
fn a_signed_pipe_holds_its_client_to_the_rules_of_a_hub() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    DirStore::create(&store).unwrap();
    let [member, stranger] = [(); 2].map(|()| Identity::generate());
    Members::open(&store).unwrap().allow(&member.id(), Role::Writer, clock::now()).unwrap();
    let opened = piped(&store, &["--signed"], Some(&member)).unwrap();
    let id = put(&opened, b"sealed");
    assert_eq!(get(&opened, &id, 0), b"sealed");
    assert!(matches!(opened.objects(), Err(StoreError::Denied { .. })), "a writer is no admin");
    for nobody in [Some(&stranger), None] {
        let opened = piped(&store, &["--signed"], nobody).unwrap();
        assert!(matches!(opened.scopes(), Err(StoreError::Denied { .. })));
    }
}

/// The pipe breaks twice within one object: each time `dd` ends after so many bytes, and the next program goes on.
#[test]
fn an_upload_over_a_pipe_goes_on_where_it_broke() {
    let dir = tempfile::tempdir().unwrap();
    let (store, sent) = (dir.path().join("store"), dir.path().join("sent"));
    let bytes = noise(4_000_000, 3);
    let from = DirStore::create(&dir.path().join("from")).unwrap();
    let object = (put(&from, &bytes), 4_000_000);
    let connections = Arc::new(AtomicU64::new(0));
    let (counted, target, counter) = (Arc::clone(&connections), store.clone(), sent.clone());
    let opened = ssh::over("the pipe".into(), None, move || {
        let limit = match counted.fetch_add(1, Ordering::SeqCst) {
            0 => "1500000",
            1 => "1300000",
            _ => "100000000",
        };
        let mut command = Command::new("sh");
        let script =
            "dd bs=64k iflag=count_bytes count=$1 status=none | tee -a \"$2\" | \"$3\" serve --stdio --store \"$4\"";
        command.args(["-c", script, "sh", limit]).arg(&counter).arg(PROGRAM).arg(&target);
        command
    })
    .unwrap();
    copy_objects(&from, &opened, &[object], &mut |_| {}).unwrap();
    assert!(get(&opened, &object.0, 0) == bytes);
    drop(opened);
    let passed = fs::metadata(&sent).unwrap().len();
    assert!(passed < 4_400_000, "{passed} bytes went for 4,000,000, in {connections:?} connections");
    assert!(connections.load(Ordering::SeqCst) >= 3);
    let kept = walkdir::WalkDir::new(store.join("hub")).into_iter().filter_map(Result::ok);
    assert_eq!(kept.filter(|entry| entry.path().extension().is_some_and(|end| end == "part")).count(), 0);
}

/// Of 3,000 heads, the owner of a store reads the one that is asked for; a signed connection has to know who may read what.
#[test]
fn a_connection_that_asks_for_one_head_gets_it_among_thousands() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("store");
    let store = DirStore::create(&root).unwrap();
    let people = People::new();
    let scope = people.scope("trusted");
    store.swap_manifest(&scope.id, None, &scope.manifest).unwrap();
    let member = &people.gamma;
    Members::open(&root).unwrap().allow(&member.id(), Role::Reader, clock::now()).unwrap();
    let heads = root.join(format!("scopes/{}/heads", scope.id));
    fs::create_dir_all(&heads).unwrap();
    for _ in 0..3_000 {
        let signer = Identity::generate();
        fs::write(heads.join(signer.id().to_string()), writer_head(&signer, &scope.id, 1, None)).unwrap();
    }
    let wanted = writer_head(&people.beta, &scope.id, 1, None);
    fs::write(heads.join(people.beta.id().to_string()), &wanted).unwrap();
    for (options, identity) in [(&[][..], None), (&["--signed"], Some(member))] {
        let started = Instant::now();
        let opened = piped(&root, options, identity).unwrap();
        assert_eq!(opened.head(&scope.id, &people.beta.id()).unwrap(), Some(wanted.clone()));
        assert_eq!(opened.heads(&scope.id).unwrap().len(), 3_001);
        let _ = writeln!(
            std::io::stderr(),
            "{options:?}: one head of 3,001 and the list of all in {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn a_program_that_ends_or_babbles_is_told_at_once() {
    for (program, args) in
        [("false", &[][..]), ("true", &[]), ("echo", &["welcome to this machine"]), ("no-such-program-here", &[])]
    {
        let started = Instant::now();
        let opened = ssh::over("the pipe".into(), None, move || {
            let mut command = Command::new(program);
            command.args(args);
            command
        });
        let error = opened.err().unwrap();
        assert!(matches!(error, StoreError::Unreachable { .. } | StoreError::NotAStore { .. }), "{program}: {error:?}");
        assert!(started.elapsed() < Duration::from_secs(20), "{program}");
    }
}

/// Opens a store at a sshd, as the library does for a URL but for the key.
fn open(sshd: &Sshd, key: &str, store: &Path) -> Result<HttpStore, StoreError> {
    let (ssh, port, store) = (sshd.command(key), sshd.port, store.display().to_string());
    let host = format!("{}@127.0.0.1", Sshd::user());
    ssh::over(format!("sshd on {port}"), None, move || {
        let mut command = Command::new("sh");
        let script = format!("exec {ssh} -T -p {port} -- {host} \"wbsync serve --stdio --store='{store}'\"");
        command.args(["-c", &script]);
        command
    })
}

#[test]
fn a_real_sshd_keeps_the_store_contract() {
    let Some(sshd) = Sshd::start() else { return };
    let number = RefCell::new(0);
    store_contract(|| {
        *number.borrow_mut() += 1;
        let store: PathBuf = sshd.dir.path().join(format!("store {}", number.borrow()));
        Box::new(open(&sshd, "client_key", &store).unwrap())
    });
}

#[test]
fn a_forced_command_decides_which_store_it_is() {
    let Some(sshd) = Sshd::start() else { return };
    let elsewhere = sshd.dir.path().join("elsewhere");
    let opened = open(&sshd, "forced_key", &elsewhere).unwrap();
    let bytes = noise(3_000_000, 1);
    let id = put(&opened, &bytes);
    assert!(get(&opened, &id, 1_000_000) == bytes[1_000_000..]);
    assert!(!elsewhere.exists());
    let forced = DirStore::open(&sshd.dir.path().join("forced")).unwrap();
    assert_eq!(forced.object_size(&id).unwrap(), Some(3_000_000));
    assert!(matches!(open(&sshd, "host_key", &elsewhere).err(), Some(StoreError::Unreachable { .. })), "a wrong key");
}

#[test]
fn the_program_pushes_and_fetches_by_ssh_urls() {
    let Some(sshd) = Sshd::start() else { return };
    let url = format!("ssh://{}@127.0.0.1:{}{}", Sshd::user(), sshd.port, sshd.dir.path().join("shared").display());
    let ssh = sshd.command("client_key");
    let run = |app: &crate::support::app::App, args: &[&str]| {
        crate::support::run::wbsync_with(app.dir(), args, &[("WBSYNC_SSH", &ssh)]).ok()
    };
    let [alpha, beta] = ["alpha", "beta"].map(|name| {
        let app = crate::support::app::App::new();
        run(&app, &["init", "--preset", "whiteballoon", "--name", name]);
        run(&app, &["remote", "add", "far", &url]);
        app
    });
    let card = run(&alpha, &["id"]).stdout;
    run(&beta, &["peer", "add", card.trim()]);
    run(&beta, &["follow", "alpha"]);
    alpha.insert_request(None, "a ladder, please", "public");
    run(&alpha, &["sync"]);
    run(&beta, &["sync"]);
    assert!(beta.dump("help_requests").contains("a ladder, please"));
}
