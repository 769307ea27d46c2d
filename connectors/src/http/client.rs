//! [`HttpClient`]: one attempt with every guard on. [`super::retry`] adds the trying again.

use std::{
    collections::HashMap,
    error::Error as StdError,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use reqwest::redirect::Policy;
use tokio::time::timeout;

use super::{
    HeaderMap, Request, Response, StatusCode,
    address::{AddressGuard, Refused},
    body,
    budget::{QuotaHeaders, RateBudget},
    guarded::GuardedSecret,
    redact_url, redirect,
    tape::Secrets,
    wire::Wire,
};
use crate::error::{Error, ErrorKind, Result};

/// What one request may cost.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Until a connection stands, TLS included.
    pub connect_timeout: Duration,
    /// From sending a request to the head of its answer, connecting included.
    pub head_timeout: Duration,
    /// For the whole attempt, redirects and body included: cuts a sender that trickles.
    pub total_timeout: Duration,
    /// Longest body, counted after decompression.
    pub body_max_bytes: u64,
    /// Redirects followed for one request.
    pub redirects_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            head_timeout: Duration::from_secs(90),
            total_timeout: Duration::from_secs(300),
            body_max_bytes: 64 << 20,
            redirects_max: 10,
        }
    }
}

/// Builds an [`HttpClient`].
#[derive(Clone)]
pub struct HttpClientBuilder {
    /// Which addresses may be reached.
    pub guard: AddressGuard,
    /// What one request may cost.
    pub limits: Limits,
    /// The rate budget of the credential, if one is known. A recording has none unless one is given.
    pub budget: Option<RateBudget>,
    /// The `User-Agent` of requests that set none.
    pub user_agent: String,
    /// Where answers come from: the network, unless a recording is made or replayed, or faults are tried.
    pub wire: Wire,
}

impl HttpClientBuilder {
    /// The usual limits, no budget, the product's name and version as `User-Agent`.
    pub fn new(guard: AddressGuard) -> Self {
        let user_agent = concat!("ListBackup/", env!("CARGO_PKG_VERSION")).to_owned();
        Self { guard, limits: Limits::default(), budget: None, user_agent, wire: Wire::default() }
    }

    /// Builds the client with its own pool of connections.
    ///
    /// # Errors
    /// `Invalid` for a `User-Agent` that no header can carry, or when the machine has no TLS roots.
    #[allow(clippy::disallowed_methods, reason = "the one client itself")]
    pub fn build(self) -> Result<HttpClient> {
        let client = reqwest::Client::builder()
            .user_agent(self.user_agent)
            .redirect(Policy::none())
            .referer(false)
            // A proxy would resolve and connect in our stead, past the guard.
            .no_proxy()
            .retry(reqwest::retry::never())
            .dns_resolver(self.guard.clone())
            .connect_timeout(self.limits.connect_timeout)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Invalid, format!("the HTTP client cannot be built: {}", innermost(&error)))
            })?;
        let budget = self.budget.or_else(|| self.wire.is_replay().then(RateBudget::without_rates));
        Ok(HttpClient {
            inner: Arc::new(Inner {
                client,
                guard: self.guard,
                limits: self.limits,
                wire: self.wire,
                budgets: Mutex::default(),
            }),
            budget,
            waited_ms: Arc::default(),
            secrets: None,
            guarded: None,
        })
    }
}

/// Cheap to clone: clones share connections, budgets and the address guard.
#[derive(Clone)]
pub struct HttpClient {
    inner: Arc<Inner>,
    budget: Option<RateBudget>,
    /// How long requests of this connection waited for the product's limits.
    waited_ms: Arc<AtomicU64>,
    secrets: Option<Arc<Secrets>>,
    guarded: Option<Arc<GuardedSecret>>,
}

struct Inner {
    client: reqwest::Client,
    guard: AddressGuard,
    limits: Limits,
    wire: Wire,
    /// Budgets by credential.
    budgets: Mutex<HashMap<String, RateBudget>>,
}

/// More budgets than this are not kept while nobody uses them.
const BUDGETS_MAX: usize = 10_000;

/// Why one attempt failed, before it is told with its place.
pub(super) enum Fault {
    TooLarge,
    Transport(reqwest::Error),
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        Self::Transport(error)
    }
}

impl HttpClient {
    /// The same client, waiting its turn in `budget`: one budget a credential, shared by all its streams.
    #[must_use]
    pub fn with_budget(mut self, budget: RateBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The same client, with `secrets` kept out of what it logs: a credential may stand in a path.
    #[must_use]
    pub(crate) fn hiding(mut self, secrets: Arc<Secrets>) -> Self {
        self.secrets = Some(secrets);
        self
    }

    /// The same client, refusing to send `secret` to other hosts than it names.
    #[must_use]
    pub fn guarding(mut self, secret: GuardedSecret) -> Self {
        self.guarded = Some(Arc::new(secret));
        self
    }

    /// The secret of which that was said.
    pub(crate) fn guarded(&self) -> Option<&GuardedSecret> {
        self.guarded.as_deref()
    }

    /// An address fit for logs.
    pub(super) fn shown(&self, url: &url::Url) -> String {
        let url = redact_url(url);
        self.secrets.as_ref().map_or_else(|| url.clone(), |secrets| secrets.hide(&url))
    }

    /// The same client, waiting its turn in the budget of one credential: whoever connects by the same `credential` in this
    /// process, one after the other or at once, shares it. `share` (above 0, at most 1) of the product's limits is ours.
    ///
    /// # Errors
    /// `Invalid` for a share out of range.
    pub fn for_credential(&self, credential: &str, share: f64) -> Result<Self> {
        let mut budgets = self.inner.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(credential).filter(|budget| budget.share().total_cmp(&share).is_eq()) {
            return Ok(self.connection(budget.clone()));
        }
        let budget = RateBudget::new(&[], share, QuotaHeaders::default())?;
        if budgets.len() >= BUDGETS_MAX {
            budgets.retain(|_, budget| !budget.is_idle());
        }
        budgets.insert(credential.to_owned(), budget.clone());
        Ok(self.connection(budget))
    }

    /// A client whose waits are counted apart.
    fn connection(&self, budget: RateBudget) -> Self {
        Self { waited_ms: Arc::default(), budget: Some(budget), ..self.clone() }
    }

    /// Milliseconds in which requests of this client and its clones waited for the product's limits, those that waited at the same
    /// time each, since somebody last took them.
    pub fn take_waited_ms(&self) -> u64 {
        self.waited_ms.swap(0, Ordering::Relaxed)
    }

    /// Counts a wait for the product's limits.
    pub(crate) fn count_wait(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.waited_ms.fetch_add(ms, Ordering::Relaxed);
    }

    /// The budget that requests of this client wait for.
    pub fn budget(&self) -> Option<&RateBudget> {
        self.budget.as_ref()
    }

    /// The guard that addresses are checked by.
    pub fn guard(&self) -> &AddressGuard {
        &self.inner.guard
    }

    /// Sends once: no retry, no reading of the status. Redirects are followed and checked; each waits for the budget.
    ///
    /// # Errors
    /// `Retry` for network faults and time-outs, `BadAnswer` over a cap, `Denied` for an address the guard refuses,
    /// `RateLimited` when the budget would make it wait too long.
    pub async fn send_once(&self, request: Request) -> Result<Response> {
        let first_url = request.url.clone();
        let mut request = request;
        let mut left = self.inner.limits.total_timeout;
        for _ in 0..=self.inner.limits.redirects_max {
            self.before(&request).await?;
            let response = self.exchange(&request, &mut left).await?;
            match self.after(&request, response.status, &response.headers)? {
                Some(next) => request = next,
                None => return Ok(response),
            }
        }
        Err(self.too_many_redirects(&first_url))
    }

    /// Checks where a request goes, and waits for its turn.
    pub(super) async fn before(&self, request: &Request) -> Result<()> {
        self.inner.guard.check_url(&request.url)?;
        self.guarded().map_or(Ok(()), |secret| secret.check(request))?;
        match &self.budget {
            Some(budget) => {
                let asked_at = tokio::time::Instant::now();
                let turn = budget.acquire().await;
                self.count_wait(asked_at.elapsed());
                turn.map_err(|error| error.with("url", redact_url(&request.url)))
            }
            None => Ok(()),
        }
    }

    /// Notes what an answer says of the budget; the request that it redirects to, if it does.
    pub(super) fn after(&self, request: &Request, status: StatusCode, headers: &HeaderMap) -> Result<Option<Request>> {
        if let Some(budget) = &self.budget {
            budget.observe(status, headers);
        }
        redirect::next(request, status, headers)
    }

    pub(super) fn too_many_redirects(&self, first_url: &url::Url) -> Error {
        let message = format!("gave up after {} redirects", self.inner.limits.redirects_max);
        Error::new(ErrorKind::BadAnswer, message).with("url", redact_url(first_url))
    }

    /// One request, one answer, under the time-outs; takes its time from what is `left` for all redirects.
    async fn exchange(&self, request: &Request, left: &mut Duration) -> Result<Response> {
        let limits = &self.inner.limits;
        let started = tokio::time::Instant::now();
        let outcome = timeout(*left, self.exchange_untimed(request)).await.unwrap_or_else(|_| {
            let message = format!("the answer was not complete after {}", seconds(limits.total_timeout));
            Err(Error::new(ErrorKind::Retry, message))
        });
        *left = left.saturating_sub(started.elapsed());
        tracing::debug!(
            method = %request.method,
            url = self.shown(&request.url),
            status = outcome.as_ref().ok().map(|response| response.status.as_u16()),
            bytes = outcome.as_ref().ok().map(|response| response.body.len()),
            elapsed_ms = started.elapsed().as_millis() as u64,
            "request"
        );
        outcome.map_err(|error| error.with("url", redact_url(&request.url)))
    }

    async fn exchange_untimed(&self, request: &Request) -> Result<Response> {
        let answer = self.begin(request).await?;
        self.collected(request, answer).await
    }

    /// One request until its answer begins.
    pub(super) async fn begin(&self, request: &Request) -> Result<reqwest::Response> {
        let wire = &self.inner.wire;
        if let Some(answer) = wire.answer(request) {
            return answer;
        }
        let answer = self.begin_over_network(request).await?;
        if !wire.wants_whole() {
            return Ok(answer);
        }
        let whole = self.collected(request, answer).await?;
        wire.pass(request, whole)
    }

    async fn begin_over_network(&self, request: &Request) -> Result<reqwest::Response> {
        let Inner { client, limits, .. } = &*self.inner;
        let mut outgoing = reqwest::Request::new(request.method.clone(), request.url.clone());
        *outgoing.headers_mut() = request.headers.clone();
        if !request.body.is_empty() {
            *outgoing.body_mut() = Some(request.body.clone().into());
        }
        let head = timeout(limits.head_timeout, client.execute(outgoing)).await;
        match head {
            Ok(answer) => answer.map_err(|error| self.told(error)),
            Err(_) => {
                let message = format!("no answer began within {}", seconds(limits.head_timeout));
                Err(Error::new(ErrorKind::Retry, message))
            }
        }
    }

    /// The whole of an answer, under the cap.
    pub(super) async fn collected(&self, request: &Request, mut answer: reqwest::Response) -> Result<Response> {
        let limits = &self.inner.limits;
        let body = body::collect(&mut answer, limits.body_max_bytes).await.map_err(|fault| told(&fault, limits))?;
        let headers = std::mem::take(answer.headers_mut());
        Ok(Response { status: answer.status(), headers, body, url: request.url.clone() })
    }

    /// A transport's fault in our words.
    pub(super) fn told(&self, error: reqwest::Error) -> Error {
        told(&Fault::Transport(error), &self.inner.limits)
    }

    /// What one request may cost.
    pub(super) fn limits(&self) -> &Limits {
        &self.inner.limits
    }
}

/// Puts a fault into words and into a kind. Never prints a library's message with a URL in it.
fn told(fault: &Fault, limits: &Limits) -> Error {
    let error = match fault {
        Fault::TooLarge => {
            let message = format!(
                "the answer is larger than {} bytes after decompression: ask for smaller pages, or for a shorter time",
                limits.body_max_bytes
            );
            return Error::new(ErrorKind::BadAnswer, message);
        }
        Fault::Transport(error) => error,
    };
    if let Some(refused) = Refused::in_chain(error) {
        return refused.error();
    }
    let what = if error.is_dns() {
        "the host's name cannot be resolved"
    } else if error.is_timeout() {
        "the connection took too long"
    } else if error.is_connect() {
        "no connection"
    } else if error.is_decode() || error.is_body() {
        "the answer broke off or is damaged"
    } else if error.is_builder() {
        return Error::new(ErrorKind::Invalid, format!("the request cannot be built: {}", innermost(error)));
    } else {
        "the exchange failed"
    };
    Error::new(ErrorKind::Retry, format!("{what}: {}", innermost(error)))
}

/// The message of the last cause: the operating system's or the protocol's own, without our URL.
fn innermost(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::addr_eq(cause, error) { "no further cause".to_owned() } else { cause.to_string() }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
