//! How fresh and how complete sources are, and that everybody is told of it once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    model::{
        ActivityEvent, ActivityKind, Job, JobState, SnapshotId, Source, SourceState,
        job::Schedule,
        source::Head,
        watch::{STALE, StreamHealth, WATCHED},
    },
    ports::{Condition, Ports},
    run::{
        RunContext, due,
        freshness::{self, AgeFrom, Gaps, Lack, MaxAge, State},
        relay::Relay,
        schedule, watch,
    },
    store::{self, Store, key},
    tables::ACTIVITY,
};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::{
    crash_points::rows,
    meddled::Fate,
    mortal::{Life, Side},
    rules::{STREAM, finished},
    scripted::Product,
    simulation::hour::Skewed,
    world::World,
};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).expect("a time of our days")
}

async fn world(seed: u64) -> World {
    let product = Product::new(10);
    product.put(STREAM, 1..=15, "first");
    World::new(seed, product).await
}

/// Every gap between due times, the slow way.
fn longest_gap(schedule: &Schedule, days: u64) -> u64 {
    let end = at(0) + Duration::from_secs(days * DAY);
    let mut due: Vec<Timestamp> = Vec::new();
    let mut next = schedule::next_due(schedule, at(0), at(0)).expect("a schedule");
    while let Some(instant) = next.filter(|instant| *instant <= end) {
        due.push(instant);
        next = schedule::next_due(schedule, at(0), instant).expect("a schedule");
    }
    let gap = |pair: &[Timestamp]| u64::try_from(pair[1].duration_since(pair[0]).as_secs()).expect("forward");
    due.windows(2).map(gap).max().unwrap_or_default()
}

fn cron(expression: &str, time_zone: &str) -> Schedule {
    Schedule::Cron { expression: expression.to_owned(), time_zone: time_zone.to_owned() }
}

fn job(world: &World, schedule: Schedule) -> Job {
    Job { schedule, ..world.job.clone() }
}

#[tokio::test]
async fn how_old_a_source_may_be_follows_from_its_schedules_unless_somebody_says_so() {
    let world = world(1).await;
    let mut source = world.source().await;
    let age = |source: &Source, schedules: &[Schedule]| {
        let jobs: Vec<Job> = schedules.iter().map(|schedule| job(&world, schedule.clone())).collect();
        freshness::max_age(source, &jobs, &mut Gaps::default(), at(0)).map(|age| (age.seconds, age.from))
    };
    let every = |every_seconds| Schedule::Interval { every_seconds };
    assert_eq!(age(&source, &[]), None, "without a job");
    assert_eq!(age(&source, &[Schedule::Manual]), None, "without a schedule");
    assert_eq!(age(&source, &[every(60)]), Some((HOUR, AgeFrom::Schedule)), "an hour at least");
    assert_eq!(age(&source, &[every(6 * HOUR)]), Some((12 * HOUR, AgeFrom::Schedule)));
    assert_eq!(age(&source, &[every(6 * HOUR), cron("@daily", "UTC")]), Some((12 * HOUR, AgeFrom::Schedule)));
    for (expression, zone, days) in [
        ("@daily", "UTC", 400),
        // The night in autumn is 25 hours long.
        ("30 4 * * *", "Europe/Berlin", 400),
        ("0 9 * * 1-5", "UTC", 400),
        ("*/15 8-18 * * 1-5", "America/New_York", 90),
        ("0 0 1 * *", "UTC", 400),
    ] {
        let schedule = cron(expression, zone);
        let expected = longest_gap(&schedule, days) * 2;
        assert_eq!(age(&source, &[schedule]), Some((expected, AgeFrom::Schedule)), "{expression} in {zone}");
    }
    assert_eq!(longest_gap(&cron("30 4 * * *", "Europe/Berlin"), 400), 25 * HOUR, "the oracle sees the clock change");
    let mut paused = job(&world, every(60));
    paused.state = JobState::Paused;
    assert_eq!(freshness::max_age(&source, &[paused], &mut Gaps::default(), at(0)), None, "a paused job");
    source.watch.max_age_seconds = Some(90);
    let age = |source: &Source, jobs: &[Job]| freshness::max_age(source, jobs, &mut Gaps::default(), at(0));
    let set = age(&source, &[job(&world, every(60))]).expect("an age");
    assert_eq!((set.seconds, set.from), (90, AgeFrom::Source));
}

/// The rule in the plainest words: a source is stale when some chosen stream was not read to its end within its greatest age.
fn is_stale_by_oracle(source: &Source, max_age: i64, now: i64, expected_since: i64) -> bool {
    let names: Vec<String> =
        source.streams.clone().unwrap_or_else(|| source.watch.snapshot_streams.keys().cloned().collect());
    let second = |at: Timestamp| at.as_second() - 1_790_000_000;
    names.iter().any(|name| {
        let good = source.watch.snapshot_streams.get(name).and_then(|health| health.good_at);
        now - good.map_or(expected_since, second) >= max_age
    })
}

#[tokio::test]
async fn a_source_is_stale_exactly_when_one_of_its_chosen_streams_is_too_old() {
    let world = world(1).await;
    let seed = std::env::var("LISTBACKUP_TEST_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed} (LISTBACKUP_TEST_SEED sets it)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut seen = BTreeMap::new();
    let made = world.source().await;
    for _ in 0..20_000 {
        let mut source = made.clone();
        source.created_at = at(random.random_range(-200..0));
        source.updated_at = source.created_at + Duration::from_secs(random.random_range(0..200));
        source.head = random.random_bool(0.8).then(|| Head {
            snapshot_id: SnapshotId::derived(1, [0; 10]),
            manifest_digest: String::new(),
            committed_at: at(random.random_range(-100..100)),
            stored_bytes: None,
        });
        if source.head.is_some() {
            for name in ["a", "b", "c"] {
                let health = StreamHealth {
                    good_at: random.random_bool(0.8).then(|| at(random.random_range(-100..100))),
                    records: random.random_range(0..50),
                    has_failed: random.random_bool(0.3),
                    failed_items: if random.random_bool(0.3) { random.random_range(1..5) } else { 0 },
                    is_suspicious: random.random_bool(0.2),
                };
                source.watch.snapshot_streams.insert(name.to_owned(), health);
            }
        }
        let picks = [vec!["a"], vec!["c", "a"], vec!["a", "new"]];
        let pick = &picks[random.random_range(0..picks.len())];
        source.streams = (source.head.is_none() || random.random_bool(0.5))
            .then(|| pick.iter().map(|name| (*name).to_owned()).collect());
        let since = random.random_bool(0.5).then(|| random.random_range(-200..0));
        let (max_age, now) = (random.random_range(1..200), random.random_range(-50..250));
        let age = MaxAge { seconds: max_age as u64, from: AgeFrom::Schedule, since: since.map(at) };
        let begun = if source.head.is_some() { source.updated_at } else { source.created_at };
        let begun = begun.as_second() - 1_790_000_000;
        let expected_since = since.map_or(begun, |since| begun.max(since));
        let found = freshness::freshness(&source, Some(age), at(now));
        let is_stale = is_stale_by_oracle(&source, max_age, now, expected_since);
        assert_eq!(found.state == State::Stale, is_stale, "{source:#?} {age:?} at {now}: {found:?}");
        assert_eq!(found.stale_streams.is_empty(), !is_stale, "{found:?}");
        assert_eq!(found.stale_at.is_some_and(|stale_at| stale_at <= at(now)), is_stale);
        // It becomes stale at that very instant and not a moment before.
        let stale_at = found.stale_at.expect("something is chosen");
        let state = |source: &Source, now| freshness::freshness(source, Some(age), now).state;
        assert_eq!(state(&source, stale_at), State::Stale);
        assert_eq!(state(&source, stale_at - SignedDuration::from_millis(1)), State::Fresh);
        source.state = SourceState::Paused;
        assert_eq!(state(&source, stale_at), State::Paused);
        let complete = freshness::completeness(&source);
        assert_eq!(complete.percent() == 100, complete.reasons.is_empty(), "{complete:?}");
        assert!(complete.good_streams <= complete.streams && complete.good_items <= complete.items);
        *seen.entry(is_stale).or_insert(0) += 1;
    }
    println!("{seen:?}");
    assert!(seen.values().all(|count| *count > 1_000), "both come up: {seen:?}");
}

async fn watch_events(world: &World) -> Vec<ActivityEvent> {
    Relay::default().look(&world.ports, &world.system).await.expect("stores that work");
    let events: Vec<ActivityEvent> = rows(world, &ACTIVITY, Some("chain"), world.scope.account_id().to_string()).await;
    let is_ours = |event: &ActivityEvent| matches!(event.kind, ActivityKind::SourceStale | ActivityKind::SourceFresh);
    events.into_iter().filter(is_ours).collect()
}

async fn kinds(world: &World) -> Vec<&'static str> {
    watch_events(world).await.iter().map(|event| event.kind.code()).collect()
}

/// Orders a run and carries it out.
async fn execute(world: &World, worker: &Arc<RunContext>) {
    let run = world.order().await;
    finished(worker, &run).await;
}

async fn look(worker: &RunContext) {
    watch::look(worker, &mut Gaps::default()).await.expect("stores that work");
}

/// Has the source watched, with a daily job.
async fn watched(world: &World) {
    let mut job = job(world, Schedule::Interval { every_seconds: DAY });
    due::reschedule(&mut job, world.job.created_at).expect("a schedule");
    let mut source = world.source().await;
    source.watch.look_at(source.created_at);
    put(world, &source, &job).await;
}

async fn put(world: &World, source: &Source, job: &Job) {
    let writes =
        vec![store::put(source, Condition::Any).expect("a row"), store::put(job, Condition::Any).expect("a row")];
    Store::new(world.ports.tables.clone()).transact(&world.scope, writes).await.expect("rows are written");
}

#[tokio::test]
async fn a_source_without_a_good_snapshot_is_told_once_and_once_when_it_has_one_again() {
    let world = world(1).await;
    watched(&world).await;
    let worker = world.worker();
    execute(&world, &worker).await;
    let hours = |count| Duration::from_secs(count * HOUR);
    for _ in 0..48 {
        look(&worker).await;
        assert_eq!(kinds(&world).await, [""; 0], "two days are not too long");
        world.clock.advance(hours(1) - Duration::from_millis(1));
    }
    for _ in 0..10 {
        look(&worker).await;
        look(&world.worker()).await;
        world.clock.advance(hours(2));
    }
    assert_eq!(kinds(&world).await, ["source.stale"], "once, although many looked often");
    assert_eq!(world.source().await.watch.watch_shard.as_deref(), Some(STALE));
    assert_eq!(watch::count_stale(&worker).await.expect("a store").0, 1);
    // A run that fails the stream changes nothing.
    world.product.put("deals", 1..=3, "first");
    world.product.fail(STREAM, Some(ConnectorError::Invalid));
    execute(&world, &worker).await;
    look(&worker).await;
    assert_eq!(kinds(&world).await, ["source.stale"], "the other stream is fresh, this one is not");
    let health = freshness::completeness(&world.source().await);
    assert_eq!((health.good_streams, health.streams, health.percent()), (1, 2, 50));
    assert_eq!(health.reasons[0].what, Lack::StreamFailed);
    world.product.fail(STREAM, None);
    execute(&world, &worker).await;
    for _ in 0..5 {
        look(&worker).await;
    }
    assert_eq!(kinds(&world).await, ["source.stale", "source.fresh"], "told at once, and once");
    assert_eq!(world.source().await.watch.watch_shard.as_deref(), Some(WATCHED));
    assert_eq!(watch::count_stale(&worker).await.expect("a store").0, 0);
    assert_eq!(freshness::completeness(&world.source().await).percent(), 100);
    let told = watch_events(&world).await;
    assert_eq!(told[0].details["streams"][0]["stream"], STREAM);
    assert_eq!(told[0].details["maxAgeSeconds"], 2 * DAY);
    world.clock.advance(hours(60));
    look(&worker).await;
    assert_eq!(kinds(&world).await, ["source.stale", "source.fresh", "source.stale"], "and again the next time");
}

#[tokio::test]
async fn a_paused_source_is_not_told_and_one_that_goes_on_is_judged_by_its_age() {
    let world = world(1).await;
    watched(&world).await;
    let worker = world.worker();
    let change = async |state: SourceState| {
        let mut source = world.source().await;
        source.state = state;
        source.watch.look_at(world.ports.clock.now());
        let job = Store::new(world.ports.tables.clone())
            .get::<Job>(&world.scope, key(world.scope.account_id(), world.job.job_id))
            .await
            .expect("the job");
        put(&world, &source, &job.row).await;
    };
    change(SourceState::Paused).await;
    world.clock.advance(Duration::from_secs(10 * DAY));
    look(&worker).await;
    assert_eq!(kinds(&world).await, [""; 0], "somebody wanted it so");
    change(SourceState::Active).await;
    look(&worker).await;
    assert_eq!(kinds(&world).await, ["source.stale"], "it never had a snapshot");
    change(SourceState::Paused).await;
    look(&worker).await;
    assert_eq!(kinds(&world).await, ["source.stale"], "paused is not fresh");
    change(SourceState::NeedsAuthorisation).await;
    world.clock.advance(Duration::from_secs(DAY));
    look(&worker).await;
    assert_eq!(kinds(&world).await, ["source.stale"], "and still stale");
}

#[tokio::test]
async fn wherever_a_watch_dies_the_next_one_tells_once() {
    let mut points = 0;
    for side in [Side::Before, Side::After] {
        for number in 1.. {
            let world = world(2).await;
            watched(&world).await;
            world.clock.advance(Duration::from_secs(3 * DAY));
            let life = Life::new(Some((number, side)));
            let mortal = world.worker_with(Fate::Mortal(life.clone()).ports(&world.ports));
            let survived = tokio::select! {
                biased;
                () = look(&mortal) => true,
                _ = life.end() => false,
            };
            look(&world.worker()).await;
            assert_eq!(kinds(&world).await, ["source.stale"], "dead {side:?} effect {number}");
            if survived {
                break;
            }
            points += 1;
        }
    }
    assert_eq!(points, 2, "one effect: the row and the event together");
}

#[tokio::test]
async fn clocks_that_differ_do_not_swap_what_is_told() {
    let world = world(3).await;
    watched(&world).await;
    let worker = world.worker();
    world.clock.advance(Duration::from_secs(3 * DAY));
    let behind = Arc::new(Skewed(world.ports.clock.clone(), SignedDuration::from_mins(-10)));
    look(&worker).await;
    execute(&world, &worker).await;
    let late = world.worker_with(Ports { clock: behind, ..world.ports.clone() });
    world.clock.advance(Duration::from_secs(60));
    // Due by the right clock; the other worker looks when its own says so.
    let mut source = world.source().await;
    source.watch.look_at(late.ports.clock.now());
    let job = Store::new(world.ports.tables.clone())
        .get::<Job>(&world.scope, key(world.scope.account_id(), world.job.job_id))
        .await
        .expect("the job");
    put(&world, &source, &job.row).await;
    look(&late).await;
    assert_eq!(kinds(&world).await, ["source.stale", "source.fresh"]);
}

#[tokio::test]
async fn a_source_that_nobody_looked_at_for_an_hour_is_looked_at_and_no_other() {
    let world = world(4).await;
    watched(&world).await;
    let worker = world.worker();
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a store"), 1);
    world.clock.advance(Duration::from_secs(HOUR - 1));
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a store"), 0, "not yet");
    world.clock.advance(Duration::from_secs(11 * 60));
    assert_eq!(watch::look(&worker, &mut Gaps::default()).await.expect("a store"), 1, "an hour and a little later");
}
