//! A worker's world over a fresh data directory: real embedded stores, a clock that a test moves, seeded randomness.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use listbackup_connectors::{
    Integration,
    http::{AddressGuard, HttpClient, HttpClientBuilder},
    registry::Registry,
};
use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{
        AccountId, Job, JobId, Run, Source, SourceId, Watch, WorkerId,
        run::Trigger,
        scope::{AccountScope, SystemScope},
    },
    ports::{Clock, Condition, Ports, Random},
    run::{RunContext, RunSettings, Turns, order, places::Places},
    snapshot::{KeyRange, SnapshotStore, StoreSettings},
    store::{self, Store, key},
};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::{
    memory,
    scripted::{self, Product},
};

/// Moves when a test moves it, and in a simulation also with tokio's paused clock.
pub struct ManualClock {
    moved_ms: AtomicI64,
    simulated_since: Option<tokio::time::Instant>,
}

impl ManualClock {
    /// Moves on.
    pub fn advance(&self, by: Duration) {
        self.moved_ms.fetch_add(i64::try_from(by.as_millis()).expect("a short time"), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let simulated = self.simulated_since.map_or(Duration::ZERO, |since| since.elapsed());
        let simulated_ms = i64::try_from(simulated.as_millis()).expect("a short time");
        Timestamp::from_millisecond(self.moved_ms.load(Ordering::SeqCst) + simulated_ms).expect("a time of our days")
    }
}

/// How long a row may be missing from an index, where that is: far longer than DynamoDB mostly takes.
const BEHIND: Duration = Duration::from_secs(2);

struct SeededRandom(Mutex<StdRng>);

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.0.lock().expect("no test panics in here").fill_bytes(bytes);
    }
}

/// A data directory with one account, one source and one job.
pub struct World {
    /// The clock of everything in it.
    pub clock: Arc<ManualClock>,
    /// The outside.
    pub ports: Ports,
    /// The account.
    pub scope: AccountScope,
    /// The system's own authority.
    pub system: SystemScope,
    /// The source.
    pub source_id: SourceId,
    /// Its job.
    pub job: Job,
    /// The product behind the source.
    pub product: Product,
    /// Other products that workers know.
    pub others: Vec<Product>,
    /// What workers send requests with.
    http: HttpClient,
    /// Of its workers.
    pub settings: RunSettings,
    /// Removed with the world.
    _data_dir: tempfile::TempDir,
}

impl World {
    /// A world whose randomness comes from `seed`. Every page is checkpointed; nothing waits.
    pub async fn new(seed: u64, product: Product) -> Self {
        Self::over(seed, product, None, Ports::clone).await
    }

    /// The same for a runtime whose clock is paused: time passes as its tasks wait.
    pub async fn simulated(seed: u64, product: Product) -> Self {
        Self::over(seed, product, Some(tokio::time::Instant::now()), Ports::clone).await
    }

    /// The same over stores in memory, where nothing depends on a thread or a disk.
    pub async fn in_memory(seed: u64, product: Product) -> Self {
        Self::over(seed, product, Some(tokio::time::Instant::now()), memory::stores).await
    }

    /// The same where indexes of rows are behind, as in DynamoDB.
    pub async fn in_memory_with_indexes_behind(seed: u64, product: Product) -> Self {
        let stores = |ports: &Ports| memory::stores_with_indexes_behind(ports, BEHIND);
        Self::over(seed, product, Some(tokio::time::Instant::now()), stores).await
    }

    async fn over(
        seed: u64,
        product: Product,
        simulated_since: Option<tokio::time::Instant>,
        stores_of: fn(&Ports) -> Ports,
    ) -> Self {
        let data_dir = tempfile::tempdir().expect("a place for files");
        let clock = Arc::new(ManualClock { moved_ms: AtomicI64::new(1_790_000_000_000), simulated_since });
        let random = Arc::new(SeededRandom(Mutex::new(StdRng::seed_from_u64(seed))));
        let stores = EmbeddedStores::open_with(data_dir.path().join("data"), OpenMode::Write, clock.clone(), random)
            .expect("a fresh data directory opens");
        let ports = stores_of(&stores.ports());
        let system = SystemScope::of_this_process();
        let scope = system.account(AccountId::new(&*ports.clock, &*ports.random));
        let source = source_of(&ports, &scope);
        let job = job_of(&ports, &source);
        let writes = vec![
            store::put(&source, Condition::Absent).expect("a row"),
            store::put(&job, Condition::Absent).expect("a row"),
        ];
        Store::new(ports.tables.clone()).transact(&scope, writes).await.expect("rows are written");
        let settings = RunSettings {
            checkpoint_gap: Duration::ZERO,
            checkpoint_records: 1,
            retry_base: Duration::ZERO,
            retry_cap: Duration::ZERO,
            stream_attempts_max: 2,
            progress_every: Duration::from_millis(20),
            tick: Duration::from_millis(20),
            ..RunSettings::default()
        };
        let http = HttpClientBuilder::new(AddressGuard::public_only()).build().expect("a client");
        let (source_id, others) = (source.source_id, Vec::new());
        Self { clock, ports, scope, system, source_id, job, product, others, http, settings, _data_dir: data_dir }
    }

    /// Another worker over the same stores.
    pub fn worker(&self) -> Arc<RunContext> {
        self.worker_with(self.ports.clone())
    }

    /// Another worker, which meets the same stores in its own way.
    pub fn worker_with(&self, ports: Ports) -> Arc<RunContext> {
        self.worker_of(ports, self.product.clone())
    }

    /// Another worker, which meets the product in its own way too.
    pub fn worker_of(&self, ports: Ports, product: Product) -> Arc<RunContext> {
        let products = std::iter::once(&product).chain(&self.others);
        let registry =
            Registry::of(products.map(|product| Arc::new(product.clone()) as Arc<dyn Integration>).collect());
        Arc::new(RunContext {
            store: Store::new(ports.tables.clone()),
            system: self.system,
            snapshots: SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), StoreSettings::default()),
            registry: Arc::new(registry),
            http: self.http.clone(),
            http_for_own: self.http.clone(),
            loaded: Default::default(),
            places: Places::of(&self.settings),
            turns: Turns::default(),
            bell: Default::default(),
            settings: self.settings.clone(),
            worker_id: WorkerId::new(&*ports.clock, &*ports.random),
            ports,
        })
    }

    /// A run of the job, as a person orders it.
    pub async fn order(&self) -> Run {
        self.order_of(&self.job).await
    }

    /// Another source of the same product, and its job.
    pub async fn another_job(&self) -> Job {
        let source = Source { name: "Another".to_owned(), ..source_of(&self.ports, &self.scope) };
        let job = job_of(&self.ports, &source);
        let writes = vec![
            store::put(&source, Condition::Absent).expect("a row"),
            store::put(&job, Condition::Absent).expect("a row"),
        ];
        Store::new(self.ports.tables.clone()).transact(&self.scope, writes).await.expect("rows are written");
        job
    }

    /// A run of a job, as a person orders it.
    pub async fn order_of(&self, job: &Job) -> Run {
        let trigger = Trigger::Manual { by: "test".to_owned() };
        order::order_run(&self.ports, &self.scope, job, trigger, None).await.expect("an order is written")
    }

    /// The source as it is stored.
    pub async fn source(&self) -> Source {
        let key = key(self.scope.account_id(), self.source_id);
        Store::new(self.ports.tables.clone()).get::<Source>(&self.scope, key).await.expect("the source").row
    }

    /// A run as it is stored.
    pub async fn run(&self, run: &Run) -> Run {
        let key = key(run.job_id, run.run_id);
        Store::new(self.ports.tables.clone()).get::<Run>(&self.scope, key).await.expect("the run").row
    }

    /// The records of a stream in the head snapshot, in key order; empty without a head.
    pub async fn head_records(&self, stream: &str) -> Vec<Value> {
        let Some(head) = self.source().await.head else { return Vec::new() };
        let store = self.worker().snapshots.source(&self.scope, self.source_id).await.expect("the source's store");
        let loaded = store.load(head.snapshot_id).await.expect("the head is whole");
        let records = store
            .reader(&loaded.manifest)
            .browse(stream, &KeyRange::default(), &[], 100_000)
            .await
            .expect("records")
            .records;
        records.iter().map(|record| serde_json::from_slice(&record.body).expect("JSON")).collect()
    }
}

pub fn source_of(ports: &Ports, scope: &AccountScope) -> Source {
    let source_id = SourceId::new(&*ports.clock, &*ports.random);
    Source {
        watch: Watch::default(),
        ..Source::new(scope.account_id(), source_id, scripted::NAME, "Scripted", ports.clock.now())
    }
}

pub fn job_of(ports: &Ports, source: &Source) -> Job {
    let job_id = JobId::new(&*ports.clock, &*ports.random);
    Job::new(source.account_id, source.source_id, job_id, "Nightly", ports.clock.now())
}
