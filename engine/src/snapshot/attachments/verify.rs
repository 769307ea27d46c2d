//! Verifying the contents of attachments: is every chunk there, and is every byte what was downloaded?

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt as _;

use super::StoredAttachment;
use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{
        KeyRange, RecordKey, SnapshotReader,
        chunks::PackRef,
        verify::{Damage, VerifyLevel, VerifyReport},
    },
};

/// What was looked at already.
#[derive(Default)]
pub(crate) struct SeenContents {
    /// Packs with their sizes, at level `Structure`.
    pub(super) sizes: BTreeMap<PackRef, Option<u64>>,
    /// Packs whose index was read, at level `Data`.
    indexes: BTreeSet<PackRef>,
    /// Contents that were read whole, by their digest and first chunk's place.
    contents: BTreeSet<(String, String)>,
    /// Chunks that were read, by their numbers.
    pub(super) chunks: BTreeMap<PackRef, BTreeSet<u32>>,
}

impl SnapshotReader {
    /// Looks at the contents of all attachments of this snapshot: that their packs are there and hold their chunks; at level
    /// `Data` reads every chunk and compares each attachment's digest. Attachments with the same chunks are read once.
    ///
    /// # Errors
    /// Those of the ports. Damage is no error: it is in the report.
    pub(crate) async fn verify_attachments(
        &self,
        level: VerifyLevel,
        seen: &mut SeenContents,
        report: &mut VerifyReport,
    ) -> Result<()> {
        for stream in self.attachment_streams() {
            let mut attachments = std::pin::pin!(self.attachments(stream)?);
            loop {
                match attachments.try_next().await {
                    Ok(None) => break,
                    Ok(Some(attachment)) => self.verify_one(stream, &attachment, level, seen, report).await?,
                    // The segments themselves are checked, and told, with those of other streams.
                    Err(error) if error.kind() == ErrorKind::Corrupt => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Verifies the bytes of the next attachment of a stream after a key, and returns its key; `None` when there is none.
    ///
    /// # Errors
    /// Those of [`SnapshotReader::verify_attachments`].
    pub(crate) async fn verify_attachment(
        &self,
        stream: &str,
        after: Option<RecordKey>,
        seen: &mut SeenContents,
        report: &mut VerifyReport,
    ) -> Result<Option<RecordKey>> {
        let found = match self.browse(stream, &KeyRange::after(after), &[], 1).await {
            // The segments themselves are checked, and told, with those of other streams.
            Err(error) if error.kind() == ErrorKind::Corrupt => return Ok(None),
            found => found?.records.pop(),
        };
        let Some(record) = found else { return Ok(None) };
        let attachment = StoredAttachment::from_body(&record.body)?;
        self.verify_one(stream, &attachment, VerifyLevel::Data, seen, report).await?;
        Ok(Some(record.key))
    }

    async fn verify_one(
        &self,
        stream: &str,
        attachment: &StoredAttachment,
        level: VerifyLevel,
        seen: &mut SeenContents,
        report: &mut VerifyReport,
    ) -> Result<()> {
        report.attachments += 1;
        let content = serde_json::to_string(&attachment.content).unwrap_or_default();
        if !seen.contents.insert((attachment.digest.clone(), content)) {
            return Ok(());
        }
        let outcome = match level {
            VerifyLevel::Structure => self.verify_places(attachment, seen).await,
            VerifyLevel::Data => self.verify_bytes(attachment, seen, report).await,
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                report.note(self.attachment_damage(stream, attachment, &error)?);
                Ok(())
            }
            other => other,
        }
    }

    async fn verify_places(&self, attachment: &StoredAttachment, seen: &mut SeenContents) -> Result<()> {
        let chunks = &self.store.chunks;
        for (pack, spot) in chunks.places(&attachment.content).await? {
            self.verify_size(pack, spot.end(), seen).await?;
        }
        Ok(())
    }

    /// Makes sure that a pack is there, and not shorter than that.
    ///
    /// # Errors
    /// `Corrupt`, with the pack's path.
    pub(super) async fn verify_size(&self, pack: PackRef, needed: u64, seen: &mut SeenContents) -> Result<()> {
        let chunks = &self.store.chunks;
        let size = match seen.sizes.get(&pack) {
            Some(size) => *size,
            None => {
                let size = chunks.size(pack).await?;
                seen.sizes.insert(pack, size);
                size
            }
        };
        let what = match size {
            None => "a pack is missing",
            Some(size) if size < needed => "the pack is cut short",
            Some(_) => return Ok(()),
        };
        Err(Error::new(ErrorKind::Corrupt, what).with("path", chunks.path(pack)))
    }

    async fn verify_bytes(
        &self,
        attachment: &StoredAttachment,
        seen: &mut SeenContents,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let places = self.store.chunks.all_places(&attachment.content).await?;
        for (pack, _) in places.iter().filter(|(pack, _)| seen.indexes.insert(*pack)) {
            self.store.chunks.listed(*pack).await?;
        }
        let mut bytes = self.open_attachment(attachment, 0..attachment.size_bytes).await?;
        let mut hasher = blake3::Hasher::new();
        while let Some(piece) = bytes.try_next().await? {
            report.bytes_read += piece.len() as u64;
            hasher.update(&piece);
        }
        if hasher.finalize().to_hex().as_str() == attachment.digest {
            for (pack, spot) in places {
                seen.chunks.entry(pack).or_default().insert(spot.number);
            }
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "the chunks of an attachment do not have its digest"))
    }

    fn attachment_damage(&self, stream: &str, attachment: &StoredAttachment, error: &Error) -> Result<Damage> {
        let path = error.context().iter().find(|(name, _)| *name == "path").map(|(_, path)| path.clone());
        let key = attachment.key()?;
        Ok(Damage {
            path: path.unwrap_or_else(|| self.store.chunks.prefix()),
            stream: Some(stream.to_owned()),
            snapshots: vec![self.manifest.snapshot_id],
            keys: Some((key.clone(), key)),
            what: format!("{} (attachment {} of record {})", error.message(), attachment.name, attachment.record),
        })
    }
}
