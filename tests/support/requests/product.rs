//! A product of equal streams whose pages take their time, without any request over a network.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use listbackup_connectors::{
    Catalog, Connector, Deletions, Error, ErrorKind, Integration, KeySlices, Link, Page, PageProgress, ReadEnd,
    ReadRequest, RecordSlice, Result, SignIn, Spec, StreamSpec,
};
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};

/// Name of the integration.
pub const NAME: &str = "pages";

/// Writes one record, whose first field is its `id` as a text: number and edition.
pub type Render = fn(&mut String, u64, u64);

/// The product; clones share it.
#[derive(Clone)]
pub struct Product(Arc<Inner>);

struct Inner {
    spec: Spec,
    streams: u64,
    pages: u64,
    page_records: u64,
    page_takes: Duration,
    render: Render,
    /// Grows when its records change.
    edition: AtomicU64,
}

impl Product {
    /// So many streams of so many pages.
    pub fn new(streams: u64, pages: u64, page_records: u64, page_takes: Duration, render: Render) -> Self {
        let spec = Spec {
            name: NAME.to_owned(),
            title: "Pages".to_owned(),
            description: "A product for counting.".to_owned(),
            settings_schema: json!({
                "type": "object",
                "properties": { "api_key": { "type": "string", "airbyte_secret": true } },
            }),
            sign_in: SignIn::None,
        };
        let edition = AtomicU64::new(0);
        Self(Arc::new(Inner { spec, streams, pages, page_records, page_takes, render, edition }))
    }

    /// Small records that need no kit.
    pub fn small(streams: u64, page_records: u64, page_takes: Duration) -> Self {
        let render: Render =
            |text, id, edition| text.push_str(&json!({ "id": id.to_string(), "n": edition }).to_string());
        Self::new(streams, 1, page_records, page_takes, render)
    }

    /// The first tenth of the records of each page is another one from now on.
    pub fn change(&self) {
        self.0.edition.fetch_add(1, Ordering::SeqCst);
    }

    fn page(&self, number: u64) -> Page {
        let (inner, edition) = (&self.0, self.0.edition.load(Ordering::SeqCst));
        let (mut body, mut records) = (String::from("["), Vec::new());
        let at = |offset: usize| u32::try_from(offset).expect("small pages");
        for place in 0..inner.page_records {
            let start = body.len();
            let changes = place * 10 < inner.page_records;
            (inner.render)(&mut body, number * inner.page_records + place, if changes { edition } else { 0 });
            let key = start + "{\"id\":".len();
            let key_end = key + 2 + body[key + 1..].find('"').expect("the id is a text");
            let key = KeySlices::One(at(key)..at(key_end));
            records.push(RecordSlice { body: at(start)..at(body.len()), key, is_deletion: false });
            body.push(',');
        }
        body.pop();
        body.push(']');
        let progress = PageProgress { bytes_received: body.len() as u64, requests: 1, ..PageProgress::default() };
        Page { body: body.into(), records, attachments: Vec::new(), position: Some(json!(number + 1)), progress }
    }
}

impl Integration for Product {
    fn spec(&self) -> &Spec {
        &self.0.spec
    }

    fn connect(&self, _link: Link) -> Result<Arc<dyn Connector>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
impl Connector for Product {
    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn discover(&self) -> Result<Catalog> {
        let stream = |number| StreamSpec {
            name: format!("stream-{number}"),
            primary_key: vec![vec!["id".to_owned()]],
            cursor_field: Vec::new(),
            json_schema: json!({}),
            parents: Vec::new(),
            deletions: Deletions::Absence,
            write: None,
        };
        Ok(Catalog { streams: (0..self.0.streams).map(stream).collect() })
    }

    async fn read(&self, request: ReadRequest, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let first = request.position.and_then(|position| position.as_u64()).unwrap_or(0);
        for number in first..self.0.pages {
            sleep(self.0.page_takes).await;
            let sent = pages.send(self.page(number)).await;
            sent.map_err(|_| Error::new(ErrorKind::Cancelled, "nobody reads any more"))?;
        }
        Ok(ReadEnd { is_full: true, ..ReadEnd::default() })
    }
}
