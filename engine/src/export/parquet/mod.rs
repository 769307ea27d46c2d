//! Parquet: the fields as typed columns. A first pass over all records finds each field's type, so that every value fits
//! it; where no type fits all of a field's values, the column holds their text.

mod column;

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};

use self::column::StructColumn;
use super::{columns::Survey, output::Output, records::Scan, text};
use crate::error::Result;

/// Records become arrays when their text has so many bytes,
const BATCH_BYTES: usize = 4 << 20;
/// or when they have so many cells, of which most may be empty,
const BATCH_CELLS: usize = 1 << 20;
/// or when there are so many.
const BATCH_ROWS: usize = 8_192;
/// A row group is closed when its encoded columns take so many bytes of memory.
const ROW_GROUP_BYTES: usize = 48 << 20;

/// Writes all records of `scan`, after a first pass over them for their types; returns how many.
pub(super) fn write(scan: &Scan<'_>, out: &mut Output<'_>) -> Result<u64> {
    let mut survey = Survey::new(&scan.state.primary_key, true);
    scan.survey(out, |record| {
        survey.add(text::checked(record)?);
        Ok(())
    })?;
    write_table(scan, StructColumn::of(survey.finish()), out).map_err(|failure| match failure {
        Failure::Ours(error) => error,
        Failure::Writer(error) => out.explain(error),
    })
}

fn write_table(scan: &Scan<'_>, root: StructColumn, out: &mut Output<'_>) -> Result<u64, Failure> {
    let schema = Arc::new(Schema::new(root.fields().clone()));
    let writer = ArrowWriter::try_new(out, schema.clone(), Some(properties(scan)))?;
    Table { schema, root, writer, rows: 0, bytes: 0, cells: 0 }.write(scan)
}

fn properties(scan: &Scan<'_>) -> WriterProperties {
    let manifest = scan.manifest();
    let about = [
        ("listbackup.snapshot", manifest.snapshot_id.to_string()),
        ("listbackup.created_at", manifest.created_at.to_string()),
        ("listbackup.source", manifest.source_id.to_string()),
        ("listbackup.source_name", manifest.source_name.clone()),
        ("listbackup.stream", scan.stream.to_owned()),
        ("listbackup.records", scan.state.records.to_string()),
        ("listbackup.content_digest", scan.state.content_digest.to_string()),
    ];
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Rows are counted out below; what an index of pages would take grows with the file.
        .set_max_row_group_row_count(None)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(about.map(|(name, value)| KeyValue::new(name.to_owned(), value)).into()))
        .build()
}

/// An error of the engine, or one of the writer, which may be that of the output below it.
enum Failure {
    Ours(crate::error::Error),
    Writer(ParquetError),
}

impl From<crate::error::Error> for Failure {
    fn from(error: crate::error::Error) -> Self {
        Self::Ours(error)
    }
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        Self::Writer(error)
    }
}

struct Table<'a, 'b> {
    schema: SchemaRef,
    root: StructColumn,
    writer: ArrowWriter<&'a mut Output<'b>>,
    rows: usize,
    bytes: usize,
    cells: usize,
}

impl Table<'_, '_> {
    fn write(mut self, scan: &Scan<'_>) -> Result<u64, Failure> {
        let mut count = 0;
        let mut failure = None;
        let outcome = scan.each(|record| {
            count += 1;
            self.push(text::checked(record)?).map_err(|error| error.with("key", &record.key))?;
            if self.is_full() {
                self.flush().map_err(|error| take(error, &mut failure))?;
            }
            Ok(())
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        outcome?;
        self.flush()?;
        self.writer.finish()?;
        Ok(count)
    }

    fn push(&mut self, record: &str) -> Result<()> {
        self.rows += 1;
        self.bytes += record.len();
        self.root.push(Some(record), &mut self.cells)
    }

    fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.cells >= BATCH_CELLS || self.rows >= BATCH_ROWS
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if self.rows == 0 {
            return Ok(());
        }
        let columns = self.root.finish_columns()?;
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(column::misshapen)?;
        self.writer.write(&batch)?;
        if self.writer.memory_size() >= ROW_GROUP_BYTES {
            self.writer.flush()?;
        }
        (self.rows, self.bytes, self.cells) = (0, 0, 0);
        Ok(())
    }
}

/// Keeps a failure for the end of the scan, which is ended by an error of the engine.
fn take(failure: Failure, kept: &mut Option<Failure>) -> crate::error::Error {
    *kept = Some(failure);
    crate::error::Error::new(crate::error::ErrorKind::Bug, "the export was broken off")
}
