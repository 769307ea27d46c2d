//! Which runs have not ended: of an account, and those of a job that nobody has begun.

use std::collections::BTreeMap;

use futures::TryStreamExt;

use super::{
    order::{LIVE_SHARD, SWEEP_MAX},
    sources,
};
use crate::{
    error::Result,
    model::{JobId, Run, RunId, Source, scope::AccountScope},
    ports::{Query, SortRange},
    store::{Store, Versioned},
    tables::RUNS,
};

/// The account's runs that have not ended, each once: one that is moved on in the index meanwhile may come twice from it. With them those
/// that hold a lease, which the index may not show for a moment.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub(super) async fn live_runs_of(store: &Store, scope: &AccountScope) -> Result<Vec<Run>> {
    let query = Query {
        table: &RUNS,
        index: Some("live"),
        partition: LIVE_SHARD.to_owned(),
        sort: SortRange::All,
        descending: false,
        limit: SWEEP_MAX,
        after: None,
    };
    let mut runs: BTreeMap<RunId, Run> =
        store.rows::<Run>(scope, query).map_ok(|run| (run.run_id, run)).try_collect().await?;
    if !store.index_delay().is_zero() {
        let sources: Vec<Source> = store.sound_rows(scope, sources::of_account(scope)).try_collect().await?;
        for run_id in sources.into_iter().filter_map(|source| source.lease.run_id) {
            if !runs.contains_key(&run_id)
                && let Some(run) = store.find_by::<Run>(scope, "by-id", run_id).await?
                && !run.row.status.has_ended()
            {
                runs.insert(run_id, run.row);
            }
        }
    }
    Ok(runs.into_values().collect())
}

/// Backups of a job that somebody ordered and nobody has begun, the oldest first; at most `limit`.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub(super) async fn waiting_runs(
    store: &Store,
    scope: &AccountScope,
    job_id: JobId,
    limit: usize,
) -> Result<Vec<Versioned<Run>>> {
    let query = Query {
        table: &RUNS,
        index: Some("waiting"),
        partition: job_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit,
        after: None,
    };
    Ok(store.query::<Run>(scope, query).await?.rows)
}
