//! A connector in Rust with files and a writer, that keeps the lines about both, or breaks one of them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use listbackup_connectors::{
    Attachment, AttachmentBody, AttachmentRequest, Catalog, Connector, Deletions, Error, ErrorKind, Integration,
    KeySlices, Link, Page, PageProgress, ReadEnd, ReadRequest, RecordSlice, RecordWriter, Reference, Result, SignIn,
    Spec, StreamSpec, WriteAction, WriteRequest, WriteSpec, WrittenRecord,
    http::{Method, Request, Response, failure},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

/// One breach of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    DropsAttachments,
    GivesOneIdTwice,
    KeepsTheVersion,
    TellsAnotherSize,
    TakesHalfForWhole,
    CallsGoneInvalid,
    MakesTwice,
    LeavesOutReadOnly,
    RefersToNowhere,
    ReadsOneOtherwise,
    SharesNaturalKeys,
    CallsRefusalsPassing,
}

impl Slip {
    /// Every breach, with the number of its line.
    pub const ALL: [(Self, u8); 12] = [
        (Self::DropsAttachments, 27),
        (Self::GivesOneIdTwice, 28),
        (Self::KeepsTheVersion, 29),
        (Self::TellsAnotherSize, 30),
        (Self::TakesHalfForWhole, 31),
        (Self::CallsGoneInvalid, 32),
        (Self::MakesTwice, 33),
        (Self::LeavesOutReadOnly, 34),
        (Self::RefersToNowhere, 35),
        (Self::ReadsOneOtherwise, 36),
        (Self::SharesNaturalKeys, 37),
        (Self::CallsRefusalsPassing, 38),
    ];
}

#[derive(Default)]
struct Office {
    papers: Vec<Value>,
    made: HashMap<String, usize>,
}

impl Office {
    fn answer(&mut self, request: &wiremock::Request) -> ResponseTemplate {
        let path = request.url.path().to_owned();
        let at = path.strip_prefix("/papers/").and_then(|number| number.parse::<usize>().ok());
        let ok = |body: &Value| ResponseTemplate::new(200).set_body_json(body);
        match (request.method.as_str(), at) {
            ("GET", Some(at)) => self.papers.get(at).map_or(ResponseTemplate::new(404), ok),
            ("GET", None) if path == "/papers" => ok(&json!({ "papers": self.papers })),
            ("GET", None) => ResponseTemplate::new(200).set_body_string(format!("the content of {path}")),
            ("PATCH", Some(at)) => {
                let body: Value = serde_json::from_slice(&request.body).expect("a body");
                body.as_object()
                    .expect("members")
                    .iter()
                    .for_each(|(name, value)| self.papers[at][name] = value.clone());
                self.papers[at]["version"] = json!(2);
                ok(&self.papers[at])
            }
            _ => {
                let key = request.headers["idempotency-key"].to_str().expect("a key").to_owned();
                let next = self.papers.len();
                let at = *self.made.entry(key).or_insert(next);
                if at == next {
                    let mut paper: Value = serde_json::from_slice(&request.body).expect("a body");
                    paper["id"] = json!(at);
                    paper["version"] = json!(1);
                    self.papers.push(paper);
                }
                ok(&self.papers[at])
            }
        }
    }
}

/// A product with three papers, each with a file.
pub async fn office() -> MockServer {
    let paper = |id: usize| json!({ "id": id, "title": format!("paper {id}"), "kind": "letter", "version": 1 });
    let office = Mutex::new(Office { papers: (0..3).map(paper).collect(), made: HashMap::new() });
    let server = MockServer::start().await;
    let answer = move |request: &wiremock::Request| office.lock().expect("the office").answer(request);
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

/// The integration.
pub struct Clerk {
    spec: Spec,
    slip: Option<Slip>,
    count: Arc<AtomicUsize>,
}

impl Clerk {
    /// One that breaks a line, or none.
    pub fn with(slip: Option<Slip>) -> Arc<dyn Integration> {
        let settings_schema = json!({ "type": "object", "properties": { "base_url": { "type": "string" } } });
        let (name, title, description) = ("clerk".to_owned(), "Clerk".to_owned(), String::new());
        let spec = Spec { name, title, description, settings_schema, sign_in: SignIn::None };
        Arc::new(Self { spec, slip, count: Arc::default() })
    }
}

impl Integration for Clerk {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(Connected { link, slip: self.slip, count: Arc::clone(&self.count) }))
    }
}

struct Connected {
    link: Link,
    slip: Option<Slip>,
    count: Arc<AtomicUsize>,
}

impl Connected {
    fn slips(&self, slip: Slip) -> bool {
        self.slip == Some(slip)
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request {
        let base = self.link.settings.expose()["base_url"].as_str().unwrap_or_default().to_owned();
        let mut request = Request::get(format!("{base}{path}").parse().expect("an address"));
        request.method = method;
        request.body = body;
        request
    }

    async fn sent(&self, request: Request) -> Result<Response> {
        let answer = self.link.http.send_once(request).await?;
        let told = failure(&answer, "2024-01-01T00:00:00Z".parse().expect("a time"));
        told.map_or(Ok(answer), Err)
    }

    fn stream(&self) -> StreamSpec {
        let one = |name: &str| vec![name.to_owned()];
        let to = if self.slips(Slip::RefersToNowhere) { "nobody" } else { "papers" };
        let read_only =
            if self.slips(Slip::LeavesOutReadOnly) { vec![one("id")] } else { vec![one("id"), one("version")] };
        let natural = if self.slips(Slip::SharesNaturalKeys) { "kind" } else { "title" };
        StreamSpec {
            name: "papers".to_owned(),
            primary_key: vec![one("id")],
            cursor_field: Vec::new(),
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: Some(WriteSpec {
                can_create: true,
                can_update: true,
                read_only,
                references: vec![Reference { field: one("answers"), stream: to.to_owned() }],
                natural_key: vec![one(natural)],
            }),
        }
    }

    fn attachments(&self, papers: &[Value]) -> Vec<Attachment> {
        let read = self.count.fetch_add(1, Ordering::SeqCst);
        if self.slips(Slip::DropsAttachments) && read % 2 == 1 {
            return Vec::new();
        }
        let named = |(number, paper): (usize, &Value)| {
            let path = format!("/files/{}", paper["id"]);
            let length = format!("the content of {path}").len() as u64;
            Attachment {
                record: number as u32,
                id: "letter".to_owned(),
                name: "letter.txt".to_owned(),
                media_type: None,
                size_bytes: Some(if self.slips(Slip::TellsAnotherSize) { 7 } else { length }),
                version: Some("1".to_owned()),
                locator: json!(path),
            }
        };
        let all = papers.iter().enumerate().map(named);
        if self.slips(Slip::GivesOneIdTwice) { all.flat_map(|one| [one.clone(), one]).collect() } else { all.collect() }
    }
}

#[async_trait]
impl Connector for Connected {
    async fn check(&self) -> Result<()> {
        self.sent(self.request(Method::GET, "/papers", Bytes::new())).await.map(drop)
    }

    async fn discover(&self) -> Result<Catalog> {
        Ok(Catalog { streams: vec![self.stream()] })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        if request.position.is_some() {
            return Err(Error::new(ErrorKind::Invalid, "the position is not one of this connector"));
        }
        let answer = self.sent(self.request(Method::GET, "/papers", Bytes::new())).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let papers = body["papers"].as_array().ok_or_else(|| Error::new(ErrorKind::BadAnswer, "no page of papers"))?;
        let (mut text, mut records) = (String::new(), Vec::new());
        for paper in papers {
            let start = text.len() as u32;
            text.push_str(&paper.to_string());
            let end = text.len() as u32;
            text.push_str(&paper["id"].to_string());
            let key = KeySlices::One(end..text.len() as u32);
            records.push(RecordSlice { body: start..end, key, is_deletion: false });
        }
        let attachments = self.attachments(papers);
        let page =
            Page { body: Bytes::from(text), records, attachments, position: None, progress: PageProgress::default() };
        let gone = |_| Error::new(ErrorKind::Cancelled, "the reader went away");
        pages.send(page).await.map_err(gone)?;
        Ok(ReadEnd { is_full: true, ..ReadEnd::default() })
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let path = request.locator.as_str().unwrap_or_default();
        let opened = self.link.http.open_once(self.request(Method::GET, path, Bytes::new())).await?;
        if let Some(error) = failure(&opened.head, "2024-01-01T00:00:00Z".parse().expect("a time")) {
            let is_gone = error.kind() == ErrorKind::NotFound && self.slips(Slip::CallsGoneInvalid);
            return Err(if is_gone { Error::new(ErrorKind::Invalid, "something is wrong") } else { error });
        }
        let body = opened.body;
        let bytes = if self.slips(Slip::TakesHalfForWhole) {
            body.take_while(|piece| futures::future::ready(piece.is_ok())).boxed()
        } else if self.slips(Slip::KeepsTheVersion) {
            let count = self.count.fetch_add(1, Ordering::SeqCst);
            body.map_ok(move |piece| piece.iter().map(|byte| byte ^ (count % 2) as u8).collect::<Bytes>()).boxed()
        } else {
            body
        };
        Ok(AttachmentBody { offset_bytes: 0, validator: None, media_type: None, bytes })
    }

    fn writer(&self) -> Option<&dyn RecordWriter> {
        Some(self)
    }
}

#[async_trait]
impl RecordWriter for Connected {
    async fn read_one(&self, _stream: &StreamSpec, key: &[String]) -> Result<Option<Bytes>> {
        let request = self.request(Method::GET, &format!("/papers/{}", key[0]), Bytes::new());
        match self.sent(request).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(answer) if self.slips(Slip::ReadsOneOtherwise) => {
                Ok(Some(Bytes::from(json!({ "paper": String::from_utf8_lossy(&answer.body) }).to_string())))
            }
            Ok(answer) => Ok(Some(answer.body)),
        }
    }

    async fn write(&self, _stream: &StreamSpec, request: &WriteRequest) -> Result<WrittenRecord> {
        let mut sent = match &request.action {
            WriteAction::Create => self.request(Method::POST, "/papers", request.body.clone()),
            WriteAction::Update { key } => {
                self.request(Method::PATCH, &format!("/papers/{}", key[0]), request.body.clone())
            }
        };
        let mut key = request.idempotency_key.clone();
        if self.slips(Slip::MakesTwice) {
            key.push_str(&self.count.fetch_add(1, Ordering::SeqCst).to_string());
        }
        sent.headers.insert("idempotency-key", key.parse().expect("a header"));
        let answer = self.link.http.send_once(sent).await?;
        if answer.status.as_u16() >= 400 {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            let refused = self.slips(Slip::CallsRefusalsPassing) || answer.status.as_u16() != 422;
            let kind = if refused { ErrorKind::Retry } else { ErrorKind::Invalid };
            return Err(Error::new(kind, body["message"].as_str().unwrap_or("no reason").to_owned()));
        }
        let paper: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        Ok(WrittenRecord { key: vec![paper["id"].to_string()] })
    }
}
