//! The rate budget of one credential: every request of every stream waits its turn here.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName},
};
use tokio::time::Instant;

use super::retry::retry_after;
use crate::{
    clock,
    error::{Error, ErrorKind, Result},
};

/// So many requests in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests allowed.
    pub requests: u32,
    /// In every stretch of time this long, wherever it begins.
    pub window: Duration,
}

/// The names of the headers in which a product tells what is left of its quota.
#[derive(Clone, Debug, Default)]
pub struct QuotaHeaders {
    /// Requests left in the present window.
    pub remaining: Option<HeaderName>,
    /// Requests of a whole window, of which a share keeps the rest for others; without it, those of the longest rate.
    pub limit: Option<HeaderName>,
    /// When the window ends: seconds from now, or seconds since 1970; without it, after the longest rate's window.
    pub reset: Option<HeaderName>,
}

/// A budget shared by everybody who uses one credential. Cheap to clone.
#[derive(Clone)]
pub struct RateBudget(Arc<Inner>);

struct Inner {
    limiters: Vec<Limiter>,
    rates: Vec<Rate>,
    /// False when only pauses count, whatever rates its parts have.
    has_rates: bool,
    /// False when only the rates of its parts count.
    has_pauses: bool,
    headers: QuotaHeaders,
    share: f64,
    /// Budgets for kinds of requests, by what they are called and allow.
    parts: Mutex<HashMap<String, RateBudget>>,
    wait_max: Duration,
    not_before: Pause,
    /// Of the credential that this is a part of.
    pause_of_all: Option<Pause>,
    /// Held while waiting: whoever came first goes first.
    turn: tokio::sync::Mutex<()>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            limiters: Vec::new(),
            rates: Vec::new(),
            has_rates: true,
            has_pauses: true,
            headers: QuotaHeaders::default(),
            share: 1.0,
            parts: Mutex::default(),
            wait_max: WAIT_MAX,
            not_before: Arc::default(),
            pause_of_all: None,
            turn: tokio::sync::Mutex::new(()),
        }
    }
}

/// Until when nothing may go out.
type Pause = Arc<Mutex<Option<Instant>>>;

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>;

/// tokio's clock for governor, so that waits and the clock they are computed from are one, paused or not.
#[derive(Clone)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

/// Longest pause that is waited for; a longer one is an error that says when to come back. Whoever reads pages gives up
/// on one that takes a quarter of an hour.
const WAIT_MAX: Duration = Duration::from_secs(5 * 60);

impl RateBudget {
    /// A budget of all `rates` at once, of which `share` (above 0, at most 1) is ours.
    ///
    /// # Errors
    /// `Invalid` for a rate of nothing or a share out of range.
    pub fn new(rates: &[Rate], share: f64, headers: QuotaHeaders) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            let message = format!("the share of a rate limit must be above 0 and at most 1, not {share}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Self(Arc::new(Self::inner(rates, share, headers)?)))
    }

    fn inner(rates: &[Rate], share: f64, headers: QuotaHeaders) -> Result<Inner> {
        let clock = TokioClock { start: Instant::now() };
        let limiter = |rate: &Rate| Ok(RateLimiter::direct_with_clock(quota(*rate, share)?, clock.clone()));
        let limiters = rates.iter().map(limiter).collect::<Result<_>>()?;
        Ok(Inner { limiters, rates: rates.to_vec(), headers, share, ..Inner::default() })
    }

    /// A budget without a rate of its own: it only keeps the pauses that the product asks for.
    pub fn by_server_hints() -> Self {
        Self(Arc::default())
    }

    /// As [`RateBudget::by_server_hints`], for what is no product: the rates of its parts do not count.
    pub fn without_rates() -> Self {
        Self(Arc::new(Inner { has_rates: false, ..Inner::default() }))
    }

    /// A budget whose parts keep their rates, and that keeps no pause itself: for seeing whether a connector does.
    pub(crate) fn without_pauses() -> Self {
        Self(Arc::new(Inner { has_pauses: false, ..Inner::default() }))
    }

    /// Which part of the product's limits is ours: above 0, at most 1.
    pub fn share(&self) -> f64 {
        self.0.share
    }

    /// The budget for the kind of requests that `name` stands for, of the same credential and with the same share. Whoever
    /// asks by the same name for the same rates gets the same one.
    ///
    /// # Errors
    /// `Invalid` for a rate of nothing.
    pub fn part(&self, name: &str, rates: &[Rate], headers: QuotaHeaders) -> Result<Self> {
        let mut parts = self.0.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = format!("{name} {rates:?}");
        if let Some(part) = parts.get(&key) {
            return Ok(part.clone());
        }
        let rates = if self.0.has_rates { rates } else { &[] };
        // A request that has its turn and then waits for a pause would leave with those of a later window: both are one wait.
        let pause_of_all = Some(Arc::clone(&self.0.not_before));
        let part = Inner { pause_of_all, ..Self::inner(rates, self.0.share, headers)? };
        let part = Self(Arc::new(part));
        parts.insert(key, part.clone());
        Ok(part)
    }

    /// True when nobody else holds it, and nothing waits in it.
    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1 && self.pause_left().is_none()
    }

    /// Waits until the next request may go out, in order of arrival.
    ///
    /// # Errors
    /// `RateLimited`, with the wait, when the product asked for a pause of more than five minutes.
    pub async fn acquire(&self) -> Result<()> {
        let _turn = self.0.turn.lock().await;
        loop {
            self.wait_for_pause().await?;
            for limiter in &self.0.limiters {
                while let Err(not_yet) = limiter.check() {
                    tokio::time::sleep(not_yet.wait_time_from(limiter.clock().now())).await;
                }
            }
            // The product may have asked for a pause meanwhile: then the turn is one of an earlier window, and does not count.
            if self.pause_left().is_none() {
                return Ok(());
            }
        }
    }

    async fn wait_for_pause(&self) -> Result<()> {
        while let Some(wait) = self.pause_left() {
            if wait > self.0.wait_max {
                let message = format!("the product asks for a pause of {} s: come back then", wait.as_secs());
                return Err(Error::new(ErrorKind::RateLimited, message).after(wait));
            }
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// How long the pause that the product asked for still lasts.
    pub fn pause_left(&self) -> Option<Duration> {
        let until = |pause: &Pause| *pause.lock().unwrap_or_else(PoisonError::into_inner);
        let not_before = until(&self.0.not_before).max(self.0.pause_of_all.as_ref().and_then(until));
        let left = not_before?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// Lets no request of this credential out for `wait`; never shortens a pause that already stands.
    pub fn pause(&self, wait: Duration) {
        let Some(until) = Instant::now().checked_add(wait).filter(|_| self.0.has_pauses) else { return };
        let mut not_before = self.0.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = Some(not_before.map_or(until, |standing| standing.max(until)));
    }

    /// Learns from an answer: `Retry-After` of a 429 or 503, and the quota headers that the budget knows.
    pub fn observe(&self, status: StatusCode, headers: &HeaderMap) {
        let now = clock::now();
        if matches!(status.as_u16(), 429 | 503)
            && let Some(wait) = retry_after(headers, now)
        {
            self.pause(wait);
        }
        if self.quota_is_used(headers)
            && let Some(wait) = self.until_reset(headers, now).or_else(|| self.longest().map(|rate| rate.window))
        {
            self.pause(wait);
        }
    }

    /// Waits out the shortest window: the product has refused a request for its rate, and says no more.
    pub fn pause_a_window(&self) {
        if let Some(wait) = self.windows().map(|rate| rate.window).min() {
            self.pause(wait);
        }
    }

    /// The rates whose windows may be waited for as a whole.
    fn windows(&self) -> impl Iterator<Item = &Rate> {
        self.0.rates.iter().filter(|rate| rate.window <= self.0.wait_max)
    }

    fn longest(&self) -> Option<&Rate> {
        self.windows().max_by_key(|rate| rate.window)
    }

    fn quota_is_used(&self, headers: &HeaderMap) -> bool {
        let Some(remaining) = number(headers, self.0.headers.remaining.as_ref()) else { return false };
        let limit = number(headers, self.0.headers.limit.as_ref());
        let limit = limit.or_else(|| self.longest().map(|rate| f64::from(rate.requests)));
        remaining <= limit.map_or(0.0, |limit| limit * (1.0 - self.0.share)).max(0.0)
    }

    fn until_reset(&self, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
        /// Smaller numbers are lengths, larger ones instants: 1e9 s is September 2001, or 31 years.
        const FIRST_INSTANT_S: f64 = 1e9;
        let reset = number(headers, self.0.headers.reset.as_ref())?;
        let seconds = if reset < FIRST_INSTANT_S { reset } else { reset - now.as_millisecond() as f64 / 1e3 };
        Duration::try_from_secs_f64(seconds.max(0.0)).ok()
    }
}

fn number(headers: &HeaderMap, name: Option<&HeaderName>) -> Option<f64> {
    headers.get(name?)?.to_str().ok()?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A quota under which no window ever sees more than `share` of the rate's requests.
///
/// A bucket that holds `burst` and refills one a `period` lets out at most `burst + window / period` in a window; with
/// the period stretched by the burst that sum is the rate itself. It costs a tenth of the steady rate.
fn quota(rate: Rate, share: f64) -> Result<Quota> {
    let requests = (f64::from(rate.requests) * share).floor().max(1.0) as u32;
    let burst = NonZeroU32::new(requests / 10).unwrap_or(NonZeroU32::MIN);
    let period = rate.window / (requests - burst.get() + 1);
    Quota::with_period(period).filter(|_| rate.requests > 0).map(|quota| quota.allow_burst(burst)).ok_or_else(|| {
        let message = format!("a rate of {} requests in {:?} allows nothing", rate.requests, rate.window);
        Error::new(ErrorKind::Invalid, message)
    })
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use reqwest::header::RETRY_AFTER;

    use super::*;

    fn per_second(requests: u32) -> Rate {
        Rate { requests, window: Duration::from_secs(1) }
    }

    /// When each of `count` requests, all asked for at once, went out.
    async fn departures(budget: &RateBudget, count: usize) -> Vec<Duration> {
        let began = Instant::now();
        let waits = (0..count).map(|_| async {
            budget.acquire().await.unwrap();
            began.elapsed()
        });
        join_all(waits).await
    }

    fn busiest(departures: &[Duration], window: Duration) -> usize {
        let within = |from: Duration| departures.iter().filter(|at| **at >= from && **at < from + window).count();
        departures.iter().map(|at| within(*at)).max().unwrap_or_default()
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_sees_more_requests_than_the_budget_allows() {
        for (requests, window_s, share, allowed) in
            [(1, 1, 1.0, 1), (10, 1, 1.0, 10), (100, 60, 1.0, 100), (100, 60, 0.6, 60)]
        {
            let window = Duration::from_secs(window_s);
            let budget = RateBudget::new(&[Rate { requests, window }], share, QuotaHeaders::default()).unwrap();
            let departures = departures(&budget, 4 * allowed).await;
            let most = busiest(&departures, window);
            assert!(most <= allowed, "{most} of {requests} a {window:?} at a share of {share}");
            let took = departures.last().copied().unwrap_or_default();
            assert!(took <= window * 9 / 2, "at most a tenth is left unused: {took:?} for four windows");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_rates_hold_together() {
        let rates = [per_second(5), Rate { requests: 20, window: Duration::from_secs(60) }];
        let budget = RateBudget::new(&rates, 1.0, QuotaHeaders::default()).unwrap();
        let departures = departures(&budget, 40).await;
        assert!(busiest(&departures, Duration::from_secs(1)) <= 5);
        assert!(busiest(&departures, Duration::from_secs(60)) <= 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_and_never_shrinks() {
        let budget = RateBudget::by_server_hints();
        let long = HeaderMap::from_iter([(RETRY_AFTER, "30".parse().unwrap())]);
        let short = HeaderMap::from_iter([(RETRY_AFTER, "1".parse().unwrap())]);
        budget.observe(StatusCode::TOO_MANY_REQUESTS, &long);
        budget.observe(StatusCode::TOO_MANY_REQUESTS, &short);
        let departures = departures(&budget, 5).await;
        assert!(departures.iter().all(|at| *at >= Duration::from_secs(30)), "{departures:?}");
        budget.observe(StatusCode::OK, &long);
        assert_eq!(budget.pause_left(), None, "a success asks for nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_hours_is_an_error_that_says_when_to_come_back() {
        let budget = RateBudget::by_server_hints();
        budget.pause(Duration::from_secs(7200));
        let error = budget.acquire().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert!(error.retry_after() > Some(Duration::from_secs(7100)));
    }

    #[tokio::test(start_paused = true)]
    async fn quota_headers_keep_the_share_of_others() {
        let headers = QuotaHeaders {
            remaining: Some(HeaderName::from_static("x-left")),
            limit: Some(HeaderName::from_static("x-limit")),
            reset: Some(HeaderName::from_static("x-reset")),
        };
        let budget = RateBudget::new(&[], 0.6, headers).unwrap();
        let told = |left: &str, reset: &str| {
            HeaderMap::from_iter(
                [("x-left", left), ("x-limit", "100"), ("x-reset", reset)]
                    .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())),
            )
        };
        budget.observe(StatusCode::OK, &told("41", "20"));
        assert_eq!(budget.pause_left(), None);
        budget.observe(StatusCode::OK, &told("40", "20"));
        assert_eq!(budget.pause_left().map(|left| left.as_secs()), Some(20));
        let in_a_minute = clock::now().as_second() + 60;
        budget.observe(StatusCode::OK, &told("0", &in_a_minute.to_string()));
        assert!(budget.pause_left().is_some_and(|left| (58..=60).contains(&left.as_secs())));
    }

    #[test]
    fn a_budget_of_nothing_is_refused() {
        assert!(RateBudget::new(&[per_second(0)], 1.0, QuotaHeaders::default()).is_err());
        assert!(RateBudget::new(&[per_second(1)], 0.0, QuotaHeaders::default()).is_err());
        assert!(RateBudget::new(&[per_second(1)], f64::NAN, QuotaHeaders::default()).is_err());
    }
}
