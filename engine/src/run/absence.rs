//! The mass-absence guard. A run that deletes much of a stream has perhaps met a fault, a lost right, a filter that somebody
//! set in the product. What it read is kept as it is, but marked, the last snapshot before it is pinned, and an alert is raised.
//! Attachments are looked at by themselves: they can go while the records that they hang on stay.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::{
    commit::Outcomes,
    event::{self, of_run},
    pipeline::StreamOutcome,
    retention,
    session::Session,
    upkeep,
};
use crate::{
    error::{ErrorKind, Result},
    model::{ActivityEvent, ActivityKind, Run, SnapshotId},
    snapshot::{
        FinishedStream, Manifest, MassAbsence, attachments_stream, owner_of,
        retain::{Link, MarkKind},
    },
};

/// Streams, and attachments of streams, of which a run deletes suspiciously much.
pub(super) fn suspicions(session: &Session, outcomes: &Outcomes) -> BTreeMap<String, MassAbsence> {
    let guard = &session.claim.source.guard;
    let done = outcomes.iter().filter_map(|(name, outcome)| match outcome {
        StreamOutcome::Done(finished) => Some((name, finished)),
        _ => None,
    });
    let streams = done.flat_map(|(name, finished)| {
        let attachments = finished.attachments.as_deref().map(|own| (attachments_stream(name), own));
        std::iter::once((name.clone(), &**finished)).chain(attachments)
    });
    let suspicion = |(name, finished): (String, &FinishedStream)| {
        let (removed, before) = (finished.figures.removed, session.parent_state(&name)?.records);
        guard.is_suspicious(removed, before).then_some((name, MassAbsence { removed, before }))
    };
    streams.filter_map(suspicion).collect()
}

/// Pins the newest snapshot before a suspicious one that is not suspicious itself, and returns its id. Done before the new
/// snapshot becomes the head, so that no rule can let go of the good one in between. Safe to repeat.
///
/// # Errors
/// `Corrupt` when a manifest or mark of the chain is damaged; those of the stores.
pub(super) async fn pin_last_good(session: &Session, snapshot: &Manifest) -> Result<Option<SnapshotId>> {
    if !snapshot.is_suspicious() {
        return Ok(None);
    }
    let (ctx, scope) = (&session.ctx, &session.claim.scope);
    let reason = format!("snapshot {} lacks {}", snapshot.snapshot_id, told(&snapshot.suspicious_streams));
    let mut next = snapshot.parent.as_ref().map(|parent| parent.snapshot_id);
    while let Some(snapshot_id) = next {
        let link = session.source_store.link(snapshot_id).await?;
        next = link.parent().map(|parent| parent.snapshot_id);
        if !matches!(&link, Link::Kept(loaded) if !loaded.manifest.is_suspicious()) {
            continue;
        }
        let place = (snapshot.source_id, snapshot_id);
        match retention::mark(ctx, scope, place, MarkKind::Pin, upkeep::ACTOR, &reason).await {
            Ok(_) => return Ok(Some(snapshot_id)),
            // Let go of in this very moment: the one before it has to do.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The alert of a suspicious snapshot.
pub(super) fn alert(
    session: &Session,
    run: &mut Run,
    snapshot: &Manifest,
    pinned: Option<SnapshotId>,
) -> Option<ActivityEvent> {
    if !snapshot.is_suspicious() {
        return None;
    }
    let mut details = Map::new();
    details.insert("snapshotId".to_owned(), json!(snapshot.snapshot_id));
    details.insert("streams".to_owned(), json!(snapshot.suspicious_streams));
    if let Some(pinned) = pinned {
        details.insert("pinnedSnapshotId".to_owned(), json!(pinned));
    }
    let (ports, kind) = (&session.ctx.ports, ActivityKind::SnapshotSuspicious);
    Some(of_run(ports, kind, event::SYSTEM, run, details))
}

/// `300 of 1000 records of contacts, 20 of 50 attachments of contacts, …`.
pub(super) fn told(lacks: &BTreeMap<String, MassAbsence>) -> String {
    let one = |(name, MassAbsence { removed, before }): (&String, &MassAbsence)| match owner_of(name) {
        Some(owner) => format!("{removed} of {before} attachments of {owner}"),
        None => format!("{removed} of {before} records of {name}"),
    };
    lacks.iter().map(one).collect::<Vec<_>>().join(", ")
}
