//! The real API on embedded stores in a temporary directory, and people who call it.

pub mod client;

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use client::{Answer, Caller};
use jiff::Timestamp;
use listbackup::{
    downloads::Downloads,
    server::{self, RunningServer},
    state::{ApiSettings, AppState, Service},
};
use listbackup_connectors::{
    http::{AddressGuard, HttpClientBuilder},
    registry::Registry,
};
use listbackup_engine::{
    actors::{Drain, Engine, Roles},
    adapters::embedded::{EmbeddedStores, OpenMode},
    billing::{Plans, stripe::StripeSettings},
    model::{
        AccountId, ActivityKind, EventId, Membership, Role, Source, SourceId, UserId, Watch, WorkerId,
        scope::SystemScope, user::MembershipStatus,
    },
    ports::{Condition, Identity, Ports},
    run::{
        RunContext, RunSettings, Turns,
        event::{self, Subject},
        oauth_apps::PlatformApps,
        own_integrations::Loaded,
        places::Places,
        relay::Relay,
    },
    snapshot::{SnapshotStore, StoreSettings},
    store::{Store, put},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// A running API.
pub struct App {
    /// The outside.
    pub ports: Ports,
    /// Typed rows.
    pub store: Store,
    /// The system's right, for rows that a test sets up itself.
    pub system: SystemScope,
    /// Its downloads under way.
    pub downloads: Arc<Downloads>,
    ctx: Arc<RunContext>,
    stores: EmbeddedStores,
    server: RunningServer,
    relay: tokio::task::JoinHandle<()>,
    _directory: TempDir,
}

/// A person who registered, in their own account.
#[derive(Clone)]
pub struct Person {
    /// Their id.
    pub user_id: UserId,
    /// Their account.
    pub account_id: AccountId,
    /// Their address.
    pub email: String,
    /// Calls as them.
    pub caller: Caller,
}

impl App {
    /// Serves everything.
    pub async fn start() -> Self {
        Self::start_with(|_| None).await
    }

    /// Serves everything, with the identity that `identity` makes in place of the embedded one.
    pub async fn start_with(identity: impl FnOnce(&Ports) -> Option<Arc<dyn Identity>>) -> Self {
        Self::begin(identity, AddressGuard::person(), RunSettings::default(), None).await
    }

    /// Serves everything, with another guard of addresses.
    pub async fn start_behind(guard: AddressGuard) -> Self {
        Self::begin(|_| None, guard, RunSettings::default(), None).await
    }

    /// Serves everything, under plans, with payments where there is somebody to make them.
    pub async fn start_selling(plans: Plans, stripe: Option<StripeSettings>) -> Self {
        let settings = RunSettings { plans, ..RunSettings::default() };
        Self::begin(|_| None, AddressGuard::person(), settings, stripe).await
    }

    /// Serves everything, with OAuth apps for all accounts.
    pub async fn start_with_apps(oauth_apps: PlatformApps) -> Self {
        let settings = RunSettings { oauth_apps, ..RunSettings::default() };
        Self::begin(|_| None, AddressGuard::person(), settings, None).await
    }

    async fn begin(
        identity: impl FnOnce(&Ports) -> Option<Arc<dyn Identity>>,
        guard: AddressGuard,
        settings: RunSettings,
        stripe: Option<StripeSettings>,
    ) -> Self {
        let directory = TempDir::new().unwrap();
        let stores = EmbeddedStores::open(directory.path().join("data"), OpenMode::Write).unwrap();
        let mut ports = stores.ports();
        if let Some(identity) = identity(&ports) {
            ports.identity = identity;
        }
        let system = SystemScope::of_this_process();
        let http = HttpClientBuilder::new(guard).build().unwrap();
        let ctx = Arc::new(RunContext { http, settings, ..world(&ports, system) });
        let (server, downloads) = serve(ctx.clone(), stripe);
        let store = Store::new(ports.tables.clone());
        let relay = tokio::spawn({
            let (ports, bell) = (ports.clone(), ctx.bell.clone());
            async move { Relay::ringing(bell).run(&ports, &system).await }
        });
        Self { store, ports, system, downloads, ctx, stores, server, relay, _directory: directory }
    }

    /// Tells the end of a run, as a worker does, so many days ago.
    pub async fn ended(
        &self,
        account_id: AccountId,
        source_id: SourceId,
        (kind, days_ago): (ActivityKind, i64),
        told: Value,
    ) {
        let Value::Object(mut details) = told else { panic!("details are an object") };
        details.entry("integration").or_insert(json!("keap"));
        let timestamp = self.ports.clock.now().as_millisecond() - days_ago * 86_400_000;
        let mut random = [0; 10];
        self.ports.random.fill(&mut random);
        let id = EventId::derived(timestamp, random);
        let told = event::with_id(id, account_id, kind, event::SYSTEM, Subject::source(source_id), details);
        let scope = self.system.account(account_id);
        self.store.transact(&scope, vec![event::keep(&told).unwrap()]).await.unwrap();
    }

    /// Waits until what happened is counted.
    pub async fn settled(&self) {
        Relay::default().look(&self.ports, &self.system).await.unwrap();
    }

    /// Puts another key in the place of the one that signs access tokens.
    pub async fn rotate_signing_key(&self) {
        self.stores.rotate_signing_key().await.unwrap();
    }

    /// A caller without credentials.
    pub fn nobody(&self) -> Caller {
        Caller::new(self.url())
    }

    /// A caller without credentials in the network of whoever has that address: what others try does not count for them.
    fn at_home(&self, email: &str) -> Caller {
        let [a, b, ..] = *blake3::hash(email.as_bytes()).as_bytes();
        self.nobody().with("X-Forwarded-For", format!("198.18.{a}.{b}"))
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// What accounts may use.
    pub fn plans(&self) -> &Plans {
        &self.ctx.settings.plans
    }

    /// All letters to an address, oldest first.
    pub fn letters_to(&self, email: &str) -> Vec<String> {
        let all = std::fs::read_dir(self.stores.mail_dir()).unwrap().map(|entry| entry.unwrap().path());
        // What is not named so yet is being written.
        let mut paths: Vec<_> = all.filter(|path| path.extension().is_some_and(|is| is == "eml")).collect();
        paths.sort();
        let texts = paths.iter().map(|path| std::fs::read_to_string(path).unwrap());
        texts.filter(|text| text.contains(&format!("To: {email}"))).collect()
    }

    /// Registers a person, reads the code from their mail, and signs them in.
    pub async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        let nobody = self.at_home(&email);
        let registration = json!({ "email": email, "password": PASSWORD, "name": name });
        nobody.post("/auth/register", &registration).await.expect(202);
        let verified = nobody.post("/auth/verify", &json!({ "email": email, "code": self.code_for(&email) })).await;
        let user_id: UserId = verified.expect(200)["user_id"].as_str().unwrap().parse().unwrap();
        let caller = self.nobody().with_token(token(self.login(&email, None).await.expect(200)));
        let account_id = caller.get("/auth/me").await.expect(200)["account_id"].as_str().unwrap().parse().unwrap();
        Person { user_id, account_id, email, caller }
    }

    /// Signs in, for work in an account.
    pub async fn login(&self, email: &str, account_id: Option<AccountId>) -> Answer {
        let mut body = json!({ "email": email, "password": PASSWORD });
        if let Some(account_id) = account_id {
            body["account_id"] = json!(account_id);
        }
        self.at_home(email).post("/auth/login", &body).await
    }

    /// The code of the newest letter to an address.
    pub fn code_for(&self, email: &str) -> String {
        let letter = self.letters_to(email).pop().unwrap();
        letter.lines().find_map(|line| line.strip_prefix("Code: ")).unwrap().to_owned()
    }

    /// Makes somebody a member of another person's account, and signs them in there.
    pub async fn member(&self, name: &str, of: &Person, role: Role) -> Person {
        let person = self.person(name).await;
        let membership = Membership {
            user_id: person.user_id,
            account_id: of.account_id,
            role,
            status: MembershipStatus::Active,
            created_at: Timestamp::UNIX_EPOCH,
        };
        self.store.transact(&self.system, vec![put(&membership, Condition::Any).unwrap()]).await.unwrap();
        let caller = person.caller.with_token(token(self.login(&person.email, Some(of.account_id)).await.expect(200)));
        Person { account_id: of.account_id, caller, ..person }
    }

    /// A source in a person's account that no integration stands behind.
    pub async fn source(&self, of: &Person, name: &str) -> SourceId {
        let source_id = SourceId::new(&*self.ports.clock, &*self.ports.random);
        let source = Source {
            watch: Watch::default(),
            ..Source::new(of.account_id, source_id, "none", name, self.ports.clock.now())
        };
        let scope = self.system.account(of.account_id);
        self.store.transact(&scope, vec![put(&source, Condition::Absent).unwrap()]).await.unwrap();
        source_id
    }

    /// A job that runs only when asked.
    pub async fn job(&self, of: &Person, source_id: SourceId) -> Value {
        let body = json!({ "source_id": source_id, "name": "Nightly", "schedule": { "kind": "manual" } });
        of.caller.post("/jobs", &body).await.expect(201).clone()
    }

    /// What a worker over the same stores is handed.
    pub fn ctx(&self) -> &RunContext {
        &self.ctx
    }

    /// The directory of its stores.
    pub fn data_dir(&self) -> &std::path::Path {
        self.stores.data_dir()
    }

    /// A real worker over the same stores, in a thread of its own as actors want it.
    pub fn worker(&self) -> Worker {
        let ctx = self.ctx.clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            listbackup::worker::system().unwrap().block_on(async {
                let engine = Engine::start(ctx, Roles::All);
                stopped.await.unwrap();
                engine.send(Drain).await.unwrap();
            });
        });
        Worker { stop, thread }
    }

    /// Fails when a text is in any byte that was stored.
    pub fn assert_not_stored(&self, text: &str) {
        let mut folders = vec![self.data_dir().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
                if entry.file_type().unwrap().is_dir() {
                    folders.push(entry.path());
                    continue;
                }
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                let is_there = bytes.windows(text.len()).any(|window| window == text.as_bytes());
                assert!(!is_there, "{} holds {text}", entry.path().display());
            }
        }
    }

    /// Ends the server.
    pub async fn stop(self) {
        self.relay.abort();
        self.server.stop().await.unwrap();
    }
}

/// A worker beside the server, until it is stopped.
pub struct Worker {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Ends it in good order.
    pub fn stop(self) {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// What a process over these ports is handed.
pub fn world(ports: &Ports, system: SystemScope) -> RunContext {
    RunContext {
        ports: ports.clone(),
        store: Store::new(ports.tables.clone()),
        system,
        snapshots: SnapshotStore::new(ports.blobs.clone(), ports.keys.clone(), StoreSettings::default()),
        registry: Arc::new(Registry::ours().unwrap()),
        http: HttpClientBuilder::new(AddressGuard::person()).build().unwrap(),
        // What a server's operator has listed: this one address.
        http_for_own: HttpClientBuilder::new(AddressGuard::allowing(vec!["127.0.0.1/32".parse().unwrap()]))
            .build()
            .unwrap(),
        loaded: Loaded::default(),
        settings: RunSettings::default(),
        places: Places::of(&RunSettings::default()),
        turns: Turns::default(),
        bell: Default::default(),
        worker_id: WorkerId::new(&*ports.clock, &*ports.random),
    }
}

fn serve(ctx: Arc<RunContext>, stripe: Option<StripeSettings>) -> (RunningServer, Arc<Downloads>) {
    let settings = ApiSettings {
        public_url: "http://127.0.0.1".parse().unwrap(),
        services: Service::ALL.into_iter().collect(),
        metrics_token: None,
        proxies: Vec::new(),
        stripe,
    };
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let state = AppState::new(ctx, settings, metrics);
    let downloads = state.downloads.clone();
    (server::serve(state, std::net::TcpListener::bind("127.0.0.1:0").unwrap()).unwrap(), downloads)
}

/// The access token of a sign-in.
pub fn token(signed_in: &Value) -> String {
    signed_in["access_token"].as_str().unwrap().to_owned()
}
