//! `listbackup verify`: is every snapshot whole?

use listbackup_engine::{
    ErrorKind, Result,
    model::{Source, source::Head},
    snapshot::{Damage, SourceStore, VerifyLevel, VerifyReport, paths},
};
use serde_json::{Value, json};

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
        reports.push((source.name.clone(), report(&store, &source, head, level).await?));
    }
    let is_clean = reports.iter().all(|(_, report)| report.is_sound());
    if args.json {
        let sources: Vec<Value> = reports.iter().map(|(source, report)| document(source, report)).collect();
        output::json(&json!({ "clean": is_clean, "sources": sources }));
    } else {
        for (source, report) in &reports {
            print(source, report);
        }
        output::line(if is_clean { "clean" } else { "DAMAGED: see above" });
    }
    Ok(if is_clean { Done::Whole } else { Done::Damaged })
}

/// Verifies from the head down; the head itself must be the manifest that the source's row names.
async fn report(store: &SourceStore, source: &Source, head: &Head, level: VerifyLevel) -> Result<VerifyReport> {
    let damaged = |what: String| {
        let path = paths::snapshot(source.account_id, source.source_id, head.snapshot_id);
        let damage = Damage { path, stream: None, snapshots: vec![head.snapshot_id], keys: None, what };
        VerifyReport { damages: vec![damage], ..VerifyReport::default() }
    };
    match store.load(head.snapshot_id).await {
        Ok(loaded) if loaded.digest == head.manifest_digest => store.reader(&loaded.manifest).verify(level).await,
        Ok(_) => Ok(damaged("the manifest is not the one that was committed".to_owned())),
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(damaged(error.message().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(damaged("the manifest is missing".to_owned())),
        Err(error) => Err(error),
    }
}

fn document(source: &str, report: &VerifyReport) -> Value {
    let damages: Vec<Value> = report
        .damages
        .iter()
        .map(|damage| {
            let keys = damage.keys.as_ref().map(|(first, last)| [first.to_string(), last.to_string()]);
            json!({
                "path": damage.path,
                "what": damage.what,
                "stream": damage.stream,
                "snapshots": damage.snapshots,
                "keys": keys,
            })
        })
        .collect();
    json!({
        "source": source,
        "snapshots": report.manifests,
        "forgotten": report.forgotten,
        "segments": report.segments,
        "records": report.records,
        "attachments": report.attachments,
        "bytes_read": report.bytes_read,
        "damages": damages,
    })
}

fn print(source: &str, report: &VerifyReport) {
    output::line(&format!(
        "{source}: {} snapshots, {} segments, {} records, {} attachments, {} read",
        output::count(report.manifests),
        output::count(report.segments),
        output::count(report.records),
        output::count(report.attachments),
        output::bytes(report.bytes_read),
    ));
    for damage in &report.damages {
        let stream = damage.stream.as_deref().map_or_else(String::new, |stream| format!(", stream {stream}"));
        let keys = damage.keys.as_ref().map_or_else(String::new, |(first, last)| format!(", keys {first} to {last}"));
        let touched = damage.snapshots.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        output::line(&format!("  damaged: {}: {}{stream}{keys}; touches {touched}", damage.path, damage.what));
    }
}
