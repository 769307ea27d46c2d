//! What a restore came to, for people and as JSON.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use listbackup_engine::{
    Error, Result,
    model::{RestoreFigures, Run},
    run::restore::{self, Outcome, RestoreOrder},
    snapshot::AccountStore,
};
use serde::Serialize;

use crate::{cli::output, services::restores::RestoredRecord};

/// Conflicts and failures that are told one by one.
const TOLD_MAX: usize = 50;

/// What is told at the end.
#[derive(Serialize)]
pub struct Report {
    restore_id: String,
    run_id: String,
    snapshot_id: String,
    dry_run: bool,
    status: String,
    error: Option<String>,
    streams: BTreeMap<String, Figures>,
    /// The first conflicts and failures.
    left: Vec<RestoredRecord>,
}

#[derive(Serialize)]
struct Figures {
    created: u64,
    updated: u64,
    skipped: u64,
    conflicts: u64,
    failed: u64,
}

impl Report {
    /// Reads the log; writes all of it to `file`, if one is named.
    ///
    /// # Errors
    /// Those of the store; `Invalid`, `Exhausted` when the file cannot be written.
    pub async fn gather(store: &AccountStore, order: &RestoreOrder, run: &Run, file: Option<&Path>) -> Result<Self> {
        let mut out = match file {
            Some(path) => {
                let file = File::create(path).map_err(|error| Error::from(error).with("file", path.display()))?;
                Some(BufWriter::new(file))
            }
            None => None,
        };
        let (mut left, mut part) = (Vec::new(), Some(0));
        while let Some(number) = part {
            let page = restore::page(store, order.restore_id, number).await?;
            for outcome in page.records {
                let is_left = matches!(outcome.outcome, Outcome::Conflict | Outcome::Failed);
                let told = RestoredRecord::of(outcome);
                if let Some(out) = &mut out {
                    serde_json::to_writer(&mut *out, &told).map_err(std::io::Error::from)?;
                    out.write_all(b"\n")?;
                }
                left.extend((is_left && left.len() < TOLD_MAX).then_some(told));
            }
            part = page.next;
        }
        if let Some(out) = &mut out {
            out.flush()?;
        }
        let figures = |figures: &RestoreFigures| Figures {
            created: figures.created,
            updated: figures.updated,
            skipped: figures.skipped,
            conflicts: figures.conflicts,
            failed: figures.failed,
        };
        let restored = run.progress.restored.iter();
        let status = serde_json::to_value(run.status).ok().and_then(|status| status.as_str().map(str::to_owned));
        Ok(Self {
            restore_id: order.restore_id.to_string(),
            run_id: run.run_id.to_string(),
            snapshot_id: order.snapshot_id.to_string(),
            dry_run: order.dry_run,
            status: status.unwrap_or_default(),
            error: run.error.as_ref().map(|error| error.message.clone()),
            streams: restored.map(|(name, of_stream)| (name.clone(), figures(of_stream))).collect(),
            left,
        })
    }

    /// For people.
    pub fn print(&self) {
        let header = if self.dry_run {
            ["stream", "create", "update", "skip", "conflict", "fail"]
        } else {
            ["stream", "created", "updated", "skipped", "conflicts", "failed"]
        };
        let row = |(name, of): (&String, &Figures)| {
            let figures = [of.created, of.updated, of.skipped, of.conflicts, of.failed];
            std::iter::once(name.clone()).chain(figures.map(output::count)).collect()
        };
        output::table(&header, &self.streams.iter().map(row).collect::<Vec<Vec<String>>>());
        for told in &self.left {
            let outcome = if told.outcome == Outcome::Failed { "failed" } else { "conflict" };
            let reason = told.reason.as_deref().unwrap_or_default();
            output::line(&format!("{outcome}: {} {}: {reason}", told.stream, told.key));
        }
        let total: u64 = self.streams.values().map(|of| of.conflicts + of.failed).sum();
        let more = total.saturating_sub(self.left.len() as u64);
        if more > 0 {
            output::line(&format!("… and {} more; --outcomes FILE writes them all", output::count(more)));
        }
        if let Some(error) = &self.error {
            output::note(&format!("{}: {error}", self.status));
        }
        if self.dry_run {
            output::line("nothing was written to the product; --apply does it");
        }
    }
}
