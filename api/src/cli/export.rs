//! `listbackup export`: streams of a snapshot as a file, streaming.

use std::{
    error::Error as _,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use clap::{ArgGroup, ValueEnum};
use listbackup_engine::{
    Error, Result,
    export::{ExportSpec, Format, Selection, Written},
    snapshot::{Manifest, SnapshotReader},
};
use serde_json::json;

use super::{
    data_dir::DataPlace,
    exit::{Done, Outcome},
    output,
};
use crate::lookup;

/// Arguments of `export`.
#[derive(clap::Args)]
#[command(group = ArgGroup::new("what").required(true).args(["stream", "all"]), after_help = "\
Examples: listbackup export --snapshot snap_… --stream contacts --out contacts.jsonl
          listbackup export --snapshot snap_… --stream contacts --out - | head
          listbackup export --snapshot snap_… --stream contacts --format csv --out contacts.csv
          listbackup export --snapshot snap_… --stream contacts --format parquet --out contacts.parquet
          listbackup export --snapshot snap_… --stream contacts --stream orders --out both.zip
          listbackup export --snapshot snap_… --all --format csv --out everything.zip
CSV has a column a field, members of objects named with dots; it holds the values as they are, also texts that a spreadsheet
takes for formulas. Parquet has typed columns; what fits no type is text. CSV and Parquet read each stream twice.")]
pub struct Args {
    /// The snapshot
    #[arg(long, value_name = "ID")]
    snapshot: String,
    /// The stream; several make a zip archive
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// All streams, as a zip archive
    #[arg(long)]
    all: bool,
    /// Form of each stream's file
    #[arg(long, value_enum, default_value_t = FormatName::Jsonl)]
    format: FormatName,
    /// File to write, or - for standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    data_dir: DataPlace,
    /// Print one JSON document about the export (not with --out -)
    #[arg(long)]
    pub json: bool,
}

/// Forms of an exported file.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatName {
    /// One record a line, as it was received
    Jsonl,
    /// One line a record, one column a field
    Csv,
    /// Typed columns
    Parquet,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Jsonl => Self::Jsonl,
            FormatName::Csv => Self::Csv,
            FormatName::Parquet => Self::Parquet,
        }
    }
}

/// Runs the command.
pub async fn run(args: Args) -> Outcome {
    let worker = args.data_dir.open_to_read().await?;
    let snapshot = lookup::snapshot(&worker.ctx, &args.snapshot).await?;
    let spec = spec(&args, &snapshot.loaded.manifest)?;
    let reader = snapshot.reader();
    if args.out == Path::new("-") {
        return to_standard_output(spec, reader).await;
    }
    let written = to_file(spec, reader, &args.out).await.map_err(|error| error.with("file", args.out.display()))?;
    report(&args, &snapshot.loaded.manifest, written);
    Ok(Done::Whole)
}

fn spec(args: &Args, manifest: &Manifest) -> Result<ExportSpec> {
    let mut streams = args.stream.clone();
    streams.dedup();
    for stream in &streams {
        lookup::stream(manifest, stream)?;
    }
    let selection = match &streams[..] {
        [stream] => Selection::Stream(stream.clone()),
        [] => Selection::Archive(manifest.streams.keys().cloned().collect()),
        _ => Selection::Archive(streams),
    };
    Ok(ExportSpec { selection, format: args.format.into() })
}

/// A reader that has enough, such as `head`, ends the export in good order.
async fn to_standard_output(spec: ExportSpec, reader: SnapshotReader) -> Outcome {
    match spec.write(reader, io::stdout()).await {
        Err(error) if !is_reader_gone(&error) => Err(error),
        _ => Ok(Done::Whole),
    }
}

fn is_reader_gone(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// A file that is cut short must not look like a whole one: it gets its name at the end.
async fn to_file(spec: ExportSpec, reader: SnapshotReader, out: &Path) -> Result<Written> {
    let mut partial = out.to_owned().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = File::create(&partial).map_err(Error::from)?;
    match spec.write(reader, file).await {
        Ok((_file, written)) => {
            tokio::fs::rename(&partial, out).await.map_err(Error::from)?;
            Ok(written)
        }
        Err(error) => {
            // What matters is the first error.
            let _left = tokio::fs::remove_file(&partial).await;
            Err(error)
        }
    }
}

fn report(args: &Args, manifest: &Manifest, Written { records, bytes }: Written) {
    if args.json {
        let streams: Vec<&String> =
            if args.all { manifest.streams.keys().collect() } else { args.stream.iter().collect() };
        let stream = (streams.len() == 1 && !args.all).then(|| streams[0]);
        output::json(&json!({
            "snapshot_id": args.snapshot, "stream": stream, "streams": streams, "out": args.out, "records": records,
            "bytes": bytes,
        }));
    } else {
        let (records, bytes) = (output::counted(records, "record"), output::bytes(bytes));
        output::line(&format!("{records}, {bytes} to {}", args.out.display()));
    }
}
