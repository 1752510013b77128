//! Every strategy: two and three sides in any order, nothing, values of the wrong kind, bounds.

use proptest::prelude::*;
use proptest::strategy::Strategy as _;

use super::*;
use crate::record::schema::Strategy;
use crate::record::stamp::Stamp;
use crate::sys::clock::UnixMillis;
use Value::{Bool, Int, Null};

const ORIGIN: InstanceId = InstanceId::from_bytes([1; 32]);

/// A write by author `author` at time `time`.
fn write(author: u8, time: u64, value: Value, over: Option<Value>) -> Element {
    let author = InstanceId::from_bytes([author; 32]);
    Element { stamp: Stamp { author, incarnation: 0, sequence: 1, time: UnixMillis(time) }, value, over }
}

/// What is shown for concurrent writes of the authors 1, 2, … at descending times, which is the same in any
/// order of the elements.
#[track_caller]
fn shown(strategy: Strategy, over: Option<Value>, values: &[Value]) -> Shown {
    let number = |index: usize| u8::try_from(index).unwrap() + 1;
    let mut elements: Vec<Element> = values
        .iter()
        .enumerate()
        .map(|(index, value)| write(number(index), 100 - u64::from(number(index)), value.clone(), over.clone()))
        .collect();
    let first = show(&Cell::of(elements.clone()).unwrap(), strategy, &ORIGIN);
    for _ in 1..elements.len() {
        elements.rotate_left(1);
        let again = show(&Cell::of(elements.clone()).unwrap(), strategy, &ORIGIN);
        assert!(again.value.same(&first.value) && again.open == first.open, "{strategy:?}: {first:?}, then {again:?}");
    }
    first
}

#[track_caller]
fn settles(strategy: Strategy, over: Option<Value>, values: &[Value], wanted: Value) {
    assert_eq!(shown(strategy, over, values), Shown { value: wanted, open: false }, "{strategy:?} of {values:?}");
}

/// The latest is shown, and the conflict is open.
#[track_caller]
fn stays_open(strategy: Strategy, over: Option<Value>, values: &[Value]) {
    let wanted = Shown { value: values[0].clone(), open: true };
    assert_eq!(shown(strategy, over, values), wanted, "{strategy:?} of {values:?}");
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn list(items: &[&str]) -> Value {
    Value::List(items.iter().map(|item| text(item)).collect())
}

#[test]
fn one_value_is_shown_as_it_is() {
    for strategy in ALL {
        settles(strategy, Some(Int(3)), &[text("any")], text("any"));
    }
}

#[test]
fn equal_values_need_no_choice() {
    for strategy in ALL {
        settles(strategy, None, &[text("same"), text("same"), text("same")], text("same"));
    }
}

#[test]
fn conflict_shows_the_latest_and_stays_open() {
    stays_open(Strategy::Conflict, None, &[text("b"), text("a"), Null]);
}

#[test]
fn latest_counts_even_if_it_is_nothing() {
    settles(Strategy::Latest, None, &[Null, text("a"), Int(3)], Null);
}

#[test]
fn texts_merge_by_lines() {
    let base = Some(text("one\ntwo\nthree\nfour\nfive\n"));
    let [first, third, fifth] =
        ["ONE\ntwo\nthree\nfour\nfive\n", "one\ntwo\nTHREE\nfour\nfive\n", "one\ntwo\nthree\nfour\nFIVE\n"].map(text);
    settles(Strategy::Text, base.clone(), &[first.clone(), third.clone()], text("ONE\ntwo\nTHREE\nfour\nfive\n"));
    settles(Strategy::Text, base, &[first, third, fifth], text("ONE\ntwo\nTHREE\nfour\nFIVE\n"));
}

#[test]
fn texts_that_do_not_merge_stay_open() {
    stays_open(Strategy::Text, Some(text("soup")), &[text("bread"), text("cake")]);
    stays_open(Strategy::Text, Some(text("soup")), &[Int(3), text("cake")]);
    stays_open(Strategy::Text, Some(Int(3)), &[text("bread"), text("cake")]);
    settles(Strategy::Text, None, &[text("bread"), Null], text("bread"));
}

#[test]
fn sets_add_and_remove() {
    let base = Some(list(&["a", "b"]));
    settles(Strategy::Set, base.clone(), &[list(&["a", "b", "c"]), list(&["b", "d"])], list(&["b", "c", "d"]));
    settles(Strategy::Set, base.clone(), &[list(&["a", "b", "c"]), list(&["a", "b", "c"]), Null], list(&["c"]));
    settles(Strategy::Set, None, &[list(&["a"]), list(&["b", "a"])], list(&["a", "b"]));
    stays_open(Strategy::Set, base, &[text("a"), list(&["a"])]);
}

#[test]
fn counters_add_up_what_each_side_changed() {
    settles(Strategy::Counter, Some(Int(10)), &[Int(13), Int(8)], Int(11));
    settles(Strategy::Counter, Some(Int(10)), &[Int(11), Int(11), Int(11)], Int(13));
    settles(Strategy::Counter, None, &[Int(2), Int(3)], Int(5));
    settles(Strategy::Counter, Some(Int(10)), &[Null, Int(11)], Int(1));
    stays_open(Strategy::Counter, Some(Int(10)), &[Int(11), text("12")]);
    stays_open(Strategy::Counter, Some(text("10")), &[Int(11), Int(12)]);
}

#[test]
fn a_counter_overflows_only_if_its_sum_does() {
    stays_open(Strategy::Counter, Some(Int(0)), &[Int(i64::MAX), Int(1)]);
    stays_open(Strategy::Counter, Some(Int(0)), &[Int(i64::MIN), Int(-1)]);
    settles(Strategy::Counter, Some(Int(0)), &[Int(i64::MAX), Int(1), Int(-1)], Int(i64::MAX));
    settles(Strategy::Counter, Some(Int(i64::MIN)), &[Int(i64::MAX), Int(i64::MIN)], Int(i64::MAX));
}

#[test]
fn a_counter_written_again_by_two_counts_once() {
    let again = |author| {
        let stamp =
            Stamp { author: InstanceId::from_bytes([author; 32]), incarnation: 0, sequence: 1, time: UnixMillis(9) };
        Cell::again(stamp, Int(5), Strategy::Counter).elements()[0].clone()
    };
    let cell = Cell::of(vec![again(1), again(2)]).unwrap();
    assert_eq!(show(&cell, Strategy::Counter, &ORIGIN), Shown { value: Int(5), open: false });
}

#[test]
fn max_and_min_skip_nothing_and_refuse_two_kinds() {
    let times = [Value::Timestamp(5), Value::Timestamp(9), Null, Value::Timestamp(7)];
    settles(Strategy::Max, None, &times, Value::Timestamp(9));
    settles(Strategy::Min, None, &times, Value::Timestamp(5));
    settles(Strategy::Max, None, &[Value::Float(-0.5), Value::Float(-2.5)], Value::Float(-0.5));
    settles(Strategy::Min, None, &[text("b"), text("a")], text("a"));
    settles(Strategy::Max, None, &[Bool(false), Bool(true)], Bool(true));
    settles(Strategy::Min, None, &[Null, Null], Null);
    for strategy in [Strategy::Max, Strategy::Min] {
        stays_open(strategy, None, &[Int(1), text("2")]);
        stays_open(strategy, None, &[Int(1), Value::Float(2.0), Null]);
        stays_open(strategy, None, &[list(&["a"]), list(&["b"])]);
    }
    let with_nan = shown(Strategy::Max, None, &[Value::Float(f64::NAN), Value::Float(1.0)]);
    assert!(with_nan.open && matches!(with_nan.value, Value::Float(value) if value.is_nan()));
}

#[test]
fn or_is_true_if_any_is() {
    settles(Strategy::Or, None, &[Bool(false), Bool(true), Null], Bool(true));
    settles(Strategy::Or, None, &[Bool(false), Null], Bool(false));
    stays_open(Strategy::Or, None, &[Bool(true), Int(1)]);
}

#[test]
fn once_is_the_earliest_that_is_set() {
    settles(Strategy::Once, None, &[text("c"), text("b"), text("a")], text("a"));
    settles(Strategy::Once, None, &[text("c"), text("b"), Null], text("b"));
    settles(Strategy::Once, None, &[Null, Null], Null);
}

#[test]
fn of_the_origins_writes_the_latest_counts_and_without_one_the_latest_of_all() {
    let cell = |authors: &[u8]| {
        let write = |(index, author): (usize, &u8)| write(*author, index as u64, Int(index as i64), None);
        Cell::of(authors.iter().enumerate().map(write).collect()).unwrap()
    };
    assert_eq!(show(&cell(&[2, 1, 3]), Strategy::Origin, &ORIGIN), Shown { value: Int(1), open: false });
    assert_eq!(show(&cell(&[2, 3]), Strategy::Origin, &ORIGIN), Shown { value: Int(1), open: false });
}

#[test]
fn sides_that_replaced_different_values_stay_open() {
    for (strategy, first, second) in [
        (Strategy::Text, text("a b c d e"), text("a b c d f")),
        (Strategy::Set, list(&["a"]), list(&["b"])),
        (Strategy::Counter, Int(4), Int(5)),
    ] {
        for over in [Some(text("another")), None] {
            let elements = vec![write(1, 2, first.clone(), Some(first.clone())), write(2, 1, second.clone(), over)];
            let found = show(&Cell::of(elements).unwrap(), strategy, &ORIGIN);
            assert_eq!(found, Shown { value: first.clone(), open: true }, "{strategy:?}");
        }
    }
}

const ALL: [Strategy; 10] = [
    Strategy::Conflict,
    Strategy::Latest,
    Strategy::Text,
    Strategy::Set,
    Strategy::Counter,
    Strategy::Max,
    Strategy::Min,
    Strategy::Or,
    Strategy::Once,
    Strategy::Origin,
];

fn any_value() -> impl proptest::strategy::Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Null),
        any::<bool>().prop_map(Bool),
        prop_oneof![-3..3i64, Just(i64::MAX), Just(i64::MIN)].prop_map(Int),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.5), Just(f64::NAN), Just(f64::INFINITY)].prop_map(Value::Float),
        (0..4i64).prop_map(Value::Timestamp),
        "([abc] ){0,4}\n?([abc]\n){0,3}".prop_map(Value::Text),
    ];
    leaf.prop_recursive(1, 4, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Value::List))
}

fn any_elements() -> impl proptest::strategy::Strategy<Value = Vec<Element>> {
    let over = prop_oneof![Just(None), Just(Some(Int(1))), any_value().prop_map(Some)];
    let one = ((0..4u8), (0..3u64), any_value());
    // Most often all replaced the same value: otherwise nothing merges.
    (over, proptest::collection::vec(one, 1..5), any::<bool>()).prop_map(|(over, list, mixed)| {
        let elements = list.into_iter().enumerate().map(|(index, (author, time, value))| {
            let over = if mixed && index == 1 { Some(Null) } else { over.clone() };
            let mut element = write(author, time, value, over);
            element.stamp.sequence = index as u64 + 1;
            element
        });
        elements.collect()
    })
}

proptest! {
    #[test]
    fn what_is_shown_depends_on_the_set_of_elements_alone(
        elements in any_elements(),
        order in any::<proptest::sample::Index>(),
        swapped in any::<bool>(),
    ) {
        let mut others = elements.clone();
        others.rotate_left(order.index(elements.len()));
        if swapped {
            others.reverse();
        }
        // An element that comes twice, by two ways, is one.
        others.push(others[0].clone());
        let (cell, other) = (Cell::of(elements).unwrap(), Cell::of(others).unwrap());
        for strategy in ALL {
            let (left, right) = (show(&cell, strategy, &ORIGIN), show(&other, strategy, &ORIGIN));
            prop_assert!(left.value.same(&right.value) && left.open == right.open, "{:?}: {:?} {:?}", strategy, left, right);
            // What needs no choice is settled for good reason, and an open conflict shows the latest.
            prop_assert!(!left.open || left.value.same(&cell.winner().value));
        }
    }
}
