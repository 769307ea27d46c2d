//! Stand-ins for the products of our integrations: they answer what `connectors/fixtures/NAME/` holds, and nothing else.
//!
//! A manifest names the vendor's hosts: here `https://` becomes the address of the stand-in, so that the host is the first
//! step of every path it is asked for.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use listbackup_connectors::Connector;
use serde_json::{Value, json};
use wiremock::{MockServer, Request, ResponseTemplate};

use crate::kit::{Reading, connect, product, read};

/// Files that hold no answers.
const NO_ANSWERS: &[&str] = &["settings.json", "settings-other.json", "errors.json"];

pub fn at(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("connectors/fixtures").join(name)
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn json_of(path: &Path) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Which request it is: method, host and path, query in any order, body.
pub type Asked = (String, String, Vec<(String, String)>, Option<String>);

/// `body` with its members in order, so that equal ones are equal texts.
pub fn in_order(body: &Value) -> Value {
    match body {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), in_order(value))).collect();
            sorted.into_iter().collect()
        }
        Value::Array(items) => items.iter().map(in_order).collect(),
        other => other.clone(),
    }
}

fn asked(method: &str, url: &url::Url, path: String, body: Option<Value>) -> Asked {
    let mut query: Vec<_> = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    query.sort();
    (method.to_owned(), path, query, body.map(|body| in_order(&body).to_string()))
}

fn asked_by(request: &Request) -> Asked {
    let is_json = request.headers.get("content-type").is_some_and(|kind| kind.as_bytes().ends_with(b"json"));
    let body = match &*request.body {
        [] => None,
        body if is_json => Some(serde_json::from_slice(body).unwrap()),
        body => {
            Some(url::form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), json!(value))).collect())
        }
    };
    asked(request.method.as_str(), &request.url, request.url.path().to_owned(), body)
}

/// A file's exchange that was not asked for, a request that no file knows: both are told with what there is.
#[derive(Default)]
pub struct Answers {
    /// The answers to each request, in the order in which they come; the last one stays.
    by_request: BTreeMap<Asked, Vec<Value>>,
    /// How often each was asked for.
    times: BTreeMap<Asked, usize>,
    unknown: Vec<Asked>,
}

impl Answers {
    pub fn add(&mut self, exchange: &Value) -> Asked {
        let request = &exchange["request"];
        let url = url::Url::parse(request["url"].as_str().unwrap()).unwrap();
        let path = format!("/{}{}", url.host_str().unwrap(), url.path());
        let asked = asked(request["method"].as_str().unwrap(), &url, path, request.get("body").cloned());
        self.by_request.entry(asked.clone()).or_default().push(exchange["response"].clone());
        asked
    }

    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let asked = asked_by(request);
        let Some(answers) = self.by_request.get(&asked) else {
            self.unknown.push(asked);
            return ResponseTemplate::new(404);
        };
        let times = self.times.entry(asked).or_default();
        let answer = &answers[(*times).min(answers.len() - 1)];
        *times += 1;
        let home = format!("http://{}/", request.headers["host"].to_str().unwrap());
        let body = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
        let mut template = ResponseTemplate::new(u16::try_from(answer["status"].as_u64().unwrap()).unwrap());
        let mut media_type = "application/json";
        for (name, value) in answer["headers"].as_object().unwrap() {
            let value = value.as_str().unwrap();
            if name == "content-type" {
                media_type = value;
            } else {
                template = template.insert_header(name.as_str(), value.replace("https://", &home));
            }
        }
        template.set_body_raw(body.replace("https://", &home), media_type)
    }
}

/// A manifest without one of its parts at the top.
fn without(manifest: &str, part: &str) -> String {
    let mut is_in_part = false;
    let kept = manifest.lines().filter(|line| {
        if line.starts_with(|first: char| first.is_alphabetic()) {
            is_in_part = line.starts_with(part);
        }
        !is_in_part
    });
    kept.flat_map(|line| [line, "\n"]).collect()
}

/// A product's stand-in, and a connector that is bound to it.
pub struct Product {
    name: &'static str,
    server: MockServer,
    answers: Arc<Mutex<Answers>>,
    pub connector: Arc<dyn Connector>,
}

impl Product {
    pub async fn start(name: &'static str, settings: &str, answers: Answers) -> Self {
        let answers = Arc::new(Mutex::new(answers));
        let shared = Arc::clone(&answers);
        let server = product(move |request| shared.lock().unwrap().answer(request)).await;
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("connectors/manifests/{name}.yaml"));
        // Rates are another test's: budgets.rs.
        let manifest = without(&text(&manifest), "api_budget").replace("https://", &format!("{}/", server.uri()));
        let connector = connect(&manifest, json_of(&at(name).join(settings))).unwrap();
        Self { name, server, answers, connector }
    }

    /// With every answer there is.
    pub async fn whole(name: &'static str, settings: &str) -> Self {
        let mut answers = Answers::default();
        for exchanges in exchanges(name).values() {
            exchanges.as_array().unwrap().iter().for_each(|exchange| drop(answers.add(exchange)));
        }
        Self::start(name, settings, answers).await
    }

    pub async fn read(&self, stream: &str, state: Option<Value>) -> Reading {
        let reading = read(&self.connector, stream, state, None).await;
        let end = reading.end.as_ref().map(|end| &end.failed_items);
        assert!(end.as_ref().is_ok_and(|failed| failed.is_empty()), "{} {stream}: {end:?}", self.name);
        self.assert_all_known();
        reading
    }

    pub fn assert_all_known(&self) {
        let unknown = std::mem::take(&mut self.answers.lock().unwrap().unknown);
        assert!(unknown.is_empty(), "{}: no file of fixtures knows {unknown:#?}", self.name);
    }

    /// The records that a stream must bring.
    pub fn expected(&self, stream: &str) -> Vec<Value> {
        let lines = text(&at(self.name).join("expected").join(format!("{stream}.jsonl")));
        let lines = lines.replace("https://", &format!("{}/", self.server.uri()));
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Exchanges of the files that `is_meant` that nobody asked for.
    pub fn never_asked(&self, is_meant: impl Fn(&str) -> bool) -> Vec<Asked> {
        let mut never = Vec::new();
        for (file, exchanges) in exchanges(self.name).into_iter().filter(|(file, _)| is_meant(file)) {
            let mut of_file = Answers::default();
            let asked: BTreeSet<_> = exchanges.as_array().unwrap().iter().map(|each| of_file.add(each)).collect();
            assert!(!asked.is_empty(), "{file} is empty");
            let times = &self.answers.lock().unwrap().times;
            never.extend(asked.into_iter().filter(|asked| !times.contains_key(asked)));
        }
        never
    }
}

/// The exchanges of an integration, by file.
pub fn exchanges(name: &str) -> BTreeMap<String, Value> {
    let files = fs::read_dir(at(name)).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let named = files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), path));
    named.filter(|(file, _)| !NO_ANSWERS.contains(&file.as_str())).map(|(file, path)| (file, json_of(&path))).collect()
}
