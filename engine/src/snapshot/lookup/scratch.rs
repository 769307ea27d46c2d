//! A file for what does not fit into the memory of a run: appended to, read at positions, gone with its owner. It has no
//! name in any directory, so that nothing of it outlives the process.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// A scratch file; made when first written to.
pub(crate) struct Scratch {
    /// Directory; the system's own for temporary files when `None`.
    dir: Option<PathBuf>,
    file: Option<File>,
    len: u64,
}

impl Scratch {
    /// In a directory.
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, file: None, len: 0 }
    }

    /// How many bytes it holds.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends bytes and tells where they start.
    ///
    /// # Errors
    /// `Exhausted` when the file cannot grow.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64> {
        let start = self.len;
        self.file()?.write_all_at(bytes, start).map_err(no_room)?;
        self.len += bytes.len() as u64;
        Ok(start)
    }

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// `Exhausted` when the file cannot be read.
    pub(crate) fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(bytes, offset).map_err(no_room),
            None if bytes.is_empty() => Ok(()),
            None => Err(Error::new(ErrorKind::Bug, "a scratch file was read before it was written")),
        }
    }

    /// What a failing disk does.
    #[cfg(test)]
    pub(crate) fn overwrite(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.file()?.write_all_at(bytes, offset).map_err(no_room)
    }

    fn file(&mut self) -> Result<&File> {
        let file = match (self.file.take(), &self.dir) {
            (Some(file), _) => file,
            (None, Some(dir)) => tempfile::tempfile_in(dir).map_err(no_room)?,
            (None, None) => tempfile::tempfile().map_err(no_room)?,
        };
        Ok(self.file.insert(file))
    }
}

fn no_room(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Exhausted, format!("the scratch file cannot be used: {error}")).caused_by(error)
}
