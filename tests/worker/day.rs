//! Days of the worker in a moment, each with another weather. `WBSYNC_SEEDS=40` runs more of them, in a minute.

use std::time::Duration;

use crate::world::{INTERVAL, LOOK, Weather, World, keeps_its_word};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const CALM: Weather = Weather { storm: 0 };

fn seeds() -> u64 {
    std::env::var("WBSYNC_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5)
}

#[test]
fn a_stormy_day_ends_well_whatever_the_weather() {
    for seed in 0..seeds() {
        // From a bad line to a world in which nothing lasts for a minute.
        let storm = [2, 5, 20, 80, 200][(seed % 5) as usize];
        let mut world = World::new(seed, Weather { storm });
        world.live(24 * HOUR);
        let hours = world.ran().as_secs_f64() / 3600.0;
        let (wakes, jobs) = (world.wakes as f64 / hours, world.jobs as f64 / hours);
        // By itself the weather of this world turns 360 times an hour.
        assert!(wakes < 6_000.0 && jobs < 1_800.0, "seed {seed}: busy: {wakes} wakes, {jobs} jobs an hour");
        assert!(jobs > 20.0, "seed {seed}: lazy: {jobs} jobs an hour");
        world.calm();
        world.live(HOUR + 10 * MINUTE);
        assert!(world.is_synced(), "seed {seed}: not caught up an hour after the storm");
        assert!(world.report().remotes.iter().all(|remote| remote.error.is_none()), "seed {seed}");
    }
}

#[test]
fn a_calm_day_is_quiet_and_changes_are_there_in_seconds() {
    let mut world = World::new(1, CALM);
    world.live(10 * MINUTE);
    assert!(world.is_synced());
    let (jobs, wakes) = (world.jobs, world.wakes);
    world.live(HOUR);
    // Looks every minute, exchanges every five, and a question to each hub that lasts 50 seconds.
    assert!(world.jobs - jobs <= 60 + 3 * 14, "{} jobs", world.jobs - jobs);
    assert!(world.wakes - wakes <= 1_200, "{} wakes", world.wakes - wakes);
    world.edit();
    world.live(Duration::from_secs(20));
    assert!(world.is_synced(), "an edit is everywhere");
    world.change("hub");
    world.live(Duration::from_secs(20));
    assert!(world.is_synced(), "what a hub has is here");
}

#[test]
fn a_remote_that_is_away_for_a_day_is_asked_ever_more_seldom_and_found_again_at_once() {
    let mut world = World::new(3, CALM);
    world.live(10 * MINUTE);
    ["hub", "stick"].iter().for_each(|name| world.take_down(name));
    let (hub, office) = (world.attempts("hub"), world.attempts("office"));
    world.live(24 * HOUR);
    let tried = world.attempts("hub") - hub;
    assert!((12..150).contains(&tried), "{tried} tries");
    assert!(world.attempts("office") - office > 200, "the others don't suffer");
    world.change("hub");
    world.calm();
    world.live(6 * MINUTE);
    assert!(world.is_synced_with("hub"), "a hub that is asked for changes is found within minutes");
    world.live(HOUR + MINUTE);
    assert!(world.is_synced(), "and a stick within the hour");
}

#[test]
fn hubs_that_hang_take_a_part_of_the_time_and_the_others_the_rest() {
    let mut world = World::new(14, CALM);
    world.live(10 * MINUTE);
    ["hub", "stick"].iter().for_each(|name| world.hang(name));
    let (before, ran) = (world.attempts("office"), world.ran());
    // Both take two minutes once, and then one of them a quarter of the time at most.
    world.live(5 * MINUTE);
    for _ in 0..300 {
        world.edit();
        world.live(4 * MINUTE);
        assert!(world.is_synced_with("office"), "what is written is there although others hang");
    }
    let (hung, ran) = (world.hung, world.ran() - ran);
    assert!(hung > Duration::from_secs(1200) && hung < ran / 4 + 8 * MINUTE, "{hung:?} of {ran:?}");
    assert!(world.attempts("office") - before >= 300, "{} exchanges", world.attempts("office") - before);
    world.calm();
    world.live(HOUR + 10 * MINUTE);
    assert!(world.is_synced());
}

#[test]
fn after_a_sleep_everybody_is_asked_whatever_failed_before() {
    for (seed, slept) in [(4, 2 * MINUTE), (5, 9 * HOUR), (6, 40 * 24 * HOUR)] {
        let mut world = World::new(seed, CALM);
        ["hub", "office", "stick"].iter().for_each(|name| world.take_down(name));
        world.live(8 * HOUR);
        world.change("stick");
        world.edit();
        world.calm();
        world.sleep(slept);
        world.live(2 * MINUTE);
        assert!(world.is_synced(), "seed {seed}");
        assert_eq!(world.resumes, 1, "seed {seed}");
    }
}

#[test]
fn clocks_that_are_set_do_no_harm() {
    for (seed, hours) in [(7, -30_000_i64), (8, -2), (9, 2), (10, 200_000)] {
        let mut world = World::new(seed, CALM);
        world.take_down("stick");
        world.live(3 * HOUR);
        world.set_clock(hours * 3_600_000);
        world.live(HOUR);
        assert_eq!(world.resumes, 1);
        keeps_its_word(&mut world, 3 * HOUR);
    }
}

#[test]
fn a_clock_that_jumps_all_the_time_does_not_keep_it_running() {
    let mut world = World::new(11, CALM);
    world.take_down("hub");
    for step in 0..3600 {
        world.set_clock(if step % 2 == 0 { 40_000 } else { -40_000 });
        world.live(Duration::from_secs(1));
    }
    assert!(world.attempts("hub") <= 4 * 60, "{} tries in an hour", world.attempts("hub"));
}

#[test]
fn a_locked_database_and_a_full_disk_are_waited_out() {
    for (seed, is_disk) in [(12, false), (13, true)] {
        let mut world = World::new(seed, CALM);
        world.live(10 * MINUTE);
        (world.is_locked, world.disk_full) = (!is_disk, is_disk);
        world.edit();
        let jobs = world.jobs;
        world.live(12 * HOUR);
        let tried = world.jobs - jobs;
        assert!((100..900).contains(&tried), "{tried} tries in twelve hours");
        let stopped = world.report().here.unwrap();
        assert_eq!(stopped.error.code, if is_disk { "state" } else { "database-locked" });
        world.calm();
        world.live(6 * MINUTE);
        assert!(world.is_synced() && world.report().here.is_none());
    }
}

#[test]
fn promised_tries_are_made() {
    for seed in 20..26 {
        let mut world = World::new(seed, CALM);
        world.live(5 * MINUTE);
        world.take_down(["hub", "office", "stick"][(seed % 3) as usize]);
        keeps_its_word(&mut world, 6 * HOUR);
    }
}

#[test]
fn an_end_waits_for_the_job_at_work_and_not_for_ever() {
    for seed in 30..40 {
        let mut world = World::new(seed, Weather { storm: 50 });
        world.live(10 * MINUTE + Duration::from_millis(137 * seed));
        let before = world.now.running;
        let jobs = world.jobs;
        world.stop();
        world.live(INTERVAL + LOOK);
        assert!(world.exited && world.now.running - before <= Duration::from_secs(21));
        assert_eq!(world.jobs, jobs, "nothing new is begun");
    }
}
