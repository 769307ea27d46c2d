//! One stream, from connector to store: `Page -> Record -> Segment -> Seal -> Put -> Checkpoint`. Pages go through a
//! bounded channel; the only thing that flows back is "durable up to here".

use std::time::Duration;

use jiff::Timestamp;
use listbackup_connectors::{self as connectors, Deletions, FailedItem, Page, ReadEnd, ReadRequest, RecordSlice};
use serde_json::Value;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::{
    attachments::Attachments,
    checkpoint::{self, Changes, Checkpoint, Stage},
    deadline,
    reader::Reader,
    session::{Session, StreamPlan},
    stop::Stop,
    tries::Tries,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::run::{RunError, StreamProgress, StreamState},
    snapshot::{FinishedStream, RecordKey, StreamEnd, StreamFigures, StreamWriter, WriterSpec, attachments_stream},
};

/// How a stream's read ended.
#[derive(Debug)]
pub enum StreamOutcome {
    /// Read to its end.
    Done(Box<FinishedStream>),
    /// It failed; the snapshot keeps the parent's state of it.
    Failed(Error),
    /// The run must stop.
    Stopped(Stop),
}

/// Reads one stream to its end, trying again from the last page where that can help.
pub async fn read_stream(session: &Session, plan: &StreamPlan) -> StreamOutcome {
    let name = &plan.spec.name;
    match Box::pin(read(session, plan)).await {
        Ok(finished) => {
            session.progress.stream(name, |stream| {
                stream.state = StreamState::Done;
                tell_end(stream, &finished);
            });
            if let Some(attachments) = &finished.attachments {
                session.progress.stream(&attachments_stream(name), |stream| {
                    stream.state = StreamState::Done;
                    tell_end(stream, attachments);
                });
            }
            StreamOutcome::Done(Box::new(finished))
        }
        Err(Interrupted::Stop(stop)) => StreamOutcome::Stopped(stop),
        Err(Interrupted::Product(error) | Interrupted::Error(error)) if error.kind() == ErrorKind::Fenced => {
            session.stop.stop(Stop::Fenced);
            StreamOutcome::Stopped(Stop::Fenced)
        }
        Err(Interrupted::Product(error) | Interrupted::Error(error)) => {
            let error = error.with("stream", name);
            if error.kind() == ErrorKind::Exhausted {
                session.stop.stop(Stop::Exhausted);
            }
            session.progress.stream(name, |stream| {
                stream.state = StreamState::Failed;
                stream.error = Some(RunError::from(&error));
            });
            StreamOutcome::Failed(error)
        }
    }
}

/// Why a read did not reach its end.
enum Interrupted {
    Stop(Stop),
    /// The connector's: what it sent before is whole.
    Product(Error),
    /// Keeping what was read failed: the writer is of no use any more.
    Error(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Reads a stream. When a store could not be reached, what is durable is gone on with.
async fn read(session: &Session, plan: &StreamPlan) -> Result<FinishedStream, Interrupted> {
    let ctx = &session.ctx;
    let mut plan = plan.clone();
    let mut durable = session.claim.run.checkpoints.get(&plan.spec.name).cloned();
    let mut tries = Tries::default();
    loop {
        let error = match Box::pin(read_on(session, &plan)).await {
            Err(Interrupted::Error(error)) if error.kind() == ErrorKind::Retry => error,
            end => return end,
        };
        let Some(wait) = tries.next(&error, &ctx.settings, &*ctx.ports.random) else {
            return Err(Interrupted::Error(error));
        };
        tracing::warn!(%error, stream = plan.spec.name, ?wait, "a store failed; the stream goes on from its checkpoint");
        session.claim.pulse.wait(wait);
        tokio::select! {
            biased;
            stop = session.stop.stopped() => return Err(Interrupted::Stop(stop)),
            () = sleep(wait) => {}
        }
        match checkpoint::newest(session, &plan.spec.name).await {
            Ok((path, resume)) => {
                if path != durable {
                    tries = Tries::default();
                }
                (durable, plan.resume) = (path, resume);
            }
            // The next attempt finds the same, or writes over it.
            Err(error) if error.kind() == ErrorKind::Retry => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn read_on(session: &Session, plan: &StreamPlan) -> Result<FinishedStream, Interrupted> {
    let mut stream = match plan.resume.clone() {
        Some(Checkpoint { stage: Stage::Done { finished }, .. }) => return Ok(*finished),
        resume => StreamRead::open(session, plan, resume).await?,
    };
    session.progress.stream(&plan.spec.name, |progress| progress.state = StreamState::Reading);
    let end = stream.read_whole().await?;
    let finished = Box::pin(stream.finish(end)).await?;
    Ok(finished)
}

/// A stream being read.
struct StreamRead<'a> {
    session: &'a Session,
    plan: &'a StreamPlan,
    writer: StreamWriter,
    attachments: Attachments<'a>,
    began_at: Timestamp,
    /// Position of the last page pushed.
    position: Option<Value>,
    /// How the read of changes ended, once a reconcile read goes on to read everything.
    changes: Option<Changes>,
    saved: Saved,
}

/// What the last checkpoint covered.
struct Saved {
    at: Instant,
    records: u64,
}

impl<'a> StreamRead<'a> {
    async fn open(session: &'a Session, plan: &'a StreamPlan, resume: Option<Checkpoint>) -> Result<Self> {
        let began_at = resume.as_ref().map_or_else(|| session.ctx.ports.clock.now(), |resume| resume.began_at);
        let (position, changes, resume, attachments) = match resume.map(|resume| resume.stage) {
            Some(Stage::Reading { position, changes, writer, attachments }) => {
                (position, changes, Some(*writer), attachments)
            }
            _ => (None, None, None, None),
        };
        let attachments = Attachments::open(session, plan, attachments.map(|state| *state)).await?;
        let spec = WriterSpec {
            stream: plan.spec.clone(),
            run_id: session.claim.run.run_id,
            parent: plan.parent.clone(),
            resume,
        };
        let writer = session.source_store.stream_writer(spec).await?;
        let bytes_stored = attachments.figures().unwrap_or_default().bytes_stored + writer.figures().bytes_stored;
        session.progress.stored(&plan.spec.name, bytes_stored);
        let saved = Saved { at: Instant::now(), records: writer.figures().records };
        Ok(Self { session, plan, writer, attachments, began_at, position, changes, saved })
    }

    /// Reads what there is to read: everything, or the changes, or the changes and then everything.
    async fn read_whole(&mut self) -> Result<ReadEnd, Interrupted> {
        if self.changes.is_none() {
            let end = self.read_with_retries().await?;
            if !self.plan.reconciles || end.is_full {
                return Ok(end);
            }
            self.changes = Some(Changes { state: end.state, failed_items: end.failed_items });
            self.position = None;
            self.writer.reconcile();
        }
        match self.read_with_retries().await {
            // The changes are good without the rest; the next run reconciles.
            Err(Interrupted::Product(error)) => Ok(self.end_of_changes(&error)),
            end => end,
        }
    }

    /// The end of a reconcile read that did not come to it.
    fn end_of_changes(&mut self, error: &Error) -> ReadEnd {
        let Changes { state, mut failed_items } =
            self.changes.take().unwrap_or(Changes { state: None, failed_items: Vec::new() });
        self.writer.give_up_reconciling();
        failed_items.push(FailedItem { item: "reconcile read".to_owned(), reason: error.to_string() });
        ReadEnd { state, failed_items, ..ReadEnd::default() }
    }

    /// Reads until the connector reaches the end; a passing fault is tried again from the last page.
    async fn read_with_retries(&mut self) -> Result<ReadEnd, Interrupted> {
        let ctx = &self.session.ctx;
        let mut tries = Tries::default();
        loop {
            let before = self.writer.figures().records;
            let error = match self.read_once().await? {
                Ok(end) => return Ok(end),
                Err(error) => Error::from(error),
            };
            if self.writer.figures().records > before {
                tries = Tries::default();
            }
            let Some(wait) = tries.next(&error, &ctx.settings, &*ctx.ports.random) else {
                return Err(Interrupted::Product(error));
            };
            tracing::warn!(%error, stream = self.plan.spec.name, ?wait, "a read is tried again");
            let wait = wait.min(self.time_left());
            self.session.claim.pulse.wait(wait);
            tokio::select! {
                biased;
                stop = self.session.stop.stopped() => return self.stop(stop).await,
                () = sleep(wait) => {}
            }
        }
    }

    /// One read of the connector; the inner error is the connector's own.
    async fn read_once(&mut self) -> Result<Result<ReadEnd, connectors::Error>, Interrupted> {
        let settings = &self.session.ctx.settings;
        let (sender, mut pages) = mpsc::channel(settings.page_slots);
        let request = ReadRequest {
            stream: self.plan.spec.clone(),
            state: self.plan.state.clone().filter(|_| self.changes.is_none()),
            position: self.position.clone(),
        };
        let mut reader = Reader::start(self.session, request, sender);
        loop {
            let left = self.time_left();
            if left.is_zero() {
                return Err(Interrupted::Product(deadline::passed(settings)));
            }
            let page = tokio::select! {
                biased;
                stop = self.session.stop.stopped() => return self.stop(stop).await,
                page = timeout(settings.page_deadline.min(left), pages.recv()) => page,
            };
            match page {
                Ok(Some(page)) if page.attachments.is_empty() => self.push(page).await?,
                Ok(Some(page)) => tokio::select! {
                    biased;
                    // Attachments may take long: a page of them is not finished first, and costs what it would in a crash.
                    stop = self.session.stop.stopped() => return Err(Interrupted::Stop(stop)),
                    pushed = self.push(page) => pushed?,
                },
                Ok(None) => return Ok(reader.end().await),
                Err(_) if left < settings.page_deadline => {}
                Err(_) => {
                    let message = "no page came within the page deadline";
                    return Ok(Err(connectors::Error::new(connectors::ErrorKind::Retry, message)));
                }
            }
        }
    }

    fn time_left(&self) -> Duration {
        let ctx = &self.session.ctx;
        deadline::left_of_stream(&self.session.claim, &ctx.settings, self.began_at, ctx.ports.clock.now())
    }

    async fn push(&mut self, mut page: Page) -> Result<()> {
        let figures = page.progress;
        let position = page.position.clone();
        let concerns_attachments = self.attachments.concerns(&page);
        let attachments = std::mem::take(&mut page.attachments);
        let keys = match concerns_attachments {
            true => self.keys_of(&page)?,
            false => Vec::new(),
        };
        self.writer.push(page).await?;
        if concerns_attachments {
            self.attachments.take(attachments, &keys).await?;
        }
        self.session.progress.add(figures.bytes_received, u64::from(figures.requests), figures.waited_ms);
        self.tell();
        if position.is_some() {
            self.position = position;
            if self.is_checkpoint_due() {
                self.save().await?;
            }
        }
        Ok(())
    }

    /// The keys of a page's records, and whether the page deletes them.
    fn keys_of(&mut self, page: &Page) -> Result<Vec<(RecordKey, bool)>> {
        let key = |record: &RecordSlice| Ok((self.writer.key_of(page, record)?, record.is_deletion));
        page.records.iter().map(key).collect()
    }

    fn is_checkpoint_due(&self) -> bool {
        let settings = &self.session.ctx.settings;
        let elapsed = self.saved.at.elapsed();
        let records = self.writer.figures().records.saturating_sub(self.saved.records);
        elapsed >= settings.checkpoint_every
            || (records >= settings.checkpoint_records && elapsed >= settings.checkpoint_gap)
    }

    async fn save(&mut self) -> Result<()> {
        let writer = Box::new(self.writer.checkpoint().await?);
        let attachments = self.attachments.checkpoint().await?;
        self.tell();
        let changes = self.changes.clone();
        let stage = Stage::Reading { position: self.position.clone(), writer, changes, attachments };
        self.save_stage(stage).await?;
        self.saved.at = Instant::now();
        self.saved.records = self.writer.figures().records;
        Ok(())
    }

    async fn save_stage(&self, stage: Stage) -> Result<()> {
        let checkpoint = self.session.checkpoint(self.began_at, stage);
        checkpoint::save(self.session, &self.plan.spec.name, &checkpoint).await
    }

    /// Going down keeps what was read; a cancelled or fenced run keeps nothing more.
    async fn stop<T>(&mut self, stop: Stop) -> Result<T, Interrupted> {
        if matches!(stop, Stop::Draining | Stop::HandOver) && self.position.is_some() {
            self.save().await?;
        }
        Err(Interrupted::Stop(stop))
    }

    async fn finish(self, end: ReadEnd) -> Result<FinishedStream> {
        self.session.progress.stream(&self.plan.spec.name, |stream| stream.failed_items.clone_from(&end.failed_items));
        // Parts that failed may hold records that were not seen: nothing can be said to be gone then.
        let is_full = end.is_full && end.failed_items.is_empty();
        let ended_at = self.session.ctx.ports.clock.now();
        let Self { session, plan, writer, attachments, began_at, .. } = self;
        let keeps_absent = plan.spec.deletions == Deletions::Never;
        // An attachment that is missing comes again only with its record.
        let state = if attachments.holds_state() { plan.state.clone() } else { end.state };
        let end = StreamEnd { keeps_absent, ..StreamEnd::new(is_full, state, began_at, ended_at) };
        let attachments = Box::pin(attachments.finish(end.clone())).await?;
        let mut finished = writer.finish(end).await?;
        finished.attachments = attachments.map(Box::new);
        let bytes_stored = finished.with_attachments().map(|finished| finished.figures.bytes_stored).sum();
        session.progress.stored(&plan.spec.name, bytes_stored);
        session.progress.stream(&plan.spec.name, |stream| tell_end(stream, &finished));
        let stage = Stage::Done { finished: Box::new(finished.clone()) };
        let checkpoint = session.checkpoint(began_at, stage);
        checkpoint::save(session, &plan.spec.name, &checkpoint).await?;
        Ok(finished)
    }

    /// Brings the shared figures up to the writer's.
    fn tell(&mut self) {
        let figures = self.writer.figures();
        let attachments = self.attachments.figures();
        let bytes_stored = figures.bytes_stored + attachments.unwrap_or_default().bytes_stored;
        self.session.progress.stored(&self.plan.spec.name, bytes_stored);
        self.session.progress.stream(&self.plan.spec.name, |stream| tell(stream, &figures));
        if let Some(attachments) = attachments {
            self.session.progress.stream(self.attachments.stream(), |stream| tell(stream, &attachments));
        }
    }
}

fn tell(stream: &mut StreamProgress, figures: &StreamFigures) {
    stream.records = figures.records;
    stream.added = figures.added;
    stream.changed = figures.changed;
    stream.removed = figures.removed;
    stream.unchanged = figures.unchanged;
    stream.drift = figures.drift;
}

/// What an incremental read did not see is in the snapshot all the same.
fn tell_end(stream: &mut StreamProgress, finished: &FinishedStream) {
    tell(stream, &finished.figures);
    stream.records = finished.state.records;
    stream.unchanged = stream.records.saturating_sub(stream.added + stream.changed);
}
