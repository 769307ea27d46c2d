//! Every external effect of a run, from the due time to the indexed snapshot, with the worker dying just before it and just
//! after it: the next worker finds the backup to do, and makes it once, whole and verified.

mod signed_in;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use listbackup_engine::{
    actors::{Engine, Roles},
    model::{ActivityEvent, ActivityKind, FileEntry, Job, Run, RunStatus, activity::only_events, job::Schedule},
    ports::{Clock, Condition, Query, QueueName, SortRange},
    run::due,
    store::{self, Store},
    tables::{ACTIVITY, FILES, RUNS, TableSchema},
};

use crate::{
    attachments::{bytes, held, item},
    desk::Visitor,
    meddled::Fate,
    mortal::{Life, Side},
    rules::STREAM,
    scripted::{File, Product},
    simulation::{hour::Tenant, promises::Scene, simulate},
    supervision::drained,
    watch::Watch,
    world::World,
};

const OTHER_STREAM: &str = "deals";
const PERIOD: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often it is looked whether all is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Enough for what a repeated order leaves behind.
const AFTERMATH: Duration = Duration::from_secs(120);
/// Longer than anything takes that another worker has to wait for, by far.
const QUIET_DEADLINE: Duration = Duration::from_secs(3600);
/// What a dead worker may have read beyond its last checkpoint of a stream: pages that wait, and one on each end.
const PAGES_AGAIN_MAX: usize = 6;

/// Numbers the workers for the product.
static VISITORS: AtomicUsize = AtomicUsize::new(1);

fn product() -> Product {
    let product = Product::new(10);
    product.remember();
    product.put(STREAM, 1..=35, "first");
    product.put(OTHER_STREAM, 1..=15, "first");
    product.attach(3, "a", File::new(1, bytes(1, 100)));
    product.attach(12, "b", File::new(1, bytes(2, 20_000)));
    product
}

/// A world whose job is due. Progress is told at checkpoints only: no effect depends on how fast we are.
async fn world(seed: u64) -> World {
    with_due_job(World::simulated(seed, product()).await).await
}

async fn with_due_job(mut world: World) -> World {
    world.settings.progress_every = PERIOD;
    world.settings.tick = Duration::from_secs(5);
    let mut job = Job { schedule: Schedule::Interval { every_seconds: PERIOD.as_secs() }, ..world.job.clone() };
    due::reschedule(&mut job, world.job.created_at).expect("a schedule");
    let put = store::put(&job, Condition::Any).expect("a row");
    Store::new(world.ports.tables.clone()).transact(&world.scope, vec![put]).await.expect("the job is written");
    world.clock.advance(PERIOD);
    world
}

/// Rows of the account, typed.
pub async fn rows<R: listbackup_engine::tables::Row>(
    world: &World,
    table: &'static TableSchema,
    index: Option<&'static str>,
    partition: String,
) -> Vec<R> {
    // The head of the chain lies beside the events.
    let sort = if index == Some("by-account") && table == &ACTIVITY { only_events() } else { SortRange::All };
    let query = Query { table, index, partition, sort, descending: false, limit: 1000, after: None };
    Store::new(world.ports.tables.clone()).all(&world.scope, query).await.expect("rows")
}

async fn runs(world: &World) -> Vec<Run> {
    rows(world, &RUNS, None, world.job.job_id.to_string()).await
}

async fn events(world: &World) -> Vec<ActivityEvent> {
    rows(world, &ACTIVITY, Some("by-account"), world.scope.account_id().to_string()).await
}

/// So many runs have ended, their snapshots can be browsed, and everybody was told.
async fn is_quiet(world: &World, run_count: usize) -> bool {
    let runs = runs(world).await;
    if runs.len() < run_count || runs.iter().any(|run| !run.status.has_ended()) {
        return false;
    }
    let files: Vec<FileEntry> = rows(world, &FILES, Some("by-account"), world.scope.account_id().to_string()).await;
    let is_indexed = |run: &Run| match run.snapshot_id {
        Some(snapshot) => files.iter().any(|file| file.snapshot_id == snapshot),
        None => run.status == RunStatus::Failed,
    };
    runs.iter().all(is_indexed) && events(world).await.iter().all(|event| event.outbox_shard.is_none())
}

/// A worker, until it dies or until there is nothing left to do; true when it lives.
async fn live(world: &World, watch: &Watch, life: &Life, run_count: usize) -> bool {
    let (ports, id) = watch.ports(&world.ports);
    let fate = Fate::Mortal(life.clone());
    let visitor = Visitor { fate: fate.clone(), number: VISITORS.fetch_add(1, Ordering::Relaxed) };
    let worker = world.worker_of(fate.ports(&ports), world.product.visited_by(visitor));
    id.set(worker.worker_id).expect("it had no id yet");
    let engine = Engine::start(worker, Roles::All);
    let quiet = async {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while !is_quiet(world, run_count).await {
            looks.tick().await;
        }
    };
    tokio::select! {
        _ = life.end() => false,
        quiet = tokio::time::timeout(QUIET_DEADLINE, quiet) => {
            assert!(quiet.is_ok(), "not done within an hour: {:?}, {:?}", runs(world).await, life.effects());
            tokio::time::sleep(AFTERMATH).await;
            drained(&engine).await;
            true
        }
    }
}

/// One dies at that effect and another one comes; true when the first one survived because it has no such effect.
async fn crash_and_recover(before: &str, ends_at: (u64, Side), runs_before: usize) -> bool {
    let (world, watch) = (world(1).await, Watch::new());
    if runs_before > 0 {
        assert!(live(&world, &watch, &Life::new(None), 1).await);
        world.product.put(STREAM, [7, 20, 100], "second");
        world.product.remove(STREAM, [3, 30, 35]);
        world.product.put(OTHER_STREAM, 16..=18, "second");
        world.clock.advance(PERIOD);
    }
    world.product.forget_served();
    let life = Life::new(Some(ends_at));
    let run_count = runs_before + 1;
    if live(&world, &watch, &life, run_count).await {
        return true;
    }
    assert!(live(&world, &watch, &Life::new(None), run_count).await);
    let place = format!("{before}, dead {:?} effect {} of {:?}", ends_at.1, ends_at.0, life.effects());
    assert_sound(&world, &watch, &place).await;
    assert_once(&world, run_count, &place).await;
    assert_nothing_read_again(&world, &place);
    assert_whole(&world, run_count == 1, &place).await;
    assert_nothing_left(&world, &place).await;
    false
}

fn tenant(world: &World) -> Tenant {
    Tenant::of(world, &[STREAM, OTHER_STREAM], PERIOD)
}

/// No invariant is broken.
async fn assert_sound(world: &World, watch: &Watch, place: &str) {
    let tenants = [tenant(world)];
    let scene = Scene { world, watch, tenants: &tenants, ended_at: world.clock.now() };
    assert_eq!(scene.broken().await, [""; 0], "{place}");
}

/// Each due time had one run, which succeeded.
async fn assert_once(world: &World, run_count: usize, place: &str) {
    let runs = runs(world).await;
    assert_eq!(runs.len(), run_count, "one run for each due time: {place}");
    let worker = world.worker();
    let stored = worker.snapshots.source(&world.scope, world.source_id).await.expect("the source's store");
    let snapshots = stored.list(None, 100).await.expect("a listing");
    assert_eq!(snapshots.len(), run_count, "one snapshot for each run: {place}");
    let mut told: BTreeMap<_, usize> = BTreeMap::new();
    for event in events(world).await.iter().filter(|event| event.kind == ActivityKind::RunSucceeded) {
        *told.entry(event.run_id).or_default() += 1;
    }
    for run in &runs {
        assert_eq!(run.status, RunStatus::Succeeded, "{:?}: {place}", run.error);
        assert!(run.snapshot_id.is_some_and(|snapshot| snapshots.contains(&snapshot)), "{place}");
        assert_eq!(told.get(&Some(run.run_id)), Some(&1), "its end is told once: {place}");
    }
}

fn assert_nothing_read_again(world: &World, place: &str) {
    for stream in [STREAM, OTHER_STREAM] {
        let mut served = world.product.pages_served(stream);
        let asked = served.len();
        served.sort_unstable();
        served.dedup();
        assert!(asked - served.len() <= PAGES_AGAIN_MAX, "{stream} is read again from its checkpoint: {place}");
    }
}

/// The head is the newest run's snapshot, and holds what the product does.
async fn assert_whole(world: &World, has_every_file: bool, place: &str) {
    let newest = runs(world).await.into_iter().max_by_key(|run| run.created_at).and_then(|run| run.snapshot_id);
    assert_eq!(world.source().await.head.map(|head| head.snapshot_id), newest, "the head: {place}");
    for stream in [STREAM, OTHER_STREAM] {
        assert_eq!(world.head_records(stream).await, world.product.truth(stream), "{stream}: {place}");
    }
    let mut attachments = vec![item("12", "b", &bytes(2, 20_000))];
    if has_every_file {
        attachments.push(item("3", "a", &bytes(1, 100)));
    }
    assert_eq!(held(world, &world.worker()).await, attachments, "attachments: {place}");
}

/// Neither a lease nor an order.
async fn assert_nothing_left(world: &World, place: &str) {
    assert!(world.source().await.lease.owner.is_none(), "the lease is free: {place}");
    world.clock.advance(PERIOD);
    let left = world.ports.queue.receive(QueueName::Jobs, 10, Duration::ZERO, Duration::ZERO).await.expect("a queue");
    assert!(left.is_empty(), "no order is left over: {place}");
    let dead = world.ports.queue.dead_letters(QueueName::Jobs, None, 10).await.expect("a queue");
    assert!(dead.is_empty(), "no order was given up: {place}");
}

/// Goes through all effects, on both sides of each, until there is none of that number; how many there were.
fn at_every_effect<C: Future<Output = bool>>(what: &str, crash: impl Fn((u64, Side)) -> C) -> u64 {
    let mut points = 0;
    for side in [Side::Before, Side::After] {
        let effects = (1..).take_while(|number| !simulate(crash((*number, side))));
        points += effects.count() as u64;
    }
    println!("{what}: {points} crash points");
    points
}

/// Goes through the run after `runs_before` others.
fn at_every_effect_of_a_run(what: &str, runs_before: usize) {
    let points = at_every_effect(what, |ends_at| crash_and_recover(what, ends_at, runs_before));
    assert!(points > 40, "a run has more effects than that: {points}");
}

#[test]
fn a_first_backup_is_made_once_and_whole_wherever_its_worker_dies() {
    at_every_effect_of_a_run("first backup", 0);
}

#[test]
fn a_later_backup_is_made_once_and_whole_wherever_its_worker_dies() {
    at_every_effect_of_a_run("later backup", 1);
}
