//! What is to become of a record: make it, change it, leave it, or leave it to a person. Nothing is written here.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::{
    candidates::Candidate,
    ids::{IdMap, NewKey},
    members::{self, Members},
    natural::NaturalKeys,
    order::{Against, RestoreOrder},
    outcome::{Outcome, RecordOutcome},
    place::{How, Place, There},
    work::{States, Target},
};
use crate::{error::Result, snapshot::RecordKey};

/// What decisions rest on.
pub(super) struct Judge<'a> {
    pub(super) states: &'a States,
    pub(super) targets: &'a [Target],
    pub(super) ids: &'a IdMap,
    pub(super) natural: &'a NaturalKeys,
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
    /// That key, where it is not the one that the record had in the snapshot.
    pub(super) new_key: Option<RecordKey>,
    /// By what it was found in the product, where not by its key.
    pub(super) reason: Option<String>,
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
pub(super) struct Looked {
    moved: HashMap<(String, String), String>,
    deferred: Vec<Vec<String>>,
    /// Fields whose references lead to records that the restore would make.
    planned: Vec<Vec<String>>,
    missing: Vec<Missing>,
}

/// A reference that cannot be set.
struct Missing {
    /// The top-level field that holds it.
    field: String,
    outcome: Outcome,
    reason: String,
}

impl Looked {
    /// True when a field holds what it will hold in the product.
    pub(super) fn is_final(&self, path: &[String]) -> bool {
        let is_open = |open: &Vec<String>| open.starts_with(path) || path.starts_with(open);
        !self.deferred.iter().chain(&self.planned).any(is_open)
    }
}

impl Missing {
    fn of(field: &[String], outcome: Outcome, reason: String) -> Self {
        Self { field: field.first().cloned().unwrap_or_default(), outcome, reason }
    }
}

impl Judge<'_> {
    /// The decision about one record.
    pub(super) async fn decide(&self, target: &Target, candidate: &Candidate) -> Result<Decided> {
        let key = &candidate.key;
        let mut wanted = writable(target, &candidate.wanted)?;
        let looked = self.look(target, &wanted).await?;
        rewrite(target, &mut wanted, &looked);
        Ok(match self.place(target, candidate, &wanted, &looked).await? {
            Place::Nowhere => self.create(target, key, wanted, looked),
            Place::There(there) => self.update(target, key, there, wanted, looked).await?,
            Place::Unclear(reason) => {
                Decided::Left(RecordOutcome::because(&target.spec.name, key, Outcome::Conflict, reason))
            }
        })
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
        there: There,
        mut wanted: Members,
        looked: Looked,
    ) -> Result<Decided> {
        let stream = &target.spec.name;
        let current = writable(target, &there.body)?;
        let new_key = (there.how != How::SameKey).then(|| there.key.clone());
        let mut fields: BTreeSet<String> = members::differing(&wanted, &current).into_iter().collect();
        if self.states.is_elsewhere {
            // The same key is another record there.
            let open = looked.deferred.iter().chain(&looked.planned);
            fields.extend(open.filter_map(|path| path.first().cloned()));
        }
        if fields.is_empty() {
            let reason = there.skipped(target);
            let skipped = RecordOutcome::because(stream, key, Outcome::Skipped, reason);
            return Ok(Decided::Left(RecordOutcome { new_key, ..skipped }));
        }
        let names = fields.iter().cloned().collect::<Vec<_>>();
        let missing = looked.missing.iter().find(|missing| fields.contains(&missing.field));
        let left = if !target.write.can_update {
            Some((Outcome::Conflict, "it differs, and records of this stream cannot be changed"))
        } else if let Some(missing) = missing {
            Some((missing.outcome, &*missing.reason))
        } else if !self.order.overwrite && self.was_changed_since(target, &there, &current, &names).await? {
            Some((Outcome::Conflict, "it was changed in the product after the last backup"))
        } else {
            None
        };
        if let Some((outcome, reason)) = left {
            let left = RecordOutcome::because(stream, key, outcome, reason);
            return Ok(Decided::Left(RecordOutcome { fields: names, new_key, ..left }));
        }
        if self.order.dry_run {
            return Ok(Decided::Left(RecordOutcome {
                fields: names,
                new_key,
                reason: there.found(target),
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
        let reason = there.found(target);
        Ok(Decided::Update(Update { key: there.key, new_key, reason, body: wanted, current, deferred }))
    }

    /// True when the product holds something else than the newest backup did. A record that was found otherwise than by its key
    /// and only lacks what is wanted loses nothing.
    async fn was_changed_since(
        &self,
        target: &Target,
        there: &There,
        current: &Members,
        fields: &[String],
    ) -> Result<bool> {
        let lacks = |name: &String| current.get(name).is_none_or(|value| value.get() == "null");
        let is_new = there.how == How::SameKey || !fields.iter().all(lacks);
        let Some(base) = &self.states.base else {
            // A product that was never backed up holds the only copy.
            return Ok(self.states.is_elsewhere && self.order.against == Against::Product && is_new);
        };
        let stream = &target.spec.name;
        if !base.manifest().streams.contains_key(stream) {
            return Ok(is_new);
        }
        let Some(record) = base.get(stream, &there.key).await? else { return Ok(is_new) };
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
        let new_key = self.ids.new_key(stream, key)?.map(|new| new.key);
        let key = new_key.clone().unwrap_or_else(|| key.clone());
        Ok(Ok(Update { key, new_key, reason: None, body, current: None, deferred: Vec::new() }))
    }

    async fn look(&self, target: &Target, wanted: &Members) -> Result<Looked> {
        let mut looked = Looked::default();
        for reference in &target.write.references {
            for text in members::keys_at(wanted, &reference.field) {
                match self.referred(target, &reference.stream, &text).await? {
                    Referred::There => {}
                    Referred::Moved(new) => drop(looked.moved.insert((reference.stream.clone(), text), new)),
                    Referred::Before if self.order.dry_run => looked.planned.push(reference.field.clone()),
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
        if let Some(NewKey { key: new, is_earlier }) = self.ids.new_key(stream, &key)? {
            if is_earlier && self.states.current(stream, &new).await?.is_some() {
                return Ok(Referred::Moved(json(&new)));
            }
            if self.ids.is_done(stream, &key)? {
                let waits = is_late && !self.is_linking;
                return Ok(if waits { Referred::After } else { Referred::Moved(json(&new)) });
            }
        }
        if !self.states.is_elsewhere && self.states.current(stream, &key).await?.is_some() {
            return Ok(Referred::There);
        }
        let is_made = target.is_some_and(|target| target.write.can_create && target.selection.contains(&key));
        if !is_made || self.states.wanted.get(stream, &key).await?.is_none() {
            return Ok(Referred::Missing);
        }
        Ok(if is_late { Referred::After } else { Referred::Before })
    }
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
