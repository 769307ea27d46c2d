//! Rows as a manifest knows them. Made twice, they are the same.

use jiff::Timestamp;

use crate::{
    model::{
        Job, Run, RunStatus,
        run::{RunError, StreamProgress, StreamState, Trigger},
    },
    snapshot::{Manifest, SnapshotStatus},
};

/// Who made the runs, as far as anybody knows.
pub(super) const ACTOR: &str = "rebuild";
/// Code of what went wrong in a run of which only the words are known.
const CODE: &str = "unknown";

/// The time in an id.
pub(super) fn instant(instant_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(instant_ms).unwrap_or_default()
}

/// The run that made a snapshot. What changed in it and what it read is not known any more.
pub(super) fn run(job: &Job, manifest: &Manifest) -> Run {
    let created_at = instant(manifest.run_id.instant_ms());
    let trigger = Trigger::Manual { by: ACTOR.to_owned() };
    let mut run = Run {
        status: RunStatus::Running,
        epoch: manifest.epoch,
        attempts: 1,
        ..Run::new(job, manifest.run_id, trigger, created_at)
    };
    run.started_at =
        manifest.streams.values().map(|stream| stream.window.started_at).max().map(|at| at.max(created_at));
    run.progress.streams = streams(manifest);
    adopt(&mut run, manifest);
    run
}

/// Says in a run's row that it made its snapshot.
pub(super) fn adopt(run: &mut Run, manifest: &Manifest) {
    let is_whole = manifest.status == SnapshotStatus::Complete;
    run.status = if is_whole { RunStatus::Succeeded } else { RunStatus::Partial };
    run.snapshot_id = Some(manifest.snapshot_id);
    run.snapshot_records = Some(manifest.totals.records);
    run.finished_at = Some(manifest.created_at);
    run.live_shard = None;
    run.lease_expires_ms = None;
    run.waiting_job_id = None;
    let messages: Vec<&str> = manifest.failed_streams.values().map(String::as_str).collect();
    run.error = (!messages.is_empty()).then(|| error(&messages.join("\n")));
}

fn streams(manifest: &Manifest) -> std::collections::BTreeMap<String, StreamProgress> {
    let of = |(name, state): (&String, &crate::snapshot::StreamState)| {
        let failure = manifest.failed_streams.get(name);
        let progress = StreamProgress {
            state: if failure.is_some() { StreamState::Failed } else { StreamState::Done },
            records: state.records,
            error: failure.map(|message| error(message)),
            ..StreamProgress::default()
        };
        (name.clone(), progress)
    };
    manifest.streams.iter().map(of).collect()
}

fn error(message: &str) -> RunError {
    RunError { code: CODE.to_owned(), message: message.to_owned() }
}
