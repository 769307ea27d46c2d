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
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

use super::{OpenMode, files};
use crate::{
    connectors::error::Problem,
    error::{Error, ErrorKind, Result},
    ports::{Clock, Letter, Mail, Random},
};

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
        let text = compose(letter, now)?;
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
}

/// # Errors
/// `Invalid` when the address or the subject would break out of its header line.
fn compose(letter: &Letter, now: Timestamp) -> Result<String> {
    let problems: Vec<Problem> = [("/to", &letter.to), ("/subject", &letter.subject)]
        .into_iter()
        .filter(|(_, text)| text.is_empty() || text.chars().any(char::is_control))
        .map(|(place, _)| Problem { place: place.to_owned(), message: "must be one line of text".to_owned() })
        .collect();
    if !problems.is_empty() {
        return Err(Error::invalid("this letter cannot be sent", problems));
    }
    let date = rfc2822::to_string(&now.to_zoned(TimeZone::UTC))
        .map_err(|error| Error::new(ErrorKind::Bug, "the clock shows no time for a letter").caused_by(error))?;
    Ok(format!(
        "Date: {date}\nTo: {}\nSubject: {}\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n{}\n",
        letter.to, letter.subject, letter.text
    ))
}
