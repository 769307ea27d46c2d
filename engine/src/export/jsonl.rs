//! JSONL: one record a line, each as it was received.

use std::io::Write;

use super::{output::Output, records::Scan};
use crate::error::Result;

/// Writes all records of `scan`; returns how many.
pub(super) fn write(scan: &Scan<'_>, out: &mut Output<'_>) -> Result<u64> {
    let mut count = 0;
    scan.each(|record| {
        count += 1;
        out.write_all(&record.line())?;
        Ok(out.write_all(b"\n")?)
    })?;
    Ok(count)
}
