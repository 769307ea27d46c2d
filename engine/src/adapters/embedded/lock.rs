//! One writer a data directory: an exclusive `flock` on the file `lock`. The kernel drops it when the process ends, in
//! whatever way, so that there is nothing to clean up after a crash.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::files;
use crate::error::{Error, ErrorKind, Result};

const FILE_NAME: &str = "lock";

/// Held as long as this process may write.
pub(super) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `data_dir` and leaves this process's id in it for the error of the next one.
    ///
    /// # Errors
    /// `Conflict` when another process has it.
    pub(super) fn acquire(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| files::at(error, &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(data_dir, &mut file)),
            Err(TryLockError::Error(error)) => return Err(files::at(error, &path)),
        }
        file.set_len(0)
            .and_then(|()| file.write_all(std::process::id().to_string().as_bytes()))
            .map_err(|error| files::at(error, &path))?;
        Ok(Self { _file: file })
    }
}

fn taken(data_dir: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    // Only for the message; an unreadable id is told as unknown.
    let _ = file.read_to_string(&mut owner);
    let owner = if owner.is_empty() { "unknown" } else { &owner };
    Error::new(
        ErrorKind::Conflict,
        "another process writes to this data directory; stop it first, or give this one another directory",
    )
    .with("data directory", data_dir.display())
    .with("process id", owner)
}
