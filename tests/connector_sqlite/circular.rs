//! Tables whose rows need each other: neither can be the first, unless the database checks their foreign keys late.

use wbsync::connector::contract::{Change, Connector};
use wbsync::record::recordid::RecordId;
use wbsync::record::value::Value;

use super::database::{DELETES_CIRCLES, circle};
use super::harness::*;

pub(crate) const MAPPING: &str = r#"
[dataset.ships]
table = "ships"
key = "id"
scope = { constant = "public" }
stub = { name = "gone" }
fields.name = { type = "text" }
fields.captain = { column = "captain_id", ref = "captains" }
[dataset.captains]
table = "captains"
key = "id"
scope = { constant = "public" }
stub = { name = "gone" }
fields.name = { type = "text" }
fields.ship = { column = "ship_id", ref = "ships" }
"#;

fn ship(id: &RecordId, name: &str, captain: &RecordId) -> Change {
    put(id, &[("name", text(name)), ("captain", Value::Ref(captain.clone()))])
}

fn captain(id: &RecordId, name: &str, ship: &RecordId) -> Change {
    put(id, &[("name", text(name)), ("ship", Value::Ref(ship.clone()))])
}

/// Who sails what, as both tables say.
fn crews(app: &App) -> Vec<String> {
    let sql = "SELECT s.name || ' ' || c.name || ' ' || o.name FROM ships s JOIN captains c ON c.id = s.captain_id
               JOIN ships o ON o.id = c.ship_id ORDER BY 1";
    app.rows(sql).iter().map(|row| format!("{:?}", row[0])).collect()
}

#[test]
fn a_circle_is_written_at_once_when_its_last_record_comes() {
    for late in ["DEFERRABLE INITIALLY DEFERRED", "DEFERRABLE INITIALLY IMMEDIATE"] {
        let mut app = App::with(&circle(late), MAPPING);
        app.settle();
        let ids = |from: u8| [id(BETA, "ships", from), id(BETA, "captains", from + 1)];
        let ([anna, ann], [bella, bob], [cora, cid]) = (ids(1), ids(11), ids(21));
        // Two circles at once, in both orders.
        let applied = app.apply_quietly(vec![
            ship(&anna, "Anna", &ann),
            captain(&ann, "ann", &anna),
            captain(&bob, "bob", &bella),
            ship(&bella, "Bella", &bob),
        ]);
        assert_eq!(applied.parked.values().sum::<u64>(), 0, "{late}: {:?}", app.sync.parked(9));
        assert_eq!(applied.inserted.values().sum::<u64>(), 4, "{late}: {applied:?}");
        assert_eq!(crews(&app), ["Text(\"Anna ann Anna\")", "Text(\"Bella bob Bella\")"]);
        // One waits for the other until it comes.
        let applied = app.apply_quietly(vec![captain(&cid, "cid", &cora)]);
        assert_eq!(applied.parked.values().sum::<u64>(), 1);
        assert_eq!(app.text("SELECT count(*) FROM captains"), "2");
        app.apply_quietly(vec![ship(&cora, "Cora", &cid)]);
        assert_eq!(app.sync.parked(9).unwrap().1, 0);
        assert_eq!(crews(&app).len(), 3);
        // They change ships.
        app.apply_quietly(vec![
            ship(&anna, "Anna", &bob),
            ship(&bella, "Bella", &ann),
            captain(&ann, "ann", &bella),
            captain(&bob, "bob", &anna),
        ]);
        let swapped = ["Text(\"Anna bob Anna\")", "Text(\"Bella ann Bella\")", "Text(\"Cora cid Cora\")"];
        assert_eq!(crews(&app), swapped);
        // A circle goes, or placeholders are left of it.
        app.apply_quietly(vec![gone(&cid), gone(&cora)]);
        let left = app.text("SELECT count(*) FROM ships WHERE name <> 'gone'");
        assert_eq!(left, "2");
        assert_eq!(app.text("SELECT count(*) FROM ships"), if DELETES_CIRCLES { "2" } else { "3" }, "{late}");
        assert!(app.sync.examine(&mut |_, _| {}).unwrap().is_empty());
    }
}
