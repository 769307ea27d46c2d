//! The log of what happened: in order, and told to everybody who follows.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use jiff::SignedDuration;
use listbackup_engine::{
    Result,
    model::{
        AccountId, ActivityEvent, ActivityKind, ChainHead, RunStatus, SourceId,
        run::Trigger,
        scope::{AccountScope, Scope},
    },
    ports::{Clock, Condition, Item, ItemPage, Key, Ports, Query, Tables, Write},
    run::{
        chain_check::{self, ChainReport, Position, Witness},
        claim::{self, Claimed, Ending},
        event::{self, Subject},
        order::{self, RunOrder},
        relay::{self, Relay},
    },
    store::{self, Store},
    tables::{ACTIVITY, TableSchema},
};
use serde_json::{Map, Value, json};
use tokio::task::unconstrained;

use crate::{
    crash_points::rows,
    followers,
    meddled::Fate,
    mortal::{Life, Side, at_each_effect},
    scripted::Product,
    simulation::hour::Skewed,
    world::World,
};

const MANY: u64 = 1_000_000;

pub async fn world(seed: u64) -> World {
    World::new(seed, Product::new(10)).await
}

/// Keeps `count` events of an account, as their writers do.
pub async fn keep(ports: &Ports, scope: &AccountScope, count: usize) {
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(50) {
        let told = |number: &usize| {
            let details = Map::from_iter([("number".to_owned(), json!(number)), ("text".to_owned(), json!("é"))]);
            let subject = Subject::source(SourceId::new(&*ports.clock, &*ports.random));
            event::event(ports, scope.account_id(), ActivityKind::SourceUpdated, "somebody", subject, details)
        };
        let events: Vec<ActivityEvent> = some.iter().map(told).collect();
        let writes = events.iter().map(|event| event::keep(event).expect("a row")).collect();
        ports.tables.transact(scope.into(), writes).await.expect("events are kept");
        event::publish(ports, scope, &events);
    }
}

/// Linked events in the order of the chain, as they are stored.
pub async fn linked(ports: &Ports, scope: &AccountScope) -> Vec<Map<String, Value>> {
    let store = Store::new(ports.tables.clone());
    let items = store
        .items(scope.into(), listbackup_engine::run::linked::linked(scope, 1, None))
        .map(|item| item.expect("a row").body);
    items.collect().await
}

pub async fn head(ports: &Ports, scope: &AccountScope) -> ChainHead {
    let store = Store::new(ports.tables.clone());
    relay::head(&store, scope).await.expect("a store").expect("a head")
}

pub async fn checked(ports: &Ports, scope: &AccountScope, witness: Option<Witness>) -> ChainReport {
    let store = Store::new(ports.tables.clone());
    chain_check::check(&store, scope, Position::default(), MANY, witness).await.expect("a store")
}

/// Everything is linked, nothing is owed, and the chain is whole.
pub async fn assert_settled(ports: &Ports, scope: &AccountScope, count: u64, place: &str) {
    let head = head(ports, scope).await;
    assert_eq!((head.head_sequence, head.published_sequence), (count, count), "{place}");
    assert_eq!(head.outbox_shard, None, "{place}");
    let report = checked(ports, scope, None).await;
    assert!(report.is_sound(), "{:?}: {place}", report.breaks);
    assert_eq!((report.checked, report.pending), (count, 0), "{place}");
}

/// What came over the bus so far, by place.
fn heard(follower: &mut futures::stream::BoxStream<'static, ActivityEvent>) -> Vec<u64> {
    let mut places = Vec::new();
    // A task that hears much is made to pause after a while: not here.
    while let Some(Some(event)) = unconstrained(follower.next()).now_or_never() {
        places.extend(event.sequence);
    }
    places
}

/// What a follower sees that drops what it had already; each must be the next one.
fn each_once_in_order(places: &[u64]) -> u64 {
    let mut last = 0;
    for place in places {
        assert!(*place <= last + 1, "{place} came after {last}: {places:?}");
        last = last.max(*place);
    }
    last
}

/// What is wrong with the account's chain, and with the order in which it tells its runs.
pub async fn violations(world: &World, scope: &AccountScope) -> Vec<String> {
    if let Err(error) = Relay::default().look(&world.ports, &world.system).await {
        return vec![format!("the events cannot be relayed: {error}")];
    }
    let report = checked(&world.ports, scope, None).await;
    let mut found: Vec<String> = report.breaks.iter().map(|found| format!("the chain of events: {found:?}")).collect();
    let mut told: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for row in linked(&world.ports, scope).await {
        let event: ActivityEvent = serde_json::from_value(Value::Object(row)).expect("an event");
        if let Some(run_id) = event.run_id {
            told.entry(run_id).or_default().push(event.kind.code());
        }
    }
    let ends = ["run.succeeded", "run.partial", "run.failed", "run.cancelled", "run.skipped"];
    found.extend(followers::violations(&world.ports, scope).await);
    found.extend(followers::counts_runs(&world.ports, scope).await);
    for (run_id, kinds) in told {
        let end = kinds.iter().position(|kind| ends.contains(kind));
        let last_start = kinds.iter().rposition(|kind| *kind == "run.started");
        let is_begun_well = kinds[0] == "run.queued" || kinds == ["run.skipped"];
        if !is_begun_well || end < last_start {
            found.push(format!("run {run_id} is told as {kinds:?}"));
        }
    }
    found
}

#[tokio::test]
async fn events_of_a_run_are_told_in_the_order_in_which_they_happened_whatever_the_clocks_of_their_writers_say() {
    let minutes = [-10, 0, 10];
    for (number, skews) in minutes.iter().flat_map(|a| minutes.iter().map(move |b| (*a, *b))).enumerate() {
        let world = world(number as u64).await;
        let worker = |minutes: i64| {
            let clock: Arc<dyn Clock> = Arc::new(Skewed(world.ports.clock.clone(), SignedDuration::from_mins(minutes)));
            world.worker_with(Ports { clock, ..world.ports.clone() })
        };
        // Whoever orders has the right time, one worker begins, another one ends.
        let (begins, ends) = (worker(skews.0), worker(skews.1));
        let mut expected = BTreeMap::new();
        for _ in 0..3 {
            let run = world.order().await;
            let Ok(Claimed::Ours(claim)) = claim::claim(&begins, &RunOrder::of(&run)).await else {
                panic!("the source is free")
            };
            let ending = Ending { status: RunStatus::Failed, error: None, progress: None };
            claim::end_without_snapshot(&ends, &claim, ending).await.expect("the run ends");
            expected.insert(run.run_id, vec!["run.queued", "run.started", "run.failed"]);
            let trigger = Trigger::Manual { by: "test".to_owned() };
            let (run, _) =
                order::write_order(&ends.ports, &world.scope, &world.job, trigger, None).await.expect("an order");
            order::cancel_run(&begins.ports, &world.scope, run.job_id, run.run_id, "test").await.expect("cancelled");
            expected.insert(run.run_id, vec!["run.queued", "run.cancelled"]);
        }
        Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
        let mut told: BTreeMap<_, Vec<&str>> = BTreeMap::new();
        for row in linked(&world.ports, &world.scope).await {
            let event: ActivityEvent = serde_json::from_value(Value::Object(row)).expect("an event");
            told.entry(event.run_id.expect("a run")).or_default().push(event.kind.code());
        }
        assert_eq!(told, expected, "clocks wrong by {skews:?} minutes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_relays_make_one_chain_and_the_bus_tells_it_in_order() {
    let world = world(1).await;
    let count = 4 * 60 * 3;
    let mut follower = world.ports.events.follow(&world.scope);
    // Listens all the time: three relays repeat so much of it that who listens later has lost the beginning.
    let listener = tokio::spawn(async move {
        let mut places = Vec::new();
        while places.last() != Some(&count) {
            places.extend(follower.next().await.expect("a bus").sequence);
        }
        places
    });
    let relays: Vec<_> = (0..3)
        .map(|_| {
            let (ports, system) = (world.ports.clone(), world.system);
            tokio::spawn(async move { Relay::default().run(&ports, &system).await })
        })
        .collect();
    let writers = (0..4).map(|_| {
        let (ports, scope) = (world.ports.clone(), world.scope);
        tokio::spawn(async move {
            for _ in 0..60 {
                keep(&ports, &scope, 3).await;
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer ends");
    }
    assert_eq!(each_once_in_order(&listener.await.expect("it hears all")), count);
    for relay in relays {
        relay.abort();
        let _aborted = relay.await;
    }
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
    assert_settled(&world.ports, &world.scope, count, "at the end").await;
}

#[tokio::test]
async fn a_relay_links_many_events_with_one_transaction() {
    let world = world(1).await;
    keep(&world.ports, &world.scope, 500).await;
    let life = Life::new(None);
    let ports = Fate::Mortal(life.clone()).ports(&world.ports);
    assert_eq!(Relay::default().look(&ports, &world.system).await.expect("stores that work"), 500);
    let effects = life.effects();
    let transactions = effects.iter().filter(|effect| effect.starts_with("put")).count();
    assert_eq!(transactions, 10, "six batches, the places of three followers, and the head at the end: {effects:?}");
}

/// Two relays, the first of which dies at that effect; true when it survived because it has no such effect.
async fn relay_and_die(ends_at: (u64, Side)) -> bool {
    let world = world(7).await;
    let other = world.system.account(AccountId::derived(1, [7; 10]));
    let scopes = [world.scope, other];
    let mut followers: Vec<_> = scopes.iter().map(|scope| world.ports.events.follow(scope)).collect();
    // An earlier relay left the chain in the middle.
    keep(&world.ports, &world.scope, 30).await;
    Relay::default().link(&world.ports, &world.system).await.expect("stores that work");
    for scope in &scopes {
        keep(&world.ports, scope, 230).await;
    }
    let life = Life::new(Some(ends_at));
    let ports = Fate::Mortal(life.clone()).ports(&world.ports);
    let mut first = Relay::default();
    let survived = tokio::select! {
        biased;
        done = first.look(&ports, &world.system) => { done.expect("stores that work"); true }
        _ = life.end() => false,
    };
    let mut second = Relay::default();
    // It may have been at work before the first one died, and knows an older head.
    second.look(&world.ports, &world.system).await.expect("stores that work");
    keep(&world.ports, &world.scope, 5).await;
    second.look(&world.ports, &world.system).await.expect("stores that work");
    let place = format!("dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects());
    for ((scope, follower), count) in scopes.iter().zip(&mut followers).zip([265, 230]) {
        assert_settled(&world.ports, scope, count, &place).await;
        assert_eq!(each_once_in_order(&heard(follower)), count, "all came over the bus: {place}");
    }
    survived
}

#[tokio::test]
async fn wherever_a_relay_dies_the_next_one_leaves_no_event_out_and_none_out_of_order() {
    let points = at_each_effect(relay_and_die).await;
    println!("relay: {points} crash points");
    assert!(points >= 24, "a relay has more effects than that: {points}");
}

#[tokio::test]
async fn a_relay_that_knows_an_old_head_reads_it_again() {
    let world = world(1).await;
    let (mut one, mut two) = (Relay::default(), Relay::default());
    for round in 1..=4 {
        for relay in [&mut one, &mut two] {
            keep(&world.ports, &world.scope, 2).await;
            assert_eq!(relay.link(&world.ports, &world.system).await.expect("stores that work"), 2, "round {round}");
        }
    }
    two.look(&world.ports, &world.system).await.expect("stores that work");
    assert_settled(&world.ports, &world.scope, 16, "after four rounds").await;
}

#[tokio::test]
async fn events_of_a_version_without_chain_stay_as_they_are_and_the_chain_begins_after_them() {
    let world = world(1).await;
    let old =
        |kind| event::event(&world.ports, world.scope.account_id(), kind, "system", Subject::default(), Map::new());
    let events = [old(ActivityKind::UserSignedIn), old(ActivityKind::KeyCreated)];
    let writes = events.iter().map(|event| store::put(event, Condition::Absent).expect("a row")).collect();
    world.ports.tables.transact((&world.scope).into(), writes).await.expect("rows are written");
    let younger = events.iter().map(|event| event.event_id).max();
    assert!(checked(&world.ports, &world.scope, None).await.is_sound(), "there is no chain to break");
    world.clock.advance(Duration::from_secs(1));
    // Of the last moments of that version: kept, and not handed on.
    keep(&world.ports, &world.scope, 3).await;
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
    assert_eq!(head(&world.ports, &world.scope).await.begins_after, younger);
    assert_settled(&world.ports, &world.scope, 3, "with older events").await;
}

/// Tables that fail every transaction after having done it, once.
struct Unsure {
    to: Arc<dyn Tables>,
    is_next: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl Tables for Unsure {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        self.to.get(scope, table, key).await
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        self.to.transact(scope, writes).await?;
        if self.is_next.fetch_not(std::sync::atomic::Ordering::SeqCst) {
            return Err(listbackup_engine::Error::new(listbackup_engine::ErrorKind::Retry, "nobody knows"));
        }
        Ok(())
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        self.to.query(scope, query).await
    }

    fn index_delay(&self) -> Duration {
        self.to.index_delay()
    }
}

#[tokio::test]
async fn a_relay_goes_on_after_writes_of_which_it_does_not_know_whether_they_were_done() {
    let world = world(1).await;
    let mut follower = world.ports.events.follow(&world.scope);
    keep(&world.ports, &world.scope, 300).await;
    let tables = Arc::new(Unsure { to: world.ports.tables.clone(), is_next: true.into() });
    let ports = Ports { tables, ..world.ports.clone() };
    let mut relay = Relay::default();
    let mut looks = 0;
    while relay.look(&ports, &world.system).await.is_err() {
        looks += 1;
        assert!(looks < 20, "it never comes to an end");
    }
    assert!(looks > 1, "it had to look again");
    assert_settled(&world.ports, &world.scope, 300, "at the end").await;
    assert_eq!(each_once_in_order(&heard(&mut follower)), 300);
    let told: Vec<ActivityEvent> = {
        let account = world.scope.account_id().to_string();
        rows(&world, &ACTIVITY, Some("by-account"), account).await
    };
    assert_eq!(told.len(), 300, "each is there once");
}
