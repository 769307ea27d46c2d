//! The one HTTP client: every request of every connector goes through it.
//!
//! `send_once` is one attempt with all guards (addresses, redirects, caps, rate budget); [`retry`] holds the rules of
//! trying again, [`budget`] those of waiting one's turn, [`guarded`] where a secret may go.

pub mod address;
mod body;
pub mod budget;
pub mod client;
pub mod guarded;
pub mod hosts;
pub mod injector;
pub mod network;
pub mod open;
mod redirect;
pub mod retry;
pub mod tape;
mod wire;

use std::fmt;

use bytes::Bytes;
pub use reqwest::{
    Method, StatusCode,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use url::Url;

pub use self::{
    address::AddressGuard,
    budget::{QuotaHeaders, Rate, RateBudget},
    client::{HttpClient, HttpClientBuilder, Limits},
    guarded::GuardedSecret,
    hosts::Hosts,
    network::Network,
    open::Opened,
    retry::{RetryPolicy, classify, failure, retry_after},
    wire::Wire,
};

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

impl Request {
    /// A GET without headers or body.
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// A POST with a body of `content_type`.
    pub fn post(url: Url, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { method: Method::POST, url, headers, body: body.into() }
    }

    /// Adds a header whose value is a credential: it never crosses to another origin and is never printed.
    ///
    /// # Errors
    /// `Invalid` when `value` cannot stand in a header; the value is not in the message.
    pub fn with_secret(mut self, name: HeaderName, value: &str) -> crate::Result<Self> {
        let mut header = HeaderValue::from_str(value).map_err(|_| {
            crate::Error::new(
                crate::ErrorKind::Invalid,
                format!("the credential for header {name} holds characters that no header can carry: enter it again"),
            )
        })?;
        header.set_sensitive(true);
        self.headers.insert(name, header);
        Ok(self)
    }
}

/// Method and place only: headers, query and body may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, redact_url(&self.url))
    }
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

/// A URL fit for messages and logs: no user, no password, no query, no fragment. `?…` says that there was a query.
pub fn redact_url(url: &Url) -> String {
    let mut shown = url.clone();
    let had_query = shown.query().is_some();
    shown.set_query(None);
    shown.set_fragment(None);
    // Both fail only for URLs that cannot carry a user, which then have none to remove.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    if had_query { format!("{shown}?…") } else { shown.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redacted_url_keeps_the_place_and_drops_every_secret() {
        let url = Url::parse("https://user:pass@api.example.com:8443/v1/x?api_key=secret#frag").unwrap();
        assert_eq!(redact_url(&url), "https://api.example.com:8443/v1/x?…");
        assert_eq!(redact_url(&Url::parse("http://a.example/").unwrap()), "http://a.example/");
    }

    #[test]
    fn a_request_prints_without_headers_query_and_body() {
        let url = Url::parse("https://a.example/x?token=secret").unwrap();
        let request = Request::get(url).with_secret(reqwest::header::AUTHORIZATION, "Bearer secret").unwrap();
        assert_eq!(format!("{request:?}"), "GET https://a.example/x?…");
    }

    #[test]
    fn a_credential_with_a_line_break_is_refused_without_showing_it() {
        let url = Url::parse("https://a.example/").unwrap();
        let error = Request::get(url).with_secret(reqwest::header::AUTHORIZATION, "se\ncret").unwrap_err();
        assert!(error.to_string().contains("authorization") && !error.to_string().contains("cret"), "{error}");
    }
}
