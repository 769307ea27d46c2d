//! What is left after an hour, judged by the invariants.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp};
use listbackup_engine::{
    export::{ExportSpec, Format, Selection},
    invariants::{self, Held},
    model::{ActivityEvent, ActivityKind, Run, RunStatus, SnapshotId, run::Trigger},
    snapshot::{SourceStore, VerifyLevel, paths},
    store::Store,
    tables::{ACTIVITY, API_KEYS, FILES, JOBS, RUNS, SOURCES},
};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    as_read::{AsRead, by_id, records},
    hour::{Simulation, Tenant, whole},
};
use crate::{activity, desk::PLANTED, watch::Watch, world::World};

/// Later than this before the end, a due time may not have fired yet: clocks differ.
const UNSETTLED: SignedDuration = SignedDuration::from_secs(60);
/// By then all events have their place in the chain, and are counted; simulated time.
const RELAYED: Duration = Duration::from_secs(20);

/// Gathers what did not hold.
#[derive(Default)]
struct Findings(Vec<String>);

impl Findings {
    fn note(&mut self, held: Held) {
        self.0.extend(held.err().map(|violation| violation.to_string()));
    }
}

/// What is not as promised.
pub async fn broken(simulation: &mut Simulation) -> Vec<String> {
    if !simulation.is_over().await {
        return vec![format!("runs do not end: {:?}", simulation.tenants[0].runs().await)];
    }
    let mut found = Findings::default();
    match simulation.last_run().await {
        Some(run) if run.status == RunStatus::Succeeded => {}
        Some(run) => {
            found.0.push(format!("the last run is {:?}, though nothing goes wrong: {:?}", run.status, run.error))
        }
        None => found.0.push("the last run does not end".to_owned()),
    }
    let scene = Scene {
        world: &simulation.world,
        watch: &simulation.watch,
        tenants: &simulation.tenants,
        ended_at: simulation.ended_at,
    };
    found.0.extend(scene.broken().await);
    // Relays look each five seconds, and see by indexes what is owed: those may be behind.
    sleep(RELAYED).await;
    // Without conditions of writes a chain cannot be.
    for tenant in simulation.tenants.iter().filter(|_| !simulation.is_unfenced) {
        found.0.extend(activity::violations(&simulation.world, &tenant.scope).await);
    }
    found.0.extend(simulation.desk.violations());
    found.0
}

/// What is looked at.
pub struct Scene<'a> {
    pub world: &'a World,
    pub watch: &'a Watch,
    pub tenants: &'a [Tenant],
    /// Until when due times must have fired.
    pub ended_at: Timestamp,
}

impl Scene<'_> {
    /// What is not as promised, once every run has ended.
    pub async fn broken(&self) -> Vec<String> {
        let mut found = Findings::default();
        for tenant in self.tenants {
            let runs = tenant.runs().await;
            times(&mut found, tenant, &runs, self.ended_at);
            ends(&mut found, tenant, &runs).await;
            rows(&mut found, self, tenant).await;
            snapshots(&mut found, self, tenant, &runs).await;
        }
        found.0.extend(self.watch.violations());
        found.0
    }
}

/// I6: every due time has one run.
fn times(found: &mut Findings, tenant: &Tenant, runs: &[Run], ended_at: Timestamp) {
    let mut of_time: BTreeMap<Timestamp, Vec<RunStatus>> = BTreeMap::new();
    for run in runs {
        if let Trigger::Schedule { due_at, .. } = run.trigger {
            of_time.entry(due_at).or_default().push(run.status);
        }
    }
    let periods = (1..).map(|n| tenant.job.created_at + tenant.period * n);
    for due in periods.take_while(|due| *due + UNSETTLED < ended_at) {
        let outcomes = of_time.get(&due).map_or(&[][..], Vec::as_slice);
        found.note(invariants::one_outcome(due, outcomes));
    }
}

/// I6: every run has one end, which is told as it is stored. Nothing but a lost sign-in lets one fail.
async fn ends(found: &mut Findings, tenant: &Tenant, runs: &[Run]) {
    let account = tenant.scope.account_id().to_string();
    let events: Vec<ActivityEvent> = tenant.rows(&ACTIVITY, Some("by-account"), account).await;
    let status = |kind: ActivityKind| match kind {
        ActivityKind::RunSucceeded => Some(RunStatus::Succeeded),
        ActivityKind::RunPartial => Some(RunStatus::Partial),
        ActivityKind::RunFailed => Some(RunStatus::Failed),
        ActivityKind::RunCancelled => Some(RunStatus::Cancelled),
        ActivityKind::RunSkipped => Some(RunStatus::Skipped),
        _ => None,
    };
    for run in runs {
        let of_run = events.iter().filter(|event| event.run_id == Some(run.run_id));
        let told: Vec<RunStatus> = of_run.filter_map(|event| status(event.kind)).collect();
        found.note(invariants::one_end(run.run_id, run.status, &told));
        let needs_sign_in = run.error.as_ref().is_some_and(|error| error.code == "reauthorise");
        // A due time that was missed, or that met a run that waited, has no backup of its own.
        let is_left_out = run.status == RunStatus::Skipped && matches!(run.trigger, Trigger::Schedule { .. });
        if run.status != RunStatus::Succeeded && !needs_sign_in && !is_left_out {
            found.0.push(format!("run {} {:?}: {:?}", run.run_id, run.status, run.error));
        }
    }
}

/// I7 and I8: rows are the account's own, name no other one, and hold no secret in clear.
async fn rows(found: &mut Findings, scene: &Scene<'_>, tenant: &Tenant) {
    let account = tenant.scope.account_id().to_string();
    let others = scene.tenants.iter().filter(|other| other.source_id != tenant.source_id);
    let foreign: Vec<String> =
        others.flat_map(|other| [other.scope.account_id().to_string(), other.source_id.to_string()]).collect();
    let store = Store::new(scene.world.ports.tables.clone());
    let by_account = Some("by-account");
    let tables = [(&SOURCES, None), (&JOBS, None), (&RUNS, by_account), (&ACTIVITY, by_account)];
    for (table, index) in tables.into_iter().chain([(&FILES, by_account), (&API_KEYS, by_account)]) {
        let items = store.items((&tenant.scope).into(), whole(table, index, account.clone()));
        for item in items.try_collect::<Vec<_>>().await.expect("rows") {
            found.note(invariants::own_row((&tenant.scope).into(), table, &item.body));
            let text = Value::Object(item.body).to_string();
            found.note(invariants::silent(format!("a row of {}", table.name), &text, [PLANTED]));
            if foreign.iter().any(|id| text.contains(id.as_str())) {
                found.0.push(format!("I7 is violated: a row of {} names another account", table.name));
            }
        }
    }
}

/// The snapshots are one chain, one for each run that made one, with growing epochs; each is sound and holds what the product held
/// while it was read, nothing that they name was removed, and the newest equals the product.
async fn snapshots(found: &mut Findings, scene: &Scene<'_>, tenant: &Tenant, runs: &[Run]) {
    let worker = scene.world.worker();
    let stored = worker.snapshots.source(&tenant.scope, tenant.source_id).await.expect("the source's store");
    let all: BTreeSet<SnapshotId> = stored.list(None, 1000).await.expect("a listing").into_iter().collect();
    let of_runs: BTreeSet<SnapshotId> = runs.iter().filter_map(|run| run.snapshot_id).collect();
    let head = tenant.source().await.head.map(|head| head.snapshot_id);
    let (mut chain, mut named, mut next, mut newer) = (BTreeSet::new(), BTreeSet::new(), head, None);
    let mut as_read = AsRead::new(tenant, scene.watch, &stored);
    while let Some(snapshot_id) = next {
        let manifest = match stored.load(snapshot_id).await {
            Ok(loaded) => loaded.manifest,
            Err(error) => return found.note(invariants::whole(snapshot_id, [error])),
        };
        found.note(newer.map_or(Ok(()), |newer| invariants::epochs_grow(manifest.epoch, newer)));
        newer = Some(manifest.epoch);
        if chain.is_empty() {
            // It reads what only the older ones need, too.
            match stored.reader(&manifest).verify(VerifyLevel::Data).await {
                Ok(report) => {
                    let damages = report.damages.iter().map(|damage| format!("{damage:?}"));
                    found.note(invariants::whole(snapshot_id, damages));
                }
                Err(error) => found.note(invariants::whole(snapshot_id, [error])),
            }
        }
        as_read.judge(&manifest).await.into_iter().for_each(|held| found.note(held));
        for segment in manifest.streams.values().flat_map(|state| &state.segments) {
            named.insert(paths::segment(tenant.scope.account_id(), tenant.source_id, segment.id));
        }
        chain.insert(snapshot_id);
        next = manifest.parent.map(|parent| parent.snapshot_id);
    }
    as_read.end().into_iter().for_each(|held| found.note(held));
    if chain != all || chain != of_runs {
        found.0.push(format!("in the chain {chain:?}, stored {all:?}, of runs {of_runs:?}"));
    }
    for path in scene.watch.removed() {
        found.note(invariants::removable(&path, named.contains(&path)));
    }
    if let Some(head) = head {
        same_as_the_product(found, tenant, &stored, head).await;
    }
}

/// I2 and I10: the newest snapshot holds what the product holds, and an export of it holds what it does.
async fn same_as_the_product(found: &mut Findings, tenant: &Tenant, stored: &SourceStore, head: SnapshotId) {
    let manifest = stored.load(head).await.expect("the head is whole").manifest;
    for stream in tenant.streams {
        let snapshot = records(stored, &manifest, stream).await;
        let truth = by_id(tenant.product.truth(stream));
        let keys = |records: &BTreeMap<u64, Value>| records.keys().copied().collect::<BTreeSet<u64>>();
        found.note(invariants::covered(stream, &keys(&truth), &keys(&snapshot), &BTreeSet::new()));
        found.note(invariants::equal(stream, &truth, &snapshot));
        let export = ExportSpec { selection: Selection::Stream((*stream).to_owned()), format: Format::Jsonl };
        let (lines, _) = export.write(stored.reader(&manifest), Vec::new()).await.expect("an export");
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let exported = by_id(lines.map(|line| serde_json::from_slice(line).expect("JSON")));
        found.note(invariants::equal(stream, &snapshot, &exported));
    }
}
