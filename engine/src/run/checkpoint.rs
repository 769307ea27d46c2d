//! Checkpoints: what a crash does not cost. One sealed object a stream, named in the run's row under the fence.

use jiff::Timestamp;
use listbackup_connectors::FailedItem;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    attachments::AttachmentsState,
    progress::check_run,
    session::Session,
    update::{Decision, update},
};
use crate::{
    error::Result,
    model::{Run, SnapshotId},
    snapshot::{FinishedStream, PackId, SegmentId, StreamCheckpoint},
    store::key,
};

/// Where a stream stood.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The snapshot that the stream is compared with; a checkpoint against another parent is void.
    pub parent: Option<SnapshotId>,
    /// What was read, as [`super::session::reading_of`] tells it; a checkpoint of another reading is void.
    pub reading: String,
    /// When the first attempt began to read the stream.
    pub began_at: Timestamp,
    /// How far it is.
    pub stage: Stage,
}

/// How far a stream is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// In the middle: everything up to `position` is durable.
    Reading {
        /// Handed back to the connector.
        position: Option<Value>,
        /// Handed back to the writer.
        writer: Box<StreamCheckpoint>,
        /// In the second half of a reconcile read: how the first half, the read of changes, ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        changes: Option<Changes>,
        /// Where its attachments stand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attachments: Option<Box<AttachmentsState>>,
    },
    /// Read to its end, ready for the manifest.
    Done {
        /// What goes into the manifest.
        finished: Box<FinishedStream>,
    },
}

/// How the read of changes ended that comes before a read of everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// The state from which the next read of changes may start.
    pub state: Option<Value>,
    /// Parts that could not be read.
    pub failed_items: Vec<FailedItem>,
}

impl Checkpoint {
    /// The segments that it relies on.
    pub fn segments(&self) -> Vec<SegmentId> {
        match &self.stage {
            Stage::Reading { writer, attachments, .. } => {
                writer.segments().chain(attachments.iter().flat_map(|state| state.segments())).collect()
            }
            Stage::Done { finished } => {
                let states = finished.with_attachments().flat_map(|finished| &finished.state.segments);
                states.map(|segment| segment.id).collect()
            }
        }
    }

    /// The packs that it relies on, beside those of the parent's attachments.
    pub fn packs(&self) -> Vec<PackId> {
        match &self.stage {
            Stage::Reading { attachments, .. } => attachments.iter().flat_map(|state| state.packs()).collect(),
            Stage::Done { finished } => {
                finished.with_attachments().flat_map(|finished| &finished.packs).copied().collect()
            }
        }
    }
}

/// Keeps a stream's checkpoint: the object first, then its name in the run's row if the fence still holds. The one it
/// replaces is removed.
///
/// # Errors
/// `Fenced` when another worker owns the run; `Exhausted` when there is no space left; `Retry`.
pub async fn save(session: &Session, stream: &str, checkpoint: &Checkpoint) -> Result<()> {
    let ctx = &session.ctx;
    let claim = &session.claim;
    let path = put(session, checkpoint).await?;
    let progress = session.progress.now();
    let replaced = update(&ctx.store, &claim.scope, key(claim.order.job_id, claim.order.run_id), |mut run: Run| {
        check_run(&run, claim.epoch)?;
        // The run moves: whatever ended earlier attempts, it was not this.
        run.attempts = 1;
        run.progress = progress.clone();
        let replaced = run.checkpoints.insert(stream.to_owned(), path.clone());
        Ok(Decision::Write(run, vec![], replaced))
    })
    .await?;
    if let Some(old) = replaced {
        discard(session, &old).await;
    }
    Ok(())
}

/// Stores a checkpoint where none is: what an earlier attempt under the same lease left may still be in use.
async fn put(session: &Session, checkpoint: &Checkpoint) -> Result<String> {
    let claim = &session.claim;
    loop {
        let number = session.next_checkpoint_number();
        let path = session.source_store.put_checkpoint(claim.order.run_id, claim.epoch, number, checkpoint).await?;
        if let Some(path) = path {
            return Ok(path);
        }
    }
}

/// The checkpoint of a stream, if an earlier attempt of this run left one that still fits parent and settings.
///
/// # Errors
/// `Retry` when the store cannot be reached. A damaged checkpoint is reported and read as none: the stream starts over.
pub async fn load(session: &Session, stream: &str) -> Result<Option<Checkpoint>> {
    match session.claim.run.checkpoints.get(stream) {
        Some(path) => load_at(session, stream, path).await,
        None => Ok(None),
    }
}

/// The newest checkpoint of a stream and its path, as the run's row has them now.
///
/// # Errors
/// `Fenced` when another worker owns the run; those of [`load`].
pub async fn newest(session: &Session, stream: &str) -> Result<(Option<String>, Option<Checkpoint>)> {
    let claim = &session.claim;
    let run = session.ctx.store.get::<Run>(&claim.scope, key(claim.order.job_id, claim.order.run_id)).await?.row;
    check_run(&run, claim.epoch)?;
    let Some(path) = run.checkpoints.get(stream) else { return Ok((None, None)) };
    Ok((Some(path.clone()), load_at(session, stream, path).await?))
}

async fn load_at(session: &Session, stream: &str, path: &str) -> Result<Option<Checkpoint>> {
    match session.source_store.load_checkpoint::<Checkpoint>(path).await {
        Ok(checkpoint) if checkpoint.parent == session.parent_id() && checkpoint.reading == session.reading => {
            Ok(Some(checkpoint))
        }
        Ok(_) => Ok(None),
        Err(error) if error.kind() == crate::ErrorKind::Retry => Err(error),
        Err(error) => {
            tracing::warn!(%error, stream, "a checkpoint cannot be used; the stream starts over");
            Ok(None)
        }
    }
}

/// Removes the objects of all checkpoints of an ended run.
pub async fn discard_all(session: &Session, run: &Run) {
    for path in run.checkpoints.values() {
        discard(session, path).await;
    }
}

/// A checkpoint that stays behind costs some space and nothing else.
async fn discard(session: &Session, path: &str) {
    if let Err(error) = session.source_store.delete_checkpoint(path).await {
        tracing::debug!(%error, path, "an old checkpoint stays");
    }
}
