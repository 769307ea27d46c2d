//! The records of a stream, for code that runs on a thread for blocking work: exports write to something that blocks, and
//! what they compute would hold up a server's other requests.

use futures::{Stream, TryStreamExt};
use tokio::runtime::Handle;

use super::output::Output;
use crate::{
    error::Result,
    snapshot::{Manifest, Record, SnapshotReader, StreamState},
};

/// Records taken from the stream at a time.
const CHUNK_RECORDS: usize = 512;
/// Or fewer, when they have so many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A stream of a snapshot that is read from the start as often as it takes.
pub(super) struct Scan<'a> {
    pub(super) reader: &'a SnapshotReader,
    pub(super) stream: &'a str,
    pub(super) state: &'a StreamState,
    pub(super) runtime: &'a Handle,
}

impl Scan<'_> {
    /// The snapshot.
    pub(super) fn manifest(&self) -> &Manifest {
        self.reader.manifest()
    }

    /// Calls `visit` with every record, in key order.
    ///
    /// # Errors
    /// `Corrupt` for damage, and those of `visit`.
    pub(super) fn each(&self, mut visit: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        self.chunks(|records| records.iter().try_for_each(&mut visit))
    }

    /// Calls `visit` with every record, in key order, and stops when the reader of `out` is gone: a first pass writes
    /// nothing by which that would show.
    ///
    /// # Errors
    /// Those of [`Scan::each`], and of flushing.
    pub(super) fn survey(&self, out: &mut Output<'_>, mut visit: impl FnMut(&Record) -> Result<()>) -> Result<()> {
        self.chunks(|records| {
            std::io::Write::flush(out)?;
            records.iter().try_for_each(&mut visit)
        })
    }

    fn chunks(&self, mut visit: impl FnMut(&[Record]) -> Result<()>) -> Result<()> {
        let mut scan = std::pin::pin!(self.reader.scan(self.stream)?);
        let mut chunk = Vec::with_capacity(CHUNK_RECORDS);
        loop {
            chunk.clear();
            self.runtime.block_on(fill(&mut scan, &mut chunk))?;
            if chunk.is_empty() {
                return Ok(());
            }
            visit(&chunk)?;
        }
    }
}

async fn fill(scan: &mut (impl Stream<Item = Result<Record>> + Unpin), chunk: &mut Vec<Record>) -> Result<()> {
    let mut bytes = 0;
    while chunk.len() < CHUNK_RECORDS
        && bytes < CHUNK_BYTES
        && let Some(record) = scan.try_next().await?
    {
        bytes += record.body.len();
        chunk.push(record);
    }
    Ok(())
}
