//! Figures of a live run: gathered in memory by its streams, written to the run's row with each checkpoint and at least
//! once a `progress_every`, published to live followers.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::{Map, json};
use tokio::time::Instant;

use super::{
    RunContext,
    claim::Claim,
    estimate::{self, Pace},
    event::{self, Subject, event},
    pulse::Pulse,
    stop::{Stop, StopSwitch},
    update::{Decision, update},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        ActivityKind, RestoreFigures, Run,
        run::{Progress, StreamProgress},
    },
    store::key,
};

/// The figures, shared by the streams of one run. Whatever changes them is a sign of life.
#[derive(Debug)]
pub struct LiveProgress {
    figures: Mutex<Figures>,
    pulse: Pulse,
    /// When this attempt began, and what was read before.
    began_at: Instant,
    records_before: u64,
}

#[derive(Debug, Default)]
struct Figures {
    told: Progress,
    /// What the total of bytes stored counts of each stream.
    stored_bytes: BTreeMap<String, u64>,
    /// Records when the last estimate was made.
    estimated_records: Option<u64>,
}

impl LiveProgress {
    /// Goes on from what an earlier attempt wrote.
    pub fn starting_from(progress: Progress, pulse: Pulse) -> Self {
        let records_before = estimate::records_of(&progress);
        let told = Progress { estimate: None, ..progress };
        Self {
            figures: Mutex::new(Figures { told, ..Figures::default() }),
            pulse,
            began_at: Instant::now(),
            records_before,
        }
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The figures, to be changed.
    fn moving(&self) -> MutexGuard<'_, Figures> {
        self.pulse.beat();
        self.figures()
    }

    /// The figures now.
    pub fn now(&self) -> Progress {
        self.figures().told.clone()
    }

    /// The figures now, with another estimate if they have changed.
    fn estimated(&self, now: Timestamp) -> Progress {
        let mut figures = self.figures();
        let records = estimate::records_of(&figures.told);
        if figures.estimated_records.replace(records) != Some(records) {
            let pace = Pace { records_before: self.records_before, elapsed: self.began_at.elapsed() };
            figures.told.estimate = estimate::of(&figures.told, pace, now);
        }
        figures.told.clone()
    }

    /// Changes one stream's figures.
    pub fn stream(&self, name: &str, change: impl FnOnce(&mut StreamProgress)) {
        change(self.moving().told.streams.entry(name.to_owned()).or_default());
    }

    /// Replaces the figures of a restore.
    pub fn restored(&self, figures: BTreeMap<String, RestoreFigures>) {
        self.moving().told.restored = figures;
    }

    /// Adds to the run's totals.
    pub fn add(&self, bytes_read: u64, requests: u64) {
        let mut figures = self.moving();
        figures.told.bytes_read += bytes_read;
        figures.told.requests += requests;
    }

    /// Says how much of a stream is stored. It may be less than before: what was made for checkpoints is removed at the end, and
    /// what came after the last one is lost when a store fails. The first time it is what an earlier attempt told already.
    pub fn stored(&self, stream: &str, bytes: u64) {
        let mut figures = self.moving();
        let before = figures.stored_bytes.insert(stream.to_owned(), bytes).unwrap_or(bytes);
        figures.told.bytes_stored = (figures.told.bytes_stored + bytes).saturating_sub(before);
    }
}

/// The fence of the run's row.
///
/// # Errors
/// `Fenced` when a newer owner works on the run or it has ended; `Cancelled` never: cancelling is told by the row.
pub fn check_run(run: &Run, epoch: u64) -> Result<()> {
    if run.epoch == epoch && !run.status.has_ended() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Fenced, "another worker owns the run now").with("epoch", epoch).with("now", run.epoch))
}

/// Passes a wish to cancel on to the run's switch.
///
/// # Errors
/// As [`report`].
pub async fn look(ctx: &RunContext, claim: &Claim, stop: &StopSwitch) -> Result<()> {
    let run = ctx.store.get::<Run>(&claim.scope, key(claim.order.job_id, claim.order.run_id)).await?.row;
    check_run(&run, claim.epoch)?;
    if run.cancel_requested {
        stop.stop(Stop::Cancelled);
    }
    Ok(())
}

/// Writes the figures, tells live followers, and passes a wish to cancel on to the run's switch.
///
/// # Errors
/// `Fenced` when another worker owns the run; `Retry` when the store cannot be reached.
pub async fn report(ctx: &RunContext, claim: &Claim, progress: &LiveProgress, stop: &StopSwitch) -> Result<()> {
    let clock = ctx.ports.clock.now();
    let now = progress.estimated(clock);
    let lease_end = clock + ctx.settings.lease;
    let run = update(&ctx.store, &claim.scope, key(claim.order.job_id, claim.order.run_id), |mut run: Run| {
        check_run(&run, claim.epoch)?;
        if run.progress == now && !run.cancel_requested && !needs_renewal(ctx, &run) {
            return Ok(Decision::Keep(run));
        }
        run.progress = now.clone();
        run.lease_expires_ms = Some(lease_end.as_millisecond());
        Ok(Decision::Write(run.clone(), vec![], run))
    })
    .await?;
    if run.cancel_requested {
        stop.stop(Stop::Cancelled);
    }
    let mut details = Map::new();
    details.insert("progress".to_owned(), json!(now));
    let told = event(&ctx.ports, run.account_id, ActivityKind::RunProgress, event::SYSTEM, Subject::run(&run), details);
    // Progress is for those who watch now; it is not kept.
    if let Err(error) = ctx.ports.events.publish(&[told]).await {
        tracing::debug!(%error, "progress was not published");
    }
    Ok(())
}

/// The sweeper looks at runs whose time has come; a quiet run must move its own on.
fn needs_renewal(ctx: &RunContext, run: &Run) -> bool {
    let soon = ctx.ports.clock.now() + ctx.settings.lease / 2;
    run.lease_expires_ms.is_none_or(|expires_ms| expires_ms < soon.as_millisecond())
}
