//! The data directory: where it is, and opening it. To be read, a bucket may stand in its place.

use std::path::PathBuf;

use clap::Args;
use etcetera::{BaseStrategy, choose_base_strategy};
use listbackup_engine::{Error, ErrorKind, Result, adapters::embedded::OpenMode, run::oauth_apps::PlatformApps};

use super::roles::environment;
use crate::{
    bucket::{self, AwsDefaults, Bucket},
    config::{Config, table},
    worker::{Worker, WorkerSettings},
};

/// The option that names a master key.
const KEY_OPTION: &str = "--key-file";

/// A directory with all data.
#[derive(Args, Clone, Debug, Default)]
pub struct DataDir {
    /// Directory with all data; made with mode 0700 when there is none [default: the platform's data directory]
    #[arg(long, value_name = "DIR", env = "LISTBACKUP_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

/// Where data is that is looked at: a directory or a bucket. A command that can also do what needs a directory says with
/// `mut_arg` what its `key_file` goes with.
#[derive(Args, Clone, Debug)]
pub struct DataPlace {
    /// Directory with all data, or a bucket to look into: s3://BUCKET/PREFIX, with --key-file [default: the platform's data
    /// directory]
    #[arg(long, value_name = "PLACE", env = "LISTBACKUP_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// The master key of the bucket
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// What addresses of buckets leave out.
    #[command(flatten)]
    pub aws: AwsDefaults,
}

impl DataDir {
    /// A directory.
    pub fn at(path: PathBuf) -> Self {
        Self { data_dir: Some(path) }
    }

    /// The directory, by option, environment or platform.
    ///
    /// # Errors
    /// `Invalid` when the platform names no place and none was given, and for a bucket.
    pub fn path(&self) -> Result<PathBuf> {
        if let Some(address) = self.data_dir.as_deref().and_then(bucket::address_of) {
            let message = "this command needs a data directory; a bucket can be read (snapshots, records, export, diff, search, \
                           files, verify, restore --to), and copied into with restore --to-store";
            return Err(Error::new(ErrorKind::Invalid, message).with("store", address));
        }
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

    /// Opens the directory for reading, also beside a running writer: for what no bucket has.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open_to_read(&self) -> Result<Worker> {
        Worker::open(&self.path()?, OpenMode::Read, WorkerSettings::of_a_person())
    }

    /// Opens the directory for reading, and for notes of what was found, also beside a running writer.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    pub fn open_to_note(&self) -> Result<Worker> {
        Worker::open(&self.path()?, OpenMode::ReadAndNote, WorkerSettings::of_a_person())
    }
}

impl DataPlace {
    /// Opens the directory for reading, also beside a running writer; or a bucket.
    ///
    /// # Errors
    /// `NotFound` when there is none; those of [`Bucket::open_to_read`].
    pub async fn open_to_read(&self) -> Result<Worker> {
        if let Some(address) = self.data_dir.as_deref().and_then(bucket::address_of) {
            let bucket =
                Bucket { address, key_file: self.key_file.as_deref(), key_option: KEY_OPTION, defaults: &self.aws };
            return bucket.open_to_read().await;
        }
        self.dir()?.open_to_read()
    }

    /// Opens it in a mode, as a person. Only to be read may it be a bucket.
    ///
    /// # Errors
    /// Those of [`DataPlace::open_to_read`], [`DataDir::open_to_write`] and [`DataDir::open_to_note`].
    pub async fn open(&self, mode: OpenMode) -> Result<Worker> {
        match mode {
            OpenMode::Write => {
                let mut settings = WorkerSettings::of_a_person();
                settings.run.oauth_apps = oauth_apps()?;
                self.dir()?.open_to_write(settings)
            }
            OpenMode::Read => self.open_to_read().await,
            OpenMode::ReadAndNote => self.dir()?.open_to_note(),
        }
    }

    /// The directory, which has its own key.
    fn dir(&self) -> Result<DataDir> {
        let dir = DataDir { data_dir: self.data_dir.clone() };
        let path = dir.path()?;
        if self.key_file.is_some() {
            let message = "a data directory has its own master key; --key-file is for buckets";
            return Err(Error::new(ErrorKind::Invalid, message).with("data directory", path.display()));
        }
        Ok(dir)
    }
}

/// Those of the operator: a source that was signed in by one is connected by it here too.
fn oauth_apps() -> Result<PlatformApps> {
    let ours = environment().into_iter().filter(|(name, _)| name == table::OAUTH_APPS.name);
    Ok(Config::read(&ours.collect())?.oauth_apps)
}
