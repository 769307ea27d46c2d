//! The event that ends a run, with what the run came to: whoever sums runs up needs nothing else.

use serde_json::{Map, Value, json};

use super::{
    RunContext,
    event::{self, of_run},
};
use crate::{
    model::{ActivityEvent, ActivityKind, Figures, Run, RunStatus, Source, run::StreamProgress},
    snapshot::Manifest,
};

/// The event that tells how a run ended; kept with the run's row as it is then.
pub fn event(ctx: &RunContext, run: &mut Run, source: Option<&Source>, snapshot: Option<&Manifest>) -> ActivityEvent {
    let kind = match run.status {
        RunStatus::Succeeded => ActivityKind::RunSucceeded,
        RunStatus::Partial => ActivityKind::RunPartial,
        RunStatus::Cancelled => ActivityKind::RunCancelled,
        RunStatus::Skipped => ActivityKind::RunSkipped,
        RunStatus::Failed | RunStatus::Queued | RunStatus::Running => ActivityKind::RunFailed,
    };
    let details = details(run, source, snapshot);
    of_run(&ctx.ports, kind, event::SYSTEM, run, details)
}

fn details(run: &Run, source: Option<&Source>, snapshot: Option<&Manifest>) -> Map<String, Value> {
    let mut details = Map::new();
    let mut tell = |name: &str, value: Value| details.insert(name.to_owned(), value);
    let sum = |of: fn(&StreamProgress) -> u64| run.progress.streams.values().map(of).sum::<u64>();
    tell("records", json!(sum(|stream| stream.records)));
    tell("added", json!(sum(|stream| stream.added)));
    tell("changed", json!(sum(|stream| stream.changed)));
    tell("removed", json!(sum(|stream| stream.removed)));
    tell("drift", json!(sum(|stream| stream.drift.unwrap_or_default())));
    tell("bytesRead", json!(run.progress.bytes_read));
    tell("bytesStored", json!(run.progress.bytes_stored));
    tell("requests", json!(run.progress.requests));
    tell("waitedMs", json!(run.progress.waited_ms));
    tell("ranMs", json!(ran_ms(run)));
    if let Some(source) = source {
        tell("integration", json!(source.integration));
    }
    if let Some(error) = &run.error {
        tell("error", json!(error));
    }
    if let Some(restore) = run.restore {
        tell("restore", json!(restore));
        tell("restored", json!(run.progress.restored));
    }
    if let Some(snapshot_id) = run.snapshot_id {
        tell("snapshotId", json!(snapshot_id));
    }
    if let Some(snapshot) = snapshot {
        tell("liveRecords", json!(snapshot.totals.records));
        tell("liveBytes", json!(snapshot.totals.stored_bytes));
    }
    details
}

/// From its first begin to its end; clocks of two workers may have told them.
fn ran_ms(run: &Run) -> u64 {
    let begun = run.started_at.zip(run.finished_at);
    begun.map_or(0, |(begun, ended)| u64::try_from(ended.as_millisecond() - begun.as_millisecond()).unwrap_or(0))
}

/// How the run ended that an event tells of; `None` where it tells of something else.
pub fn status(kind: ActivityKind) -> Option<RunStatus> {
    match kind {
        ActivityKind::RunSucceeded => Some(RunStatus::Succeeded),
        ActivityKind::RunPartial => Some(RunStatus::Partial),
        ActivityKind::RunFailed => Some(RunStatus::Failed),
        ActivityKind::RunCancelled => Some(RunStatus::Cancelled),
        ActivityKind::RunSkipped => Some(RunStatus::Skipped),
        _ => None,
    }
}

/// What the run came to that an event ends, without what is live; `None` where it ends none. Of what an older version did not tell it
/// is nothing.
pub fn figures(event: &ActivityEvent) -> Option<Figures> {
    let status = status(event.kind)?;
    let mut figures = Figures {
        bytes_read: number(event, "bytesRead"),
        requests: number(event, "requests"),
        waited_ms: number(event, "waitedMs"),
        ran_ms: number(event, "ranMs"),
        ..Figures::default()
    };
    if event.details.contains_key("restore") {
        figures.restores.count(status);
        return Some(figures);
    }
    figures.runs.count(status);
    figures.records = number(event, "records");
    figures.added = number(event, "added");
    figures.changed = number(event, "changed");
    figures.removed = number(event, "removed");
    figures.drift = number(event, "drift");
    figures.bytes_stored = number(event, "bytesStored");
    Some(figures)
}

/// Records of the snapshot that a run made, and bytes of the segments that hold them; `None` where it made none.
pub fn live(event: &ActivityEvent) -> Option<(u64, u64)> {
    let told = |name: &str| event.details.get(name).and_then(Value::as_u64);
    told("liveRecords").zip(told("liveBytes"))
}

/// The integration that it read with, where that was known.
pub fn integration(event: &ActivityEvent) -> Option<&str> {
    event.details.get("integration").and_then(Value::as_str)
}

fn number(event: &ActivityEvent, name: &str) -> u64 {
    event.details.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// Shows in the metrics what a run came to.
pub fn count(event: &ActivityEvent) {
    let Some(figures) = figures(event) else { return };
    let counts = [
        ("listbackup_records_read_total", figures.records),
        ("listbackup_records_added_total", figures.added),
        ("listbackup_records_changed_total", figures.changed),
        ("listbackup_records_removed_total", figures.removed),
        ("listbackup_product_bytes_read_total", figures.bytes_read),
        ("listbackup_store_bytes_added_total", figures.bytes_stored),
        ("listbackup_product_requests_total", figures.requests),
        ("listbackup_product_waits_milliseconds_total", figures.waited_ms),
        ("listbackup_runs_milliseconds_total", figures.ran_ms),
    ];
    for (name, count) in counts {
        metrics::counter!(name).increment(count);
    }
    for (kind, ends) in [("backup", figures.runs), ("restore", figures.restores)] {
        for (status, count) in ends.named().into_iter().filter(|(_, count)| *count > 0) {
            metrics::counter!("listbackup_runs_ended_total", "kind" => kind, "status" => status).increment(count);
        }
    }
}
