//! The hour itself: who is there, and what happens to them.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use jiff::{SignedDuration, Timestamp};
use listbackup_connectors::{ErrorKind as ConnectorError, Integration, Tokens};
use listbackup_engine::{
    actors::{Engine, Roles},
    model::{
        AccountId, ActivityKind, Job, Run, Source, SourceId, SourceState, activity::only_events, job::Schedule,
        scope::AccountScope,
    },
    ports::{Clock, Condition, Ports, Query, SortRange},
    run::{
        connect, due,
        event::{self, Subject},
    },
    store::{self, Store, key},
    tables::{ACTIVITY, RUNS, Row, TableSchema},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Map, json};
use tokio::time::{Instant, sleep};

use crate::{
    desk::{Desk, PLANTED, Visitor},
    faults::Faults,
    meddled::Fate,
    scripted::Product,
    watch::Watch,
    world::{World, job_of, source_of},
};

const STREAMS: [&str; 2] = ["contacts", "deals"];
const HOUR: Duration = Duration::from_secs(3600);
const PERIOD: Duration = Duration::from_secs(600);
const WORKERS: usize = 3;
/// Longer than anything takes once nothing goes wrong any more.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);
const LOOK_EVERY: Duration = Duration::from_secs(10);

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

/// An account with one source and one job.
pub struct Tenant {
    pub scope: AccountScope,
    pub source_id: SourceId,
    pub job: Job,
    pub product: Product,
    pub streams: &'static [&'static str],
    pub period: Duration,
    store: Store,
}

impl Tenant {
    /// The account of a world.
    pub fn of(world: &World, streams: &'static [&'static str], period: Duration) -> Self {
        let store = Store::new(world.ports.tables.clone());
        let (job, product) = (world.job.clone(), world.product.clone());
        Self { scope: world.scope, source_id: world.source_id, job, product, streams, period, store }
    }

    /// Rows of the account, typed.
    pub async fn rows<R: Row>(&self, table: &'static TableSchema, index: Option<&'static str>, of: String) -> Vec<R> {
        self.store.all(&self.scope, whole(table, index, of)).await.expect("rows")
    }

    /// Its runs, in order.
    pub async fn runs(&self) -> Vec<Run> {
        self.rows(&RUNS, None, self.job.job_id.to_string()).await
    }

    /// Its source.
    pub async fn source(&self) -> Source {
        self.store.get(&self.scope, key(self.scope.account_id(), self.source_id)).await.expect("the source").row
    }

    async fn is_over(&self) -> bool {
        self.runs().await.iter().all(|run| run.status.has_ended())
    }
}

/// All rows of a partition.
pub fn whole(table: &'static TableSchema, index: Option<&'static str>, partition: String) -> Query {
    // The head of the chain lies beside the events.
    let sort = if table == &ACTIVITY && index == Some("by-account") { only_events() } else { SortRange::All };
    Query { table, index, partition, sort, descending: false, limit: 1000, after: None }
}

pub struct Simulation {
    pub world: World,
    pub tenants: [Tenant; 2],
    pub desk: Desk,
    pub watch: Watch,
    pub ended_at: Timestamp,
    random: StdRng,
    pub is_unfenced: bool,
    workers: Vec<Worker>,
    last_worker: usize,
}

impl Simulation {
    pub async fn new(seed: u64, is_unfenced: bool) -> Self {
        let product = Product::new(16);
        product.remember();
        STREAMS.iter().for_each(|stream| product.put(stream, 1..=35, "first"));
        // Half of all hours are as on DynamoDB.
        let mut world = match seed % 2 {
            0 => World::in_memory(seed, product.clone()).await,
            _ => World::in_memory_with_indexes_behind(seed, product.clone()).await,
        };
        world.settings.tick = Duration::from_secs(10);
        world.settings.progress_every = Duration::from_secs(5);
        world.settings.retry_base = Duration::from_secs(1);
        world.settings.retry_cap = Duration::from_secs(10);
        world.settings.stream_attempts_max = 50;
        world.settings.run_attempts_max = 50;
        world.settings.upkeep_every = Duration::from_secs(900);
        world.settings.collect_grace = Duration::from_secs(600);
        let desk = Desk::new(seed);
        product.open_desk(desk.clone());
        let neighbour = neighbour(&mut world).await;
        let mut tenant = Tenant::of(&world, &STREAMS, PERIOD);
        begin(&world, &mut tenant, Some(&desk)).await;
        let (ended_at, watch, random) = (world.clock.now(), Watch::new(), StdRng::seed_from_u64(seed));
        let (tenants, workers) = ([tenant, neighbour], Vec::new());
        Self { world, tenants, desk, watch, ended_at, random, is_unfenced, workers, last_worker: 0 }
    }

    fn start_worker(&mut self) {
        self.last_worker += 1;
        let faults = Faults::new(self.random.random(), self.is_unfenced);
        let skew = SignedDuration::from_secs(self.random.random_range(-8..=8));
        let clock: Arc<dyn Clock> = Arc::new(Skewed(self.world.ports.clock.clone(), skew));
        let (ports, id) = self.watch.ports(&Ports { clock, ..self.world.ports.clone() });
        let ports = Fate::Faulty(faults.clone()).ports(&ports);
        let visitor = Visitor { fate: Fate::Faulty(faults.clone()), number: self.last_worker };
        let worker = self.world.worker_of(ports, self.world.product.visited_by(visitor));
        id.set(worker.worker_id).expect("it had no id yet");
        self.workers.push(Worker { faults, _engine: Engine::start(worker, Roles::All) });
    }

    /// Lets something happen.
    async fn happen(&mut self) {
        let dead = self.workers.extract_if(.., |worker| worker.faults.is_dead()).count();
        (0..dead).for_each(|_| self.start_worker());
        let who = self.random.random_range(0..self.workers.len());
        let seconds = Duration::from_secs(self.random.random_range(5..120));
        let stream = STREAMS[self.random.random_range(0..STREAMS.len())];
        let id = self.random.random_range(1..60);
        let product = &self.world.product;
        match self.random.random_range(0..12) {
            0 => {
                self.workers.remove(who).faults.kill();
                self.start_worker();
            }
            1 | 2 => self.workers[who].faults.stall(seconds),
            3 | 4 => product.put(stream, id..id + 5, &format!("changed {}", self.random.random::<u32>())),
            5 => product.remove(stream, id..id + 2),
            6 => product.fail(stream, Some(ConnectorError::RateLimited)),
            7 | 8 => STREAMS.iter().for_each(|stream| product.fail(stream, None)),
            9 => self.desk.storm(seconds),
            10 => drop(self.world.order().await),
            _ => self.sign_in().await,
        }
    }

    /// A person signs in again, where that is asked for.
    pub async fn sign_in(&self) {
        let tenant = &self.tenants[0];
        if tenant.source().await.state == SourceState::NeedsAuthorisation {
            keep(&self.world, tenant, &self.desk.sign_in()).await;
        }
    }

    /// The hour, and after it a worker to whom nothing happens.
    pub async fn hour(&mut self) {
        (0..WORKERS).for_each(|_| self.start_worker());
        let end = Instant::now() + HOUR;
        while Instant::now() < end {
            sleep(Duration::from_secs(self.random.random_range(1..60))).await;
            self.happen().await;
        }
        STREAMS.iter().for_each(|stream| self.world.product.fail(stream, None));
        self.desk.storm(Duration::ZERO);
        self.workers.drain(..).for_each(|worker| worker.faults.kill());
        self.start_worker();
        self.workers[0].faults.calm();
        self.ended_at = self.world.clock.now();
    }

    /// Waits until every run has ended; false when that takes too long.
    pub async fn is_over(&self) -> bool {
        let over = async {
            while !(self.tenants[0].is_over().await && self.tenants[1].is_over().await) {
                sleep(LOOK_EVERY).await;
                self.sign_in().await;
            }
        };
        tokio::time::timeout(PATIENCE, over).await.is_ok()
    }

    /// A last backup, with which nothing is wrong. A grant may have ended with a worker in the very end: then the first one finds
    /// that out, and a person signs in.
    pub async fn last_run(&self) -> Option<Run> {
        self.sign_in().await;
        let first = self.world.order().await;
        if !self.is_over().await {
            return None;
        }
        let first = self.world.run(&first).await;
        if first.error.as_ref().is_none_or(|error| error.code != "reauthorise") {
            return Some(first);
        }
        self.sign_in().await;
        let second = self.world.order().await;
        if self.is_over().await { Some(self.world.run(&second).await) } else { None }
    }
}

/// Another account beside it, with a product and a job of its own.
async fn neighbour(world: &mut World) -> Tenant {
    let product = Product::named("neighbour", 10);
    product.remember();
    product.put("letters", 1..=12, "the neighbour's");
    world.others.push(product.clone());
    let ports = &world.ports;
    let scope = world.system.account(AccountId::new(&*ports.clock, &*ports.random));
    let source = Source { integration: "neighbour".to_owned(), ..source_of(ports, &scope) };
    let job = job_of(ports, &source);
    let store = Store::new(ports.tables.clone());
    store.transact(&scope, vec![store::put(&source, Condition::Absent).expect("a row")]).await.expect("it is written");
    let (source_id, streams, period) = (source.source_id, &["letters"], PERIOD * 3);
    let mut tenant = Tenant { scope, source_id, job, product, streams, period, store };
    begin(world, &mut tenant, None).await;
    tenant
}

/// Sets the schedule; where one has to sign in, a person does.
async fn begin(world: &World, tenant: &mut Tenant, desk: Option<&Desk>) {
    let schedule = Schedule::Interval { every_seconds: tenant.period.as_secs() };
    tenant.job = Job { schedule, ..tenant.job.clone() };
    due::reschedule(&mut tenant.job, world.job.created_at).expect("a schedule");
    let mut source = tenant.source().await;
    source.upkeep_shard = Some("upkeep".to_owned());
    source.upkeep_due_ms = Some((world.job.created_at + PERIOD).as_millisecond());
    let writes = [store::put(&tenant.job, Condition::Any), store::put(&source, Condition::Any)];
    let writes = writes.into_iter().map(|write| write.expect("a row")).collect();
    tenant.store.transact(&tenant.scope, writes).await.expect("rows are written");
    if let Some(desk) = desk {
        give_credential(world, tenant).await;
        keep(world, tenant, &desk.sign_in()).await;
    }
}

/// Gives the source a credential, with which nobody has signed in.
pub async fn give_credential(world: &World, tenant: &Tenant) {
    let given = json!({ "api_key": format!("{PLANTED}-key") });
    let spec = tenant.product.spec();
    let sealed = connect::seal_settings(&world.ports, &tenant.scope, spec, tenant.source_id, given).await;
    let (settings, credential) = sealed.expect("settings are sealed");
    let credential = credential.expect("there is a secret");
    let source = Source { settings, credential_id: Some(credential.key_id), ..tenant.source().await };
    let writes = [store::put(&credential, Condition::Absent), store::put(&source, Condition::Any)];
    let writes = writes.into_iter().map(|write| write.expect("a row")).collect();
    tenant.store.transact(&tenant.scope, writes).await.expect("rows are written");
}

/// Keeps the tokens of a sign-in.
pub async fn keep(world: &World, tenant: &Tenant, tokens: &Tokens) {
    let source = tenant.source().await;
    let (kind, subject) = (ActivityKind::SourceAuthorised, Subject::source(source.source_id));
    let told = event::event(&world.ports, source.account_id, kind, "test", subject, Map::new());
    let kept = connect::keep_tokens(&world.ports, &tenant.scope, &source, (tokens, None), &told).await;
    kept.expect("tokens are kept");
}
