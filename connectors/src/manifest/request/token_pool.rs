//! `RateLimitedMultipleTokenAuthenticator`: several tokens, each with quotas that the product tells; requests use one that has some left.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use super::{
    super::{
        call_rate::Matcher,
        load::{Take, View},
        session::Session,
        template::{Only, Python, Template},
        time::{self, Duration as Length},
        yaml::Data,
    },
    body::Inputs,
    requester::insert_header,
    url::join,
};
use crate::{
    Error, ErrorKind, Result, clock,
    http::{HeaderMap, Method, Request, Response, RetryPolicy, failure},
};

/// The least wait for a quota to begin anew: what the product says of it may be old.
const EXHAUSTED_MIN: Duration = Duration::from_secs(5);
/// The longest pause that spreads what is left of a quota.
const SPREAD_MAX: Duration = Duration::from_secs(10);

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct TokenPool {
    /// What two components that share their counters have in common.
    pub(crate) key: String,
    tokens: Tokens,
    prefix: String,
    header: String,
    status_url: Template,
    status_method: Method,
    status_headers: Inputs,
    unavailable: Vec<u16>,
    quotas: Vec<Quota>,
    wait_max: Template,
    reserve_fraction: f64,
    reserve_min: f64,
}

#[derive(Debug)]
enum Tokens {
    Joined(Template, String),
    Listed(Vec<Template>),
}

/// `TokenQuota`.
#[derive(Debug)]
struct Quota {
    name: String,
    remaining: Vec<String>,
    reset: Vec<String>,
    limit: Option<Vec<String>>,
    matchers: Vec<Matcher>,
    remaining_header: Option<String>,
    reset_header: Option<String>,
    limit_header: Option<String>,
    exhausted_by: Vec<u16>,
}

/// What is known of the tokens; shared by all streams.
#[derive(Default)]
pub(crate) struct Counters {
    tokens: Vec<(SecretString, Vec<Left>)>,
    active: usize,
}

/// What is left of one quota of one token.
#[derive(Clone, Copy)]
struct Left {
    remaining: i64,
    limit: i64,
    resets_at: Timestamp,
    /// False where the product does not count.
    is_tracked: bool,
}

impl TokenPool {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let tokens = match view.field("tokens").as_ref().map(|node| &node.data) {
            Some(Data::List(_)) => Tokens::Listed(view.templates("tokens")?.unwrap_or_default()),
            _ => {
                let delimiter = view.text("token_delimiter")?.filter(|text| !text.is_empty());
                Tokens::Joined(view.required_template("tokens")?, delimiter.unwrap_or_else(|| ",".into()))
            }
        };
        let source = view.required_child("quota_status_source")?;
        let quotas: Vec<_> = view.children("quotas").iter().map(Quota::load).collect();
        let quotas = quotas.into_iter().collect::<Take<Vec<_>>>()?;
        if quotas.is_empty() {
            return Err(view.problem("a RateLimitedMultipleTokenAuthenticator needs `quotas`"));
        }
        let wait_max = view.template("max_wait_time")?;
        let number = |name: &str, default: f64| -> Take<f64> {
            let Some(text) = view.text(name)? else { return Ok(default) };
            text.parse().map_err(|_| view.problem(format!("`{name}` must be a number")))
        };
        Ok(Self {
            key: view.node().to_json().to_string(),
            tokens,
            prefix: view.text("auth_method")?.unwrap_or_else(|| "Bearer".into()),
            header: view.text("header")?.unwrap_or_else(|| "Authorization".into()),
            status_url: source.required_template("url")?,
            status_method: match source.text("http_method")?.as_deref() {
                Some("POST") => Method::POST,
                _ => Method::GET,
            },
            status_headers: Inputs::load(&source, "request_headers")?,
            unavailable: codes(&source, "unavailable_status_codes")?,
            quotas,
            wait_max: wait_max.map_or_else(|| view.template_of("PT2H", view.node(), "max_wait_time"), Ok)?,
            reserve_fraction: number("budget_reserve_fraction", 0.1)?,
            reserve_min: number("budget_min_reserve", 50.0)?,
        })
    }

    /// Signs `request` with a token that has something left of the quota that it counts for; waits if none has.
    ///
    /// # Errors
    /// `RateLimited` when the wait is longer than the manifest allows; as for requests.
    pub(crate) async fn sign(&self, session: &Session, request: &mut Request) -> Result<()> {
        let shared = session.pool(&self.key);
        let quota = self.quota_of(request);
        let wait_max = self.wait_max.text(&session.engine, session.scope())?;
        let wait_max = Length::parse(&wait_max).map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
        let until = tokio::time::Instant::now() + Duration::from_micros(wait_max.micros.max(0).unsigned_abs());
        loop {
            let wait = {
                let mut counters = shared.lock().await;
                if counters.tokens.is_empty() {
                    counters.tokens = self.ask(session).await?;
                }
                match counters.take(quota) {
                    Ok(token) => {
                        let spread = self.spread(&counters, quota);
                        drop(counters);
                        tokio::time::sleep(spread).await;
                        let value = format!("{} {}", self.prefix, token.expose_secret());
                        return insert_header(&mut request.headers, &self.header, value.trim());
                    }
                    Err(wait) => wait.max(EXHAUSTED_MIN),
                }
            };
            if tokio::time::Instant::now() + wait > until {
                let message = format!("all tokens have used up their quota `{}`", self.quotas[quota].name);
                return Err(Error::new(ErrorKind::RateLimited, message).after(wait));
            }
            tracing::info!(wait_s = wait.as_secs(), "all tokens have used up their quota");
            tokio::time::sleep(wait).await;
            let mut counters = shared.lock().await;
            if !counters.has_left(quota) {
                counters.tokens = self.ask(session).await?;
            }
        }
    }

    /// Learns from the answer to a request that was signed here.
    pub(crate) async fn observe(&self, session: &Session, request: &Request, response: &Response) {
        let quota = self.quota_of(request);
        let rules = &self.quotas[quota];
        let shared = session.pool(&self.key);
        let mut counters = shared.lock().await;
        let sent = request.headers.get(&self.header).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let sent = sent.strip_prefix(self.prefix.as_str()).unwrap_or(sent).trim();
        if let Some((_, lefts)) = counters.tokens.iter_mut().find(|(token, _)| token.expose_secret() == sent) {
            rules.learn(&mut lefts[quota], response);
        }
    }

    /// The quota that a request counts for: one whose matcher names it, or the first without any.
    fn quota_of(&self, request: &Request) -> usize {
        let named = self.quotas.iter().position(|quota| quota.matchers.iter().any(|matcher| matcher.matches(request)));
        named.or_else(|| self.quotas.iter().position(|quota| quota.matchers.is_empty())).unwrap_or(0)
    }

    /// How long to wait so that the little that is left lasts until it is filled up again.
    fn spread(&self, counters: &Counters, quota: usize) -> Duration {
        let lefts = || counters.tokens.iter().map(|(_, lefts)| lefts[quota]);
        let is_low = |left: Left| {
            left.is_tracked && left.remaining as f64 <= self.reserve_min.max(left.limit as f64 * self.reserve_fraction)
        };
        let total: i64 = lefts().map(|left| left.remaining.max(0)).sum();
        if total <= 0 || !lefts().all(is_low) {
            return Duration::ZERO;
        }
        let until = counters.tokens[counters.active].1[quota].until_reset();
        (until / u32::try_from(total).unwrap_or(u32::MAX)).min(SPREAD_MAX)
    }

    /// Asks the product what is left of every token.
    async fn ask(&self, session: &Session) -> Result<Vec<(SecretString, Vec<Left>)>> {
        let text = |template: &Template| template.text(&session.engine, session.scope());
        let tokens: Vec<String> = match &self.tokens {
            Tokens::Joined(tokens, delimiter) => text(tokens)?.split(delimiter.as_str()).map(str::to_owned).collect(),
            Tokens::Listed(tokens) => tokens.iter().map(text).collect::<Result<_>>()?,
        };
        let mut all = Vec::new();
        for token in tokens.iter().map(|token| token.trim()).filter(|token| !token.is_empty()) {
            all.push((SecretString::from(token.to_owned()), self.ask_of(session, token).await?));
        }
        if all.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "the settings hold no token to sign requests with"));
        }
        Ok(all)
    }

    async fn ask_of(&self, session: &Session, token: &str) -> Result<Vec<Left>> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.status_headers.evaluate(&session.engine, session.scope(), Only::Any)?.0 {
            insert_header(&mut headers, &name, &value.text())?;
        }
        insert_header(&mut headers, &self.header, format!("{} {token}", self.prefix).trim())?;
        let url = join(&self.status_url.text(&session.engine, session.scope())?, "")?;
        let request = Request { method: self.status_method.clone(), headers, ..Request::get(url) };
        let policy = RetryPolicy::default();
        let answer = policy.run(|| async {
            let response = session.send(request.clone()).await?;
            let is_unavailable = self.unavailable.contains(&response.status.as_u16());
            match failure(&response, clock::now()).filter(|_| !is_unavailable) {
                Some(error) => Err(error),
                None => Ok(response),
            }
        });
        let response = answer.await?;
        if self.unavailable.contains(&response.status.as_u16()) {
            let untracked = Left { remaining: 0, limit: 0, resets_at: clock::now(), is_tracked: false };
            return Ok(vec![untracked; self.quotas.len()]);
        }
        let body: Value = serde_json::from_slice(&response.body)
            .map_err(|_| Error::new(ErrorKind::BadAnswer, "the product's answer about quotas is not JSON"))?;
        self.quotas.iter().map(|quota| quota.read(&body)).collect()
    }
}

impl Counters {
    /// True when a token can be used.
    fn has_left(&self, quota: usize) -> bool {
        self.tokens.iter().any(|(_, lefts)| !lefts[quota].is_tracked || lefts[quota].remaining > 0)
    }

    /// A token with something left, one less; else how long until there is.
    fn take(&mut self, quota: usize) -> std::result::Result<SecretString, Duration> {
        let count = self.tokens.len();
        for step in 0..count {
            let at = (self.active + step) % count;
            let (token, lefts) = &mut self.tokens[at];
            let left = &mut lefts[quota];
            if !left.is_tracked {
                // Nobody counts: they take turns.
                self.active = (at + 1) % count;
                return Ok(token.clone());
            }
            if left.remaining > 0 {
                left.remaining -= 1;
                self.active = at;
                return Ok(token.clone());
            }
        }
        let soonest = self.tokens.iter().map(|(_, lefts)| lefts[quota].until_reset()).min();
        Err(soonest.unwrap_or_default())
    }
}

impl Left {
    fn until_reset(&self) -> Duration {
        Duration::try_from(self.resets_at.duration_since(clock::now())).unwrap_or_default()
    }
}

impl Quota {
    fn load(view: &View<'_>) -> Take<Self> {
        let path = |name: &str| {
            let path = view.texts(name)?.filter(|path| !path.is_empty());
            path.ok_or_else(|| view.problem(format!("a TokenQuota needs `{name}`")))
        };
        let matchers: Vec<_> = view.children("matchers").iter().map(Matcher::load).collect();
        Ok(Self {
            name: view.required_text("name")?,
            remaining: path("remaining_path")?,
            reset: path("reset_path")?,
            limit: view.texts("limit_path")?,
            matchers: matchers.into_iter().collect::<Take<_>>()?,
            remaining_header: view.text("remaining_header")?,
            reset_header: view.text("reset_header")?,
            limit_header: view.text("limit_header")?,
            exhausted_by: codes(view, "exhaustion_status_codes")?,
        })
    }

    fn read(&self, body: &Value) -> Result<Left> {
        let at = |path: &[String]| {
            let found = path.iter().try_fold(body, |value, step| value.get(step));
            found.map(|value| Python::from(value).text()).ok_or_else(|| {
                let message =
                    format!("the answer about quotas has nothing at `{}` for `{}`", path.join("."), self.name);
                Error::new(ErrorKind::BadAnswer, message)
            })
        };
        let wrong = |text: &str| {
            Error::new(ErrorKind::BadAnswer, format!("the answer about quotas has `{text}` for `{}`", self.name))
        };
        let whole = |text: String| text.parse::<i64>().map_err(|_| wrong(&text));
        let remaining = whole(at(&self.remaining)?)?;
        let reset = at(&self.reset)?;
        Ok(Left {
            remaining,
            limit: self.limit.as_ref().map_or(Ok(remaining), |path| whole(at(path)?))?,
            resets_at: instant(&reset).ok_or_else(|| wrong(&reset))?,
            is_tracked: true,
        })
    }

    /// Takes up what the headers of an answer say; within one window a count only falls.
    fn learn(&self, left: &mut Left, response: &Response) {
        let header = |name: &Option<String>| response.headers.get(name.as_deref()?)?.to_str().ok();
        let number = |name: &Option<String>| header(name).and_then(|text| text.trim().parse::<i64>().ok());
        let is_exhausted = self.exhausted_by.contains(&response.status.as_u16());
        let remaining = number(&self.remaining_header).or(is_exhausted.then_some(0));
        let reset = header(&self.reset_header).and_then(instant);
        if !left.is_tracked {
            return;
        }
        if let Some(limit) =
            number(&self.limit_header).filter(|limit| *limit > 0 && reset.is_none_or(|at| at >= left.resets_at))
        {
            left.limit = limit;
        }
        match (reset, remaining) {
            (Some(at), _) if at > left.resets_at => {
                left.resets_at = at;
                left.remaining = remaining.unwrap_or(left.limit);
            }
            (_, Some(remaining)) => left.remaining = left.remaining.min(remaining),
            _ => {}
        }
    }
}

fn codes(view: &View<'_>, name: &str) -> Take<Vec<u16>> {
    let codes = view.texts(name)?.unwrap_or_default();
    codes.iter().map(|code| code.parse().map_err(|_| view.problem(format!("`{code}` is no HTTP status")))).collect()
}

/// Seconds since 1970, or an ISO instant.
fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Timestamp::from_millisecond((seconds * 1000.0) as i64).ok();
    }
    Timestamp::from_microsecond(time::parse_iso(text.trim()).ok()?.epoch_us()).ok()
}

/// The counters of one component.
pub(crate) type SharedCounters = Arc<tokio::sync::Mutex<Counters>>;
