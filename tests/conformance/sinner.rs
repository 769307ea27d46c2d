//! A connector in Rust that keeps the whole contract, or breaks one line of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use listbackup_connectors::{
    Catalog, Connector, Deletions, Error, ErrorKind, FailedItem, Integration, KeySlices, Link, OAuth2SignIn, Page,
    PageProgress, Problem, ReadEnd, ReadRequest, RecordSlice, Result, SignIn, Spec, StreamSpec,
    http::{HeaderValue, Request, Response, RetryPolicy, failure},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

const PAGES: u64 = 12;
const KEY: &str = "key-of-the-sinner";

/// One breach of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sin {
    CallsPassingFaultsInvalid,
    TellsSecrets,
    Panics,
    LeavesTheKeyUnmarked,
    ConnectsWithoutSettings,
    KeepsTokensToItself,
    NamesStreamsTwice,
    LosesKeys,
    ChangesKeys,
    MistakesDeletions,
    SlicesOutside,
    DropsNewFields,
    TakesNonsenseForNothing,
    ReadsForEver,
    ForgetsItsPosition,
    TakesAnyPosition,
    EndsOtherwiseAfterGoingOn,
    LosesRecords,
    MovesItsStateBack,
    ClaimsToBeFull,
    LeavesOutSilently,
    ReadsWithoutAReader,
    ConnectsByItself,
    IgnoresPauses,
    SendsTheKeyOpenly,
}

impl Sin {
    /// Every breach, with the number of its line.
    pub const ALL: [(Self, u8); 25] = [
        (Self::CallsPassingFaultsInvalid, 1),
        (Self::TellsSecrets, 2),
        (Self::Panics, 3),
        (Self::LeavesTheKeyUnmarked, 4),
        (Self::ConnectsWithoutSettings, 5),
        (Self::KeepsTokensToItself, 7),
        (Self::NamesStreamsTwice, 8),
        (Self::LosesKeys, 9),
        (Self::ChangesKeys, 9),
        (Self::MistakesDeletions, 11),
        (Self::SlicesOutside, 13),
        (Self::DropsNewFields, 13),
        (Self::TakesNonsenseForNothing, 14),
        (Self::ReadsForEver, 15),
        (Self::ForgetsItsPosition, 16),
        (Self::TakesAnyPosition, 16),
        (Self::EndsOtherwiseAfterGoingOn, 17),
        (Self::LosesRecords, 18),
        (Self::MovesItsStateBack, 19),
        (Self::ClaimsToBeFull, 20),
        (Self::LeavesOutSilently, 21),
        (Self::ReadsWithoutAReader, 22),
        (Self::ConnectsByItself, 24),
        (Self::IgnoresPauses, 25),
        (Self::SendsTheKeyOpenly, 26),
    ];
}

/// A product with pages of two things, each naming the next page.
pub async fn product() -> MockServer {
    let server = MockServer::start().await;
    let answer = |request: &wiremock::Request| {
        let asked = request.url.query_pairs().find(|(name, _)| name == "page").map(|(_, value)| value.into_owned());
        let page: u64 = asked.and_then(|page| page.parse().ok()).unwrap_or(0);
        let thing = |id: u64| json!({"id": id, "at": format!("2024-01-{:02}", page + 1), "gone": id == 3});
        let next = (page + 1 < PAGES).then_some(page + 1);
        ResponseTemplate::new(200).set_body_json(json!({"data": [thing(page * 2), thing(page * 2 + 1)], "next": next}))
    };
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// Settings that point at it.
pub fn settings(server: &MockServer) -> Value {
    json!({"base_url": server.uri(), "key": KEY})
}

/// The integration.
pub struct Sinner {
    spec: Spec,
    sin: Option<Sin>,
    reads: Arc<AtomicUsize>,
}

impl Sinner {
    /// One that breaks a line, or none.
    pub fn with(sin: Option<Sin>) -> Arc<dyn Integration> {
        let key = json!({"type": "string", "airbyte_secret": sin != Some(Sin::LeavesTheKeyUnmarked)});
        let settings_schema = json!({
            "type": "object",
            "required": ["base_url", "key"],
            "properties": {"base_url": {"type": "string"}, "key": key},
        });
        let sign_in = match sin {
            Some(Sin::KeepsTokensToItself) => SignIn::OAuth2(Box::new(OAuth2SignIn {
                authorize_url: String::new(),
                token_url: String::new(),
                scopes: Vec::new(),
                client_id_path: Vec::new(),
                client_secret_path: Vec::new(),
                access_token_path: Vec::new(),
                refresh_token_path: Vec::new(),
                expires_at_path: Vec::new(),
                chosen_by: None,
            })),
            _ => SignIn::Settings,
        };
        let (title, description) = ("Sinner".to_owned(), String::new());
        let spec = Spec { name: "sinner".to_owned(), title, description, settings_schema, sign_in };
        Arc::new(Self { spec, sin, reads: Arc::default() })
    }
}

impl Integration for Sinner {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let settings = link.settings.expose().clone();
        let missing: Vec<Problem> = ["base_url", "key"]
            .into_iter()
            .filter(|name| settings.get(name).is_none())
            .map(|name| Problem { place: format!("/{name}"), message: "is required and missing".to_owned() })
            .collect();
        if !missing.is_empty() && self.sin != Some(Sin::ConnectsWithoutSettings) {
            return Err(Error::invalid("settings are missing", missing));
        }
        Ok(Arc::new(Connected { link, settings, sin: self.sin, reads: Arc::clone(&self.reads) }))
    }
}

struct Connected {
    link: Link,
    settings: Value,
    sin: Option<Sin>,
    reads: Arc<AtomicUsize>,
}

impl Connected {
    fn sins(&self, sin: Sin) -> bool {
        self.sin == Some(sin)
    }

    fn stream(&self) -> StreamSpec {
        StreamSpec {
            name: "things".to_owned(),
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: vec!["at".to_owned()],
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: Deletions::Marked { field: vec!["gone".to_owned()] },
            write: None,
        }
    }

    async fn page(&self, page: u64, token: &str) -> Result<Response> {
        let base = self.settings["base_url"].as_str().unwrap_or_default();
        let mut request = Request::get(format!("{base}/things?page={page}").parse().expect("an address"));
        if self.sins(Sin::SendsTheKeyOpenly) {
            request.headers.insert("x-key", HeaderValue::from_static(KEY));
        } else {
            request = request.with_secret("x-key".parse().expect("a header"), token)?;
        }
        let policy = RetryPolicy { first_wait: Duration::from_millis(1), retries_max: 1, ..RetryPolicy::default() };
        if self.sins(Sin::IgnoresPauses) {
            let first = self.link.http.send_once(request.clone()).await?;
            return if first.status == 429 { self.link.http.send(request, &policy).await } else { answered(first) };
        }
        if self.sins(Sin::CallsPassingFaultsInvalid) {
            let answer = self.link.http.send_once(request).await?;
            let wrong = || Error::new(ErrorKind::Invalid, "a setting is wrong");
            return answered(answer).map_err(|_| wrong());
        }
        self.link.http.send(request, &policy).await
    }

    /// A page, by way of the sins that concern requests; `None` for one that is left out.
    async fn fetched(&self, page: u64) -> Result<Option<Value>> {
        let mut outcome = self.page(page, KEY).await;
        let is_refused = |outcome: &Result<Response>, kind| matches!(outcome, Err(error) if error.kind() == kind);
        if self.sins(Sin::KeepsTokensToItself) && is_refused(&outcome, ErrorKind::Reauthorise) {
            outcome = self.page(page, "a-token-of-its-own").await;
        }
        let leaves_out = self.sins(Sin::ClaimsToBeFull) || self.sins(Sin::LeavesOutSilently);
        if leaves_out && is_refused(&outcome, ErrorKind::Denied) {
            return Ok(None);
        }
        if self.sins(Sin::TellsSecrets) {
            outcome = outcome.map_err(|error| Error::new(error.kind(), format!("{} with {KEY}", error.message())));
        }
        let parsed = serde_json::from_slice::<Value>(&outcome?.body).ok().filter(|body| body["data"].is_array());
        match parsed {
            Some(body) => Ok(Some(body)),
            None if self.sins(Sin::TakesNonsenseForNothing) => Ok(Some(json!({"data": [], "next": null}))),
            None if self.sins(Sin::Panics) => panic!("not a page"),
            None => Err(Error::new(ErrorKind::BadAnswer, "the answer is no page of things: try again later")),
        }
    }

    /// The records of a page as a page.
    fn built(&self, number: u64, body: &Value, read: usize) -> Page {
        let (mut text, mut records) = (String::new(), Vec::new());
        for (index, thing) in body["data"].as_array().into_iter().flatten().enumerate() {
            let mut thing = thing.clone();
            if self.sins(Sin::DropsNewFields) {
                thing = json!({"id": thing["id"], "at": thing["at"], "gone": thing["gone"]});
            }
            if self.sins(Sin::LosesRecords) && read % 2 == 1 && index == 0 && number == 4 {
                continue;
            }
            let start = text.len() as u32;
            let id =
                if self.sins(Sin::ChangesKeys) { format!("{}", read * 1000 + index) } else { thing["id"].to_string() };
            text.push_str(&thing.to_string());
            let end = text.len() as u32;
            text.push_str(&id);
            let key = start_of(&text, &id)..text.len() as u32;
            let is_deletion = thing["gone"] == json!(true) && !self.sins(Sin::MistakesDeletions);
            let reach = if self.sins(Sin::SlicesOutside) { 1_000_000 } else { 0 };
            let key = if self.sins(Sin::LosesKeys) { KeySlices::None } else { KeySlices::One(key) };
            records.push(RecordSlice { body: start..end + reach, key, is_deletion });
        }
        let position = Some(json!({"after": number}));
        let attachments = Vec::new();
        Page { body: Bytes::from(text), records, attachments, position, progress: PageProgress::default() }
    }

    fn start(&self, position: Option<&Value>) -> Result<u64> {
        let Some(position) = position else { return Ok(0) };
        match position["after"].as_u64() {
            Some(_) if self.sins(Sin::ForgetsItsPosition) => Ok(PAGES - 1),
            Some(after) => Ok(after + 1),
            None if self.sins(Sin::TakesAnyPosition) => Ok(0),
            None => Err(Error::new(ErrorKind::Invalid, "the position is not one of this connector")),
        }
    }

    fn end(&self, request: &ReadRequest, left_out: usize) -> ReadEnd {
        let last = match (&request.state, self.sin) {
            (Some(_), Some(Sin::MovesItsStateBack)) => "2023-01-01",
            _ if request.position.is_some() && self.sins(Sin::EndsOtherwiseAfterGoingOn) => "2025-01-01",
            _ => "2024-01-12",
        };
        let hides = self.sins(Sin::ClaimsToBeFull) || self.sins(Sin::LeavesOutSilently);
        let item = FailedItem { item: "a page".to_owned(), reason: "it was refused".to_owned() };
        ReadEnd {
            state: Some(json!({"at": last})),
            is_full: request.state.is_none() && (left_out == 0 || self.sins(Sin::ClaimsToBeFull)),
            failed_items: if hides { Vec::new() } else { vec![item; left_out] },
            requests: 0,
        }
    }
}

fn start_of(text: &str, id: &str) -> u32 {
    (text.len() - id.len()) as u32
}

fn answered(answer: Response) -> Result<Response> {
    match failure(&answer, "2024-01-01T00:00:00Z".parse().expect("a time")) {
        Some(error) => Err(error),
        None => Ok(answer),
    }
}

#[async_trait]
impl Connector for Connected {
    async fn check(&self) -> Result<()> {
        self.page(0, KEY).await.map(drop)
    }

    async fn discover(&self) -> Result<Catalog> {
        let twice = usize::from(self.sins(Sin::NamesStreamsTwice));
        Ok(Catalog { streams: vec![self.stream(); 1 + twice] })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let read = self.reads.fetch_add(1, Ordering::SeqCst);
        let mut left_out = 0;
        let mut number = self.start(request.position.as_ref())?;
        let mut seen = std::collections::HashSet::from([number]);
        while number < PAGES {
            let body = if self.sins(Sin::ConnectsByItself) {
                let next = (number + 1 < PAGES).then_some(number + 1);
                Some(json!({"data": [{"id": number, "at": "2024-01-12", "gone": false}], "next": next}))
            } else {
                self.fetched(number).await?
            };
            left_out += usize::from(body.is_none());
            let body = body.unwrap_or_else(|| json!({"data": [], "next": number + 1}));
            let sent = pages.send(self.built(number, &body, read)).await;
            if sent.is_err() && !self.sins(Sin::ReadsWithoutAReader) {
                return Err(Error::new(ErrorKind::Cancelled, "the reader went away"));
            }
            let Some(next) = body["next"].as_u64() else { break };
            if !seen.insert(next) && !self.sins(Sin::ReadsForEver) {
                return Err(Error::new(ErrorKind::BadAnswer, "the product names the same page twice: tell its vendor"));
            }
            number = next;
        }
        Ok(self.end(&request, left_out))
    }
}
