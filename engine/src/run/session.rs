//! A session: everything a worker needs while it executes one claimed run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::{SignedDuration, Timestamp};
use listbackup_connectors::{Connector, Deletions, Problem, StreamSpec};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{
    RunContext,
    checkpoint::{self, Checkpoint, Stage},
    claim::Claim,
    connect,
    live_progress::LiveProgress,
    stop::StopSwitch,
};
use crate::{
    error::{Error, Result},
    model::{SnapshotId, Source},
    snapshot::{LoadedManifest, ReadWindow, SourceStore, StreamState, owner_of},
};

/// One run in execution.
pub struct Session {
    /// The worker's world.
    pub ctx: Arc<RunContext>,
    /// What was claimed.
    pub claim: Claim,
    /// The product.
    pub connector: Arc<dyn Connector>,
    /// The source's part of the store.
    pub source_store: SourceStore,
    /// The snapshot that this run is compared with.
    pub parent: Option<LoadedManifest>,
    /// What is read: differs when the product, its manifest or its settings do.
    pub reading: String,
    /// What to read, parents before children.
    pub plans: Vec<StreamPlan>,
    /// Figures.
    pub progress: LiveProgress,
    /// Stops everything.
    pub stop: StopSwitch,
    /// When this attempt began.
    pub began_at: Timestamp,
    /// A place for each attachment that may be downloaded at a time.
    pub downloads: Semaphore,
    checkpoints: AtomicU64,
}

/// What to do with one stream.
#[derive(Clone)]
pub struct StreamPlan {
    /// The stream.
    pub spec: Arc<StreamSpec>,
    /// What the parent snapshot holds of it.
    pub parent: Option<StreamState>,
    /// The connector's state to read from; `None` reads everything.
    pub state: Option<Value>,
    /// After the changes everything is read, to find what the product did not report.
    pub reconciles: bool,
    /// Where an earlier attempt stopped.
    pub resume: Option<Checkpoint>,
}

impl Session {
    /// Connects the product and plans its streams.
    ///
    /// # Errors
    /// What the connector says (`Invalid` settings, `Reauthorise`, `Retry`); `Corrupt` when the parent snapshot is
    /// damaged; `Invalid` when a chosen stream does not exist, with all of them.
    pub async fn begin(ctx: Arc<RunContext>, claim: Claim, stop: StopSwitch) -> Result<Self> {
        let (connector, digest) = connect::connect_with(&ctx, &claim.scope, &claim.source).await?;
        let catalog = connector.discover().await?;
        check_names(&catalog.streams)?;
        let source_store = ctx.snapshots.source(&claim.scope, claim.order.source_id).await?;
        let parent = match &claim.source.head {
            Some(head) => Some(source_store.load(head.snapshot_id).await?),
            None => None,
        };
        let began_at = ctx.ports.clock.now();
        let progress = LiveProgress::starting_from(claim.run.progress.clone(), claim.pulse.clone());
        let specs = chosen(catalog.streams, claim.source.streams.as_deref())?;
        let reading = reading_of(&claim.source, digest.as_deref());
        let downloads = Semaphore::new(ctx.settings.downloads_max.max(1));
        let mut session = Self {
            downloads,
            ctx,
            claim,
            connector,
            source_store,
            parent,
            reading,
            plans: Vec::new(),
            progress,
            stop,
            began_at,
            checkpoints: AtomicU64::new(0),
        };
        for spec in parents_first(specs) {
            let plan = session.plan(spec).await?;
            session.progress.stream(&plan.spec.name, |stream| {
                stream.expected = plan.parent.as_ref().map(|parent| parent.records);
            });
            session.plans.push(plan);
        }
        Ok(session)
    }

    /// The snapshot that this run is compared with.
    pub fn parent_id(&self) -> Option<SnapshotId> {
        self.parent.as_ref().map(|parent| parent.manifest.snapshot_id)
    }

    /// What that snapshot holds of a stream.
    pub fn parent_state(&self, stream: &str) -> Option<&StreamState> {
        self.parent.as_ref()?.manifest.streams.get(stream)
    }

    /// A checkpoint of this session.
    pub fn checkpoint(&self, began_at: Timestamp, stage: Stage) -> Checkpoint {
        Checkpoint { parent: self.parent_id(), reading: self.reading.clone(), began_at, stage }
    }

    /// Numbers the checkpoints of this attempt. Another attempt under the same lease counts from 0 as well.
    pub fn next_checkpoint_number(&self) -> u64 {
        self.checkpoints.fetch_add(1, Ordering::Relaxed)
    }

    /// True when the last read of everything is too long ago.
    fn must_reconcile(&self, parent: &StreamState) -> bool {
        let days = self.claim.source.guard.reconcile_days;
        let every = SignedDuration::from_hours(i64::from(days) * 24);
        let is_due = |window: ReadWindow| self.began_at.duration_since(window.started_at) >= every;
        days > 0 && parent.full_window.is_none_or(is_due)
    }

    async fn plan(&self, spec: StreamSpec) -> Result<StreamPlan> {
        let parent = self.parent_state(&spec.name).cloned();
        // Records under another key are other records: all of them must come.
        let may_go_on = |parent: &&StreamState| may_read_incrementally(&spec) && parent.primary_key == spec.primary_key;
        let state = parent.as_ref().filter(may_go_on).and_then(|parent| parent.cursor.clone());
        let resume = checkpoint::load(self, &spec.name).await?;
        let reconciles = state.is_some() && parent.as_ref().is_some_and(|parent| self.must_reconcile(parent));
        Ok(StreamPlan { spec: Arc::new(spec), parent, state, reconciles, resume })
    }
}

/// Product, manifest and settings as one short text. Positions of one reading mean nothing in another.
pub fn reading_of(source: &Source, manifest_digest: Option<&str>) -> String {
    let text = json!([source.integration, manifest_digest, source.settings]).to_string();
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

/// A stream whose deletions show only by absence is read in full: storing unchanged records costs nothing, and a
/// snapshot must be the full key set.
fn may_read_incrementally(spec: &StreamSpec) -> bool {
    spec.is_incremental() && spec.deletions != Deletions::Absence
}

/// A stream's attachments are in a stream of their own, whose name must be free.
fn check_names(streams: &[StreamSpec]) -> Result<()> {
    let reserved = streams.iter().filter(|stream| owner_of(&stream.name).is_some()).map(|stream| Problem {
        place: format!("stream {}", stream.name),
        message: "names that end so are kept for the attachments of streams: give it another one".to_owned(),
    });
    let problems: Vec<Problem> = reserved.collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::invalid("some streams have reserved names", problems)) }
}

fn chosen(streams: Vec<StreamSpec>, names: Option<&[String]>) -> Result<Vec<StreamSpec>> {
    let Some(names) = names else {
        return Ok(streams);
    };
    let known: BTreeSet<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    let problems: Vec<Problem> = names
        .iter()
        .filter(|name| !known.contains(name.as_str()))
        .map(|name| Problem {
            place: format!("stream {name}"),
            message: format!(
                "there is no such stream; there are {}",
                known.iter().copied().collect::<Vec<_>>().join(", ")
            ),
        })
        .collect();
    if !problems.is_empty() {
        return Err(Error::invalid("some chosen streams do not exist", problems));
    }
    Ok(streams.into_iter().filter(|stream| names.contains(&stream.name)).collect())
}

/// Keeps the connector's order, but no stream comes before a parent of its own.
fn parents_first(streams: Vec<StreamSpec>) -> Vec<StreamSpec> {
    let mut waiting: BTreeMap<usize, StreamSpec> = streams.into_iter().enumerate().collect();
    let mut ordered: Vec<StreamSpec> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_ready = |stream: &StreamSpec| {
            !stream
                .parents
                .iter()
                .any(|parent| *parent != stream.name && waiting.values().any(|other| other.name == *parent))
        };
        // A circle of parents cannot be ordered; the connector's own order is as good as any.
        let next = waiting.iter().find(|(_, stream)| is_ready(stream)).or_else(|| waiting.iter().next());
        let Some(index) = next.map(|(index, _)| *index) else { break };
        ordered.extend(waiting.remove(&index));
    }
    ordered
}
