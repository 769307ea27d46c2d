//! Verifying a snapshot: is everything there, and is every byte what was written?

mod bounded;
mod position;
mod progress;
mod report;

use std::collections::{BTreeMap, btree_map::Entry};

use self::position::Place;
pub use self::{
    position::{VerifyLimits, VerifyPosition},
    progress::VerifyProgress,
    report::{Coverage, Damage, VerifyLevel, VerifyReport},
};
use super::{
    attachments::{OlderStates, SeenContents},
    checker::Checker,
    digest::ContentDigest,
    manifest::{Manifest, ParentRef, StreamState},
    merge::{Merge, Reading},
    reader::{KeyRange, SnapshotReader},
    retain::Link,
    segment::SegmentRef,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
};

/// A segment, and the snapshots of the chain that use it.
struct Used {
    stream: String,
    reference: SegmentRef,
    snapshots: Vec<SnapshotId>,
}

/// Segments by their path.
type Segments = BTreeMap<String, Used>;

/// What a snapshot and those before it name.
#[derive(Default)]
struct Chain {
    segments: Segments,
    /// Of this snapshot's stored manifest, unless that is damaged.
    digest: Option<String>,
    /// Attachments of older snapshots.
    older: OlderStates,
}

impl SnapshotReader {
    /// Verifies this snapshot.
    ///
    /// # Errors
    /// Those of the ports. Damage is no error: it is in the report.
    pub async fn verify(&self, level: VerifyLevel) -> Result<VerifyReport> {
        let mut report = VerifyReport::default();
        let Chain { segments, older, .. } = self.verify_structure(&mut report).await?;
        report.covered = self.coverage(&segments, Some(&Place::first(&self.manifest)));
        if level == VerifyLevel::Data {
            for (stream, state) in &self.manifest.streams {
                self.verify_stream(stream, state, &mut report).await?;
            }
            self.verify_older(&segments, &mut report).await?;
            report.covered = self.coverage(&segments, None);
        }
        bounded::name_snapshots(&mut report, &segments);
        let mut seen = SeenContents::default();
        self.verify_attachments(level, &mut seen, &mut report).await?;
        for (pack, used) in &self.older_packs(&older).await? {
            self.verify_older_pack((*pack, used), level, &mut seen, &mut report).await?;
        }
        Ok(report)
    }

    /// Walks the chain and looks at every segment that it names.
    async fn verify_structure(&self, report: &mut VerifyReport) -> Result<Chain> {
        let Chain { mut segments, mut digest, mut older } = Chain::default();
        match self.store.load(self.manifest.snapshot_id).await {
            Ok(stored) if stored.manifest == self.manifest => digest = Some(stored.digest),
            Ok(_) => report
                .damages
                .push(self.manifest_damage(self.manifest.snapshot_id, "the stored manifest is another one")),
            Err(error) => report.damages.push(self.manifest_damage_of(self.manifest.snapshot_id, error)?),
        }
        let mut next = Some(self.manifest.clone());
        while let Some(manifest) = next {
            report.manifests += 1;
            if manifest.snapshot_id != self.manifest.snapshot_id {
                self.note_attachments(&manifest, &mut older);
            }
            for (stream, state) in &manifest.streams {
                for reference in &state.segments {
                    self.look_at(&manifest, stream, reference, &mut segments, report).await?;
                }
            }
            next = match &manifest.parent {
                Some(parent) => self.verify_parent(parent, report).await?,
                None => None,
            };
        }
        Ok(Chain { segments, digest, older })
    }

    /// The next older snapshot that is there; forgotten ones are proved by their tombstones on the way.
    async fn verify_parent(&self, parent: &ParentRef, report: &mut VerifyReport) -> Result<Option<Manifest>> {
        let mut next = Some(parent.clone());
        while let Some(parent) = next {
            match self.store.link(parent.snapshot_id).await {
                Ok(link) if link.digest() != parent.digest => {
                    let what = "the manifest is not the one that the next snapshot was made from";
                    report.damages.push(self.manifest_damage(parent.snapshot_id, what));
                    return Ok(None);
                }
                Ok(Link::Kept(loaded)) => return Ok(Some(loaded.manifest)),
                Ok(Link::Forgotten(tombstone)) => {
                    report.forgotten += 1;
                    next = tombstone.parent;
                }
                Err(error) => {
                    let mut damage = self.manifest_damage_of(parent.snapshot_id, error)?;
                    let tombstone = self.store.tombstone_path(parent.snapshot_id);
                    if self.segments.documents().exists(&tombstone).await? {
                        damage.path = tombstone;
                    }
                    report.damages.push(damage);
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    async fn look_at(
        &self,
        manifest: &Manifest,
        stream: &str,
        reference: &SegmentRef,
        segments: &mut Segments,
        report: &mut VerifyReport,
    ) -> Result<()> {
        let path = self.segments.path(reference);
        match segments.entry(path.clone()) {
            Entry::Occupied(known) => {
                known.into_mut().snapshots.push(manifest.snapshot_id);
                return Ok(());
            }
            Entry::Vacant(new) => {
                let snapshots = vec![manifest.snapshot_id];
                new.insert(Used { stream: stream.to_owned(), reference: reference.clone(), snapshots });
            }
        }
        report.segments += 1;
        let what = match self.segments.blobs.size(&self.segments.scope, &path).await? {
            None => "the segment is missing".to_owned(),
            Some(size) if size == reference.size_bytes => return Ok(()),
            Some(size) => format!("the segment has {size} bytes instead of {}", reference.size_bytes),
        };
        let keys = Some((reference.first_key.clone(), reference.last_key.clone()));
        report.damages.push(Damage { path, stream: Some(stream.to_owned()), snapshots: Vec::new(), keys, what });
        Ok(())
    }

    /// Reads the segments that only older snapshots use, each by itself.
    async fn verify_older(&self, segments: &Segments, report: &mut VerifyReport) -> Result<()> {
        for used in self.older(segments) {
            let mut merge = self.checked(&used.stream, std::slice::from_ref(&used.reference));
            while let Some(merged) = merge.next().await? {
                report.records += u64::from(merged.body().is_some());
            }
            merge.into_checker().into_iter().for_each(|checker| report.take(*checker));
        }
        Ok(())
    }

    fn checked(&self, stream: &str, references: &[SegmentRef]) -> Merge {
        let reading = Reading::Checked(Box::new(Checker::new(stream)));
        Merge::new(self.segments.clone(), stream, references, &KeyRange::default(), reading)
    }

    async fn verify_stream(&self, stream: &str, state: &StreamState, report: &mut VerifyReport) -> Result<()> {
        let mut merge = self.checked(stream, &state.segments);
        let hashers = self.segments.ring.hashers();
        let (mut records, mut digest) = (0, ContentDigest::default());
        while let Some(merged) = merge.next().await? {
            if let Some(body) = merged.body() {
                records += 1;
                digest.add(hashers.content_term(&hashers.fingerprint(merged.key(), body)));
            }
        }
        let Some(mut checker) = merge.into_checker() else { return Ok(()) };
        report.records += records;
        if checker.damages.is_empty() {
            checker.damages.extend(self.content_damage(stream, state, records, digest));
        }
        report.take(*checker);
        Ok(())
    }

    fn manifest_damage(&self, snapshot_id: SnapshotId, what: impl Into<String>) -> Damage {
        Damage {
            path: self.store.snapshot_path(snapshot_id),
            stream: None,
            snapshots: vec![snapshot_id],
            keys: None,
            what: what.into(),
        }
    }

    fn manifest_damage_of(&self, snapshot_id: SnapshotId, error: Error) -> Result<Damage> {
        match error.kind() {
            ErrorKind::Corrupt => Ok(self.manifest_damage(snapshot_id, error.message())),
            ErrorKind::NotFound => Ok(self.manifest_damage(snapshot_id, "the manifest is missing")),
            _ => Err(error),
        }
    }
}
