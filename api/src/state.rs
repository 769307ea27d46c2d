//! What every handler is handed: the ports, typed rows, snapshots, the integrations and the settings.

use std::{collections::BTreeSet, slice, str::FromStr, sync::Arc};

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind,
    accounts::Office,
    billing::{
        Allowance, Plans,
        stripe::{Stripe, StripeSettings},
    },
    connectors::http::Network,
    model::{ActivityEvent, Id, id::IdKind, scope::SystemScope},
    ports::Ports,
    run::{RunContext, event},
    store::Store,
};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{
    downloads::{DownloadLimits, Downloads},
    jwt::Verifier,
    strangers::Strangers,
};

/// Shared by all workers of the server; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The outside.
    pub ports: Ports,
    /// Typed rows over `ports.tables`.
    pub store: Store,
    /// Sign-in, subtrees and OAuth callbacks look across accounts; everything else goes through a caller's scope.
    pub system: SystemScope,
    /// What runs are handed too: snapshots, integrations and the guarded HTTP client.
    pub ctx: Arc<RunContext>,
    /// Checks access tokens.
    pub verifier: Arc<Verifier>,
    /// How this process serves.
    pub settings: Arc<ApiSettings>,
    /// What `GET /metrics` shows.
    pub metrics: PrometheusHandle,
    /// When this process began to serve.
    pub started_at: Timestamp,
    /// Downloads under way.
    pub downloads: Arc<Downloads>,
    /// What those may do who are nobody yet.
    pub strangers: Arc<Strangers>,
    /// Where payments are made; none where there are no payments.
    pub stripe: Option<Stripe>,
    /// The process is to end: it is not ready for further requests, though it answers them.
    pub stopping: CancellationToken,
    /// Ends long answers (server-sent events) when the server stops.
    pub closing: CancellationToken,
}

impl AppState {
    /// Over a worker's world.
    pub fn new(ctx: Arc<RunContext>, settings: ApiSettings, metrics: PrometheusHandle) -> Self {
        Self {
            ports: ctx.ports.clone(),
            store: ctx.store.clone(),
            system: ctx.system,
            verifier: Arc::new(Verifier::new(&ctx.ports)),
            stripe: settings.stripe.clone().map(|stripe| Stripe::new(ctx.http.clone(), stripe)),
            settings: Arc::new(settings),
            metrics,
            started_at: ctx.ports.clock.now(),
            downloads: Downloads::new(DownloadLimits::DEFAULT),
            strangers: Arc::default(),
            stopping: CancellationToken::new(),
            closing: CancellationToken::new(),
            ctx,
        }
    }

    /// With other bounds of downloads.
    #[must_use]
    pub fn limiting_downloads(mut self, limits: DownloadLimits) -> Self {
        self.downloads = Downloads::new(limits);
        self
    }

    /// Where changes to accounts are made.
    pub fn office(&self) -> Office<'_> {
        Office { ports: &self.ports, store: &self.store, system: &self.system, plans: self.plans() }
    }

    /// What accounts may use.
    pub fn plans(&self) -> &Plans {
        &self.ctx.settings.plans
    }

    /// What is asked before something is made that plans limit.
    pub fn allowance(&self) -> Allowance<'_> {
        Allowance { plans: self.plans(), store: &self.store, system: &self.system, now: self.now() }
    }

    /// Hands events on that were kept in the transaction of their change, each in its own account.
    pub fn publish(&self, events: &[ActivityEvent]) {
        for told in events {
            event::publish(&self.ports, &self.system.account(told.account_id), slice::from_ref(told));
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// A new id.
    pub fn new_id<K: IdKind>(&self) -> Id<K> {
        Id::new(&*self.ports.clock, &*self.ports.random)
    }
}

/// How one process serves.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// Where people reach this server: the base of redirect addresses and links.
    pub public_url: Url,
    /// Which services this process serves; any subset.
    pub services: BTreeSet<Service>,
    /// Lets a collector read `GET /metrics` from afar (`Authorization: Bearer …`); without it, only this machine may.
    pub metrics_token: Option<SecretString>,
    /// Networks of proxies before this server, whose word counts of where a request came from; those on this machine do anyway.
    pub proxies: Vec<Network>,
    /// How Stripe is reached; without it there are no payments.
    pub stripe: Option<StripeSettings>,
}

/// One of the services that a process can serve alone or beside others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// Sign-in, profile, access keys.
    Auth,
    /// Accounts and members.
    Accounts,
    /// What can be connected, and OAuth.
    Integrations,
    /// Connected products.
    Sources,
    /// Jobs, runs and dead letters.
    Jobs,
    /// Snapshots, records, files.
    Data,
    /// The log of events.
    Activity,
    /// Plans, subscriptions, payments.
    Billing,
    /// What runs came to, over time.
    Analytics,
    /// Events sent to other programs.
    Webhooks,
    /// Health, version, documentation, metrics; part of every process.
    System,
}

impl Service {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 11] = [
        Self::Auth,
        Self::Accounts,
        Self::Integrations,
        Self::Sources,
        Self::Jobs,
        Self::Data,
        Self::Activity,
        Self::Billing,
        Self::Analytics,
        Self::Webhooks,
        Self::System,
    ];

    /// The word used on the command line and as a tag in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Accounts => "accounts",
            Self::Integrations => "integrations",
            Self::Sources => "sources",
            Self::Jobs => "jobs",
            Self::Data => "data",
            Self::Activity => "activity",
            Self::Billing => "billing",
            Self::Analytics => "analytics",
            Self::Webhooks => "webhooks",
            Self::System => "system",
        }
    }
}

impl FromStr for Service {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|service| service.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|service| service.as_str()).collect();
            Error::new(ErrorKind::Invalid, format!("unknown service; known are {}", known.join(", ")))
                .with("service", text)
        })
    }
}
