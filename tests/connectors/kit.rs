//! A product to read from, and everything that one read sends.

use std::sync::Arc;

use listbackup_connectors::{
    Connector, Error, Integration, Link, Page, ReadEnd, ReadRequest, Result, Settings,
    http::{AddressGuard, HttpClientBuilder},
    manifest::ManifestIntegration,
    oauth::MemoryCredentials,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

/// Answers every request by a function.
pub struct Answer<F>(pub F);

impl<F: Fn(&Request) -> ResponseTemplate + Send + Sync> Respond for Answer<F> {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        (self.0)(request)
    }
}

/// A product that answers by `answer`.
pub async fn product(answer: impl Fn(&Request) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(Answer(answer)).mount(&server).await;
    server
}

/// The value of a query parameter.
pub fn query(request: &Request, name: &str) -> Option<String> {
    request.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// A JSON answer.
pub fn json_answer(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

/// A manifest with `streams` (YAML, indented by two), whose base is `config['base_url']`.
pub fn manifest(streams: &str) -> String {
    format!(
        "version: 6.0.0\ntype: DeclarativeSource\ncheck: {{type: CheckStream, stream_names: [things]}}\nstreams:\n{streams}\n\
         spec:\n  type: Spec\n  connection_specification:\n    type: object\n    required: [base_url]\n    properties:\n      \
         base_url: {{type: string}}\n"
    )
}

/// Connects `text` to `settings`.
pub fn connect(text: &str, settings: Value) -> Result<Arc<dyn Connector>> {
    bind(&ManifestIntegration::parse("test", "manifest.yaml", text)?, settings)
}

/// Connects a manifest to `settings`.
pub fn bind(integration: &ManifestIntegration, settings: Value) -> Result<Arc<dyn Connector>> {
    let guard = AddressGuard::allowing(vec!["127.0.0.0/8".parse().map_err(|_| bug())?]);
    integration.connect(Link {
        settings: Settings::new(settings),
        http: HttpClientBuilder::new(guard).build()?,
        credentials: Arc::new(MemoryCredentials::empty()),
    })
}

fn bug() -> Error {
    Error::new(listbackup_connectors::ErrorKind::Bug, "the test's own network is wrong")
}

/// What one read sent.
pub struct Reading {
    pub records: Vec<Value>,
    pub pages: Vec<Page>,
    pub end: Result<ReadEnd>,
}

impl Reading {
    pub fn ids(&self) -> Vec<String> {
        self.records.iter().map(|record| record["id"].to_string()).collect()
    }

    pub fn state(&self) -> Value {
        self.end.as_ref().unwrap().state.clone().unwrap()
    }
}

/// Reads a stream from a state and a position.
pub async fn read(
    connector: &Arc<dyn Connector>,
    stream: &str,
    state: Option<Value>,
    position: Option<Value>,
) -> Reading {
    let catalog = connector.discover().await.unwrap();
    let stream = Arc::new(catalog.streams.into_iter().find(|found| found.name == stream).unwrap());
    let (to, mut from) = mpsc::channel(2);
    let connector = Arc::clone(connector);
    let task = tokio::spawn(async move { connector.read(ReadRequest { stream, state, position }, to).await });
    let mut reading = Reading { records: Vec::new(), pages: Vec::new(), end: Ok(ReadEnd::default()) };
    while let Some(page) = from.recv().await {
        let records = page.records.iter().map(|record| serde_json::from_slice(page.record_body(record)).unwrap());
        reading.records.extend(records.collect::<Vec<Value>>());
        reading.pages.push(page);
    }
    reading.end = task.await.unwrap();
    reading
}

/// Settings that point at the product.
pub fn at(server: &MockServer) -> Value {
    json!({"base_url": server.uri()})
}
