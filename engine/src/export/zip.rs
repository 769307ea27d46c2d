//! One archive of several streams: a file for each, and `manifest.json` at its end. Written from front to back, so that it
//! can be sent while it is made; a cut one has no directory and does not open.

use std::{
    collections::HashSet,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use futures::TryStreamExt as _;
use jiff::{Timestamp, tz::TimeZone};
use serde::Serialize;
use zip::{
    CompressionMethod, DateTime, ZipWriter,
    write::{SimpleFileOptions, StreamWriter},
};

use super::{Format, Written, output::Output, records::Scan, write_stream};
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{Manifest, StoredAttachment, owner_of},
};

/// Name of the file that tells what is in the archive.
const ABOUT: &str = "manifest.json";
/// How hard files are compressed: text pays for itself, Parquet is compressed already.
const TEXT_LEVEL: i64 = 6;
const PARQUET_LEVEL: i64 = 1;
/// Longest file name without its extension, in bytes.
const NAME_BYTES_MAX: usize = 100;

/// What is in an archive.
#[derive(Serialize)]
struct About<'a> {
    snapshot_id: String,
    source_id: String,
    source_name: &'a str,
    integration: &'a str,
    created_at: Timestamp,
    streams: Vec<AboutStream<'a>>,
}

/// One file of it.
#[derive(Serialize)]
struct AboutStream<'a> {
    name: &'a str,
    file: String,
    records: u64,
    bytes: u64,
    content_digest: String,
    primary_key: &'a [Vec<String>],
}

/// Writes the streams of `scans`; returns the records of all.
pub(super) fn write(manifest: &Manifest, scans: &[Scan<'_>], format: Format, out: &mut Output<'_>) -> Result<u64> {
    let gate = AtomicBool::new(true);
    let outcome = {
        let mut zip = ZipWriter::new_stream(Gate { inner: &mut *out, is_open: &gate });
        let outcome = fill(&mut zip, manifest, scans, format);
        if outcome.is_err() {
            // The writer ends its archive whatever happens; one that lacks something must not look whole.
            gate.store(false, Ordering::Relaxed);
        }
        outcome.and_then(|records| zip.finish().map(|_| records).map_err(Failure::Writer))
    };
    outcome.map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Writer(error) => out.explain(error),
    })
}

/// Lets bytes through until it is shut, then swallows them.
struct Gate<'a, W> {
    inner: W,
    is_open: &'a AtomicBool,
}

impl<W: Write> Write for Gate<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_open.load(Ordering::Relaxed) { self.inner.write(bytes) } else { Ok(bytes.len()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_open.load(Ordering::Relaxed) { self.inner.flush() } else { Ok(()) }
    }
}

enum Failure {
    Ours(Error),
    Writer(zip::result::ZipError),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<zip::result::ZipError> for Failure {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Writer(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Writer(error.into())
    }
}

fn fill<W: Write + Send>(
    zip: &mut ZipWriter<StreamWriter<W>>,
    manifest: &Manifest,
    scans: &[Scan<'_>],
    format: Format,
) -> Result<u64, Failure> {
    let options = options(manifest.created_at, format);
    let mut names = FileNames::default();
    let mut streams = Vec::new();
    for scan in scans {
        let file = format!("{}.{}", names.of(scan.stream), format.extension());
        zip.start_file(&file, options)?;
        let Written { records, bytes } = write_stream(scan, format, zip)?;
        streams.push(AboutStream {
            name: scan.stream,
            file,
            records,
            bytes,
            content_digest: scan.state.content_digest.to_string(),
            primary_key: &scan.state.primary_key,
        });
    }
    for scan in scans.iter().filter(|scan| owner_of(scan.stream).is_some()) {
        add_attachments(zip, scan, options)?;
    }
    let records = streams.iter().map(|stream| stream.records).sum();
    let about = About {
        snapshot_id: manifest.snapshot_id.to_string(),
        source_id: manifest.source_id.to_string(),
        source_name: &manifest.source_name,
        integration: &manifest.integration,
        created_at: manifest.created_at,
        streams,
    };
    zip.start_file(ABOUT, options)?;
    let text = serde_json::to_vec_pretty(&about)
        .map_err(|error| Error::new(ErrorKind::Bug, "the archive's manifest does not serialise").caused_by(error))?;
    zip.write_all(&text)?;
    Ok(records)
}

/// Writes the files of an attachments stream under `files/`.
fn add_attachments<W: Write + Send>(
    zip: &mut ZipWriter<StreamWriter<W>>,
    scan: &Scan<'_>,
    options: SimpleFileOptions,
) -> Result<(), Failure> {
    let mut failed = None;
    let outcome = scan.each(|record| {
        let attachment = StoredAttachment::from_body(&record.body)?;
        add_attachment(zip, scan, &attachment, options).map_err(|failure| match failure {
            Failure::Ours(error) => error.with("stream", scan.stream),
            Failure::Writer(error) => {
                failed = Some(error);
                Error::new(ErrorKind::Exhausted, "the archive cannot be written")
            }
        })
    });
    match (failed, outcome) {
        (Some(error), _) => Err(Failure::Writer(error)),
        (None, outcome) => outcome.map_err(Failure::Ours),
    }
}

fn add_attachment<W: Write + Send>(
    zip: &mut ZipWriter<StreamWriter<W>>,
    scan: &Scan<'_>,
    attachment: &StoredAttachment,
    options: SimpleFileOptions,
) -> Result<(), Failure> {
    zip.start_file(format!("files/{}", attachment.path(scan.stream)), options)?;
    let opening = scan.reader.open_attachment(attachment, 0..attachment.size_bytes);
    let mut bytes = scan.runtime.block_on(opening)?;
    while let Some(piece) = scan.runtime.block_on(bytes.try_next())? {
        zip.write_all(&piece)?;
    }
    Ok(())
}

/// Files may be larger than 4 GiB, which nobody knows before they are written. Archives know no years before 1980.
fn options(created_at: Timestamp, format: Format) -> SimpleFileOptions {
    let time = created_at.to_zoned(TimeZone::UTC);
    let part = |value: i8| u8::try_from(value).unwrap_or_default();
    let modified = DateTime::from_date_and_time(
        u16::try_from(time.year()).unwrap_or_default(),
        part(time.month()),
        part(time.day()),
        part(time.hour()),
        part(time.minute()),
        part(time.second()),
    );
    let level = if format == Format::Parquet { PARQUET_LEVEL } else { TEXT_LEVEL };
    SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(level))
        .last_modified_time(modified.unwrap_or_default())
        .large_file(true)
}

/// Names of files, each another one on every system.
#[derive(Default)]
pub(super) struct FileNames {
    taken: HashSet<String>,
}

impl FileNames {
    /// The name of a stream's file, without extension.
    pub(super) fn of(&mut self, stream: &str) -> String {
        let safe = safe(stream);
        let mut name = safe.clone();
        let mut number = 1;
        while !self.taken.insert(name.to_lowercase()) {
            number += 1;
            name = format!("{safe}-{number}");
        }
        name
    }
}

/// A name that every file system takes for one file in one folder.
pub(super) fn safe(stream: &str) -> String {
    let is_unsafe = |c: char| c.is_control() || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let mut name: String = stream.chars().map(|c| if is_unsafe(c) { '_' } else { c }).collect();
    name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
    let trimmed = name.trim_matches(|c: char| c == '.' || c.is_whitespace());
    if trimmed.is_empty() || is_reserved(trimmed) { format!("{trimmed}_") } else { trimmed.to_owned() }
}

/// Names that mean devices on Windows, with any extension.
fn is_reserved(name: &str) -> bool {
    let base = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let is_numbered =
        |base: &str| matches!(base.as_bytes(), [b'C', b'O', b'M', b'0'..=b'9'] | [b'L', b'P', b'T', b'0'..=b'9']);
    matches!(base.as_str(), "CON" | "PRN" | "AUX" | "NUL") || is_numbered(&base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stream_gets_a_file_name_of_its_own_that_leads_nowhere_else() {
        let mut names = FileNames::default();
        for (stream, name) in [
            ("contacts", "contacts"),
            ("Contacts", "Contacts-2"),
            ("../../etc/passwd", "_.._etc_passwd"),
            ("..", "_"),
            ("", "_-2"),
            ("a/b", "a_b"),
            ("a\\b", "a_b-2"),
            ("line\nbreak", "line_break"),
            ("con", "con_"),
            ("lpt1.x", "lpt1.x_"),
            ("Kunden ü", "Kunden ü"),
            ("end. ", "end"),
        ] {
            assert_eq!(names.of(stream), name, "{stream}");
        }
        assert!(names.of(&"ü".repeat(500)).len() <= NAME_BYTES_MAX);
    }
}
