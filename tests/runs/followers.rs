//! What is derived from the chain takes each event once, whoever relays and wherever they die.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, tz::TimeZone};
use listbackup_engine::{
    model::{
        AccountId, ActivityEvent, ActivityKind, Counter, Figures, Run, RunStatus, SourceId, counter::Ends,
        scope::AccountScope,
    },
    ports::{Condition, Item, Ports, Query, SortRange, Write},
    run::{
        event::{self, Subject},
        relay::Relay,
    },
    store::{self, Store},
    tables::{COUNTERS, RUNS, TableSchema},
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Map, Value, json};

use crate::{
    activity::{head, linked, world},
    meddled::Fate,
    mortal::{Life, Side, at_each_effect},
    world::World,
};

const ENDS: [ActivityKind; 5] = [
    ActivityKind::RunSucceeded,
    ActivityKind::RunPartial,
    ActivityKind::RunFailed,
    ActivityKind::RunCancelled,
    ActivityKind::RunSkipped,
];

fn query(table: &'static TableSchema, index: Option<&'static str>, scope: &AccountScope) -> Query {
    let partition = scope.account_id().to_string();
    Query { table, index, partition, sort: SortRange::All, descending: false, limit: 1000, after: None }
}

/// All rows of counters, the cursor apart.
async fn counters(ports: &Ports, scope: &AccountScope) -> BTreeMap<String, Counter> {
    use futures::TryStreamExt;
    let store = Store::new(ports.tables.clone());
    let items: Vec<Item> = store.items(scope.into(), query(&COUNTERS, None, scope)).try_collect().await.expect("rows");
    let rows = items.into_iter().filter(|item| item.body["counterKey"] != "cursor");
    rows.map(|item| store::row::<Counter>(item).expect("a row")).map(|row| (row.counter_key.clone(), row)).collect()
}

/// What is counted otherwise than the chain and the runs say.
pub async fn violations(ports: &Ports, scope: &AccountScope) -> Vec<String> {
    let counted = counters(ports, scope).await;
    let figures: BTreeMap<&String, &Figures> = counted.iter().map(|(key, row)| (key, &row.figures)).collect();
    let expected = by_hand(ports, scope).await;
    let mut found = Vec::new();
    for key in figures.keys().copied().chain(expected.keys()) {
        let nothing = Figures::default();
        let is_same = figures.get(key).copied().unwrap_or(&nothing) == expected.get(key).unwrap_or(&nothing);
        if !is_same {
            found.push(format!("{key} has {:?}, not {:?}", figures.get(key), expected.get(key)));
        }
    }
    found
}

/// Whether the runs that have ended, by their rows, are counted by their ends.
pub async fn counts_runs(ports: &Ports, scope: &AccountScope) -> Option<String> {
    let store = Store::new(ports.tables.clone());
    let (mut backups, mut restores) = (Ends::default(), Ends::default());
    for run in store.all::<Run>(scope, query(&RUNS, Some("by-account"), scope)).await.expect("rows") {
        let ends = if run.restore.is_none() { &mut backups } else { &mut restores };
        ends.count(run.status);
    }
    let counted = counters(ports, scope).await.remove("now#account").map(|row| row.figures).unwrap_or_default();
    let is_same = (counted.runs, counted.restores) == (backups, restores);
    (!is_same).then(|| format!("runs ended as {backups:?} and {restores:?}, and are counted as {counted:?}"))
}

/// The same by going once through the chain.
async fn by_hand(ports: &Ports, scope: &AccountScope) -> BTreeMap<String, Figures> {
    let mut sums: BTreeMap<String, Figures> = BTreeMap::new();
    let mut integrations: BTreeMap<SourceId, String> = BTreeMap::new();
    let mut live: BTreeMap<SourceId, (u64, u64)> = BTreeMap::new();
    let mut removed = BTreeSet::new();
    for row in linked(ports, scope).await {
        let event: ActivityEvent = serde_json::from_value(Value::Object(row)).expect("an event");
        let Some(source_id) = event.source_id else { continue };
        let is_end = ENDS.contains(&event.kind);
        if event.kind == ActivityKind::SourceStale
            && let Some(named) = event.details.get("integration").and_then(Value::as_str)
        {
            integrations.insert(source_id, named.to_owned());
        }
        if !is_end && event.kind != ActivityKind::SourceDeleted {
            continue;
        }
        let told = |name: &str| event.details.get(name).and_then(Value::as_u64);
        if let Some(named) = event.details.get("integration").and_then(Value::as_str) {
            integrations.insert(source_id, named.to_owned());
        } else if is_end && !integrations.contains_key(&source_id) {
            let key = store::key(scope.account_id(), source_id);
            let source = Store::new(ports.tables.clone()).find::<listbackup_engine::model::Source>(scope, key).await;
            integrations.extend(source.expect("a store").map(|source| (source_id, source.row.integration)));
        }
        match event.kind {
            ActivityKind::SourceDeleted => {
                removed.insert(source_id);
                live.insert(source_id, (0, 0));
            }
            _ if removed.contains(&source_id) => {}
            _ => drop(told("liveRecords").zip(told("liveBytes")).map(|now| live.insert(source_id, now))),
        }
        let day = Timestamp::from_millisecond(event.timestamp).expect("an instant").to_zoned(TimeZone::UTC).date();
        let integration = integrations.get(&source_id);
        let names = [
            Some("account".to_owned()),
            Some(format!("source#{source_id}")),
            integration.map(|it| format!("integration#{it}")),
        ];
        for name in names.into_iter().flatten() {
            let is_in = |source: &SourceId| match name.split_once('#') {
                None => true,
                Some(("source", id)) => source.to_string() == id,
                Some((_, of)) => integrations.get(source).is_some_and(|it| it == of),
            };
            let held = live.iter().filter(|(source, _)| is_in(source)).map(|(_, held)| *held);
            let held = held.fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1));
            for key in [format!("now#{name}"), format!("{name}#{day}")] {
                let row = sums.entry(key).or_default();
                if is_end {
                    add(row, &event);
                }
                (row.live_records, row.live_bytes) = held;
            }
        }
    }
    sums
}

fn add(row: &mut Figures, event: &ActivityEvent) {
    let told = |name: &str| event.details.get(name).and_then(Value::as_u64).unwrap_or_default();
    let status =
        [RunStatus::Succeeded, RunStatus::Partial, RunStatus::Failed, RunStatus::Cancelled, RunStatus::Skipped];
    let status = status[ENDS.iter().position(|kind| *kind == event.kind).expect("an end")];
    row.bytes_read += told("bytesRead");
    row.requests += told("requests");
    row.waited_ms += told("waitedMs");
    row.ran_ms += told("ranMs");
    if event.details.contains_key("restore") {
        row.restores.count(status);
        return;
    }
    row.runs.count(status);
    row.records += told("records");
    row.added += told("added");
    row.changed += told("changed");
    row.removed += told("removed");
    row.drift += told("drift");
    row.bytes_stored += told("bytesStored");
}

/// Ends of runs as they may come: of some sources, on some days, with figures or from a version that told few; and other events.
pub async fn keep(ports: &Ports, scope: &AccountScope, random: &mut StdRng, count: usize) {
    let sources: Vec<SourceId> = (1..=5).map(|number| SourceId::derived(1, [number; 10])).collect();
    let mut writes = Vec::new();
    for _ in 0..count {
        let which = random.random_range(0..sources.len());
        let kind = match random.random_range(0..10) {
            0..8 => ENDS[random.random_range(0..ENDS.len())],
            8 => ActivityKind::SourceStale,
            _ => ActivityKind::RunStarted,
        };
        let kind = if random.random_bool(0.01) { ActivityKind::SourceDeleted } else { kind };
        let mut details = Map::new();
        if random.random_bool(0.8) {
            let names = [
                "records",
                "added",
                "changed",
                "removed",
                "drift",
                "bytesRead",
                "bytesStored",
                "requests",
                "waitedMs",
                "ranMs",
            ];
            details.extend(names.map(|name| (name.to_owned(), json!(random.random_range(0..1000)))));
            details.insert("integration".to_owned(), json!(["keap", "crm"][which % 2]));
        }
        if random.random_bool(0.1) {
            details.insert("restore".to_owned(), json!({}));
        } else if kind == ActivityKind::RunSucceeded && details.contains_key("integration") {
            details.insert("liveRecords".to_owned(), json!(random.random_range(0..1000)));
            details.insert("liveBytes".to_owned(), json!(random.random_range(0..1000)));
        }
        let days = random.random_range(0..4);
        let timestamp = ports.clock.now().as_millisecond() + days * 86_400_000;
        let subject = Subject { after_ms: Some(timestamp), ..Subject::source(sources[which]) };
        let told = event::event(ports, scope.account_id(), kind, event::SYSTEM, subject, details);
        writes.push(event::keep(&told).expect("a row"));
    }
    for some in writes.chunks(50) {
        ports.tables.transact(scope.into(), some.to_vec()).await.expect("events are kept");
    }
    ports.events.nudge();
}

async fn look(relay: &mut Relay, world: &World) {
    relay.look(&world.ports, &world.system).await.expect("stores that work");
}

async fn assert_counted(world: &World, scope: &AccountScope, place: &str) {
    assert_eq!(violations(&world.ports, scope).await, [""; 0], "{place}");
    assert_eq!(head(&world.ports, scope).await.outbox_shard, None, "{place}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_relays_count_each_run_once() {
    for seed in 1..=5 {
        let world = world(seed).await;
        let relays: Vec<_> = (0..3)
            .map(|_| {
                let (ports, system) = (world.ports.clone(), world.system);
                tokio::spawn(async move {
                    let mut relay = Relay::default();
                    for _ in 0..40 {
                        relay.look(&ports, &system).await.expect("stores that work");
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        let mut random = StdRng::seed_from_u64(seed);
        for _ in 0..40 {
            keep(&world.ports, &world.scope, &mut random, 10).await;
        }
        for relay in relays {
            relay.await.expect("it ends");
        }
        look(&mut Relay::default(), &world).await;
        assert_counted(&world, &world.scope, &format!("seed {seed}")).await;
        let counted = counters(&world.ports, &world.scope).await;
        assert!(counted["now#account"].figures.runs.all() > 200, "{counted:?}");
    }
}

/// Two relays, the first of which dies at that effect; true when it survived because it has no such effect.
async fn count_and_die(ends_at: (u64, Side)) -> bool {
    let world = world(7).await;
    let other = world.system.account(AccountId::derived(1, [7; 10]));
    let mut random = StdRng::seed_from_u64(7);
    for scope in [&world.scope, &other] {
        keep(&world.ports, scope, &mut random, 120).await;
    }
    let life = Life::new(Some(ends_at));
    let ports = Fate::Mortal(life.clone()).ports(&world.ports);
    let mut first = Relay::default();
    let survived = tokio::select! {
        biased;
        done = first.look(&ports, &world.system) => { done.expect("stores that work"); true }
        _ = life.end() => false,
    };
    keep(&world.ports, &world.scope, &mut random, 5).await;
    look(&mut Relay::default(), &world).await;
    for scope in [&world.scope, &other] {
        assert_counted(&world, scope, &format!("dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects()))
            .await;
    }
    survived
}

#[tokio::test]
async fn wherever_a_relay_dies_each_run_counts_once() {
    let points = at_each_effect(count_and_die).await;
    println!("followers: {points} crash points");
    assert!(points >= 20, "linking, telling and counting have more effects than that: {points}");
}

#[tokio::test]
async fn counters_that_are_lost_are_made_again_from_the_chain() {
    let world = world(3).await;
    let mut random = StdRng::seed_from_u64(3);
    keep(&world.ports, &world.scope, &mut random, 700).await;
    look(&mut Relay::default(), &world).await;
    let before = counters(&world.ports, &world.scope).await;
    assert_counted(&world, &world.scope, "at first").await;
    for key in before.keys().map(String::as_str).chain(["cursor"]) {
        let key = store::key(world.scope.account_id(), key);
        let delete = Write::Delete { table: &COUNTERS, key, condition: Condition::Any };
        world.ports.tables.transact((&world.scope).into(), vec![delete]).await.expect("a row goes");
    }
    keep(&world.ports, &world.scope, &mut random, 1).await;
    look(&mut Relay::default(), &world).await;
    assert_counted(&world, &world.scope, "made again").await;
    assert!(counters(&world.ports, &world.scope).await.len() >= before.len());
}

#[tokio::test]
async fn a_follower_that_is_held_up_goes_on_later_and_keeps_no_other_account_from_its_turn() {
    let world = world(4).await;
    let other = world.system.account(AccountId::derived(1, [7; 10]));
    let scopes = [&world.scope, &other];
    let mut random = StdRng::seed_from_u64(4);
    // A row that cannot be read lies where each account counts.
    for held_up in scopes {
        let body = json!({ "accountId": held_up.account_id(), "counterKey": "now#account", "runs": "many" });
        let Value::Object(body) = body else { unreachable!("it is an object") };
        let put = Write::Put { table: &COUNTERS, body, condition: Condition::Any };
        world.ports.tables.transact(held_up.into(), vec![put]).await.expect("a row");
        for scope in scopes {
            keep(&world.ports, scope, &mut random, 20).await;
        }
        let mut relay = Relay::default();
        relay.look(&world.ports, &world.system).await.expect_err("a row cannot be read");
        for scope in scopes.into_iter().filter(|scope| *scope != held_up) {
            assert_counted(&world, scope, "the other one").await;
        }
        assert!(head(&world.ports, held_up).await.outbox_shard.is_some(), "the next look goes on");
        let key = store::key(held_up.account_id(), "now#account");
        let delete = Write::Delete { table: &COUNTERS, key, condition: Condition::Any };
        let mut writes = vec![delete];
        if held_up == scopes[1] {
            // Its counters were whole before: all of them are made again.
            let keys = counters_of(&world, held_up).await;
            writes.extend(keys.into_iter().filter(|key| key != "now#account").map(|key| {
                let key = store::key(held_up.account_id(), key);
                Write::Delete { table: &COUNTERS, key, condition: Condition::Any }
            }));
        }
        world.ports.tables.transact(held_up.into(), writes).await.expect("rows go");
        look(&mut relay, &world).await;
        assert_counted(&world, held_up, "later").await;
    }
}

async fn counters_of(world: &World, scope: &AccountScope) -> Vec<String> {
    let page = world.ports.tables.query(scope.into(), query(&COUNTERS, None, scope)).await.expect("rows");
    page.items.iter().filter_map(|item| item.body["counterKey"].as_str()).map(str::to_owned).collect()
}
