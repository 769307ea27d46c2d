//! An hour of three workers over one source, with faults by chance: stores that fail before or after an effect, latency, workers
//! that die or stand still past their lease, clocks that differ, messages that come late or twice, a product that asks for
//! pauses. After it every due time has its run, every run its one end, and the snapshots are one chain without a fork.
//!
//! `LISTBACKUP_SIMULATED_HOURS` sets how many there are, `LISTBACKUP_TEST_SEED` where their seeds begin.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use actix::Addr;
use jiff::{SignedDuration, Timestamp};
use listbackup_connectors::ErrorKind as ConnectorError;
use listbackup_engine::{
    actors::{Engine, Roles},
    model::{ActivityEvent, ActivityKind, Job, Run, RunStatus, SnapshotId, job::Schedule, run::Trigger},
    ports::{Clock, Condition, Ports},
    run::due,
    snapshot::VerifyLevel,
    store::{self, Store},
    tables::{ACTIVITY, RUNS},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::time::{Instant, sleep};

use crate::{activity, crash_points::rows, faults::Faults, meddled::Fate, scripted::Product, world::World};

const STREAMS: [&str; 2] = ["contacts", "deals"];
const HOURS: u64 = 6;
const HOUR: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_secs(600);
const WORKERS: usize = 3;
/// Longer than anything takes once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

/// A clock that is wrong by so much.
pub struct Skewed(pub Arc<dyn Clock>, pub SignedDuration);

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        self.0.now() + self.1
    }
}

struct Worker {
    faults: Faults,
    /// Holding the address is what keeps it alive.
    _engine: Addr<Engine>,
}

struct Simulation {
    world: World,
    random: StdRng,
    is_unfenced: bool,
    workers: Vec<Worker>,
}

impl Simulation {
    async fn new(seed: u64, is_unfenced: bool) -> Self {
        let product = Product::new(10);
        for stream in STREAMS {
            product.put(stream, 1..=35, "first");
        }
        let mut world = World::simulated(seed, product).await;
        world.settings.tick = Duration::from_secs(5);
        world.settings.progress_every = Duration::from_secs(1);
        world.settings.retry_base = Duration::from_secs(1);
        world.settings.retry_cap = Duration::from_secs(10);
        world.settings.stream_attempts_max = 50;
        world.settings.run_attempts_max = 50;
        let mut job = Job { schedule: Schedule::Interval { every_seconds: PERIOD.as_secs() }, ..world.job.clone() };
        due::reschedule(&mut job, world.job.created_at).expect("a schedule");
        let put = store::put(&job, Condition::Any).expect("a row");
        Store::new(world.ports.tables.clone()).transact(&world.scope, vec![put]).await.expect("the job is written");
        Self { world, random: StdRng::seed_from_u64(seed), is_unfenced, workers: Vec::new() }
    }

    fn start_worker(&mut self) {
        let faults = Faults::new(self.random.random(), self.is_unfenced);
        let skew = SignedDuration::from_secs(self.random.random_range(-8..=8));
        let clock: Arc<dyn Clock> = Arc::new(Skewed(self.world.ports.clock.clone(), skew));
        let ports = Ports { clock, ..self.world.ports.clone() };
        let ports = Fate::Faulty(faults.clone()).ports(&ports);
        let engine = Engine::start(self.world.worker_with(ports), Roles::Worker);
        self.workers.push(Worker { faults, _engine: engine });
    }

    /// Lets something happen.
    async fn happen(&mut self) {
        let who = self.random.random_range(0..self.workers.len());
        let seconds = Duration::from_secs(self.random.random_range(5..120));
        let stream = STREAMS[self.random.random_range(0..STREAMS.len())];
        let id = self.random.random_range(1..60);
        let product = &self.world.product;
        match self.random.random_range(0..8) {
            0 => {
                self.workers.remove(who).faults.kill();
                self.start_worker();
            }
            1 | 2 => self.workers[who].faults.stall(seconds),
            3 => product.put(stream, id..id + 5, &format!("changed {}", self.random.random::<u32>())),
            4 => product.remove(stream, id..id + 2),
            5 => product.fail(stream, Some(ConnectorError::RateLimited)),
            6 => STREAMS.iter().for_each(|stream| product.fail(stream, None)),
            _ => drop(self.world.order().await),
        }
    }

    async fn hour(&mut self) {
        for _ in 0..WORKERS {
            self.start_worker();
        }
        let end = Instant::now() + HOUR;
        while Instant::now() < end {
            sleep(Duration::from_secs(self.random.random_range(1..60))).await;
            self.happen().await;
        }
        STREAMS.iter().for_each(|stream| self.world.product.fail(stream, None));
        self.workers.drain(..).for_each(|worker| worker.faults.kill());
        self.start_worker();
        self.workers[0].faults.calm();
    }

    async fn runs(&self) -> Vec<Run> {
        rows(&self.world, &RUNS, None, self.world.job.job_id.to_string()).await
    }

    /// Waits until every run has ended; false when that takes too long.
    async fn is_over(&self) -> bool {
        let over = async {
            while self.runs().await.iter().any(|run| !run.status.has_ended()) {
                sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, over).await.is_ok()
    }

    /// What is not as promised.
    async fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        let hour_ended = self.world.clock.now();
        if !self.is_over().await {
            return vec![format!("runs do not end: {:?}", self.runs().await)];
        }
        self.world.order().await;
        if !self.is_over().await {
            return vec!["the last run does not end".to_owned()];
        }
        let runs = self.runs().await;
        found.extend(self.wrong_times(&runs, hour_ended));
        found.extend(self.wrong_ends(&runs).await);
        found.extend(self.wrong_snapshots(&runs).await);
        if !self.is_unfenced {
            found.extend(activity::violations(&self.world).await);
        }
        found
    }

    /// Every due time has one run.
    fn wrong_times(&self, runs: &[Run], hour_ended: Timestamp) -> Vec<String> {
        let mut of_time: BTreeMap<Timestamp, usize> = BTreeMap::new();
        for run in runs {
            if let Trigger::Schedule { due_at } = run.trigger {
                *of_time.entry(due_at).or_default() += 1;
            }
        }
        let periods = (1..).map(|n| self.world.job.created_at + PERIOD * n);
        let due = periods.take_while(|due| *due + SignedDuration::from_secs(60) < hour_ended);
        due.filter_map(|due| match of_time.get(&due) {
            Some(1) => None,
            other => Some(format!("due time {due} has {other:?} runs")),
        })
        .collect()
    }

    /// Every run has one end, which is told as it is stored.
    async fn wrong_ends(&self, runs: &[Run]) -> Vec<String> {
        let account = self.world.scope.account_id().to_string();
        let events: Vec<ActivityEvent> = rows(&self.world, &ACTIVITY, Some("by-account"), account).await;
        let status = |kind: ActivityKind| match kind {
            ActivityKind::RunSucceeded => Some(RunStatus::Succeeded),
            ActivityKind::RunPartial => Some(RunStatus::Partial),
            ActivityKind::RunFailed => Some(RunStatus::Failed),
            ActivityKind::RunCancelled => Some(RunStatus::Cancelled),
            ActivityKind::RunSkipped => Some(RunStatus::Skipped),
            _ => None,
        };
        let wrong = |run: &Run| {
            let of_run = events.iter().filter(|event| event.run_id == Some(run.run_id));
            let told: Vec<RunStatus> = of_run.filter_map(|event| status(event.kind)).collect();
            (told != [run.status]).then(|| format!("run {} is {:?} and told as {told:?}", run.run_id, run.status))
        };
        let failed = |run: &&Run| run.status != RunStatus::Succeeded;
        let lost =
            runs.iter().filter(failed).map(|run| format!("run {} {:?}: {:?}", run.run_id, run.status, run.error));
        runs.iter().filter_map(wrong).chain(lost).collect()
    }

    /// The snapshots are one chain, one for each run, with growing epochs; the newest is whole and equals the product.
    async fn wrong_snapshots(&self, runs: &[Run]) -> Vec<String> {
        let mut found = Vec::new();
        let worker = self.world.worker();
        let stored =
            worker.snapshots.source(&self.world.scope, self.world.source_id).await.expect("the source's store");
        let all: BTreeSet<SnapshotId> = stored.list(None, 1000).await.expect("a listing").into_iter().collect();
        let of_runs: BTreeSet<SnapshotId> = runs.iter().filter_map(|run| run.snapshot_id).collect();
        let mut chain = BTreeSet::new();
        let mut next = self.world.source().await.head.map(|head| head.snapshot_id);
        let mut newer_epoch = u64::MAX;
        while let Some(snapshot_id) = next {
            let manifest = match stored.load(snapshot_id).await {
                Ok(loaded) => loaded.manifest,
                Err(error) => return vec![format!("snapshot {snapshot_id} of the chain: {error}")],
            };
            if manifest.epoch >= newer_epoch {
                found.push(format!("{snapshot_id} has epoch {}, the one after it {newer_epoch}", manifest.epoch));
            }
            newer_epoch = manifest.epoch;
            let report = stored.reader(&manifest).verify(VerifyLevel::Data).await;
            if !report.as_ref().is_ok_and(|report| report.is_sound()) {
                found.push(format!("{snapshot_id} is not sound: {:?}", report.err()));
            }
            chain.insert(snapshot_id);
            next = manifest.parent.map(|parent| parent.snapshot_id);
        }
        if chain != all || chain != of_runs {
            found.push(format!("in the chain {chain:?}, stored {all:?}, of runs {of_runs:?}"));
        }
        for stream in STREAMS {
            if self.world.head_records(stream).await != self.world.product.truth(stream) {
                found.push(format!("{stream} differs from the product"));
            }
        }
        found
    }
}

/// Actors on a clock that jumps to the next thing to do whenever nobody has anything to do now.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime.expect("a runtime")).block_on(test)
}

async fn hour(seed: u64, is_unfenced: bool) -> Vec<String> {
    let mut simulation = Simulation::new(seed, is_unfenced).await;
    simulation.hour().await;
    simulation.violations().await
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn whatever_happens_in_an_hour_every_due_backup_is_made_once_and_whole() {
    let first = number("LISTBACKUP_TEST_SEED").unwrap_or(1);
    let hours = number("LISTBACKUP_SIMULATED_HOURS").unwrap_or(HOURS);
    println!("{hours} hours from seed {first} (LISTBACKUP_TEST_SEED sets it)");
    for seed in first..first + hours {
        let violations = simulate(hour(seed, false));
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
    }
}

#[test]
fn without_the_fence_the_simulation_finds_what_goes_wrong() {
    let found = (0..50).map(|seed| simulate(hour(seed, true))).find(|violations| !violations.is_empty());
    println!("{found:#?}");
    assert!(found.is_some(), "no violation in fifty hours without a fence: the simulation sees nothing");
}
