//! The one SQLite database: one writer with group commit ([`super::commits`]), readers beside it.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi};
use tokio::sync::{Semaphore, oneshot};

use super::{
    OpenMode,
    commits::{Answer, Commits, Write},
    files,
    lock::DirectoryLock,
};
use crate::error::{Error, ErrorKind, Result};

/// Name of the database in the data directory.
pub(super) const FILE_NAME: &str = "listbackup.db";
/// Name of its write-ahead log, which SQLite gives.
const LOG_NAME: &str = "listbackup.db-wal";

/// Layout of the database; a newer one is refused.
const LAYOUT_VERSION: i64 = 1;
/// Concurrent readers, and their connections kept open.
const MAX_READERS: usize = 4;
/// How long a reading process waits for the short locks that SQLite takes at checkpoints and at opening.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The log of a burst is cut back to this size afterwards, in bytes.
const JOURNAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// Prepared statements kept per connection.
const STATEMENTS: usize = 256;

/// True when there is no database, or nothing in it: what was committed is in the file or in its log.
pub(super) fn is_lost(data_dir: &Path) -> bool {
    let is_empty = |name: &str| std::fs::metadata(data_dir.join(name)).map_or(true, |file| file.len() == 0);
    is_empty(FILE_NAME) && is_empty(LOG_NAME)
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub(super) struct Database(Arc<Inner>);

struct Inner {
    path: PathBuf,
    mode: OpenMode,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    /// Absent where nothing may be written. The last field: it holds the directory's lock, which goes after the connections above.
    commits: Option<Arc<Commits>>,
}

impl Database {
    /// Opens the database in the data directory; a writer makes it when there is none.
    ///
    /// # Errors
    /// `NotFound` when there is nothing to read, `Invalid` when it was written by a newer version, `Corrupt` when it
    /// is not a database.
    pub(super) fn open(path: &Path, mode: OpenMode, lock: Option<DirectoryLock>) -> Result<Self> {
        if mode == OpenMode::Read && !path.exists() {
            return Err(Error::new(ErrorKind::NotFound, "there is no ListBackup data here"));
        }
        let commits = match mode {
            OpenMode::Write => Some(Arc::new(open_writer(path, lock)?)),
            OpenMode::Read | OpenMode::ReadAndNote => None,
        };
        let inner = Inner {
            path: path.to_owned(),
            mode,
            readers: Mutex::default(),
            reading: Semaphore::new(MAX_READERS),
            commits,
        };
        let database = Self(Arc::new(inner));
        match database.look(layout)? {
            0 if mode == OpenMode::Read => Err(Error::new(ErrorKind::NotFound, "there is no ListBackup data here")),
            0..=LAYOUT_VERSION => Ok(database),
            newer => Err(Error::new(
                ErrorKind::Invalid,
                "the data was written by a newer version of this program; use that one",
            )
            .with("layout", newer)
            .with("known up to", LAYOUT_VERSION)),
        }
    }

    /// Prepares the database before the stores are used; blocks, and commits at once.
    pub(super) fn set_up(&self, work: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        if self.0.mode == OpenMode::Read {
            return Ok(());
        }
        self.commits()?.alone(|connection| {
            let transaction = connection.transaction().map_err(failed)?;
            work(&transaction)?;
            if layout(&transaction)? != LAYOUT_VERSION {
                transaction.pragma_update(None, "user_version", LAYOUT_VERSION).map_err(failed)?;
            }
            transaction.commit().map_err(failed)?;
            // What savepoints keep of pages, to undo a write alone, would go to a new file with all but the smallest transactions.
            connection.pragma_update(None, "temp_store", "memory").map_err(failed)
        })
    }

    fn commits(&self) -> Result<&Arc<Commits>> {
        self.0.mode.check_writable()?;
        self.0.commits.as_ref().ok_or_else(stopped)
    }

    /// Reads before the stores are used; blocks.
    pub(super) fn look<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.0.with_reader(work)
    }

    /// False in a directory opened for reading.
    pub(super) fn is_writable(&self) -> bool {
        self.0.mode == OpenMode::Write
    }

    /// Runs `work` in the next transaction. Its changes are durable when this returns `Ok`, and undone when it fails.
    ///
    /// # Errors
    /// Those of `work`; `Denied` in a directory opened for reading; `Exhausted` when the disk is full; `Retry` when
    /// the commit failed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.write_checked(|connection| Ok(in_savepoint(connection, work))).await
    }

    /// As [`Database::write`], for `work` that refuses before it changes anything, if at all: its inner error undoes nothing. What
    /// undoing needs costs more than most changes do.
    ///
    /// # Errors
    /// The inner ones of `work`, and those of [`Database::write`]. An outer one fails all writes of the transaction.
    pub(super) async fn write_checked<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let commits = self.commits()?;
        let (sender, answer) = oneshot::channel();
        let write: Write = Box::new(move |connection| {
            let (outcome, transaction) = match work(connection) {
                Ok(outcome) => (outcome, Ok(())),
                Err(error) => (Err(stopped()), Err(error)),
            };
            let answer: Answer = Box::new(move |lost| {
                // The caller may have given up; the write stands all the same.
                let _ = sender.send(match lost {
                    None => outcome,
                    Some(failure) => Err(Error::new(failure.kind, failure.message.clone())),
                });
            });
            (answer, transaction)
        });
        commits.add(write);
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs `work`, one statement that finds one row by its key, or few, on a connection that cannot write. It sees all that was
    /// committed before. It runs on the caller's thread: waking another one and coming back takes longer than the few microseconds that
    /// a row takes, even where a page of the file must come from the disk.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) fn glance<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.0.reader()?;
        let outcome = work(&connection);
        lock(&self.0.readers).push(connection);
        outcome
    }

    /// Runs `work` on a connection that cannot write, off the async threads. It sees all that was committed before.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _permit = self.0.reading.acquire().await.map_err(|_| stopped())?;
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || inner.with_reader(work)).await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Writes the database anew without what is free in it, and empties its log. Blocks.
    ///
    /// # Errors
    /// `Exhausted` without space for a copy; `Retry` while another process reads.
    pub(super) fn scrub(&self) -> Result<()> {
        let commits = self.commits()?;
        // A reader of this process would hold the log as well.
        lock(&self.0.readers).clear();
        let is_busy: i64 = commits.alone(|connection| {
            // Its copy is as large as the database.
            connection.pragma_update(None, "temp_store", "file").map_err(failed)?;
            let copied = connection.execute_batch("VACUUM").map_err(failed);
            connection.pragma_update(None, "temp_store", "memory").map_err(failed)?;
            copied?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)
        })?;
        if is_busy == 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Retry, "another process reads the database; end it and run this again"))
    }
}

impl Inner {
    fn reader(&self) -> Result<Connection> {
        let idle = lock(&self.readers).pop();
        idle.map_or_else(|| open_reader(&self.path), Ok)
    }

    fn with_reader<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let connection = self.reader()?;
        // One transaction, so that a closure of several statements sees one state.
        connection.execute_batch("BEGIN").map_err(failed)?;
        let outcome = work(&connection);
        connection.execute_batch("COMMIT").map_err(failed)?;
        lock(&self.readers).push(connection);
        outcome
    }
}

/// Runs `work` so that its failure undoes what it did, and nothing else of the transaction.
fn in_savepoint<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let run = |sql: &str| connection.prepare_cached(sql).and_then(|mut sql| sql.execute([])).map_err(failed);
    run("SAVEPOINT work")?;
    match work(connection) {
        Ok(value) => run("RELEASE work").map(|_| value),
        Err(error) => {
            // Gone already when the whole transaction was given up, which the leader notices.
            let _ = run("ROLLBACK TO work").and_then(|_| run("RELEASE work"));
            Err(error)
        }
    }
}

fn open_writer(path: &Path, lock: Option<DirectoryLock>) -> Result<Commits> {
    // SQLite would make it readable to others; its companions take over this file's mode.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| files::at(error, path))?;
    files::sync_dir(files::parent_of(path))?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    prepare(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal").map_err(failed)?;
    // Flushes where order matters, at checkpoints and when the log begins anew, and not at every commit: that is done here, beside the
    // next batch, and before anybody has an answer.
    connection.pragma_update(None, "synchronous", "normal").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES).map_err(failed)?;
    // The first look makes the log where there is none.
    layout(&connection)?;
    Commits::new(connection, &path.with_file_name(LOG_NAME), lock)
}

fn open_reader(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(failed)?;
    prepare(&connection)?;
    Ok(connection)
}

fn prepare(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A statement keeps its plan whatever is bound to it; otherwise some are compiled anew each time.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map_err(failed)?;
    Ok(())
}

/// The layout of the database; 0 while it was never set up.
fn layout(connection: &Connection) -> Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)
}

/// What a SQLite error means to a caller.
pub(super) fn failed(error: rusqlite::Error) -> Error {
    let (kind, message) = match error.sqlite_error_code() {
        Some(ffi::ErrorCode::DiskFull) => {
            (ErrorKind::Exhausted, "there is no space left for the database; free some on this disk and try again")
        }
        Some(ffi::ErrorCode::DatabaseCorrupt | ffi::ErrorCode::NotADatabase) => {
            (ErrorKind::Corrupt, "the database is damaged; restore it, or rebuild it from the snapshots")
        }
        Some(ffi::ErrorCode::ReadOnly | ffi::ErrorCode::PermissionDenied | ffi::ErrorCode::CannotOpen) => {
            (ErrorKind::Invalid, "the database cannot be opened or written; check its owner and mode")
        }
        Some(_) => (ErrorKind::Retry, "the database could not be reached"),
        None => (ErrorKind::Bug, "a statement and the database do not fit"),
    };
    Error::new(kind, message).with("reason", &error).caused_by(error)
}

pub(super) fn stopped() -> Error {
    Error::new(ErrorKind::Retry, "the database was closed while this was under way; its effect is unknown")
}

/// A poisoned lock guards plain queues and connections, whose state is checked anew each time.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
