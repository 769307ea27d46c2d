//! `listbackup history`: one record over the snapshots of its source.

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{Change, FieldChange, LoadedManifest, RecordKey, SourceStore, Version},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `history`.
#[derive(clap::Args)]
#[command(after_help = "Example: listbackup history --source sandbox --stream contacts --key 4711")]
pub struct Args {
    /// The source
    #[arg(long, value_name = "NAME")]
    source: String,
    /// The stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// The record's key (several key fields: a JSON array)
    #[arg(long, value_name = "KEY")]
    key: String,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Documents<'a> {
    stream: &'a str,
    key: &'a str,
    versions: Vec<Document<'a>>,
}

#[derive(Serialize)]
struct Document<'a> {
    snapshot_id: String,
    created_at: Timestamp,
    change: Change,
    fields: &'a [FieldChange],
    record: Option<Box<RawValue>>,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let mut versions = Vec::new();
    for (scope, source) in lookup::named_sources(&worker.ctx, Some(&args.source)).await? {
        let store = worker.ctx.snapshots.source(&scope, source.source_id).await?;
        let chain = lookup::chain(&store, &source).await?;
        versions.extend(versions_of(&store, &chain, &args).await?);
    }
    if versions.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no snapshot of the source has such a record")
            .with("stream", &args.stream)
            .with("key", &args.key));
    }
    if args.json {
        let documents = versions.iter().map(document).collect::<Result<Vec<_>>>()?;
        output::json(&Documents { stream: &args.stream, key: &args.key, versions: documents });
    } else {
        versions.iter().for_each(tell);
    }
    Ok(Done::Whole)
}

/// Digits stand for a number, and where there is no such record for the same text.
async fn versions_of(store: &SourceStore, chain: &[LoadedManifest], args: &Args) -> Result<Vec<Version>> {
    let state = chain.iter().rev().find_map(|loaded| loaded.manifest.streams.get(&args.stream));
    let Some(state) = state else { return Ok(Vec::new()) };
    for key in RecordKey::candidates(&args.key, state.key_arity())? {
        let versions = store.history(chain.iter().map(|loaded| &loaded.manifest), &args.stream, &key).await?;
        if !versions.is_empty() {
            return Ok(versions);
        }
    }
    Ok(Vec::new())
}

fn tell(version: &Version) {
    let what = match version.change {
        Change::Added => "added",
        Change::Changed => "changed",
        Change::Removed => "removed",
    };
    output::line(&format!("{:.0}  {}  {what}", version.created_at, version.snapshot_id));
    let text = |value: &Option<Box<RawValue>>| value.as_ref().map_or("(absent)", |value| value.get()).to_owned();
    for field in &version.fields {
        output::line(&format!("    {}: {} -> {}", field.path, text(&field.before), text(&field.after)));
    }
}

fn document(version: &Version) -> Result<Document<'_>> {
    Ok(Document {
        snapshot_id: version.snapshot_id.to_string(),
        created_at: version.created_at,
        change: version.change,
        fields: &version.fields,
        record: version.record.as_ref().map(super::records::body).transpose()?,
    })
}
