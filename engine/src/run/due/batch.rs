//! The next outcomes of one job, as one transaction.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{Look, name_next, paused_event};
use crate::{
    billing::Allowance,
    error::{ErrorKind, Result},
    model::{
        ActivityEvent, ActivityKind, Job, JobState, Run, RunId, RunStatus, Source,
        job::{CatchUp, MissedTimes, Overlap},
        run::{RunError, Trigger},
        scope::AccountScope,
    },
    ports::{Condition, Ports, WRITES_MAX, Write},
    run::{
        event::{self, Subject, event},
        live, order,
        policies::{self, Course, Firing},
        schedule::Calendar,
    },
    snapshot::KeyDestruction,
    store::{self, Store, Versioned, key},
};

/// Due times that one transaction skips: with the job, a run that starts, those that it replaces and their events it stays
/// below what a transaction holds.
const MISSED_MAX: usize = 80;
/// What one more cancelled run and its event, the run that starts and its event, the event of missed times, and the gate of who pays take
/// of a transaction.
const REPLACING_MAX: usize = 6;
/// When a due time that waits for its turn is looked at again.
const TURN_WAIT: SignedDuration = SignedDuration::from_secs(10);

/// What is written of one job at once.
pub(super) struct Batch {
    job: Job,
    /// New rows.
    rows: Vec<Run>,
    /// Runs that are cancelled, at the version that they were read at.
    replaced: Vec<Versioned<Run>>,
    /// What tells of all that.
    pub(super) events: Vec<ActivityEvent>,
    /// The one of `rows` that is to start.
    pub(super) starts: Option<Run>,
    /// What counts it for the plan of who pays.
    gate: Vec<Write>,
}

impl Batch {
    fn of(job: &Job) -> Self {
        Self { job: job.clone(), rows: vec![], replaced: vec![], events: vec![], starts: None, gate: vec![] }
    }

    /// Takes a job's schedule out.
    pub(super) fn standing_still(ports: &Ports, job: &Job) -> Self {
        let mut batch = Self::of(job);
        batch.job.state = JobState::Paused;
        name_next(&mut batch.job, None, None);
        batch.events.push(paused_event(ports, &batch.job, event::SYSTEM));
        batch
    }

    /// Changes nothing, and has the job looked at again then.
    pub(super) fn put_off(job: &Job, until: Timestamp) -> Self {
        let mut batch = Self::of(job);
        batch.job.due_at_ms = job.pending().map(Timestamp::as_millisecond);
        batch.job.next_due_ms = Some(until.as_millisecond());
        batch
    }

    /// Writes.
    pub(super) fn size(&self) -> usize {
        1 + self.rows.len() + self.replaced.len() + self.events.len() + self.gate.len()
    }

    /// The transaction, for a job that was read at that version.
    pub(super) fn writes(&self, version: u64) -> Result<Vec<Write>> {
        let mut writes = vec![store::put(&self.job, Condition::Version(version))?];
        for run in &self.rows {
            writes.push(store::put(run, Condition::Absent)?);
        }
        for run in &self.replaced {
            writes.push(store::put(&run.row, Condition::Version(run.version))?);
        }
        for event in &self.events {
            writes.push(event::keep(event)?);
        }
        writes.extend(self.gate.iter().cloned());
        Ok(writes)
    }

    /// True when it changes a row of who pays, who may be another account.
    pub(super) fn is_gated(&self) -> bool {
        !self.gate.is_empty()
    }

    /// Those of the new rows that are stored already: a due time that has its outcome keeps it.
    pub(super) async fn rows_there(&self, store: &Store, scope: &AccountScope) -> Result<Vec<RunId>> {
        let mut there = Vec::new();
        for run in &self.rows {
            if store.find::<Run>(scope, key(run.job_id, run.run_id)).await?.is_some() {
                there.push(run.run_id);
            }
        }
        Ok(there)
    }
}

/// What became of a due time that was to start.
enum Fired {
    /// It has its outcome.
    Outcome,
    /// It is looked at again after this.
    Later(SignedDuration),
}

/// A run that is not begun.
fn skipped(mut run: Run, code: &str, message: String, now: Timestamp) -> Run {
    let error = RunError { code: code.to_owned(), message };
    order::end(&mut run, RunStatus::Skipped, Some(error), now);
    run
}

impl Look<'_> {
    /// What is to be written next of a job; `there` are runs that are known to be stored.
    ///
    /// # Errors
    /// `Denied` when the account's keys were destroyed; `Invalid` when the schedule cannot be read; `Corrupt`, `Retry` from the stores.
    pub(super) async fn batch(&self, scope: &AccountScope, job: &Job, there: &[RunId]) -> Result<Batch> {
        KeyDestruction::refuse(&*self.ports.blobs, scope).await?;
        let mut batch = Batch::of(job);
        let calendar = Calendar::of(job)?;
        let Some(pending) = job.pending() else { return Ok(batch) };
        let judged = {
            let calendar = if self.is_hasty { calendar.without_delay() } else { calendar.clone() };
            policies::judge(&calendar, job.policies.catch_up, pending, self.now, MISSED_MAX)?
        };
        for due_at in judged.missed {
            self.miss(&mut batch, due_at, there);
        }
        let mut next = judged.next.map(|next| calendar.due(next.due_at)).transpose()?;
        let mut look_at = next.filter(|next| next.starts_at <= self.now).map(|_| self.now);
        if let Some(firing) = judged.fires
            && !there.contains(&self.run(job, &firing).run_id)
            && let Fired::Later(wait) = self.fire(scope, &mut batch, &firing).await?
        {
            next = Some(calendar.due(firing.due_at)?);
            look_at = Some(self.now + wait);
        }
        let is_behind = judged.fires.is_none() && look_at.is_some();
        if !is_behind && let Some(missed) = batch.job.missed.take() {
            batch.events.push(self.missed_event(job, missed));
        }
        name_next(&mut batch.job, next, look_at);
        Ok(batch)
    }

    fn miss(&self, batch: &mut Batch, due_at: Timestamp, there: &[RunId]) {
        let run = self.run(&batch.job, &Firing { due_at, late_seconds: 0, waits: false });
        if there.contains(&run.run_id) {
            return;
        }
        let why = match batch.job.policies.catch_up {
            CatchUp::None => "its catch-up policy is `none`".to_owned(),
            CatchUp::Latest => "its catch-up policy is `latest`, and a later time was missed as well".to_owned(),
            CatchUp::All { window_seconds } => format!("it catches up for {window_seconds} seconds"),
        };
        let message = format!("nothing looked at the job's schedule in time; {why}");
        batch.rows.push(skipped(run, "missed", message, self.now));
        let missed = batch.job.missed.get_or_insert(MissedTimes { count: 0, first: due_at, last: due_at });
        missed.count += 1;
        missed.last = due_at;
    }

    /// Starts a due time, or skips it, unless it has to wait.
    async fn fire(&self, scope: &AccountScope, batch: &mut Batch, firing: &Firing) -> Result<Fired> {
        let live = self.live_runs(scope, &batch.job).await?;
        let rows: Vec<Run> = live.iter().map(|run| run.row.clone()).collect();
        // Those that wait are found by their index as long as they do, and by the lease after that.
        let open = rows.iter().filter(|run| run.waiting_job_id.is_none());
        batch.job.open_runs = open.map(|run| run.run_id).collect();
        let overlap = batch.job.policies.overlap;
        let course = match policies::course(overlap, firing, &rows) {
            Course::Wait if self.is_hasty => Course::Skip,
            course => course,
        };
        let mut run = self.run(&batch.job, firing);
        match course {
            Course::Wait => return Ok(Fired::Later(TURN_WAIT)),
            Course::Skip => {
                self.skip(batch, skipped(run, "overlap", overlap_message(overlap, &rows), self.now));
                return Ok(Fired::Outcome);
            }
            Course::Replace | Course::Start => {}
        }
        let gate = match self.allowance().run(batch.job.account_id).await {
            Ok(gate) => gate,
            Err(error) if matches!(error.kind(), ErrorKind::OverLimit | ErrorKind::Unpaid) => {
                self.skip(batch, skipped(run, error.kind().code(), error.message().to_owned(), self.now));
                return Ok(Fired::Outcome);
            }
            Err(error) => return Err(error),
        };
        if course == Course::Replace && !self.replace(batch, live, &run) {
            return Ok(Fired::Later(SignedDuration::ZERO));
        }
        batch.gate = gate;
        batch.job.open_runs.push(run.run_id);
        batch.events.push(order::queued_event(self.ports, &mut run));
        batch.rows.push(run.clone());
        batch.starts = Some(run);
        Ok(Fired::Outcome)
    }

    fn allowance(&self) -> Allowance<'_> {
        Allowance { plans: self.plans, store: &self.store, system: &self.system, now: self.now }
    }

    fn skip(&self, batch: &mut Batch, mut run: Run) {
        batch.events.push(self.skipped_event(&mut run));
        batch.rows.push(run);
    }

    /// Cancels what has not ended, for `by`; false when there is more of it than one transaction holds.
    fn replace(&self, batch: &mut Batch, live: Vec<Versioned<Run>>, by: &Run) -> bool {
        for Versioned { row, version } in live {
            if batch.size() + REPLACING_MAX > WRITES_MAX {
                return false;
            }
            if let Some((row, mut told)) = order::stopped(self.ports, row, event::SYSTEM) {
                for event in &mut told {
                    event.details.insert("replacedBy".to_owned(), json!(by.run_id));
                }
                batch.events.append(&mut told);
                batch.replaced.push(Versioned { row, version });
            }
        }
        true
    }

    /// The backups of a job that have not ended: those that its schedule fired, those that somebody ordered and nobody has begun
    /// (as many as are of interest), and the one that its source's lease is for, whoever ordered that.
    async fn live_runs(&self, scope: &AccountScope, job: &Job) -> Result<Vec<Versioned<Run>>> {
        // Read first: one that is begun in between is in the lease then, or has ended.
        let mut live = live::waiting_runs(&self.store, scope, job.job_id, WRITES_MAX).await?;
        let source = self.store.find::<Source>(scope, key(job.account_id, job.source_id)).await?;
        let leased = source.and_then(|source| source.row.lease.run_id);
        let ids: BTreeSet<RunId> = job.open_runs.iter().copied().chain(leased).collect();
        for run_id in ids {
            if live.iter().all(|run| run.row.run_id != run_id) {
                live.extend(self.store.find::<Run>(scope, key(job.job_id, run_id)).await?);
            }
        }
        live.retain(|run| !run.row.status.has_ended() && run.row.restore.is_none());
        Ok(live)
    }

    fn run(&self, job: &Job, firing: &Firing) -> Run {
        let trigger = Trigger::Schedule { due_at: firing.due_at, late_seconds: firing.late_seconds };
        order::new_run(self.ports, job, trigger, None)
    }

    fn missed_event(&self, job: &Job, missed: MissedTimes) -> ActivityEvent {
        let details = [("missed", json!(missed.count)), ("first", json!(missed.first)), ("last", json!(missed.last))];
        let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let subject = Subject::job(job.source_id, job.job_id);
        event(self.ports, job.account_id, ActivityKind::JobMissed, event::SYSTEM, subject, details)
    }

    fn skipped_event(&self, run: &mut Run) -> ActivityEvent {
        let mut details: Map<String, Value> = order::details(&run.trigger);
        details.insert("error".to_owned(), json!(run.error));
        event::of_run(self.ports, ActivityKind::RunSkipped, event::SYSTEM, run, details)
    }
}

fn overlap_message(overlap: Overlap, live: &[Run]) -> String {
    let (policy, wanted) = match overlap {
        Overlap::QueueOne => ("queue_one", RunStatus::Queued),
        Overlap::Skip => ("skip", RunStatus::Running),
        Overlap::CancelRunning => ("cancel_running", RunStatus::Running),
    };
    let in_the_way = live.iter().find(|run| run.status == wanted).or(live.first());
    let which = in_the_way.map_or_else(String::new, |run| format!(" {}", run.run_id));
    let state = if in_the_way.is_some_and(|run| run.status == RunStatus::Queued) { "begun" } else { "ended" };
    format!("run{which} of the job has not {state}, and its overlap policy is `{policy}`")
}
