//! How fresh and how complete a source's snapshots are. Decisions only; [`super::watch`] looks and tells.
//!
//! **Freshness**: each chosen stream has an age, counted from when it was last read to its end; a run that failed it, wholly or in
//! part, does not make it younger. A source is stale when a stream is older than it may be. How old that is, is set at the source,
//! or follows from its jobs: twice the longest time between two due times of a schedule, at least an hour; of several schedules
//! the shortest such time. A source without either is not expected to be fresh. A paused source is not judged: somebody wanted
//! it so. It is again, by the age of what it has, as soon as it goes on. A deleted one has no row, so nobody is told of it any more.
//! One that waits for a sign-in is judged like any other: that is how its owner learns of it.
//!
//! **Completeness**: how many of the chosen streams, and of their records, the newest snapshot has as they should be: read by the newest
//! run, nothing of it failed, no suspicion. Parts that failed count as one record each.

mod gaps;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use self::gaps::Gaps;
use crate::{
    model::{
        Job, JobState, Source, SourceState,
        run::{Progress, StreamState as Reading},
        watch::StreamHealth,
    },
    snapshot::{Manifest, owner_of},
};

/// The least age that follows from a schedule.
const LEAST: Duration = Duration::from_secs(3600);

/// How old a source's streams may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MaxAge {
    /// So old, in seconds.
    pub seconds: u64,
    /// Where that is from.
    pub from: AgeFrom,
    /// Nobody expected anything before this instant: when the job whose schedule it follows from was made.
    #[serde(skip)]
    pub since: Option<Timestamp>,
}

/// Where a greatest age is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AgeFrom {
    /// A person set it.
    Source,
    /// It follows from a job's schedule.
    Schedule,
}

/// What is to be said of a source's freshness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No chosen stream is older than it may be.
    Fresh,
    /// One is.
    Stale,
    /// Nothing says how old it may be.
    NotExpected,
    /// Somebody paused it.
    Paused,
}

/// How fresh a source is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// In a word.
    pub state: State,
    /// How old its streams may be; `None` where nothing says so.
    pub max_age: Option<MaxAge>,
    /// Every chosen stream was read to its end at this instant or later; `None` when one never was.
    pub good_at: Option<Timestamp>,
    /// When it becomes stale, or became so; `None` where nothing says how old it may be.
    pub stale_at: Option<Timestamp>,
    /// The streams that are too old, in name order, with when each was last read to its end. Empty for a source whose streams
    /// are not known yet.
    pub stale_streams: Vec<(String, Option<Timestamp>)>,
}

/// How complete a source's newest snapshot is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Chosen streams that are as they should be.
    pub good_streams: u64,
    /// Chosen streams.
    pub streams: u64,
    /// Records of the streams that are as they should be, and of the others those that were not missed.
    pub good_items: u64,
    /// Records, and parts that failed.
    pub items: u64,
    /// What is not as it should be.
    pub reasons: Vec<Reason>,
}

/// Why a source is not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The stream; `None` for the source as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// What is wrong.
    pub what: Lack,
    /// How many parts, of those that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

/// What can be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// There is no snapshot of it.
    NeverBackedUp,
    /// The newest run could not read it; the snapshot has it as it was before.
    StreamFailed,
    /// The newest run could not read parts of it.
    ItemsFailed,
    /// So much of it was gone at once that it looks like a fault.
    Suspicious,
}

impl Completeness {
    /// Of a hundred streams so many are as they should be, rounded down: 100 only when all are. A source without snapshot has 0.
    pub fn percent(&self) -> u64 {
        (self.good_streams * 100).checked_div(self.streams).unwrap_or(0)
    }
}

/// How old a source's streams may be.
pub fn max_age(source: &Source, jobs: &[Job], gaps: &mut Gaps, now: Timestamp) -> Option<MaxAge> {
    if let Some(seconds) = source.watch.max_age_seconds {
        return Some(MaxAge { seconds, from: AgeFrom::Source, since: None });
    }
    let of_job = |job: &Job| {
        let gap = gaps.longest(&job.schedule, job.created_at, now)?;
        let seconds = gap.saturating_mul(2).max(LEAST).as_secs();
        Some(MaxAge { seconds, from: AgeFrom::Schedule, since: Some(job.created_at) })
    };
    jobs.iter().filter(|job| job.state == JobState::Active).filter_map(of_job).min_by_key(|age| age.seconds)
}

/// Judges a source at an instant.
pub fn freshness(source: &Source, max_age: Option<MaxAge>, now: Timestamp) -> Freshness {
    let chosen = chosen(source);
    let good: Vec<Option<Timestamp>> = match chosen.is_empty() {
        // Rows of older versions do not know their streams.
        true => vec![source.head.as_ref().map(|head| head.committed_at)],
        false => chosen.iter().map(|(_, health)| health.and_then(|health| health.good_at)).collect(),
    };
    let good_at = good.iter().copied().min().flatten();
    let Some(age) = max_age else {
        let state = if source.state == SourceState::Paused { State::Paused } else { State::NotExpected };
        return Freshness { state, max_age, good_at, stale_at: None, stale_streams: Vec::new() };
    };
    let ends = |good: Option<Timestamp>| end(good.unwrap_or_else(|| expected_since(source, age)), age.seconds);
    let stale_at = good.iter().map(|good| ends(*good)).min();
    let is_stale = stale_at.is_some_and(|at| at <= now);
    let state = match (source.state, is_stale) {
        (SourceState::Paused, _) => State::Paused,
        (_, true) => State::Stale,
        (_, false) => State::Fresh,
    };
    let is_old = |(name, health): &(&String, Option<&StreamHealth>)| {
        let good_at = health.and_then(|health| health.good_at);
        (ends(good_at) <= now).then(|| ((*name).clone(), good_at))
    };
    Freshness { state, max_age, good_at, stale_at, stale_streams: chosen.iter().filter_map(is_old).collect() }
}

/// From when on a stream that was never read counts as missing: a source that never had a snapshot from when it was made, or from
/// when a job was made for it; a stream that was chosen later from the last change of the source.
fn expected_since(source: &Source, age: MaxAge) -> Timestamp {
    let begun = if source.head.is_some() { source.updated_at } else { source.created_at };
    age.since.map_or(begun, |since| since.max(begun))
}

/// The first instant at which something that was good is too old.
fn end(good_at: Timestamp, max_age_seconds: u64) -> Timestamp {
    let age = SignedDuration::from_secs(i64::try_from(max_age_seconds).unwrap_or(i64::MAX));
    good_at.checked_add(age).unwrap_or(Timestamp::MAX)
}

/// How complete the newest snapshot is.
pub fn completeness(source: &Source) -> Completeness {
    let mut found = Completeness { good_streams: 0, streams: 0, good_items: 0, items: 0, reasons: Vec::new() };
    if source.head.is_none() {
        found.streams = source.streams.as_ref().map_or(0, |streams| streams.len() as u64);
        found.reasons.push(Reason { stream: None, what: Lack::NeverBackedUp, count: None });
        return found;
    }
    for (name, health) in chosen(source) {
        let mut lack = |what, count| found.reasons.push(Reason { stream: Some(name.clone()), what, count });
        let before = found.streams;
        found.streams = before + 1;
        let Some(health) = health.filter(|health| health.good_at.is_some()) else {
            let failed = health.is_some_and(|health| health.has_failed);
            lack(if failed { Lack::StreamFailed } else { Lack::NeverBackedUp }, None);
            continue;
        };
        if health.has_failed {
            lack(Lack::StreamFailed, None);
        }
        if health.failed_items > 0 {
            lack(Lack::ItemsFailed, Some(health.failed_items));
        }
        if health.is_suspicious {
            lack(Lack::Suspicious, None);
        }
        found.items += health.records + health.failed_items;
        found.good_items += if health.has_failed { 0 } else { health.records };
        let is_good = !health.has_failed && health.failed_items == 0 && !health.is_suspicious;
        found.good_streams += u64::from(is_good);
    }
    found
}

/// The chosen streams, in name order, with what the newest snapshot has of each.
fn chosen(source: &Source) -> Vec<(&String, Option<&StreamHealth>)> {
    let known = &source.watch.snapshot_streams;
    match &source.streams {
        // A row of an older version, whose snapshot is not described yet.
        Some(_) if known.is_empty() && source.head.is_some() => Vec::new(),
        Some(names) => {
            let mut names: Vec<&String> = names.iter().collect();
            names.sort_unstable();
            names.dedup();
            names.into_iter().map(|name| (name, known.get(name))).collect()
        }
        None => known.iter().map(|(name, health)| (name, Some(health))).collect(),
    }
}

/// Notes in a source's row what its new head has, for the transaction that makes it the head. A source that is stale, or that
/// nobody watched so far, is looked at at once.
pub fn note(source: &mut Source, progress: &Progress, snapshot: &Manifest, now: Timestamp) {
    let is_suspicious = |name: &str| {
        snapshot.suspicious_streams.keys().any(|suspect| suspect == name || owner_of(suspect) == Some(name))
    };
    let read = progress.streams.iter().filter(|(name, _)| owner_of(name).is_none());
    let health = |name: &str, failed_items: u64, has_failed: bool| {
        let state = snapshot.streams.get(name);
        StreamHealth {
            good_at: state.map(|state| state.window.ended_at),
            records: state.map_or(0, |state| state.records),
            has_failed: has_failed || snapshot.failed_streams.contains_key(name),
            failed_items,
            is_suspicious: is_suspicious(name),
        }
    };
    source.watch.snapshot_streams = read
        .map(|(name, stream)| {
            let has_failed = stream.state == Reading::Failed;
            (name.clone(), health(name, stream.failed_items.len() as u64, has_failed))
        })
        .collect();
    if source.watch.stale_since.is_some() || source.watch.watch_due_ms.is_none() {
        source.watch.look_at(now);
    }
}

/// The same from a snapshot alone, where the run's row is gone: which items failed is not known any more.
pub fn note_of_snapshot(source: &mut Source, snapshot: &Manifest, now: Timestamp) {
    let names = snapshot.streams.keys().chain(snapshot.failed_streams.keys());
    let mut progress = Progress::default();
    for name in names.filter(|name| owner_of(name).is_none()) {
        progress.streams.entry(name.clone()).or_default();
    }
    note(source, &progress, snapshot, now);
}
