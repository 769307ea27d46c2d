//! One account with very many things in it, made in a fresh data directory.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use listbackup::local;
use listbackup_engine::{
    adapters::embedded::{EmbeddedStores, OpenMode},
    model::{
        ActivityKind, EventId, Id, Job, Run, RunId, RunStatus, Source, Watch,
        id::IdKind,
        run::Trigger,
        scope::{AccountScope, SystemScope},
    },
    ports::{Condition, Ports, Write},
    run::{
        event::{self, Subject},
        relay::Relay,
    },
    store::{self, Store},
};
use serde_json::{Map, json};

use crate::load::Asked;

/// The things of so many paths are asked for.
const ASKED: usize = 100;
/// All of it happened in the days before now.
const DAYS: i64 = 30;
/// Writes of one transaction.
const BATCH: usize = 100;

/// What was made.
pub struct Large {
    pub access_key: String,
    account: String,
    sources: Vec<String>,
    jobs: Vec<String>,
    runs: Vec<String>,
}

struct Making {
    ports: Ports,
    store: Store,
    scope: AccountScope,
    began: Timestamp,
    number: u64,
    writes: Vec<Write>,
}

impl Large {
    /// So many sources with a job each, runs of the jobs, and events of the runs, each with its place in the account's chain.
    pub async fn make(data_dir: &Path, sources: usize, runs: usize, events: usize) -> Self {
        let stores = EmbeddedStores::open(data_dir, OpenMode::Write).expect("a data directory");
        let (ports, system) = (stores.ports(), SystemScope::of_this_process());
        let local = local::ensure(&ports, &system).await.expect("an owner");
        let key_file = local::access_key_file(&ports, &local, data_dir).await.expect("a key");
        let access_key = std::fs::read_to_string(key_file).expect("a key").trim().to_owned();
        let began = ports.clock.now() - SignedDuration::from_hours(DAYS * 24);
        let store = Store::new(ports.tables.clone());
        let mut making = Making { ports, store, scope: local.scope, began, number: 0, writes: Vec::new() };
        let mut jobs = Vec::new();
        for number in 0..sources {
            jobs.push(making.source(number).await);
        }
        let (mut run_ids, each) = (Vec::new(), events / runs);
        for number in 0..runs {
            let at = began + SignedDuration::from_millis(DAYS * 86_400_000 * number as i64 / runs as i64);
            run_ids.push(making.run(&jobs[number % jobs.len()], at, each).await);
        }
        making.flush().await;
        let mut relay = Relay::default();
        while relay.look(&making.ports, &system).await.expect("events are linked") > 0 {}
        let first = |ids: Vec<String>| ids.into_iter().step_by(7).take(ASKED).collect();
        Self {
            access_key,
            account: local.scope.account_id().to_string(),
            sources: first(jobs.iter().map(|job| job.source_id.to_string()).collect()),
            jobs: first(jobs.iter().map(|job| job.job_id.to_string()).collect()),
            runs: first(run_ids.iter().map(ToString::to_string).collect()),
        }
    }

    /// The reading and listing routes that show things of the account.
    pub fn paths(&self) -> Vec<Asked> {
        let each = |name: &'static str, ids: &[String]| Asked {
            name,
            paths: ids.iter().map(|id| name.replace("{id}", id)).collect(),
        };
        let one = |name: &'static str| Asked { name, paths: vec![name.replace("{id}", &self.account)] };
        let mut all: Vec<Asked> = [
            "/sources",
            "/sources/health",
            "/jobs",
            "/activity",
            "/activity?kind=run.succeeded",
            "/accounts",
            "/accounts/{id}",
            "/accounts/{id}/usage",
            "/accounts/{id}/members",
            "/analytics/overview",
            "/analytics/runs",
            "/analytics/storage",
            "/analytics/sources",
            "/billing/usage",
            "/integrations",
            "/webhooks",
            "/data/snapshots",
            "/data/files",
            "/auth/me",
            "/system/status",
        ]
        .map(one)
        .into();
        all.extend([
            each("/sources/{id}", &self.sources),
            each("/sources/{id}/health", &self.sources),
            each("/activity?source_id={id}", &self.sources),
            each("/jobs/{id}", &self.jobs),
            each("/jobs/{id}/runs", &self.jobs),
            each("/jobs/{id}/schedule", &self.jobs),
            each("/runs/{id}", &self.runs),
            each("/activity?run_id={id}", &self.runs),
        ]);
        all
    }
}

impl Making {
    fn id<K: IdKind>(&mut self, at: Timestamp) -> Id<K> {
        self.number += 1;
        let mut digest = [0; 10];
        digest[2..].copy_from_slice(&self.number.to_be_bytes());
        Id::derived(at.as_millisecond(), digest)
    }

    async fn write(&mut self, write: Write) {
        self.writes.push(write);
        if self.writes.len() == BATCH {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        self.store.transact(&self.scope, writes).await.expect("rows");
    }

    async fn source(&mut self, number: usize) -> Job {
        let (at, account_id) = (self.began, self.scope.account_id());
        let (source_id, job_id) = (self.id(at), self.id(at));
        let source = Source {
            settings: json!({ "base_url": "https://example.com" }),
            watch: Watch::default(),
            ..Source::new(account_id, source_id, "sandbox", format!("Source {number}"), at)
        };
        let job = Job::new(account_id, source_id, job_id, "Nightly", at);
        self.write(store::put(&source, Condition::Absent).expect("a row")).await;
        self.write(store::put(&job, Condition::Absent).expect("a row")).await;
        job
    }

    async fn run(&mut self, job: &Job, at: Timestamp, events: usize) -> RunId {
        let run_id = self.id(at);
        let run = Run { snapshot_id: Some(self.id(at)), ..run(job, run_id, at) };
        self.write(store::put(&run, Condition::Absent).expect("a row")).await;
        for number in 0..events {
            let event_id: EventId = self.id(at + SignedDuration::from_millis(number as i64));
            let (kind, details) = happened(number, events);
            let told = event::with_id(event_id, job.account_id, kind, event::SYSTEM, Subject::run(&run), details);
            self.write(event::keep(&told).expect("a row")).await;
        }
        run_id
    }
}

/// The `number`-th event of a run.
fn happened(number: usize, of: usize) -> (ActivityKind, Map<String, serde_json::Value>) {
    let figures = json!({
        "integration": "sandbox", "records": 120, "added": 10, "changed": 5, "removed": 1, "bytesRead": 60_000,
        "bytesStored": 9_000, "requests": 12, "waitedMs": 40, "ranMs": 900, "liveRecords": 120, "liveBytes": 9_000,
    });
    match number {
        0 => (ActivityKind::RunQueued, Map::new()),
        1 => (ActivityKind::RunStarted, Map::new()),
        _ if number + 1 == of => (ActivityKind::RunSucceeded, figures.as_object().cloned().unwrap_or_default()),
        _ => (ActivityKind::DataRead, Map::new()),
    }
}

fn run(job: &Job, run_id: RunId, at: Timestamp) -> Run {
    Run {
        status: RunStatus::Succeeded,
        epoch: 1,
        attempts: 1,
        snapshot_records: Some(120),
        started_at: Some(at),
        finished_at: Some(at + SignedDuration::from_secs(1)),
        last_event_ms: at.as_millisecond(),
        ..Run::new(job, run_id, Trigger::Manual { by: "bench".to_owned() }, at)
    }
}
