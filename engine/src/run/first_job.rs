//! A source's first job: runs that somebody asks for, and those of a rebuilt source, belong to it.

use jiff::Timestamp;
use serde_json::{Map, json};

use super::event::{self, Subject, event};
use crate::{
    error::{ErrorKind, Result},
    model::{ActivityKind, Job, Source, SourceId, id::kind, scope::AccountScope},
    ports::{Condition, Ports, Query, SortRange},
    store::{self, Store, key},
    tables::JOBS,
};

/// The first job of a source; `None` when it has none.
///
/// # Errors
/// Those of [`Store::query`].
pub async fn find(store: &Store, scope: &AccountScope, source_id: SourceId) -> Result<Option<Job>> {
    let query = Query {
        table: &JOBS,
        index: Some("by-source"),
        partition: source_id.to_string(),
        sort: SortRange::All,
        descending: false,
        limit: 1,
        after: None,
    };
    Ok(store.query::<Job>(scope, query).await?.rows.pop().map(|found| found.row))
}

/// The job for a source that has none; it runs when asked. Its id follows from the source's, so that of two who make it at
/// once one stores it, and a rebuilt one is the same again.
pub fn make(source: &Source, at: Timestamp) -> Job {
    let (job_id, name) = (source.source_id.of::<kind::Job>(), format!("Back up {}", source.name));
    Job::new(source.account_id, source.source_id, job_id, name, at)
}

/// The first job of a source, stored as made at `at` by somebody when there is none; and whether it had to be.
///
/// # Errors
/// Those of [`Store::query`] and [`Store::transact`].
pub async fn find_or_make(
    ports: &Ports,
    scope: &AccountScope,
    source: &Source,
    at: Timestamp,
    by: &str,
) -> Result<(Job, bool)> {
    let store = Store::new(ports.tables.clone());
    if let Some(job) = find(&store, scope, source.source_id).await? {
        return Ok((job, false));
    }
    let job = make(source, at);
    let subject = Subject::job(job.source_id, job.job_id);
    let details = Map::from_iter([("name".to_owned(), json!(job.name))]);
    let told = event(ports, job.account_id, ActivityKind::JobCreated, by, subject, details);
    match store.transact(scope, vec![store::put(&job, Condition::Absent)?, event::keep(&told)?]).await {
        // Somebody else made it meanwhile.
        Err(error) if error.kind() == ErrorKind::Conflict => {
            Ok((store.get(scope, key(job.account_id, job.job_id)).await?.row, false))
        }
        made => {
            made?;
            event::publish(ports, scope, &[told]);
            Ok((job, true))
        }
    }
}
