//! The chain of a source's snapshots as the bucket alone tells it: which is the newest, and which lie behind it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{manifest::ParentRef, paths, source_store::SourceStore};
use crate::{
    error::{Error, ErrorKind, Result},
    model::SnapshotId,
};

/// What the objects of a source say of its snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Snapshots of the chain, newest first: each is proved by the one before it in this list. The first is the head.
    pub chain: Vec<SnapshotId>,
    /// BLAKE3 of the head's stored manifest, in hex.
    pub head_digest: Option<String>,
    /// Forgotten snapshots whose tombstones close gaps in the chain.
    pub forgotten: u64,
    /// Snapshots that lie behind damage in the chain, newest first: readable, but nothing proves their place.
    pub unproved: Vec<SnapshotId>,
    /// Snapshots that never became part of the chain.
    pub strays: Vec<SnapshotId>,
    /// The greatest lease epoch under which a manifest was written.
    pub epoch: u64,
    /// What is damaged: where, and how.
    pub damages: Vec<String>,
}

/// What matters of a manifest or tombstone.
struct Known {
    digest: String,
    parent: Option<ParentRef>,
    rank: (u64, Timestamp, SnapshotId),
    is_forgotten: bool,
}

impl SourceStore {
    /// Reads all manifests and tombstones of the source. The head is the newest manifest (by lease epoch, then time) that no
    /// other names as its parent.
    ///
    /// # Errors
    /// Those of the ports; `Invalid` for a manifest of a newer program. Damage is no error: the survey tells it.
    pub async fn survey(&self) -> Result<Survey> {
        let mut survey = Survey::default();
        let known = self.read_all(&mut survey).await?;
        let named: BTreeSet<SnapshotId> =
            known.values().filter_map(|known| Some(known.parent.as_ref()?.snapshot_id)).collect();
        let mut kept: Vec<(&SnapshotId, &Known)> = known.iter().filter(|(_, known)| !known.is_forgotten).collect();
        kept.sort_by_key(|(_, known)| std::cmp::Reverse(known.rank));
        survey.epoch = kept.first().map_or(0, |(_, known)| known.rank.0);
        let Some((head, known_head)) = kept.iter().find(|(id, _)| !named.contains(id)) else { return Ok(survey) };
        survey.head_digest = Some(known_head.digest.clone());
        let is_whole = walk(&known, **head, &mut survey);
        let in_chain: BTreeSet<SnapshotId> = survey.chain.iter().copied().collect();
        let others: Vec<SnapshotId> = kept.iter().map(|(id, _)| **id).filter(|id| !in_chain.contains(id)).collect();
        if is_whole {
            survey.strays = others;
        } else {
            survey.unproved = others;
        }
        Ok(survey)
    }

    async fn read_all(&self, survey: &mut Survey) -> Result<BTreeMap<SnapshotId, Known>> {
        let prefix = paths::snapshots(self.segments.scope.account_id(), self.segments.source_id);
        let mut known = BTreeMap::new();
        for entry in self.segments.documents().list_all(&prefix).await? {
            let found = if let Some(id) = paths::parse_tombstone(&entry.path) {
                self.tombstone(id).await.map(|tombstone| {
                    let known = tombstone.map(|tombstone| Known {
                        rank: (0, tombstone.created_at, id),
                        digest: tombstone.digest,
                        parent: tombstone.parent,
                        is_forgotten: true,
                    });
                    (id, known)
                })
            } else if let Some((_, _, id)) = paths::parse_snapshot(&entry.path) {
                // A tombstone comes before the manifest, as long as that is still there.
                if known.contains_key(&id) {
                    continue;
                }
                self.load_stored(id).await.map(|loaded| {
                    let manifest = loaded.manifest;
                    let rank = (manifest.epoch, manifest.created_at, id);
                    (id, Some(Known { digest: loaded.digest, parent: manifest.parent, rank, is_forgotten: false }))
                })
            } else {
                continue;
            };
            match found {
                Ok((id, found)) => known.extend(found.map(|found| (id, found))),
                Err(error) if error.kind() == ErrorKind::Corrupt => survey.damages.push(told(&error, &entry.path)),
                Err(error) => return Err(error),
            }
        }
        Ok(known)
    }
}

/// Follows the chain from its head. True when it ends at a snapshot without parent.
fn walk(known: &BTreeMap<SnapshotId, Known>, head: SnapshotId, survey: &mut Survey) -> bool {
    let mut next = Some((head, None::<String>));
    while let Some((id, digest)) = next {
        let Some(link) = known.get(&id) else {
            survey.damages.push(format!("the snapshot {id} is missing or damaged, and nothing older is proved"));
            return false;
        };
        if digest.is_some_and(|digest| digest != link.digest) {
            let what = "is not the one that the next snapshot was made from, and nothing older is proved";
            survey.damages.push(format!("the snapshot {id} {what}"));
            return false;
        }
        if link.is_forgotten {
            survey.forgotten += 1;
        } else {
            survey.chain.push(id);
        }
        next = link.parent.as_ref().map(|parent| (parent.snapshot_id, Some(parent.digest.clone())));
    }
    true
}

fn told(error: &Error, path: &str) -> String {
    let text = error.to_string();
    if text.contains(path) { text } else { format!("{path}: {text}") }
}
