//! Destroying an account's keys: without them nothing that is stored of the account can be read by anybody, wherever copies of it
//! are. What stands against it, in which order it happens, and what is left.
//!
//! 1. Nothing is held or locked.
//! 2. The mark `keys/destroyed` is put: from now on nobody opens the keys, makes a new one or puts a hold without noticing.
//! 3. Still nothing is held or locked; else the mark goes again.
//! 4. The keys are deleted, the first one first, and listed again until none is left.
//!
//! Each step may be cut off: the same command does again what may not have been finished.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FIRST_EPOCH, MAX_EPOCHS};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{AccountId, SnapshotId, SourceId, scope::AccountScope},
    ports::Blobs,
    snapshot::{
        account_store::AccountStore,
        paths,
        retain::{Act, Reason},
        source_store::SourceStore,
        store::SnapshotStore,
    },
};

const FORMAT: u32 = 1;
/// Forms of a key that one listing has room for; more than two are left only where rewrapping was cut off again and again.
const FORMS: usize = 4;
/// A refusal names so many snapshots, and counts the others.
const TOLD_MAX: usize = 50;

/// The mark that an account's keys were destroyed, stored in clear: there is no key any more to seal it with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyDestruction {
    /// 1.
    pub format: u32,
    /// Whose keys.
    pub account_id: AccountId,
    /// Who, why, when.
    #[serde(flatten)]
    pub act: Act,
}

impl KeyDestruction {
    /// The mark of an account whose keys were destroyed: one look at one object.
    ///
    /// # Errors
    /// Those of the port; `Corrupt` when the mark is damaged.
    pub async fn of(blobs: &dyn Blobs, scope: &AccountScope) -> Result<Option<Self>> {
        let path = paths::keys_destroyed(scope.account_id());
        match blobs.size(scope, &path).await? {
            Some(_) => read_mark(blobs, scope, &path).await,
            None => Ok(None),
        }
    }

    /// Stands before what can come to nothing in an account whose keys were destroyed.
    ///
    /// # Errors
    /// `Denied`, with who destroyed them, when and why; those of [`KeyDestruction::of`].
    pub async fn refuse(blobs: &dyn Blobs, scope: &AccountScope) -> Result<()> {
        Self::of(blobs, scope).await?.map_or(Ok(()), |destruction| Err(destruction.error()))
    }

    /// What everybody is told who wants to read or write.
    pub fn error(&self) -> Error {
        let Act { by, reason, at, .. } = &self.act;
        let message = format!(
            "the account's key was destroyed on {at:.0} by {by} because {reason}: nothing stored of it can be read any more"
        );
        Error::new(ErrorKind::Denied, message).with("account", self.account_id)
    }
}

/// What is stored of an account's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredKeys {
    /// Epochs that have a data key. New objects use the last.
    pub epochs: BTreeSet<u32>,
    /// Epoch and number of each stored form of a key: one an epoch, unless they are being wrapped anew.
    pub forms: BTreeSet<(u32, u32)>,
    /// They were destroyed, or are being: keys may be left then.
    pub destruction: Option<KeyDestruction>,
}

impl StoredKeys {
    /// One listing, and a read when the keys were destroyed.
    pub(super) async fn look(blobs: &dyn Blobs, scope: &AccountScope) -> Result<Self> {
        let account_id = scope.account_id();
        let entries = blobs.list(scope, &paths::keys(account_id), None, MAX_EPOCHS * FORMS + 1).await?;
        let forms: BTreeSet<_> = entries.iter().filter_map(|entry| paths::parse_key(&entry.path)).collect();
        let epochs = forms.iter().map(|(epoch, _)| *epoch).collect();
        let path = paths::keys_destroyed(account_id);
        let destruction = match entries.iter().any(|entry| entry.path == path) {
            true => read_mark(blobs, scope, &path).await?,
            false => None,
        };
        Ok(Self { epochs, forms, destruction })
    }

    /// Numbers of the stored forms of one epoch's key, the newest first.
    pub(super) fn forms_of(&self, epoch: u32) -> impl Iterator<Item = u32> {
        self.forms.range((epoch, 0)..=(epoch, u32::MAX)).rev().map(|(_, form)| *form)
    }

    /// The epoch of new objects.
    pub fn newest(&self) -> Option<u32> {
        self.epochs.last().copied()
    }

    /// The keys, unless they were destroyed.
    pub(super) fn living(self) -> Result<Self> {
        self.destruction.as_ref().map_or(Ok(()), |destruction| Err(destruction.error()))?;
        Ok(self)
    }
}

/// `None` when the mark was taken back at this moment.
async fn read_mark(blobs: &dyn Blobs, scope: &AccountScope, path: &str) -> Result<Option<KeyDestruction>> {
    let object = match blobs.get(scope, path).await {
        Ok(object) => object,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&object).map(Some).map_err(|error| {
        let message = "the account's key was destroyed, but the mark that says so is damaged";
        Error::new(ErrorKind::Corrupt, message).with("path", path).caused_by(error)
    })
}

/// A snapshot that stands against destroying its account's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Its source.
    pub source_id: SourceId,
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Legal holds in force, and the lock.
    pub reasons: Vec<Reason>,
}

impl Protected {
    fn tell(&self) -> String {
        let reasons: Vec<String> = self.reasons.iter().map(ToString::to_string).collect();
        format!("{} of {} is {}", self.snapshot_id, self.source_id, reasons.join(", "))
    }
}

/// How far destroying has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doom {
    /// The mark, which may be of an earlier attempt.
    pub destruction: KeyDestruction,
    /// Keys that are left.
    pub keys: usize,
}

impl SnapshotStore {
    /// What is stored of an account's keys. Opens none.
    ///
    /// # Errors
    /// Those of the port; `Corrupt` when the mark of their destruction is damaged.
    pub async fn stored_keys(&self, scope: &AccountScope) -> Result<StoredKeys> {
        StoredKeys::look(&**self.blobs(), scope).await
    }

    /// Decides that an account's keys are destroyed, and marks it: nobody opens them from now on. [`SnapshotStore::destroy_keys`]
    /// follows; it may be repeated, also by another process, with another act, which then is not heard.
    ///
    /// # Errors
    /// `Denied`, with all of them, while snapshots are held or locked; `Corrupt` when a log of holds is damaged: what it
    /// held cannot be known then.
    pub async fn decide_to_destroy_keys(&self, scope: &AccountScope, act: Act) -> Result<Doom> {
        let (blobs, path) = (self.blobs(), paths::keys_destroyed(scope.account_id()));
        let stored = self.stored_keys(scope).await?;
        let has_first = stored.epochs.contains(&FIRST_EPOCH);
        let ring = match stored.destruction {
            // The first key goes first: deleting has begun, so nothing stood against it.
            Some(destruction) if !has_first => return Ok(Doom { destruction, keys: stored.epochs.len() }),
            Some(_) => self.condemned_ring(scope, stored.epochs.last().copied().unwrap_or(FIRST_EPOCH)).await?,
            None => self.own_ring(scope).await?,
        };
        let (now, account) = (act.at, self.account_with(Arc::new(ring), scope));
        self.refuse_protected(&account, now).await?;
        let wanted = KeyDestruction { format: FORMAT, account_id: scope.account_id(), act };
        let body = serde_json::to_vec(&wanted)
            .map_err(|error| Error::new(ErrorKind::Bug, "a mark does not serialise").caused_by(error))?;
        blobs.put_if_absent(scope, &path, Bytes::from(body)).await?;
        if let Err(error) = self.refuse_protected(&account, now).await {
            blobs.delete(scope, &path).await?;
            return Err(error);
        }
        let stored = self.stored_keys(scope).await?;
        Ok(Doom { destruction: stored.destruction.unwrap_or(wanted), keys: stored.epochs.len() })
    }

    /// Deletes the keys of an account for which that was decided, and everything that this process remembers of the account.
    /// Returns how many there were.
    ///
    /// # Errors
    /// `Bug` when nobody decided it; those of the port.
    pub async fn destroy_keys(&self, scope: &AccountScope) -> Result<usize> {
        let mut deleted = 0;
        loop {
            let stored = self.stored_keys(scope).await?;
            if stored.destruction.is_none() {
                return Err(Error::new(ErrorKind::Bug, "nobody decided to destroy the account's keys"));
            }
            if stored.epochs.is_empty() {
                break;
            }
            for (epoch, form) in &stored.forms {
                self.blobs().delete(scope, &paths::key_form(scope.account_id(), *epoch, *form)).await?;
            }
            deleted += stored.epochs.len();
        }
        self.let_go_of(scope.account_id()).await;
        Ok(deleted)
    }

    async fn refuse_protected(&self, account: &AccountStore, now: Timestamp) -> Result<()> {
        let mut protected = Vec::new();
        for source_id in account.sources().await? {
            protected.extend(account.source(source_id).protected(now).await?);
        }
        if protected.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = protected.iter().take(TOLD_MAX).map(Protected::tell).collect();
        let more = match protected.len().saturating_sub(TOLD_MAX) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let message = format!(
            "snapshots are under a legal hold or a lock, so the account's key stays: release the holds, or wait for the locks to \
             end: {}{more}",
            told.join("; ")
        );
        Err(Error::new(ErrorKind::Denied, message))
    }
}

impl SourceStore {
    /// Snapshots that are held or locked.
    async fn protected(&self, now: Timestamp) -> Result<Vec<Protected>> {
        let mut marks = self.all_marks().await?;
        let mut protected = Vec::new();
        for snapshot_id in self.stored_manifests().await? {
            let marks = marks.remove(&snapshot_id).unwrap_or_default();
            let mut reasons = marks.protections(now);
            reasons.retain(|reason| matches!(reason, Reason::Held { .. }));
            let locked = self.locked_until(snapshot_id).await?.filter(|until| *until > now);
            reasons.extend(locked.map(|until| Reason::Locked { until }));
            if !reasons.is_empty() {
                protected.push(Protected { source_id: self.segments.source_id, snapshot_id, reasons });
            }
        }
        Ok(protected)
    }
}
