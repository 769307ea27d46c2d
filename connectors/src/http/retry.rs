//! The rules of trying again: what a status means, how long to wait, when to give up.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

use tokio::time::Instant;

use super::{HttpClient, Request, Response, redact_url};
use crate::{
    clock,
    error::{Error, ErrorKind, Result},
};

/// When to try again.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Further attempts after a fault; waits that the product asks for do not count.
    pub retries_max: usize,
    /// Before the second attempt; doubles with each, with up to as much again at random.
    pub first_wait: Duration,
    /// Longest wait that we choose ourselves.
    pub wait_max: Duration,
    /// All waits of one request together, those that the product asks for included, and the time of its tries.
    pub total_wait_max: Duration,
    /// Seed of the random part; `None` draws one.
    pub seed: Option<u64>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            retries_max: 5,
            first_wait: Duration::from_secs(1),
            wait_max: Duration::from_secs(60),
            total_wait_max: Duration::from_secs(600),
            seed: None,
        }
    }
}

impl RetryPolicy {
    /// First wait, twice that, four times that, …; never ends.
    fn waits(&self) -> impl Iterator<Item = Duration> + use<> {
        let builder = ExponentialBuilder::new()
            .with_min_delay(self.first_wait)
            .with_max_delay(self.wait_max)
            .without_max_times()
            .with_jitter();
        self.seed.map_or(builder, |seed| builder.with_jitter_seed(seed)).build()
    }

    /// Runs `attempt` until it succeeds, fails for good, or the policy is exhausted. The last error is returned.
    ///
    /// # Errors
    /// Those of `attempt`.
    pub async fn run<T, F: Future<Output = Result<T>>>(&self, mut attempt: impl FnMut() -> F) -> Result<T> {
        let mut waits = self.waits();
        let mut retries_left = self.retries_max;
        let mut waited = Duration::ZERO;
        let mut made = 0;
        loop {
            let began = Instant::now();
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            made += 1;
            waited = waited.saturating_add(began.elapsed());
            match error.kind() {
                // A pause that the product asks for is no attempt.
                ErrorKind::RateLimited => {}
                ErrorKind::Retry if retries_left > 0 => retries_left -= 1,
                _ => return Err(error),
            }
            let wait = match (error.kind(), error.retry_after()) {
                (ErrorKind::RateLimited, Some(asked)) => asked.max(self.first_wait),
                (_, asked) => waits.next().unwrap_or(self.wait_max).max(asked.unwrap_or_default()),
            };
            waited = waited.saturating_add(wait);
            // What took long is tried again once all the same: its time may have gone in waiting for a turn.
            if wait > self.total_wait_max || (made > 1 && waited > self.total_wait_max) {
                return Err(error);
            }
            tracing::debug!(%error, wait_ms = wait.as_millis() as u64, "waiting before the next attempt");
            tokio::time::sleep(wait).await;
        }
    }
}

impl HttpClient {
    /// Sends until an answer is a success, reading the status by [`classify`] and waiting as `policy` says.
    ///
    /// # Errors
    /// As [`HttpClient::send_once`], and the kind of the last status otherwise.
    pub async fn send(&self, request: Request, policy: &RetryPolicy) -> Result<Response> {
        policy
            .run(|| async {
                let response = self.send_once(request.clone()).await?;
                match failure(&response, clock::now()) {
                    Some(error) => Err(error),
                    None => Ok(response),
                }
            })
            .await
    }
}

/// What a status asks of the caller; `None` is success (2xx and 304).
pub fn classify(status: StatusCode) -> Option<ErrorKind> {
    Some(match status.as_u16() {
        200..=299 | 304 => return None,
        401 => ErrorKind::Reauthorise,
        403 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        408 | 425 | 500..=599 => ErrorKind::Retry,
        429 => ErrorKind::RateLimited,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::BadAnswer,
    })
}

/// The error that a response's status stands for, with the wait it asks for; `None` for a success.
pub fn failure(response: &Response, now: Timestamp) -> Option<Error> {
    let kind = classify(response.status)?;
    let advice = match kind {
        ErrorKind::Reauthorise => "the product refuses the credential: sign in again or enter a new key",
        ErrorKind::Denied => "the product denies this: give the credential the permission it needs",
        ErrorKind::NotFound => "the product knows no such thing: check the address and ids in the settings",
        ErrorKind::Retry => "the product is in trouble: try again later",
        ErrorKind::RateLimited => "the product asks for a pause",
        ErrorKind::Invalid => "the product refuses the request as wrong: check the settings",
        _ => "the product gave an unexpected answer",
    };
    let error = Error::new(kind, format!("{advice} (HTTP {})", response.status.as_u16()))
        .with("url", redact_url(&response.url));
    Some(match retry_after(&response.headers, now) {
        Some(wait) => error.after(wait),
        None => error,
    })
}

/// How long `Retry-After` asks to wait from `now`: seconds (a fraction too) or an HTTP date; a date that is past is zero.
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())])
    }

    /// Runs attempts that fail as `faults` say and succeed after the last; tells the attempts and the time they took.
    async fn attempts(policy: &RetryPolicy, faults: Vec<(ErrorKind, Option<u64>)>) -> (Result<()>, usize, Duration) {
        let (made, began) = (AtomicUsize::new(0), Instant::now());
        let outcome = policy
            .run(async || match faults.get(made.fetch_add(1, Ordering::Relaxed)) {
                None => Ok(()),
                Some((kind, None)) => Err(Error::new(*kind, "fault")),
                Some((kind, Some(seconds))) => Err(Error::new(*kind, "fault").after(Duration::from_secs(*seconds))),
            })
            .await;
        (outcome, made.into_inner(), began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn faults_are_tried_again_with_growing_waits_and_then_told() {
        let policy = RetryPolicy { seed: Some(7), ..RetryPolicy::default() };
        let (outcome, made, took) = attempts(&policy, vec![(ErrorKind::Retry, None); 2]).await;
        assert!(outcome.is_ok() && made == 3, "{made} attempts");
        assert!((3.0..6.1).contains(&took.as_secs_f64()), "1 s and 2 s, up to doubled: {took:?}");
        let (outcome, made, _) = attempts(&policy, vec![(ErrorKind::Retry, None); 99]).await;
        assert_eq!((outcome.unwrap_err().kind(), made), (ErrorKind::Retry, 6));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_help_is_not_tried_again() {
        for kind in
            [ErrorKind::Reauthorise, ErrorKind::Denied, ErrorKind::NotFound, ErrorKind::Invalid, ErrorKind::BadAnswer]
        {
            let (outcome, made, took) = attempts(&RetryPolicy::default(), vec![(kind, Some(5))]).await;
            assert_eq!((outcome.unwrap_err().kind(), made, took), (kind, 1, Duration::ZERO));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_the_product_asks_for_is_kept_and_is_no_attempt() {
        let policy = RetryPolicy { retries_max: 1, ..RetryPolicy::default() };
        let (outcome, made, took) = attempts(&policy, vec![(ErrorKind::RateLimited, Some(30)); 8]).await;
        assert!(outcome.is_ok());
        assert_eq!(made, 9);
        assert!((240.0..240.1).contains(&took.as_secs_f64()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn all_waiting_together_is_capped() {
        let policy = RetryPolicy::default();
        let (outcome, made, took) = attempts(&policy, vec![(ErrorKind::RateLimited, Some(250)); 9]).await;
        assert_eq!((outcome.unwrap_err().kind(), made), (ErrorKind::RateLimited, 3));
        assert!(took < policy.total_wait_max, "{took:?}");
        let (outcome, made, _) = attempts(&policy, vec![(ErrorKind::RateLimited, Some(86_400))]).await;
        assert_eq!((outcome.unwrap_err().retry_after(), made), (Some(Duration::from_secs(86_400)), 1));
        let (outcome, made, _) = attempts(&policy, vec![(ErrorKind::RateLimited, Some(0)); 9999]).await;
        assert!(outcome.is_err() && made < 700, "a product that always says 0 s must not be asked {made} times");
    }

    #[tokio::test(start_paused = true)]
    async fn retry_after_lengthens_a_wait_and_never_shortens_it() {
        let policy = RetryPolicy { first_wait: Duration::from_secs(8), seed: Some(1), ..RetryPolicy::default() };
        let (_, _, short) = attempts(&policy, vec![(ErrorKind::Retry, Some(1))]).await;
        assert!(short >= Duration::from_secs(8), "{short:?}");
        let (_, _, long) = attempts(&policy, vec![(ErrorKind::Retry, Some(100))]).await;
        assert!(long >= Duration::from_secs(100), "{long:?}");
    }

    #[test]
    fn retry_after_is_read_in_every_form_that_products_send() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120.0)),
            (" 0 ", Some(0.0)),
            ("1.5", Some(1.5)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", Some(30.0)),
            ("Sun, 22 Nov 2026 09:00:00 GMT", Some(0.0)),
            ("-1", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(&header(value), now).map(|wait| wait.as_secs_f64()), seconds, "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn every_status_says_what_to_do() {
        for (status, kind) in [
            (200, None),
            (204, None),
            (304, None),
            (302, Some(ErrorKind::BadAnswer)),
            (400, Some(ErrorKind::Invalid)),
            (401, Some(ErrorKind::Reauthorise)),
            (403, Some(ErrorKind::Denied)),
            (404, Some(ErrorKind::NotFound)),
            (408, Some(ErrorKind::Retry)),
            (422, Some(ErrorKind::Invalid)),
            (429, Some(ErrorKind::RateLimited)),
            (500, Some(ErrorKind::Retry)),
            (503, Some(ErrorKind::Retry)),
        ] {
            assert_eq!(classify(StatusCode::from_u16(status).unwrap()), kind, "{status}");
        }
    }
}
