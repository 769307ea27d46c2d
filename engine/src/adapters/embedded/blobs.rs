//! Objects as files below `objects/`: the blobs port.
//!
//! An object is written to a file in `objects/.staging/`, flushed, and only then given its name by `link(2)`, which has
//! exactly one winner and never replaces anything. So a reader finds all of an object or none, after a crash too;
//! what an interrupted write left in the staging directory is swept at the next start.
//!
//! A lock is a file of the object's path below `objects/.locks/`, which holds the instant until which the object cannot be
//! removed; it comes with the directory wherever that is copied to.

mod announcements;
mod listing;
mod locks;

use std::{
    collections::HashSet,
    fs,
    io::ErrorKind as Io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{OpenMode, database::Database, files, queue::EmbeddedQueue};
use crate::{
    adapters::blob_path,
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{BlobEntry, Blobs, PutOutcome, Random},
};

pub(super) use self::{
    announcements::set_up,
    listing::{accounts, has_accounts, list},
};

pub(super) const DIRECTORY: &str = "objects";
const STAGING: &str = ".staging";
/// Ending of the objects that are told to the data queue.
const ANNOUNCED: &str = ".snap";
/// Directories known to be durable that are remembered, to spare flushing their parents again.
const MAX_REMEMBERED: usize = 10_000;

/// The objects of one data directory; clones share them.
#[derive(Clone)]
pub(super) struct Directory {
    files: Arc<Files>,
    mode: OpenMode,
    database: Database,
    queue: EmbeddedQueue,
    random: Arc<dyn Random>,
}

/// The part that works on files, off the async threads.
struct Files {
    root: PathBuf,
    durable_dirs: Mutex<HashSet<PathBuf>>,
    /// Held while a lock is compared and written, and while an object is removed.
    locking: Mutex<()>,
}

impl Directory {
    /// Opens the objects of `data_dir`; a writer also sweeps what was left unfinished, and announces the snapshots that
    /// became durable just before a crash.
    pub(super) fn open(
        data_dir: &Path,
        mode: OpenMode,
        database: Database,
        queue: EmbeddedQueue,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let files = Arc::new(Files {
            root: data_dir.join(DIRECTORY),
            durable_dirs: Mutex::default(),
            locking: Mutex::default(),
        });
        if mode != OpenMode::Read {
            files::private_dir(&files.root.join(STAGING))?;
        }
        if mode == OpenMode::Write {
            files.sweep()?;
            database.set_up(|connection| announcements::settle(connection, &files.root, queue.now_ms()))?;
        }
        Ok(Self { files, mode, database, queue, random })
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Files) -> Result<T> + Send + 'static) -> Result<T> {
        let files = self.files.clone();
        tokio::task::spawn_blocking(move || work(&files)).await.unwrap_or_else(|error| Err(interrupted(error)))
    }

    fn staging_name(&self) -> String {
        let mut name = [0; 16];
        self.random.fill(&mut name);
        format!("{:032x}", u128::from_le_bytes(name))
    }

    async fn publish(&self, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        let (path, name) = (path.to_owned(), self.staging_name());
        self.run(move |files| files.publish(&path, &name, &bytes)).await
    }

    async fn publish_announced(&self, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        // An intent first: if the process dies once the object has its name, the next start sends the message.
        let intent = announcements::intend(&self.database, path, bytes.len() as u64).await?;
        let outcome = self.publish(path, bytes).await?;
        match outcome {
            PutOutcome::Created => announcements::announce(&self.database, &self.queue, intent).await?,
            // Whoever made the object announces it.
            PutOutcome::Exists => announcements::forget(&self.database, intent).await?,
        }
        Ok(outcome)
    }
}

#[async_trait]
impl Blobs for Directory {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.mode.check_object(path)?;
        blob_path::check(scope, path)?;
        if !path.ends_with(ANNOUNCED) {
            return self.publish(path, bytes).await;
        }
        // As a task of its own: a caller that goes away must not part the object from its message.
        let (directory, path) = (self.clone(), path.to_owned());
        tokio::spawn(async move { directory.publish_announced(&path, bytes).await })
            .await
            .unwrap_or_else(|error| Err(interrupted(error)))
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        let path = path.to_owned();
        self.run(move |files| {
            fs::read(files.root.join(&path)).map(Bytes::from).map_err(|error| unreadable(error, &path))
        })
        .await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        let path = path.to_owned();
        self.run(move |files| files.get_range(&path, range)).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        blob_path::check(scope, path)?;
        // On the caller's thread: what the kernel answers at once is not worth waking another one.
        match fs::metadata(self.files.root.join(path)) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(unreadable(error, path)),
        }
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        blob_path::check_prefix(scope, prefix)?;
        let (prefix, after) = (prefix.to_owned(), after.unwrap_or_default().to_owned());
        self.run(move |files| listing::list(&files.root, &prefix, &after, max)).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.mode.check_writable()?;
        blob_path::check(scope, path)?;
        let (path, name) = (path.to_owned(), self.staging_name());
        self.run(move |files| files.retain_until(&path, &name, until)).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        blob_path::check(scope, path)?;
        let path = path.to_owned();
        self.run(move |files| files.retained_until(&path)).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.mode.check_object(path)?;
        blob_path::check(scope, path)?;
        let (path, now_ms) = (path.to_owned(), self.queue.now_ms());
        self.run(move |files| files.delete(&path, now_ms)).await
    }
}

impl Files {
    /// Removes what interrupted writes left; nobody else writes here now.
    fn sweep(&self) -> Result<()> {
        let staging = self.root.join(STAGING);
        for entry in fs::read_dir(&staging).map_err(|error| files::at(error, &staging))? {
            let path = entry.map_err(|error| files::at(error, &staging))?.path();
            fs::remove_file(&path).map_err(|error| files::at(error, &path))?;
        }
        Ok(())
    }

    fn publish(&self, path: &str, staging_name: &str, bytes: &[u8]) -> Result<PutOutcome> {
        let target = self.root.join(path);
        if target.try_exists().map_err(|error| files::at(error, &target))? {
            return self.seal(&target, PutOutcome::Exists);
        }
        let staged = self.root.join(STAGING).join(staging_name);
        files::write_new(&staged, bytes)?;
        let linked =
            self.make_durable_dir(files::parent_of(&target)).and_then(|()| match fs::hard_link(&staged, &target) {
                Ok(()) => Ok(PutOutcome::Created),
                Err(error) if error.kind() == Io::AlreadyExists => Ok(PutOutcome::Exists),
                Err(error) => Err(files::at(error, &target)),
            });
        // A leftover only takes space until the next start.
        let _ = fs::remove_file(&staged);
        self.seal(&target, linked?)
    }

    /// Makes the name durable. Also for one who lost the race: the winner may not have got that far, yet the loser
    /// goes on as if the object were safe.
    fn seal(&self, target: &Path, outcome: PutOutcome) -> Result<PutOutcome> {
        files::sync_dir(files::parent_of(target)).map(|()| outcome)
    }

    /// Makes a directory and all above it, and flushes each name, whoever made it: another thread may have made one
    /// without having flushed it yet.
    fn make_durable_dir(&self, dir: &Path) -> Result<()> {
        if dir == self.root || self.is_durable(dir) {
            return Ok(());
        }
        let parent = files::parent_of(dir);
        self.make_durable_dir(parent)?;
        files::private_dir(dir)?;
        files::sync_dir(parent)?;
        let mut known = self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(dir.to_owned());
        Ok(())
    }

    fn is_durable(&self, dir: &Path) -> bool {
        self.durable_dirs.lock().unwrap_or_else(PoisonError::into_inner).contains(dir)
    }

    fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes> {
        let past_end = || {
            Error::new(ErrorKind::Corrupt, "the object ends before the range that was asked for")
                .with("path", path)
                .with("range", format!("{}..{}", range.start, range.end))
        };
        let read = files::read_range(&self.root.join(path), &range).map_err(|error| unreadable(error, path))?;
        read.map(Bytes::from).ok_or_else(past_end)
    }
}

fn interrupted(error: tokio::task::JoinError) -> Error {
    Error::new(ErrorKind::Retry, "the file operation was interrupted; its effect is unknown").caused_by(error)
}

fn unreadable(error: std::io::Error, path: &str) -> Error {
    if error.kind() == Io::NotFound {
        return Error::new(ErrorKind::NotFound, "there is no such object").with("path", path);
    }
    Error::from(error).with("path", path)
}
