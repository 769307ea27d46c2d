//! Attachments: files that hang on records. A page names them; the engine opens those that changed, one stream of bytes
//! each.

use std::fmt;

use bytes::Bytes;
use futures::stream::BoxStream;
use serde_json::Value;

use crate::{StreamSpec, error::Result};

/// A file that hangs on a record of a page.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Its record: the index in [`crate::Page::records`].
    pub record: u32,
    /// Names it among the attachments of its record, from one read to the next; at most 1,024 bytes.
    pub id: String,
    /// Its name for people, such as `contract.pdf`.
    pub name: String,
    /// Its media type, if the product says so.
    pub media_type: Option<String>,
    /// Its size in bytes, if the product says so.
    pub size_bytes: Option<u64>,
    /// Changes whenever the content does: an entity tag, a time of change. One that is equal to that of the last snapshot
    /// says that there is nothing to download; without one every read downloads it.
    pub version: Option<String>,
    /// How to open it. Opaque to everybody but the connector; handed back through [`AttachmentRequest::locator`].
    pub locator: Value,
}

/// What to open.
#[derive(Clone, Debug)]
pub struct AttachmentRequest {
    /// The stream whose record it hangs on.
    pub stream: std::sync::Arc<StreamSpec>,
    /// As the page gave it.
    pub locator: Value,
    /// Where an interrupted download stopped; `None` for one from the beginning.
    pub resume: Option<ResumeAt>,
}

/// Where a download goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeAt {
    /// Bytes that arrived.
    pub offset_bytes: u64,
    /// The [`AttachmentBody::validator`] of what they came from.
    pub validator: String,
}

/// An opened attachment.
pub struct AttachmentBody {
    /// Where `bytes` begin in the content: what [`ResumeAt`] asked for, or 0 when it begins anew.
    pub offset_bytes: u64,
    /// Names this very content, strongly: with it a broken download may go on. `None` when the product cannot do that.
    pub validator: Option<String>,
    /// The media type that the answer tells.
    pub media_type: Option<String>,
    /// The content, in pieces of any size; ends with its first error. It must end with an error when it is cut short.
    pub bytes: BoxStream<'static, Result<Bytes>>,
}

impl fmt::Debug for AttachmentBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachmentBody")
            .field("offset_bytes", &self.offset_bytes)
            .field("validator", &self.validator)
            .finish_non_exhaustive()
    }
}
