//! Objects and a master key wherever they lie: no database, no lock, nothing is ever written. For copies of a data directory, or
//! of parts of one, also while a process works in the original.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind as Io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::{SystemRandom, blobs, files, keys::MasterKey};
use crate::{
    adapters::blob_path,
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{BlobEntry, Blobs, Keys, PutOutcome},
};

/// The master key in a file anywhere; only its owner may be able to read it.
///
/// # Errors
/// `Invalid` when it is not there or others can read it, `Corrupt` when it is damaged.
pub fn key_file(path: &Path) -> Result<Arc<dyn Keys>> {
    Ok(Arc::new(MasterKey::open_file(path, Arc::new(SystemRandom))?))
}

/// Objects to read: those below a directory that has an `accounts/`, and single files in the places of others.
#[derive(Clone, Debug, Default)]
pub struct LooseObjects {
    root: Option<PathBuf>,
    files: BTreeMap<String, PathBuf>,
}

impl LooseObjects {
    /// Those below a directory, or none.
    pub fn below(root: Option<PathBuf>) -> Self {
        Self { root, files: BTreeMap::new() }
    }

    /// Puts a file in the place of an object.
    #[must_use]
    pub fn with(mut self, path: String, file: PathBuf) -> Self {
        self.files.insert(path, file);
        self
    }

    fn file(&self, path: &str) -> Result<PathBuf> {
        let below_root = || self.root.as_ref().map(|root| root.join(path));
        self.files.get(path).cloned().or_else(below_root).ok_or_else(|| missing(path))
    }
}

#[async_trait]
impl Blobs for LooseObjects {
    async fn put_if_absent(&self, _: &AccountScope, _: &str, _: Bytes) -> Result<PutOutcome> {
        Err(read_only())
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        let (file, path) = (self.file(path)?, path.to_owned());
        off_thread(move || fs::read(&file).map(Bytes::from).map_err(|error| unreadable(error, &path, &file))).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        let (file, path) = (self.file(path)?, path.to_owned());
        off_thread(move || {
            let read = files::read_range(&file, &range).map_err(|error| unreadable(error, &path, &file))?;
            read.map(Bytes::from).ok_or_else(|| {
                Error::new(ErrorKind::Corrupt, "the object ends before the range that was asked for")
                    .with("path", &path)
            })
        })
        .await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        blob_path::check(scope, path)?;
        let Ok(file) = self.file(path) else { return Ok(None) };
        match fs::metadata(&file) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata.len())),
            Err(error) if error.kind() == Io::NotFound => Ok(None),
            Err(error) => Err(unreadable(error, path, &file)),
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
        let after = after.unwrap_or_default();
        let below = match &self.root {
            Some(root) => blobs::list(root, prefix, after, max)?,
            None => Vec::new(),
        };
        let mut found: BTreeMap<String, u64> = below.into_iter().map(|entry| (entry.path, entry.size_bytes)).collect();
        for (path, file) in self.files.iter().filter(|(path, _)| path.starts_with(prefix) && path.as_str() > after) {
            found.insert(path.clone(), fs::metadata(file).map_err(|error| files::at(error, file))?.len());
        }
        Ok(found.into_iter().take(max).map(|(path, size_bytes)| BlobEntry { path, size_bytes }).collect())
    }

    async fn retain_until(&self, _: &AccountScope, _: &str, _: Timestamp) -> Result<()> {
        Err(read_only())
    }

    async fn retained_until(&self, _: &AccountScope, _: &str) -> Result<Option<Timestamp>> {
        Ok(None)
    }

    async fn delete(&self, _: &AccountScope, _: &str) -> Result<()> {
        Err(read_only())
    }
}

async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(ErrorKind::Cancelled, "reading a file was stopped").caused_by(error)))
}

fn unreadable(error: std::io::Error, path: &str, file: &Path) -> Error {
    match error.kind() {
        Io::NotFound => missing(path),
        _ => files::at(error, file),
    }
}

fn missing(path: &str) -> Error {
    Error::new(ErrorKind::NotFound, "there is no such object").with("path", path)
}

fn read_only() -> Error {
    Error::new(ErrorKind::Denied, "these objects were opened to be read; nothing can be changed")
}
