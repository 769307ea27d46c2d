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
    /// Streams that are read incrementally, with the number of the change that last touched each record.
    changes: BTreeMap<String, BTreeMap<u64, u64>>,
    last_change: u64,
    page_records: usize,
    failing: BTreeMap<String, ErrorKind>,
    /// Streams whose reads of everything fail, while those of changes work.
    failing_whole: BTreeSet<String>,
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

    /// From now on a stream tells what changed since a read. It marks deletions, or so its description says.
    pub fn tell_changes(&self, stream: &str) {
        self.script().changes.insert(stream.to_owned(), BTreeMap::new());
    }

    /// Sets records by id, and the stream tells of it.
    pub fn change(&self, stream: &str, ids: impl IntoIterator<Item = u64> + Clone, value: &str) {
        self.put(stream, ids.clone(), value);
        let mut script = self.script();
        script.last_change += 1;
        let number = script.last_change;
        script.changes.entry(stream.to_owned()).or_default().extend(ids.into_iter().map(|id| (id, number)));
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

    /// Lets every read of all of a stream fail from now on; reads of what changed work.
    pub fn fail_whole(&self, stream: &str) {
        self.script().failing_whole.insert(stream.to_owned());
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

    fn page(&self, stream: &str, since: Option<u64>, number: usize) -> Option<Page> {
        let mut script = self.script();
        let (size, records) = (script.page_records, script.streams.get(stream)?);
        let changes = script.changes.get(stream);
        let has_changed = |id: &u64| changes.is_some_and(|changes| changes.get(id).copied() > since);
        let wanted = records.iter().filter(|(id, _)| since.is_none() || has_changed(id));
        let on_page: Vec<Value> = wanted.skip(number * size).take(size).map(|(_, record)| record.clone()).collect();
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
        let script = self.script();
        let tells_changes = |name: &String| script.changes.contains_key(name);
        let streams = script.streams.keys().map(|name| StreamSpec {
            name: name.clone(),
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: if tells_changes(name) { vec!["changed".to_owned()] } else { Vec::new() },
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: match tells_changes(name) {
                true => Deletions::Marked { field: vec!["deleted".to_owned()] },
                false => Deletions::Absence,
            },
            write: None,
        });
        Ok(Catalog { streams: streams.collect() })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let stream = &request.stream.name;
        let since = request.state.and_then(|state| state.as_u64());
        let now = self.script().last_change;
        let mut number = request.position.and_then(|position| position.as_u64()).unwrap_or(0) as usize;
        loop {
            self.0.permits.acquire().await.expect("never closed").forget();
            let fails_whole = since.is_none() && self.script().failing_whole.contains(stream);
            let failing = self.script().failing.get(stream).copied().or(fails_whole.then_some(ErrorKind::Denied));
            let is_panicking = self.script().panicking.contains(stream);
            assert!(!is_panicking, "the script says so");
            if let Some(kind) = failing {
                return Err(Error::new(kind, "the script says so"));
            }
            let Some(page) = self.page(stream, since, number) else { break };
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody reads any more"));
            }
            number += 1;
        }
        let state = self.script().changes.contains_key(stream).then(|| json!(now));
        Ok(ReadEnd { state, is_full: since.is_none(), ..ReadEnd::default() })
    }
}
