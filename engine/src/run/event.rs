//! Activity events: written in the same transaction as the change that they tell, as not yet linked. From there
//! [`super::relay`] takes them, in order, to their place in the account's chain, to the bus and to live followers.
//!
//! Clocks of workers differ, and the relay takes kept events by their ids, which begin with their timestamps. So an event that
//! tells of a run is never older than the run's event before it: the run's row says when that was ([`Run::last_event_ms`]), and
//! whoever writes the next one has read that row. What was committed in between cannot overtake it, since it is not there yet.

use serde_json::{Map, Value, json};

use super::ended;
use crate::{
    error::Result,
    model::{
        AccountId, ActivityEvent, ActivityKind, EventId, JobId, Membership, Run, RunId, SourceId,
        activity::OUTBOX_SHARD, scope::AccountScope,
    },
    ports::{Condition, Ports, Write},
    store,
};

/// What an event is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject {
    /// The source.
    pub source_id: Option<SourceId>,
    /// The job.
    pub job_id: Option<JobId>,
    /// The run.
    pub run_id: Option<RunId>,
    /// The event comes after this instant, milliseconds since 1970, whatever the clock says.
    pub after_ms: Option<i64>,
}

impl Subject {
    /// About a source.
    pub fn source(source_id: SourceId) -> Self {
        Self { source_id: Some(source_id), ..Self::default() }
    }

    /// About a job of a source.
    pub fn job(source_id: SourceId, job_id: JobId) -> Self {
        Self { source_id: Some(source_id), job_id: Some(job_id), ..Self::default() }
    }

    /// About a run, with its job and source.
    pub fn run(run: &Run) -> Self {
        Self {
            source_id: Some(run.source_id),
            job_id: Some(run.job_id),
            run_id: Some(run.run_id),
            after_ms: Some(run.last_event_ms),
        }
    }
}

/// Actor of events that no person caused.
pub const SYSTEM: &str = "system";

/// A new event of now.
pub fn event(
    ports: &Ports,
    account_id: AccountId,
    kind: ActivityKind,
    actor: &str,
    subject: Subject,
    details: Map<String, Value>,
) -> ActivityEvent {
    let now_ms = ports.clock.now().as_millisecond();
    let timestamp = subject.after_ms.map_or(now_ms, |after_ms| now_ms.max(after_ms.saturating_add(1)));
    with_id(id(ports, timestamp), account_id, kind, actor, subject, details)
}

/// A new id of an event of that instant, milliseconds since 1970.
pub fn id(ports: &Ports, timestamp: i64) -> EventId {
    let mut random = [0; 10];
    ports.random.fill(&mut random);
    EventId::derived(timestamp, random)
}

/// The event of that id, which says its instant too: made twice from the same, it is the same.
pub fn with_id(
    event_id: EventId,
    account_id: AccountId,
    kind: ActivityKind,
    actor: &str,
    subject: Subject,
    details: Map<String, Value>,
) -> ActivityEvent {
    ActivityEvent {
        event_id,
        timestamp: event_id.instant_ms(),
        account_id,
        kind,
        actor: actor.to_owned(),
        source_id: subject.source_id,
        job_id: subject.job_id,
        run_id: subject.run_id,
        details,
        sequence: None,
        chain_digest: None,
        outbox_shard: None,
    }
}

/// A new event of a run, to be kept in the transaction that writes the run's row as it is then: the row says of it that the run's
/// next event comes after it.
pub fn of_run(
    ports: &Ports,
    kind: ActivityKind,
    actor: &str,
    run: &mut Run,
    details: Map<String, Value>,
) -> ActivityEvent {
    let event = event(ports, run.account_id, kind, actor, Subject::run(run), details);
    run.last_event_ms = event.timestamp;
    event
}

/// The event that tells of a new membership, after `after_ms`: its account is told of first.
pub fn of_membership(ports: &Ports, membership: &Membership, actor: &str, after_ms: Option<i64>) -> ActivityEvent {
    let details =
        [("userId".to_owned(), json!(membership.user_id)), ("role".to_owned(), json!(membership.role))].into_iter();
    let subject = Subject { after_ms, ..Subject::default() };
    event(ports, membership.account_id, ActivityKind::MemberAdded, actor, subject, details.collect())
}

/// The write that keeps an event, marked as not yet linked; goes into the transaction of the change it tells.
///
/// # Errors
/// `Bug` when the event does not serialise.
pub fn keep(event: &ActivityEvent) -> Result<Write> {
    let marked = ActivityEvent { outbox_shard: Some(OUTBOX_SHARD.to_owned()), ..event.clone() };
    store::put(&marked, Condition::Absent)
}

/// Counts and logs events that were kept, and wakes the relay: it takes them to their places and to the bus.
pub fn publish(ports: &Ports, scope: &AccountScope, events: &[ActivityEvent]) {
    for event in events {
        debug_assert_eq!(event.account_id, scope.account_id(), "an event of another account");
        let kind = event.kind.code();
        metrics::counter!("listbackup_activity_events_total", "kind" => kind).increment(1);
        ended::count(event);
        tracing::info!(kind, account = %event.account_id, run = ?event.run_id, source = ?event.source_id, "activity");
    }
    if !events.is_empty() {
        ports.events.nudge();
    }
}
