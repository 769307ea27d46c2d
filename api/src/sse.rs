//! Server-sent events: activity of an account, or of one run, as it happens.
//!
//! A follower first gets what the table holds after its `Last-Event-ID`, then what the bus brings. At every heartbeat
//! the table is read again, so that an event which the bus lost still arrives, and the caller's membership is checked
//! again.

use std::{collections::BTreeSet, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::header};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use listbackup_engine::{
    Result,
    model::{ActivityEvent, ActivityKind, EventId, RunId},
    ports::{Query, SortRange},
    tables::ACTIVITY,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};

use crate::{
    caller::{Caller, role_in},
    services::activity::EventView,
    state::AppState,
};

/// Time between heartbeats; below the usual idle time-out of proxies (60 s).
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events may reach the table a little out of the order of their ids; a catch-up looks back this far, in milliseconds.
const OVERLAP_MS: i64 = 10_000;
/// Events read from the table at a time.
const CATCH_UP_ROWS: usize = 500;
/// Events that may wait for a slow reader.
const SLOTS: usize = 64;

/// What to follow.
pub struct Following {
    /// Only this run, until it ends; otherwise everything.
    pub run_id: Option<RunId>,
    /// From this instant, milliseconds since 1970.
    pub since_ms: i64,
}

/// Answers with an endless stream of events.
pub fn answer(state: &AppState, caller: Caller, request: &HttpRequest, following: Following) -> HttpResponse {
    let (events, received) = mpsc::channel::<Bytes>(SLOTS);
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let follower = Follower { state: state.clone(), caller, following, seen: Seen::after(last), events };
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
    seen: Seen,
    events: mpsc::Sender<Bytes>,
}

/// The reader went away, or the run ended.
struct Over;

impl Follower {
    async fn run(mut self) {
        let mut live = self.state.ports.events.follow(self.caller.scope());
        let closing = self.state.closing.clone();
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
        match role_in(&self.state, self.caller.user_id, self.caller.account_id()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err(Over),
            // The next heartbeat tries again.
            Err(error) => tracing::warn!(%error, "a follower's membership could not be read"),
        }
        self.events.send(Bytes::from_static(b": alive\n\n")).await.map_err(|_| Over)?;
        self.catch_up().await
    }

    /// The end of a run closes the stream, so whatever the bus may have lost before it goes out first.
    async fn hear(&mut self, event: ActivityEvent) -> Result<(), Over> {
        if self.following.run_id.is_some() && is_end_of_run(event.kind) {
            self.catch_up().await?;
        }
        self.send(event).await
    }

    async fn catch_up(&mut self) -> Result<(), Over> {
        match self.kept().await {
            Ok(events) => {
                for event in events {
                    self.send(event).await?;
                }
            }
            Err(error) => tracing::warn!(%error, "a follower could not read the activity table"),
        }
        Ok(())
    }

    /// Events in the table that this follower may not have seen.
    async fn kept(&self) -> Result<Vec<ActivityEvent>> {
        let from = self.seen.catch_up_from().unwrap_or_else(|| first_id_of(self.following.since_ms));
        let query = Query {
            table: &ACTIVITY,
            index: Some("by-account"),
            partition: self.caller.account_id().to_string(),
            sort: SortRange::Between(Some(from.to_string()), None),
            descending: false,
            limit: CATCH_UP_ROWS,
            after: None,
        };
        let wanted = |event: &ActivityEvent| std::future::ready(self.wants(event));
        self.state.store.rows::<ActivityEvent>(self.caller.scope(), query).try_filter(wanted).try_collect().await
    }

    fn wants(&self, event: &ActivityEvent) -> bool {
        self.following.run_id.is_none_or(|run_id| event.run_id == Some(run_id))
    }

    async fn send(&mut self, event: ActivityEvent) -> Result<(), Over> {
        if !self.wants(&event) || !self.seen.is_first_sight(&event) {
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

/// One event as text. Progress is not kept, so a reader must not come back to its id.
fn message(event: ActivityEvent) -> Bytes {
    let view = EventView::of(event);
    let data = serde_json::to_string(&view).unwrap_or_default();
    let id = if view.kind == "run.progress" { String::new() } else { format!("id: {}\n", view.id) };
    Bytes::from(format!("{id}event: {}\ndata: {data}\n\n", view.kind))
}

/// Ids already sent, as far back as a catch-up looks.
struct Seen {
    ids: BTreeSet<EventId>,
    /// Where the reader was when it came back: all that it had before.
    after: Option<EventId>,
    newest_ms: Option<i64>,
}

impl Seen {
    fn after(after: Option<EventId>) -> Self {
        Self { ids: after.into_iter().collect(), after, newest_ms: None }
    }

    fn is_first_sight(&mut self, event: &ActivityEvent) -> bool {
        if !self.ids.insert(event.event_id) {
            return false;
        }
        if event.kind != ActivityKind::RunProgress {
            self.newest_ms = self.newest_ms.max(Some(event.timestamp));
        }
        if let Some(bound) = self.newest_ms.map(|newest| first_id_of(newest - 2 * OVERLAP_MS)) {
            self.ids = self.ids.split_off(&bound);
        }
        true
    }

    /// Not before the place where the reader came back: it has everything up to there.
    fn catch_up_from(&self) -> Option<EventId> {
        let overlap = self.newest_ms.map(|newest| first_id_of(newest - OVERLAP_MS));
        overlap.max(self.after)
    }
}
