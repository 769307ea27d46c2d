//! One attempt of a restore: what it needs, and its way through the streams.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use listbackup_connectors::{Problem, StreamSpec, WriteSpec};

use super::{
    Interrupted,
    candidates::{self, Candidate},
    decide::{Decided, Judge},
    ids::IdMap,
    natural::NaturalKeys,
    order::{Against, RestoreOrder, Selection},
    outcome::{Log, Outcome, RecordOutcome},
    sequence::sequence,
    write::Writer,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{RestoreFigures, SnapshotId, run::StreamProgress},
    run::{
        pipeline::{self, StreamOutcome},
        session::Session,
    },
    snapshot::{AccountStore, Manifest, RecordKey, SnapshotReader},
};

/// Records written at a time.
const WRITES_MAX: usize = 4;
/// Earlier restores of the source whose new keys count.
const EARLIER_PAGE: usize = 100;

/// A stream that is restored.
pub(super) struct Target {
    pub(super) spec: StreamSpec,
    pub(super) write: WriteSpec,
    pub(super) selection: Selection,
    /// Its place in the sequence.
    pub(super) rank: usize,
}

/// The states that are compared.
pub(super) struct States {
    /// The snapshot.
    pub(super) wanted: SnapshotReader,
    /// The product as it is now.
    pub(super) current: SnapshotReader,
    /// The newest snapshot when the restore was ordered.
    pub(super) base: Option<SnapshotReader>,
    /// The product is another one than the snapshot's: equal keys mean nothing.
    pub(super) is_elsewhere: bool,
}

impl States {
    /// A record as the product holds it now.
    ///
    /// # Errors
    /// Those of reading the store.
    pub(super) async fn current(&self, stream: &str, key: &RecordKey) -> Result<Option<Bytes>> {
        if !self.current.manifest().streams.contains_key(stream) {
            return Ok(None);
        }
        Ok(self.current.get(stream, key).await?.map(|record| record.body))
    }
}

/// One attempt.
pub(super) struct Restore<'a> {
    pub(super) session: &'a Session,
    pub(super) order: RestoreOrder,
    pub(super) targets: Vec<Target>,
    pub(super) states: States,
    pub(super) ids: IdMap,
    pub(super) natural: NaturalKeys,
    pub(super) log: Log,
    pub(super) figures: BTreeMap<String, RestoreFigures>,
}

impl<'a> Restore<'a> {
    /// Loads the order and its log, and reads the product.
    pub(super) async fn begin(session: &'a Session) -> Result<Self, Interrupted> {
        let account = session.ctx.snapshots.account(&session.claim.scope).await?;
        let restore = session.claim.run.restore;
        let id = restore.ok_or_else(|| Error::new(ErrorKind::Bug, "the run restores nothing"))?.restore_id;
        let order: RestoreOrder = account.load_restore(id).await?;
        let wanted = wanted(session, &order).await?;
        let is_elsewhere = order.origin.is_some();
        let targets = targets(session, &order, wanted.manifest())?;
        let current = match order.against {
            Against::Product => Box::pin(read_product(session, &targets, &wanted, is_elsewhere)).await?,
            Against::Head => head(session)?,
        };
        let base = match (order.against, order.base) {
            (Against::Product, Some(base)) => Some(reader(session, base).await?),
            _ => None,
        };
        let spill_map = || session.ctx.snapshots.spill_map(&*session.ctx.ports.random);
        let ids = IdMap::new(spill_map()?);
        let natural = NaturalKeys::of(&targets, spill_map)?;
        note_earlier(&account, &order, &ids).await?;
        let mut figures: BTreeMap<String, RestoreFigures> = BTreeMap::new();
        let log = Log::open(account, id, |outcome| {
            if outcome.outcome != Outcome::Failed {
                outcome.count(figures.entry(outcome.stream.clone()).or_default());
            }
            ids.note(&outcome)
        })
        .await?;
        let states = States { wanted, current, base, is_elsewhere };
        Ok(Self { session, order, targets, states, ids, natural, log, figures })
    }

    /// Goes through the streams, then sets what references are left.
    pub(super) async fn carry_out(&mut self) -> Result<(), Interrupted> {
        for rank in 0..self.targets.len() {
            self.restore_stream(rank).await?;
            self.save().await?;
        }
        self.set_links().await?;
        self.save().await?;
        self.follow().await
    }

    async fn restore_stream(&mut self, rank: usize) -> Result<(), Interrupted> {
        let Self { session, order, targets, states, ids, natural, log, figures } = self;
        let target = &targets[rank];
        let name = &target.spec.name;
        let judge = Judge { states, targets, ids, natural, order, is_linking: false };
        let writer = Writer::new(session, order)?;
        let equal = Mutex::new(0);
        let candidates = candidates::of(states, &target.selection, &equal);
        let outcomes = candidates
            .map(|candidate| async {
                let candidate = candidate?;
                session.claim.pulse.beat();
                if ids.is_done(name, &candidate.key)? {
                    return Ok(None);
                }
                if let Some(stop) = session.stop.reason() {
                    return Err(Interrupted::Stop(stop));
                }
                one(&judge, &writer, target, candidate).await.map(Some)
            })
            .buffer_unordered(WRITES_MAX);
        let mut outcomes = std::pin::pin!(outcomes);
        while let Some(outcome) = outcomes.try_next().await? {
            let Some(outcome) = outcome else { continue };
            ids.note(&outcome)?;
            outcome.count(figures.entry(name.clone()).or_default());
            log.push(outcome);
            if log.is_due() {
                log.save().await?;
                publish(session, figures);
            }
        }
        let equal = *equal.lock().unwrap_or_else(PoisonError::into_inner);
        let of_stream = figures.entry(name.clone()).or_default();
        session.progress.stream(name, |stream| tell_end(stream, of_stream, equal));
        publish(session, figures);
        Ok(())
    }

    /// The second pass: references to records that were made after those that refer to them, as the log tells.
    async fn set_links(&mut self) -> Result<(), Interrupted> {
        if self.order.dry_run || !self.ids.has_links() {
            return Ok(());
        }
        let writer = Writer::new(self.session, &self.order)?;
        for number in 0..self.log.parts() {
            for made in self.log.part(number).await?.into_iter().filter(RecordOutcome::has_open_links) {
                let RecordOutcome { stream, key, deferred, .. } = made;
                self.session.claim.pulse.beat();
                let Some(target) = self.targets.iter().find(|target| target.spec.name == stream) else { continue };
                if self.ids.is_linked(&stream, &key)? {
                    continue;
                }
                if let Some(stop) = self.session.stop.reason() {
                    return Err(Interrupted::Stop(stop));
                }
                let Self { states, targets, ids, natural, order, .. } = &*self;
                let judge = Judge { states, targets, ids, natural, order, is_linking: true };
                let outcome = match judge.link(target, &key, &deferred).await? {
                    Ok(update) => writer.link(target, &key, update).await?,
                    Err(reason) => RecordOutcome::because(&stream, &key, Outcome::Failed, reason),
                };
                self.ids.note(&outcome)?;
                outcome.count(self.figures.entry(stream).or_default());
                self.log.push(outcome);
                if self.log.is_due() {
                    self.log.save().await?;
                }
            }
        }
        Ok(())
    }

    /// Makes all outcomes durable.
    pub(super) async fn save(&mut self) -> Result<()> {
        self.log.save().await
    }

    /// Brings the shared figures up to date.
    pub(super) fn tell(&self) {
        publish(self.session, &self.figures);
    }
}

async fn one(
    judge: &Judge<'_>,
    writer: &Writer<'_>,
    target: &Target,
    candidate: Candidate,
) -> Result<RecordOutcome, Interrupted> {
    match judge.decide(target, &candidate).await? {
        Decided::Left(outcome) => Ok(outcome),
        Decided::Create(create) => writer.create(target, &candidate.key, create).await,
        Decided::Update(update) => writer.update(target, &candidate.key, update).await,
    }
}

fn publish(session: &Session, figures: &BTreeMap<String, RestoreFigures>) {
    session.progress.restored(figures.clone());
}

/// In the figures of a run, a restored record counts as added or changed.
fn tell_end(stream: &mut StreamProgress, figures: &RestoreFigures, equal: u64) {
    stream.added = figures.created;
    stream.changed = figures.updated;
    stream.removed = 0;
    stream.unchanged = equal + figures.skipped + figures.conflicts + figures.failed;
    stream.records = stream.added + stream.changed + stream.unchanged;
}

/// The snapshot to restore: of the source itself, or of another one.
async fn wanted(session: &Session, order: &RestoreOrder) -> Result<SnapshotReader> {
    let Some(origin) = order.origin else { return reader(session, order.snapshot_id).await };
    let store = session.ctx.snapshots.source(&session.claim.scope, origin).await?;
    let loaded = store.load(order.snapshot_id).await?;
    Ok(store.reader(&loaded.manifest))
}

async fn reader(session: &Session, snapshot_id: SnapshotId) -> Result<SnapshotReader> {
    let loaded = session.source_store.load(snapshot_id).await?;
    Ok(session.source_store.reader(&loaded.manifest))
}

fn head(session: &Session) -> Result<SnapshotReader> {
    let head = session.parent.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Invalid, "the source has no newest snapshot; compare with the product instead")
    })?;
    Ok(session.source_store.reader(&head.manifest))
}

/// The streams of the order as the connector describes them now, in their sequence; every problem at once.
fn targets(session: &Session, order: &RestoreOrder, wanted: &Manifest) -> Result<Vec<Target>> {
    let mut problems = Vec::new();
    let mut chosen: Vec<(&StreamSpec, &WriteSpec, &Selection)> = Vec::new();
    for selection in &order.selections {
        let spec = session.plans.iter().map(|plan| &*plan.spec).find(|spec| spec.name == selection.stream);
        let held = wanted.streams.get(&selection.stream);
        let message = match (held, spec, spec.and_then(|spec| spec.write.as_ref())) {
            (None, _, _) => "the snapshot has no such stream",
            (_, None, _) => "the source has no such stream, or it is not among those that are backed up",
            (_, Some(_), None) => "the connector cannot write records of this stream",
            (Some(state), Some(spec), _) if state.primary_key != spec.primary_key => {
                "the stream has another primary key than in the snapshot"
            }
            (Some(_), Some(spec), Some(write)) => {
                chosen.push((spec, write, selection));
                continue;
            }
        };
        problems.push(Problem { place: format!("stream {}", selection.stream), message: message.to_owned() });
    }
    let integration = &session.claim.source.integration;
    if *integration != wanted.integration {
        let message = format!("the source is connected to it, and the snapshot is of {}", wanted.integration);
        problems.push(Problem { place: integration.clone(), message });
    }
    if session.connector.writer().is_none() && problems.is_empty() {
        let message = "the connector cannot write".to_owned();
        problems.push(Problem { place: session.claim.source.integration.clone(), message });
    }
    if !problems.is_empty() {
        return Err(Error::invalid("this cannot be restored into the product", problems));
    }
    let ordered = sequence(chosen.iter().map(|(spec, _, _)| *spec)).into_iter().enumerate();
    Ok(ordered
        .filter_map(|(rank, spec)| {
            let (_, write, selection) = chosen.iter().find(|(one, _, _)| one.name == spec.name)?;
            Some(Target { spec: spec.clone(), write: (*write).clone(), selection: (*selection).clone(), rank })
        })
        .collect())
}

/// Reads the streams as they are now. What is read is kept as a checkpoint of the run, so that another attempt compares
/// with the same state.
async fn read_product(
    session: &Session,
    targets: &[Target],
    wanted: &SnapshotReader,
    is_elsewhere: bool,
) -> Result<SnapshotReader, Interrupted> {
    let parent = session.parent.as_ref().map(|parent| &parent.manifest);
    let mut manifest = parent.unwrap_or(wanted.manifest()).clone();
    if parent.is_none() && is_elsewhere {
        manifest.streams.clear();
    }
    for target in targets {
        let Some(plan) = session.plans.iter().find(|plan| plan.spec.name == target.spec.name) else { continue };
        match pipeline::read_stream(session, plan).await {
            StreamOutcome::Done(finished) => {
                manifest.streams.insert(target.spec.name.clone(), finished.state);
            }
            StreamOutcome::Failed(error) => return Err(error.into()),
            StreamOutcome::Stopped(stop) => return Err(Interrupted::Stop(stop)),
        }
    }
    Ok(session.source_store.reader(&manifest))
}

/// New keys that earlier restores from the same source into the same one gave, oldest first, so that the newest holds.
async fn note_earlier(account: &AccountStore, order: &RestoreOrder, ids: &IdMap) -> Result<()> {
    let mut earlier = Vec::new();
    let mut after = None;
    loop {
        let page = RestoreOrder::list(account, after, EARLIER_PAGE).await?;
        after = page.last().map(|last| last.restore_id);
        let is_last = page.len() < EARLIER_PAGE;
        earlier.extend(page.into_iter().filter(|other| {
            let is_same = (other.source_id, other.origin) == (order.source_id, order.origin);
            is_same && !other.dry_run && other.restore_id < order.restore_id
        }));
        if is_last {
            break;
        }
    }
    for other in earlier.iter().rev() {
        let mut part = Some(0);
        while let Some(number) = part {
            let page = super::page(account, other.restore_id, number).await?;
            page.records.into_iter().try_for_each(|outcome| ids.note_earlier(outcome))?;
            part = page.next;
        }
    }
    Ok(())
}
