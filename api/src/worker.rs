//! The only place that picks adapters: from a data directory to a worker's world.

use std::{io::IsTerminal, path::Path, sync::Arc};

use actix::{System, SystemRunner};
use listbackup_engine::{
    Error, ErrorKind, Result,
    adapters::{
        embedded::{EmbeddedStores, OpenMode, SystemClock, SystemRandom},
        smtp::{SmtpMail, SmtpSettings},
    },
    connectors::{
        Integration,
        http::{AddressGuard, HttpClient, HttpClientBuilder, Network},
        native::JsonLines,
        registry::Registry,
    },
    model::{WorkerId, scope::SystemScope},
    ports::Ports,
    run::{RunContext, RunSettings, Turns, own_integrations::Loaded, places::Places, relay},
    snapshot::{SnapshotStore, StoreSettings},
    store::Store,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

/// How a process works.
#[derive(Clone)]
pub struct WorkerSettings {
    /// Which addresses connectors may reach.
    pub guard: AddressGuard,
    /// Which ones integrations of an account's own may reach.
    pub guard_for_own: AddressGuard,
    /// Limits of runs.
    pub run: RunSettings,
    /// May read files that settings name: only for a person's own commands.
    pub reads_files: bool,
    /// A further integration, in the place of one of ours with that name.
    pub further: Option<Arc<dyn Integration>>,
    /// The mail server that letters go to, in the place of what the stores have for them.
    pub smtp: Option<Arc<SmtpSettings>>,
}

impl WorkerSettings {
    /// A command that a person runs on their own machine: may reach loopback and private addresses.
    pub fn of_a_person() -> Self {
        let run = RunSettings { is_sole_worker: true, ..RunSettings::default() };
        let guard_for_own = AddressGuard::public_only();
        Self { guard: AddressGuard::person(), guard_for_own, run, reads_files: true, further: None, smtp: None }
    }

    /// A server: public addresses, and the networks that its operator lists.
    pub fn of_a_server(networks: Vec<Network>) -> Self {
        let guard = AddressGuard::allowing(networks);
        Self { guard_for_own: guard.clone(), guard, reads_files: false, ..Self::of_a_person() }
    }
}

/// A worker over the embedded stores of one data directory.
pub struct Worker {
    /// What runs are handed.
    pub ctx: Arc<RunContext>,
    /// The stores; the directory stays locked while they live.
    pub stores: EmbeddedStores,
    /// Holds tables that are gone with the worker.
    _tables: Option<TempDir>,
}

impl Worker {
    /// Opens a data directory.
    ///
    /// # Errors
    /// Those of [`EmbeddedStores::open`].
    pub fn open(data_dir: &Path, mode: OpenMode, settings: WorkerSettings) -> Result<Self> {
        let stores = match &settings.smtp {
            Some(smtp) => {
                let mail = SmtpMail::new(smtp, Arc::new(SystemClock), Arc::new(SystemRandom))?;
                EmbeddedStores::open_sending(data_dir, mode, Arc::new(mail))?
            }
            None => EmbeddedStores::open(data_dir, mode)?,
        };
        Self::over(stores, settings)
    }

    /// Over stores that are open already.
    ///
    /// # Errors
    /// `Invalid` when one of our integrations, and `Bug` when this machine's TLS set-up cannot be used.
    pub fn over(stores: EmbeddedStores, settings: WorkerSettings) -> Result<Self> {
        // Not the system's directory for temporary files, which is often memory, and small.
        let ctx = context(stores.ports(), stores.data_dir(), settings)?;
        Ok(Self { ctx, stores, _tables: None })
    }

    /// Removes the directory when the worker is dropped.
    #[must_use]
    pub fn with_tables_in(self, dir: TempDir) -> Self {
        Self { _tables: Some(dir), ..self }
    }
}

/// A worker's world over any stores.
///
/// # Errors
/// `Invalid` when one of our integrations, and `Bug` when this machine's TLS set-up cannot be used.
pub fn context(ports: Ports, scratch_dir: &Path, settings: WorkerSettings) -> Result<Arc<RunContext>> {
    let scratch_dir = Some(scratch_dir.to_owned());
    let store_settings = StoreSettings { scratch_dir, ..StoreSettings::default() };
    Ok(Arc::new(RunContext {
        store: Store::new(ports.tables.clone()),
        system: SystemScope::of_this_process(),
        snapshots: SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), store_settings),
        registry: Arc::new(registry(&settings)?),
        http: http_client(settings.guard)?,
        http_for_own: http_client(settings.guard_for_own)?,
        loaded: Loaded::default(),
        places: Places::of(&settings.run),
        turns: Turns::default(),
        bell: Default::default(),
        settings: settings.run,
        worker_id: WorkerId::new(&*ports.clock, &*ports.random),
        ports,
    }))
}

/// Hands on what a command did, before the process ends. What stays, the next process takes.
pub async fn settle(ctx: &RunContext) {
    if let Err(error) = relay::flush(&ctx.ports, &ctx.system).await {
        tracing::warn!(%error, "some events were not handed on yet; the next command does");
    }
}

fn registry(settings: &WorkerSettings) -> Result<Registry> {
    let ours = Registry::ours()?;
    let ours = if settings.reads_files { ours.and(Arc::new(JsonLines::default())) } else { ours };
    Ok(match &settings.further {
        Some(further) => ours.and(further.clone()),
        None => ours,
    })
}

/// The client of a process.
///
/// # Errors
/// `Bug` when the TLS set-up of this machine cannot be used.
pub fn http_client(guard: AddressGuard) -> Result<HttpClient> {
    Ok(HttpClientBuilder::new(guard).build()?)
}

/// The actor system over a multi-thread runtime: actors on this thread, their work on the pool. One core is left to the
/// threads for blocking work, which compress, seal and write: a pool as large as the machine wakes threads in vain, a
/// twentieth of a first backup's time on two cores.
///
/// # Errors
/// `Exhausted` when the machine gives no threads.
pub fn system() -> Result<SystemRunner> {
    open_all_files_allowed();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        .enable_all()
        .build()
        .map_err(|error| Error::new(ErrorKind::Exhausted, format!("the runtime could not be started: {error}")))?;
    Ok(System::with_tokio_rt(|| runtime))
}

/// Each run that lives has a connection or more, and shells allow 1,024 open files where the system allows far more to whoever asks.
fn open_all_files_allowed() {
    let limits = getrlimit(Resource::Nofile);
    if limits.current < limits.maximum {
        let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
        // Where the system refuses, it goes on with what the shell allows.
        let _refused = setrlimit(Resource::Nofile, raised);
    }
}

/// Sends the log to standard error.
pub fn start_log(default: &str) {
    let filter = EnvFilter::try_from_env("LISTBACKUP_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first.
    let _already = log.try_init();
}
