//! Letters as files: embedded mode writes them to a folder, where the console and a person find them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use lettre::message::Mailbox;

use super::{OpenMode, files};
use crate::{
    adapters::mime,
    error::{Error, ErrorKind, Result},
    ports::{Clock, Letter, Mail, Random},
};

/// Whom letters come from that go nowhere.
const FROM: &str = "ListBackup <letters@listbackup.invalid>";

/// Name of the folder in the data directory.
pub(super) const DIRECTORY: &str = "mail";

/// The folder. A file's name begins with the time and a count, so that names sort from the oldest letter to the newest.
pub(super) struct MailFolder {
    directory: PathBuf,
    mode: OpenMode,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    sent: AtomicU32,
}

impl MailFolder {
    /// Opens the folder of `data_dir`; a writer makes it.
    pub(super) fn open(
        data_dir: &Path,
        mode: OpenMode,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let directory = data_dir.join(DIRECTORY);
        if mode == OpenMode::Write {
            files::private_dir(&directory)?;
        }
        Ok(Self { directory, mode, clock, random, sent: AtomicU32::new(0) })
    }
}

#[async_trait]
impl Mail for MailFolder {
    async fn send(&self, letter: &Letter) -> Result<()> {
        self.mode.check_writable()?;
        let now = self.clock.now();
        let from: Mailbox =
            FROM.parse().map_err(|error| Error::new(ErrorKind::Bug, "the sender is no address").caused_by(error))?;
        let message = mime::compose(letter, &from, now, &*self.random)?.formatted();
        // Lines end as in other files: these are for people, and for tests.
        let text = String::from_utf8_lossy(&message).replace("\r\n", "\n");
        let mut bytes = [0; 4];
        self.random.fill(&mut bytes);
        let count = self.sent.fetch_add(1, Ordering::Relaxed);
        let name = format!("{:013}-{count:06}-{:08x}", now.as_millisecond(), u32::from_le_bytes(bytes));
        let (draft, path) = (self.directory.join(format!(".{name}.new")), self.directory.join(format!("{name}.eml")));
        let directory = self.directory.clone();
        tokio::task::spawn_blocking(move || {
            files::write_new(&draft, text.as_bytes())?;
            fs::rename(&draft, &path).map_err(|error| files::at(error, &path))?;
            files::sync_dir(&directory)
        })
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Retry, "the letter was interrupted").caused_by(error)))
    }

    fn is_set_up(&self) -> bool {
        true
    }
}
