//! A manifest bound to one person's settings: what every request needs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use minijinja::Value;
use secrecy::SecretString;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::{
    call_rate::Budget,
    request::token_pool::SharedCounters,
    template::{Engine, Scope, values},
};
use crate::{
    CredentialStore, Error, Link, Result, Settings,
    http::{HttpClient, Opened, Request, Response, tape::Secrets},
    oauth::TokenSource,
};

/// Shared by all streams of one connector.
#[derive(Clone)]
pub(crate) struct Session {
    /// Evaluates the manifest's templates.
    pub(crate) engine: Arc<Engine>,
    /// The person's settings.
    pub(crate) settings: Arc<serde_json::Value>,
    /// Where rotated tokens are kept.
    pub(crate) credentials: Arc<dyn CredentialStore>,
    /// Sends requests.
    pub(crate) http: HttpClient,
    /// What no message may hold: a product may repeat it in an answer that a message quotes.
    secrets: Arc<Secrets>,
    /// How many requests the manifest says are allowed.
    budget: Option<Arc<Budget>>,
    scope: Scope,
    requests: Arc<AtomicU64>,
    /// Owners of tokens by what they sign in to, so that streams share them.
    tokens: Arc<Mutex<HashMap<String, TokenSource>>>,
    /// Reports that the product may be making at once.
    jobs: Arc<Semaphore>,
    /// Tokens from login requests, with their ends, by the login.
    pub(crate) logins: Arc<tokio::sync::Mutex<HashMap<String, (SecretString, jiff::Timestamp)>>>,
    /// Properties that the product listed, by where the manifest asks for them.
    pub(crate) properties: Arc<tokio::sync::Mutex<HashMap<usize, Arc<Vec<String>>>>>,
    /// What is left of the quotas of tokens, by their component.
    pools: Arc<Mutex<HashMap<String, SharedCounters>>>,
    /// Schemas that the product described, by the stream's name.
    pub(crate) schemas: Arc<tokio::sync::Mutex<HashMap<String, Arc<serde_json::Value>>>>,
}

impl Session {
    /// Binds `link` to the templates of a manifest.
    pub(crate) fn new(engine: Arc<Engine>, link: Link, settings: serde_json::Value) -> Self {
        let config: Value = values::from_json(&settings);
        Self {
            engine,
            secrets: Arc::default(),
            budget: None,
            scope: Scope::new(&config),
            settings: Arc::new(settings),
            credentials: link.credentials,
            http: link.http,
            requests: Arc::default(),
            tokens: Arc::default(),
            logins: Arc::default(),
            pools: Arc::default(),
            schemas: Arc::default(),
            properties: Arc::default(),
            jobs: Arc::new(Semaphore::new(1)),
        }
    }

    /// The same for streams whose templates another engine evaluates.
    pub(crate) fn with_engine(&self, engine: Arc<Engine>) -> Self {
        Self { engine, ..self.clone() }
    }

    /// The same with some settings replaced. What was signed in to with others is not used.
    pub(crate) fn with_settings(&self, overrides: &serde_json::Map<String, serde_json::Value>) -> Self {
        let mut settings = serde_json::Value::clone(&self.settings);
        if let Some(members) = settings.as_object_mut() {
            members.extend(overrides.clone());
        }
        let scope = Scope::new(&values::from_json(&settings));
        Self {
            settings: Arc::new(settings),
            scope,
            schemas: Arc::default(),
            properties: Arc::default(),
            ..self.apart()
        }
    }

    /// The same without the owners of tokens, for one of them to hold.
    pub(crate) fn apart(&self) -> Self {
        Self { tokens: Arc::default(), logins: Arc::default(), pools: Arc::default(), ..self.clone() }
    }

    /// Knows which settings are secret, by their schema.
    pub(crate) fn keep_secret(&mut self, schema: &serde_json::Value) {
        self.secrets = Arc::new(Secrets::of_settings(schema, &self.settings));
    }

    /// `error` without the secrets that a product repeated.
    pub(crate) fn told(&self, error: Error) -> Error {
        error.rewritten(|text| self.secrets.hide(text))
    }

    /// Lets no more requests out than `budget` has.
    pub(crate) fn keep_within(&mut self, budget: Budget) {
        self.budget = Some(Arc::new(budget));
    }

    /// Lets so many reports be made at once.
    pub(crate) fn allow_jobs(&mut self, count: usize) {
        self.jobs = Arc::new(Semaphore::new(count.max(1)));
    }

    /// Waits until the product may be asked for another report.
    pub(crate) fn job_turn(&self) -> impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + use<> {
        Arc::clone(&self.jobs).acquire_owned()
    }

    /// The names that every template sees.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// The settings for components whose code an embedder brings.
    pub(crate) fn own_settings(&self) -> Settings {
        Settings::shared(Arc::clone(&self.settings))
    }

    /// Sends once and counts.
    ///
    /// # Errors
    /// As for [`HttpClient::send_once`].
    pub(crate) async fn send(&self, request: Request) -> Result<Response> {
        if let Some(budget) = &self.budget {
            budget.acquire(&request).await?;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let response = self.http.send_once(request.clone()).await?;
        self.observe(&request, &response);
        Ok(response)
    }

    /// Sends once and counts; the body of a good answer is left to be read piece by piece.
    ///
    /// # Errors
    /// As for [`HttpClient::open_once`].
    pub(crate) async fn open(&self, request: Request) -> Result<Opened> {
        if let Some(budget) = &self.budget {
            budget.acquire(&request).await?;
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        let opened = self.http.open_once(request.clone()).await?;
        self.observe(&request, &opened.head);
        Ok(opened)
    }

    /// Learns from an answer: what is left to be asked, and of a refusal which credential it may repeat.
    fn observe(&self, request: &Request, response: &Response) {
        if let Some(budget) = &self.budget {
            budget.observe(request, response);
        }
        if response.status.as_u16() >= 400 {
            self.secrets.learn_headers(&request.headers);
        }
    }

    /// Requests sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The counters of the component that `key` tells.
    pub(crate) fn pool(&self, key: &str) -> SharedCounters {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(pools.entry(key.to_owned()).or_default())
    }

    /// The owner of the tokens for `what`, made by `make` at the first call.
    pub(crate) fn tokens(&self, what: String, make: impl FnOnce() -> TokenSource) -> TokenSource {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(what).or_insert_with(make).clone()
    }
}

/// The settings hold secrets: nothing of it is printed.
impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}
