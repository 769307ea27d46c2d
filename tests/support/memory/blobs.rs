//! Objects in memory.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use listbackup_engine::{
    Error, ErrorKind, Result,
    model::scope::AccountScope,
    ports::{BlobEntry, Blobs, Clock, PutOutcome, Queue, QueueName},
};
use serde_json::json;

use super::lock;

/// All objects by path.
pub struct MemoryObjects {
    clock: Arc<dyn Clock>,
    queue: Arc<dyn Queue>,
    objects: Mutex<BTreeMap<String, Object>>,
}

struct Object {
    bytes: Bytes,
    retained_until: Option<Timestamp>,
}

impl MemoryObjects {
    pub fn new(clock: Arc<dyn Clock>, queue: Arc<dyn Queue>) -> Self {
        Self { clock, queue, objects: Mutex::default() }
    }

    /// False when there is an object already.
    fn make(&self, path: &str, bytes: Bytes) -> bool {
        let mut objects = lock(&self.objects);
        if objects.contains_key(path) {
            return false;
        }
        objects.insert(path.to_owned(), Object { bytes, retained_until: None });
        true
    }

    fn with<T>(&self, path: &str, look: impl FnOnce(&Object) -> T) -> Result<T> {
        let absent = || Error::new(ErrorKind::NotFound, "there is no such object").with("path", path);
        lock(&self.objects).get(path).map(look).ok_or_else(absent)
    }
}

/// As in every store of objects: only plain paths of the account.
fn check(scope: &AccountScope, path: &str, is_prefix: bool) -> Result<()> {
    let own = format!("accounts/{}/", scope.account_id());
    let is_plain = |segment: &str| !matches!(segment, "" | "." | "..") && !segment.contains(char::is_control);
    let mut rest = path.strip_prefix(&own).map(|rest| rest.split('/').collect::<Vec<_>>()).unwrap_or_default();
    if is_prefix && rest.last() == Some(&"") {
        rest.pop();
    } else if rest.is_empty() {
        rest.push("");
    }
    let is_fine = path.starts_with(&own) && rest.into_iter().all(is_plain);
    is_fine.then_some(()).ok_or_else(|| Error::new(ErrorKind::Denied, "this is not a path of this account"))
}

#[async_trait]
impl Blobs for MemoryObjects {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        check(scope, path, false)?;
        let size_bytes = bytes.len();
        if !self.make(path, bytes) {
            return Ok(PutOutcome::Exists);
        }
        if path.ends_with(".snap") {
            let told = json!({ "path": path, "sizeBytes": size_bytes });
            self.queue.send(QueueName::Data, vec![told], Duration::ZERO).await?;
        }
        Ok(PutOutcome::Created)
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        check(scope, path, false)?;
        self.with(path, |object| object.bytes.clone())
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.get(scope, path).await?;
        if range.end > bytes.len() as u64 || range.start > range.end {
            return Err(Error::new(ErrorKind::Corrupt, "the object ends before the range"));
        }
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        check(scope, path, false)?;
        Ok(self.with(path, |object| object.bytes.len() as u64).ok())
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        check(scope, prefix, true)?;
        let objects = lock(&self.objects);
        let from = after.filter(|after| *after >= prefix).unwrap_or(prefix).to_owned();
        let wanted = objects.range(from..).take_while(|(path, _)| path.starts_with(prefix));
        let wanted = wanted.filter(|(path, _)| after.is_none_or(|after| path.as_str() > after)).take(max);
        Ok(wanted
            .map(|(path, object)| BlobEntry { path: path.clone(), size_bytes: object.bytes.len() as u64 })
            .collect())
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        check(scope, path, false)?;
        let absent = || Error::new(ErrorKind::NotFound, "there is no such object");
        let mut objects = lock(&self.objects);
        let object = objects.get_mut(path).ok_or_else(absent)?;
        object.retained_until = object.retained_until.max(Some(until));
        Ok(())
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        check(scope, path, false)?;
        Ok(self.with(path, |object| object.retained_until).unwrap_or_default())
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        check(scope, path, false)?;
        let mut objects = lock(&self.objects);
        let until = objects.get(path).and_then(|object| object.retained_until);
        match until.filter(|until| *until > self.clock.now()) {
            Some(until) => Err(Error::new(ErrorKind::Denied, format!("the object is locked until {until}"))),
            None => {
                objects.remove(path);
                Ok(())
            }
        }
    }
}
