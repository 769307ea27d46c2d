//! `listbackup snapshots`: what there is.

use listbackup_engine::{
    model::Source,
    snapshot::{KeyDestruction, Manifest},
};
use serde::Serialize;

use super::{
    data_dir::DataPlace,
    destroyed,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `snapshots`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup snapshots --data-dir ./data --json")]
pub struct Args {
    /// Only those of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Row {
    snapshot_id: String,
    source_id: String,
    source: String,
    integration: String,
    run_id: String,
    created_at: jiff::Timestamp,
    status: listbackup_engine::snapshot::SnapshotStatus,
    is_head: bool,
    /// Streams of which the run deleted so much that it looks like a fault.
    suspicious_streams: Vec<String>,
    records: u64,
    streams: Vec<StreamRow>,
}

#[derive(Serialize)]
struct StreamRow {
    name: String,
    records: u64,
    body_bytes: u64,
    content_digest: String,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let mut rows = Vec::new();
    let lookup::Living { sources, destroyed } = lookup::sources(&worker.ctx).await?;
    for (scope, source) in sources {
        let is_other = args.source.as_ref().is_some_and(|name| *name != source.name);
        if is_other || source.head.is_none() {
            continue;
        }
        let store = worker.ctx.snapshots.source(&scope, source.source_id).await?;
        for loaded in lookup::chain(&store, &source).await? {
            rows.push(row(&source, &loaded.manifest));
        }
    }
    print(&args, &rows, &destroyed);
    Ok(Done::Whole)
}

fn row(source: &Source, manifest: &Manifest) -> Row {
    let streams = manifest.streams.iter().map(|(name, stream)| StreamRow {
        name: name.clone(),
        records: stream.records,
        body_bytes: stream.body_bytes,
        content_digest: stream.content_digest.to_string(),
    });
    Row {
        snapshot_id: manifest.snapshot_id.to_string(),
        source_id: source.source_id.to_string(),
        source: source.name.clone(),
        integration: source.integration.clone(),
        run_id: manifest.run_id.to_string(),
        created_at: manifest.created_at,
        status: manifest.status,
        is_head: source.head.as_ref().is_some_and(|head| head.snapshot_id == manifest.snapshot_id),
        suspicious_streams: manifest.suspicious_streams.keys().cloned().collect(),
        records: manifest.streams.values().map(|stream| stream.records).sum(),
        streams: streams.collect(),
    }
}

fn remarks(row: &Row) -> String {
    let head = row.is_head.then_some("head");
    let suspicious = (!row.suspicious_streams.is_empty()).then_some("suspicious");
    head.into_iter().chain(suspicious).collect::<Vec<_>>().join(", ")
}

fn print(args: &Args, rows: &[Row], gone: &[KeyDestruction]) {
    if args.json {
        // The document is the list of snapshots, as ever.
        destroyed::note(gone);
        output::json(&rows);
        return;
    }
    destroyed::tell(gone);
    if rows.is_empty() {
        output::line("no snapshots yet; make one with `listbackup backup`");
        return;
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.snapshot_id.clone(),
                row.source.clone(),
                format!("{:.0}", row.created_at),
                output::count(row.records),
                row.streams.len().to_string(),
                remarks(row),
            ]
        })
        .collect();
    output::table(&["snapshot", "source", "made at", "records", "streams", ""], &cells);
}
