//! A worker in the bench's own process, with a product that refuses at once until it is made another one.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use listbackup_connectors::{
    Connector, Error, ErrorKind, Integration, Link, Result, SignIn, Spec,
    http::{AddressGuard, HttpClientBuilder},
    registry::Registry,
};
use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{
        AccountId, Job, JobId, Run, RunStatus, Source, SourceId, Watch, WorkerId,
        job::Schedule,
        scope::{AccountScope, SystemScope},
    },
    ports::{Condition, Query, SortRange},
    run::{RunContext, RunSettings, Turns, due, places::Places},
    snapshot::{SnapshotStore, StoreSettings},
    store::{self, Store},
    tables::RUNS,
};
use serde_json::json;

const NAME: &str = "bench";
/// Where products of the bench are.
const LOOPBACK: &str = "127.0.0.0/8";

/// Runs the bench as the program runs: actors on this thread, their work on a pool.
pub fn on_system(work: impl Future<Output = ()>) {
    listbackup::worker::system().expect("an actor system").block_on(work);
}

/// One account over a fresh directory.
#[derive(Clone)]
pub struct World {
    pub ctx: Arc<RunContext>,
    pub scope: AccountScope,
    pub product: Product,
    _dir: Arc<tempfile::TempDir>,
}

impl World {
    /// A worker with so many slots.
    pub async fn new(slots: usize) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ports = EmbeddedStores::open(dir.path().join("data"), OpenMode::Write).expect("stores").ports();
        let product = Product::default();
        let settings = RunSettings { slots, is_sole_worker: true, ..RunSettings::default() };
        let ctx = RunContext {
            store: Store::new(ports.tables.clone()),
            system: SystemScope::of_this_process(),
            snapshots: SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), StoreSettings::default()),
            registry: Arc::new(Registry::of(vec![Arc::new(product.clone())])),
            http: HttpClientBuilder::new(AddressGuard::allowing(vec![LOOPBACK.parse().expect("a network")]))
                .build()
                .expect("a client"),
            http_for_own: HttpClientBuilder::new(AddressGuard::public_only()).build().expect("a client"),
            loaded: Default::default(),
            places: Places::of(&settings),
            turns: Turns::default(),
            bell: Default::default(),
            settings,
            worker_id: WorkerId::new(&*ports.clock, &*ports.random),
            ports,
        };
        let scope = ctx.system.account(AccountId::new(&*ctx.ports.clock, &*ctx.ports.random));
        Self { ctx: Arc::new(ctx), scope, product, _dir: Arc::new(dir) }
    }

    /// So many sources with a job each.
    pub async fn jobs(&self, count: usize, schedule: &Schedule) -> Vec<Job> {
        self.jobs_with(count, schedule, |_| ()).await
    }

    /// So many sources with a job each that is due now.
    pub async fn due_jobs(&self, count: usize) {
        let now_ms = self.ctx.ports.clock.now().as_millisecond();
        let due = |job: &mut Job| (job.due_at_ms, job.next_due_ms) = (Some(now_ms), Some(now_ms));
        self.jobs_with(count, &Schedule::Interval { every_seconds: 24 * 60 * 60 }, due).await;
    }

    async fn jobs_with(&self, count: usize, schedule: &Schedule, change: impl Fn(&mut Job)) -> Vec<Job> {
        let mut jobs = Vec::with_capacity(count);
        while jobs.len() < count {
            let mut writes = Vec::new();
            for _ in 0..50.min(count - jobs.len()) {
                let source = self.source();
                let mut job = self.job(&source, schedule);
                change(&mut job);
                writes.push(store::put(&source, Condition::Absent).expect("a row"));
                writes.push(store::put(&job, Condition::Absent).expect("a row"));
                jobs.push(job);
            }
            self.ctx.store.transact(&self.scope, writes).await.expect("rows");
        }
        jobs
    }

    /// Pages that the runs have read so far, as their rows tell; all of them must be live.
    pub async fn pages_read(&self) -> u64 {
        let (partition, sort) = (self.scope.account_id().to_string(), SortRange::All);
        let (table, index) = (&RUNS, Some("by-account"));
        let query = Query { table, index, partition, sort, descending: false, limit: 1000, after: None };
        let runs: Vec<Run> = self.ctx.store.all(&self.scope, query).await.expect("rows");
        let ended: Vec<_> = runs.iter().filter(|run| run.status != RunStatus::Running).collect();
        assert!(ended.is_empty(), "{} of {} runs do not live: {:?}", ended.len(), runs.len(), ended[0]);
        runs.iter().map(|run| run.progress.requests).sum()
    }

    fn source(&self) -> Source {
        let ports = &self.ctx.ports;
        let source_id = SourceId::new(&*ports.clock, &*ports.random);
        Source {
            settings: json!({ "source": source_id }),
            watch: Watch::default(),
            ..Source::new(self.scope.account_id(), source_id, NAME, source_id.to_string(), ports.clock.now())
        }
    }

    fn job(&self, source: &Source, schedule: &Schedule) -> Job {
        let ports = &self.ctx.ports;
        let now = ports.clock.now();
        let job_id = JobId::new(&*ports.clock, &*ports.random);
        let mut job = Job {
            schedule: schedule.clone(),
            ..Job::new(source.account_id, source.source_id, job_id, source.name.clone(), now)
        };
        due::reschedule(&mut job, now).expect("a schedule");
        job
    }
}

/// The product; clones share it.
#[derive(Clone)]
pub struct Product(Arc<Inner>);

struct Inner {
    spec: Spec,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    other: Option<Arc<dyn Integration>>,
    asked: HashMap<String, Vec<Instant>>,
    waits: Vec<Duration>,
}

impl Default for Product {
    fn default() -> Self {
        let spec = Spec {
            name: NAME.to_owned(),
            title: "Bench".to_owned(),
            description: "A product of the bench.".to_owned(),
            settings_schema: json!({ "type": "object" }),
            sign_in: SignIn::None,
        };
        Self(Arc::new(Inner { spec, state: Mutex::default() }))
    }
}

impl Product {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it is this one.
    pub fn be(&self, other: impl Integration + 'static) {
        self.state().other = Some(Arc::new(other));
    }

    /// A run of the job is about to be ordered.
    pub fn asked(&self, job: &Job) {
        self.state().asked.entry(job.source_id.to_string()).or_default().push(Instant::now());
    }

    /// Times from request to start.
    pub fn waits(&self) -> Vec<Duration> {
        self.state().waits.clone()
    }
}

impl Integration for Product {
    fn spec(&self) -> &Spec {
        &self.0.spec
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let source = link.settings.expose()["source"].as_str().unwrap_or_default().to_owned();
        let mut state = self.state();
        if let Some(asked) = state.asked.get_mut(&source).filter(|asked| !asked.is_empty()) {
            let wait = asked.remove(0).elapsed();
            state.waits.push(wait);
        }
        match &state.other {
            Some(other) => other.connect(link),
            None => Err(Error::new(ErrorKind::Invalid, "nothing to do")),
        }
    }
}

/// User and system time of this process.
pub fn cpu_seconds() -> f64 {
    // SAFETY: all zeroes is a valid rusage; getrusage writes to the place, which lives through the call.
    let usage = unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Memory of this process that is in use now.
pub fn rss_mib() -> f64 {
    of_status("VmRSS:") / 1024.0
}

/// Threads of this process.
pub fn threads() -> f64 {
    of_status("Threads:")
}

fn of_status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
