//! Objects in a bucket of S3: the blobs port.
//!
//! An object is made by one PutObject with `If-None-Match: *`, of which S3 lets exactly one succeed, and carries a
//! checksum, so that bytes altered on the way are refused. S3 answers once the object is durable, and every read after
//! that sees it. Large ones go up in parts (`parts.rs`).
//!
//! A request whose answer got lost is sent again by the SDK and then meets its own object: `Exists` may be said to the
//! one who made it. So it is too for a process that died in between; callers compare or adopt what is there.
//!
//! The data queue is told of new `.snap` objects by the bucket itself: its notification for object-created events with the
//! suffix `.snap` has that queue as its target. S3 sends it at least once and after the object is durable. Nothing here sends
//! it, so that no process needs to live for it; a bucket without that notification leaves snapshots unindexed.
//!
//! Locks are those of S3 in compliance mode: the bucket must be made with object lock, which keeps versions; an object is
//! then removed by its version, so that its space is free again.
//!
//! What calls needs `s3:ListBucket` beside the rights on objects: without it S3 answers "refused" for objects that do not exist.

mod parts;

use std::ops::Range;

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::{get_object::GetObjectOutput, head_object::HeadObjectOutput},
    primitives::{ByteStream, DateTime},
    types::{ChecksumAlgorithm, Object, ObjectLockRetention, ObjectLockRetentionMode},
};
use bytes::Bytes;
use jiff::Timestamp;

use self::parts::LARGE_BYTES;
use super::{AwsClients, AwsSettings, error};
use crate::{
    adapters::blob_path,
    error::{Error, ErrorKind, Result},
    model::{AccountId, scope::AccountScope},
    ports::{BlobEntry, Blobs, PutOutcome},
};

/// The most objects that S3 lists in one answer.
const MAX_PAGE_OBJECTS: usize = 1000;

/// The objects of one bucket; clones share their connections.
#[derive(Clone, Debug)]
pub struct S3Blobs {
    client: Client,
    bucket: String,
    /// What every key begins with before the path.
    prefix: String,
    is_read_only: bool,
}

impl S3Blobs {
    /// The objects in the bucket of the settings. Nothing is sent yet.
    pub fn new(clients: &AwsClients, settings: &AwsSettings) -> Self {
        Self {
            client: clients.s3.clone(),
            bucket: settings.bucket().to_owned(),
            prefix: settings.key_prefix(),
            is_read_only: false,
        }
    }

    /// The same objects, to be read only: whatever would change one is `Denied`.
    #[must_use]
    pub fn read_only(self) -> Self {
        Self { is_read_only: true, ..self }
    }

    /// Finds out whether the bucket is there and may be used.
    ///
    /// # Errors
    /// `Invalid` when it is not; `Retry` when S3 cannot be reached.
    pub async fn check_bucket(&self) -> Result<()> {
        let head = self.client.head_bucket().bucket(&self.bucket).send().await;
        head.map(drop).map_err(|error| {
            let message = match error::status(&error) {
                Some(404) => "there is no such bucket",
                Some(403) => "the bucket may not be used with these credentials",
                _ => return error::failed("S3", error).with("bucket", &self.bucket),
            };
            Error::new(ErrorKind::Invalid, message).caused_by(error).with("bucket", &self.bucket)
        })
    }

    /// The accounts that have objects, oldest first.
    ///
    /// # Errors
    /// Those of listing.
    pub async fn accounts(&self) -> Result<Vec<AccountId>> {
        let prefix = self.key("accounts/");
        let mut pages =
            self.client.list_objects_v2().bucket(&self.bucket).prefix(&prefix).delimiter("/").into_paginator().send();
        let mut accounts = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed(error, "accounts/"))?;
            let names = page.common_prefixes.unwrap_or_default().into_iter().filter_map(|found| found.prefix);
            accounts.extend(
                names.filter_map(|name| name.strip_prefix(&prefix)?.trim_end_matches('/').parse::<AccountId>().ok()),
            );
        }
        accounts.sort_unstable();
        Ok(accounts)
    }

    fn key(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    fn check_writable(&self) -> Result<()> {
        match self.is_read_only {
            false => Ok(()),
            true => Err(Error::new(ErrorKind::Denied, "the bucket was opened to be read; nothing can be changed")),
        }
    }

    /// Objects in path order (S3 lists by the bytes of the key), and whether there are more.
    async fn page(&self, prefix: &str, after: Option<&str>, max: usize) -> Result<(Vec<Object>, bool)> {
        let answer = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.key(prefix))
            .set_start_after(after.map(|after| self.key(after)))
            .max_keys(max.min(MAX_PAGE_OBJECTS) as i32)
            .send()
            .await
            .map_err(|error| failed(error, prefix))?;
        Ok((answer.contents.unwrap_or_default(), answer.is_truncated == Some(true)))
    }

    /// What S3 tells of an object; `None` when there is none.
    async fn head(&self, path: &str) -> Result<Option<HeadObjectOutput>> {
        let head = self.client.head_object().bucket(&self.bucket).key(self.key(path));
        match head.send().await.map_err(|error| failed(error, path)) {
            Ok(head) => Ok(Some(head)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The empty range at a place within an object, which HTTP has no words for.
    async fn get_nothing(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        match self.size(scope, path).await? {
            None => Err(Error::new(ErrorKind::NotFound, "there is no such object").with("path", path)),
            Some(size_bytes) if range.start == range.end && range.end <= size_bytes => Ok(Bytes::new()),
            Some(_) => Err(past_end(path, &range)),
        }
    }
}

#[async_trait]
impl Blobs for S3Blobs {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        blob_path::check(scope, path)?;
        self.check_writable()?;
        if bytes.len() > LARGE_BYTES {
            return self.put_in_parts(scope, path, bytes).await;
        }
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.key(path))
            .if_none_match("*")
            // Guards the way only, for which the cheapest will do: what is stored is sealed.
            .checksum_algorithm(ChecksumAlgorithm::Crc32C)
            .body(ByteStream::from(bytes));
        match put.send().await {
            Ok(_) => Ok(PutOutcome::Created),
            Err(error) if error::status(&error) == Some(412) => Ok(PutOutcome::Exists),
            Err(error) => Err(failed(error, path)),
        }
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(path));
        let answer = get.send().await.map_err(|error| failed(error, path))?;
        content(answer, path).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        blob_path::check(scope, path)?;
        if range.is_empty() {
            return self.get_nothing(scope, path, range).await;
        }
        let get = self.client.get_object().bucket(&self.bucket).key(self.key(path));
        let answer = match get.range(format!("bytes={}-{}", range.start, range.end - 1)).send().await {
            Ok(answer) => answer,
            Err(error) if error::status(&error) == Some(416) => return Err(past_end(path, &range)),
            Err(error) => return Err(failed(error, path)),
        };
        // A range that begins within the object is answered with what there is of it.
        let size_bytes = answer.content_length.and_then(|size| u64::try_from(size).ok());
        if size_bytes != Some(range.end - range.start) {
            return Err(past_end(path, &range));
        }
        content(answer, path).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        blob_path::check(scope, path)?;
        let head = self.head(path).await?;
        head.map(|head| size_of(head.content_length, path)).transpose()
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        blob_path::check_prefix(scope, prefix)?;
        let mut found: Vec<BlobEntry> = Vec::new();
        let mut has_more = true;
        while has_more && found.len() < max {
            let last = found.last().map(|entry| entry.path.as_str()).or(after);
            let page;
            (page, has_more) = self.page(prefix, last, max - found.len()).await?;
            for object in page {
                let key = object.key.unwrap_or_default();
                let Some(path) = key.strip_prefix(&self.prefix).map(ToOwned::to_owned) else { continue };
                found.push(BlobEntry { size_bytes: size_of(object.size, &path)?, path });
            }
        }
        Ok(found)
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.check_writable()?;
        let locked = self.retained_until(scope, path).await?;
        if locked.is_some_and(|locked| locked >= until) {
            return Ok(());
        }
        let retention = ObjectLockRetention::builder()
            .mode(ObjectLockRetentionMode::Compliance)
            // S3 keeps whole seconds: the lock must not end early.
            .retain_until_date(DateTime::from_secs(until.as_second() + i64::from(until.subsec_nanosecond() > 0)))
            .build();
        let put = self.client.put_object_retention().bucket(&self.bucket).key(self.key(path)).retention(retention);
        put.send().await.map(drop).map_err(|error| failed(error, path))
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        blob_path::check(scope, path)?;
        let Some(head) = self.head(path).await? else { return Ok(None) };
        lock_of(&head, path)
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        blob_path::check(scope, path)?;
        self.check_writable()?;
        let Some(head) = self.head(path).await? else { return Ok(()) };
        let locked = lock_of(&head, path)?;
        // In a bucket with versions, which locks need, deleting by name alone would only hide the object.
        let delete =
            self.client.delete_object().bucket(&self.bucket).key(self.key(path)).set_version_id(head.version_id);
        match (delete.send().await, locked) {
            (Ok(_), _) => Ok(()),
            // S3 is the judge of whether the lock still holds.
            (Err(error), Some(until)) if error::status(&error) == Some(403) => {
                let message = format!("the object is locked until {until:.0}; nobody can remove it before");
                Err(Error::new(ErrorKind::Denied, message).caused_by(error).with("path", path))
            }
            (Err(error), _) => Err(failed(error, path)),
        }
    }
}

/// Until when an object is locked.
fn lock_of(head: &HeadObjectOutput, path: &str) -> Result<Option<Timestamp>> {
    let Some(until) = &head.object_lock_retain_until_date else { return Ok(None) };
    let until = Timestamp::new(until.secs(), until.subsec_nanos().cast_signed());
    until.map(Some).map_err(|error| {
        Error::new(ErrorKind::Invalid, format!("S3 told a lock that ends at no instant: {error}")).with("path", path)
    })
}

async fn content(answer: GetObjectOutput, path: &str) -> Result<Bytes> {
    // The SDK compares the checksum, where the answer has one, as it reads.
    let body = answer.body.collect().await.map_err(|error| {
        Error::new(ErrorKind::Retry, "the object did not arrive whole from S3").caused_by(error).with("path", path)
    })?;
    Ok(body.into_bytes())
}

fn size_of(told: Option<i64>, path: &str) -> Result<u64> {
    told.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| Error::new(ErrorKind::Retry, "S3 did not tell the size of an object").with("path", path))
}

fn past_end(path: &str, range: &Range<u64>) -> Error {
    Error::new(ErrorKind::Corrupt, "the object ends before the range that was asked for")
        .with("path", path)
        .with("range", format!("{}..{}", range.start, range.end))
}

fn failed<E>(error: SdkError<E, HttpResponse>, path: &str) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    error::failed("S3", error).with("path", path)
}
