//! `listbackup records`: look at the records of a snapshot.

use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{Filter, KeyRange, Record, RecordKey, SnapshotReader},
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

#[derive(Serialize)]
struct Document {
    key: String,
    record: Box<RawValue>,
}

#[derive(Serialize)]
struct Documents {
    records: Vec<Document>,
    next: Option<String>,
}

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
    /// Begin with this key
    #[arg(long, value_name = "KEY")]
    from: Option<String>,
    /// End before this key
    #[arg(long, value_name = "KEY")]
    until: Option<String>,
    /// Only records that meet this condition: = != < <= > >= or ~ for text within; several must all hold
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    filters: Vec<Filter>,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let reader = snapshot.reader();
    let stream = lookup::stream(&snapshot.loaded.manifest, &args.stream)?;
    let arity = stream.key_arity();
    if let Some(key) = &args.key {
        return one(&args, &reader, key).await;
    }
    let key = |text: &Option<String>| text.as_deref().map(|text| RecordKey::parse(text, arity)).transpose();
    let range = KeyRange { after: key(&args.after)?, from: key(&args.from)?, until: key(&args.until)? };
    let page = reader.browse(&args.stream, &range, &args.filters, args.limit).await?;
    let next = page.next.map(|key| key.to_string());
    if args.json {
        let documents = page.records.iter().map(document).collect::<Result<Vec<_>>>()?;
        output::json(&Documents { records: documents, next });
        return Ok(Done::Whole);
    }
    for record in &page.records {
        output::line(&String::from_utf8_lossy(&record.line()));
    }
    if let Some(key) = next {
        output::note(&format!("there is more: --after '{key}'"));
    }
    Ok(Done::Whole)
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
fn document(record: &Record) -> Result<Document> {
    Ok(Document { key: record.key.to_string(), record: body(record)? })
}

/// A record as it was received.
///
/// # Errors
/// `Corrupt` when it is not JSON.
pub fn body(record: &Record) -> Result<Box<RawValue>> {
    serde_json::from_slice(&record.body)
        .map_err(|error| Error::new(ErrorKind::Corrupt, format!("a stored record is not JSON: {error}")))
}
