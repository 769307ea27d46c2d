//! `SimpleRetriever`: reads one slice page by page.

use std::{collections::HashSet, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    cursor::Cursor,
    extract::{self, Extracted, Found, Plan},
    load::{Take, View},
    paginate::{Paginator, Turn},
    partition::Router,
    request::{
        options::Injections,
        requester::{Call, Requester, Sent},
    },
    selector::{Changes, Selector},
    session::Session,
    slice::Slice,
    stream::{Bound, Stream},
    template::{Python, values::Lazy},
    time::Moment,
    told_error,
};
use crate::{
    Attachment, Error, ErrorKind, FailedItem, RecordSlice, Result,
    http::{Response, StatusCode},
};

/// Page tokens remembered to notice loops; then the memory starts anew.
const MAX_TOKENS: usize = 100_000;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct Retriever {
    pub(crate) requester: Requester,
    pub(crate) paginator: Option<Paginator>,
    pub(crate) router: Router,
    pub(crate) selector: Selector,
    drops_slice_on_later_pages: bool,
}

impl Retriever {
    /// Reads the component in the field called `retriever`.
    pub(crate) fn load(stream: &View<'_>) -> Take<Self> {
        let view = stream.required_child("retriever")?;
        if view.kind() != "SimpleRetriever" {
            return Err(view.unsupported("retriever"));
        }
        let refused = view.refuse(&["page_size_reduction", "pagination_reset", "request_window_splitting"]);
        let decoder = view.child("decoder").map_or(Ok(()), |decoder| match decoder.kind() {
            "JsonDecoder" => Ok(()),
            _ => Err(decoder.unsupported("decoder")),
        });
        let requester = view.required_child("requester").and_then(|requester| Requester::load(&requester));
        let (paginator, router) = (Paginator::load(&view), Router::load(&view));
        let selector = view.required_child("record_selector").and_then(|selector| Selector::load(&selector));
        refused?;
        decoder?;
        Ok(Self {
            requester: requester?,
            paginator: paginator?,
            router: router?,
            selector: selector?,
            drops_slice_on_later_pages: view
                .flag("ignore_stream_slicer_parameters_on_paginated_requests")?
                .unwrap_or(false),
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
    /// The token of the page after this one; `None` at the end of the slice.
    pub(crate) next: Option<Python>,
    /// The greatest cursor value of the slice so far.
    pub(crate) latest: Option<Moment>,
}

impl Batch {
    /// The text of a record.
    pub(crate) fn text(&self, record: &RecordSlice) -> &str {
        let range = record.body.start as usize..record.body.end as usize;
        std::str::from_utf8(&self.body[range]).unwrap_or("{}")
    }
}

/// Reads one slice.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    session: Arc<Session>,
    slice: Slice,
    bound: Option<Arc<Bound>>,
    token: Option<Python>,
    is_done: bool,
    ignored: Option<StatusCode>,
    seen: HashSet<u64>,
    repeated: told_error::Repeated,
    latest: Option<Moment>,
    from: Option<Moment>,
}

impl Reader {
    /// Starts at the first page, or at the page of `token`.
    pub(crate) fn new(stream: Arc<Stream>, session: Arc<Session>, slice: Slice, token: Option<Python>) -> Self {
        let first = stream.retriever.paginator.as_ref().and_then(Paginator::first_token);
        let token = token.or(first);
        Self {
            stream,
            session,
            slice,
            bound: None,
            token,
            is_done: false,
            ignored: None,
            seen: HashSet::new(),
            repeated: told_error::Repeated::default(),
            latest: None,
            from: None,
        }
    }

    /// Records older than this are left out, where the manifest says that it is done here.
    pub(crate) fn filter_from(&mut self, from: Option<Moment>) {
        self.from = from;
    }

    /// Goes on with the greatest cursor value seen before an interruption.
    pub(crate) fn resume_latest(&mut self, latest: Option<Moment>) {
        self.latest = latest;
    }

    /// The greatest cursor value of the records so far.
    pub(crate) fn latest(&self) -> Option<Moment> {
        self.latest
    }

    /// What a refusal that the manifest ignored leaves unread. A part that the product denies is no part that is gone; only of
    /// a partition it can say that there is no such thing.
    pub(crate) fn unread(&self) -> Option<FailedItem> {
        let status = self.ignored?.as_u16();
        if matches!(status, 404 | 410) && !self.slice.partition.is_empty() {
            return None;
        }
        let reason = format!("the product refused it (HTTP {status}); the manifest goes on without it");
        Some(FailedItem { item: self.slice.describe(&self.stream.name), reason })
    }

    /// The next page; `None` at the end.
    ///
    /// # Errors
    /// As for requests; `BadAnswer` for answers that are not JSON and for page loops.
    pub(crate) async fn next_page(&mut self) -> Result<Option<Batch>> {
        if self.is_done {
            return Ok(None);
        }
        let bound = match &self.bound {
            Some(bound) => Arc::clone(bound),
            None => {
                let bound = self.stream.bound(&self.session)?;
                self.bound = Some(Arc::clone(&bound));
                bound
            }
        };
        let call = self.call(&bound)?;
        let response = match self.stream.retriever.requester.send(&self.session, &call).await? {
            Sent::Answer(response) => *response,
            Sent::Ignored(status) => {
                self.is_done = true;
                self.ignored = Some(status);
                return Ok(None);
            }
        };
        self.read(&bound, response).map(Some)
    }

    fn call(&self, bound: &Bound) -> Result<Call> {
        let retriever = &self.stream.retriever;
        let mut injections = Injections::default();
        if let Some(paginator) = &retriever.paginator {
            paginator.inject(&self.session, self.token.as_ref(), &mut injections)?;
        }
        if self.token.is_none() || !retriever.drops_slice_on_later_pages {
            let mut sliced = Injections::default();
            match (&self.stream.cursor, &bound.cursor) {
                (Some(spec), Some(cursor)) => {
                    retriever.router.inject(&self.session, &self.slice, &mut sliced)?;
                    let mut windowed = Injections::default();
                    spec.inject(&self.session, cursor, &self.slice, &mut windowed)?;
                    sliced.overlay(&windowed);
                }
                _ => retriever.router.inject(&self.session, &self.slice, &mut sliced)?,
            }
            injections.merge(sliced)?;
        }
        let path = retriever.paginator.as_ref().and_then(|paginator| paginator.path(self.token.as_ref()));
        Ok(Call { slice: self.slice.clone(), token: self.token.clone(), path, injections, ..Call::default() })
    }

    /// Takes a page apart and finds the token of the next one.
    fn read(&mut self, bound: &Bound, response: Response) -> Result<Batch> {
        let received = response.body.len() as u64;
        let no_content = response.status.as_u16() == 204 && response.body.is_empty();
        let body = if no_content { Bytes::from_static(b"[]") } else { response.body };
        let page = extract::extract(body.clone(), &bound.plan)
            .and_then(|page| told_error::refuse(&page, &bound.plan).map(|()| page))
            .and_then(|page| self.repeated.note(&body, page.records.len()).map(|()| page))
            .map_err(|error| error.with("url", crate::http::redact_url(&response.url)))?;
        let found = page.records.len();
        let (body, kept) = self.select(bound, &page)?;
        let (kept, has_old) = self.observe(bound, &body, kept);
        let next = self.next_token(&page, &response.headers, found, &body, &kept, has_old)?;
        self.is_done = next.is_none();
        self.token.clone_from(&next);
        let records: Vec<RecordSlice> = kept.into_iter().map(|found| found.slice).collect();
        let attachments = match &self.stream.attachments {
            Some(attachments) => attachments.of_page(&self.session, &self.slice, &body, &records)?,
            None => Vec::new(),
        };
        Ok(Batch { body, records, attachments, received, next, latest: self.latest })
    }

    /// Filters and changes records; without either the page stays as it is.
    fn select(&self, bound: &Bound, page: &Extracted) -> Result<(Bytes, Vec<Found>)> {
        let filters_here = self.stream.cursor.as_ref().is_some_and(|cursor| cursor.filters_here);
        let changes =
            Changes { transformations: &self.stream.transformations, schema: self.stream.schema(), filters_here };
        self.stream.retriever.selector.select(&self.session, &self.slice, page, &bound.plan, &changes)
    }

    fn filters_here(&self) -> bool {
        self.stream.cursor.as_ref().is_some_and(|cursor| cursor.filters_here && !cursor.is_data_feed)
    }

    /// Notes cursor values, and leaves out what a stream filters here. True when the last record is an old one.
    fn observe(&mut self, bound: &Bound, body: &Bytes, records: Vec<Found>) -> (Vec<Found>, bool) {
        let Some(cursor) = &bound.cursor else { return (records, false) };
        let is_feed = self.stream.cursor.as_ref().is_some_and(|cursor| cursor.is_data_feed);
        let filters = is_feed || self.filters_here();
        let from = self.from.unwrap_or(cursor.start);
        let mut last = (Range::default(), None);
        let mut has_old = false;
        let mut kept = Vec::with_capacity(records.len());
        for found in records {
            let value = found.cursor.as_ref().and_then(|range| moment_at(cursor, body, range, &mut last));
            let is_wanted = !filters || value.is_none_or(|value| cursor.wants(&value, &from));
            has_old = is_feed && !is_wanted;
            if is_wanted {
                self.latest = self.latest.max(value);
                kept.push(found);
            }
        }
        (kept, has_old)
    }

    fn next_token(
        &mut self,
        page: &Extracted,
        headers: &crate::http::HeaderMap,
        found: usize,
        body: &Bytes,
        kept: &[Found],
        has_old: bool,
    ) -> Result<Option<Python>> {
        let Some(paginator) = &self.stream.retriever.paginator else { return Ok(None) };
        if has_old {
            return Ok(None);
        }
        let last = kept.last().filter(|_| paginator.wants_last_record());
        let last_record = last.map(|found| Lazy::value(body, wide(&found.slice.body)));
        let turn = Turn {
            page,
            headers,
            slice: &self.slice,
            found,
            kept: kept.len(),
            last_record,
            token: self.token.as_ref(),
        };
        let next = paginator.next(&self.session, &turn)?;
        if let Some(token) = &next {
            self.remember(token)?;
        }
        Ok(next)
    }

    /// A token that comes twice means that the product sends the same pages for ever.
    fn remember(&mut self, token: &Python) -> Result<()> {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let hash = |token: &Python| BuildHasherDefault::<DefaultHasher>::default().hash_one(token.to_json());
        if self.seen.len() >= MAX_TOKENS {
            self.seen.clear();
        }
        self.seen.extend(self.token.as_ref().map(hash));
        if self.seen.insert(hash(token)) {
            return Ok(());
        }
        let message = "the product gives the same page token twice: it would send the same pages for ever";
        Err(Error::new(ErrorKind::BadAnswer, message))
    }
}

/// The cursor value at `range`; equal texts in a row are read once.
fn moment_at(
    cursor: &Cursor,
    body: &Bytes,
    range: &Range<usize>,
    last: &mut (Range<usize>, Option<Moment>),
) -> Option<Moment> {
    if !last.0.is_empty() && body[last.0.clone()] == body[range.clone()] {
        return last.1;
    }
    let value = std::str::from_utf8(&body[range.clone()]).ok().and_then(|text| cursor.parse_json(text));
    *last = (range.clone(), value);
    value
}

fn wide(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl Plan {
    /// The plan of a stream.
    pub(crate) fn of(stream: &Stream, session: &Session, cursor: Option<&Cursor>) -> Result<Self> {
        Ok(Self {
            path: stream.retriever.selector.steps(session)?,
            key: stream.primary_key.clone(),
            cursor: cursor.map(|cursor| cursor.field.clone()),
            deletion: stream.deletion_path(),
        })
    }
}
