//! The rows of attachments: one for each that a snapshot holds, made and taken away in batches.

use futures::{StreamExt as _, TryStreamExt as _};

use super::RunContext;
use crate::{
    error::{ErrorKind, Result},
    model::{AttachmentFile, FileEntry, FileId, SnapshotId, scope::AccountScope},
    ports::{Condition, Key, Write},
    snapshot::{Manifest, SnapshotReader, StoredAttachment, owner_of},
    store::{self, key},
    tables::FILES,
};

/// Writes the rows of a snapshot's attachments, `batch` in one transaction together with `check`. Returns how many.
///
/// # Errors
/// `Corrupt` when the snapshot is damaged; those of the store.
pub(super) async fn write(
    ctx: &RunContext,
    scope: &AccountScope,
    reader: &SnapshotReader,
    batch: usize,
    check: &Write,
) -> Result<usize> {
    let mut written = 0;
    for stream in reader.attachment_streams() {
        let mut batches = std::pin::pin!(reader.attachments(stream)?.try_chunks(batch));
        while let Some(attachments) = batches.next().await {
            let attachments = attachments.map_err(|error| error.1)?;
            let entries = attachments.iter().map(|attachment| entry(reader.manifest(), stream, attachment));
            let mut writes: Vec<Write> =
                entries.map(|entry| store::put(&entry, Condition::Any)).collect::<Result<_>>()?;
            writes.push(check.clone());
            ctx.store.transact(scope, writes).await?;
            written += attachments.len();
        }
    }
    Ok(written)
}

/// Takes the rows of a snapshot's attachments away. Those that damage hides stay; nothing can be downloaded by them.
///
/// # Errors
/// Those of the store.
pub(super) async fn remove(
    ctx: &RunContext,
    scope: &AccountScope,
    reader: &SnapshotReader,
    batch: usize,
) -> Result<()> {
    for stream in reader.attachment_streams() {
        let mut batches = std::pin::pin!(reader.attachments(stream)?.try_chunks(batch));
        while let Some(attachments) = batches.next().await {
            let attachments = match attachments {
                Ok(attachments) => attachments,
                Err(error) if error.1.kind() == ErrorKind::Corrupt => {
                    tracing::warn!(error = %error.1, "rows of attachments stay: what names them is damaged");
                    break;
                }
                Err(error) => return Err(error.1),
            };
            let delete = |attachment: &StoredAttachment| Write::Delete {
                table: &FILES,
                key: place(reader.manifest(), &attachment.path(stream)),
                condition: Condition::Any,
            };
            ctx.store.transact(scope, attachments.iter().map(delete).collect()).await?;
        }
    }
    Ok(())
}

fn place(manifest: &Manifest, path: &str) -> Key {
    key(format!("{}#{}", manifest.account_id, manifest.source_id), format!("{path}#{}", manifest.snapshot_id))
}

/// What a person sees of an attachment of a stream of attachments.
pub fn entry(manifest: &Manifest, stream: &str, attachment: &StoredAttachment) -> FileEntry {
    let path = attachment.path(stream);
    let place = place(manifest, &path);
    FileEntry {
        account_source: place.partition,
        path_snapshot: place.sort,
        file_id: file_id(manifest.snapshot_id, stream, attachment),
        account_id: manifest.account_id,
        source_id: manifest.source_id,
        snapshot_id: manifest.snapshot_id,
        path,
        stream: owner_of(stream).unwrap_or(stream).to_owned(),
        records: 0,
        size_bytes: attachment.size_bytes,
        content_digest: attachment.digest.clone(),
        created_at: manifest.created_at,
        attachment: Some(AttachmentFile {
            record: attachment.record.clone(),
            id: attachment.attachment.clone(),
            name: attachment.name.clone(),
            media_type: attachment.media_type.clone(),
        }),
    }
}

/// The same for every delivery of the same object.
fn file_id(snapshot_id: SnapshotId, stream: &str, attachment: &StoredAttachment) -> FileId {
    let mut hasher = blake3::Hasher::new_derive_key("listbackup file id of snapshot and attachment");
    hasher.update(snapshot_id.as_bytes());
    for text in [stream, &attachment.record, &attachment.attachment] {
        hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    }
    let mut digest = [0; 10];
    hasher.finalize_xof().fill(&mut digest);
    FileId::derived(snapshot_id.instant_ms(), digest)
}
