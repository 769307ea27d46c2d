//! References from records that are equal in snapshot and product to records that were made again: they still name the old
//! key, and are set to the new one.

use std::collections::{BTreeMap, HashSet};

use futures::TryStreamExt;

use super::{
    Interrupted,
    decide::{Judge, writable},
    members,
    outcome::{Outcome, RecordOutcome},
    work::{Restore, Target},
    write::Writer,
};
use crate::{error::Result, snapshot::RecordKey};

/// Keys of records that this restore makes again, by stream.
#[derive(Default)]
pub(super) struct Made(BTreeMap<String, HashSet<RecordKey>>);

impl Made {
    /// Notes an outcome.
    pub(super) fn note(&mut self, outcome: &RecordOutcome) {
        if matches!(outcome.outcome, Outcome::Create | Outcome::Created) {
            self.0.entry(outcome.stream.clone()).or_default().insert(outcome.key.clone());
        }
    }

    /// The references of a record that lead to one that is made again.
    fn paths(&self, target: &Target, body: &[u8]) -> Result<Vec<Vec<String>>> {
        let record = writable(target, body)?;
        let leads_there = |stream: &str, text: &String| {
            let key = RecordKey::from_json([text.as_bytes()]).ok();
            key.is_some_and(|key| self.0.get(stream).is_some_and(|made| made.contains(&key)))
        };
        let references = target.write.references.iter().filter(|reference| {
            members::keys_at(&record, &reference.field).iter().any(|text| leads_there(&reference.stream, text))
        });
        Ok(references.map(|reference| reference.field.clone()).collect())
    }

    fn concerns(&self, target: &Target) -> bool {
        target.write.can_update
            && target.write.references.iter().any(|reference| self.0.contains_key(&reference.stream))
    }
}

impl Restore<'_> {
    /// Goes through the streams that may refer to a record that was made again. Costs one read of their snapshots.
    pub(super) async fn follow(&mut self) -> Result<(), Interrupted> {
        let Self { session, order, targets, states, ids, log, figures, made, .. } = self;
        let judge = Judge { states, targets, ids, order, is_linking: true };
        let writer = Writer::new(session, order)?;
        for target in targets.iter().filter(|target| made.concerns(target)) {
            let stream = &target.spec.name;
            let mut records = std::pin::pin!(states.wanted.scan(stream)?);
            while let Some(record) = records.try_next().await? {
                if !target.selection.contains(&record.key) || ids.is_done(stream, &record.key) {
                    continue;
                }
                let paths = made.paths(target, &record.body)?;
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
                ids.note(&outcome);
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
