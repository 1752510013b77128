//! Random changes on two sides: in the end both directories and both roots are equal.

use std::fs;

use wbsync::state::peers::Trust;
use wbsync::testing::prng::Prng;

use super::site::{Site, Tree, noise, pair};

/// What both sides have: what was set aside stays at home if it was a change of the other's file.
fn common(site: &Site) -> Tree {
    site.tree().into_iter().filter(|(path, _)| !path.contains(".sync-conflict-")).collect()
}

fn content(random: &mut Prng, old: Option<Vec<u8>>) -> Vec<u8> {
    let mut bytes = match old {
        Some(old) if random.below(3) > 0 => old,
        _ => {
            let (seed, size) = (random.below(5), random.below(200_000) as usize);
            noise(seed, if random.below(2) == 0 { size % 100 } else { size })
        }
    };
    let at = random.below(bytes.len() as u64 + 1) as usize;
    bytes.splice(at..at, b"edit".iter().copied().take(random.below(5) as usize));
    bytes
}

fn step(site: &Site, random: &mut Prng, number: u64) {
    let paths: Vec<String> = common(site).into_keys().collect();
    let some = (!paths.is_empty()).then(|| paths[random.below(paths.len() as u64) as usize].clone());
    let fresh = format!("{}{}/{number}", ["", "sub/", "sub/deep/"][random.below(3) as usize], site.name);
    match (random.below(8), some) {
        (0..3, _) | (_, None) => site.write(&fresh, content(random, None)),
        (3..5, Some(path)) => site.write(&path, content(random, Some(site.read(&path)))),
        (5, Some(path)) => {
            fs::create_dir_all(site.path(&fresh).parent().unwrap()).unwrap();
            fs::rename(site.path(&path), site.path(&fresh)).unwrap();
        }
        (6, Some(path)) => site.remove(&path),
        (_, Some(path)) => site.set_executable(&path),
    }
}

fn converges(seed: u64) {
    let mut random = Prng::new(seed);
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let sites = [&alpha, &beta];
    for number in 0..40 {
        let site = sites[random.below(2) as usize];
        match random.below(4) {
            0 => site.sync(),
            _ => step(site, &mut random, number),
        }
    }
    for _ in 0..5 {
        sites.iter().for_each(|site| site.sync());
    }
    assert_eq!(alpha.roots(), beta.roots(), "seed {seed}");
    assert_eq!(alpha.waits(), [].into(), "seed {seed}");
    assert_eq!(beta.waits(), [].into(), "seed {seed}");
    let (ours, theirs) = (common(&alpha), common(&beta));
    assert!(ours == theirs, "seed {seed}: {:?} {:?}", ours.keys(), theirs.keys());
    for site in sites {
        assert!(site.commit().scopes.is_empty(), "seed {seed}: {} is not at rest", site.name);
    }
}

#[test]
fn random_trees_come_to_be_equal() {
    let seeds = std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    for seed in 0..seeds {
        println!("seed {seed}");
        converges(seed);
    }
}
