//! `listbackup history`: one record over the snapshots of its source.

use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{Change, FieldChange, Version},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    data_dir::DataPlace,
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
    data_dir: DataPlace,
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
    let worker = args.data_dir.open_to_read().await?;
    let mut versions = Vec::new();
    for (scope, source) in lookup::named_sources(&worker.ctx, Some(&args.source)).await?.sources {
        let store = worker.ctx.snapshots.source(&scope, source.source_id).await?;
        let newest_first = store.back_from(source.head.map(|head| head.snapshot_id), usize::MAX).await?;
        versions.extend(store.find_history(&newest_first, &args.stream, &args.key).await?);
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
