//! A fleet: workers, one scheduler and one indexer, each a process with its own context, over shared stores in memory.

use std::{future::Future, sync::Arc, time::Duration};

use actix::Addr;
use jiff::Timestamp;
use listbackup_connectors::{
    Integration,
    http::{AddressGuard, HttpClientBuilder},
    registry::Registry,
};
use listbackup_engine::{
    actors::{Engine, Roles},
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{
        AccountId, Job, JobId, Run, RunStatus, Source, SourceId, Watch, WorkerId,
        job::Schedule,
        scope::{AccountScope, SystemScope},
    },
    offload,
    ports::{Clock, Condition, Ports, Query, Random, SortRange},
    run::{RunContext, RunSettings, Turns, connect, due, places::Places},
    snapshot::{SnapshotStore, StoreSettings},
    store::{self, Store},
    tables::RUNS,
};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{counted, meter::Meter, product};
use crate::memory;

/// Processes of a role start one after the other within so long, so that their looks do not fall together.
const STARTS: Duration = Duration::from_secs(60);

/// Actors on a clock that jumps to the next thing to do whenever nobody has anything to do now.
pub fn simulate<T>(test: impl Future<Output = T>) -> T {
    offload::stay_on_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    actix::System::with_tokio_rt(|| runtime.expect("a runtime")).block_on(test)
}

/// Goes with tokio's.
struct SimulatedClock(Timestamp, Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.0 + self.1.elapsed()
    }
}

struct SeededRandom(std::sync::Mutex<StdRng>);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no panic in here").fill_bytes(bytes);
    }
}

/// The sources of a fleet. Each has one job that is due once a period, one source after the other, all within `within` of it.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    pub accounts: usize,
    pub each: usize,
    pub period: Duration,
    pub within: Duration,
}

/// The fleet and its stores.
pub struct Fleet {
    /// What its processes ask.
    pub meter: Meter,
    /// The stores, not counted.
    ports: Ports,
    system: SystemScope,
    product: product::Product,
    jobs: Vec<JobId>,
    /// Holding an address is what keeps a process alive.
    processes: Vec<Addr<Engine>>,
    gauges: Vec<JoinHandle<()>>,
    dir: tempfile::TempDir,
}

impl Fleet {
    /// Empty stores.
    pub fn new(product: product::Product) -> Self {
        let dir = tempfile::tempdir().expect("a place for files");
        let start = "2026-11-22T12:00:00Z".parse().expect("an instant");
        let clock = Arc::new(SimulatedClock(start, Instant::now()));
        let random = Arc::new(SeededRandom(StdRng::seed_from_u64(1).into()));
        let stores = EmbeddedStores::open_with(dir.path().join("data"), OpenMode::Write, clock, random)
            .expect("a fresh data directory opens");
        let ports = memory::stores(&stores.ports());
        Self {
            meter: Meter::default(),
            ports,
            system: SystemScope::of_this_process(),
            product,
            jobs: Vec::new(),
            processes: Vec::new(),
            gauges: Vec::new(),
            dir,
        }
    }

    /// Makes sources; the first is due at once.
    pub async fn connect(&mut self, sources: Sources) {
        let account = || self.system.account(AccountId::new(&*self.ports.clock, &*self.ports.random));
        let accounts: Vec<_> = (0..sources.accounts).map(|_| account()).collect();
        let count = sources.accounts * sources.each;
        for place in 0..count {
            let scope = accounts[place % accounts.len()];
            let due_in = sources.within * u32::try_from(place).expect("few") / u32::try_from(count).expect("few");
            self.connect_one(&scope, sources.period, due_in).await;
        }
    }

    async fn connect_one(&mut self, scope: &AccountScope, period: Duration, due_in: Duration) {
        let (ports, now) = (&self.ports, self.ports.clock.now());
        let mut source = source_of(ports, scope);
        let given = json!({ "api_key": "of the product" });
        let sealed = connect::seal_settings(ports, scope, self.product.spec(), source.source_id, given).await;
        let (settings, credential) = sealed.expect("settings are sealed");
        let credential = credential.expect("there is a secret");
        (source.settings, source.credential_id) = (settings, Some(credential.key_id));
        let mut job = job_of(ports, &source, Schedule::Interval { every_seconds: period.as_secs() });
        // Its times are counted from when it was made.
        job.created_at = now + due_in + Duration::from_secs(1) - period;
        due::reschedule(&mut job, now).expect("a schedule");
        let writes = [
            store::put(&source, Condition::Absent),
            store::put(&job, Condition::Absent),
            store::put(&credential, Condition::Absent),
        ];
        let writes = writes.into_iter().map(|write| write.expect("a row")).collect();
        Store::new(ports.tables.clone()).transact(scope, writes).await.expect("rows are written");
        self.jobs.push(job.job_id);
    }

    /// Starts a scheduler, an indexer and so many workers, and forgets what they asked until all of them were there.
    pub async fn start(&mut self, workers: usize) {
        self.process("scheduler", Roles::Scheduler);
        self.process("indexer", Roles::Indexer);
        for _ in 0..workers {
            self.process("worker", Roles::Worker);
            sleep(STARTS / u32::try_from(workers).expect("few")).await;
        }
        self.meter.take();
    }

    fn process(&mut self, role: &'static str, roles: Roles) {
        let ports = counted::ports(&self.ports, role, &self.meter);
        let settings = RunSettings::default();
        let scratch_dir = Some(self.dir.path().to_owned());
        let ctx = Arc::new(RunContext {
            store: Store::new(ports.tables.clone()),
            system: self.system,
            snapshots: SnapshotStore::new(
                ports.blobs.clone(),
                ports.keys.clone(),
                StoreSettings { scratch_dir, ..StoreSettings::default() },
            ),
            registry: Arc::new(Registry::of(vec![Arc::new(self.product.clone())])),
            http: HttpClientBuilder::new(AddressGuard::public_only()).build().expect("a client"),
            http_for_own: HttpClientBuilder::new(AddressGuard::public_only()).build().expect("a client"),
            loaded: Default::default(),
            places: Places::of(&settings),
            turns: Turns::default(),
            bell: Default::default(),
            settings,
            worker_id: WorkerId::new(&*ports.clock, &*ports.random),
            ports,
        });
        self.processes.push(Engine::start(ctx.clone(), roles));
        self.gauges.push(tokio::spawn(listbackup::gauges::keep(ctx, roles)));
    }

    /// Runs that have succeeded so far. All of those that are not under way must have.
    pub async fn done(&self) -> usize {
        let store = Store::new(self.ports.tables.clone());
        let mut done = 0;
        for job_id in &self.jobs {
            let (partition, sort) = (job_id.to_string(), SortRange::All);
            let query =
                Query { table: &RUNS, index: None, partition, sort, descending: false, limit: 1000, after: None };
            let runs: Vec<Run> = store.all(&self.system, query).await.expect("rows");
            for run in runs.iter().filter(|run| run.status.has_ended()) {
                assert_eq!(run.status, RunStatus::Succeeded, "{:?}", run.error);
                done += 1;
            }
        }
        done
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.gauges.iter().for_each(JoinHandle::abort);
    }
}

fn source_of(ports: &Ports, scope: &AccountScope) -> Source {
    let source_id = SourceId::new(&*ports.clock, &*ports.random);
    Source {
        watch: Watch::default(),
        ..Source::new(scope.account_id(), source_id, product::NAME, "Product", ports.clock.now())
    }
}

fn job_of(ports: &Ports, source: &Source, schedule: Schedule) -> Job {
    let job_id = JobId::new(&*ports.clock, &*ports.random);
    Job { schedule, ..Job::new(source.account_id, source.source_id, job_id, "Hourly", ports.clock.now()) }
}
