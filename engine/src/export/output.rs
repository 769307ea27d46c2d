//! Where an export goes: it counts, gathers small writes, and keeps the first error as it was, since the writers of
//! archives and Parquet wrap errors beyond recognition.

use std::io::{self, Write};

use crate::error::{Error, ErrorKind};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 18;

/// An export's output.
pub(super) struct Output<'a> {
    inner: &'a mut (dyn Write + Send),
    buffer: Vec<u8>,
    bytes: u64,
    failure: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// To `inner`.
    pub(super) fn new(inner: &'a mut (dyn Write + Send)) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER_BYTES), bytes: 0, failure: None }
    }

    /// Bytes written so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why a writer on top of it failed: an error of this output, or else one of the writer's own.
    pub(super) fn explain(&mut self, error: impl std::error::Error + Send + Sync + 'static) -> Error {
        match self.failure.take() {
            Some(failure) => failure.into(),
            None => Error::new(ErrorKind::Bug, format!("the export could not be written: {error}")).caused_by(error),
        }
    }

    fn kept<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let told = io::Error::new(error.kind(), error.to_string());
            self.failure.get_or_insert(error);
            told
        })
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            let written = self.inner.write_all(&self.buffer);
            self.kept(written)?;
            self.buffer.clear();
        }
        if bytes.len() >= BUFFER_BYTES {
            let written = self.inner.write_all(bytes);
            self.kept(written)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.inner.write_all(&self.buffer).and_then(|()| self.inner.flush());
        self.kept(written)?;
        self.buffer.clear();
        Ok(())
    }
}
