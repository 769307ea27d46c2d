//! Looks on at what really happens in the stores, below everything that meddles: what one worker changes there, whose it is, and in
//! which order. What breaks an invariant is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    invariants::{self, Held},
    model::{
        ActivityEvent, RunId, RunStatus, SnapshotId, WorkerId,
        scope::{AccountScope, Scope, SystemScope},
        source::Head,
        source::Lease,
    },
    ports::{BlobEntry, Blobs, Events, Item, ItemPage, Key, Ports, PutOutcome, Query, Tables, Write},
    store,
    tables::{RUNS, SOURCES, TableSchema},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::desk::PLANTED;

/// What was seen; clones share it.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Seen>>);

struct Seen {
    began: Instant,
    /// Of everything that had an effect, in order.
    trace: DefaultHasher,
    effects: u64,
    removed: BTreeSet<String>,
    /// When runs began, and when snapshots became the newest.
    begun: BTreeMap<String, Instant>,
    committed: BTreeMap<SnapshotId, Instant>,
    violations: BTreeMap<String, u64>,
}

impl Watch {
    /// Has seen nothing.
    pub fn new() -> Self {
        let (trace, began) = (DefaultHasher::new(), Instant::now());
        let (removed, violations) = (BTreeSet::new(), BTreeMap::new());
        let (begun, committed) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Seen { began, trace, effects: 0, removed, begun, committed, violations })))
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().expect("no test panics while it looks")
    }

    fn note(&self, held: Held) {
        if let Err(violation) = held {
            *self.seen().violations.entry(violation.to_string()).or_default() += 1;
        }
    }

    fn effect(&self, what: &str) {
        let mut seen = self.seen();
        let at = seen.began.elapsed();
        (at, what).hash(&mut seen.trace);
        seen.effects += 1;
    }

    /// A number that is the same for the same effects in the same order at the same times, and how many there were.
    pub fn trace(&self) -> (u64, u64) {
        let seen = self.seen();
        (seen.trace.finish(), seen.effects)
    }

    /// Paths of the objects that were removed.
    pub fn removed(&self) -> BTreeSet<String> {
        self.seen().removed.clone()
    }

    /// When a run began, and when its snapshot became the newest.
    pub fn window(&self, run_id: RunId, snapshot_id: SnapshotId) -> (Instant, Instant) {
        let seen = self.seen();
        let begun = seen.begun.get(&run_id.to_string()).copied();
        let committed = seen.committed.get(&snapshot_id).copied();
        (begun.unwrap_or(seen.began), committed.unwrap_or_else(Instant::now))
    }

    /// What was not as promised.
    pub fn violations(&self) -> Vec<String> {
        self.seen().violations.iter().map(|(what, times)| format!("{what} ({times} times)")).collect()
    }

    /// The stores as one worker meets them. Its id is told once it has one.
    pub fn ports(&self, to: &Ports) -> (Ports, Arc<OnceLock<WorkerId>>) {
        let worker = Arc::new(OnceLock::new());
        let watched = Arc::new(Watched { watch: self.clone(), worker: worker.clone(), to: to.clone() });
        let ports = Ports { tables: watched.clone(), blobs: watched.clone(), events: watched, ..to.clone() };
        (ports, worker)
    }
}

struct Watched {
    watch: Watch,
    worker: Arc<OnceLock<WorkerId>>,
    to: Ports,
}

/// One field of a row: to make nouns of all that is written would take longer than the hour itself.
fn field<T: DeserializeOwned>(body: &Map<String, Value>, name: &str) -> T {
    serde_json::from_value(body.get(name).cloned().unwrap_or_default()).expect("a row of this table")
}

impl Watched {
    async fn before(&self, table: &'static TableSchema, body: &Map<String, Value>) -> Option<Map<String, Value>> {
        let system = SystemScope::of_this_process();
        let key = store::key_of(table, body).ok()?;
        self.to.tables.get((&system).into(), table, &key).await.ok()?.map(|item| item.body)
    }

    fn source_changes(&self, before: &Map<String, Value>, after: &Map<String, Value>) {
        let lease: Lease = field(before, "lease");
        self.watch.note(invariants::lease_follows(&lease, &field(after, "lease")));
        if before.get("head") != after.get("head") {
            self.watch.note(invariants::head_moved_by(&lease, self.worker.get().copied()));
            if let Some(head) = field::<Option<Head>>(after, "head") {
                self.watch.seen().committed.insert(head.snapshot_id, Instant::now());
            }
        }
    }

    fn run_changes(&self, before: &Map<String, Value>, after: &Map<String, Value>) {
        let (was, is): (RunStatus, RunStatus) = (field(before, "status"), field(after, "status"));
        self.watch.note(invariants::may_become(&after["runId"], was, is));
        if is == RunStatus::Running {
            self.watch.seen().begun.entry(field(after, "runId")).or_insert_with(Instant::now);
        }
    }
}

fn shown(write: &Write) -> String {
    match write {
        Write::Put { table, body, .. } => format!("put {} {:?}", table.name, store::key_of(table, body)),
        Write::Delete { table, key, .. } => format!("delete {} {key:?}", table.name),
        Write::Check { table, key, .. } => format!("check {} {key:?}", table.name),
    }
}

#[async_trait]
impl Tables for Watched {
    async fn get(&self, scope: Scope<'_>, table: &'static TableSchema, key: &Key) -> Result<Option<Item>> {
        let found = self.to.tables.get(scope, table, key).await?;
        self.watch.note(found.iter().try_for_each(|item| invariants::own_row(scope, table, &item.body)));
        Ok(found)
    }

    async fn transact(&self, scope: Scope<'_>, writes: Vec<Write>) -> Result<()> {
        let mut changes = Vec::new();
        for write in &writes {
            if let Write::Put { table, body, .. } = write {
                self.watch.note(invariants::own_row(scope, table, body));
                if [SOURCES.name, RUNS.name].contains(&table.name) {
                    changes.extend(self.before(table, body).await.map(|before| (table.name, before, body.clone())));
                }
            }
        }
        let told: Vec<String> = writes.iter().map(shown).collect();
        self.to.tables.transact(scope, writes).await?;
        self.watch.effect(&told.join(", "));
        for (table, before, after) in changes {
            match table == SOURCES.name {
                true => self.source_changes(&before, &after),
                false => self.run_changes(&before, &after),
            }
        }
        Ok(())
    }

    fn index_delay(&self) -> Duration {
        self.to.tables.index_delay()
    }

    async fn query(&self, scope: Scope<'_>, query: Query) -> Result<ItemPage> {
        let table = query.table;
        let page = self.to.tables.query(scope, query).await?;
        self.watch.note(page.items.iter().try_for_each(|item| invariants::own_row(scope, table, &item.body)));
        Ok(page)
    }
}

#[async_trait]
impl Blobs for Watched {
    async fn put_if_absent(&self, scope: &AccountScope, path: &str, bytes: Bytes) -> Result<PutOutcome> {
        self.watch.note(invariants::own_path(scope.account_id(), path));
        let outcome = self.to.blobs.put_if_absent(scope, path, bytes).await?;
        self.watch.effect(path);
        Ok(outcome)
    }

    async fn get(&self, scope: &AccountScope, path: &str) -> Result<Bytes> {
        self.watch.note(invariants::own_path(scope.account_id(), path));
        self.to.blobs.get(scope, path).await
    }

    async fn get_range(&self, scope: &AccountScope, path: &str, range: Range<u64>) -> Result<Bytes> {
        self.watch.note(invariants::own_path(scope.account_id(), path));
        self.to.blobs.get_range(scope, path, range).await
    }

    async fn size(&self, scope: &AccountScope, path: &str) -> Result<Option<u64>> {
        self.watch.note(invariants::own_path(scope.account_id(), path));
        self.to.blobs.size(scope, path).await
    }

    async fn list(
        &self,
        scope: &AccountScope,
        prefix: &str,
        after: Option<&str>,
        max: usize,
    ) -> Result<Vec<BlobEntry>> {
        self.watch.note(invariants::own_path(scope.account_id(), prefix));
        self.to.blobs.list(scope, prefix, after, max).await
    }

    async fn retain_until(&self, scope: &AccountScope, path: &str, until: Timestamp) -> Result<()> {
        self.to.blobs.retain_until(scope, path, until).await
    }

    async fn retained_until(&self, scope: &AccountScope, path: &str) -> Result<Option<Timestamp>> {
        self.to.blobs.retained_until(scope, path).await
    }

    async fn delete(&self, scope: &AccountScope, path: &str) -> Result<()> {
        self.watch.note(invariants::own_path(scope.account_id(), path));
        self.to.blobs.delete(scope, path).await?;
        self.watch.effect(path);
        self.watch.seen().removed.insert(path.to_owned());
        Ok(())
    }
}

#[async_trait]
impl Events for Watched {
    async fn publish(&self, events: &[ActivityEvent]) -> Result<()> {
        for event in events {
            let text = serde_json::to_string(event).expect("an event is JSON");
            self.watch.note(invariants::silent(format!("an event {:?}", event.kind), &text, [PLANTED]));
        }
        self.to.events.publish(events).await
    }

    fn follow(&self, scope: &AccountScope) -> BoxStream<'static, ActivityEvent> {
        self.to.events.follow(scope)
    }

    fn nudge(&self) {
        self.to.events.nudge();
    }

    fn nudges(&self) -> listbackup_engine::latest::Follower<()> {
        self.to.events.nudges()
    }
}
