//! Group commit: many concurrent writes share one transaction and one flush of the disk.
//!
//! A write is a closure over the connection. Whoever finds no writer at work becomes its leader on a blocking thread:
//! it runs all closures that wait, and those that come while the batch before is flushed, within one transaction, and commits it.
//! The flush of the log then goes on beside the next batch, on another thread where somebody waits already, and only when it is
//! done all are answered. So each write keeps its own all-or-nothing, and an answer means durable. A closure that fails undoes
//! itself alone.
//!
//! What is committed can be read a moment before it is durable. Whatever is written for that reason comes after it in the log, and is
//! durable only if it is.
//!
//! Both run on tokio's blocking pool, not on threads of their own, because tokio's paused clock stands still
//! while a blocking task works: simulated time does not run ahead of the disk.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use rusqlite::Connection;

use super::{
    batches::Batches,
    database::{failed, lock},
    files,
    lock::DirectoryLock,
};
use crate::error::{Error, ErrorKind, Result};

/// At most this many writes share a transaction, so that the first of them need not wait for ever.
const MAX_BATCH: usize = 512;

/// Runs a write; what it returns answers the caller once it is known whether the transaction is durable. With an error the whole
/// transaction is lost.
pub(super) type Write = Box<dyn FnOnce(&Connection) -> (Answer, Result<()>) + Send>;
/// Tells the caller, with why the transaction was lost if it was.
pub(super) type Answer = Box<dyn FnOnce(Option<&CommitFailure>) + Send>;

/// Why a transaction was lost, in a form that every caller of the batch gets a copy of.
#[derive(Clone)]
pub(super) struct CommitFailure {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

/// The one writer of a database.
pub(super) struct Commits {
    connection: Mutex<Connection>,
    /// The write-ahead log by a handle of its own: flushing it makes durable what SQLite wrote there.
    log: File,
    waiting: Batches<Write>,
    /// Set when a flush failed: what of the log is on the disk then, nobody can know before the next start.
    broken: OnceLock<CommitFailure>,
    /// Released with the last write, after the connection.
    _lock: Option<DirectoryLock>,
}

impl Commits {
    /// The writer of a connection, which does not flush by itself, and of its log.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn new(connection: Connection, log: &Path, lock: Option<DirectoryLock>) -> Result<Self> {
        let connection = Mutex::new(connection);
        let file = File::open(log).map_err(|error| files::at(error, log))?;
        // The log's name must be as durable as what is in it.
        files::sync_dir(files::parent_of(log))?;
        Ok(Self { connection, log: file, waiting: Batches::new(), broken: OnceLock::new(), _lock: lock })
    }

    /// Has `write` run with the next batch.
    pub(super) fn add(self: &Arc<Self>, write: Write) {
        if self.waiting.push(write) {
            // A runtime that is shutting down drops the leader right here.
            let leader = Leader(Some(self.clone()));
            tokio::task::spawn_blocking(move || leader.run());
        }
    }

    /// Runs `work` on the connection between two batches, and makes durable what it did. Blocks.
    ///
    /// # Errors
    /// Those of `work`; `Retry` when the flush failed.
    pub(super) fn alone<T>(&self, work: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let outcome = work(&mut lock(&self.connection))?;
        self.flush().map_err(|failure| Error::new(failure.kind, failure.message))?;
        Ok(outcome)
    }

    fn commit_batch(&self) -> Batch {
        let mut answers = Vec::new();
        let failure = self.run_batch(&mut answers).err();
        let failure = failure.map(|error| CommitFailure { kind: error.kind(), message: error.to_string() });
        Batch { answers, failure }
    }

    fn run_batch(&self, answers: &mut Vec<Answer>) -> Result<()> {
        let mut connection = lock(&self.connection);
        let transaction = connection.transaction().map_err(failed)?;
        loop {
            for write in self.waiting.take(MAX_BATCH - answers.len()) {
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
            if !self.waiting.has_more(answers.len() < MAX_BATCH) {
                break;
            }
        }
        if let Some(failure) = self.broken.get() {
            return Err(Error::new(failure.kind, failure.message.clone()));
        }
        transaction.commit().map_err(failed)
    }

    fn flush(&self) -> std::result::Result<(), CommitFailure> {
        self.log.sync_data().map_err(|error| {
            let message = format!(
                "the disk did not keep what was written to the database, and its effect is unknown; nothing more is written until \
                 the next start: look at the disk, then start the program again ({error})"
            );
            self.broken.get_or_init(|| CommitFailure { kind: ErrorKind::Retry, message }).clone()
        })
    }
}

/// Writes of one transaction.
#[derive(Default)]
struct Batch {
    answers: Vec<Answer>,
    /// Why it was not committed.
    failure: Option<CommitFailure>,
}

impl Batch {
    fn answer(self, flushed: std::result::Result<(), CommitFailure>) {
        let failure = self.failure.or(flushed.err());
        self.answers.into_iter().for_each(|answer| answer(failure.as_ref()));
    }
}

/// Whoever holds this runs all writes. Dropped early (its runtime ends, or a write panics), it fails those that wait, so that
/// nobody waits for ever and the next write finds a new leader.
struct Leader(Option<Arc<Commits>>);

impl Leader {
    fn run(mut self) {
        while let Some(commits) = &self.0 {
            let batch = commits.commit_batch();
            let is_committed = batch.failure.is_none();
            if is_committed && commits.waiting.flush_begins() {
                let flush = Flush { commits: Some(commits.clone()), batch };
                tokio::task::spawn_blocking(move || drop(flush));
                continue;
            }
            // Nobody waits: waking another thread for the flush would only take longer.
            let mut flushed = Ok(());
            if is_committed {
                flushed = commits.flush();
                commits.waiting.flush_ended();
            }
            // The handle goes before the answers: a caller that drops the last other one finds the directory unlocked.
            if !commits.waiting.lead_on() {
                self.0 = None;
            }
            batch.answer(flushed);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if let Some(commits) = &self.0 {
            commits.waiting.abandon();
        }
    }
}

/// A batch on its way to the disk: it comes there when this is dropped, also by a runtime that ends.
struct Flush {
    commits: Option<Arc<Commits>>,
    batch: Batch,
}

impl Drop for Flush {
    fn drop(&mut self) {
        let Some(commits) = self.commits.take() else { return };
        let flushed = commits.flush();
        commits.waiting.flush_ended();
        // The handle goes before the answers, as with the leader's.
        drop(commits);
        std::mem::take(&mut self.batch).answer(flushed);
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use rusqlite::Connection;
    use tokio::sync::oneshot::{self, error::RecvError};

    use super::{Answer, Commits, lock};
    use crate::error::ErrorKind;

    /// Writes a number; why it was lost, if it was. An error when nobody answers.
    async fn write(commits: &Arc<Commits>, number: i64) -> Result<Option<(ErrorKind, String)>, RecvError> {
        let (tell, told) = oneshot::channel();
        commits.add(Box::new(move |connection| {
            connection.execute("INSERT INTO numbers VALUES (?1)", [number]).expect("a row");
            let answer: Answer = Box::new(move |lost| {
                // A caller whose runtime ended is gone.
                let _ = tell.send(lost.map(|failure| (failure.kind, failure.message.clone())));
            });
            (answer, Ok(()))
        }));
        told.await
    }

    fn written(commits: &Commits) -> i64 {
        let connection = lock(&commits.connection);
        connection.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).expect("a number")
    }

    fn commits(log: &Path) -> Arc<Commits> {
        let connection = Connection::open_in_memory().expect("a database");
        connection.execute_batch("CREATE TABLE numbers (number INTEGER)").expect("a table");
        Arc::new(Commits::new(connection, log, None).expect("a log"))
    }

    #[tokio::test]
    async fn what_the_disk_did_not_keep_is_refused_and_so_is_all_after_it() {
        // There is nothing to flush there, and Linux says so.
        let commits = commits(Path::new("/dev/null"));
        for number in 0..3 {
            let (kind, message) = write(&commits, number).await.expect("an answer").expect("a refusal");
            assert_eq!(kind, ErrorKind::Retry);
            assert!(message.contains("the disk did not keep") && message.contains("look at the disk"), "{message}");
        }
        assert_eq!(written(&commits), 1, "nothing is committed after the first");
    }

    #[test]
    fn a_runtime_that_ends_among_its_writes_keeps_none_of_the_next_one_waiting() {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let commits = commits(log.path());
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("a runtime");
        for round in 1..=20 {
            let ending = runtime();
            for number in 0..50 {
                let commits = commits.clone();
                ending.spawn(async move { write(&commits, number).await });
            }
            ending.shutdown_background();
            let before = written(&commits);
            let next = runtime();
            // Its leader may be one of the runtime that ended, and give up what waits with it: nobody waits for ever.
            while next.block_on(write(&commits, -1)).is_err() {}
            assert!(written(&commits) > before, "round {round}");
        }
    }
}
