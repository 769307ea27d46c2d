//! A product whose records, pages and faults a test sets. It speaks the connector contract and nothing else; the engine
//! around it is the real one.

mod history;
mod page;
mod script;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use listbackup_connectors::{
    Attachment, AttachmentBody, AttachmentRequest, Catalog, Connector, Deletions, Error, ErrorKind, Integration, Link,
    Page, ReadEnd, ReadRequest, Result, SignIn, Spec, StreamSpec,
};
use serde_json::{Value, json};
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

pub use self::history::Records;
use self::{history::History, page::render, script::Script};
use crate::desk::{Desk, Door, Visitor};

/// Name of the integration.
pub const NAME: &str = "scripted";

/// The product; clones share it.
#[derive(Clone)]
pub struct Product {
    inner: Arc<Inner>,
    /// Who comes, where that is counted.
    visitor: Option<Visitor>,
    /// Its way in, once it is connected.
    door: Option<Door>,
}

struct Inner {
    spec: Spec,
    script: Mutex<Script>,
    /// Pages that may be sent; a test that holds reads back gives out few.
    permits: Semaphore,
}

/// An attachment of the record of some stream's id.
#[derive(Clone)]
pub struct File {
    /// Changes with its bytes.
    pub version: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// So many downloads break off in the middle.
    pub cuts: u32,
    /// Every download fails so.
    pub failing: Option<ErrorKind>,
    /// Every download ends early, as if that were all.
    pub is_short: bool,
}

impl File {
    /// One that can be downloaded.
    pub fn new(version: u32, bytes: Vec<u8>) -> Self {
        Self { version, bytes, cuts: 0, failing: None, is_short: false }
    }
}

impl Product {
    /// A product without streams that holds nothing back.
    pub fn new(page_records: usize) -> Self {
        Self::named(NAME, page_records)
    }

    /// One of that name.
    pub fn named(name: &str, page_records: usize) -> Self {
        let spec = Spec {
            name: name.to_owned(),
            title: "Scripted".to_owned(),
            description: "A product of the tests.".to_owned(),
            settings_schema: json!({
                "type": "object",
                "properties": { "api_key": { "type": "string", "airbyte_secret": true } },
            }),
            sign_in: SignIn::None,
        };
        let script = Mutex::new(Script { page_records, ..Script::default() });
        let inner = Inner { spec, script, permits: Semaphore::new(Semaphore::MAX_PERMITS) };
        Self { inner: Arc::new(inner), visitor: None, door: None }
    }

    /// Remembers what it holds from now on. Its pages go by ids, so that no record comes to another page while others go.
    pub fn remember(&self) {
        let mut script = self.script();
        (script.history, script.is_paged_by_id) = (Some(History::default()), true);
    }

    /// All that a stream held from one instant to another, in order, as far as it remembers.
    pub fn held_within(&self, stream: &str, from: Instant, to: Instant) -> Vec<Records> {
        self.script().history.as_ref().map(|history| history.within(stream, from, to)).unwrap_or_default()
    }

    /// From now on one has to sign in here.
    pub fn open_desk(&self, desk: Desk) {
        self.script().desk = Some(desk);
    }

    /// The product as that one meets it.
    pub fn visited_by(&self, visitor: Visitor) -> Self {
        Self { visitor: Some(visitor), ..self.clone() }
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.inner.script.lock().expect("no test panics while it holds the script")
    }

    /// Sets records by id.
    pub fn put(&self, stream: &str, ids: impl IntoIterator<Item = u64>, value: &str) {
        let mut script = self.script();
        let records = script.streams.entry(stream.to_owned()).or_default();
        records.extend(ids.into_iter().map(|id| (id, json!({ "id": id, "value": value }))));
        script.remember(stream);
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
        let mut script = self.script();
        if let Some(records) = script.streams.get_mut(stream) {
            records.retain(|id, _| !ids.contains(id));
        }
        script.remember(stream);
    }

    /// What the product holds, in key order.
    pub fn truth(&self, stream: &str) -> Vec<Value> {
        self.script().streams.get(stream).map(|records| records.values().cloned().collect()).unwrap_or_default()
    }

    /// Hangs a file on the record `id` of every stream.
    pub fn attach(&self, id: u64, name: &str, file: File) {
        self.script().files.entry(id).or_default().insert(name.to_owned(), file);
    }

    /// Takes a file away.
    pub fn detach(&self, id: u64, name: &str) {
        self.script().files.entry(id).or_default().remove(name);
    }

    /// From now on every stream has a state: a read from it brings the records with `"new": true` only.
    pub fn be_incremental(&self) {
        self.script().is_incremental = true;
    }

    /// Replaces a record.
    pub fn set(&self, stream: &str, id: u64, record: Value) {
        let mut script = self.script();
        script.streams.entry(stream.to_owned()).or_default().insert(id, record);
        script.remember(stream);
    }

    /// Names of the files that were opened since the last call, and from which byte on; sorted.
    pub fn take_opened(&self) -> Vec<(String, u64)> {
        let mut opened = std::mem::take(&mut self.script().opened);
        opened.sort();
        opened
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

    /// Lets every attempt to begin a run fail from now on, or work again.
    pub fn refuse_to_connect(&self, kind: Option<ErrorKind>) {
        self.script().refusing = kind;
    }

    /// The next so many questions for its streams are never answered.
    pub fn hang_when_asked(&self, times: u32) {
        self.script().silent = times;
    }

    /// True when a question is never to be answered.
    fn is_silent(&self) -> bool {
        let mut script = self.script();
        let is_silent = script.silent > 0;
        script.silent = script.silent.saturating_sub(1);
        is_silent
    }

    /// Lets every read of a stream go on for ever without a record.
    pub fn hang_on(&self, stream: &str) {
        self.script().hanging.insert(stream.to_owned());
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
        self.inner.permits.forget_permits(Semaphore::MAX_PERMITS);
        self.inner.permits.add_permits(pages);
    }

    /// Holds nothing back any more.
    pub fn release(&self) {
        self.inner.permits.add_permits(Semaphore::MAX_PERMITS / 2);
    }

    fn page(&self, stream: &str, since: Option<u64>, number: usize) -> Option<(usize, Page)> {
        let mut script = self.script();
        let (number, on_page) = script.page(stream, since, number)?;
        script.served.entry(stream.to_owned()).or_default().push(number);
        let mut page = render(&on_page, number);
        for (record, on_page) in on_page.iter().enumerate() {
            let files = on_page["id"].as_u64().and_then(|id| script.files.get(&id));
            page.attachments.extend(files.into_iter().flatten().map(|(name, file)| Attachment {
                record: record as u32,
                id: name.clone(),
                name: format!("{name}.bin"),
                media_type: None,
                size_bytes: Some(file.bytes.len() as u64),
                version: Some(file.version.to_string()),
                locator: json!([on_page["id"], name]),
            }));
        }
        Some((number, page))
    }
}

impl Integration for Product {
    fn spec(&self) -> &Spec {
        &self.inner.spec
    }

    fn connect(&self, link: Link) -> Result<Arc<dyn Connector>> {
        let desk = self.script().desk.clone();
        let door = match desk.zip(self.visitor.clone()) {
            Some((desk, visitor)) => Some(desk.door(&link, visitor)?),
            None => None,
        };
        Ok(Arc::new(Self { door, ..self.clone() }))
    }
}

#[async_trait]
impl Connector for Product {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn discover(&self) -> Result<Catalog> {
        if self.is_silent() {
            std::future::pending::<()>().await;
        }
        if let Some(kind) = self.script().refusing {
            return Err(Error::new(kind, "the script says so"));
        }
        let script = self.script();
        let tells_changes = |name: &String| script.changes.contains_key(name);
        let streams = script.streams.keys().map(|name| StreamSpec {
            name: name.clone(),
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: match tells_changes(name) || script.is_incremental {
                true => vec!["changed".to_owned()],
                false => Vec::new(),
            },
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: match (tells_changes(name), script.is_incremental) {
                (true, _) => Deletions::Marked { field: vec!["deleted".to_owned()] },
                (false, true) => Deletions::Never,
                (false, false) => Deletions::Absence,
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
            if let Some(door) = &self.door {
                door.request().await?;
            }
            self.inner.permits.acquire().await.expect("never closed").forget();
            let fails_whole = since.is_none() && self.script().failing_whole.contains(stream);
            let failing = self.script().failing.get(stream).copied().or(fails_whole.then_some(ErrorKind::Denied));
            let is_panicking = self.script().panicking.contains(stream);
            assert!(!is_panicking, "the script says so");
            if self.script().hanging.contains(stream) {
                let nothing = Page { body: "[]".into(), position: Some(json!(0)), ..render(&[], 0) };
                pages.send(nothing).await.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody reads any more"))?;
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                self.inner.permits.add_permits(1);
                continue;
            }
            if let Some(kind) = failing {
                return Err(Error::new(kind, "the script says so"));
            }
            let Some((found, page)) = self.page(stream, since, number) else { break };
            if pages.send(page).await.is_err() {
                return Err(Error::new(ErrorKind::Cancelled, "nobody reads any more"));
            }
            number = found + 1;
        }
        let script = self.script();
        let state = (script.is_incremental || script.changes.contains_key(stream)).then(|| json!(now));
        Ok(ReadEnd { state, is_full: since.is_none(), ..ReadEnd::default() })
    }

    async fn open_attachment(&self, request: AttachmentRequest) -> Result<AttachmentBody> {
        let gone = || Error::new(ErrorKind::NotFound, "no such file");
        let (id, name) = (request.locator[0].as_u64(), request.locator[1].as_str());
        let (id, name) = id.zip(name).ok_or_else(gone)?;
        let mut script = self.script();
        let offset_bytes = request.resume.map_or(0, |resume| resume.offset_bytes);
        script.opened.push((name.to_owned(), offset_bytes));
        let file = script.files.get_mut(&id).and_then(|files| files.get_mut(name)).ok_or_else(gone)?;
        if let Some(kind) = file.failing {
            return Err(Error::new(kind, "the script says so"));
        }
        let rest = Bytes::copy_from_slice(&file.bytes[offset_bytes as usize..]);
        let mut pieces: Vec<Result<Bytes>> = rest.chunks(5000).map(|piece| Ok(rest.slice_ref(piece))).collect();
        if file.cuts > 0 {
            file.cuts -= 1;
            pieces.truncate(pieces.len() / 2);
            pieces.push(Err(Error::new(ErrorKind::Retry, "cut")));
        }
        if file.is_short {
            pieces.clear();
        }
        let validator = Some(file.version.to_string());
        Ok(AttachmentBody { offset_bytes, validator, media_type: None, bytes: stream::iter(pieces).boxed() })
    }
}
