//! The one HTTP client: every request of every connector goes through it.

use bytes::Bytes;
pub use reqwest::{Method, StatusCode, header::HeaderMap};
use url::Url;

/// One request. Built by connectors, sent by [`HttpClient`].
#[derive(Clone)]
pub struct Request {
    /// The verb.
    pub method: Method,
    /// Absolute; http or https.
    pub url: Url,
    /// Headers, secrets marked sensitive.
    pub headers: HeaderMap,
    /// Body; empty for none.
    pub body: Bytes,
}

/// One answer, whole and decompressed.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body after decompression, at most the client's cap.
    pub body: Bytes,
    /// The address that answered, after redirects.
    pub url: Url,
}

/// Cheap to clone: clones share connections, budgets and the address guard.
#[derive(Clone)]
pub struct HttpClient {
    inner: reqwest::Client,
}

impl HttpClient {
    /// Sends once: no retry, no reading of the status. Redirects are followed and checked.
    ///
    /// # Errors
    /// `Retry` for network faults and time-outs, `BadAnswer` over a cap, `Denied` for an address the guard refuses.
    pub async fn send_once(&self, request: Request) -> crate::Result<Response> {
        let _ = (&self.inner, request);
        Err(crate::Error::new(crate::ErrorKind::Bug, "not yet"))
    }
}
