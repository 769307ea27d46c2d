//! A manifest bound to one person's settings: what every request needs.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use minijinja::Value;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use url::Url;

use super::{
    call_rate::Budget,
    request::{
        token_pool::SharedCounters,
        url::{is_at_home, join},
    },
    template::{Engine, Scope, Template, values},
};
use crate::{
    CredentialStore, Error, FailedItem, Link, Result, Settings, SignIn,
    http::{HttpClient, Opened, Request, Response, tape::Secrets},
    oauth::TokenSource,
};

/// A token and its end. Each has a lock of its own: a login may need another one.
pub(crate) type Login = tokio::sync::Mutex<Option<(SecretString, jiff::Timestamp)>>;

/// What the product listed. Each has a lock of its own, for the same reason.
pub(crate) type Properties = tokio::sync::Mutex<Option<Arc<Vec<String>>>>;

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
    /// How many requests the manifest says are allowed.
    budget: Option<Arc<Budget>>,
    /// The refresh token that the sign-in in the browser brought; empty before it, `None` where there is no such sign-in.
    browser_grant: Option<SecretString>,
    scope: Scope,
    /// Where requests go by the word of the manifest and the settings.
    homes: Arc<Vec<Url>>,
    /// What must not stand in an error.
    secrets: Arc<Secrets>,
    requests: Arc<AtomicU64>,
    /// Those of them that no page told yet.
    untold: Arc<AtomicU64>,
    /// Owners of tokens by what they sign in to, so that streams share them.
    tokens: Arc<Mutex<HashMap<String, TokenSource>>>,
    /// Reports that the product may be making at once.
    jobs: Arc<Semaphore>,
    /// Tokens from login requests, by the login.
    logins: Arc<Mutex<HashMap<String, Arc<Login>>>>,
    /// Properties that the product listed, by where the manifest asks for them.
    properties: Arc<Mutex<HashMap<usize, Arc<Properties>>>>,
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
            budget: None,
            browser_grant: None,
            scope: Scope::new(&config),
            settings: Arc::new(settings),
            credentials: link.credentials,
            http: link.http,
            homes: Arc::default(),
            secrets: Arc::default(),
            requests: Arc::default(),
            untold: Arc::default(),
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

    /// Knows the sign-in in the browser, whose tokens have the credential's first place.
    pub(crate) fn sign_in_by(&mut self, sign_in: &SignIn) {
        let SignIn::OAuth2(sign_in) = sign_in else { return };
        let [grant, _] = sign_in.tokens_in(&self.settings);
        self.browser_grant = Some(grant.unwrap_or_default().into());
    }

    /// True when people sign in in the browser. Tokens without a place come from there then.
    pub(crate) fn has_browser(&self) -> bool {
        self.browser_grant.is_some()
    }

    /// True when a refresh token from the settings is the one of the sign-in in the browser.
    pub(crate) fn is_of_browser(&self, refresh_token: Option<&str>) -> bool {
        let grant = self.browser_grant.as_ref().map(ExposeSecret::expose_secret);
        grant.is_some_and(|grant| grant == refresh_token.unwrap_or_default())
    }

    /// Lets settings and credentials go to the hosts that `addresses` name.
    pub(crate) fn declare(&mut self, addresses: &[Template]) {
        // One that cannot be evaluated is told when a request needs it.
        let homes =
            addresses.iter().filter_map(|address| join(&address.text(&self.engine, &self.scope).ok()?, "").ok());
        self.homes = Arc::new(homes.collect());
    }

    /// True when the manifest or the settings name the host of `url`, or another one of its registered domain.
    pub(crate) fn is_declared(&self, url: &Url) -> bool {
        self.homes.iter().any(|home| is_at_home(home, url))
    }

    /// Keeps what `schema` calls secret out of errors and logs.
    pub(crate) fn hide(&mut self, schema: &serde_json::Value) {
        self.secrets = Arc::new(Secrets::of_connection(schema, &self.settings, &self.http));
        self.http = self.http.clone().hiding(Arc::clone(&self.secrets));
    }

    /// Keeps a token that the product gave out of errors and logs.
    pub(crate) fn hide_token(&self, token: &str) {
        self.secrets.add_found(token);
    }

    /// An error without secrets: a setting may stand in an address, or in what a template gives.
    pub(crate) fn clean(&self, error: Error) -> Error {
        error.reworded(|text| self.secrets.hide(text))
    }

    /// The same for a part that could not be read.
    pub(crate) fn clean_item(&self, failed: &FailedItem) -> FailedItem {
        FailedItem { item: self.secrets.hide(&failed.item), reason: self.secrets.hide(&failed.reason) }
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
        self.turn(&request).await?;
        self.count_request();
        let response = self.http.send_once(request.clone()).await?;
        self.observe(&request, &response);
        Ok(response)
    }

    /// Sends once and counts; the body of a good answer is left to be read piece by piece.
    ///
    /// # Errors
    /// As for [`HttpClient::open_once`].
    pub(crate) async fn open(&self, request: Request) -> Result<Opened> {
        self.turn(&request).await?;
        self.count_request();
        let opened = self.http.open_once(request.clone()).await?;
        self.observe(&request, &opened.head);
        Ok(opened)
    }

    async fn turn(&self, request: &Request) -> Result<()> {
        let Some(budget) = &self.budget else { return Ok(()) };
        let asked_at = tokio::time::Instant::now();
        let turn = budget.acquire(request).await;
        self.http.count_wait(asked_at.elapsed());
        turn
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

    fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.untold.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests sent since somebody last took them, for whichever stream.
    pub(crate) fn take_requests(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Requests sent so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// The place of the token that `login` gives.
    pub(crate) fn login(&self, login: String) -> Arc<Login> {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(logins.entry(login).or_default())
    }

    /// The place of the properties that are listed at `place`.
    pub(crate) fn properties(&self, place: usize) -> Arc<Properties> {
        let mut properties = self.properties.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(properties.entry(place).or_default())
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
