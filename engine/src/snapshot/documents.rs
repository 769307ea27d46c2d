//! Sealed documents of a source: JSON, compressed, sealed for their path.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    seal::{DocumentHeader, open_document, seal_document},
    segments::Segments,
};
use crate::{
    error::{Error, ErrorKind, Result},
    ports::{BlobEntry, PutOutcome},
};

/// How hard documents are compressed.
const ZSTD_LEVEL: i32 = 3;
/// Objects of one listing.
const PAGE: usize = 1000;

impl Segments {
    /// Seals a document for `path`.
    ///
    /// # Errors
    /// `Bug` when it does not serialise.
    pub(crate) fn seal_json(&self, path: &str, body: &impl Serialize) -> Result<Bytes> {
        let text = serde_json::to_vec(body)
            .map_err(|error| Error::new(ErrorKind::Bug, "a document does not serialise").caused_by(error))?;
        let compressed = zstd::bulk::compress(&text, ZSTD_LEVEL)
            .map_err(|error| Error::new(ErrorKind::Exhausted, "a document could not be compressed").caused_by(error))?;
        let keys = self.ring.current();
        let header = DocumentHeader { epoch: keys.epoch(), digest: keys.document_digest(path, &compressed)? };
        let key = keys.document_key(&header.digest)?;
        Ok(Bytes::from(seal_document(&header, &key, path, &compressed)?))
    }

    /// The text of the document stored at `path`.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or belongs elsewhere.
    pub(crate) async fn open_text(&self, path: &str, object: &[u8]) -> Result<Vec<u8>> {
        let opened = async {
            let header = DocumentHeader::read(object)?;
            let key = self.ring.epoch(header.epoch).await?.document_key(&header.digest)?;
            open_document(&header, &key, path, object)
        };
        opened.await.map_err(|error: Error| error.with("document", path))
    }

    /// Seals a document and puts it unless there is one. True when this call made it.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn put_document(&self, path: &str, body: &(impl Serialize + Sync)) -> Result<bool> {
        let object = self.seal_json(path, body)?;
        Ok(self.blobs.put_if_absent(&self.scope, path, object).await? == PutOutcome::Created)
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `NotFound`; `Corrupt` when it was altered or has another shape.
    pub(crate) async fn read_document<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let object = self.blobs.get(&self.scope, path).await?;
        parse(&self.open_text(path, &object).await?).map_err(|error| error.with("path", path))
    }

    /// Reads a document that may not be there.
    ///
    /// # Errors
    /// `Corrupt` when it was altered or has another shape.
    pub(crate) async fn find_document<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        match self.read_document(path).await {
            Ok(document) => Ok(Some(document)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// True when there is an object at `path`.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.blobs.size(&self.scope, path).await?.is_some())
    }

    /// All objects below a prefix, in path order.
    ///
    /// # Errors
    /// Those of the port.
    pub(crate) async fn list_all(&self, prefix: &str) -> Result<Vec<BlobEntry>> {
        let mut all: Vec<BlobEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| entry.path.clone());
            let page = self.blobs.list(&self.scope, prefix, after.as_deref(), PAGE).await?;
            let is_last = page.len() < PAGE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}

/// Reads the text of a document.
///
/// # Errors
/// `Corrupt` when it has another shape.
pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a document has another shape: {error}")).caused_by(error)
    })
}
