//! Reads one slice, page by page and piece by piece.

use std::{collections::HashSet, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    super::{
        answer::Answer,
        cursor::Cursor,
        extract::{Extracted, Found},
        job::{JobRun, Jobs, Step},
        paginate::{Paginator, Turn},
        partition::FIRST_PAGE,
        request::{
            options::Injections,
            requester::{Call, Sent, Tried},
        },
        selector::Changes,
        session::Session,
        slice::Slice,
        stream::{Bound, Stream},
        template::{Python, values::Lazy},
        time::Moment,
        told_error,
    },
    Batch,
    again::Effort,
};
use crate::{Error, ErrorKind, FailedItem, RecordSlice, Result, http::StatusCode};

/// Page tokens remembered to notice loops; then the memory starts anew.
const MAX_TOKENS: usize = 100_000;

/// Reads one slice.
pub(crate) struct Reader {
    pub(super) stream: Arc<Stream>,
    pub(super) session: Arc<Session>,
    pub(super) slice: Slice,
    pub(super) bound: Option<Arc<Bound>>,
    pub(super) token: Option<Python>,
    /// No page has been read, neither now nor before an interruption.
    pub(super) is_first: bool,
    /// The answer that is being read.
    pub(super) answer: Option<Answer>,
    pub(super) effort: Effort,
    /// The properties that the product is asked for.
    pub(super) asked: Option<Vec<String>>,
    pub(super) job: JobRun,
    /// Where the rest of a report is; the last one is being read. `None` before it is ready.
    pub(super) targets: Option<Vec<Python>>,
    pub(super) is_done: bool,
    pub(super) ignored: Option<StatusCode>,
    pub(super) failed: Option<String>,
    pub(super) seen: HashSet<u64>,
    pub(super) repeated: told_error::Repeated,
    pub(super) latest: Option<Moment>,
    pub(super) from: Option<Moment>,
}

impl Reader {
    /// Starts at the first page, or at the page of `token`.
    pub(crate) fn new(stream: Arc<Stream>, session: Arc<Session>, slice: Slice, token: Option<Python>) -> Self {
        let is_first = token.is_none();
        let first = stream.retriever.paginator.as_ref().and_then(Paginator::first_token);
        let token = token.or(first);
        Self {
            stream,
            session,
            slice,
            bound: None,
            token,
            is_first,
            answer: None,
            effort: Effort::default(),
            asked: None,
            job: JobRun::default(),
            targets: None,
            is_done: false,
            ignored: None,
            failed: None,
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
        let item = self.slice.describe(&self.stream.name);
        if let Some(reason) = &self.failed {
            return Some(FailedItem { item, reason: reason.clone() });
        }
        let status = self.ignored?.as_u16();
        if matches!(status, 404 | 410) && !self.slice.partition.is_empty() {
            return None;
        }
        let reason = format!("the product refused it (HTTP {status}); the manifest goes on without it");
        Some(FailedItem { item, reason })
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
                let bound = Box::pin(self.stream.bound(&self.session)).await?;
                self.bound = Some(Arc::clone(&bound));
                bound
            }
        };
        if self.answer.is_none() {
            let stream = Arc::clone(&self.stream);
            if let Some(properties) = &stream.retriever.requester.properties {
                if properties.merges() {
                    return Box::pin(self.merged_page(&bound, properties)).await;
                }
                self.asked = Box::pin(properties.chunks(&self.session, &bound.schema)).await?.pop();
            }
            if let Some(jobs) = &stream.retriever.jobs
                && let Some(early) = self.prepare(jobs).await?
            {
                return Ok(early);
            }
            if let Some(first) = self.first_page() {
                self.answer = Some(Answer::given(first, &stream.retriever.decoder)?);
                return self.read(&bound).map(Some);
            }
            let call = self.call(&bound)?;
            match stream.retriever.requester.send_page(&self.session, &call).await? {
                Tried::Sent(Sent::Answer(response)) => {
                    self.answer = Some(Answer::open(*response, &stream.retriever.decoder)?);
                }
                Tried::Again(what) => {
                    self.again(what).await?;
                    return Ok(Some(Batch { next: self.token.clone(), ..Batch::waiting(self.latest) }));
                }
                Tried::Sent(Sent::Ignored(status)) => {
                    self.is_done = true;
                    self.ignored = Some(status);
                    return Ok(None);
                }
            }
        }
        let batch = self.read(&bound)?;
        if self.is_done
            && let Some(jobs) = &self.stream.retriever.jobs
        {
            self.job.delete(jobs, &self.session, &self.slice).await?;
        }
        Ok(Some(batch))
    }

    /// The first page where the parent's record held it already.
    fn first_page(&mut self) -> Option<Bytes> {
        if !std::mem::take(&mut self.is_first) {
            return None;
        }
        let (_, page) = self.slice.extra.iter().find(|(name, _)| name == FIRST_PAGE)?;
        Some(Bytes::from(page.to_json()))
    }

    /// Waits for the report; an answer of its own while it is not ready, or when there is none.
    async fn prepare(&mut self, jobs: &Jobs) -> Result<Option<Option<Batch>>> {
        if self.targets.as_ref().is_some_and(|targets| !targets.is_empty()) {
            return Ok(None);
        }
        match self.job.step(jobs, &self.session, &self.slice).await? {
            Step::Waiting => return Ok(Some(Some(Batch::waiting(self.latest)))),
            Step::Ready(mut targets) if !targets.is_empty() => {
                targets.reverse();
                self.targets = Some(targets);
                return Ok(None);
            }
            Step::Ready(_) => self.job.delete(jobs, &self.session, &self.slice).await?,
            Step::Skipped => {}
            Step::Failed(reason) => self.failed = Some(reason),
        }
        self.is_done = true;
        Ok(Some(None))
    }

    pub(super) fn call(&self, bound: &Bound) -> Result<Call> {
        let retriever = &self.stream.retriever;
        let mut injections = Injections::default();
        if let Some(paginator) = &retriever.paginator {
            paginator.inject(&self.session, self.token.as_ref(), self.effort.size, &mut injections)?;
        }
        if retriever.jobs.is_none() && (self.token.is_none() || !retriever.drops_slice_on_later_pages) {
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
        let mut call =
            Call { slice: self.slice.clone(), token: self.token.clone(), path, injections, ..Call::default() };
        if let (Some(names), Some(properties)) = (&self.asked, &retriever.requester.properties) {
            if let Some(key) = &properties.key {
                call.injections.query.set(std::slice::from_ref(key), Python::Text(names.join(",")));
            }
            let names = Python::List(names.iter().cloned().map(Python::Text).collect());
            call.slice.extra.push(("query_properties".to_owned(), names));
        }
        if let Some(jobs) = &retriever.jobs {
            jobs.prepare_download(
                &self.job,
                &self.session,
                self.targets.as_ref().and_then(|targets| targets.last()),
                &mut call,
            )?;
        }
        Ok(call)
    }

    /// Takes the next piece of an answer apart; after the last one finds the token of the next page.
    fn read(&mut self, bound: &Bound) -> Result<Batch> {
        let Some(mut answer) = self.answer.take() else { return Ok(Batch::waiting(self.latest)) };
        let received = answer.take_received();
        let page = answer.piece(&bound.plan)?;
        told_error::refuse(&page, &bound.plan).map_err(|error| answer.at(error))?;
        if answer.begins() {
            self.note(&page).map_err(|error| answer.at(error))?;
        }
        let (body, kept) = self.select(bound, &page)?;
        let (kept, has_old) = self.observe(bound, &body, kept);
        answer.kept += kept.len();
        if !answer.is_over() {
            self.answer = Some(answer);
        } else {
            self.token = self.next_token(&page, &answer, &body, &kept, has_old)?;
            self.is_done = self.token.is_none() && !self.has_other_target() && !self.has_other_window();
            self.went_well(answer.kept)?;
        }
        let records: Vec<RecordSlice> = kept.into_iter().map(|found| found.slice).collect();
        let attachments = match &self.stream.attachments {
            Some(attachments) => attachments.of_page(&self.session, &self.slice, &body, &records)?,
            None => Vec::new(),
        };
        // A report that is not read to its end is asked for anew.
        let next = self.token.clone().filter(|_| self.targets.is_none());
        Ok(Batch { body, records, attachments, received, next, has_more: !self.is_done, latest: self.latest })
    }

    /// Notes a page, to find out when pages come for ever.
    pub(super) fn note(&mut self, page: &Extracted) -> Result<()> {
        self.repeated.note(page, !self.stream.primary_key.is_empty())
    }

    /// At the end of one part of a report, goes on to the next one.
    fn has_other_target(&mut self) -> bool {
        let Some(targets) = &mut self.targets else { return false };
        targets.pop();
        self.seen.clear();
        self.repeated = told_error::Repeated::default();
        self.token = self.stream.retriever.paginator.as_ref().and_then(Paginator::first_token);
        !targets.is_empty()
    }

    /// Filters and changes records; without either the page stays as it is.
    pub(super) fn select(&self, bound: &Bound, page: &Extracted) -> Result<(Bytes, Vec<Found>)> {
        let filters_here = self.stream.cursor.as_ref().is_some_and(|cursor| cursor.filters_here);
        let changes = Changes { transformations: &self.stream.transformations, schema: &bound.schema, filters_here };
        self.stream.retriever.selector.select(&self.session, &self.slice, page, &bound.plan, &changes)
    }

    fn filters_here(&self) -> bool {
        self.stream.cursor.as_ref().is_some_and(|cursor| cursor.filters_here && !cursor.is_data_feed)
    }

    /// Notes cursor values, and leaves out what a stream filters here. True when the last record is an old one.
    pub(super) fn observe(&mut self, bound: &Bound, body: &Bytes, records: Vec<Found>) -> (Vec<Found>, bool) {
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

    pub(super) fn next_token(
        &mut self,
        page: &Extracted,
        answer: &Answer,
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
            headers: &answer.headers,
            slice: &self.slice,
            found: answer.found,
            kept: answer.kept,
            last_record,
            size: self.effort.size,
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
        let message = "the product gives the same page token twice: it would send the same pages for ever. A manifest whose \
                       last page names itself needs a `stop_condition`";
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
