//! `listbackup records`: look at the records of a snapshot.

use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{KeyRange, Record, RecordKey, SnapshotReader},
};
use serde_json::{Value, json, value::RawValue};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `records`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup records --snapshot snap_… --stream contacts --limit 5
         listbackup records --snapshot snap_… --stream contacts --key 4711")]
pub struct Args {
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// The stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Only the record with this key (several key fields: a JSON array)
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Records at most
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Begin after the record with this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let reader = snapshot.reader();
    let stream = lookup::stream(&snapshot.loaded.manifest, &args.stream)?;
    let arity = stream.key_arity();
    if let Some(key) = &args.key {
        return one(&args, &reader, key).await;
    }
    let after = args.after.as_deref().map(|text| RecordKey::parse(text, arity)).transpose()?;
    let records = reader.browse(&args.stream, &KeyRange::after(after), &[], args.limit).await?.records;
    if args.json {
        let documents = records.iter().map(document).collect::<Result<Vec<_>>>()?;
        output::json(&json!({ "records": documents, "next": next(&records, args.limit) }));
        return Ok(Done::Whole);
    }
    for record in &records {
        output::line(&String::from_utf8_lossy(&record.line()));
    }
    if let Some(key) = next(&records, args.limit) {
        output::note(&format!("there may be more: --after '{key}'"));
    }
    Ok(Done::Whole)
}

fn next(records: &[Record], limit: usize) -> Option<String> {
    records.last().filter(|_| records.len() == limit).map(|record| record.key.to_string())
}

async fn one(args: &Args, reader: &SnapshotReader, key: &str) -> Outcome {
    let found = reader.find(&args.stream, key).await?;
    let record = found.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, "the snapshot has no such record").with("stream", &args.stream).with("key", key)
    })?;
    if args.json {
        output::json(&document(&record)?);
    } else {
        output::line(&String::from_utf8_lossy(&record.line()));
    }
    Ok(Done::Whole)
}

/// The key as people write it, the record as it was received.
fn document(record: &Record) -> Result<Value> {
    let body: &RawValue = serde_json::from_slice(&record.body)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored record is not JSON: {error}")))?;
    let body = serde_json::to_value(body)
        .map_err(|error| Error::new(ErrorKind::Bug, format!("a record does not serialise: {error}")))?;
    Ok(json!({ "key": record.key.to_string(), "record": body }))
}
