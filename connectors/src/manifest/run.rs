//! One read of one stream: slices side by side, pages in an order in which every prefix is a place to stop.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    cursor::{Progress, named_from_json, named_json},
    partition::Parents,
    retriever::{Batch, Reader},
    session::Session,
    slice::Slice,
    stream::Stream,
    template::Python,
    time::{self, Moment},
};
use crate::{Error, ErrorKind, FailedItem, Page, PageProgress, ReadEnd, Result};

/// Partitions found ahead of the slices being read.
const PARTITIONS_AHEAD: usize = 64;
/// A position is written again after as many pages as it has this many entries, so that positions cost a constant a page.
const ENTRIES_PER_PAGE: usize = 64;

/// A slice being read.
#[derive(Clone)]
struct Open {
    slice: Slice,
    /// The token of its next page; `None` for its first.
    token: Option<Python>,
    latest: Option<Moment>,
}

/// Slices being read side by side, in the run's own task: a hop to another thread for each page would cost a twentieth of
/// the whole path's time.
type Readers = FuturesUnordered<BoxFuture<'static, ()>>;

/// What the reader of a slice tells.
enum Event {
    Page {
        id: u64,
        batch: Batch,
    },
    /// The slice is over; some of it may be left unread.
    End {
        id: u64,
        unread: Option<FailedItem>,
    },
    Failed(Error),
}

/// One read.
pub(crate) struct Run {
    stream: Arc<Stream>,
    session: Arc<Session>,
    state: Option<Value>,
    /// Cuts partitions into slices; keeps to the state as it was when the read began.
    planner: Option<Progress>,
    /// Notes what has been read.
    recorder: Option<Progress>,
    concurrency: usize,
    /// Slices that are finished, by a hash of their identity.
    done: HashSet<u64>,
    /// Those that were finished or open where this read goes on: they are not begun again. Within one read the records of
    /// a parent that come twice make two partitions, as in the reference, unless the stream keeps a state for each.
    resumed: HashSet<u64>,
    open: BTreeMap<u64, Open>,
    ready: VecDeque<(u64, Open)>,
    next_id: u64,
    failed: Vec<FailedItem>,
    /// Slices read, and slices known.
    slices: (u32, u32),
    pages_since_position: usize,
}

impl Run {
    /// Starts from `state`, or goes on from `position`.
    ///
    /// # Errors
    /// As for templates; `Invalid` for a state or position that does not fit.
    pub(crate) fn new(
        stream: Arc<Stream>,
        session: Arc<Session>,
        state: Option<Value>,
        position: Option<Value>,
        concurrency: usize,
    ) -> Result<Self> {
        let end = position
            .as_ref()
            .and_then(|position| position.get("end"))
            .and_then(Value::as_str)
            .and_then(|end| time::parse_iso(end).ok());
        let planner = stream.progress(&session, state.as_ref(), end)?;
        let end = planner.as_ref().map(|planner| planner.cursor().end);
        let recorder = stream.progress(&session, state.as_ref(), end)?;
        let mut run = Self {
            stream,
            session,
            state,
            planner,
            recorder,
            concurrency,
            done: HashSet::new(),
            resumed: HashSet::new(),
            open: BTreeMap::new(),
            ready: VecDeque::new(),
            next_id: 0,
            failed: Vec::new(),
            slices: (0, 0),
            pages_since_position: usize::MAX,
        };
        if let Some(position) = position {
            run.resume(&position).ok_or_else(|| {
                Error::new(ErrorKind::Invalid, "the position to go on from was not written by this stream")
            })?;
        }
        Ok(run)
    }

    /// Reads to the end.
    ///
    /// # Errors
    /// The first thing that fails; pages sent before stay valid.
    pub(crate) async fn read(mut self, pages: mpsc::Sender<Page>) -> Result<ReadEnd> {
        let requests_before = self.session.requests();
        let mut readers = Readers::new();
        let (found_to, mut found_from) = mpsc::channel(PARTITIONS_AHEAD);
        let (events_to, mut events_from) = mpsc::channel(self.concurrency);
        let search = find_partitions(Arc::clone(&self.stream), Arc::clone(&self.session), self.state.clone(), found_to);
        let mut search = std::pin::pin!(search.fuse());
        let mut parents = None;
        let mut is_finding = true;
        while is_finding || parents.is_none() || !self.open.is_empty() || !self.ready.is_empty() {
            self.start_readers(&mut readers, &events_to);
            tokio::select! {
                Some(()) = readers.next(), if !readers.is_empty() => {}
                outcome = &mut search, if parents.is_none() => parents = Some(outcome?),
                Some(event) = events_from.recv(), if !self.open.is_empty() => self.take(event, &pages).await?,
                found = found_from.recv(), if is_finding && self.ready.len() < self.concurrency => match found {
                    Some(partition) => self.plan(&partition)?,
                    None => is_finding = false,
                },
            }
        }
        Ok(self.end(parents.unwrap_or_default(), requests_before))
    }

    fn end(mut self, parents: Parents, requests_before: u64) -> ReadEnd {
        let state = self.recorder.as_mut().map(|recorder| {
            if !parents.unread.is_empty() {
                recorder.leave_unread();
            }
            recorder.set_parents(parents.states);
            recorder.final_state()
        });
        self.failed.extend(parents.unread);
        let used_state = self.recorder.is_some() && self.state.is_some();
        ReadEnd {
            state,
            is_full: !used_state && self.failed.is_empty(),
            failed_items: self.failed,
            requests: self.session.requests() - requests_before,
        }
    }

    /// Tries the first page of the first slice.
    ///
    /// # Errors
    /// As for requests; `NotFound` when there is no slice to try.
    pub(crate) async fn try_first_page(mut self) -> Result<()> {
        let (found_to, mut found_from) = mpsc::channel(1);
        let search = find_partitions(Arc::clone(&self.stream), Arc::clone(&self.session), None, found_to);
        let mut search = std::pin::pin!(search.fuse());
        loop {
            let found = tokio::select! {
                outcome = &mut search => {
                    outcome?;
                    found_from.recv().await
                }
                found = found_from.recv() => found,
            };
            let Some(partition) = found else { break };
            self.plan(&partition)?;
            if let Some((_, open)) = self.ready.pop_front() {
                let mut reader = Reader::new(Arc::clone(&self.stream), Arc::clone(&self.session), open.slice, None);
                return reader.next_page().await.map(drop);
            }
        }
        Err(Error::new(
            ErrorKind::NotFound,
            "there is nothing to try the connection with: no parent record and no window of time",
        ))
    }

    /// Cuts a partition into slices and queues those that are not read yet.
    fn plan(&mut self, partition: &Slice) -> Result<()> {
        let slices = match &mut self.planner {
            Some(planner) => planner.open(partition)?,
            None => vec![partition.clone()],
        };
        let left: Vec<Slice> = slices.into_iter().filter(|slice| !self.resumed.contains(&hash(slice))).collect();
        if let Some(recorder) = &mut self.recorder {
            recorder.begin(partition, left.len())?;
        }
        for slice in left {
            self.queue(Open { slice, token: None, latest: None });
        }
        Ok(())
    }

    fn queue(&mut self, open: Open) {
        self.ready.push_back((self.next_id, open));
        self.next_id += 1;
        self.slices.1 += 1;
    }

    fn start_readers(&mut self, readers: &mut Readers, events: &mpsc::Sender<Event>) {
        while self.open.len() < self.concurrency
            && let Some((id, open)) = self.ready.pop_front()
        {
            let mut reader = Reader::new(
                Arc::clone(&self.stream),
                Arc::clone(&self.session),
                open.slice.clone(),
                open.token.clone(),
            );
            reader.resume_latest(open.latest);
            reader.filter_from(self.planner.as_ref().map(|planner| planner.from(&open.slice)));
            self.open.insert(id, open);
            readers.push(read_slice(id, reader, events.clone()).boxed());
        }
    }

    async fn take(&mut self, event: Event, pages: &mpsc::Sender<Page>) -> Result<()> {
        match event {
            Event::Failed(error) => Err(error),
            Event::End { id, unread } => self.close(id, unread),
            Event::Page { id, batch } => {
                self.note(id, &batch)?;
                let page = self.page(batch);
                pages
                    .send(page)
                    .await
                    .map_err(|_| Error::new(ErrorKind::Cancelled, "the reader of the pages went away"))
            }
        }
    }

    fn note(&mut self, id: u64, batch: &Batch) -> Result<()> {
        if let Some(open) = self.open.get_mut(&id) {
            open.token.clone_from(&batch.next);
            open.latest = batch.latest;
        }
        if let (Some(recorder), Some(latest)) = (&mut self.recorder, &batch.latest) {
            recorder.observe(latest);
        }
        if batch.has_more { Ok(()) } else { self.close(id, None) }
    }

    /// Ends a slice. What is left unread the state must not pass by: the next read begins there again.
    fn close(&mut self, id: u64, unread: Option<FailedItem>) -> Result<()> {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        self.done.insert(hash(&open.slice));
        self.slices.0 += 1;
        let is_read = unread.is_none();
        self.failed.extend(unread);
        match &mut self.recorder {
            Some(recorder) if is_read => recorder.close(&open.slice, open.latest),
            Some(recorder) => {
                recorder.leave_unread();
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn page(&mut self, batch: Batch) -> Page {
        self.pages_since_position = self.pages_since_position.saturating_add(1);
        let is_due = self.pages_since_position > self.done.len() / ENTRIES_PER_PAGE;
        let position = is_due.then(|| self.position());
        if is_due {
            self.pages_since_position = 0;
        }
        Page {
            body: batch.body,
            records: batch.records,
            attachments: batch.attachments,
            position,
            progress: PageProgress {
                bytes_received: batch.received,
                // Of all streams that are read at the same time: whoever has a page next tells for all.
                requests: u32::try_from(self.session.take_requests()).unwrap_or(u32::MAX),
                waited_ms: self.session.http.take_waited_ms(),
                slices_done: self.slices.0,
                slices_known: self.slices.1,
            },
        }
    }

    /// What a later read of the same run needs to go on after the pages sent so far.
    fn position(&self) -> Value {
        let open = self.open.values().map(|open| {
            json!({
                "partition": named_json(&open.slice.partition),
                "window": named_json(&open.slice.window),
                "extra": named_json(&open.slice.extra),
                "token": open.token.as_ref().and_then(|token| serde_json::from_str::<Value>(&token.to_json()).ok()),
                "latest": open.latest.map(|latest| latest.iso('T')),
            })
        });
        json!({
            "end": self.planner.as_ref().map(|planner| planner.cursor().end.iso('T')),
            "open": open.collect::<Vec<_>>(),
            "done": self.done.iter().collect::<Vec<_>>(),
            "recorder": self.recorder.as_ref().map(Progress::to_position),
            "failed": self.failed,
        })
    }

    fn resume(&mut self, position: &Value) -> Option<()> {
        self.done = position.get("done")?.as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?;
        self.resumed.clone_from(&self.done);
        if let Some(recorder) = &mut self.recorder
            && !recorder.resume(position.get("recorder")?)
        {
            return None;
        }
        self.failed = serde_json::from_value(position.get("failed")?.clone()).ok()?;
        for entry in position.get("open")?.as_array()? {
            let named = |name: &str| entry.get(name).map(named_from_json);
            let slice = Slice { partition: named("partition")?, window: named("window")?, extra: named("extra")? };
            self.resumed.insert(hash(&slice));
            let token = entry.get("token").filter(|token| !token.is_null()).map(Python::from);
            let latest = entry.get("latest").and_then(Value::as_str).and_then(|text| time::parse_iso(text).ok());
            if let Some(recorder) = &mut self.recorder {
                recorder.begin(&slice, 1).ok()?;
            }
            self.queue(Open { slice, token, latest });
        }
        Some(())
    }
}

fn hash(slice: &Slice) -> u64 {
    let mut hasher = DefaultHasher::new();
    slice.identity().hash(&mut hasher);
    hasher.finish()
}

/// Sends partitions as they are found; ends with what there is to say of the parents.
async fn find_partitions(
    stream: Arc<Stream>,
    session: Arc<Session>,
    state: Option<Value>,
    to: mpsc::Sender<Slice>,
) -> Result<Parents> {
    stream.retriever.router.partitions(&session, state.as_ref(), &to).await
}

async fn read_slice(id: u64, mut reader: Reader, events: mpsc::Sender<Event>) {
    loop {
        let event = match reader.next_page().await {
            Ok(Some(batch)) => Event::Page { id, batch },
            Ok(None) => Event::End { id, unread: reader.unread() },
            Err(error) => Event::Failed(error),
        };
        let is_last = !matches!(&event, Event::Page { batch, .. } if batch.has_more);
        if events.send(event).await.is_err() || is_last {
            return;
        }
    }
}
