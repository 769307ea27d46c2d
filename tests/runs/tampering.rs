//! Whatever somebody does to the rows of the log, its check finds it.

use listbackup_engine::{
    model::{AccountId, ActivityKind, ChainHead, EventId, activity::only_events, chain, scope::Scope},
    ports::{Condition, Item, Query, Write},
    run::{
        chain_check::{self, BreakKind, ChainReport, Position, Witness},
        event::{self, Subject},
        relay::Relay,
    },
    store::{self, Store},
    tables::ACTIVITY,
};
use serde_json::{Map, Value, json};

use crate::{
    activity::{assert_settled, checked, keep, linked, world},
    world::World,
};

/// A chain of twelve events, and whatever somebody does to its rows.
struct Chain {
    world: World,
    rows: Vec<Map<String, Value>>,
    head: Map<String, Value>,
}

impl Chain {
    async fn new() -> Self {
        let world = world(3).await;
        keep(&world.ports, &world.scope, 12).await;
        Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
        let rows = linked(&world.ports, &world.scope).await;
        let place = ChainHead::place(world.scope.account_id());
        let head = world.ports.tables.get((&world.scope).into(), &ACTIVITY, &place).await.expect("a store");
        Self { rows, head: head.expect("a head").body, world }
    }

    /// Replaces all rows of the account by these.
    async fn become_(&self, rows: &[Map<String, Value>], head: Option<&Map<String, Value>>) {
        let (tables, system) = (&self.world.ports.tables, Scope::System(&self.world.system));
        let account = |sort| Query {
            table: &ACTIVITY,
            index: Some("by-account"),
            partition: self.world.scope.account_id().to_string(),
            sort,
            descending: false,
            limit: 100,
            after: None,
        };
        let mut there = tables.query(system, account(only_events())).await.expect("rows").items;
        there.extend(tables.query(system, account(chain::only_heads())).await.expect("rows").items);
        let delete = |Item { body, .. }: &Item| Write::Delete {
            table: &ACTIVITY,
            key: store::key_of(&ACTIVITY, body).expect("a key"),
            condition: Condition::Any,
        };
        tables.transact(system, there.iter().map(delete).collect()).await.expect("rows go");
        let put =
            |body: &Map<String, Value>| Write::Put { table: &ACTIVITY, body: body.clone(), condition: Condition::Any };
        tables.transact(system, rows.iter().chain(head).map(put).collect()).await.expect("rows come");
    }

    async fn check(&self, witness: Option<Witness>) -> ChainReport {
        checked(&self.world.ports, &self.world.scope, witness).await
    }

    /// Puts these rows there, and wants the check to find that in one of the places from `place` to the one after it.
    async fn assert_found(&self, rows: &[Map<String, Value>], place: u64, what: &str) {
        self.become_(rows, Some(&self.head)).await;
        let report = self.check(None).await;
        let is_there = report.breaks.iter().any(|found| {
            let (first, last) =
                (found.sequence.unwrap_or(place), found.last_sequence.or(found.sequence).unwrap_or(place));
            first <= place + 1 && last >= place
        });
        assert!(!report.is_sound() && is_there, "{what} at {place} is not found: {:?}", report.breaks);
    }

    fn witness(&self, sequence: u64) -> Witness {
        let digest = chain::stated_digest(&self.rows[usize::try_from(sequence).unwrap() - 1]).expect("a digest");
        Witness { sequence, digest }
    }
}

/// Another value of the same kind.
fn altered(value: &Value) -> Value {
    match value {
        Value::Null => json!(0),
        Value::Bool(it) => json!(!it),
        Value::Number(it) => json!(it.as_i64().unwrap_or_default() + 1),
        // In the middle, so that what is an id stays one.
        Value::String(it) => json!(it.chars().rev().collect::<String>() + "x"),
        Value::Array(it) => json!(it.iter().chain([&json!(1)]).collect::<Vec<_>>()),
        Value::Object(it) => {
            let mut it = it.clone();
            let first = it.keys().next().cloned().unwrap_or_default();
            let changed = it.get(&first).map_or(json!(1), altered);
            it.insert(first, changed);
            Value::Object(it)
        }
    }
}

#[tokio::test]
async fn whatever_attribute_of_an_event_is_changed_taken_away_or_added_the_check_finds_it() {
    let chain = Chain::new().await;
    chain.become_(&chain.rows, Some(&chain.head)).await;
    assert!(chain.check(None).await.is_sound(), "as it was");
    for at in 0..chain.rows.len() {
        let place = at as u64 + 1;
        let names: Vec<String> = chain.rows[at].keys().cloned().collect();
        for name in &names {
            let mut rows = chain.rows.clone();
            let is_key = ["eventId", "timestamp", "accountId"].contains(&name.as_str());
            let value = match name.as_str() {
                "eventId" => json!(EventId::derived(1, [9; 10])),
                "accountId" => json!(AccountId::derived(1, [7; 10])),
                _ => altered(&rows[at][name]),
            };
            if value != rows[at][name] {
                rows[at].insert(name.clone(), value);
                chain.assert_found(&rows, place, &format!("a change of {name}")).await;
            }
            if !is_key {
                rows.clone_from(&chain.rows);
                rows[at].remove(name);
                chain.assert_found(&rows, place, &format!("the removal of {name}")).await;
            }
        }
        for name in ["jobId", "note", "outboxShard"] {
            let mut rows = chain.rows.clone();
            rows[at].insert(name.to_owned(), json!("outbox"));
            chain.assert_found(&rows, place, &format!("a new {name}")).await;
        }
        let mut rows = chain.rows.clone();
        rows[at]["details"]["number"] = json!(4711);
        let before =
            at.checked_sub(1).map_or(chain::beginning(), |at| chain::stated_digest(&rows[at]).expect("a digest"));
        chain::link(&mut rows[at], place, &before);
        chain.assert_found(&rows, place, "a change with its own digest made anew").await;
    }
}

#[tokio::test]
async fn rows_that_are_deleted_put_in_or_swapped_are_found() {
    let chain = Chain::new().await;
    for at in 0..chain.rows.len() {
        let place = at as u64 + 1;
        let mut rows = chain.rows.clone();
        rows.remove(at);
        chain.assert_found(&rows, place, "a deletion").await;
        rows.truncate(at);
        chain.assert_found(&rows, place, "the end cut off").await;
        for (sequence, what) in [
            (Some(place), "a second event at a place"),
            (Some(13), "an event after the last"),
            (Some(0), "an event before the first"),
            (None, "an event without a place"),
        ] {
            let mut rows = chain.rows.clone();
            let mut new = rows[at].clone();
            let event = event::event(
                &chain.world.ports,
                chain.world.scope.account_id(),
                ActivityKind::RunFailed,
                "nobody",
                Subject::default(),
                Map::new(),
            );
            new.insert("eventId".to_owned(), json!(event.event_id));
            match sequence {
                Some(sequence) => drop(new.insert("sequence".to_owned(), json!(sequence))),
                None => drop(new.remove("sequence")),
            }
            rows.push(new);
            let place = sequence.filter(|sequence| *sequence > 0).unwrap_or(place);
            chain.assert_found(&rows, place, what).await;
        }
        for other in 0..at {
            let mut rows = chain.rows.clone();
            let (one, two) = (rows[at]["sequence"].clone(), rows[other]["sequence"].clone());
            (rows[at]["sequence"], rows[other]["sequence"]) = (two, one);
            chain.assert_found(&rows, place, "two places swapped").await;
            chain.assert_found(&rows, other as u64 + 1, "two places swapped").await;
            // Digests that go with the places do not help.
            let (one, two) = (rows[at]["chainDigest"].clone(), rows[other]["chainDigest"].clone());
            (rows[at]["chainDigest"], rows[other]["chainDigest"]) = (two, one);
            chain.assert_found(&rows, place, "two events swapped").await;
        }
    }
}

#[tokio::test]
async fn a_head_that_is_changed_or_gone_is_found() {
    let chain = Chain::new().await;
    let found = |report: &ChainReport| report.breaks.iter().map(|found| found.what).collect::<Vec<_>>();
    chain.become_(&chain.rows, None).await;
    assert_eq!(found(&chain.check(None).await), [BreakKind::HeadDiffers]);
    for (name, value, kind) in [
        ("headSequence", json!(11), BreakKind::HeadDiffers),
        ("headSequence", json!(13), BreakKind::Missing),
        ("headDigest", json!(chain::beginning().to_hex().as_str()), BreakKind::HeadDiffers),
        ("headDigest", json!("none"), BreakKind::HeadDiffers),
    ] {
        let mut head = chain.head.clone();
        head.insert(name.to_owned(), value);
        chain.become_(&chain.rows, Some(&head)).await;
        assert!(found(&chain.check(None).await).contains(&kind), "{name}");
    }
}

#[tokio::test]
async fn a_chain_that_was_written_anew_is_found_by_a_head_that_was_noted_before() {
    let chain = Chain::new().await;
    chain.become_(&chain.rows, Some(&chain.head)).await;
    for sequence in 1..=12 {
        assert!(chain.check(Some(chain.witness(sequence))).await.is_sound());
    }
    for at in 0..12_usize {
        let mut rows = chain.rows.clone();
        rows[at]["actor"] = json!("somebody else");
        let mut before =
            at.checked_sub(1).map_or(chain::beginning(), |at| chain::stated_digest(&rows[at]).expect("one"));
        for (number, row) in rows.iter_mut().enumerate().skip(at) {
            before = chain::link(row, number as u64 + 1, &before);
        }
        let mut head = chain.head.clone();
        head.insert("headDigest".to_owned(), json!(before.to_hex().as_str()));
        chain.become_(&rows, Some(&head)).await;
        assert!(chain.check(None).await.is_sound(), "from the rows alone nobody can tell");
        for sequence in 1..=12 {
            let report = chain.check(Some(chain.witness(sequence))).await;
            assert_eq!(report.is_sound(), sequence <= at as u64, "changed after {at}, noted at {sequence}");
        }
        // The end cut off, and the head taken back.
        rows.truncate(at);
        head.insert("headSequence".to_owned(), json!(at));
        let last = rows.last().and_then(chain::stated_digest).unwrap_or(chain::beginning());
        head.insert("headDigest".to_owned(), json!(last.to_hex().as_str()));
        chain.become_(&rows, Some(&head)).await;
        assert!(chain.check(None).await.is_sound());
        let report = chain.check(Some(chain.witness(12))).await;
        assert_eq!(report.breaks[0].what, BreakKind::WitnessDiffers);
    }
}

#[tokio::test]
async fn an_event_that_has_its_place_keeps_it_whoever_marks_it_anew() {
    let chain = Chain::new().await;
    let mut rows = chain.rows.clone();
    rows[4].insert("outboxShard".to_owned(), json!("outbox"));
    chain.become_(&rows, Some(&chain.head)).await;
    keep(&chain.world.ports, &chain.world.scope, 1).await;
    Relay::default().look(&chain.world.ports, &chain.world.system).await.expect("stores that work");
    assert_settled(&chain.world.ports, &chain.world.scope, 13, "afterwards").await;
}

#[tokio::test]
async fn a_check_in_parts_finds_what_a_whole_one_finds() {
    let world = world(5).await;
    keep(&world.ports, &world.scope, 1_700).await;
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
    let rows = linked(&world.ports, &world.scope).await;
    for at in [3, 499, 500, 501, 1_200, 1_699] {
        let mut body = rows[at].clone();
        body.insert("actor".to_owned(), json!("somebody else"));
        let put = Write::Put { table: &ACTIVITY, body, condition: Condition::Any };
        world.ports.tables.transact((&world.scope).into(), vec![put]).await.expect("a row");
    }
    let whole = checked(&world.ports, &world.scope, None).await;
    let places: Vec<_> = whole.breaks.iter().filter_map(|found| found.sequence).collect();
    assert_eq!(places, [4, 500, 501, 502, 1_201, 1_700]);
    let store = Store::new(world.ports.tables.clone());
    let mut report = ChainReport { next: Some(Position::default()), ..ChainReport::default() };
    let mut parts = 0;
    while let Some(next) = report.next.take() {
        let next = serde_json::from_value(serde_json::to_value(next).expect("JSON")).expect("a position");
        report.go_on(chain_check::check(&store, &world.scope, next, 1, None).await.expect("a store"));
        parts += 1;
    }
    assert_eq!(parts, 8, "four pages of each walk");
    assert_eq!((report.breaks, report.checked), (whole.breaks, whole.checked));
}
