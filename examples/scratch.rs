//! scratch
use std::path::Path;
use std::time::Instant;
use wbsync::id::name::PeerName;
use wbsync::sync::{commit::Mode, init::*, instance::*, progress::silent};
fn rss() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .find(|l| l.starts_with("VmHWM"))
        .unwrap()
        .split_whitespace()
        .nth(1)
        .unwrap()
        .parse()
        .unwrap()
}
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let what = std::env::args().nth(2).unwrap();
    let root = Path::new(&dir);
    let t = Instant::now();
    match what.as_str() {
        "init" => {
            let o = InitOptions {
                database: None,
                preset: Some("whiteballoon".into()),
                name: Some(PeerName::new("alpha").unwrap()),
            };
            let i = Instance::init(root, &o, silent()).unwrap();
            i.remote_add(&PeerName::new("stick").unwrap(), &std::env::args().nth(3).unwrap(), root).unwrap();
        }
        "commit" => {
            let i = Instance::open(root, Purpose::Change, silent()).unwrap();
            println!("{:?}", i.commit(Mode::Keep).unwrap());
        }
        "push" => {
            let i = Instance::open(root, Purpose::Change, silent()).unwrap();
            println!("{:?}", i.push(&PeerName::new("stick").unwrap()).unwrap());
        }
        "pull" => {
            let i = Instance::open(root, Purpose::Change, silent()).unwrap();
            println!("{:?}", i.pull(&[PeerName::new("origin").unwrap()]).unwrap());
        }
        "status" => {
            let i = Instance::open(root, Purpose::Change, silent()).unwrap();
            println!("{:?}", i.status().unwrap().parked_total);
        }
        "clone" => {
            let o = CloneOptions {
                init: InitOptions {
                    database: None,
                    preset: Some("whiteballoon".into()),
                    name: Some(PeerName::new("gamma").unwrap()),
                },
                ..Default::default()
            };
            let (_, s) = Instance::clone_from(&std::env::args().nth(3).unwrap(), root, &o, root, silent()).unwrap();
            println!("{:?}", s.applied);
        }
        _ => panic!(),
    }
    println!("{what}: {:?}, peak {} MB", t.elapsed(), rss() / 1024);
}
