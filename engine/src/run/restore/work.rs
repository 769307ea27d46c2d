//! One attempt of a restore: what it needs, and its way through the streams.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use futures::{StreamExt, TryStreamExt};
use listbackup_connectors::{Problem, StreamSpec, WriteSpec};

use super::{
    Interrupted,
    candidates::{self, Candidate},
    decide::{Decided, Judge},
    follow::Made,
    ids::IdMap,
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
}

/// One attempt.
pub(super) struct Restore<'a> {
    pub(super) session: &'a Session,
    pub(super) order: RestoreOrder,
    pub(super) targets: Vec<Target>,
    pub(super) states: States,
    pub(super) ids: IdMap,
    pub(super) log: Log,
    pub(super) figures: BTreeMap<String, RestoreFigures>,
    /// Records that are made again.
    pub(super) made: Made,
    /// References to set at the end, by record.
    links: BTreeMap<(String, RecordKey), Vec<Vec<String>>>,
}

impl<'a> Restore<'a> {
    /// Loads the order and its log, and reads the product.
    pub(super) async fn begin(session: &'a Session) -> Result<Self, Interrupted> {
        let account = session.ctx.snapshots.account(&session.claim.scope).await?;
        let restore = session.claim.run.restore;
        let id = restore.ok_or_else(|| Error::new(ErrorKind::Bug, "the run restores nothing"))?.restore_id;
        let order: RestoreOrder = account.load_restore(id).await?;
        let wanted = reader(session, order.snapshot_id).await?;
        let targets = targets(session, &order, wanted.manifest())?;
        let current = match order.against {
            Against::Product => Box::pin(read_product(session, &targets, wanted.manifest())).await?,
            Against::Head => head(session)?,
        };
        let base = match (order.against, order.base) {
            (Against::Product, Some(base)) => Some(reader(session, base).await?),
            _ => None,
        };
        let ids = IdMap::default();
        note_earlier(&account, &order, &ids).await?;
        let mut figures: BTreeMap<String, RestoreFigures> = BTreeMap::new();
        let (mut links, mut made) = (BTreeMap::new(), Made::default());
        let log = Log::open(account, id, |outcome| {
            ids.note(&outcome);
            if outcome.outcome != Outcome::Failed {
                outcome.count(figures.entry(outcome.stream.clone()).or_default());
            }
            note_links(&mut links, &outcome);
            made.note(&outcome);
        })
        .await?;
        Ok(Self { session, order, targets, states: States { wanted, current, base }, ids, log, figures, made, links })
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
        let Self { session, order, targets, states, ids, log, figures, made, links } = self;
        let target = &targets[rank];
        let name = &target.spec.name;
        let judge = Judge { states, targets, ids, order, is_linking: false };
        let writer = Writer::new(session, order)?;
        let equal = Mutex::new(0);
        let candidates = candidates::of(states, &target.selection, &equal);
        let outcomes = candidates
            .try_filter(|candidate| std::future::ready(!ids.is_done(name, &candidate.key)))
            .map(|candidate| async {
                let candidate = candidate?;
                if let Some(stop) = session.stop.reason() {
                    return Err(Interrupted::Stop(stop));
                }
                one(&judge, &writer, target, candidate).await
            })
            .buffer_unordered(WRITES_MAX);
        let mut outcomes = std::pin::pin!(outcomes);
        while let Some(outcome) = outcomes.try_next().await? {
            ids.note(&outcome);
            outcome.count(figures.entry(name.clone()).or_default());
            note_links(links, &outcome);
            made.note(&outcome);
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

    /// The second pass: references to records that were made after those that refer to them.
    async fn set_links(&mut self) -> Result<(), Interrupted> {
        if self.order.dry_run {
            return Ok(());
        }
        let writer = Writer::new(self.session, &self.order)?;
        for ((stream, key), fields) in std::mem::take(&mut self.links) {
            let Some(target) = self.targets.iter().find(|target| target.spec.name == stream) else { continue };
            let Self { states, targets, ids, order, .. } = &*self;
            let judge = Judge { states, targets, ids, order, is_linking: true };
            let outcome = match judge.link(target, &key, &fields).await? {
                Ok(update) => writer.link(target, &key, update).await?,
                Err(reason) => RecordOutcome::because(&stream, &key, Outcome::Failed, reason),
            };
            outcome.count(self.figures.entry(stream).or_default());
            self.log.push(outcome);
            if self.log.is_due() {
                self.log.save().await?;
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

fn note_links(links: &mut BTreeMap<(String, RecordKey), Vec<Vec<String>>>, outcome: &RecordOutcome) {
    let place = (outcome.stream.clone(), outcome.key.clone());
    match outcome.outcome {
        Outcome::Created | Outcome::Updated if !outcome.deferred.is_empty() => {
            links.insert(place, outcome.deferred.clone());
        }
        Outcome::Linked => drop(links.remove(&place)),
        _ => {}
    }
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
async fn read_product(session: &Session, targets: &[Target], wanted: &Manifest) -> Result<SnapshotReader, Interrupted> {
    let mut manifest = session.parent.as_ref().map_or(wanted, |parent| &parent.manifest).clone();
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

/// New keys that earlier restores of the source gave, oldest first, so that the newest holds.
async fn note_earlier(account: &AccountStore, order: &RestoreOrder, ids: &IdMap) -> Result<()> {
    let mut earlier = Vec::new();
    let mut after = None;
    loop {
        let page = RestoreOrder::list(account, after, EARLIER_PAGE).await?;
        after = page.last().map(|last| last.restore_id);
        let is_last = page.len() < EARLIER_PAGE;
        earlier.extend(page.into_iter().filter(|other| {
            other.source_id == order.source_id && !other.dry_run && other.restore_id < order.restore_id
        }));
        if is_last {
            break;
        }
    }
    for other in earlier.iter().rev() {
        let mut part = Some(0);
        while let Some(number) = part {
            let page = super::page(account, other.restore_id, number).await?;
            page.records.into_iter().for_each(|outcome| ids.note_earlier(outcome));
            part = page.next;
        }
    }
    Ok(())
}
