//! What `listbackup backup` tells about a run.

use listbackup_engine::model::{
    Run, RunStatus,
    run::{RunError, StreamProgress},
};
use serde::Serialize;

use super::output;

/// The outcome as `--json` prints it.
#[derive(Serialize)]
pub struct Report {
    run_id: String,
    snapshot_id: Option<String>,
    status: RunStatus,
    records: u64,
    added: u64,
    changed: u64,
    removed: u64,
    unchanged: u64,
    failed: u64,
    bytes_read: u64,
    bytes_stored: u64,
    seconds: f64,
    streams: Vec<StreamReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RunError>,
}

/// One stream of a [`Report`].
#[derive(Serialize)]
struct StreamReport {
    name: String,
    records: u64,
    added: u64,
    changed: u64,
    removed: u64,
    unchanged: u64,
    /// Parts that could not be read; the stream itself counts when all of it failed.
    failed: u64,
    /// After a reconcile read: records in which it differed from what reading only changes had led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    drift: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Report {
    /// The report of an ended or interrupted run.
    pub fn new(run: &Run, seconds: f64) -> Self {
        let streams: Vec<StreamReport> =
            run.progress.streams.iter().map(|(name, stream)| StreamReport::new(name, stream)).collect();
        let sum = |of: fn(&StreamReport) -> u64| streams.iter().map(of).sum();
        Self {
            run_id: run.run_id.to_string(),
            snapshot_id: run.snapshot_id.map(|id| id.to_string()),
            status: run.status,
            records: sum(|stream| stream.records),
            added: sum(|stream| stream.added),
            changed: sum(|stream| stream.changed),
            removed: sum(|stream| stream.removed),
            unchanged: sum(|stream| stream.unchanged),
            failed: sum(|stream| stream.failed),
            bytes_read: run.progress.bytes_read,
            bytes_stored: run.progress.bytes_stored,
            seconds: (seconds * 1000.0).round() / 1000.0,
            error: run.error.clone(),
            streams,
        }
    }

    /// Prints it for a person.
    pub fn print(&self) {
        let rows: Vec<Vec<String>> = self.streams.iter().map(StreamReport::cells).collect();
        if !rows.is_empty() {
            output::table(&["stream", "records", "added", "changed", "removed", "unchanged", "failed"], &rows);
        }
        for stream in &self.streams {
            if let Some(drift) = stream.drift.filter(|drift| *drift > 0) {
                let drift = output::count(drift);
                output::line(&format!("{}: a reconcile read found {drift} records otherwise than told", stream.name));
            }
            if let Some(error) = &stream.error {
                output::line(&format!("{}: {error}", stream.name));
            }
        }
        let status = serde_json::to_value(self.status).ok().and_then(|status| Some(status.as_str()?.to_owned()));
        output::line(&format!(
            "{} in {:.1} s: {}, {} read, {} stored",
            status.unwrap_or_default(),
            self.seconds,
            output::counted(self.records, "record"),
            output::bytes(self.bytes_read),
            output::bytes(self.bytes_stored),
        ));
        match (&self.snapshot_id, &self.error) {
            (Some(snapshot_id), _) => output::line(&format!("snapshot {snapshot_id}")),
            (None, Some(error)) => output::line(&format!("no snapshot: {}", error.message)),
            (None, None) => output::line("no snapshot"),
        }
    }
}

impl StreamReport {
    fn new(name: &str, stream: &StreamProgress) -> Self {
        let failed_items = stream.failed_items.len() as u64;
        Self {
            name: name.to_owned(),
            records: stream.records,
            added: stream.added,
            changed: stream.changed,
            removed: stream.removed,
            unchanged: stream.unchanged,
            failed: failed_items.max(u64::from(stream.error.is_some())),
            drift: stream.drift,
            error: stream.error.as_ref().map(|error| error.message.clone()),
        }
    }

    fn cells(&self) -> Vec<String> {
        let figures = [self.records, self.added, self.changed, self.removed, self.unchanged, self.failed];
        std::iter::once(self.name.clone()).chain(figures.into_iter().map(output::count)).collect()
    }
}
