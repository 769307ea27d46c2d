//! A caller of the API, and what it is answered.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use serde_json::Value;

/// Calls one server, with or without credentials.
#[derive(Clone)]
pub struct Caller {
    base: String,
    http: Client,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is none.
    pub body: Value,
    /// The body.
    pub text: String,
}

impl Caller {
    /// Without credentials.
    #[expect(clippy::disallowed_methods, reason = "a test's own client reaches loopback and streams answers")]
    pub fn new(base: String) -> Self {
        let http = Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { base, http, token: None, headers: Vec::new() }
    }

    /// With an access token or access key.
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// With a header.
    pub fn with(&self, name: &'static str, value: impl Into<String>) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name, value.into()));
        Self { headers, ..self.clone() }
    }

    /// A request to be sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::POST, path).json(body)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PUT, path).json(body)).await
    }

    /// PATCH with a JSON body.
    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        send(self.request(Method::PATCH, path).json(body)).await
    }
}

/// Sends, and reads the answer to its end unless it is endless.
pub async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let is_endless = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let text = if is_endless { String::new() } else { answer.text().await.unwrap() };
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or_default(), text }
}

impl Answer {
    /// The body, of an answer that has this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}", self.text);
        &self.body
    }

    /// Every pointer of a problem document, in order.
    #[track_caller]
    pub fn pointers(&self) -> Vec<&str> {
        let problems = self.expect(422)["problems"].as_array().unwrap();
        problems.iter().map(|problem| problem["pointer"].as_str().unwrap()).collect()
    }

    /// A header's text.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}
