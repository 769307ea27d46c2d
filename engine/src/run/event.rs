//! Activity events: written in the same transaction as the change that they tell, then handed to the bus.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{
    error::Result,
    model::{
        AccountId, ActivityEvent, ActivityKind, EventId, JobId, Run, RunId, SourceId,
        scope::{AccountScope, SystemScope},
    },
    ports::{Condition, Ports, Query, SortRange, Write},
    store::{self, Store},
    tables::ACTIVITY,
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
}

impl Subject {
    /// About a source.
    pub fn source(source_id: SourceId) -> Self {
        Self { source_id: Some(source_id), ..Self::default() }
    }

    /// About a job of a source.
    pub fn job(source_id: SourceId, job_id: JobId) -> Self {
        Self { source_id: Some(source_id), job_id: Some(job_id), run_id: None }
    }

    /// About a run, with its job and source.
    pub fn run(run: &Run) -> Self {
        Self { source_id: Some(run.source_id), job_id: Some(run.job_id), run_id: Some(run.run_id) }
    }
}

/// The one partition of the outbox index.
const OUTBOX_SHARD: &str = "outbox";
/// Events of one relay.
const RELAY_MAX: usize = 200;
/// A younger event is being published by whoever wrote it.
const RELAY_AFTER: Duration = Duration::from_secs(5);

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
    ActivityEvent {
        event_id: EventId::new(&*ports.clock, &*ports.random),
        timestamp: ports.clock.now().as_millisecond(),
        account_id,
        kind,
        actor: actor.to_owned(),
        source_id: subject.source_id,
        job_id: subject.job_id,
        run_id: subject.run_id,
        details,
        outbox_shard: None,
    }
}

/// The write that keeps an event, marked as not yet published; goes into the transaction of the change it tells.
///
/// # Errors
/// `Bug` when the event does not serialise.
pub fn keep(event: &ActivityEvent) -> Result<Write> {
    let marked = ActivityEvent { outbox_shard: Some(OUTBOX_SHARD.to_owned()), ..event.clone() };
    store::put(&marked, Condition::Absent)
}

/// Hands kept events to the bus, counts them and takes their marks away. What fails here is made up for by [`relay`]:
/// the rows are the truth, so the change that the events tell stands.
pub async fn publish(ports: &Ports, scope: &AccountScope, events: &[ActivityEvent]) {
    for event in events {
        let kind = event.kind.code();
        metrics::counter!("listbackup_activity_events_total", "kind" => kind).increment(1);
        tracing::info!(kind, account = %event.account_id, run = ?event.run_id, source = ?event.source_id, "activity");
    }
    if let Err(error) = hand_over(ports, scope, events).await {
        tracing::warn!(%error, "the event bus did not take the events yet; they are kept");
    }
}

async fn hand_over(ports: &Ports, scope: &AccountScope, events: &[ActivityEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    ports.events.publish(events).await?;
    let writes = events.iter().map(|event| store::put(event, Condition::Any)).collect::<Result<_>>()?;
    ports.tables.transact(scope.into(), writes).await
}

/// Publishes, in order, what a crash or a bus that was down left marked. The bus may get an event twice, never not at
/// all. Returns how many.
///
/// # Errors
/// `Retry` when bus or store cannot be reached; the next relay goes on.
pub async fn relay(ports: &Ports, system: &SystemScope) -> Result<usize> {
    let query = Query {
        table: &ACTIVITY,
        index: Some("outbox"),
        partition: OUTBOX_SHARD.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: RELAY_MAX,
        after: None,
    };
    let marked = Store::new(ports.tables.clone()).query::<ActivityEvent>(system, query).await?;
    let settled_before = ports.clock.now() - RELAY_AFTER;
    let mut relayed = 0;
    for row in marked.rows.into_iter().map(|versioned| versioned.row) {
        if row.timestamp > settled_before.as_millisecond() {
            break;
        }
        let scope = system.account(row.account_id);
        hand_over(ports, &scope, &[ActivityEvent { outbox_shard: None, ..row }]).await?;
        relayed += 1;
    }
    Ok(relayed)
}
