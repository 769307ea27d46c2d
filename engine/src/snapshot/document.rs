//! Documents: JSON that is compressed and sealed as one object. Manifests, checkpoints and exports are such.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    keys::KeyRing,
    seal::{DocumentHeader, open_document, seal_document},
};
use crate::error::{Error, ErrorKind, Result};

/// How hard documents are compressed.
const ZSTD_LEVEL: i32 = 3;

/// The object of a document that belongs at `path`.
///
/// # Errors
/// `Bug` for what does not serialise.
pub(super) fn seal(ring: &KeyRing, path: &str, body: &impl Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(body)
        .map_err(|error| Error::new(ErrorKind::Bug, "a document does not serialise").caused_by(error))?;
    let compressed = zstd::bulk::compress(&text, ZSTD_LEVEL)
        .map_err(|error| Error::new(ErrorKind::Exhausted, "a document could not be compressed").caused_by(error))?;
    let keys = ring.current()?;
    let header = DocumentHeader { epoch: keys.epoch(), digest: keys.document_digest(path, &compressed)? };
    let key = keys.document_key(&header.digest)?;
    Ok(Bytes::from(seal_document(&header, &key, path, &compressed)?))
}

/// The text of the document at `path`.
///
/// # Errors
/// `Corrupt` when it was altered or belongs elsewhere.
pub(super) async fn open(ring: &KeyRing, path: &str, object: &[u8]) -> Result<Vec<u8>> {
    let opened = async {
        let header = DocumentHeader::read(object)?;
        let key = ring.epoch(header.epoch).await?.document_key(&header.digest)?;
        open_document(&header, &key, path, object)
    };
    opened.await.map_err(|error: Error| error.with("document", path))
}

/// What a document's text says.
///
/// # Errors
/// `Corrupt` when it has another shape.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a document has another shape: {error}")).caused_by(error)
    })
}
