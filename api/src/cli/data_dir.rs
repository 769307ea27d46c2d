//! The data directory: where it is, and opening it.

use std::path::PathBuf;

use clap::Args;
use etcetera::{BaseStrategy, choose_base_strategy};
use listbackup_engine::{Error, ErrorKind, Result, adapters::embedded::OpenMode};

use crate::worker::{Worker, WorkerSettings};

/// Where the data is.
#[derive(Args, Clone, Debug)]
pub struct DataDir {
    /// Directory with all data; made with mode 0700 when there is none [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "LISTBACKUP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The directory, by option, environment or platform.
    ///
    /// # Errors
    /// `Invalid` when the platform names no place and none was given.
    pub fn path(&self) -> Result<PathBuf> {
        let of_platform = || Some(choose_base_strategy().ok()?.data_dir().join("listbackup"));
        self.data_dir.clone().or_else(of_platform).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "this system names no place for data; give one with --data-dir")
        })
    }

    /// Opens the directory for writing, alone.
    ///
    /// # Errors
    /// `Conflict` when another process writes to it.
    pub fn open_to_write(&self, settings: WorkerSettings) -> Result<Worker> {
        Worker::open(&self.path()?, OpenMode::Write, settings)
    }

    /// Opens the directory for reading, also beside a running writer.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open_to_read(&self) -> Result<Worker> {
        Worker::open(&self.path()?, OpenMode::Read, WorkerSettings::of_a_person())
    }
}
