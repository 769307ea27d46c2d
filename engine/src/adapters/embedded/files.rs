//! Files and directories that are durable when a call returns, and private to the user of the process.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    ops::Range,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use crate::error::{Error, ErrorKind, Result};

/// Permission bits of the group and of everybody else.
const OTHERS: u32 = 0o077;

/// Makes `path` and what is above it unless they are there, closed to other users, and durable.
///
/// # Errors
/// `Invalid` when it cannot be made.
pub(super) fn private_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = parent_of(path);
    private_dir(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(at(error, path)),
        // Also when another thread made it this moment: it may not have flushed the name yet.
        _ => sync_dir(parent),
    }
}

/// A new file with `bytes`, flushed; closed to other users. Nothing is left behind when it fails.
///
/// # Errors
/// `Exhausted` when there is no space left, `Conflict` when the file is there already.
pub(super) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| {
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            return Error::new(ErrorKind::Conflict, "the file is there already").with("path", path.display());
        }
        // The space of a half-written file is what the next write needs; a failure to remove it changes nothing.
        let _ = fs::remove_file(path);
        at(error, path)
    })
}

/// Flushes a directory, so that names made or removed in it stay so.
pub(super) fn sync_dir(path: &Path) -> Result<()> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|error| at(error, path))
}

/// The directory that holds `path`; the current one for a bare name.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// # Errors
/// `Invalid`, with the command that repairs it, when group or others have any right on `path`.
pub(super) fn refuse_open_to_others(path: &Path, wanted_mode: &'static str) -> Result<()> {
    let mode = fs::metadata(path).map_err(|error| at(error, path))?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("other users can reach it; make it private with: chmod {wanted_mode} {}", path.display()),
    )
    .with("path", path.display())
    .with("mode", format!("{:o}", mode & 0o7777)))
}

/// An error of the operating system with the path it is about, and what to do where that is known.
pub(super) fn at(error: std::io::Error, path: &Path) -> Error {
    let error = Error::from(error);
    let error = match error.kind() {
        ErrorKind::Exhausted => {
            Error::new(ErrorKind::Exhausted, "there is no space left; free some on this disk and try again")
                .caused_by(error)
        }
        _ => error,
    };
    error.with("path", path.display())
}

/// Bytes of a file; `None` when it ends before them.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_range(file: &Path, range: &Range<u64>) -> std::io::Result<Option<Vec<u8>>> {
    let file = File::open(file)?;
    let size_bytes = file.metadata()?.len();
    let len = range.end.checked_sub(range.start).filter(|_| range.end <= size_bytes);
    let Some(len) = len.and_then(|len| usize::try_from(len).ok()) else { return Ok(None) };
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(Some(bytes))
}
