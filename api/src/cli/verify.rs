//! `listbackup verify`: is every snapshot whole?

use listbackup_engine::snapshot::{VerifyLevel, VerifyReport};
use serde_json::json;

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `verify`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup verify --data --data-dir ./data
Without --data it checks that every object that a snapshot names is there with its size; with it, every byte.")]
pub struct Args {
    /// Read and check every stored byte
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let level = if args.data { VerifyLevel::Data } else { VerifyLevel::Structure };
    let mut reports = Vec::new();
    for (scope, source) in lookup::sources(&worker.ctx).await? {
        let Some(head) = &source.head else { continue };
        let store = worker.ctx.snapshots.source(&scope, source.source_id).await?;
        reports.push((source.name.clone(), store.verify(head.snapshot_id, level).await?));
    }
    let is_clean = reports.iter().all(|(_, report)| report.is_clean());
    if args.json {
        let sources: Vec<_> =
            reports.iter().map(|(source, report)| json!({ "source": source, "report": report })).collect();
        output::json(&json!({ "clean": is_clean, "sources": sources }));
    } else {
        for (source, report) in &reports {
            print(source, report);
        }
        output::line(if is_clean { "clean" } else { "DAMAGED: see above" });
    }
    Ok(if is_clean { Done::Whole } else { Done::Damaged })
}

fn print(source: &str, report: &VerifyReport) {
    output::line(&format!(
        "{source}: {} snapshots, {} segments, {} records, {} read",
        output::count(report.snapshots),
        output::count(report.segments),
        output::count(report.records),
        output::bytes(report.bytes),
    ));
    for damage in &report.damages {
        output::line(&format!("  damaged: {damage}"));
    }
}
