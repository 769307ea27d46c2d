//! Pins and legal holds. They live in the bucket, so that they survive the loss of the tables.
//!
//! The marks of a snapshot are a log: sealed documents numbered from 0, each made by put-if-absent. Whoever wants to add one
//! reads the log to its end, decides, and puts the next number; when somebody else has taken that number, they read and
//! decide again. So all that happens to a snapshot has one order, also the decision to forget it: that is a mark too, added
//! only when nothing before it protects the snapshot, and nothing is added after it. A pin and a forgetting at the same time
//! thus end with either a kept snapshot or a refused pin, without any lock.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::rules::Reason;
use crate::{
    error::{Error, ErrorKind, Result},
    model::{EventId, SnapshotId},
    snapshot::{SourceStore, paths},
};

/// Who does something to a snapshot, why and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// A user's or key's id, `cli`, or `listbackup` for what the program does by itself.
    pub by: String,
    /// In words for people.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// The event that tells it, where that is no part of a row's change: whoever finds the act and not the event makes up for that.
    #[serde(rename = "eventId", default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

impl Act {
    /// An act that no event of its own tells.
    pub fn new(by: &str, reason: &str, at: Timestamp) -> Self {
        Self { by: by.to_owned(), reason: reason.to_owned(), at, event_id: None }
    }
}

/// One entry of a snapshot's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What it does.
    #[serde(flatten)]
    pub kind: MarkKind,
    /// Who, why, when.
    #[serde(flatten)]
    pub act: Act,
}

/// What a mark does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MarkKind {
    /// Keeps the snapshot until it is unpinned.
    Pin,
    /// Takes all pins away.
    Unpin,
    /// Keeps the snapshot until then, or until it is released.
    Hold {
        /// Without end when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Lifts all holds.
    Release,
    /// The snapshot is let go of; the last entry of its log.
    Forget,
}

/// What the log of a snapshot comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Pins in force.
    pub pins: Vec<Mark>,
    /// Holds that were not released; each may have run out.
    pub holds: Vec<Mark>,
    /// The decision to forget the snapshot.
    pub forgotten: Option<Mark>,
    /// Entries of the log.
    len: u32,
}

impl Marks {
    fn of(log: Vec<Mark>) -> Self {
        let mut marks = Self::default();
        log.into_iter().for_each(|mark| marks.add(mark));
        marks
    }

    fn add(&mut self, mark: Mark) {
        self.len += 1;
        match mark.kind {
            MarkKind::Pin => self.pins.push(mark),
            MarkKind::Unpin => self.pins.clear(),
            MarkKind::Hold { .. } => self.holds.push(mark),
            MarkKind::Release => self.holds.clear(),
            MarkKind::Forget => self.forgotten = Some(mark),
        }
    }

    /// True when somebody pinned the snapshot.
    pub fn is_pinned(&self) -> bool {
        !self.pins.is_empty()
    }

    /// True when a hold is in force at that instant.
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.holds.iter().any(|hold| is_in_force(hold, now))
    }

    /// Why the snapshot may not be forgotten at that instant.
    pub fn protections(&self, now: Timestamp) -> Vec<Reason> {
        let pins = self.pins.iter().map(|pin| (pin, None));
        let holds = self.holds.iter().filter(|hold| is_in_force(hold, now)).map(|hold| (hold, Some(until_of(hold))));
        pins.chain(holds)
            .map(|(Mark { act: Act { by, reason, .. }, .. }, hold)| {
                let (by, reason) = (by.clone(), reason.clone());
                match hold {
                    None => Reason::Pinned { by, reason },
                    Some(until) => Reason::Held { by, reason, until },
                }
            })
            .collect()
    }
}

fn until_of(hold: &Mark) -> Option<Timestamp> {
    match hold.kind {
        MarkKind::Hold { until } => until,
        _ => None,
    }
}

fn is_in_force(hold: &Mark, now: Timestamp) -> bool {
    until_of(hold).is_none_or(|until| until > now)
}

impl SourceStore {
    /// Pins a snapshot: it stays until it is unpinned. True when that changed anything.
    ///
    /// # Errors
    /// `NotFound` when there is no such snapshot, or it was forgotten.
    pub async fn pin(&self, snapshot_id: SnapshotId, act: Act) -> Result<bool> {
        self.mark(snapshot_id, MarkKind::Pin, act, |marks, act| {
            marks.pins.iter().all(|pin| (&pin.act.by, &pin.act.reason) != (&act.by, &act.reason))
        })
        .await
    }

    /// Takes all pins of a snapshot away. True when there was one.
    ///
    /// # Errors
    /// As [`SourceStore::pin`].
    pub async fn unpin(&self, snapshot_id: SnapshotId, act: Act) -> Result<bool> {
        self.mark(snapshot_id, MarkKind::Unpin, act, |marks, _| !marks.pins.is_empty()).await
    }

    /// Puts a snapshot under a legal hold, until an instant or without end. Further holds add to it. True when that
    /// changed anything.
    ///
    /// # Errors
    /// As [`SourceStore::pin`]; `Invalid` for an instant that has passed; `Denied` when the account's keys are being destroyed.
    pub async fn hold(&self, snapshot_id: SnapshotId, act: Act, until: Option<Timestamp>) -> Result<bool> {
        if until.is_some_and(|until| until <= act.at) {
            return Err(Error::new(ErrorKind::Invalid, "a hold must end in the future"));
        }
        let kind = MarkKind::Hold { until };
        let is_news = self
            .mark(snapshot_id, kind, act, |marks, act| {
                marks.holds.iter().all(|hold| (hold.kind, &hold.act.reason) != (kind, &act.reason))
            })
            .await?;
        // Whoever destroys the account's keys looks for holds again after they have marked that.
        self.segments.ring.refresh().await?;
        Ok(is_news)
    }

    /// Lifts all holds of a snapshot. True when there was one.
    ///
    /// # Errors
    /// As [`SourceStore::pin`].
    pub async fn release(&self, snapshot_id: SnapshotId, act: Act) -> Result<bool> {
        self.mark(snapshot_id, MarkKind::Release, act, |marks, _| !marks.holds.is_empty()).await
    }

    /// What the log of a snapshot comes to.
    ///
    /// # Errors
    /// `Corrupt` when an entry is damaged or missing.
    pub async fn marks(&self, snapshot_id: SnapshotId) -> Result<Marks> {
        self.mark_log(snapshot_id).await.map(Marks::of)
    }

    /// The entries of the logs of all snapshots of the source, in their order, forgotten ones included.
    ///
    /// # Errors
    /// `Corrupt` when an entry is damaged or missing.
    pub async fn all_mark_logs(&self) -> Result<BTreeMap<SnapshotId, Vec<Mark>>> {
        self.read_logs(&paths::marks(self.segments.scope.account_id(), self.segments.source_id)).await
    }

    /// The entries of a snapshot's log, in their order.
    ///
    /// # Errors
    /// `Corrupt` when an entry is damaged or missing.
    pub async fn mark_log(&self, snapshot_id: SnapshotId) -> Result<Vec<Mark>> {
        let prefix = paths::marks_of(self.segments.scope.account_id(), self.segments.source_id, snapshot_id);
        Ok(self.read_logs(&prefix).await?.into_values().next().unwrap_or_default())
    }

    /// The marks of every snapshot of the source that has any, forgotten ones included.
    ///
    /// # Errors
    /// `Corrupt` when an entry is damaged or missing.
    pub async fn all_marks(&self) -> Result<BTreeMap<SnapshotId, Marks>> {
        Ok(self.all_mark_logs().await?.into_iter().map(|(snapshot_id, log)| (snapshot_id, Marks::of(log))).collect())
    }

    async fn read_logs(&self, prefix: &str) -> Result<BTreeMap<SnapshotId, Vec<Mark>>> {
        let mut logs: BTreeMap<SnapshotId, Vec<Mark>> = BTreeMap::new();
        for entry in self.segments.documents().list_all(prefix).await? {
            let Some((snapshot_id, number)) = paths::parse_mark(&entry.path) else { continue };
            let log = logs.entry(snapshot_id).or_default();
            if u32::try_from(log.len()).ok() != Some(number) {
                return Err(Error::new(ErrorKind::Corrupt, "an entry of a snapshot's pins and holds is missing")
                    .with("path", &entry.path)
                    .with("expected", log.len()));
            }
            log.push(self.segments.documents().read_document(&entry.path).await?);
        }
        Ok(logs)
    }

    /// Adds a mark unless `is_news` says that it changes nothing.
    async fn mark(
        &self,
        snapshot_id: SnapshotId,
        kind: MarkKind,
        act: Act,
        is_news: impl Fn(&Marks, &Act) -> bool,
    ) -> Result<bool> {
        if !self.has_manifest(snapshot_id).await? {
            return Err(self.not_there(snapshot_id).await);
        }
        let mark = Mark { kind, act };
        self.append(snapshot_id, &mark, |marks| match &marks.forgotten {
            Some(forgotten) => Err(gone(snapshot_id, forgotten)),
            None => Ok(is_news(marks, &mark.act)),
        })
        .await
    }

    /// Appends to a snapshot's log what `decide` allows after it has seen all of the log. False when it decides not to.
    pub(super) async fn append(
        &self,
        snapshot_id: SnapshotId,
        mark: &Mark,
        decide: impl Fn(&Marks) -> Result<bool>,
    ) -> Result<bool> {
        loop {
            let marks = self.marks(snapshot_id).await?;
            if !decide(&marks)? {
                return Ok(false);
            }
            let path = paths::mark(self.segments.scope.account_id(), self.segments.source_id, snapshot_id, marks.len);
            if self.segments.documents().put_document(&path, mark).await?
                || self.segments.documents().read_document::<Mark>(&path).await? == *mark
            {
                return Ok(true);
            }
        }
    }
}

/// The error for a snapshot that was let go of.
pub(super) fn gone(snapshot_id: SnapshotId, forgotten: &Mark) -> Error {
    let Act { by, reason, at, .. } = &forgotten.act;
    Error::new(ErrorKind::NotFound, format!("the snapshot was forgotten on {at:.0} by {by} because {reason}"))
        .with("snapshot", snapshot_id)
}
