//! Objects that are too large for one request go up in parts, several at a time; a part that fails is sent again alone.
//!
//! They are one object when the upload is completed, under the same condition as any other: `If-None-Match: *`. An upload that is not
//! completed is aborted; what a killed process leaves, the bucket's rule for incomplete uploads removes.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html>

use aws_sdk_s3::{
    error::ProvideErrorMetadata,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::{S3Blobs, error, failed};
use crate::{
    error::{Error, ErrorKind, Result},
    model::scope::AccountScope,
    ports::{Blobs, PutOutcome},
};

/// Objects above this size go up in parts.
pub(super) const LARGE_BYTES: usize = 32 * 1024 * 1024;
/// S3 takes parts from 5 MiB on, and 10,000 of them.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Parts on the way at a time.
const PARTS_MAX: usize = 4;

impl S3Blobs {
    /// As one put, in parts. `scope` and `path` were checked.
    pub(super) async fn put_in_parts(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        // Spares the way of all that would be refused at its end.
        if self.size(scope, path).await?.is_some() {
            return Ok(PutOutcome::Exists);
        }
        let create = self.client.create_multipart_upload().bucket(&self.bucket).key(self.key(path));
        let created = create.checksum_algorithm(ChecksumAlgorithm::Crc32C).send().await;
        let upload_id = created.map_err(|error| failed(error, path))?.upload_id.ok_or_else(|| nameless(path))?;
        let parts = self.send_parts(path, &upload_id, bytes).await;
        let outcome = match parts {
            Ok(parts) => self.complete(path, &upload_id, parts).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Completion::Created) => return Ok(PutOutcome::Created),
            // The first answer was lost, or somebody else was faster: whoever asks compares or adopts what is there.
            Ok(Completion::Unknown) if self.size(scope, path).await?.is_some() => return Ok(PutOutcome::Exists),
            _ => {}
        }
        self.abort(path, &upload_id).await;
        match outcome? {
            Completion::Exists => Ok(PutOutcome::Exists),
            _ => Err(Error::new(ErrorKind::Retry, "S3 could not complete an upload; send it again").with("path", path)),
        }
    }

    async fn send_parts(&self, path: &str, upload_id: &str, bytes: Bytes) -> Result<Vec<CompletedPart>> {
        let parts = (0..bytes.len()).step_by(PART_BYTES).zip(1_i32..);
        stream::iter(parts)
            .map(|(from, number)| {
                let part = bytes.slice(from..(from + PART_BYTES).min(bytes.len()));
                self.send_part(path, upload_id, number, part)
            })
            .buffered(PARTS_MAX)
            .try_collect()
            .await
    }

    async fn send_part(&self, path: &str, upload_id: &str, number: i32, part: Bytes) -> Result<CompletedPart> {
        let send = self.client.upload_part().bucket(&self.bucket).key(self.key(path)).upload_id(upload_id);
        let send = send.part_number(number).checksum_algorithm(ChecksumAlgorithm::Crc32C).body(ByteStream::from(part));
        let sent = send.send().await.map_err(|error| failed(error, path).with("part", number))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_crc32_c(sent.checksum_crc32_c)
            .build())
    }

    async fn complete(&self, path: &str, upload_id: &str, parts: Vec<CompletedPart>) -> Result<Completion> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.bucket).key(self.key(path));
        match complete.upload_id(upload_id).multipart_upload(parts).if_none_match("*").send().await {
            Ok(_) => Ok(Completion::Created),
            Err(error) if error::status(&error) == Some(412) => Ok(Completion::Exists),
            Err(error) if error::status(&error) == Some(409) || error.code() == Some("NoSuchUpload") => {
                Ok(Completion::Unknown)
            }
            Err(error) => Err(failed(error, path)),
        }
    }

    async fn abort(&self, path: &str, upload_id: &str) {
        let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(self.key(path));
        if let Err(error) = abort.upload_id(upload_id).send().await
            && error.code() != Some("NoSuchUpload")
        {
            let error = failed(error, path);
            tracing::warn!(%error, "an upload could not be aborted; the bucket's rule for incomplete uploads removes it");
        }
    }
}

/// What became of an upload that all parts are there of.
enum Completion {
    Created,
    Exists,
    /// S3 knows the upload no more, or a write to the same key was under way.
    Unknown,
}

fn nameless(path: &str) -> Error {
    Error::new(ErrorKind::Retry, "S3 named no upload").with("path", path)
}
