//! `SimpleRetriever`: reads one slice page by page; the download of an `AsyncRetriever` is read the same way.

mod again;
mod merged;
mod reader;

use bytes::Bytes;

use self::again::Rules;
pub(crate) use self::reader::Reader;
use super::{
    cursor::Cursor,
    decode::Decoder,
    extract::Plan,
    job::Jobs,
    load::{Take, View},
    paginate::Paginator,
    partition::Router,
    request::requester::Requester,
    selector::Selector,
    session::Session,
    stream::Stream,
    template::Python,
    time::Moment,
};
use crate::{Attachment, RecordSlice, Result};

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Retriever {
    pub(crate) requester: Requester,
    pub(crate) paginator: Option<Paginator>,
    pub(crate) router: Router,
    pub(crate) selector: Selector,
    decoder: Decoder,
    /// What comes before the download.
    jobs: Option<Jobs>,
    /// What to do where the product cannot give a page as it was asked for.
    rules: Rules,
    drops_slice_on_later_pages: bool,
}

impl Retriever {
    /// Reads the component in the field called `retriever`.
    pub(crate) fn load(stream: &View<'_>) -> Take<Self> {
        let view = stream.required_child("retriever")?;
        match view.kind() {
            "SimpleRetriever" => Self::simple(&view, stream.field("incremental_sync").is_some()),
            "AsyncRetriever" => Self::of_jobs(&view),
            _ => Err(view.unsupported("retriever")),
        }
    }

    /// Reads a `SimpleRetriever`.
    fn simple(view: &View<'_>, has_cursor: bool) -> Take<Self> {
        let rules = Rules::load(view, has_cursor);
        let decoder = Decoder::load(view, "decoder");
        let requester = view.required_child("requester").and_then(|requester| Requester::load(&requester));
        let (paginator, router) = (Paginator::load(view, "paginator"), Router::load(view));
        let selector = view.required_child("record_selector").and_then(|selector| Selector::load(&selector));
        Ok(Self {
            requester: requester?,
            paginator: paginator?,
            router: router?,
            selector: selector?,
            decoder: decoder?,
            jobs: None,
            rules: rules?,
            drops_slice_on_later_pages: view
                .flag("ignore_stream_slicer_parameters_on_paginated_requests")?
                .unwrap_or(false),
        })
    }

    /// Reads an `AsyncRetriever`: its download is what reads records.
    fn of_jobs(view: &View<'_>) -> Take<Self> {
        let jobs = Jobs::load(view);
        let requester = view.required_child("download_requester").and_then(|requester| Requester::load(&requester));
        let (paginator, router) = (Paginator::load(view, "download_paginator"), Router::load(view));
        let extractor = view.child("download_extractor");
        let selector = view.required_child("record_selector");
        let selector = selector.and_then(|selector| Selector::of_download(&selector, extractor.as_ref()));
        let decoder = match &extractor {
            Some(report) if report.kind() == "ResponseToFileExtractor" => report
                .flag("preserve_na_values")
                .map(|keeps_words| Decoder::Report { keeps_words: keeps_words.unwrap_or(false) }),
            _ => Decoder::load(view, "download_decoder"),
        };
        Ok(Self {
            requester: requester?,
            paginator: paginator?,
            router: router?,
            selector: selector?,
            decoder: decoder?,
            jobs: Some(jobs?),
            rules: Rules::default(),
            drops_slice_on_later_pages: false,
        })
    }
}

/// A page of records as a slice gave it.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The page's text, or the changed records.
    pub(crate) body: Bytes,
    /// The records in it.
    pub(crate) records: Vec<RecordSlice>,
    /// What hangs on them.
    pub(crate) attachments: Vec<Attachment>,
    /// Bytes received.
    pub(crate) received: u64,
    /// The token of the page at which to go on after an interruption; `None` for the slice's first.
    pub(crate) next: Option<Python>,
    /// False at the end of the slice.
    pub(crate) has_more: bool,
    /// The greatest cursor value of the slice so far.
    pub(crate) latest: Option<Moment>,
}

impl Batch {
    /// A page without records, while something is waited for.
    fn waiting(latest: Option<Moment>) -> Self {
        let (records, attachments) = (Vec::new(), Vec::new());
        Self { body: Bytes::new(), records, attachments, received: 0, next: None, has_more: true, latest }
    }

    /// The text of a record.
    pub(crate) fn text(&self, record: &RecordSlice) -> &str {
        let range = record.body.start as usize..record.body.end as usize;
        std::str::from_utf8(&self.body[range]).unwrap_or("{}")
    }
}

impl Plan {
    /// The plan of a stream.
    pub(crate) fn of(stream: &Stream, session: &Session, cursor: Option<&Cursor>) -> Result<Self> {
        let (path, reshaped) = stream.retriever.selector.bind(session)?;
        Ok(Self {
            path,
            reshaped,
            key: stream.primary_key.clone(),
            cursor: cursor.map(|cursor| cursor.field.clone()),
            deletion: stream.deletion_path(),
        })
    }
}
