//! Two sides change the same at once: nothing is lost, and both end equal.

use std::fs;

use wbsync::state::peers::Trust;
use wbsync::sync::commit::Mode;
use wbsync::sync::resolve::Choice;

use super::site::{Site, noise, pair, stick_name};

/// Syncs until nothing moves any more.
fn settle(sites: [&Site; 2]) {
    for _ in 0..4 {
        sites.iter().for_each(|site| site.sync());
    }
    assert_eq!(sites[0].roots(), sites[1].roots());
}

/// The files that were set aside.
fn asides(site: &Site) -> Vec<String> {
    site.tree().into_keys().filter(|path| path.contains(".sync-conflict-")).collect()
}

#[test]
fn of_two_contents_one_has_the_name_and_the_other_is_at_hand() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let base = noise(1, 600_000);
    alpha.write("report.bin", &base);
    alpha.sync();
    beta.sync();
    let (ours, theirs) = ([b"alpha", &base[..]].concat(), [&base[..], b"beta"].concat());
    alpha.write("report.bin", &ours);
    alpha.commit();
    beta.write("report.bin", &theirs);
    beta.commit();
    settle([&alpha, &beta]);
    // Beta was later.
    assert_eq!(alpha.read("report.bin"), theirs);
    assert_eq!(beta.read("report.bin"), theirs);
    let aside = asides(&alpha);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(alpha.read(&aside[0]), ours);
    assert_eq!(beta.tree(), alpha.tree(), "what was set aside has the readers that it had");
    assert_eq!(alpha.waits(), [].into());

    // The other value can still be chosen, wherever.
    fs::remove_file(alpha.path(&aside[0])).unwrap();
    settle([&alpha, &beta]);
    let choice = |_: &str| Some(Choice::Author("alpha".into()));
    assert_eq!(beta.open().resolve(None, &choice, Mode::Keep).unwrap().resolved.len(), 1);
    settle([&alpha, &beta]);
    assert_eq!(beta.waits(), [].into());
    assert_eq!(alpha.read("report.bin"), ours);
    assert_eq!(alpha.tree(), beta.tree());
}

#[test]
fn what_a_writer_loses_in_a_quarrel_stays_at_home() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    alpha.write("a", "base");
    alpha.sync();
    beta.sync();
    beta.write("a", "beta's");
    beta.commit();
    alpha.write("a", "alpha's");
    alpha.commit();
    settle([&alpha, &beta]);
    assert_eq!(alpha.read("a"), b"alpha's");
    let aside = asides(&beta);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert_eq!(beta.read(&aside[0]), b"beta's");
    assert_eq!(beta.read("a"), b"alpha's");
    assert_eq!(asides(&alpha), [""; 0], "whose readers it has is for its writer to say");
}

#[test]
fn an_edit_outlives_a_deletion_with_all_its_pieces() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let base = noise(2, 600_000);
    alpha.write("a", &base);
    alpha.sync();
    beta.sync();
    alpha.remove("a");
    alpha.commit();
    beta.write("a", [&base[..], b"beta"].concat());
    beta.commit();
    settle([&alpha, &beta]);
    assert_eq!(alpha.read("a"), beta.read("a"));
    assert_eq!(beta.read("a").len(), base.len() + 4);
    assert_eq!(alpha.waits(), [].into());
}

#[test]
fn a_piece_that_one_drops_and_the_other_takes_up_is_not_lost() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    let shared = noise(3, 600_000);
    alpha.write("first", &shared);
    alpha.write("second", "small");
    alpha.sync();
    beta.sync();
    alpha.remove("first");
    alpha.commit();
    beta.write("second", &shared);
    beta.commit();
    settle([&alpha, &beta]);
    assert_eq!(alpha.read("second"), shared);
    assert_eq!(beta.tree(), alpha.tree());
    assert_eq!(alpha.waits(), [].into());
}

#[test]
fn a_file_that_changes_while_others_are_written_is_taken_in_first() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    alpha.write("a", "one");
    alpha.write("b", "one");
    alpha.sync();
    beta.sync();
    alpha.write("a", "alpha's");
    alpha.remove("b");
    alpha.sync();
    let instance = beta.open();
    instance.commit(Mode::Keep).unwrap();
    instance.fetch(&stick_name()).unwrap();
    instance.merge().unwrap();
    // Between what was read and what is written, somebody saves.
    beta.write("a", "beta's, later");
    beta.write("b", "beta's, later");
    instance.apply(Mode::Keep).unwrap();
    drop(instance);
    settle([&alpha, &beta]);
    assert_eq!(beta.read("b"), b"beta's, later");
    let all: Vec<Vec<u8>> = beta.tree().into_values().map(|(bytes, _)| bytes).collect();
    assert!(all.contains(&b"beta's, later".to_vec()) && all.len() >= 2, "{:?}", beta.tree().keys());
    assert_eq!(beta.read("a"), alpha.read("a"));
}

#[test]
fn what_a_reader_changes_of_anothers_file_is_kept_here() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Trusted));
    alpha.write("a", noise(4, 100_000));
    alpha.sync();
    beta.sync();
    beta.write("a", noise(5, 100_000));
    beta.sync();
    alpha.sync();
    assert_eq!(alpha.read("a"), noise(4, 100_000));
    assert_eq!(beta.read("a"), noise(5, 100_000));
    alpha.write("a", noise(6, 100_000));
    alpha.sync();
    beta.sync();
    beta.sync();
    assert_eq!(alpha.read("a"), noise(6, 100_000));
    let kept: Vec<Vec<u8>> = beta.tree().into_values().map(|(bytes, _)| bytes).collect();
    assert!(kept.contains(&noise(5, 100_000)), "{:?}", beta.tree().keys());
    assert_eq!(beta.waits(), [].into());
}

#[test]
fn a_content_that_is_not_shown_stays_though_the_file_is_renamed_meanwhile() {
    let (_stick, alpha, beta) = pair("trusted", Some(Trust::Writer));
    alpha.write("a", noise(1, 300_000));
    alpha.sync();
    beta.sync();
    alpha.write("a", noise(2, 300_000));
    alpha.commit();
    beta.write("a", noise(3, 300_000));
    beta.commit();
    settle([&alpha, &beta]);
    assert_eq!(alpha.read("a"), noise(3, 300_000));
    fs::remove_file(alpha.path(&asides(&alpha)[0])).unwrap();
    fs::rename(alpha.path("a"), alpha.path("b")).unwrap();
    settle([&alpha, &beta]);
    assert_eq!(beta.tree().keys().collect::<Vec<_>>(), ["b"]);
    let choice = |_: &str| Some(Choice::Ours);
    assert_eq!(alpha.open().resolve(None, &choice, Mode::Keep).unwrap().resolved.len(), 1);
    settle([&alpha, &beta]);
    assert_eq!(alpha.read("b"), noise(2, 300_000));
    assert_eq!(alpha.tree(), beta.tree());
    // Once it is settled, what isn't shown is let go.
    assert_eq!(
        alpha.records()["docs-pieces"],
        alpha.books().query_row("SELECT count(*) FROM named", [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
    );
}
