//! Locks: a file beside the objects for each, which holds the instant until which its object cannot be removed.

use std::{
    fs,
    io::ErrorKind as Io,
    path::{Path, PathBuf},
    sync::PoisonError,
};

use jiff::Timestamp;

use super::{Files, STAGING};
use crate::{
    adapters::embedded::files,
    error::{Error, ErrorKind, Result},
};

const LOCKS: &str = ".locks";

impl Files {
    /// Locks an object, or extends its lock. `staging_name` is that of a new file.
    pub(super) fn retain_until(&self, path: &str, staging_name: &str, until: Timestamp) -> Result<()> {
        let _alone = self.locking.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.root.join(path).is_file() {
            return Err(Error::new(ErrorKind::NotFound, "there is no such object to lock").with("path", path));
        }
        if self.retained_until(path)?.is_some_and(|locked| locked >= until) {
            return Ok(());
        }
        let (staged, lock) = (self.root.join(STAGING).join(staging_name), self.lock_of(path));
        self.make_durable_dir(files::parent_of(&lock))?;
        files::write_new(&staged, until.to_string().as_bytes())?;
        // In one step: a crash leaves the lock that was there, or the new one.
        fs::rename(&staged, &lock).map_err(|error| files::at(error, &lock))?;
        files::sync_dir(files::parent_of(&lock))
    }

    /// Until when an object is locked.
    pub(super) fn retained_until(&self, path: &str) -> Result<Option<Timestamp>> {
        let lock = self.lock_of(path);
        let text = match fs::read_to_string(&lock) {
            Ok(text) => text,
            Err(error) if error.kind() == Io::NotFound => return Ok(None),
            Err(error) => return Err(files::at(error, &lock)),
        };
        text.parse().map(Some).map_err(|error| {
            Error::new(ErrorKind::Corrupt, format!("a lock does not hold an instant: {error}"))
                .with("path", lock.display())
        })
    }

    /// Removes an object that is not locked at `now_ms`, and what is left of its lock.
    pub(super) fn delete(&self, path: &str, now_ms: i64) -> Result<()> {
        let _alone = self.locking.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = self.retained_until(path)?;
        if let Some(until) = lock.filter(|until| until.as_millisecond() > now_ms) {
            let message = format!("the object is locked until {until:.0}; nobody can remove it before");
            return Err(Error::new(ErrorKind::Denied, message).with("path", path));
        }
        let target = self.root.join(path);
        remove(&target)?;
        // The lock goes last: a crash in between leaves one that has run out.
        if lock.is_some() { remove(&self.lock_of(path)) } else { Ok(()) }
    }

    fn lock_of(&self, path: &str) -> PathBuf {
        self.root.join(LOCKS).join(path)
    }
}

fn remove(target: &Path) -> Result<()> {
    match fs::remove_file(target) {
        Ok(()) => files::sync_dir(files::parent_of(target)),
        Err(error) if error.kind() == Io::NotFound => Ok(()),
        Err(error) => Err(files::at(error, target)),
    }
}
