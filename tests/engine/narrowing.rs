//! A field that is for fewer readers from now on, edited by a writer meanwhile: it comes back to nobody, and the edit is kept.

use std::fs;

use wbsync::id::name::ScopeName;
use wbsync::state::peers::Trust;

use super::withdrawal::{WORD, carriers, own_store};
use super::world::{Site, Stick};

/// Alpha and beta, who may write alpha's records; both share the contact with everybody, so far. Gamma reads what is public.
fn three() -> (Stick, [Site; 3]) {
    let (stick, sites) = (Stick::new(), [Site::new("alpha"), Site::new("beta"), Site::new("gamma")]);
    for site in &sites {
        for other in sites.iter().filter(|other| other.name != site.name) {
            let writes = (site.name, other.name) == ("alpha", "beta");
            site.knows(other, writes.then_some(Trust::Writer));
        }
        site.uses(&stick);
        says(site, "", "public");
    }
    for title in ["ladder", "saw"] {
        let key = sites[0].request(1, title, "public");
        sites[0].edit(key, "contact_email", &format!("{WORD} of {title}"));
    }
    settle(&[&sites[0], &sites[1], &sites[2]]);
    (stick, sites)
}

fn contact(scope: &str) -> String {
    format!("\n[dataset.requests.fields.contact_email]\nscope = \"{scope}\"\n")
}

fn says(site: &Site, before: &str, scope: &str) {
    let path = site.app.dir().join("wbsync.toml");
    let text = fs::read_to_string(&path).unwrap();
    let kept = if before.is_empty() { text } else { text.replace(&contact(before), "") };
    fs::write(path, kept + &contact(scope)).unwrap();
}

fn write(site: &Site, title: &str, contact: &str) {
    site.app.execute("UPDATE help_requests SET contact_email = ?2 WHERE title = ?1", &[&title, &contact]);
}

fn shown(site: &Site, title: &str) -> String {
    site.app.value(&format!("SELECT coalesce(contact_email, 'none') FROM help_requests WHERE title = '{title}'"))
}

fn settle(sites: &[&Site]) {
    for _ in 0..4 {
        sites.iter().for_each(|site| site.sync());
    }
    for site in sites {
        let pull = site.pull();
        assert!(pull.committed.scopes.is_empty() && pull.merge.applied.is_empty(), "{} echoes: {pull:?}", site.name);
    }
}

/// The stick, the stores and the heads: nothing in the public scope says the word.
fn assert_left(stick: &Stick, sites: &[Site; 3]) {
    let [alpha, beta, gamma] = sites;
    let public = {
        let instance = alpha.open();
        let scopes = instance.open_scopes_of(&instance.id()).unwrap();
        scopes.iter().find(|scope| scope.row.name == ScopeName::public()).unwrap().row.id.to_string()
    };
    for site in sites {
        for (_, name, record) in site.records().into_iter().filter(|(scope, ..)| *scope == public) {
            assert!(!format!("{record:?}").contains(WORD), "{} holds {name}: {record:?}", site.name);
        }
        // What gamma can open is what is public.
        assert_eq!(gamma_opens(gamma, &own_store(site)), Vec::<String>::new(), "the store of {}", site.name);
    }
    assert_eq!(gamma_opens(gamma, &stick.path()), Vec::<String>::new(), "the stick");
    for file in ["state.db", "state.db-wal"] {
        let bytes = fs::read(gamma.app.dir().join(".wbsync").join(file)).unwrap_or_default();
        assert!(!holds(&bytes), "gamma's {file} still has it");
    }
    assert_eq!(alpha.roots(alpha, &ScopeName::public()), beta.roots(alpha, &ScopeName::public()));
    assert_eq!(alpha.roots(alpha, &ScopeName::public()), gamma.roots(alpha, &ScopeName::public()));
}

/// The objects with the word that somebody with gamma's keys opens.
fn gamma_opens(gamma: &Site, store: &std::path::Path) -> Vec<String> {
    let all = super::world::files_under(&store.join("objects"));
    let keys: Vec<_> = {
        let instance = gamma.open();
        let rows = instance.state.scopes().unwrap();
        rows.into_iter()
            .filter_map(|row| instance.open_scope(row).unwrap())
            .flat_map(|open| open.keys.epochs.into_values())
            .collect()
    };
    let opens = |path: &String| {
        let bytes = fs::read(store.join("objects").join(path)).unwrap();
        let id = wbsync::changeset::seal::id_of(&bytes);
        keys.iter().any(|key| wbsync::changeset::seal::open(&id, &bytes, key).is_ok())
    };
    let others = all.into_iter().filter(|path| !opens(path)).collect();
    let opened = gamma.unseal(store, &others);
    opened.into_iter().filter(|(.., plain)| holds(plain)).map(|(path, ..)| path).collect()
}

/// Only alpha's mapping narrows: what beta wrote meanwhile was published, and alpha takes it out and keeps it.
#[test]
fn a_narrowed_field_does_not_come_back_with_a_writers_edit() {
    for scope in ["trusted", "never"] {
        for beta_first in [false, true] {
            let (stick, sites) = three();
            let [alpha, beta, gamma] = &sites;
            assert!(!carriers(alpha, &own_store(alpha)).is_empty());
            says(alpha, "public", scope);
            write(beta, "ladder", &format!("{WORD}, and more"));
            let order = if beta_first { [beta, gamma, alpha] } else { [alpha, gamma, beta] };
            settle(&order);
            assert_left(&stick, &sites);
            assert_eq!(shown(alpha, "ladder"), format!("{WORD} of ladder"), "{scope}");
            assert_eq!(shown(gamma, "ladder"), "none", "{scope}");
            let late = alpha.open().late_edits(None).unwrap();
            let said: Vec<_> = late.iter().map(|late| (late.field.as_str(), late.value.as_str().unwrap())).collect();
            assert_eq!(said, [("contact_email", format!("{WORD}, and more").as_str())], "{scope}");
            // From now on beta's edits go where alpha's do.
            write(beta, "saw", "later");
            settle(&[beta, alpha, gamma]);
            assert_eq!(shown(alpha, "saw"), if scope == "trusted" { "later".into() } else { format!("{WORD} of saw") });
            assert_left(&stick, &sites);
        }
    }
}

/// Alpha narrows before its rows show what beta wrote, and which it has merged already.
#[test]
fn a_narrowed_field_does_not_come_back_with_an_edit_that_was_merged_and_not_shown_yet() {
    let (stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    write(beta, "ladder", &format!("{WORD}, and more"));
    beta.sync();
    alpha.open().fetch(&super::world::STICK.parse().unwrap()).unwrap();
    alpha.open().merge().unwrap();
    says(alpha, "public", "trusted");
    settle(&[alpha, gamma, beta]);
    assert_left(&stick, &sites);
    let late = alpha.open().late_edits(None).unwrap();
    let kept = late.iter().any(|late| late.value.as_str() == Some(&format!("{WORD}, and more")));
    assert!(kept || shown(alpha, "ladder") == format!("{WORD}, and more"), "{late:?}");
}

/// Both narrow, and beta's application had edited the field before: the edit goes where the field goes now.
#[test]
fn an_edit_of_a_field_that_both_narrow_goes_to_the_narrower_scope() {
    for beta_first in [false, true] {
        let (stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        says(alpha, "public", "trusted");
        says(beta, "public", "trusted");
        write(beta, "ladder", &format!("{WORD}, and more"));
        beta.open().commit(wbsync::sync::commit::Mode::Keep).unwrap();
        let order = if beta_first { [beta, gamma, alpha] } else { [alpha, gamma, beta] };
        settle(&order);
        for site in [alpha, beta] {
            assert_eq!(shown(site, "ladder"), format!("{WORD}, and more"), "{}", site.name);
        }
        assert_eq!(shown(gamma, "ladder"), "none");
        assert!(beta.open().open_conflicts().unwrap().is_empty());
        assert_left(&stick, &sites);
    }
}

/// And if alpha edits it too, both values are kept, for those who may read the field.
#[test]
fn two_edits_of_a_field_that_both_narrow_are_a_conflict_there() {
    let (stick, sites) = three();
    let [alpha, beta, gamma] = &sites;
    says(alpha, "public", "trusted");
    says(beta, "public", "trusted");
    write(alpha, "ladder", "alpha's");
    write(beta, "ladder", "beta's");
    settle(&[alpha, gamma, beta]);
    for site in [alpha, beta] {
        let open = site.open().open_conflicts().unwrap();
        assert_eq!(open.len(), 1, "{}: {open:?}", site.name);
        assert!(open[0].contains("trusted") && open[0].ends_with(".contact_email"), "{open:?}");
    }
    assert_left(&stick, &sites);
}

fn holds(bytes: &[u8]) -> bool {
    bytes.windows(WORD.len()).any(|window| window == WORD.as_bytes())
}

/// A dataset that the mapping has no more is withdrawn, and a late edit brings nothing of it back either.
#[test]
fn a_dataset_that_is_switched_off_does_not_come_back_with_a_writers_edit() {
    for beta_first in [false, true] {
        let (stick, sites) = three();
        let [alpha, beta, gamma] = &sites;
        let path = alpha.app.dir().join("wbsync.toml");
        let off = "\n[dataset.requests]\nenabled = false\n[dataset.comments]\nenabled = false\n";
        fs::write(&path, fs::read_to_string(&path).unwrap() + off).unwrap();
        write(beta, "ladder", &format!("{WORD}, and more"));
        let order = if beta_first { [beta, gamma, alpha] } else { [alpha, gamma, beta] };
        settle(&order);
        assert_left(&stick, &sites);
        assert!(!alpha.records().iter().any(|(_, name, _)| name.starts_with("requests")));
        assert_eq!(alpha.open().late_edits(None).unwrap().len(), 1);
        assert_eq!(gamma.app.value("SELECT count(*) FROM help_requests"), "0");
    }
}
