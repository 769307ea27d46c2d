//! `listbackup cat`: what one stored object holds, without a database and without a lock.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use futures::TryStreamExt;
use listbackup_engine::{
    Error, ErrorKind, Result,
    snapshot::{KeyDestruction, LooseEntry, LooseSegment, ObjectKind, paths},
};
use serde_json::{Value, json};

use super::{
    exit::{Done, Outcome},
    loose::{LooseObject, Wanted},
    output,
};

/// Arguments of `cat`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples: listbackup cat data/objects/accounts/acc_…/sources/src_…/segments/….seg --key-file data/master.key
          listbackup cat data/objects/accounts/acc_…/sources/src_…/snapshots/snap_….snap --key-file data/master.key
          listbackup cat lost.seg --path accounts/acc_…/sources/src_…/segments/….seg --data-key 1.key --stream contacts \\
                         --key-file master.key
A segment's records come as JSONL, in the order of their keys; a document (manifest, tombstone, mark, checkpoint, export, report, …)
as JSON, and standard error says which kind it is. A segment holds what one or more snapshots wrote, not what a snapshot is: that is the merge of all segments that its
manifest lists, the newest entry of a key counts. Nothing is written, no process is in the way.")]
pub struct Args {
    /// The object as a file
    file: PathBuf,
    /// The master key
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// The object's path in the bucket, when the file lies elsewhere
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// The account's wrapped data key, when it does not lie in the bucket's place for it (accounts/acc_…/keys/)
    #[arg(long, value_name = "FILE")]
    data_key: Option<PathBuf>,
    /// The segment's stream, when no snapshot that names it lies beside it
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Tell deletions too: each line is then {"key":…,"record":…} or {"key":…,"deleted":true}
    #[arg(long, conflicts_with = "info")]
    all: bool,
    /// Print the segment's index instead of its records
    #[arg(long)]
    info: bool,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let wanted = Wanted {
        file: &args.file,
        path: args.path.as_deref(),
        key_file: &args.key_file,
        data_key: args.data_key.as_deref(),
    };
    let object = wanted.open().await?;
    match object.kind {
        ObjectKind::Segment { .. } => segment(&args, &object).await,
        ObjectKind::Document { .. } => document(&object).await,
        ObjectKind::Destruction => destruction(&args),
        ObjectKind::Pack => Err(Error::new(
            ErrorKind::Invalid,
            "this is a pack: chunks of attachments, which only the list of an attachment puts together; \
             `listbackup download` does that",
        )
        .with("file", args.file.display())),
        ObjectKind::DataKey => Err(Error::new(
            ErrorKind::Invalid,
            "this is a wrapped data key; what it opens is shown by cat, the key itself is not",
        )
        .with("file", args.file.display())),
    }
}

async fn document(object: &LooseObject) -> Outcome {
    let text = object.snapshots.account(&object.scope).await?.document(&object.path).await?;
    let value: Value = serde_json::from_slice(&text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("the document is not JSON: {error}")).with("path", &object.path)
    })?;
    if let Some(kind) = paths::document_kind(&object.path) {
        output::note(&format!("{}: {kind}", object.path));
    }
    output::json(&value);
    Ok(Done::Whole)
}

/// The one object that is stored in clear.
fn destruction(args: &Args) -> Outcome {
    let text = std::fs::read(&args.file).map_err(|error| Error::from(error).with("file", args.file.display()))?;
    let mark: KeyDestruction = serde_json::from_slice(&text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("this is no object of a known version: {error}"))
            .with("file", args.file.display())
    })?;
    output::note("the mark that the account's data keys were destroyed: nothing stored of it can be read any more");
    output::json(&mark);
    Ok(Done::Whole)
}

async fn segment(args: &Args, object: &LooseObject) -> Outcome {
    let place = paths::parse_source(&object.path).zip(paths::parse_segment(&object.path));
    let (source_id, segment_id) = place.ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "a segment's path is accounts/acc_…/sources/src_…/segments/….seg")
            .with("path", &object.path)
    })?;
    let store = object.snapshots.source(&object.scope, source_id).await?;
    let segment = store.loose_segment(segment_id, args.stream.as_deref()).await.map_err(with_remedy)?;
    if args.info {
        output::json(&info(&segment, object));
        return Ok(Done::Whole);
    }
    match print(&segment, args.all).await {
        Err(Failure::Stored(error)) => Err(error),
        // Whoever read the records has enough of them.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Done::Whole),
        Err(Failure::Output(error)) => Err(Error::from(error)),
        Ok(()) => Ok(Done::Whole),
    }
}

fn with_remedy(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.with("option", "--stream NAME"),
        _ => error,
    }
}

enum Failure {
    Stored(Error),
    Output(io::Error),
}

async fn print(segment: &LooseSegment, with_deletions: bool) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout());
    let mut entries = std::pin::pin!(segment.entries());
    loop {
        match entries.try_next().await {
            Ok(Some(entry)) => line(&mut out, &entry, with_deletions).map_err(Failure::Output)?,
            Ok(None) => return out.flush().map_err(Failure::Output),
            Err(error) => {
                // What came before the damage is good, and worth having.
                out.flush().map_err(Failure::Output)?;
                return Err(Failure::Stored(error));
            }
        }
    }
}

fn line(out: &mut impl Write, entry: &LooseEntry, with_deletions: bool) -> io::Result<()> {
    let body = entry.line();
    if !with_deletions {
        let Some(body) = body else { return Ok(()) };
        out.write_all(&body)?;
        return out.write_all(b"\n");
    }
    let key = serde_json::to_string(&entry.key.to_string())?;
    match body {
        Some(body) => {
            write!(out, "{{\"key\":{key},\"record\":")?;
            out.write_all(&body)?;
            out.write_all(b"}\n")
        }
        None => writeln!(out, "{{\"key\":{key},\"deleted\":true}}"),
    }
}

fn info(segment: &LooseSegment, object: &LooseObject) -> Value {
    let reference = segment.reference();
    let blocks: Vec<Value> = segment
        .blocks()
        .map(|block| {
            json!({
                "offset": block.offset,
                "sealed_bytes": block.sealed_bytes,
                "raw_bytes": block.raw_bytes,
                "records": block.entries - block.tombstones,
                "deletions": block.tombstones,
                "first_key": block.first_key.to_string(),
            })
        })
        .collect();
    json!({
        "id": reference.id.to_string(),
        "path": object.path,
        "stream": segment.stream(),
        "epoch": reference.epoch,
        "size_bytes": object.size_bytes,
        "records": reference.records,
        "deletions": reference.tombstones,
        "body_bytes": reference.body_bytes,
        "zstd_level": segment.zstd_level(),
        "first_key": reference.first_key.to_string(),
        "last_key": reference.last_key.to_string(),
        "blocks": blocks,
    })
}
