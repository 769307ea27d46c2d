//! References from records that are equal in snapshot and product to records that were made again: they still name the old
//! key, and are set to the new one.

use futures::TryStreamExt;

use super::{
    Interrupted,
    decide::{Judge, writable},
    ids::IdMap,
    members,
    outcome::{Outcome, RecordOutcome},
    work::{Restore, Target},
    write::Writer,
};
use crate::{error::Result, snapshot::RecordKey};

/// The references of a record that lead to one that is made again.
fn paths(ids: &IdMap, target: &Target, body: &[u8]) -> Result<Vec<Vec<String>>> {
    let record = writable(target, body)?;
    let mut paths = Vec::new();
    for reference in &target.write.references {
        for text in members::keys_at(&record, &reference.field) {
            let Ok(key) = RecordKey::from_json([text.as_bytes()]) else { continue };
            if ids.is_made(&reference.stream, &key)? {
                paths.push(reference.field.clone());
                break;
            }
        }
    }
    Ok(paths)
}

/// True when records of the stream may refer to one that is made again.
fn concerns(ids: &IdMap, target: &Target) -> bool {
    target.write.can_update && target.write.references.iter().any(|reference| ids.makes(&reference.stream))
}

impl Restore<'_> {
    /// Goes through the streams that may refer to a record that was made again. Costs one read of their snapshots.
    pub(super) async fn follow(&mut self) -> Result<(), Interrupted> {
        let Self { session, order, targets, states, ids, natural, log, figures } = self;
        if states.is_elsewhere {
            // There every record was looked at: none is equal by its key.
            return Ok(());
        }
        let judge = Judge { states, targets, ids, natural, order, is_linking: true };
        let writer = Writer::new(session, order)?;
        for target in targets.iter().filter(|target| concerns(ids, target)) {
            let stream = &target.spec.name;
            let mut records = std::pin::pin!(states.wanted.scan(stream)?);
            while let Some(record) = records.try_next().await? {
                if !target.selection.contains(&record.key) || ids.is_done(stream, &record.key)? {
                    continue;
                }
                let paths = paths(ids, target, &record.body)?;
                if paths.is_empty() {
                    continue;
                }
                if let Some(stop) = session.stop.reason() {
                    return Err(Interrupted::Stop(stop));
                }
                let fields = paths.iter().filter_map(|path| path.first().cloned()).collect();
                let outcome = if order.dry_run {
                    RecordOutcome { fields, ..RecordOutcome::new(stream, &record.key, Outcome::Update) }
                } else {
                    match judge.link(target, &record.key, &paths).await? {
                        Ok(update) => as_updated(writer.link(target, &record.key, update).await?),
                        Err(reason) => RecordOutcome::because(stream, &record.key, Outcome::Failed, reason),
                    }
                };
                ids.note(&outcome)?;
                outcome.count(figures.entry(stream.clone()).or_default());
                log.push(outcome);
                if log.is_due() {
                    log.save().await?;
                }
            }
        }
        Ok(())
    }
}

/// A record that had no other outcome was changed.
fn as_updated(outcome: RecordOutcome) -> RecordOutcome {
    let is_linked = outcome.outcome == Outcome::Linked;
    RecordOutcome { outcome: if is_linked { Outcome::Updated } else { outcome.outcome }, ..outcome }
}
