//! Server-sent events: activity of an account, or of one run, as it happens.
//!
//! A follower gets the events of its account in the order of their chain, each once: first what the table holds after its
//! `Last-Event-ID`, then what the bus brings. What comes from the bus again is known by its place and dropped; where the bus left
//! something out, the table has it. At every heartbeat the table is read again, so that an event which the bus lost still
//! arrives, and the caller's membership is checked again.
//!
//! The progress of a run is not kept. In the process that executes it the bus brings it; elsewhere its row tells it every few seconds.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use listbackup_engine::{
    Result,
    accounts::roles::role_in,
    model::{ActivityEvent, ActivityKind, EventId, JobId, Run, RunId, run::Progress, scope::AccountScope},
    ports::{Query, SortRange},
    run::{linked, progress, relay},
    store::{self, Versioned, key},
    tables::ACTIVITY,
};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior},
};

use crate::{caller::Caller, services::activity::EventView, state::AppState};

/// Time between heartbeats; below the usual idle time-out of proxies (60 s).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A run whose progress was not heard of for so long may be another process's: then its row is looked at.
const QUIET: Duration = Duration::from_secs(3);
/// Events read from the table at a time.
const CATCH_UP_ROWS: usize = 500;
/// Events that may wait for a slow reader.
const SLOTS: usize = 64;

/// What to follow.
pub struct Following {
    /// Only this run, from its beginning until it ends; otherwise everything from now on.
    pub run_id: Option<RunId>,
    /// Of the job.
    pub job_id: Option<JobId>,
    /// When the run was ordered, milliseconds since 1970: none of its events is older.
    pub since_ms: i64,
}

/// Answers with an endless stream of events.
pub fn answer(state: &AppState, caller: Caller, request: &HttpRequest, following: Following) -> HttpResponse {
    let (events, received) = mpsc::channel::<Bytes>(SLOTS);
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let follower = Follower {
        state: state.clone(),
        caller,
        following,
        last,
        place: None,
        was_heard: false,
        shown: Progress::default(),
        events,
    };
    actix_web::rt::spawn(follower.run());
    let body = futures::stream::unfold(received, |mut received| async move {
        let chunk = received.recv().await?;
        Some((Ok::<_, actix_web::Error>(chunk), received))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        // Compression would hold events back.
        .insert_header((header::CONTENT_ENCODING, "identity"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body)
}

struct Follower {
    state: AppState,
    caller: Caller,
    following: Following,
    /// Where the reader was when it came back.
    last: Option<EventId>,
    /// All up to this place was sent, or is not wanted; unknown until the table was read.
    place: Option<u64>,
    /// The bus brought the run's progress lately.
    was_heard: bool,
    /// The progress that was read in the run's row and sent.
    shown: Progress,
    events: mpsc::Sender<Bytes>,
}

/// The reader went away, or the run ended.
struct Over;

/// A page of the chain.
struct Linked {
    events: Vec<ActivityEvent>,
    is_last: bool,
}

impl Follower {
    async fn run(mut self) {
        let mut live = self.state.ports.events.follow(self.caller.scope());
        let closing = self.state.closing.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut quiet = tokio::time::interval_at(Instant::now() + QUIET, QUIET);
        quiet.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What is kept goes first; the first tick is at once.
        heartbeat.tick().await;
        if self.beat().await.is_err() {
            return;
        }
        loop {
            let step = tokio::select! {
                () = closing.cancelled() => Err(Over),
                () = self.events.closed() => Err(Over),
                _ = heartbeat.tick() => self.beat().await,
                _ = quiet.tick() => self.look_at_progress().await,
                event = live.next() => match event {
                    Some(event) => self.hear(event).await,
                    None => Err(Over),
                },
            };
            if step.is_err() {
                return;
            }
        }
    }

    async fn beat(&mut self) -> Result<(), Over> {
        match role_in(&self.state.store, &self.state.system, self.caller.user_id, self.caller.account_id()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Over),
            // The next heartbeat tries again.
            Err(error) => tracing::warn!(%error, "a follower's membership could not be read"),
        }
        self.events.send(Bytes::from_static(b": alive\n\n")).await.map_err(|_| Over)?;
        self.catch_up().await
    }

    /// Sends the progress that the row of the run tells, where nothing was heard of it and it is news.
    async fn look_at_progress(&mut self) -> Result<(), Over> {
        let (Some(job_id), Some(run_id)) = (self.following.job_id, self.following.run_id) else { return Ok(()) };
        if std::mem::take(&mut self.was_heard) {
            return Ok(());
        }
        match self.state.store.find::<Run>(self.caller.scope(), key(job_id, run_id)).await {
            Ok(Some(Versioned { row: run, .. })) if self.shown != run.progress => {
                let told = progress::told(&self.state.ports, &run);
                self.shown = run.progress;
                self.send(told).await
            }
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(%error, "a follower could not read a run's progress");
                Ok(())
            }
        }
    }

    async fn hear(&mut self, event: ActivityEvent) -> Result<(), Over> {
        let Some(sequence) = event.sequence else {
            self.was_heard |= self.wants(&event);
            return self.send(event).await;
        };
        if self.place.is_none_or(|place| sequence > place + 1) {
            // The bus left something out before it; the table has it, and this one.
            self.catch_up().await?;
        }
        self.send_linked(event).await
    }

    async fn catch_up(&mut self) -> Result<(), Over> {
        if let Err(error) = self.find_place().await? {
            tracing::warn!(%error, "a follower could not read the activity table");
            return Ok(());
        }
        loop {
            let first = self.place.unwrap_or_default() + 1;
            let page = match self.linked_from(first).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "a follower could not read the activity table");
                    return Ok(());
                }
            };
            let is_all = page.is_last;
            for event in page.events {
                // Where one is missing, the chain is broken, and its check says so; who follows goes on with the next.
                self.place = self.place.max(event.sequence.map(|sequence| sequence - 1));
                self.send_linked(event).await?;
            }
            if is_all {
                return Ok(());
            }
        }
    }

    async fn linked_from(&self, first: u64) -> Result<Linked> {
        let scope = self.caller.scope();
        let query = Query { limit: CATCH_UP_ROWS, ..linked::linked(scope, first, None) };
        let page = linked::page(&self.state.store, scope, query, first, 0).await?;
        let is_last = page.next.is_none();
        let events = page.items.into_iter().map(store::row).collect::<Result<_>>()?;
        Ok(Linked { events, is_last })
    }

    /// Where to begin, before the first events are sent. The head is read first: what is linked after that comes later.
    async fn find_place(&mut self) -> Result<Result<()>, Over> {
        if self.place.is_some() {
            return Ok(Ok(()));
        }
        let scope = *self.caller.scope();
        let (head, known) = match self.beginning(&scope).await {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let first = known.iter().find_map(|event| event.sequence);
        for event in known.into_iter().filter(|event| event.sequence.is_none() && event.outbox_shard.is_none()) {
            self.send(event).await?;
        }
        // What was not linked when the head was read comes after it.
        self.place = Some(first.map_or(head, |first| head.min(first - 1)));
        Ok(Ok(()))
    }

    /// The place of the chain's head, and the events that are known and wanted, in order: of the first that is linked, and of those
    /// before it that have no place.
    async fn beginning(&self, scope: &AccountScope) -> Result<(u64, Vec<ActivityEvent>)> {
        let head = relay::head(&self.state.store, scope).await?.map_or(0, |head| head.head_sequence);
        let sort = match (self.last, self.following.run_id) {
            (None, None) => return Ok((head, Vec::new())),
            (Some(last), _) => SortRange::Between(Some(after(last)), None),
            (None, Some(_)) => SortRange::Between(Some(first_id_of(self.following.since_ms).to_string()), None),
        };
        if let Some(place) = self.place_of_last(scope).await? {
            return Ok((place, Vec::new()));
        }
        let query = Query {
            table: &ACTIVITY,
            index: Some("by-account"),
            partition: scope.account_id().to_string(),
            sort,
            descending: false,
            limit: CATCH_UP_ROWS,
            after: None,
        };
        let mut events = std::pin::pin!(self.state.store.rows::<ActivityEvent>(scope, query));
        let mut known = Vec::new();
        while let Some(event) = events.try_next().await? {
            if !self.wants(&event) {
                continue;
            }
            let is_linked = event.sequence.is_some();
            known.push(event);
            if is_linked {
                break;
            }
        }
        Ok((head, known))
    }

    /// The place of the event that the reader had last.
    async fn place_of_last(&self, scope: &AccountScope) -> Result<Option<u64>> {
        let Some(last) = self.last else { return Ok(None) };
        let place = key(last, last.instant_ms());
        let found = self.state.store.find::<ActivityEvent>(scope, place).await?;
        Ok(found.and_then(|found| found.row.sequence))
    }

    fn wants(&self, event: &ActivityEvent) -> bool {
        self.following.run_id.is_none_or(|run_id| event.run_id == Some(run_id))
    }

    /// An event with a place: only when it is the next one.
    async fn send_linked(&mut self, event: ActivityEvent) -> Result<(), Over> {
        let (Some(sequence), Some(place)) = (event.sequence, self.place) else { return Ok(()) };
        if sequence != place + 1 {
            return Ok(());
        }
        self.place = Some(sequence);
        self.send(event).await
    }

    async fn send(&mut self, event: ActivityEvent) -> Result<(), Over> {
        if !self.wants(&event) {
            return Ok(());
        }
        let is_end = self.following.run_id.is_some() && is_end_of_run(event.kind);
        self.events.send(message(event)).await.map_err(|_| Over)?;
        if is_end { Err(Over) } else { Ok(()) }
    }
}

fn is_end_of_run(kind: ActivityKind) -> bool {
    use ActivityKind::{RunCancelled, RunFailed, RunPartial, RunSkipped, RunSucceeded};
    matches!(kind, RunSucceeded | RunPartial | RunFailed | RunCancelled | RunSkipped)
}

/// The least event id of an instant.
pub fn first_id_of(instant_ms: i64) -> EventId {
    EventId::derived(instant_ms, [0; 10])
}

/// The least text after an event's id.
fn after(id: EventId) -> String {
    format!("{id}\0")
}

/// One event as text. Progress is not kept, so a reader must not come back to its id.
fn message(event: ActivityEvent) -> Bytes {
    let view = EventView::of(event);
    let data = serde_json::to_string(&view).unwrap_or_default();
    let id = if view.kind == "run.progress" { String::new() } else { format!("id: {}\n", view.id) };
    Bytes::from(format!("{id}event: {}\ndata: {data}\n\n", view.kind))
}
