//! Many small pushes: few segments, cheap catching up, and edits that were taken back still arrive.

use std::fs;

use wbsync::exchange::head::Head;
use wbsync::exchange::layout::StorePath;
use wbsync::id::name::ScopeName;
use wbsync::sync::round::PullSummary;
use wbsync::testing::prng::Prng;
use wbsync::testing::whiteballoon::seed::Seed;

use super::support::app::App;
use super::world::{Site, Stick, clone, pair};

/// Comments that really are public.
const SHARED: &str = "SELECT c.id FROM request_comments c JOIN help_requests r ON r.id = c.help_request_id
    WHERE c.sync_scope = 'public' AND c.deleted_at IS NULL AND r.sync_scope = 'public' AND r.status = 'open'";

pub fn head_of(stick: &Stick, site: &Site, scope: &str) -> Head {
    let instance = site.open();
    let rows = instance.state.scopes_of(&instance.id()).unwrap();
    let row = rows.into_iter().find(|row| row.name.as_str() == scope).unwrap();
    let bytes = fs::read(StorePath::Head(row.id, instance.id()).under(&stick.path())).unwrap();
    Head::open(&bytes, &instance.id()).unwrap().0
}

fn sizes(head: &Head) -> Vec<(u64, u64, u64)> {
    let bytes = |segment: &wbsync::exchange::head::Segment| segment.objects.iter().map(|object| object.bytes).sum();
    head.segments.iter().map(|segment| (segment.from_seq, segment.to_seq, bytes(segment))).collect()
}

/// The fewest bytes that lead from head `from` to the newest, by any row of segments.
fn cheapest(head: &Head, from: u64) -> u64 {
    // Bellman and Ford: a segment applies to its start and to any head before its end.
    let segments = sizes(head);
    let mut best = std::collections::BTreeMap::from([(from, 0)]);
    for _ in 0..segments.len() {
        for &(start, end, bytes) in &segments {
            let before =
                best.iter().filter(|(at, _)| start <= **at && **at < end || start == 0).map(|(_, cost)| *cost).min();
            if let Some(cost) = before {
                let known = best.entry(end).or_insert(u64::MAX);
                *known = (*known).min(cost + bytes);
            }
        }
    }
    best.get(&head.seq).copied().unwrap_or(u64::MAX)
}

fn fetched_bytes(summary: &PullSummary) -> u64 {
    summary.fetched.remotes.values().map(|fetched| fetched.bytes).sum()
}

fn total(site: &Site) -> i64 {
    site.app.value("SELECT count(*) FROM request_comments WHERE sync_scope = 'public'").parse().unwrap()
}

#[test]
fn two_hundred_pushes_fold_into_few_segments_and_everybody_catches_up_cheaply() {
    let stick = Stick::new();
    let alpha = Site::of(App::seeded(&Seed::new(1500, 3)), "alpha");
    let [beta, gamma] = ["beta", "gamma"].map(Site::new);
    for site in [&beta, &gamma] {
        site.knows(&alpha, None);
        site.uses(&stick);
    }
    alpha.uses(&stick);
    alpha.sync();
    beta.pull();
    gamma.pull();
    let mut random = Prng::new(11);
    let mut seen = std::collections::BTreeMap::from([("beta", 1), ("gamma", 1)]);
    let (mut most, mut written, mut edited) = (0, 0, 0);
    for number in 0..200 {
        let key: i64 =
            alpha.app.value(&format!("{SHARED} ORDER BY c.id LIMIT 1 OFFSET {}", random.below(200))).parse().unwrap();
        let body = format!("edited for the {number}th time");
        alpha.app.execute("UPDATE request_comments SET body = ?2 WHERE id = ?1", &[&key, &body]);
        alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        let push = alpha.push();
        written += push.published.values().map(|published| published.bytes).sum::<u64>();
        edited += push.published.len();
        let head = head_of(&stick, &alpha, "public");
        most = most.max(head.segments.len());
        for (site, per_mille) in [(&beta, 200), (&gamma, 30)] {
            if !random.chance(per_mille) {
                continue;
            }
            let from = seen[site.name];
            let cheapest = cheapest(&head, from);
            let bytes = fetched_bytes(&site.pull());
            assert!(
                bytes <= cheapest,
                "{} from {from} fetched {bytes}, {cheapest} would do: {:?}",
                site.name,
                sizes(&head)
            );
            assert_eq!(site.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
            seen.insert(site.name, head.seq);
        }
    }
    assert_eq!(edited, 200, "every push published its edit");
    assert!(most <= 20, "{most} segments");
    let head = head_of(&stick, &alpha, "public");
    let snapshot = sizes(&head)[0].2;
    assert!(written < 40 * snapshot, "{written} bytes were written for edits of a snapshot of {snapshot}");
    beta.pull();
    gamma.pull();
    assert_eq!(total(&beta), total(&gamma));
    let delta = Site::new("delta");
    delta.knows(&alpha, Some(wbsync::state::peers::Trust::Known));
    delta.uses(&stick);
    let bytes = fetched_bytes(&delta.pull());
    assert_eq!(delta.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
    let all = alpha.unseal(&stick.path(), &std::collections::BTreeSet::new());
    assert!(!all.is_empty());
    // What a fresh snapshot weighs, by another instance's first push of the same rows.
    let fresh = {
        let other = Stick::new();
        let twin = Site::of(App::seeded(&Seed::new(1500, 3)), "twin");
        twin.uses(&other);
        twin.sync();
        sizes(&head_of(&other, &twin, "public"))[0].2
    };
    assert!(bytes * 10 <= fresh * 16, "a fresh clone fetched {bytes}, a snapshot has {fresh}");
    let cloned = clone(&stick, "epsilon");
    assert_eq!(cloned.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
    cloned.app.assert_whole();
}

/// Deltas of many records fold by what they would weigh, so that nothing is sealed that no head names.
#[test]
fn thousands_of_edits_are_sealed_once_and_reach_whoever_stands_anywhere() {
    let stick = Stick::new();
    let alpha = Site::of(App::seeded(&Seed::new(9_000, 3)), "alpha");
    let run = |sql: &str| alpha.app.db().execute_batch(sql).unwrap();
    run("UPDATE users SET sync_scope = 'public'; UPDATE help_requests SET sync_scope = 'public', status = 'open';
         UPDATE request_comments SET sync_scope = 'public', deleted_at = NULL");
    let [beta, gamma] = ["beta", "gamma"].map(Site::new);
    for site in [&beta, &gamma] {
        site.knows(&alpha, None);
        site.uses(&stick);
    }
    alpha.uses(&stick);
    alpha.sync();
    beta.pull();
    gamma.pull();
    // Small steps are folded with a large one where they would be too many, and a second large one stands on it.
    for number in 0..7 {
        run(&format!("UPDATE request_comments SET body = body || 'small' WHERE id % 1000 = {number}"));
        alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        alpha.push();
    }
    assert_eq!(sizes(&head_of(&stick, &alpha, "public")).len(), 8);
    for (share, says, segments, from) in [(5, "one", 2, 1), (6, "two", 3, 9)] {
        run(&format!("UPDATE request_comments SET body = body || '{says}' WHERE id % {share} = 0"));
        run(&format!("UPDATE request_comments SET deleted_at = created_at WHERE id % 500 = {share}"));
        alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        let published = alpha.push().published.remove("public").expect("there was something new");
        let head = head_of(&stick, &alpha, "public");
        let delta = *sizes(&head).last().unwrap();
        let wanted = (segments, from, head.seq);
        assert_eq!((published.segments, delta.0, delta.1), wanted, "{says}: {:?}", sizes(&head));
        assert_eq!((published.objects, published.bytes), (1, delta.2), "{says}");
        beta.pull();
        assert_eq!(beta.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
    }
    gamma.pull();
    for site in [&beta, &gamma] {
        assert_eq!(site.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
        assert_eq!(total(site), total(&beta));
        site.app.assert_whole();
    }
}

#[test]
fn an_edit_taken_back_reaches_whoever_saw_it() {
    let (_stick, alpha, beta) = pair(None);
    for number in 0..40 {
        alpha.request(1, &format!("request {number}"), "public");
    }
    let key = alpha.request(1, "A", "public");
    let gone = alpha.request(1, "comes and goes", "public");
    alpha.sync();
    let shown = |site: &Site| {
        let sql = "SELECT group_concat(title) FROM (SELECT title FROM help_requests WHERE title NOT LIKE 'request %' ORDER BY 1)";
        site.app.value(sql)
    };
    let retitle = |title: &str| {
        alpha.app.execute("UPDATE help_requests SET title = ?2 WHERE id = ?1", &[&key, &title]);
        alpha.sync();
    };
    for seen in ["A", "B", "A again"] {
        // Beta looks at different moments of A → B → A, also while the ladder folds over them.
        retitle("A");
        if seen == "A" {
            beta.pull();
        }
        retitle("B");
        alpha.app.set_scope("help_requests", gone, "private");
        alpha.sync();
        if seen == "B" {
            beta.pull();
            assert_eq!(shown(&beta), "B");
        }
        retitle("A");
        alpha.app.set_scope("help_requests", gone, "public");
        alpha.sync();
        beta.pull();
        assert_eq!(shown(&beta), "A,comes and goes", "beta had last looked at {seen}");
        assert_eq!(beta.roots(&alpha, &ScopeName::public()), alpha.roots(&alpha, &ScopeName::public()));
    }
}

#[test]
fn one_edited_comment_is_one_small_object_and_one_changed_row() {
    let stick = Stick::new();
    let alpha = Site::of(App::seeded(&Seed::new(1500, 5)), "alpha");
    let beta = Site::new("beta");
    beta.knows(&alpha, None);
    alpha.uses(&stick);
    beta.uses(&stick);
    alpha.sync();
    beta.pull();
    let key: i64 = alpha.app.value(&format!("{SHARED} LIMIT 1")).parse().unwrap();
    alpha.app.execute("UPDATE request_comments SET body = 'a better word' WHERE id = ?1", &[&key]);
    let before = stick.files().len();
    let tables = ["users", "help_requests", "request_comments", "vouches", "user_attributes"];
    let dump = |table: &str| beta.app.dump(table).lines().map(String::from).collect::<std::collections::BTreeSet<_>>();
    let rows = tables.map(dump);
    alpha.pull();
    let push = alpha.push();
    assert_eq!((push.heads, push.objects), (1, 1), "{push:?}");
    assert!(push.bytes < 2048, "{push:?}");
    assert_eq!(stick.files().len(), before + 1);
    let pull = beta.pull();
    assert_eq!(fetched_bytes(&pull), push.bytes);
    assert_eq!(pull.merge.applied.updated.values().sum::<u64>(), 1, "{:?}", pull.merge.applied);
    assert!(
        pull.merge.applied.inserted.is_empty() && pull.merge.applied.deleted.is_empty(),
        "{:?}",
        pull.merge.applied
    );
    for (table, before) in tables.into_iter().zip(&rows) {
        let after = dump(table);
        let expected = usize::from(table == "request_comments");
        assert_eq!(after.difference(before).count(), expected, "new rows of {table}");
        assert_eq!(before.difference(&after).count(), expected, "lost rows of {table}");
    }
}
