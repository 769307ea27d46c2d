//! A restore drill: records of a snapshot are restored to files on a disk, as an export does it, read back and compared with
//! what the store gives on other ways. Small streams whole, of the others a sample from all over their keys.

mod report;

use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::Path,
};

use futures::TryStreamExt;

pub use self::report::{DrillReport, DrilledStream, Outcome, REPORT_VERSION};
use crate::{
    error::{Error, ErrorKind, Result},
    export::{ExportSpec, Format, Selection},
    ports::Clock,
    snapshot::{KeyRange, LoadedManifest, Record, SnapshotReader, StreamState},
};

/// Streams up to so many records are restored whole,
const WHOLE_RECORDS_MAX: u64 = 1000;
/// if they have so many bytes at most.
const WHOLE_BYTES_MAX: u64 = 64 << 20;
/// Problems told of a stream at most: where everything is wrong, the first ones say enough.
const PROBLEMS_MAX: usize = 20;

/// How to drill.
#[derive(Clone, Debug)]
pub struct DrillSpec {
    /// What the sample is drawn with.
    pub seed: [u8; 16],
    /// Records to draw of a stream that is not small.
    pub sample_size: u64,
    /// Name and version of the program, for the report.
    pub program: String,
}

/// Restores from a snapshot into `scratch`, an empty directory, and compares.
///
/// # Errors
/// Those of the ports and of the directory. What is damaged, missing or different is no error: it is in the report.
pub async fn drill(
    reader: &SnapshotReader,
    loaded: &LoadedManifest,
    spec: &DrillSpec,
    scratch: &Path,
    clock: &dyn Clock,
) -> Result<DrillReport> {
    let started_at = clock.now();
    let manifest = &loaded.manifest;
    let mut report = DrillReport {
        format: REPORT_VERSION,
        program: spec.program.clone(),
        account_id: manifest.account_id,
        source_id: manifest.source_id,
        source_name: manifest.source_name.clone(),
        snapshot_id: manifest.snapshot_id,
        snapshot_created_at: manifest.created_at,
        manifest_digest: loaded.digest.clone(),
        started_at,
        duration_ms: 0,
        seed: spec.seed.iter().map(|byte| format!("{byte:02x}")).collect(),
        sample_size: spec.sample_size,
        outcome: Outcome::Passed,
        streams: std::collections::BTreeMap::new(),
    };
    for (number, (name, state)) in manifest.streams.iter().enumerate() {
        let file = scratch.join(format!("{number}.jsonl"));
        let mut drilled = DrilledStream { records: state.records, ..DrilledStream::default() };
        let is_small = state.records <= WHOLE_RECORDS_MAX && state.body_bytes <= WHOLE_BYTES_MAX;
        let done = if is_small {
            whole(reader, name, state, &file, &mut drilled).await
        } else {
            sampled(reader, name, spec, &file, &mut drilled).await
        };
        match done {
            Err(error) if error.kind() == ErrorKind::Corrupt => problem(&mut drilled, error.to_string()),
            done => done?,
        }
        if !drilled.problems.is_empty() {
            report.outcome = Outcome::Failed;
            drilled.is_whole = false;
        }
        report.streams.insert(name.clone(), drilled);
    }
    let duration_ms = clock.now().duration_since(started_at).as_millis();
    report.duration_ms = u64::try_from(duration_ms).unwrap_or_default();
    Ok(report)
}

fn problem(drilled: &mut DrilledStream, what: String) {
    if drilled.problems.len() < PROBLEMS_MAX {
        drilled.problems.push(what);
    }
}

/// A whole stream: its export, line by line against the records read one by one, and all of them against the manifest.
async fn whole(
    reader: &SnapshotReader,
    stream: &str,
    state: &StreamState,
    path: &Path,
    drilled: &mut DrilledStream,
) -> Result<()> {
    let spec = ExportSpec { selection: Selection::Stream(stream.to_owned()), format: Format::Jsonl };
    let (file, written) = spec.write(reader.clone(), create(path)?).await?;
    file.sync_all().map_err(|error| failed(error, path))?;
    drilled.restored_bytes = written.bytes;
    let mut lines = lines_of(path)?;
    let mut sum = reader.content_sum();
    let mut records = std::pin::pin!(reader.scan(stream)?);
    while let Some(record) = records.try_next().await? {
        sum.add(&record);
        compare(reader, stream, &record, &mut lines, drilled).await?;
    }
    if lines.next().is_some() {
        problem(drilled, "the restored file holds more records than the snapshot".to_owned());
    }
    if sum.is_of(state) {
        drilled.is_whole = true;
    } else {
        problem(drilled, "the restored records are not those that the manifest's digest stands for".to_owned());
    }
    Ok(())
}

/// A sample of a stream: each record on its way through the streaming reader to a file and back, and by its key.
async fn sampled(
    reader: &SnapshotReader,
    stream: &str,
    spec: &DrillSpec,
    path: &Path,
    drilled: &mut DrilledStream,
) -> Result<()> {
    let mut drawn = 0u64;
    let draw = |below: u64| {
        drawn += 1;
        drawn_number(spec, stream, drawn, below)
    };
    let keys = reader.sample(stream, spec.sample_size, draw).await?;
    let mut records: Vec<Record> = Vec::new();
    let mut out = BufWriter::new(create(path)?);
    for key in keys {
        let range = KeyRange { from: Some(key.clone()), ..KeyRange::default() };
        let mut scan = std::pin::pin!(reader.scan_range(stream, &range)?);
        match scan.try_next().await?.filter(|record| record.key == key) {
            Some(record) => {
                out.write_all(&record.line())
                    .and_then(|()| out.write_all(b"\n"))
                    .map_err(|error| failed(error, path))?;
                records.push(record);
            }
            // The entry that was drawn is older than the snapshot's state: the key must be gone on every way.
            None if reader.get(stream, &key).await?.is_none() => {}
            None => problem(drilled, format!("the record {key} is read by its key only")),
        }
    }
    let file = out.into_inner().map_err(|error| failed(error.into_error(), path))?;
    file.sync_all().map_err(|error| failed(error, path))?;
    drilled.restored_bytes = file.metadata().map_err(|error| failed(error, path))?.len();
    let mut lines = lines_of(path)?;
    for record in &records {
        compare(reader, stream, record, &mut lines, drilled).await?;
    }
    Ok(())
}

/// Compares a record with its restored line and with what its key gives.
async fn compare(
    reader: &SnapshotReader,
    stream: &str,
    record: &Record,
    lines: &mut impl Iterator<Item = Result<Vec<u8>>>,
    drilled: &mut DrilledStream,
) -> Result<()> {
    let line = lines.next().transpose()?;
    let by_key = reader.get(stream, &record.key).await?;
    if line.is_none_or(|line| line != *record.line()) {
        problem(drilled, format!("the record {} was not restored as it is", record.key));
    } else if by_key.as_ref() != Some(record) {
        problem(drilled, format!("the record {} is another one when it is read by its key", record.key));
    } else {
        drilled.restored += 1;
    }
    Ok(())
}

/// The `number`-th number of a drill's sample of a stream, below a bound.
fn drawn_number(spec: &DrillSpec, stream: &str, number: u64, below: u64) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("listbackup drill sample");
    hasher.update(&spec.seed).update(&number.to_le_bytes()).update(stream.as_bytes());
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    // 64 random bits below a number of records: the bias is far below one record.
    u64::from_le_bytes(bytes) % below.max(1)
}

fn create(path: &Path) -> Result<File> {
    File::options().write(true).create_new(true).open(path).map_err(|error| failed(error, path))
}

fn lines_of(path: &Path) -> Result<impl Iterator<Item = Result<Vec<u8>>> + use<>> {
    let path = path.to_owned();
    let file = File::open(&path).map_err(|error| failed(error, &path))?;
    let lines = BufReader::new(file).split(b'\n');
    Ok(lines.map(move |line| line.map_err(|error| failed(error, &path))))
}

fn failed(error: std::io::Error, path: &Path) -> Error {
    Error::from(error).with("path", path.display())
}
