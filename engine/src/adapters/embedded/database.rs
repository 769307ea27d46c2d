//! The one SQLite database: one writer with group commit, readers beside it.
//!
//! A write is a closure over the connection. Whoever finds no writer at work becomes its leader on a blocking thread:
//! it takes all closures that wait, runs each in a savepoint of its own within one transaction, commits once, and only
//! then answers them all; meanwhile the next ones gather. So many concurrent writes share one flush of the disk, each
//! keeps its own all-or-nothing, and an answer means durable. A closure that fails undoes itself alone.
//!
//! The leader runs on tokio's blocking pool, not on a thread of its own, because tokio's paused clock stands still
//! while a blocking task works: simulated time does not run ahead of the disk.

use std::{
    fs::OpenOptions,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig, ffi};
use tokio::sync::{Semaphore, oneshot};

use super::{OpenMode, batches::Batches, files, lock::DirectoryLock};
use crate::error::{Error, ErrorKind, Result};

/// Name of the database in the data directory.
pub(super) const FILE_NAME: &str = "listbackup.db";

/// Layout of the database; a newer one is refused.
const LAYOUT_VERSION: i64 = 1;
/// At most this many writes share a transaction, so that the first of them need not wait for ever.
const MAX_BATCH: usize = 512;
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
    is_empty(FILE_NAME) && is_empty(&format!("{FILE_NAME}-wal"))
}

/// A handle on the database; clones share it.
#[derive(Clone)]
pub(super) struct Database(Arc<Inner>);

struct Inner {
    path: PathBuf,
    mode: OpenMode,
    writer: Mutex<Option<Connection>>,
    waiting: Batches<Write>,
    readers: Mutex<Vec<Connection>>,
    reading: Semaphore,
    /// Released when the last handle goes, after the connections above.
    _lock: Option<DirectoryLock>,
}

/// Runs a write; what it returns answers the caller once it is known whether the transaction was committed. With an error the whole
/// transaction is lost.
type Write = Box<dyn FnOnce(&Connection) -> (Answer, Result<()>) + Send>;
type Answer = Box<dyn FnOnce(Option<&CommitFailure>) + Send>;

/// Why a transaction was lost, in a form that every caller of the batch gets a copy of.
struct CommitFailure {
    kind: ErrorKind,
    message: String,
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
        let writer = match mode {
            OpenMode::Write => Some(open_writer(path)?),
            OpenMode::Read | OpenMode::ReadAndNote => None,
        };
        let inner = Inner {
            path: path.to_owned(),
            mode,
            writer: Mutex::new(writer),
            waiting: Batches::new(),
            readers: Mutex::default(),
            reading: Semaphore::new(MAX_READERS),
            _lock: lock,
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
        let mut writer = lock(&self.0.writer);
        let connection = writer.as_mut().ok_or_else(stopped)?;
        let transaction = connection.transaction().map_err(failed)?;
        work(&transaction)?;
        if layout(&transaction)? != LAYOUT_VERSION {
            transaction.pragma_update(None, "user_version", LAYOUT_VERSION).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        // What savepoints keep of pages, to undo a write alone, would go to a new file with all but the smallest transactions.
        connection.pragma_update(None, "temp_store", "memory").map_err(failed)
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
        self.0.mode.check_writable()?;
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
        self.enqueue(write);
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Runs `work`, one statement that finds one row by its key, on a connection that cannot write. It sees all that was committed
    /// before. It runs on the caller's thread: waking another one and coming back takes longer than the few microseconds that
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
        self.0.mode.check_writable()?;
        // A reader of this process would hold the log as well.
        lock(&self.0.readers).clear();
        let mut writer = lock(&self.0.writer);
        let connection = writer.as_mut().ok_or_else(stopped)?;
        // Its copy is as large as the database.
        connection.pragma_update(None, "temp_store", "file").map_err(failed)?;
        let copied = connection.execute_batch("VACUUM").map_err(failed);
        connection.pragma_update(None, "temp_store", "memory").map_err(failed)?;
        copied?;
        let is_busy: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
        if is_busy == 0 {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Retry, "another process reads the database; end it and run this again"))
    }

    fn enqueue(&self, write: Write) {
        if self.0.waiting.push(write) {
            // A runtime that is shutting down drops the leader right here.
            let leader = Leader(Some(self.0.clone()));
            tokio::task::spawn_blocking(move || leader.run());
        }
    }
}

/// Whoever holds this runs all writes. Dropped early (its runtime ends, or a write panics), it fails those that wait, so that
/// nobody waits for ever and the next write finds a new leader.
struct Leader(Option<Arc<Inner>>);

impl Leader {
    fn run(mut self) {
        while let Some(inner) = &self.0 {
            let answers = inner.commit_batch(inner.waiting.take(MAX_BATCH));
            if inner.waiting.lead_on() {
                answers();
                continue;
            }
            // The handle goes before the answers: a caller that drops the last other one finds the directory unlocked.
            self.0 = None;
            answers();
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(inner) = &self.0 {
            inner.waiting.abandon();
        }
    }
}

impl Inner {
    /// Runs and commits a batch; the result answers its callers.
    fn commit_batch(&self, batch: Vec<Write>) -> impl FnOnce() + use<> {
        let mut answers = Vec::with_capacity(batch.len());
        let failure = self
            .run_batch(batch, &mut answers)
            .err()
            .map(|error| CommitFailure { kind: error.kind(), message: error.to_string() });
        move || answers.into_iter().for_each(|answer| answer(failure.as_ref()))
    }

    fn run_batch(&self, batch: Vec<Write>, answers: &mut Vec<Answer>) -> Result<()> {
        let mut writer = lock(&self.writer);
        let connection = writer.as_mut().ok_or_else(stopped)?;
        let transaction = connection.transaction().map_err(failed)?;
        for write in batch {
            let (answer, outcome) = write(&transaction);
            answers.push(answer);
            outcome?;
            // A full disk can end the whole transaction: then nothing of the batch is left to commit.
            if transaction.is_autocommit() {
                return Err(Error::new(
                    ErrorKind::Exhausted,
                    "the database gave up a transaction, most likely for want of space; free some and try again",
                ));
            }
        }
        transaction.commit().map_err(failed)
    }

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

fn open_writer(path: &Path) -> Result<Connection> {
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
    // Not NORMAL: in WAL mode that would flush at checkpoints only, and a power cut could take back commits that were
    // answered. FULL flushes the log at every commit; group commit makes that affordable.
    connection.pragma_update(None, "synchronous", "full").map_err(failed)?;
    connection.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES).map_err(failed)?;
    Ok(connection)
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

fn stopped() -> Error {
    Error::new(ErrorKind::Retry, "the database was closed while this was under way; its effect is unknown")
}

/// A poisoned lock guards plain queues and connections, whose state is checked anew each time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
