//! `listbackup pin`, `unpin`, `hold`, `release`: what keeps a snapshot whatever the rules say.

use jiff::Timestamp;
use listbackup_engine::{Result, run::retention, snapshot::retain::MarkKind};
use serde_json::json;

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::{
    lookup,
    worker::{self, WorkerSettings},
};

/// What every mark says.
#[derive(clap::Args)]
pub struct MarkArgs {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pin`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup pin snap_… --reason 'before the migration' --data-dir ./data")]
pub struct PinArgs {
    #[command(flatten)]
    pub mark: MarkArgs,
}

/// Arguments of `hold`.
#[derive(clap::Args)]
#[command(
    after_help = "Example: listbackup hold snap_… --reason 'case 4711' --until 2030-01-01T00:00:00Z --data-dir ./data"
)]
pub struct HoldArgs {
    #[command(flatten)]
    pub mark: MarkArgs,
    /// The hold ends then by itself [default: it ends when it is released]
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

/// Arguments of `unpin` and `release`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup release snap_… --data-dir ./data")]
pub struct UndoArgs {
    /// The snapshot
    #[arg(value_name = "SNAPSHOT")]
    snapshot: String,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "a person asked for it")]
    reason: String,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs `pin`.
pub async fn pin(args: PinArgs) -> Outcome {
    mark(args.mark, MarkKind::Pin, "pinned").await
}

/// Runs `hold`.
pub async fn hold(args: HoldArgs) -> Outcome {
    mark(args.mark, MarkKind::Hold { until: args.until }, "held").await
}

/// Runs `unpin`.
pub async fn unpin(args: UndoArgs) -> Outcome {
    mark(args.into(), MarkKind::Unpin, "unpinned").await
}

/// Runs `release`.
pub async fn release(args: UndoArgs) -> Outcome {
    mark(args.into(), MarkKind::Release, "released").await
}

impl From<UndoArgs> for MarkArgs {
    fn from(args: UndoArgs) -> Self {
        let UndoArgs { snapshot, reason, data_dir, json } = args;
        Self { snapshot, reason, data_dir, json }
    }
}

async fn mark(args: MarkArgs, kind: MarkKind, done: &str) -> Result<Done> {
    let worker = args.data_dir.open_to_write(WorkerSettings::of_a_person())?;
    let found = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let manifest = &found.loaded.manifest;
    let place = (manifest.source_id, manifest.snapshot_id);
    let is_news = retention::mark(&worker.ctx, &found.scope, place, kind, "cli", &args.reason).await?;
    worker::settle(&worker.ctx).await;
    if args.json {
        output::json(&json!({ "snapshot_id": manifest.snapshot_id, "done": done, "changed": is_news }));
    } else {
        let what = if is_news { done.to_owned() } else { format!("{done} already") };
        output::line(&format!("{} {what}", manifest.snapshot_id));
    }
    Ok(Done::Whole)
}
