//! The watch over freshness: looks at each source when something may have changed, and once an hour, and tells when it becomes stale
//! and when it is fresh again, each once. Whether it is, says [`super::freshness`].
//!
//! A source stands in the `watch` index with the time of its next look, so a look reads those that are due and no others. What it
//! decides is written together with the event that tells it, so no crash tells anything twice or not at all.

use std::time::Duration;

use futures::TryStreamExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    RunContext,
    event::{self, Subject, event},
    freshness::{self, Freshness, Gaps, State},
};
use crate::{
    error::{ErrorKind, Result},
    model::{
        ActivityEvent, ActivityKind, Job, Source, SourceId,
        scope::AccountScope,
        watch::{STALE, WATCHED},
    },
    ports::{Condition, Query, Random, SortRange},
    store::{self, Store, Versioned},
    tables::{JOBS, SOURCES},
};

/// Sources of one look.
const LOOK_MAX: usize = 200;
/// A source is looked at again after this at the latest: its jobs may have changed.
const AGAIN_AFTER: Duration = Duration::from_secs(3600);
/// Sources that were made together drift apart by up to so much a round.
const JITTER_MAX_MS: u64 = 10 * 60 * 1000;
/// Stale streams that an event names.
const NAMED_MAX: usize = 20;
/// Jobs of one read.
const JOBS_PAGE: usize = 100;
/// Stale sources of one read when they are counted.
const COUNTED_PAGE: usize = 500;

/// Looks at every source whose time has come. Returns how many.
///
/// # Errors
/// `Retry` when the store cannot be reached; the next look goes on.
pub async fn look(ctx: &RunContext, gaps: &mut Gaps) -> Result<usize> {
    let now = ctx.ports.clock.now();
    let mut done = 0;
    for shard in [WATCHED, STALE] {
        let query = Query { limit: LOOK_MAX, ..due(shard, Some(now)) };
        for source in ctx.store.sound::<Source>(&ctx.system, query).await?.rows {
            match look_at(ctx, &source, gaps, now).await {
                // A job of it has another shape than jobs have: others have their turn.
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    let (table, account, id) = (SOURCES.name, source.row.account_id, source.row.source_id);
                    tracing::error!(%error, table, %account, source = %id, "it cannot be told how fresh a source is; again later");
                    put_off(ctx, source, now).await?;
                }
                looked => looked?,
            }
            done += 1;
        }
    }
    Ok(done)
}

/// How many sources of all accounts are stale, and for how long the one that is so longest; for metrics.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn count_stale(ctx: &RunContext) -> Result<(u64, Duration)> {
    let now = ctx.ports.clock.now();
    let stale = ctx.store.sound_rows::<Source>(&ctx.system, Query { limit: COUNTED_PAGE, ..due(STALE, None) });
    stale
        .try_fold((0, Duration::ZERO), |(count, longest), source| {
            let since = source.watch.stale_since.unwrap_or(now);
            let stale_for = Duration::try_from(now.duration_since(since)).unwrap_or_default();
            std::future::ready(Ok((count + 1, longest.max(stale_for))))
        })
        .await
}

/// Shows in the metrics how many sources are stale, and for how long.
///
/// # Errors
/// As [`count_stale`].
pub async fn show_stale(ctx: &RunContext) -> Result<()> {
    let (count, longest) = count_stale(ctx).await?;
    metrics::gauge!("listbackup_sources_stale").set(count as f64);
    metrics::gauge!("listbackup_sources_stale_longest_seconds").set(longest.as_secs_f64());
    Ok(())
}

/// The jobs of a source.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn jobs_of(store: &Store, scope: &AccountScope, source_id: SourceId) -> Result<Vec<Job>> {
    store.all(scope, by_source(source_id)).await
}

/// The jobs of each of some sources, in the order of these.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn jobs_of_each(
    store: &Store,
    scope: &AccountScope,
    sources: impl Iterator<Item = SourceId>,
) -> Result<Vec<Vec<Job>>> {
    store.all_of_each(scope, sources.map(by_source).collect()).await
}

fn by_source(source_id: SourceId) -> Query {
    Query {
        table: &JOBS,
        index: Some("by-source"),
        partition: source_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: JOBS_PAGE,
        after: None,
    }
}

/// Sources of a shard that are due at an instant, or all of them.
fn due(shard: &str, now: Option<Timestamp>) -> Query {
    Query {
        table: &SOURCES,
        index: Some("watch"),
        partition: shard.to_owned(),
        sort: SortRange::Numbers(None, now.map(|now| now.as_millisecond() + 1)),
        descending: false,
        limit: LOOK_MAX,
        after: None,
    }
}

async fn look_at(ctx: &RunContext, source: &Versioned<Source>, gaps: &mut Gaps, now: Timestamp) -> Result<()> {
    let scope = ctx.system.account(source.row.account_id);
    let jobs = jobs_of(&ctx.store, &scope, source.row.source_id).await?;
    let age = freshness::max_age(&source.row, &jobs, gaps, now);
    let found = freshness::freshness(&source.row, age, now);
    let mut row = source.row.clone();
    let told = decide(ctx, &mut row, &found, now);
    row.watch.look_at(next_look(&found, now, jitter(&*ctx.ports.random)));
    write(ctx, &row, source.version, told).await
}

/// Has a source looked at again later, and changes nothing else.
async fn put_off(ctx: &RunContext, source: Versioned<Source>, now: Timestamp) -> Result<()> {
    let mut row = source.row;
    row.watch.look_at(now + AGAIN_AFTER);
    write(ctx, &row, source.version, None).await
}

async fn write(ctx: &RunContext, row: &Source, version: u64, told: Option<ActivityEvent>) -> Result<()> {
    let scope = ctx.system.account(row.account_id);
    let mut writes = vec![store::put(row, Condition::Version(version))?];
    writes.extend(told.as_ref().map(event::keep).transpose()?);
    match ctx.store.transact(&scope, writes).await {
        Ok(()) => event::publish(&ctx.ports, &scope, told.as_slice()),
        // Another worker looked, or the source changed: the next look sees.
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What changes, and the event that tells it.
fn decide(ctx: &RunContext, source: &mut Source, found: &Freshness, now: Timestamp) -> Option<ActivityEvent> {
    let (kind, details) = match (found.state, source.watch.stale_since) {
        (State::Stale, None) => {
            source.watch.stale_since = Some(found.stale_at.unwrap_or(now));
            (ActivityKind::SourceStale, stale_details(source, found))
        }
        (State::Fresh | State::NotExpected, Some(since)) => {
            source.watch.stale_since = None;
            (ActivityKind::SourceFresh, fresh_details(source, found, since))
        }
        // Nobody is told of what goes on, nor of what somebody paused.
        _ => return None,
    };
    let subject = Subject { after_ms: Some(source.watch.watch_event_ms), ..Subject::source(source.source_id) };
    let told = event(&ctx.ports, source.account_id, kind, event::SYSTEM, subject, details);
    source.watch.watch_event_ms = told.timestamp;
    Some(told)
}

fn stale_details(source: &Source, found: &Freshness) -> Map<String, Value> {
    let mut details = named(source, found);
    details.insert("staleSince".to_owned(), json!(found.stale_at));
    let streams: Vec<Value> = found
        .stale_streams
        .iter()
        .take(NAMED_MAX)
        .map(|(name, good_at)| json!({ "stream": name, "goodAt": good_at }))
        .collect();
    details.insert("streams".to_owned(), json!(streams));
    details.insert("streamCount".to_owned(), json!(found.stale_streams.len()));
    details
}

fn fresh_details(source: &Source, found: &Freshness, since: Timestamp) -> Map<String, Value> {
    let mut details = named(source, found);
    details.insert("staleSince".to_owned(), json!(since));
    let reason = if found.state == State::Fresh { "backed_up" } else { "not_expected" };
    details.insert("reason".to_owned(), json!(reason));
    details
}

fn named(source: &Source, found: &Freshness) -> Map<String, Value> {
    let mut details = Map::new();
    details.insert("name".to_owned(), json!(source.name));
    details.insert("goodAt".to_owned(), json!(found.good_at));
    if let Some(age) = found.max_age {
        details.insert("maxAgeSeconds".to_owned(), json!(age.seconds));
        details.insert("maxAgeFrom".to_owned(), json!(age.from));
    }
    details
}

/// When it becomes stale, or in an hour and a little.
fn next_look(found: &Freshness, now: Timestamp, jitter: Duration) -> Timestamp {
    let again = now + AGAIN_AFTER + jitter;
    match found.state {
        State::Fresh => found.stale_at.map_or(again, |at| at.min(again)),
        State::Stale | State::NotExpected | State::Paused => again,
    }
}

fn jitter(random: &dyn Random) -> Duration {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    Duration::from_millis(u64::from_le_bytes(bytes) % JITTER_MAX_MS)
}
