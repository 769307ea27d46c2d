//! One process, one data directory: SQLite for rows and messages, files for objects.
//!
//! ```text
//! <data dir>/            0700
//!   lock                 exclusive for the one writer, holds its process id
//!   master.key           32 random bytes, 0600; wraps every data key
//!   listbackup.db        rows, messages, sign-in state (SQLite, WAL)
//!   objects/accounts/…   objects, one file each, never overwritten
//!   objects/.locks/…     until when an object is locked, one file each
//!   mail/                letters, one .eml file each
//! ```
//!
//! It survives `kill -9` at any instant and a full disk: rows and messages are in one database whose every commit is
//! flushed, and an object appears at its path only when all of its bytes are on the disk.

mod batches;
mod blobs;
mod commits;
mod database;
mod events;
mod files;
mod identity;
mod keys;
mod lock;
mod loose;
mod mail;
mod queue;
mod rewrap;
mod system;
mod tables;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

pub use identity::SigningRotation;
pub use keys::make_key_file;
pub use loose::{LooseObjects, key_file};
pub use rewrap::NewMasterKey;
pub use system::{SystemClock, SystemRandom};

use crate::{
    error::{Error, ErrorKind, Result},
    model::AccountId,
    ports::{Blobs, Clock, Keys, Mail, Ports, Random},
};

/// What a process wants with a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Everything; at most one process at a time.
    Write,
    /// Looking only, beside a running writer or without one. Writes are `Denied`.
    Read,
    /// As `Read`, and may also keep what becomes of looking: how far verifications came, and reports of drills. These are objects of
    /// their own that no writer of the directory touches, made by a rename like all others, so several processes may.
    ReadAndNote,
}

impl OpenMode {
    /// The same for everything but objects.
    fn of_rows(self) -> Self {
        if self == Self::ReadAndNote { Self::Read } else { self }
    }

    /// Ends a write of the object at `path` where that may not be written.
    fn check_object(self, path: &str) -> Result<()> {
        let is_note = path.ends_with(".verification") || path.ends_with(".drill");
        if self == Self::ReadAndNote && is_note { Ok(()) } else { self.check_writable() }
    }

    /// Ends a write in a directory that was opened for reading.
    fn check_writable(self) -> Result<()> {
        match self {
            Self::Write => Ok(()),
            Self::Read | Self::ReadAndNote => {
                Err(Error::new(ErrorKind::Denied, "the data directory was opened for reading; nothing can be changed"))
            }
        }
    }
}

/// The embedded stores of one data directory. The directory stays locked until this value, and all ports taken from
/// it, are gone.
pub struct EmbeddedStores {
    ports: Ports,
    identity: Arc<identity::EmbeddedIdentity>,
    database: database::Database,
    data_dir: PathBuf,
}

impl EmbeddedStores {
    /// Opens `data_dir` with the system's clock and randomness; a writer makes it when there is none.
    ///
    /// # Errors
    /// `Conflict` when another process writes there (it names that process), `NotFound` when there is nothing to read,
    /// `Invalid` when the directory or the master key is open to others, `Corrupt` when the master key is damaged, or it or the
    /// database is missing from a used directory, `Exhausted` when the disk is full.
    pub fn open(data_dir: impl AsRef<Path>, mode: OpenMode) -> Result<Self> {
        Self::open_with(data_dir, mode, Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    /// Opens `data_dir` with the given clock and randomness.
    ///
    /// # Errors
    /// Those of [`EmbeddedStores::open`].
    pub fn open_with(
        data_dir: impl AsRef<Path>,
        mode: OpenMode,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let data_dir = data_dir.as_ref();
        if database::is_lost(data_dir) && blobs::has_accounts(data_dir)? {
            let message = "the database is missing although there are objects; put its copy back, or make it anew from the \
                           objects: listbackup rebuild";
            return Err(Error::new(ErrorKind::Corrupt, message).with("data directory", data_dir.display()));
        }
        Self::open_any(data_dir, mode, clock, random)
    }

    /// Opens `data_dir` as [`EmbeddedStores::open`] does, with letters sent by `mail` in the place of written to the folder.
    ///
    /// # Errors
    /// Those of [`EmbeddedStores::open`].
    pub fn open_sending(data_dir: impl AsRef<Path>, mode: OpenMode, mail: Arc<dyn Mail>) -> Result<Self> {
        let stores = Self::open(data_dir, mode)?;
        stores.sending(mail)
    }

    fn sending(mut self, mail: Arc<dyn Mail>) -> Result<Self> {
        let Ports { keys, clock, random, .. } = self.ports.clone();
        let identity = identity::EmbeddedIdentity::open(self.database.clone(), keys, mail.clone(), clock, random)?;
        self.identity = Arc::new(identity);
        self.ports.identity = self.identity.clone();
        self.ports.mail = mail;
        Ok(self)
    }

    /// Opens a directory whose database may be lost, to make it anew: with an empty one then. `key_file` is the master key, where
    /// the directory has none; it gets a copy.
    ///
    /// # Errors
    /// `NotFound` when there are no objects; `Conflict` when the directory has another master key; those of
    /// [`EmbeddedStores::open`].
    pub fn open_to_rebuild(data_dir: impl AsRef<Path>, key_file: Option<&Path>) -> Result<Self> {
        let data_dir = data_dir.as_ref();
        let named = |error: Error| error.with("data directory", data_dir.display());
        if !blobs::has_accounts(data_dir)? {
            return Err(named(Error::new(ErrorKind::NotFound, "there are no objects here (objects/accounts/…)")));
        }
        if let Some(key_file) = key_file {
            keys::adopt(data_dir, key_file).map_err(named)?;
        }
        Self::open_any(data_dir, OpenMode::Write, Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    /// Opens the tables in `data_dir`, for this process alone, of objects and keys that are elsewhere; the directory is made when
    /// there is none. A new snapshot there sends no message to the data queue.
    ///
    /// # Errors
    /// `Conflict` when another process works with these tables; those of the database.
    pub fn open_over(data_dir: impl AsRef<Path>, blobs: Arc<dyn Blobs>, keys: Arc<dyn Keys>) -> Result<Self> {
        let elsewhere = Some((blobs, keys));
        Self::open_parts(data_dir.as_ref(), OpenMode::Write, elsewhere, Arc::new(SystemClock), Arc::new(SystemRandom))
    }

    fn open_any(data_dir: &Path, mode: OpenMode, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self> {
        Self::open_parts(data_dir, mode, None, clock, random)
    }

    fn open_parts(
        data_dir: &Path,
        mode: OpenMode,
        elsewhere: Option<(Arc<dyn Blobs>, Arc<dyn Keys>)>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let named = |error: Error| error.with("data directory", data_dir.display());
        let lock = match mode {
            OpenMode::Write => {
                files::private_dir(data_dir).map_err(named)?;
                Some(lock::DirectoryLock::acquire(data_dir)?)
            }
            OpenMode::Read | OpenMode::ReadAndNote => None,
        };
        let (objects_mode, mode) = (mode, mode.of_rows());
        // The key first: a used directory without its key must be refused before anything is written.
        let (blobs, keys): (_, Arc<dyn Keys>) = match elsewhere {
            Some((blobs, keys)) => (Some(blobs), keys),
            None => (None, Arc::new(keys::MasterKey::open(data_dir, mode, random.clone()).map_err(named)?)),
        };
        let database = database::Database::open(&data_dir.join(database::FILE_NAME), mode, lock).map_err(named)?;
        database.set_up(|connection| set_up(connection, &*random)).map_err(named)?;
        let queue = queue::EmbeddedQueue::new(database.clone(), clock.clone(), random.clone());
        let blobs = match blobs {
            Some(blobs) => blobs,
            None => Arc::new(
                blobs::Directory::open(data_dir, objects_mode, database.clone(), queue.clone(), random.clone())
                    .map_err(named)?,
            ),
        };
        let mail = Arc::new(mail::MailFolder::open(data_dir, mode, clock.clone(), random.clone()).map_err(named)?);
        let identity = Arc::new(
            identity::EmbeddedIdentity::open(
                database.clone(),
                keys.clone(),
                mail.clone(),
                clock.clone(),
                random.clone(),
            )
            .map_err(named)?,
        );
        let ports = Ports {
            tables: Arc::new(tables::EmbeddedTables::new(database.clone(), clock.clone())),
            queue: Arc::new(queue),
            blobs,
            events: Arc::new(events::EmbeddedEvents::new()),
            keys,
            mail,
            identity: identity.clone(),
            clock,
            random,
        };
        Ok(Self { ports, identity, database, data_dir: data_dir.to_owned() })
    }

    /// The ports over this directory.
    pub fn ports(&self) -> Ports {
        self.ports.clone()
    }

    /// Puts a new key in the place of the one that signs access tokens. Tokens that are out hold until they expire.
    ///
    /// # Errors
    /// `Denied` in a directory opened for reading; those of the database.
    pub async fn rotate_signing_key(&self) -> Result<SigningRotation> {
        self.identity.rotate_signing_key().await
    }

    /// The accounts that have objects, oldest first.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn accounts(&self) -> Result<Vec<AccountId>> {
        blobs::accounts(&self.data_dir)
    }

    /// The directory.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The folder that letters are written to.
    pub fn mail_dir(&self) -> PathBuf {
        self.data_dir.join(mail::DIRECTORY)
    }
}

/// Makes the tables that are missing.
fn set_up(connection: &rusqlite::Connection, random: &dyn Random) -> Result<()> {
    tables::set_up(connection)?;
    queue::set_up(connection)?;
    blobs::set_up(connection)?;
    identity::set_up(connection, random)
}
