//! The rules of trying again: what a status means, how long to wait, when to give up.

use std::{future::Future, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};

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
    /// All waits of one request together, those that the product asks for included.
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
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
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
            waited += wait;
            if waited > self.total_wait_max {
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
