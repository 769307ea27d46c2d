//! `listbackup export`: a stream of a snapshot as a file, streaming.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use futures::TryStreamExt;
use listbackup_engine::{Error, Result, snapshot::SnapshotReader};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};

use super::{
    data_dir::DataDir,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Bytes gathered before they are written out.
const BUFFER_BYTES: usize = 1 << 18;

/// Arguments of `export`.
#[derive(clap::Args)]
#[command(after_help = "\
Example: listbackup export --snapshot snap_… --stream contacts --format jsonl --out contacts.jsonl
         listbackup export --snapshot snap_… --stream contacts --format jsonl --out - | head")]
pub struct Args {
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// The stream
    #[arg(long, value_name = "NAME")]
    stream: String,
    /// Form of the file
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// File to write, or - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    data_dir: DataDir,
    /// Print one JSON document about the export (not with --out -)
    #[arg(long)]
    pub json: bool,
}

/// Forms of an exported file.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One record a line, as it was received.
    Jsonl,
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read()?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    lookup::stream(&snapshot.loaded.manifest, &args.stream)?;
    let reader = snapshot.reader();
    if args.out == Path::new("-") {
        write(&reader, &args.stream, tokio::io::stdout()).await?;
        return Ok(Done::Whole);
    }
    let (records, bytes) = to_file(&reader, &args).await.map_err(|error| error.with("file", args.out.display()))?;
    if args.json {
        output::json(&json!({
            "snapshot_id": args.snapshot, "stream": args.stream, "out": args.out, "records": records, "bytes": bytes,
        }));
    } else {
        output::line(&format!(
            "{} records, {} to {}",
            output::count(records),
            output::bytes(bytes),
            args.out.display()
        ));
    }
    Ok(Done::Whole)
}

/// A file that is cut short must not look like a whole one: it gets its name at the end.
async fn to_file(reader: &SnapshotReader, args: &Args) -> Result<(u64, u64)> {
    let mut partial = args.out.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = tokio::fs::File::create(&partial).await.map_err(Error::from)?;
    let written = write(reader, &args.stream, file).await;
    if written.is_err() {
        // What matters is the first error.
        let _left = tokio::fs::remove_file(&partial).await;
    }
    let written = written?;
    tokio::fs::rename(&partial, &args.out).await.map_err(Error::from)?;
    Ok(written)
}

async fn write(reader: &SnapshotReader, stream: &str, to: impl AsyncWrite + Unpin) -> Result<(u64, u64)> {
    let mut to = BufWriter::with_capacity(BUFFER_BYTES, to);
    let (mut records, mut bytes) = (0, 0);
    let mut scan = std::pin::pin!(reader.scan(stream)?);
    while let Some(record) = scan.try_next().await? {
        let line = record.line();
        to.write_all(&line).await.map_err(Error::from)?;
        to.write_all(b"\n").await.map_err(Error::from)?;
        records += 1;
        bytes += line.len() as u64 + 1;
    }
    to.flush().await.map_err(Error::from)?;
    Ok((records, bytes))
}
