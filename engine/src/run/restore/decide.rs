//! What is to become of a record: make it, change it, leave it, or leave it to a person. Nothing is written here.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{
    candidates::Candidate,
    ids::IdMap,
    members::{self, Members},
    order::RestoreOrder,
    outcome::{Outcome, RecordOutcome},
    work::{States, Target},
};
use crate::{error::Result, snapshot::RecordKey};

/// What decisions rest on.
pub(super) struct Judge<'a> {
    pub(super) states: &'a States,
    pub(super) targets: &'a [Target],
    pub(super) ids: &'a IdMap,
    pub(super) order: &'a RestoreOrder,
    /// All records are made: references that waited are set now.
    pub(super) is_linking: bool,
}

/// A decision.
#[derive(Debug)]
pub(super) enum Decided {
    /// Nothing is written.
    Left(RecordOutcome),
    /// Make it.
    Create(Create),
    /// Change it.
    Update(Update),
}

/// A record to make.
#[derive(Debug)]
pub(super) struct Create {
    /// All its fields, but those that the product sets itself, and those that are set at the end.
    pub(super) body: Bytes,
    /// Fields whose references are set at the end.
    pub(super) deferred: Vec<Vec<String>>,
}

/// A record to change.
#[derive(Debug)]
pub(super) struct Update {
    /// Its key in the product.
    pub(super) key: RecordKey,
    /// The fields that differ.
    pub(super) body: Members,
    /// The record as it was compared; nobody may have changed it meanwhile. `None` does not look.
    pub(super) current: Option<Members>,
    /// Fields whose references are set at the end.
    pub(super) deferred: Vec<Vec<String>>,
}

/// What a key in a reference stands for.
enum Referred {
    /// The record is there, under this key.
    There,
    /// The record is there, under another key.
    Moved(String),
    /// It is made by this restore before this record.
    Before,
    /// It is made by this restore, but not before this record.
    After,
    /// It is not there, and is not made.
    Missing,
}

/// The references of a record, looked up.
#[derive(Default)]
struct Looked {
    moved: HashMap<(String, String), String>,
    deferred: Vec<Vec<String>>,
    missing: Vec<Missing>,
}

/// A reference that cannot be set.
struct Missing {
    /// The top-level field that holds it.
    field: String,
    outcome: Outcome,
    reason: String,
}

impl Missing {
    fn of(field: &[String], outcome: Outcome, reason: String) -> Self {
        Self { field: field.first().cloned().unwrap_or_default(), outcome, reason }
    }
}

impl Judge<'_> {
    /// The decision about one record.
    pub(super) async fn decide(&self, target: &Target, candidate: &Candidate) -> Result<Decided> {
        let (stream, key) = (&*target.spec.name, &candidate.key);
        let mut wanted = writable(target, &candidate.wanted)?;
        let looked = self.look(target, &wanted).await?;
        rewrite(target, &mut wanted, &looked);
        let (key_now, current) = match &candidate.current {
            Some(current) => (key.clone(), Some(current.clone())),
            None => self.made_earlier(stream, key).await?,
        };
        Ok(match current {
            None => self.create(target, key, wanted, looked),
            Some(current) => {
                let current = writable(target, &current)?;
                self.update(target, key, key_now, wanted, current, looked).await?
            }
        })
    }

    /// A record that an earlier restore made again is there under its new key.
    async fn made_earlier(&self, stream: &str, key: &RecordKey) -> Result<(RecordKey, Option<Bytes>)> {
        let Some(new) = self.ids.new_key(stream, key) else { return Ok((key.clone(), None)) };
        let body = self.states.current.get(stream, &new).await?.map(|record| record.body);
        Ok((new, body))
    }

    fn create(&self, target: &Target, key: &RecordKey, mut wanted: Members, looked: Looked) -> Decided {
        let stream = &target.spec.name;
        if !target.write.can_create {
            let reason = "it is gone, and records of this stream cannot be made again";
            return Decided::Left(RecordOutcome::because(stream, key, Outcome::Conflict, reason));
        }
        if let Some(missing) = looked.missing.first() {
            return Decided::Left(RecordOutcome::because(stream, key, missing.outcome, &*missing.reason));
        }
        for path in &looked.deferred {
            members::remove(&mut wanted, path);
        }
        if self.order.dry_run {
            return Decided::Left(RecordOutcome::new(stream, key, Outcome::Create));
        }
        match members::text(&wanted) {
            Ok(body) => Decided::Create(Create { body, deferred: looked.deferred }),
            Err(error) => Decided::Left(RecordOutcome::because(stream, key, Outcome::Failed, error.to_string())),
        }
    }

    async fn update(
        &self,
        target: &Target,
        key: &RecordKey,
        key_now: RecordKey,
        mut wanted: Members,
        current: Members,
        looked: Looked,
    ) -> Result<Decided> {
        let stream = &target.spec.name;
        let fields: BTreeSet<String> = members::differing(&wanted, &current).into_iter().collect();
        if fields.is_empty() {
            return Ok(Decided::Left(skipped(stream, key, key_now)));
        }
        let names = fields.iter().cloned().collect::<Vec<_>>();
        let missing = looked.missing.iter().find(|missing| fields.contains(&missing.field));
        let left = if !target.write.can_update {
            Some((Outcome::Conflict, "it differs, and records of this stream cannot be changed"))
        } else if let Some(missing) = missing {
            Some((missing.outcome, &*missing.reason))
        } else if !self.order.overwrite && self.was_changed_since(target, &key_now, &current).await? {
            Some((Outcome::Conflict, "it was changed in the product after the last backup"))
        } else {
            None
        };
        if let Some((outcome, reason)) = left {
            let left = RecordOutcome::because(stream, key, outcome, reason);
            return Ok(Decided::Left(RecordOutcome { fields: names, ..left }));
        }
        if self.order.dry_run {
            return Ok(Decided::Left(RecordOutcome {
                fields: names,
                ..RecordOutcome::new(stream, key, Outcome::Update)
            }));
        }
        let deferred: Vec<_> =
            looked.deferred.into_iter().filter(|path| path.first().is_some_and(|name| fields.contains(name))).collect();
        for path in &deferred {
            members::remove(&mut wanted, path);
        }
        wanted.retain(|name, _| fields.contains(name));
        let current = (!self.order.overwrite).then_some(current);
        Ok(Decided::Update(Update { key: key_now, body: wanted, current, deferred }))
    }

    /// True when the product holds something else than the newest backup did.
    async fn was_changed_since(&self, target: &Target, key: &RecordKey, current: &Members) -> Result<bool> {
        let Some(base) = &self.states.base else { return Ok(false) };
        let stream = &target.spec.name;
        if !base.manifest().streams.contains_key(stream) {
            return Ok(true);
        }
        let Some(record) = base.get(stream, key).await? else { return Ok(true) };
        let base = writable(target, &record.body)?;
        Ok(!(members::differing(&base, current).is_empty() && members::differing(current, &base).is_empty()))
    }

    /// The change that sets the references of a record that were left open.
    ///
    /// # Errors
    /// The inner one says what it refers to and is not there.
    pub(super) async fn link(
        &self,
        target: &Target,
        key: &RecordKey,
        fields: &[Vec<String>],
    ) -> Result<Result<Update, String>> {
        let stream = &target.spec.name;
        let Some(record) = self.states.wanted.get(stream, key).await? else {
            return Ok(Err("the snapshot holds it no more".to_owned()));
        };
        let mut body = writable(target, &record.body)?;
        let names: BTreeSet<&String> = fields.iter().filter_map(|path| path.first()).collect();
        body.retain(|name, _| names.contains(name));
        let looked = self.look(target, &body).await?;
        if let Some(missing) = looked.missing.first() {
            return Ok(Err(missing.reason.clone()));
        }
        if !looked.deferred.is_empty() {
            let open: Vec<String> = looked.deferred.iter().map(|path| path.join(".")).collect();
            return Ok(Err(format!("what it refers to in {} could not be restored", open.join(", "))));
        }
        rewrite(target, &mut body, &looked);
        let key = self.ids.new_key(stream, key).unwrap_or_else(|| key.clone());
        Ok(Ok(Update { key, body, current: None, deferred: Vec::new() }))
    }

    async fn look(&self, target: &Target, wanted: &Members) -> Result<Looked> {
        let mut looked = Looked::default();
        for reference in &target.write.references {
            for text in members::keys_at(wanted, &reference.field) {
                match self.referred(target, &reference.stream, &text).await? {
                    Referred::There => {}
                    Referred::Moved(new) => drop(looked.moved.insert((reference.stream.clone(), text), new)),
                    Referred::Before if self.order.dry_run => {}
                    Referred::After => {
                        if !looked.deferred.contains(&reference.field) {
                            looked.deferred.push(reference.field.clone());
                        }
                    }
                    Referred::Before => {
                        let reason = format!("it refers to {} {text}, which could not be restored", reference.stream);
                        looked.missing.push(Missing::of(&reference.field, Outcome::Failed, reason));
                    }
                    Referred::Missing => {
                        let why = "which is not in the product and not part of the restore";
                        let reason = format!("it refers to {} {text}, {why}", reference.stream);
                        looked.missing.push(Missing::of(&reference.field, Outcome::Conflict, reason));
                    }
                }
            }
        }
        Ok(looked)
    }

    /// What is sent under one idempotency key must stay the same over all attempts. So whether a reference waits until the
    /// end follows from the sequence of streams, and not from how far an earlier attempt came.
    async fn referred(&self, from: &Target, stream: &str, text: &str) -> Result<Referred> {
        let Ok(key) = RecordKey::from_json([text.as_bytes()]) else { return Ok(Referred::Missing) };
        let target = self.targets.iter().find(|target| target.spec.name == stream);
        let is_late = target.is_some_and(|target| target.rank >= from.rank);
        if let Some(new) = self.ids.new_key(stream, &key) {
            if self.is_there(stream, &new).await? {
                return Ok(Referred::Moved(json(&new)));
            }
            if self.ids.is_done(stream, &key) {
                let waits = is_late && !self.is_linking;
                return Ok(if waits { Referred::After } else { Referred::Moved(json(&new)) });
            }
        }
        if self.is_there(stream, &key).await? {
            return Ok(Referred::There);
        }
        let is_made = target.is_some_and(|target| target.write.can_create && target.selection.contains(&key));
        if !is_made || self.states.wanted.get(stream, &key).await?.is_none() {
            return Ok(Referred::Missing);
        }
        Ok(if is_late { Referred::After } else { Referred::Before })
    }

    async fn is_there(&self, stream: &str, key: &RecordKey) -> Result<bool> {
        let is_held = self.states.current.manifest().streams.contains_key(stream);
        Ok(is_held && self.states.current.get(stream, key).await?.is_some())
    }
}

fn skipped(stream: &str, key: &RecordKey, key_now: RecordKey) -> RecordOutcome {
    if *key == key_now {
        let reason = "only fields that the product sets itself differ";
        return RecordOutcome::because(stream, key, Outcome::Skipped, reason);
    }
    let reason = format!("an earlier restore made it again as {key_now}");
    RecordOutcome { new_key: Some(key_now), ..RecordOutcome::because(stream, key, Outcome::Skipped, reason) }
}

/// The fields of a record that can be written.
pub(super) fn writable(target: &Target, body: &[u8]) -> Result<Members> {
    let mut members = members::parse(body)?;
    for path in &target.write.read_only {
        members::remove(&mut members, path);
    }
    Ok(members)
}

/// Puts the keys of the product in the place of those of the snapshot.
fn rewrite(target: &Target, wanted: &mut Members, looked: &Looked) {
    for reference in &target.write.references {
        let new = |text: &str| looked.moved.get(&(reference.stream.clone(), text.to_owned())).cloned();
        members::replace_keys(wanted, &reference.field, &new);
    }
}

/// A key of one field as JSON text.
fn json(key: &RecordKey) -> String {
    let parts = key.parts().unwrap_or_default();
    parts.first().map(crate::snapshot::KeyPart::to_json).unwrap_or_default()
}
