//! Exports: a stream of a snapshot as JSONL, CSV or Parquet, or several streams as one archive. Nothing is held but a few
//! blocks of records and what a format has to gather; CSV and Parquet read a stream twice, first for its columns.

mod columns;
mod csv;
mod folder;
mod jsonl;
mod members;
mod number;
mod order;
mod output;
mod parquet;
mod records;
mod text;
mod zip;

use std::io::Write;

use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

pub use self::{
    folder::{Folder, FolderFile, write_folder},
    order::Export,
};
use self::{output::Output, records::Scan};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{Manifest, SnapshotReader},
};

/// The form of a stream's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One record a line, as it was received.
    #[default]
    Jsonl,
    /// One line a record, one column a field.
    Csv,
    /// Typed columns.
    Parquet,
}

impl Format {
    /// The end of file names: `jsonl`, `csv`, `parquet`.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// What HTTP calls it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// One stream, as it is.
    Stream(String),
    /// These streams as one zip archive.
    Archive(Vec<String>),
}

/// An export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportSpec {
    /// Of which streams.
    pub selection: Selection,
    /// The form of each stream's file.
    pub format: Format,
}

/// What an export wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records of all streams.
    pub records: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl ExportSpec {
    /// Writes the export to `out` on a thread for blocking work; gives `out` back, flushed. A first pass over a stream
    /// flushes from time to time, so that an output that nobody reads any more can end it by an error.
    ///
    /// # Errors
    /// `NotFound` when the snapshot has no such stream; `Corrupt` for damage; `Invalid` when a record has no columns;
    /// those of `out`. What was written is no whole export then.
    pub async fn write<W: Write + Send + 'static>(self, reader: SnapshotReader, mut out: W) -> Result<(W, Written)> {
        let runtime = Handle::current();
        let work = move || {
            let written = self.write_here(&reader, &runtime, &mut out)?;
            Ok((out, written))
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Error::new(ErrorKind::Cancelled, "the export was stopped").caused_by(error))?
    }

    fn write_here(&self, reader: &SnapshotReader, runtime: &Handle, out: &mut (dyn Write + Send)) -> Result<Written> {
        match &self.selection {
            Selection::Stream(stream) => write_stream(&scan(reader, stream, runtime)?, self.format, out),
            Selection::Archive(streams) => {
                let scans = streams.iter().map(|stream| scan(reader, stream, runtime)).collect::<Result<Vec<_>>>()?;
                let mut out = Output::new(out);
                let records = zip::write(reader.manifest(), &scans, self.format, &mut out)?;
                out.flush()?;
                Ok(Written { records, bytes: out.bytes() })
            }
        }
    }

    /// Name of the file: the stream's or the snapshot's, with an extension.
    pub fn file_name(&self, manifest: &Manifest) -> String {
        match &self.selection {
            Selection::Stream(stream) => format!("{}.{}", zip::safe(stream), self.format.extension()),
            Selection::Archive(_) => format!("{}.zip", manifest.snapshot_id),
        }
    }

    /// What HTTP calls the file.
    pub fn media_type(&self) -> &'static str {
        match self.selection {
            Selection::Stream(_) => self.format.media_type(),
            Selection::Archive(_) => "application/zip",
        }
    }
}

fn scan<'a>(reader: &'a SnapshotReader, stream: &'a str, runtime: &'a Handle) -> Result<Scan<'a>> {
    let state = reader
        .manifest()
        .streams
        .get(stream)
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "the snapshot has no such stream").with("stream", stream))?;
    Ok(Scan { reader, stream, state, runtime })
}

/// Writes one stream.
fn write_stream(scan: &Scan<'_>, format: Format, out: &mut (dyn Write + Send)) -> Result<Written> {
    let mut out = Output::new(out);
    let records = match format {
        Format::Jsonl => jsonl::write(scan, &mut out),
        Format::Csv => csv::write(scan, &mut out),
        Format::Parquet => parquet::write(scan, &mut out),
    };
    let records = records.map_err(|error| error.with("stream", scan.stream))?;
    out.flush()?;
    Ok(Written { records, bytes: out.bytes() })
}
