//! Attachments: files that hang on records. What a snapshot knows of a stream's attachments is a stream beside it, whose
//! records name each file's chunks: change detection, comparison, history, verification, retention and compaction are
//! those of any stream.

mod packs;
mod path;
mod read;
mod reconcile;
mod verify;
mod verify_older;
mod writer;

pub use self::writer::{AttachmentsCheckpoint, AttachmentsWriter, ContentSink, NewAttachment, TakenContent};
pub(crate) use self::{
    packs::PackList,
    verify::SeenContents,
    verify_older::{OlderPack, OlderPacks, OlderStates},
};

use std::sync::Arc;

use listbackup_connectors::{Deletions, StreamSpec};
use serde::{Deserialize, Serialize};

use super::{chunks::Content, key::RecordKey};
use crate::error::{Error, ErrorKind, Result};

/// What the name of such a stream ends in. Streams of products must not: see [`attachments_stream`].
const SUFFIX: &str = "@attachments";

/// The stream that holds the attachments of the records of `stream`.
pub fn attachments_stream(stream: &str) -> String {
    format!("{stream}{SUFFIX}")
}

/// The stream whose attachments the stream of this name holds; `None` for a product's own stream.
pub fn owner_of(stream: &str) -> Option<&str> {
    stream.strip_suffix(SUFFIX)
}

/// An attachment as a snapshot keeps it: the record of an attachments stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredAttachment {
    /// Text of the key of the record that it hangs on.
    pub record: String,
    /// Names it among the attachments of that record.
    pub attachment: String,
    /// Its name for people.
    pub name: String,
    /// Its media type, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What changes with its content, in the product's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// BLAKE3 of its content, in hex, as `b3sum` prints it.
    pub digest: String,
    /// Where its bytes are.
    pub(crate) content: Content,
}

impl StoredAttachment {
    /// Its key in the attachments stream.
    ///
    /// # Errors
    /// `Invalid` when it is too long.
    pub fn key(&self) -> Result<RecordKey> {
        key_of(&self.record, &self.attachment)
    }

    /// Reads the record of an attachments stream.
    ///
    /// # Errors
    /// `Corrupt` when it has another shape.
    pub fn from_body(body: &[u8]) -> Result<Self> {
        serde_json::from_slice(body).map_err(|error| {
            Error::new(ErrorKind::Corrupt, "an attachment's record has another shape").caused_by(error)
        })
    }

    fn to_body(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(ErrorKind::Bug, "an attachment does not serialise").caused_by(error))
    }
}

/// The key of an attachment in its stream.
///
/// # Errors
/// `Invalid` when it is too long.
pub fn key_of(record: &str, attachment: &str) -> Result<RecordKey> {
    let [record, attachment] = [record, attachment].map(|text| serde_json::Value::from(text).to_string());
    RecordKey::from_json([record.as_bytes(), attachment.as_bytes()])
}

/// The attachments stream of a stream.
fn spec_of(owner: &StreamSpec) -> Arc<StreamSpec> {
    let text = serde_json::json!({ "type": "string" });
    Arc::new(StreamSpec {
        name: attachments_stream(&owner.name),
        primary_key: vec![vec!["record".to_owned()], vec!["attachment".to_owned()]],
        cursor_field: Vec::new(),
        json_schema: serde_json::json!({
            "type": "object",
            "properties": {
                "record": text, "attachment": text, "name": text, "mediaType": text,
                "sizeBytes": { "type": "integer" }, "version": text, "digest": text,
                "content": { "type": "object" },
            },
        }),
        parents: vec![owner.name.clone()],
        deletions: Deletions::Absence,
        write: None,
    })
}
