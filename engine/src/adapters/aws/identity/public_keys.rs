//! The public keys of a user pool, as its JWKS document.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;

use crate::{
    connectors::http::{AddressGuard, HttpClient, HttpClientBuilder, Limits, Request},
    error::{Error, ErrorKind, Result},
    ports::Clock,
};

/// For so long a document is not read again: whoever meets an unknown key asks, and anybody can name one.
const KEPT: SignedDuration = SignedDuration::from_mins(1);
/// The same where there is none yet: until then nobody is let in.
const ASKED_AGAIN: SignedDuration = SignedDuration::from_secs(5);
/// For so long the last one serves while the pool does not answer. Pools replace their keys seldom.
const KEPT_WITHOUT_ANSWER: SignedDuration = SignedDuration::from_hours(24);
/// A document of a pool has two keys, of about 400 bytes each.
const MAX_DOCUMENT_BYTES: u64 = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads the document and keeps it.
pub(super) struct PublicKeys {
    client: HttpClient,
    url: Url,
    clock: Arc<dyn Clock>,
    last: Mutex<Last>,
}

/// What is known of the document.
#[derive(Default)]
struct Last {
    /// When it was read, and what it was.
    read: Option<(Timestamp, Value)>,
    /// When the pool was asked in vain, since then.
    failed_at: Option<Timestamp>,
}

impl Last {
    /// The document, unless it is as old as that.
    fn younger_than(&self, now: Timestamp, life: SignedDuration) -> Option<Value> {
        let (read_at, document) = self.read.as_ref()?;
        (now.duration_since(*read_at) < life).then(|| document.clone())
    }

    /// Whether the pool has just been asked in vain: others who wait for an answer do not ask in their turn.
    fn has_just_failed(&self, now: Timestamp) -> bool {
        let gap = if self.read.is_some() { KEPT } else { ASKED_AGAIN };
        self.failed_at.is_some_and(|at| now.duration_since(at) < gap)
    }
}

impl PublicKeys {
    pub(super) fn new(url: &str, clock: Arc<dyn Clock>) -> Result<Self> {
        let url = Url::parse(url).map_err(|error| {
            Error::new(ErrorKind::Invalid, "the place of the user pool's keys is no address").caused_by(error)
        })?;
        // The address is the operator's own.
        let limits = Limits {
            connect_timeout: TIMEOUT,
            head_timeout: TIMEOUT,
            total_timeout: TIMEOUT,
            body_max_bytes: MAX_DOCUMENT_BYTES,
            redirects_max: 0,
        };
        let client = HttpClientBuilder { limits, ..HttpClientBuilder::new(AddressGuard::person()) }.build()?;
        Ok(Self { client, url, clock, last: Mutex::default() })
    }

    /// The document, read anew each minute when somebody asks.
    pub(super) async fn document(&self) -> Result<Value> {
        let mut last = self.last.lock().await;
        let now = self.clock.now();
        if let Some(document) = last.younger_than(now, KEPT) {
            return Ok(document);
        }
        let error = if last.has_just_failed(now) {
            no_answer().with("url", &self.url)
        } else {
            match self.read().await {
                Ok(document) => {
                    *last = Last { read: Some((now, document.clone())), failed_at: None };
                    return Ok(document);
                }
                Err(error) => error,
            }
        };
        if !last.has_just_failed(now) {
            last.failed_at = Some(now);
            tracing::warn!(url = %self.url, "the user pool's keys could not be read; the last ones serve, for a day");
        }
        last.younger_than(now, KEPT_WITHOUT_ANSWER).ok_or(error)
    }

    async fn read(&self) -> Result<Value> {
        let answer = self.client.send_once(Request::get(self.url.clone())).await?;
        let document =
            serde_json::from_slice::<Value>(&answer.body).ok().filter(|document| document["keys"].is_array());
        match document {
            Some(document) if answer.status.is_success() => Ok(document),
            _ => Err(no_answer().with("url", &self.url).with("status", answer.status.as_u16())),
        }
    }
}

fn no_answer() -> Error {
    Error::new(ErrorKind::Retry, "the user pool did not answer with its keys")
}
