//! What holds whatever happens to workers, stores and products: ten invariants, each written once. The store and the rules of runs
//! call these functions, debug builds check more of them in passing ([`held`]), and the tests look at what is left with the same ones.
//! A violation names its invariant by number.
//!
//! They judge and do nothing else: no I/O, no clock. This module knows nouns only, so every layer above them may call it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Debug, Display},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{
    model::{AccountId, RunStatus, WorkerId, scope::Scope, source::Lease},
    tables::{Ownership, TableSchema},
};

/// The ten, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// Every segment of a published snapshot exists and hashes right.
    I1,
    /// A record covered by a committed checkpoint is in the next published snapshot or among its failed items.
    I2,
    /// A stale epoch never moves a cursor, a head or a token.
    I3,
    /// Nothing but expiry or erasure removes reachable bytes.
    I4,
    /// Requests of one credential in a window never exceed its budget.
    I5,
    /// Every due time has exactly one outcome, and every run one end.
    I6,
    /// No account reads a key, row, object, event or log of another.
    I7,
    /// No secret is in any log line, event, error, row or answer.
    I8,
    /// Collection never deletes what a live run or a kept snapshot refers to.
    I9,
    /// What is restored from a snapshot equals it.
    I10,
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// Where, and how it is instead. Never a secret.
    pub what: String,
}

/// Whether an invariant holds at one place.
pub type Held = Result<(), Violation>;

impl Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is violated: {}", self.invariant, self.what)
    }
}

impl std::error::Error for Violation {}

/// Checks in debug builds, where a violation ends what is under way; costs nothing elsewhere.
pub fn held(check: impl FnOnce() -> Held) {
    if cfg!(debug_assertions)
        && let Err(violation) = check()
    {
        debug_assert!(false, "{violation}");
    }
}

fn require(invariant: Invariant, holds: bool, what: impl FnOnce() -> String) -> Held {
    if holds { Ok(()) } else { Err(Violation { invariant, what: what() }) }
}

/// I1: reading all of a snapshot found nothing wrong with it.
///
/// # Errors
/// With the findings.
pub fn whole<F: Display>(snapshot: impl Display, findings: impl IntoIterator<Item = F>) -> Held {
    let findings: Vec<String> = findings.into_iter().map(|finding| finding.to_string()).collect();
    require(Invariant::I1, findings.is_empty(), || format!("snapshot {snapshot}: {}", findings.join("; ")))
}

/// I2: what a committed checkpoint of a stream covers was published, or is among the failed items.
///
/// # Errors
/// With the first records that are neither.
pub fn covered<K: Ord + Debug>(
    stream: &str,
    covered: &BTreeSet<K>,
    published: &BTreeSet<K>,
    failed: &BTreeSet<K>,
) -> Held {
    let lost: Vec<&K> =
        covered.iter().filter(|key| !published.contains(key) && !failed.contains(key)).take(5).collect();
    require(Invariant::I2, lost.is_empty(), || format!("stream {stream} lost {lost:?} and perhaps more"))
}

/// I2: what a snapshot holds of a stream is what the product held while it was read. `versions` are all that it held in that time:
/// each record is there as it was in one of them, and none is missing that was in all of them. Where nothing changed that leaves one
/// answer.
///
/// # Errors
/// With the first records that were never so, or are missing.
pub fn as_read<K: Ord + Debug, V: PartialEq>(
    stream: &str,
    versions: &[BTreeMap<K, V>],
    snapshot: &BTreeMap<K, V>,
) -> Held {
    let was_so = |key: &K, record: &V| versions.iter().any(|version| version.get(key) == Some(record));
    let wrong = snapshot.iter().filter(|(key, record)| !was_so(key, record)).map(|(key, _)| key);
    let stayed = |key: &&K| versions.iter().all(|version| version.contains_key(key));
    let there = versions.first().into_iter().flat_map(BTreeMap::keys).filter(stayed);
    let missing: Vec<&K> = there.filter(|key| !snapshot.contains_key(key)).take(5).collect();
    let wrong: Vec<&K> = wrong.take(5).collect();
    require(Invariant::I2, wrong.is_empty() && missing.is_empty(), || {
        format!(
            "stream {stream} holds {wrong:?} as they never were while it was read, lacks {missing:?}, and perhaps more"
        )
    })
}

/// I3: who writes for a source with this lease under `epoch` is its present owner.
///
/// # Errors
/// When a newer owner has taken it, or it was let go.
pub fn owns(lease: &Lease, epoch: u64) -> Held {
    require(Invariant::I3, lease.epoch == epoch && lease.owner.is_some(), || {
        format!("a write under epoch {epoch} of a lease whose epoch is {}", lease.epoch)
    })
}

/// I3: a lease that is written over another one. Its epoch stays, or grows by one with a new owner.
///
/// # Errors
/// When it falls, jumps, or the owner changes under the same epoch.
pub fn lease_follows(before: &Lease, after: &Lease) -> Held {
    let is_taken = after.epoch == before.epoch + 1 && after.owner.is_some();
    let is_kept = after.epoch == before.epoch && (after.owner == before.owner || after.owner.is_none());
    require(Invariant::I3, is_taken || is_kept, || format!("a lease {after:?} follows {before:?}"))
}

/// I3: a head was moved by the owner of the source's lease.
///
/// # Errors
/// When somebody else moved it.
pub fn head_moved_by(lease_before: &Lease, by: Option<WorkerId>) -> Held {
    require(Invariant::I3, lease_before.owner.is_some() && lease_before.owner == by, || {
        format!("{by:?} moved the head under the lease {lease_before:?}")
    })
}

/// I3: the epochs of a chain of snapshots grow.
///
/// # Errors
/// When the newer one's is not above the older one's.
pub fn epochs_grow(older: u64, newer: u64) -> Held {
    require(Invariant::I3, newer > older, || format!("a snapshot of epoch {newer} stands on one of epoch {older}"))
}

/// I3: the version of rotated tokens is the one after those that are stored.
///
/// # Errors
/// When others were stored meanwhile.
pub fn tokens_follow(stored: u64, rotated: u64) -> Held {
    require(Invariant::I3, stored + 1 == rotated, || {
        format!("tokens of version {rotated} follow stored ones of version {stored}")
    })
}

/// I4: an object that was removed before anything of its account expired or was erased. Runs and collection remove what they left
/// behind themselves, but nothing that a manifest names, and no manifest or key.
///
/// # Errors
/// When bytes are gone that were reachable.
pub fn removable(path: &str, is_named: bool) -> Held {
    let is_for_good = path.ends_with(".snap") || path.ends_with(".key");
    require(Invariant::I4, !is_for_good && !is_named, || format!("{path} was removed"))
}

/// I5: in no stretch of `window` there are more than `limit` of these instants, which are in order.
///
/// # Errors
/// With the busiest stretch.
pub fn within_budget(requests: &[Duration], window: Duration, limit: usize) -> Held {
    let crowded = requests.windows(limit + 1).find(|stretch| stretch[limit] - stretch[0] < window);
    require(Invariant::I5, crowded.is_none(), || {
        format!("more than {limit} requests in {window:?} from {:?} on", crowded.map(|stretch| stretch[0]))
    })
}

/// I5: no request went out while the product's own pause lasted.
///
/// # Errors
/// When one did.
pub fn pause_kept(request: Duration, pause_ends: Duration) -> Held {
    require(Invariant::I5, request >= pause_ends, || format!("a request at {request:?}, in a pause to {pause_ends:?}"))
}

/// I6: the runs that a due time made.
///
/// # Errors
/// When it is not one, or that one has not ended.
pub fn one_outcome(due_at: impl Display, runs: &[RunStatus]) -> Held {
    let is_one = matches!(runs, [status] if status.has_ended());
    require(Invariant::I6, is_one, || format!("the due time {due_at} has the outcomes {runs:?}"))
}

/// I6: the ends that were told of a run.
///
/// # Errors
/// When it is not the one that is stored.
pub fn one_end(run: impl Display, stored: RunStatus, told: &[RunStatus]) -> Held {
    require(Invariant::I6, told == [stored], || format!("run {run} is {stored:?} and told as {told:?}"))
}

/// I6: where a run goes from where it stands.
///
/// # Errors
/// When it would begin or end a second time.
pub fn may_become(run: impl Display, before: RunStatus, after: RunStatus) -> Held {
    let may = before == after || before.may_become(after);
    require(Invariant::I6, may, || format!("run {run} becomes {after:?} after {before:?}"))
}

/// I7: a row that was read or written in this scope belongs to it.
///
/// # Errors
/// When it is another account's.
pub fn own_row(scope: Scope<'_>, table: &TableSchema, row: &Map<String, Value>) -> Held {
    let Scope::Account(scope) = scope else { return Ok(()) };
    let owner = row.get("accountId").and_then(Value::as_str);
    let is_own = table.ownership == Ownership::Account && owner == Some(scope.account_id().to_string().as_str());
    require(Invariant::I7, is_own, || format!("a row of {} in the scope of {}", table.name, scope.account_id()))
}

/// I7: a path that an account names is its own.
///
/// # Errors
/// When it is another one's.
pub fn own_path(account_id: AccountId, path: &str) -> Held {
    let rest = path.strip_prefix("accounts/").and_then(|rest| rest.strip_prefix(&account_id.to_string()));
    require(Invariant::I7, rest.is_some_and(|rest| rest.starts_with('/')), || {
        format!("{} in the scope of {account_id}", path.escape_debug())
    })
}

/// I8: none of these secrets is in the text.
///
/// # Errors
/// With the place; the secret stays unsaid.
pub fn silent<'a>(place: impl Display, text: &str, secrets: impl IntoIterator<Item = &'a str>) -> Held {
    let is_told = secrets.into_iter().any(|secret| !secret.is_empty() && text.contains(secret));
    require(Invariant::I8, !is_told, || format!("a secret is in {place}"))
}

/// I9: an object that collection is about to delete.
///
/// # Errors
/// When a live run or a kept snapshot names it.
pub fn collectable(id: impl Display, is_live: bool, is_kept: bool) -> Held {
    require(Invariant::I9, !is_live && !is_kept, || {
        format!("{id} is deleted though {} names it", if is_live { "a live run" } else { "a kept snapshot" })
    })
}

/// I10: what was restored or exported of a stream equals what the snapshot holds, record by record, by key.
///
/// # Errors
/// With the keys that differ.
pub fn equal<K: Ord + Debug, R: PartialEq>(stream: &str, snapshot: &BTreeMap<K, R>, restored: &BTreeMap<K, R>) -> Held {
    let differs = |key: &&K| snapshot.get(key) != restored.get(key);
    let keys: BTreeSet<&K> = snapshot.keys().chain(restored.keys()).collect();
    let different: Vec<&K> = keys.into_iter().filter(differs).take(5).collect();
    require(Invariant::I10, different.is_empty(), || format!("stream {stream} differs in {different:?}"))
}

#[cfg(test)]
mod tests;
