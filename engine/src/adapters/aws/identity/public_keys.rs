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
    last: Mutex<Option<(Timestamp, Value)>>,
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
        let kept = |life: SignedDuration| {
            let (read_at, document) = last.as_ref()?;
            (now.duration_since(*read_at) < life).then(|| document.clone())
        };
        if let Some(document) = kept(KEPT) {
            return Ok(document);
        }
        match self.read().await {
            Ok(document) => {
                *last = Some((now, document.clone()));
                Ok(document)
            }
            Err(error) => {
                let document = kept(KEPT_WITHOUT_ANSWER).ok_or(error)?;
                tracing::warn!(url = %self.url, "the user pool's keys could not be read again; the last ones serve");
                Ok(document)
            }
        }
    }

    async fn read(&self) -> Result<Value> {
        let answer = self.client.send_once(Request::get(self.url.clone())).await?;
        let document =
            serde_json::from_slice::<Value>(&answer.body).ok().filter(|document| document["keys"].is_array());
        match document {
            Some(document) if answer.status.is_success() => Ok(document),
            _ => Err(Error::new(ErrorKind::Retry, "the user pool did not answer with its keys")
                .with("url", &self.url)
                .with("status", answer.status.as_u16())),
        }
    }
}
