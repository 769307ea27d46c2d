//! Verifying the packs of the snapshots before: as for their segments, each by itself, whoever needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::{SeenContents, owner_of};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
    snapshot::{
        Manifest, SnapshotReader, StreamState,
        chunks::PackRef,
        verify::{Damage, VerifyLevel, VerifyReport},
    },
};

/// Attachments as older snapshots of a chain have them, each state once.
#[derive(Default)]
pub(crate) struct OlderStates(BTreeMap<String, (String, StreamState, Vec<SnapshotId>)>);

impl OlderStates {
    /// True when there are none that differ from those of the snapshot itself.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A pack that older snapshots need.
pub(crate) struct OlderPack {
    stream: String,
    /// So many of its bytes at least.
    pub(crate) needed_bytes: u64,
    snapshots: BTreeSet<SnapshotId>,
}

/// The packs that older snapshots need.
pub(crate) type OlderPacks = BTreeMap<PackRef, OlderPack>;

impl SnapshotReader {
    /// Notes the attachments of an older snapshot that are not as this one has them.
    pub(crate) fn note_attachments(&self, older: &Manifest, states: &mut OlderStates) {
        for (stream, state) in older.streams.iter().filter(|(name, _)| owner_of(name).is_some()) {
            if self.manifest.streams.get(stream).is_none_or(|own| own.segments != state.segments) {
                let key = self.store.pack_list_path(stream, state);
                let (.., snapshots) =
                    states.0.entry(key).or_insert_with(|| (stream.clone(), state.clone(), Vec::new()));
                snapshots.push(older.snapshot_id);
            }
        }
    }

    /// The packs that older snapshots need. Of what names them, what is damaged is told with the segments.
    ///
    /// # Errors
    /// Those of the ports.
    pub(crate) async fn older_packs(&self, states: &OlderStates) -> Result<OlderPacks> {
        let mut packs = OlderPacks::new();
        for (stream, state, snapshots) in states.0.values() {
            let needed = match self.store.needed_packs(stream, state, false).await {
                Err(error) if error.kind() == ErrorKind::Corrupt => continue,
                needed => needed?,
            };
            for (pack, needed_bytes) in needed {
                let new = || OlderPack { stream: stream.clone(), needed_bytes, snapshots: BTreeSet::new() };
                let pack = packs.entry(pack).or_insert_with(new);
                pack.needed_bytes = needed_bytes.max(pack.needed_bytes);
                pack.snapshots.extend(snapshots);
            }
        }
        Ok(packs)
    }

    /// Looks whether a pack is there; at level `Data` reads all of its chunks that were not read before.
    ///
    /// # Errors
    /// Those of the ports. Damage is no error: it is in the report.
    pub(crate) async fn verify_older_pack(
        &self,
        (pack, used): (PackRef, &OlderPack),
        level: VerifyLevel,
        seen: &mut SeenContents,
        report: &mut VerifyReport,
    ) -> Result<()> {
        report.older_packs += 1;
        let outcome = match level {
            VerifyLevel::Structure => self.verify_size(pack, used.needed_bytes, seen).await,
            VerifyLevel::Data => self.verify_chunks(pack, seen, report).await,
        };
        match outcome {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.note_older(pack, used, &error, report);
                Ok(())
            }
            other => other,
        }
    }

    async fn verify_chunks(&self, pack: PackRef, seen: &mut SeenContents, report: &mut VerifyReport) -> Result<()> {
        let chunks = &self.store.chunks;
        let read = seen.chunks.entry(pack).or_default();
        for (id, spot) in chunks.listed(pack).await? {
            if read.insert(spot.number) {
                report.bytes_read += u64::from(spot.plain_bytes);
                chunks.check(pack, id, spot).await?;
            }
        }
        Ok(())
    }

    /// Of a pack that is damaged for this snapshot too, the older ones are told there.
    fn note_older(&self, pack: PackRef, used: &OlderPack, error: &Error, report: &mut VerifyReport) {
        let path = self.store.chunks.path(pack);
        let mut is_known = false;
        for damage in report.damages.iter_mut().filter(|damage| damage.path == path) {
            let all: BTreeSet<SnapshotId> = damage.snapshots.iter().chain(&used.snapshots).copied().collect();
            damage.snapshots = all.into_iter().rev().collect();
            is_known = true;
        }
        if !is_known {
            report.note(Damage {
                path,
                stream: Some(used.stream.clone()),
                snapshots: used.snapshots.iter().rev().copied().collect(),
                keys: None,
                what: error.message().to_owned(),
            });
        }
    }
}
