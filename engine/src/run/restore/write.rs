//! Writing one record to the product, trying again where that can help. What fails for one record is its outcome; what
//! would fail for all ends the attempt.

use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use listbackup_connectors::{self as connectors, RecordWriter, WriteAction, WriteRequest};
use tokio::time::sleep;

use super::{
    super::tries::Tries,
    Interrupted,
    decide::{Create, Update, writable},
    members,
    order::RestoreOrder,
    outcome::{Outcome, RecordOutcome},
    work::Target,
};
use crate::{
    error::{Error, ErrorKind, Result},
    run::session::Session,
    snapshot::{KeyPart, RecordKey},
};

/// After so many records in a row that the product did not take for passing reasons, the attempt ends.
const LOST_MAX: u32 = 5;

/// Writes the records of one restore.
pub(super) struct Writer<'a> {
    session: &'a Session,
    order: &'a RestoreOrder,
    connector: &'a dyn RecordWriter,
    /// Records in a row that failed for passing reasons.
    lost: AtomicU32,
}

impl<'a> Writer<'a> {
    /// Over the session's connector.
    ///
    /// # Errors
    /// `Invalid` when it cannot write.
    pub(super) fn new(session: &'a Session, order: &'a RestoreOrder) -> Result<Self> {
        let connector = session.connector.writer().ok_or_else(|| {
            Error::new(ErrorKind::Invalid, "the connector cannot write").with("source", session.claim.order.source_id)
        })?;
        Ok(Self { session, order, connector, lost: AtomicU32::new(0) })
    }

    /// Makes a record.
    pub(super) async fn create(
        &self,
        target: &Target,
        key: &RecordKey,
        create: Create,
    ) -> Result<RecordOutcome, Interrupted> {
        let stream = &target.spec.name;
        let request = self.request(target, key, WriteAction::Create, create.body, "create");
        let written = match self.send(target, &request).await? {
            Ok(written) => written,
            Err(reason) => return Ok(RecordOutcome::because(stream, key, Outcome::Failed, reason)),
        };
        let new = RecordKey::from_json(written.key.iter().map(String::as_bytes)).map_err(Interrupted::from)?;
        Ok(RecordOutcome {
            new_key: Some(new),
            deferred: create.deferred,
            ..RecordOutcome::new(stream, key, Outcome::Created)
        })
    }

    /// Changes a record, unless somebody changed it after it was compared.
    pub(super) async fn update(
        &self,
        target: &Target,
        key: &RecordKey,
        update: Update,
    ) -> Result<RecordOutcome, Interrupted> {
        let stream = &target.spec.name;
        let fields: Vec<String> = update.body.keys().cloned().collect();
        let done = RecordOutcome {
            new_key: update.new_key.clone(),
            reason: update.reason.clone(),
            deferred: update.deferred.clone(),
            fields,
            ..RecordOutcome::new(stream, key, Outcome::Updated)
        };
        if let Some(compared) = &update.current {
            let conflict = |reason: &str| Ok(RecordOutcome::because(stream, key, Outcome::Conflict, reason));
            let now = match self.read(target, &update.key).await? {
                Ok(Some(body)) => writable(target, &body)?,
                Ok(None) => return conflict("it was deleted in the product while the restore was running"),
                Err(reason) => return Ok(RecordOutcome::because(stream, key, Outcome::Failed, reason)),
            };
            if members::differing(&update.body, &now).is_empty() {
                // An attempt that ended before it could say so has changed it.
                return Ok(done);
            }
            if !members::differing(compared, &now).is_empty() || !members::differing(&now, compared).is_empty() {
                return conflict("it was changed in the product while the restore was running");
            }
        }
        let sent = self.change(target, key, update, "update").await?;
        Ok(sent.map_or_else(|reason| RecordOutcome::because(stream, key, Outcome::Failed, reason), |()| done))
    }

    /// Sets the references of a record that were left open.
    pub(super) async fn link(
        &self,
        target: &Target,
        key: &RecordKey,
        update: Update,
    ) -> Result<RecordOutcome, Interrupted> {
        let stream = &target.spec.name;
        let linked = RecordOutcome {
            fields: update.body.keys().cloned().collect(),
            ..RecordOutcome::new(stream, key, Outcome::Linked)
        };
        let sent = self.change(target, key, update, "link").await?;
        Ok(sent.map_or_else(|reason| RecordOutcome::because(stream, key, Outcome::Failed, reason), |()| linked))
    }

    async fn change(
        &self,
        target: &Target,
        key: &RecordKey,
        update: Update,
        what: &str,
    ) -> Result<Result<(), String>, Interrupted> {
        if update.body.is_empty() {
            return Ok(Ok(()));
        }
        let action = WriteAction::Update { key: texts(&update.key)? };
        let request = self.request(target, key, action, members::text(&update.body)?, what);
        Ok(self.send(target, &request).await?.map(drop))
    }

    /// The same restore, stream and record give the same idempotency key.
    fn request(&self, target: &Target, key: &RecordKey, action: WriteAction, body: Bytes, what: &str) -> WriteRequest {
        let mut hasher = blake3::Hasher::new_derive_key("listbackup idempotency key of a restored record");
        let stream = target.spec.name.as_bytes();
        hasher.update(self.order.restore_id.as_bytes()).update(&(stream.len() as u64).to_le_bytes()).update(stream);
        hasher.update(what.as_bytes()).update(&[0]).update(key.as_bytes());
        let idempotency_key = hasher.finalize().to_hex()[..32].to_owned();
        WriteRequest { action, body, idempotency_key }
    }

    async fn read(&self, target: &Target, key: &RecordKey) -> Result<Result<Option<Bytes>, String>, Interrupted> {
        let key = texts(key)?;
        self.persist(|| self.connector.read_one(&target.spec, &key)).await
    }

    async fn send(
        &self,
        target: &Target,
        request: &WriteRequest,
    ) -> Result<Result<connectors::WrittenRecord, String>, Interrupted> {
        self.persist(|| self.connector.write(&target.spec, request)).await
    }

    /// Tries until it is done or cannot be: the inner error is this record's alone.
    async fn persist<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<Result<T, String>, Interrupted>
    where
        F: Future<Output = connectors::Result<T>>,
    {
        let ctx = &self.session.ctx;
        let mut tries = Tries::default();
        loop {
            let error = match attempt().await {
                Ok(done) => {
                    self.session.claim.pulse.beat();
                    self.lost.store(0, Ordering::Relaxed);
                    return Ok(Ok(done));
                }
                Err(error) => Error::from(error),
            };
            let Some(wait) = tries.next(&error, &ctx.settings, &*ctx.ports.random) else {
                return match error.kind() {
                    ErrorKind::RateLimited | ErrorKind::Retry => self.give_up(error),
                    ErrorKind::Reauthorise => Err(error.into()),
                    _ => Ok(Err(error.to_string())),
                };
            };
            tracing::warn!(%error, ?wait, "a write is tried again");
            self.session.claim.pulse.wait(wait);
            tokio::select! {
                biased;
                stop = self.session.stop.stopped() => return Err(Interrupted::Stop(stop)),
                () = sleep(wait) => {}
            }
        }
    }

    fn give_up<T>(&self, error: Error) -> Result<Result<T, String>, Interrupted> {
        if self.lost.fetch_add(1, Ordering::Relaxed) + 1 >= LOST_MAX {
            return Err(error.into());
        }
        Ok(Err(error.to_string()))
    }
}

/// The values of a key as JSON texts.
fn texts(key: &RecordKey) -> Result<Vec<String>> {
    Ok(key.parts()?.iter().map(KeyPart::to_json).collect())
}
