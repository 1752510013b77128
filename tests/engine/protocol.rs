//! Documents that are properly signed and wrong: rollbacks, forks, usurped rights, words put into others' mouths.

use std::fs;

use wbsync::exchange::layout::StorePath;
use wbsync::id::bytes::{CommitId, DocHash, InstanceId, ScopeId};
use wbsync::id::name::ScopeName;
use wbsync::scope::manifest::draft::ManifestDraft;
use wbsync::state::peers::Trust;
use wbsync::sync::fetch::FetchSummary;
use wbsync::sys::clock;

use super::forge::{Forge, put_head};
use super::world::{STICK, Saved, Site, Stick, pair};

fn scope_of(site: &Site, name: &str) -> ScopeId {
    let instance = site.open();
    let rows = instance.state.scopes_of(&instance.id()).unwrap();
    rows.into_iter().find(|row| row.name.as_str() == name).unwrap().id
}

/// Two sites, beta a writer of alpha, who share a request "ladder" of alpha's.
fn shared() -> (Stick, Site, Site) {
    let (stick, alpha, beta) = pair(Some(Trust::Writer));
    let alice = alpha.app.insert_user("alice", "public");
    alpha.request(alice, "ladder", "public");
    alpha.sync();
    beta.sync();
    alpha.sync();
    (stick, alpha, beta)
}

/// Adds a third site that follows the other two and is a writer if `trust` says so.
fn third(stick: &Stick, others: [&Site; 2], trust: Option<Trust>) -> Site {
    let gamma = Site::new("gamma");
    for other in others {
        gamma.knows(other, None);
        other.knows(&gamma, trust);
    }
    gamma.uses(stick);
    gamma
}

fn fetched(site: &Site) -> FetchSummary {
    let mut summary = site.try_pull(STICK).unwrap();
    summary.fetched.remotes.remove(STICK).unwrap()
}

/// Asserts that a pull refuses exactly one document for this reason, and that nothing of it is kept.
#[track_caller]
fn refuses(site: &Site, reason: &str) {
    let before = (site.heads(), site.local_heads(), site.app.dump("help_requests"), site.app.dump("request_comments"));
    let summary = fetched(site);
    assert_eq!(summary.refused.len(), 1, "{summary:?}");
    let refusal = &summary.refused[0];
    assert!(refusal.reason.contains(reason), "{refusal:?}");
    assert!(!refusal.document.is_empty() && !refusal.hint.is_empty(), "{refusal:?}");
    let after = (site.heads(), site.local_heads(), site.app.dump("help_requests"), site.app.dump("request_comments"));
    assert_eq!(before, after);
}

#[test]
fn an_older_head_is_ignored_and_reported_as_behind() {
    let (stick, alpha, beta) = shared();
    let path = StorePath::Head(scope_of(&alpha, "public"), alpha.open().id()).under(&stick.path());
    let old = fs::read(&path).unwrap();
    alpha.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    alpha.sync();
    beta.sync();
    let before = (beta.heads(), beta.local_heads(), beta.app.dump("help_requests"));
    fs::write(&path, old).unwrap();
    let summary = fetched(&beta);
    assert!(summary.refused.is_empty() && summary.heads.is_empty(), "{summary:?}");
    assert_eq!(summary.behind.len(), 1, "{summary:?}");
    assert!(summary.behind[0].contains("alpha"), "{summary:?}");
    assert_eq!(before, (beta.heads(), beta.local_heads(), beta.app.dump("help_requests")));
    // Whoever pushes there again brings it up to date.
    alpha.push();
    assert!(fetched(&beta).behind.is_empty());
}

#[test]
fn two_histories_of_one_signer_are_refused_and_proved() {
    let (stick, alpha, beta) = shared();
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    beta.uses_as(&other, "other");
    let before = alpha.save();
    alpha.app.execute("UPDATE help_requests SET title = 'one' WHERE title = 'ladder'", &[]);
    alpha.sync();
    before.restore(alpha.app.dir());
    alpha.app.execute("UPDATE help_requests SET title = 'two' WHERE title = 'ladder'", &[]);
    alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    beta.pull();
    let (heads, local) = (beta.heads(), beta.local_heads());
    let summary = beta.try_pull("other").unwrap();
    let fetched = &summary.fetched.remotes["other"];
    assert_eq!(fetched.refused.len(), 1, "{fetched:?}");
    assert!(fetched.refused[0].reason.contains("two histories"), "{fetched:?}");
    assert_eq!((&heads, &local), (&beta.heads(), &beta.local_heads()));
    let scope = scope_of(&alpha, "public");
    let instance = beta.open();
    let signer = alpha_id(&instance);
    assert!(instance.state.is_forked(&scope, &signer).unwrap());
    let proof: (Vec<u8>, Vec<u8>) = rusqlite::Connection::open(beta.app.dir().join(".wbsync/state.db"))
        .unwrap()
        .query_row("SELECT ours, theirs FROM fork", [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap();
    let [one, two] = [proof.0, proof.1].map(|head| wbsync::exchange::head::Head::open(&head, &signer).unwrap().0);
    assert!(one.seq == two.seq && one.commit != two.commit, "the proof convinces anybody");
    let status = instance.status().unwrap();
    assert!(status.scopes.iter().any(|scope| scope.forked == ["alpha"]), "{:?}", status.scopes);
    drop(instance);
    // What alpha publishes from now on is not merged.
    alpha.app.execute("UPDATE help_requests SET title = 'three' WHERE title = 'two'", &[]);
    alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    alpha.try_push("other").unwrap();
    beta.try_pull("other").unwrap();
    assert_eq!(local, beta.local_heads());
    assert_eq!(beta.app.value("SELECT title FROM help_requests WHERE sync_scope = 'public'"), "one");
    drop(stick);
}

fn alpha_id(instance: &wbsync::sync::instance::Instance) -> InstanceId {
    instance.peer_named("alpha").unwrap().id
}

#[test]
fn a_restored_instance_notices_that_it_lost_history() {
    let (_stick, alpha, _beta) = shared();
    let before = alpha.save();
    alpha.app.execute("UPDATE help_requests SET title = 'one' WHERE title = 'ladder'", &[]);
    alpha.sync();
    before.restore(alpha.app.dir());
    let error = alpha.try_pull(STICK).unwrap_err();
    assert!(matches!(error, wbsync::sync::error::Error::LostHistory { .. }), "{error}");
    assert_eq!(error.exit_code(), 5);
    // As many heads as there were, but others: it is the push that meets them.
    before.restore(alpha.app.dir());
    alpha.app.execute("UPDATE help_requests SET title = 'two' WHERE title = 'ladder'", &[]);
    alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    let error = alpha.try_push(STICK).unwrap_err();
    assert!(matches!(error, wbsync::sync::error::Error::LostHistory { .. }), "{error}");
    let error = alpha.try_pull(STICK).unwrap_err();
    assert!(matches!(error, wbsync::sync::error::Error::LostHistory { .. }), "{error}");
}

#[test]
fn a_head_of_somebody_without_the_right_does_not_count() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    gamma.pull();
    let instance = gamma.open();
    let mut forge = Forge::new(&instance, &alpha.open().id(), "public");
    forge.retitle("ladder", "usurped", forge.stamp(instance.id(), 1));
    forge.honestly(&stick.path());
    for site in [&alpha, &beta] {
        let before = (site.heads(), site.local_heads(), site.app.dump("help_requests"));
        let summary = fetched(site);
        assert!(summary.heads.is_empty() && summary.refused.is_empty(), "{summary:?}");
        assert_eq!(before, (site.heads(), site.local_heads(), site.app.dump("help_requests")));
    }
}

#[test]
fn what_is_forged_honestly_is_taken() {
    // The control of all that follow: the forger's tools make good heads when nothing is wrong with them.
    let (stick, alpha, beta) = shared();
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    let stamp = forge.stamp(instance.id(), forge.sequence);
    forge.retitle("ladder", "steps", stamp);
    forge.honestly(&stick.path());
    alpha.pull();
    assert_eq!(alpha.app.value("SELECT title FROM help_requests WHERE sync_scope = 'public'"), "steps");
}

/// Lets beta, a writer of alpha's public scope, publish something there, and asserts that alpha and a follower refuse it.
#[track_caller]
fn writer_is_refused(
    reason: &str,
    change: impl FnOnce(&mut Forge<'_>),
    commit: impl FnOnce(&mut wbsync::history::commit::Commit),
    head: impl FnOnce(&mut wbsync::exchange::head::Head),
) {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    gamma.pull();
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    change(&mut forge);
    forge.publish(&stick.path(), commit, head);
    refuses(&alpha, reason);
    refuses(&gamma, reason);
}

#[test]
fn a_writer_cannot_change_words_under_the_origins_stamp() {
    let change = |forge: &mut Forge<'_>| {
        let (_, record) = forge.find("requests", "title", "ladder");
        let stamp = record.cells.values().next().unwrap().winner().stamp;
        forge.retitle("ladder", "never said", stamp);
    };
    writer_is_refused("under the stamp of alpha", change, |_| {}, |_| {});
}

#[test]
fn a_writer_cannot_invent_a_record_of_the_origins() {
    let change = |forge: &mut Forge<'_>| {
        let alpha = forge.scope.row.origin;
        let stamp = forge.stamp(alpha, 1);
        forge.invent("never said", stamp, stamp);
    };
    writer_is_refused("under the stamp of alpha", change, |_| {}, |_| {});
}

#[test]
fn a_writer_cannot_mix_invented_words_into_a_record_of_its_own() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    gamma.pull();
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    let own = forge.stamp(instance.id(), forge.sequence);
    let stolen = forge.stamp(forge.scope.row.origin, 1);
    forge.invent("never said", own, stolen);
    forge.honestly(&stick.path());
    refuses(&alpha, "under the stamp of alpha");
    // A follower can't know whether alpha said and deleted it: it waits for alpha, and takes nothing until then.
    let before = (gamma.heads(), gamma.local_heads(), gamma.app.dump("help_requests"));
    let summary = fetched(&gamma);
    assert!(summary.heads.is_empty(), "{summary:?}");
    assert!(summary.held.len() == 1 && summary.held[0].contains("words of alpha"), "{summary:?}");
    assert_eq!(before, (gamma.heads(), gamma.local_heads(), gamma.app.dump("help_requests")));
}

#[test]
fn a_writer_cannot_speak_for_the_origin_with_a_later_stamp() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.scope.row.origin, 77);
        forge.retitle("ladder", "never said", stamp);
    };
    writer_is_refused("under the stamp of alpha", change, |_| {}, |_| {});
}

#[test]
fn a_writer_cannot_change_its_own_words_under_an_old_stamp() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    alpha.sync();
    beta.sync();
    gamma.pull();
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    let (_, record) = forge.find("requests", "title", "steps");
    let stamp = record.cells[&wbsync::id::name::FieldName::new("title").unwrap()].winner().stamp;
    assert_eq!(stamp.author, instance.id());
    forge.retitle("steps", "said otherwise", stamp);
    forge.honestly(&stick.path());
    refuses(&alpha, "under an earlier stamp");
    refuses(&gamma, "under an earlier stamp");
}

#[test]
fn the_origin_cannot_change_what_a_writer_said() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    alpha.sync();
    beta.sync();
    gamma.pull();
    let instance = alpha.open();
    let mut forge = Forge::new(&instance, &instance.id(), "public");
    let (_, record) = forge.find("requests", "title", "steps");
    let stamp = record.cells[&wbsync::id::name::FieldName::new("title").unwrap()].winner().stamp;
    assert_eq!(stamp.author, beta.open().id());
    forge.retitle("steps", "never said", stamp);
    forge.honestly(&stick.path());
    refuses(&beta, "under the stamp of beta");
    refuses(&gamma, "under the stamp of beta");
}

#[test]
fn the_origin_cannot_invent_words_of_ours() {
    let (stick, alpha, beta) = shared();
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    alpha.sync();
    beta.sync();
    let instance = alpha.open();
    let mut forge = Forge::new(&instance, &instance.id(), "public");
    let own = forge.stamp(instance.id(), forge.sequence);
    let stolen = forge.stamp(beta.open().id(), 1);
    forge.invent("never said", own, stolen);
    forge.honestly(&stick.path());
    refuses(&beta, "under the stamp of beta");
}

#[test]
fn a_head_whose_root_does_not_match_its_records_is_refused() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.instance.id(), forge.sequence);
        forge.retitle("ladder", "steps", stamp);
    };
    let commit = |commit: &mut wbsync::history::commit::Commit| {
        let root = commit.datasets.values_mut().next().unwrap();
        root.count += 1;
    };
    writer_is_refused("do not give the root that it signs", change, commit, |_| {});
}

#[test]
fn a_head_without_segments_cannot_claim_other_writes_than_its_commit_has() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.instance.id(), forge.sequence);
        forge.retitle("ladder", "steps", stamp);
    };
    let head = |head: &mut wbsync::exchange::head::Head| {
        head.segments.clear();
        head.commit = head.base.as_ref().unwrap().commit;
        head.writes += 5;
    };
    writer_is_refused("as many writes of its signer", change, |_| {}, head);
}

#[test]
fn a_commit_that_claims_a_write_nobody_signed_is_refused() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.instance.id(), forge.sequence);
        forge.retitle("ladder", "steps", stamp);
    };
    let stranger = InstanceId::from_bytes([7; 32]);
    let commit = |commit: &mut wbsync::history::commit::Commit| commit.clock.advance(stranger, 0, 3);
    writer_is_refused("it claims write 3 of", change, commit, |_| {});
}

#[test]
fn a_commit_that_is_not_carried_is_refused() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.instance.id(), forge.sequence);
        forge.retitle("ladder", "steps", stamp);
    };
    let head = |head: &mut wbsync::exchange::head::Head| head.commit = CommitId::from_bytes([9; 32]);
    writer_is_refused("is not among what it carries", change, |_| {}, head);
}

#[test]
fn a_commit_of_another_scope_is_refused() {
    let change = |forge: &mut Forge<'_>| {
        let stamp = forge.stamp(forge.instance.id(), forge.sequence);
        forge.retitle("ladder", "steps", stamp);
    };
    let commit = |commit: &mut wbsync::history::commit::Commit| commit.scope = ScopeId::from_bytes([4; 16]);
    writer_is_refused("its commit belongs to another scope", change, commit, |_| {});
}

#[test]
fn a_writers_head_without_a_base_is_refused() {
    let (stick, alpha, beta) = shared();
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    let stamp = forge.stamp(instance.id(), forge.sequence);
    forge.retitle("ladder", "steps", stamp);
    forge.base = None;
    forge.honestly(&stick.path());
    refuses(&alpha, "does not build on a head of the scope's origin");
}

#[test]
fn a_head_grafted_from_another_scope_is_refused() {
    let (stick, alpha, beta) = shared();
    alpha.request(1, "more", "public");
    alpha.sync();
    let id = alpha.open().id();
    let [public, trusted] = ["public", "trusted"].map(|name| scope_of(&alpha, name));
    let head = fs::read(StorePath::Head(public, id).under(&stick.path())).unwrap();
    put_head(&stick.path(), &trusted, &id, &head);
    let summary = fetched(&beta);
    assert_eq!(summary.refused.len(), 1, "{summary:?}");
    assert!(summary.refused[0].reason.contains("it is a head of alpha/public"), "{summary:?}");
    assert_eq!(summary.heads.len(), 1, "the true one still counts: {summary:?}");
}

#[test]
fn a_head_grafted_from_another_signer_is_refused() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    let public = scope_of(&alpha, "public");
    let [a, b] = [&alpha, &beta].map(|site| site.open().id());
    let head = fs::read(StorePath::Head(public, a).under(&stick.path())).unwrap();
    put_head(&stick.path(), &public, &b, &head);
    let summary = fetched(&gamma);
    assert_eq!(summary.refused.len(), 1, "{summary:?}");
    assert!(summary.refused[0].reason.contains("cannot verify the head"), "{summary:?}");
    assert!(gamma.app.value("SELECT group_concat(title) FROM help_requests").contains("ladder"));
}

#[test]
fn a_wild_jump_is_refused_and_takes_nobody_hostage() {
    for (seq, incarnation) in [(5_000_000, 0), (3, 5_000)] {
        let (stick, alpha, beta) = shared();
        beta.app.execute("UPDATE help_requests SET title = 'early' WHERE title = 'ladder'", &[]);
        beta.sync();
        alpha.sync();
        beta.sync();
        let path = StorePath::Head(scope_of(&alpha, "public"), beta.open().id()).under(&stick.path());
        let honest = fs::read(&path).unwrap();
        let instance = beta.open();
        let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
        let stamp = forge.stamp(instance.id(), forge.sequence);
        forge.retitle("early", "steps", stamp);
        forge.seq = seq;
        forge.publish(
            &stick.path(),
            |_| {},
            |head| {
                head.incarnation = incarnation;
                head.prev = Some(DocHash::from_bytes([3; 32]));
            },
        );
        drop(instance);
        refuses(&alpha, "its number jumps");
        fs::write(&path, honest).unwrap();
        beta.app.execute("UPDATE help_requests SET title = 'later' WHERE title = 'early'", &[]);
        beta.sync();
        alpha.sync();
        assert_eq!(alpha.app.value("SELECT title FROM help_requests WHERE sync_scope = 'public'"), "later");
    }
}

#[test]
fn a_new_incarnation_cannot_take_back_what_the_old_one_wrote() {
    let (stick, alpha, beta) = shared();
    beta.app.execute("UPDATE help_requests SET title = 'early' WHERE title = 'ladder'", &[]);
    beta.sync();
    alpha.sync();
    let scope = scope_of(&alpha, "public");
    // Beta's next head, in a new incarnation, builds on alpha's first head as if beta had written nothing.
    let instance = beta.open();
    let mut forge = Forge::new(&instance, &alpha_id(&instance), "public");
    let stamp = wbsync::record::stamp::Stamp { incarnation: 1, ..forge.stamp(instance.id(), 1) };
    forge.retitle("ladder", "taken back", stamp);
    let own = instance.id();
    let commit = |commit: &mut wbsync::history::commit::Commit| {
        let mut clock = wbsync::record::clock::Clock::default();
        for (author, incarnation, sequence) in commit.clock.iter().filter(|(author, ..)| *author != own) {
            clock.advance(author, incarnation, sequence);
        }
        clock.advance(own, 1, 1);
        commit.clock = clock;
        if let wbsync::history::commit::Making::Capture { incarnation, sequence, .. } = &mut commit.making {
            (*incarnation, *sequence) = (1, 1);
        }
    };
    let head = |head: &mut wbsync::exchange::head::Head| (head.incarnation, head.writes) = (1, 1);
    forge.publish(&stick.path(), commit, head);
    // A signer that was restored may have lost what it wrote: its head counts, and takes nothing back.
    alpha.pull();
    let held = format!("{:?}", alpha.records());
    assert!(held.contains("\"early\"") && held.contains("\"taken back\""), "{held}");
    assert!(alpha.open().state.head(&scope, &own).unwrap().is_some());
}

#[test]
fn a_manifest_that_a_writer_signed_is_refused() {
    let (stick, alpha, beta) = shared();
    let instance = beta.open();
    let row = instance.state.scopes_of(&alpha_id(&instance)).unwrap().remove(0);
    // The best that beta can sign is a manifest of its own: put where alpha's lies.
    let draft = ManifestDraft::new(&instance.identity, &ScopeName::public(), &[], clock::now()).unwrap();
    let signed = draft.sign().unwrap();
    fs::write(StorePath::Manifest(row.id).under(&stick.path()), &signed.bytes).unwrap();
    drop(instance);
    let gamma = third(&stick, [&alpha, &beta], None);
    // What else is there still counts.
    fetched(&gamma);
    for site in [&alpha, &gamma] {
        refuses(site, "manifest");
    }
    // Alpha's push puts its own back.
    alpha.push();
    assert!(fetched(&gamma).refused.is_empty());
    assert!(gamma.app.value("SELECT group_concat(title) FROM help_requests").contains("ladder"));
}

#[test]
fn two_manifests_with_one_number_are_a_fork() {
    let (stick, alpha, beta) = shared();
    let other = Stick::new();
    alpha.uses_as(&other, "other");
    beta.uses_as(&other, "other");
    let gamma = third(&stick, [&alpha, &beta], None);
    let before: Saved = alpha.save();
    alpha.open().peer_trust("gamma", Trust::Trusted).unwrap();
    alpha.push();
    before.restore(alpha.app.dir());
    alpha.open().peer_trust("gamma", Trust::Writer).unwrap();
    alpha.try_push("other").unwrap();
    beta.pull();
    let summary = beta.try_pull("other").unwrap();
    let refused = &summary.fetched.remotes["other"].refused;
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].reason.contains("two different manifests"), "{refused:?}");
    drop(gamma);
}

#[test]
fn a_writer_keeps_what_it_edited_while_the_origin_deleted_it() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    gamma.pull();
    beta.app.execute("UPDATE help_requests SET title = 'still needed' WHERE title = 'ladder'", &[]);
    beta.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    alpha.app.execute("DELETE FROM help_requests WHERE title = 'ladder'", &[]);
    alpha.sync();
    // Beta meets the deletion before it published its edit.
    beta.sync();
    for site in [&gamma, &alpha, &beta, &alpha, &gamma] {
        site.sync();
    }
    for site in [&alpha, &beta, &gamma] {
        let shown = site.app.value("SELECT group_concat(title) FROM help_requests WHERE sync_scope = 'public'");
        assert_eq!(shown, "still needed", "{}", site.name);
    }
}

#[test]
fn two_writers_who_merged_each_other_are_both_believed() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], Some(Trust::Writer));
    alpha.sync();
    gamma.sync();
    beta.sync();
    let fields =
        [("title", &beta, "from beta"), ("description", &gamma, "from gamma"), ("title", &beta, "more from beta")];
    for (field, site, text) in fields {
        let key = site.app.value("SELECT id FROM help_requests WHERE sync_scope = 'public'").parse().unwrap();
        site.edit(key, field, text);
        site.sync();
    }
    gamma.sync();
    beta.sync();
    // Alpha meets two heads each of which holds words of the other.
    alpha.sync();
    let sql = "SELECT title || '; ' || description FROM help_requests WHERE sync_scope = 'public'";
    for site in [&alpha, &beta, &gamma] {
        assert_eq!(site.app.value(sql), "more from beta; from gamma", "{}", site.name);
    }
    assert_eq!(alpha.roots(&alpha, &ScopeName::public()), gamma.roots(&alpha, &ScopeName::public()));
}

#[test]
fn a_head_on_a_base_that_was_skipped_waits_quietly() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    for number in 0..150 {
        alpha.request(1, &format!("old {number} {}", "words ".repeat(number)), "public");
    }
    alpha.sync();
    gamma.pull();
    alpha.request(1, "second", "public");
    alpha.sync();
    // Beta builds on a head of alpha's that gamma will never see as a whole.
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    alpha.request(1, "third", "public");
    alpha.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
    alpha.push();
    let summary = fetched(&gamma);
    assert!(summary.refused.is_empty(), "{summary:?}");
    assert!(summary.heads.iter().any(|head| head.signer == "alpha"), "{summary:?}");
    alpha.sync();
    gamma.pull();
    let shown = gamma.app.value(
        "SELECT group_concat(title) FROM (SELECT title FROM help_requests WHERE sync_scope = 'public' AND title NOT LIKE 'old %' ORDER BY 1)",
    );
    assert_eq!(shown, "second,steps,third");
}

#[test]
fn what_is_narrowed_stays_home_even_if_an_edit_of_it_was_merged_already() {
    let (stick, alpha, beta) = shared();
    let gamma = third(&stick, [&alpha, &beta], None);
    gamma.pull();
    beta.app.execute("UPDATE help_requests SET title = 'steps' WHERE title = 'ladder'", &[]);
    beta.sync();
    let instance = alpha.open();
    instance.fetch(&wbsync::id::name::PeerName::new(STICK).unwrap()).unwrap();
    instance.merge().unwrap();
    // The rows don't show the merge yet when the row is made private.
    alpha.app.execute("UPDATE help_requests SET sync_scope = 'private' WHERE title = 'ladder'", &[]);
    instance.commit(wbsync::sync::commit::Mode::Keep).unwrap();
    drop(instance);
    let held = |site: &Site| format!("{:?}", site.records());
    assert!(!held(&alpha).contains("steps") && !held(&alpha).contains("ladder"), "the scope holds it still");
    for site in [&alpha, &beta, &gamma, &alpha, &beta] {
        site.sync();
    }
    for site in [&beta, &gamma] {
        assert!(!held(site).contains("steps") && !held(site).contains("ladder"), "{} holds it still", site.name);
        assert_eq!(site.app.value("SELECT count(*) FROM help_requests WHERE title IN ('steps', 'ladder')"), "0");
    }
    assert_eq!(alpha.app.value("SELECT title FROM help_requests"), "ladder");
}
