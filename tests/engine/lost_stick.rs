//! What an instance published by stick alone, and lost with a backup that was put back: others are told what it may be, and in time it
//! comes back (docs/restore.md, "What left by stick alone").

use std::fs;

use wbsync::id::name::PeerName;
use wbsync::state::peers::Trust;
use wbsync::sync::bundle::BundleOptions;
use wbsync::sync::commit::Mode;
use wbsync::sync::instance::{Instance, Purpose};
use wbsync::sync::progress::silent;
use wbsync::sync::restore::RestoreOptions;

use super::world::{STICK, Saved, Site, Stick};

fn title(site: &Site, title: &str) -> i64 {
    site.app.value(&format!("SELECT id FROM help_requests WHERE title = '{title}'")).parse().unwrap()
}

fn told(site: &Site) -> Vec<(String, String)> {
    let fetched = site.try_pull(STICK).unwrap().fetched;
    let refused = fetched.remotes.into_values().flat_map(|remote| remote.refused);
    refused.map(|refusal| (refusal.reason, refusal.hint)).collect()
}

/// Alpha, beta and gamma share a store; then alpha writes in beta's scope, and only a stick takes it to beta. With a backup of alpha
/// from before that.
fn scene() -> (Stick, [Site; 3], Saved) {
    let shared = Stick::new();
    let (alpha, beta, gamma) = (Site::new("alpha"), Site::new("beta"), Site::new("gamma"));
    let sites = [&alpha, &beta, &gamma];
    for site in sites {
        site.uses(&shared);
        for other in sites.into_iter().filter(|other| other.name != site.name) {
            site.knows(other, Some(Trust::Writer));
        }
    }
    let user = beta.app.insert_user("mara", "public");
    for name in ["a ladder", "a drill"] {
        beta.request(user, name, "public");
    }
    for site in [&beta, &alpha, &gamma, &alpha, &beta] {
        site.sync();
    }
    let backup = alpha.save();

    // Alpha writes in beta's scope, and only a stick carries it.
    alpha.edit(title(&alpha, "a ladder"), "description", "by stick");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("for-beta.tar");
    let options = BundleOptions { peers: vec!["beta".into()], whole: true, ..BundleOptions::default() };
    let packing = alpha.open().bundle_pack(&options, Mode::Keep).unwrap();
    alpha.open().bundle_write(&packing, 0, &mut fs::File::create(&file).unwrap()).unwrap();
    beta.open().bundle_apply(&[file], Mode::Keep).unwrap();
    assert!(beta.app.dump("help_requests").contains("by stick"));
    (shared, [alpha, beta, gamma], backup)
}

#[test]
fn others_are_told_that_a_backup_may_have_been_put_back() {
    let (_shared, [alpha, beta, gamma], backup) = scene();
    // The backup comes back, and nothing that can be asked knows better: alpha signs the same numbers again.
    alpha.restore(&backup);
    alpha.edit(title(&alpha, "a ladder"), "description", "after the backup");
    alpha.sync();
    gamma.sync();
    assert!(gamma.app.dump("help_requests").contains("after the backup"));

    // Whoever has one of the two is told of the other, and that alpha may have been restored.
    let (at_beta, _) = (told(&beta), beta.push());
    assert!(at_beta.iter().any(|(_, hint)| hint.contains("wbsync restore")), "{at_beta:?}");
    let at_gamma = told(&gamma);
    let usurped = at_gamma.iter().find(|(reason, _)| reason.contains("under the stamp of alpha"));
    let (_, hint) = usurped.unwrap_or_else(|| panic!("{at_gamma:?}"));
    assert!(hint.contains("alpha") && hint.contains("backup") && hint.contains("wbsync restore"), "{hint}");
}

/// In time, there is nothing to tell: what was restored asks whoever took the stick before it publishes anything.
#[test]
fn who_asks_the_taker_of_the_stick_before_publishing_has_it_back() {
    let (_shared, [alpha, beta, gamma], backup) = scene();
    alpha.restore(&backup);
    alpha.edit(title(&alpha, "a drill"), "description", "after the backup");
    let (own, back) = (beta.app.dir().join(".wbsync/store"), PeerName::new("back").unwrap());
    let mut instance = Instance::open(alpha.app.dir(), Purpose::Restore, silent()).unwrap();
    instance.remote_add(&back, own.to_str().unwrap(), alpha.app.dir()).unwrap();
    let restored = instance.restore(&RestoreOptions::default(), Mode::Keep).unwrap();
    assert_eq!(restored.incarnation, (0, 1));
    drop(instance);
    alpha.open().remote_remove(&back).unwrap();
    for site in [&alpha, &beta, &gamma, &alpha, &beta, &gamma] {
        site.sync();
    }
    for site in [&alpha, &beta, &gamma] {
        let rows = site.app.dump("help_requests");
        assert!(rows.contains("by stick") && rows.contains("after the backup"), "{}: {rows}", site.name);
        assert_eq!(site.local_heads(), alpha.local_heads(), "{}", site.name);
    }
}
