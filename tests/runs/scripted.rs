//! A product whose records, pages and faults a test sets. It speaks the connector contract and nothing else; the engine
//! around it is the real one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use listbackup_connectors::{
    Catalog, Connector, Deletions, Error, ErrorKind, Integration, KeySlices, Link, Page, PageProgress, ReadEnd,
    ReadRequest, RecordSlice, Result, SignIn, Spec, StreamSpec,
};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

/// Name of the integration.
pub const NAME: &str = "scripted";

/// The product; clones share it.
#[derive(Clone)]
pub struct Product(Arc<Inner>);

struct Inner {
    spec: Spec,
    script: Mutex<Script>,
    /// Pages that may be sent; a test that holds reads back gives out few.
    permits: Semaphore,
}

#[derive(Default)]
struct Script {
    streams: BTreeMap<String, BTreeMap<u64, Value>>,
    page_records: usize,
    failing: BTreeMap<String, ErrorKind>,
    panicking: BTreeSet<String>,
    served: BTreeMap<String, Vec<usize>>,
}

impl Product {
    /// A product without streams that holds nothing back.
    pub fn new(page_records: usize) -> Self {
        let spec = Spec {
            name: NAME.to_owned(),
            title: "Scripted".to_owned(),
            description: "A product of the tests.".to_owned(),
            settings_schema: json!({ "type": "object", "properties": {} }),
            sign_in: SignIn::None,
        };
        let script = Mutex::new(Script { page_records, ..Script::default() });
        Self(Arc::new(Inner { spec, script, permits: Semaphore::new(Semaphore::MAX_PERMITS) }))
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.script.lock().expect("no test panics while it holds the script")
    }

    /// Sets records by id.
    pub fn put(&self, stream: &str, ids: impl IntoIterator<Item = u64>, value: &str) {
        let mut script = self.script();
        let records = script.streams.entry(stream.to_owned()).or_default();
        records.extend(ids.into_iter().map(|id| (id, json!({ "id": id, "value": value }))));
    }

    /// Removes records by id.
    pub fn remove(&self, stream: &str, ids: impl IntoIterator<Item = u64>) {
        let ids: BTreeSet<u64> = ids.into_iter().collect();
        if let Some(records) = self.script().streams.get_mut(stream) {
            records.retain(|id, _| !ids.contains(id));
        }
    }

    /// What the product holds, in key order.
    pub fn truth(&self, stream: &str) -> Vec<Value> {
        self.script().streams.get(stream).map(|records| records.values().cloned().collect()).unwrap_or_default()
    }

    /// Lets every read of a stream fail from now on, or work again.
    pub fn fail(&self, stream: &str, kind: Option<ErrorKind>) {
        match kind {
            Some(kind) => self.script().failing.insert(stream.to_owned(), kind),
            None => self.script().failing.remove(stream),
        };
    }

    /// Lets every read of a stream panic.
    pub fn panic_on(&self, stream: &str) {
        self.script().panicking.insert(stream.to_owned());
    }

    /// Numbers of the pages that were sent of a stream, in order.
    pub fn pages_served(&self, stream: &str) -> Vec<usize> {
        self.script().served.get(stream).cloned().unwrap_or_default()
    }

    /// Forgets what was served.
    pub fn forget_served(&self) {
        self.script().served.clear();
    }

    /// From now on only `pages` pages are sent, until more are allowed.
    pub fn hold_after(&self, pages: usize) {
        self.0.permits.forget_permits(Semaphore::MAX_PERMITS);
        self.0.permits.add_permits(pages);
    }

    /// Holds nothing back any more.
    pub fn release(&self) {
        self.0.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    fn page(&self, stream: &str, number: usize) -> Option<Page> {
        let mut script = self.script();
        let (size, records) = (script.page_records, script.streams.get(stream)?);
        let on_page: Vec<Value> = records.values().skip(number * size).take(size).cloned().collect();
        if on_page.is_empty() {
            return None;
        }
        script.served.entry(stream.to_owned()).or_default().push(number);
        Some(render(&on_page, number))
    }
}

/// Records as a page: an array, with every record and its key as slices.
fn render(records: &[Value], number: usize) -> Page {
    let mut body = String::from("[");
    let mut slices = Vec::new();
    for record in records {
        let start = body.len();
        body.push_str(&record.to_string());
        let key = start + "{\"id\":".len();
        let key_end = key + record["id"].to_string().len();
        let at = |offset: usize| u32::try_from(offset).expect("small pages");
        slices.push(RecordSlice {
            body: at(start)..at(body.len()),
            key: KeySlices::One(at(key)..at(key_end)),
            is_deletion: false,
        });
        body.push(',');
    }
    body.pop();
    body.push(']');
    let progress = PageProgress { bytes_received: body.len() as u64, requests: 1, ..PageProgress::default() };
    Page { body: body.into(), records: slices, position: Some(json!(number + 1)), progress }
}

impl Integration for Product {
    fn spec(&self) -> &Spec {
        &self.0.spec
    }

    fn connect(&self, _: Link) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Connector for Product {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn discover(&self) -> Result<Catalog> {
        let names: Vec<String> = self.script().streams.keys().cloned().collect();
        let streams = names.into_iter().map(|name| StreamSpec {
            name,
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: Vec::new(),
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: None,
        });
        Ok(Catalog { streams: streams.collect() })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let stream = &request.stream.name;
        let mut number = request.position.and_then(|position| position.as_u64()).unwrap_or(0) as usize;
        loop {
            self.0.permits.acquire().await.expect("never closed").forget();
            let failing = self.script().failing.get(stream).copied();
            let is_panicking = self.script().panicking.contains(stream);
            assert!(!is_panicking, "the script says so");
            if let Some(kind) = failing {
                return Err(Error::new(kind, "the script says so"));
            }
            let Some(page) = self.page(stream, number) else { break };
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody reads any more"));
            }
            number += 1;
        }
        Ok(ReadEnd { is_full: true, ..ReadEnd::default() })
    }
}
