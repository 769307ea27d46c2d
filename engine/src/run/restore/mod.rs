//! Restoring through a connector: records of a snapshot are written back into the product.
//!
//! A restore is an order in the store (`order`) and a run that carries it out under the source's lease. The run reads the
//! streams as they are now (or takes the newest snapshot), finds what differs from the snapshot (`candidates`), decides
//! about each record (`decide`), and, unless it is a dry run, writes one record at a time (`write`), streams in the order
//! of their references (`sequence`). Every outcome is kept in a log that only grows (`outcome`); new keys are remembered
//! and put into the references of later records (`ids`).
//!
//! Any instant is a good one to be killed. What the log holds is done; a record that was written and not logged yet is
//! written again: a new one under the same idempotency key, so that the product makes no second; a changed one is looked at
//! first. Which references are set at once and which at the end follows from the order of streams alone, so that both
//! attempts send the same.

mod candidates;
mod decide;
mod follow;
mod ids;
mod members;
mod natural;
mod order;
mod outcome;
mod place;
mod sequence;
mod work;
mod write;

use std::sync::Arc;

use self::work::Restore;
pub use self::{
    order::{Against, RestoreOrder, Selection, problems_into, writable_streams},
    outcome::{Outcome, OutcomePage, RecordOutcome, page},
};
use super::{
    RunContext, checkpoint,
    claim::{self, Claim, Ending},
    conclude::{self, AttemptEnd},
    progress,
    session::Session,
    stop::{Stop, StopSwitch},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{RestoreFigures, RunStatus, run::RunError},
};

/// Why work on a restore did not reach its end.
enum Interrupted {
    /// The run must stop.
    Stop(Stop),
    /// The attempt failed.
    Error(Error),
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Carries out one attempt of a claimed run that restores.
///
/// # Errors
/// What the connector says (`Reauthorise`, `Retry` when the product does not answer); `Invalid` for streams that cannot be
/// written; `NotFound` when the snapshot is gone; `Fenced` when another worker owns the source.
pub async fn carry_out(ctx: Arc<RunContext>, claim: Claim, stop: StopSwitch) -> Result<AttemptEnd> {
    let session = Session::begin(ctx, claim, stop).await?;
    let done = tokio::select! {
        done = restore(&session) => done,
        () = report_until_dropped(&session) => return Err(Error::new(ErrorKind::Bug, "reporting ended by itself")),
    };
    let (ctx, claim) = (&session.ctx, &session.claim);
    match done {
        Ok(()) => {
            let ending = ending(&session);
            let run = claim::end_without_snapshot(ctx, claim, ending).await?;
            let named = crate::model::Run { checkpoints: claim.run.checkpoints.clone(), ..run.clone() };
            checkpoint::discard_all(&session, &run).await;
            checkpoint::discard_all(&session, &named).await;
            Ok(AttemptEnd::Ended(Box::new(run)))
        }
        Err(Interrupted::Stop(stop)) => conclude::stop_run(ctx, claim, stop, Some(session.progress.now())).await,
        Err(Interrupted::Error(error)) => Err(error),
    }
}

async fn restore(session: &Session) -> Result<(), Interrupted> {
    let mut restore = Box::pin(Restore::begin(session)).await?;
    let done = restore.carry_out().await;
    restore.tell();
    // What was done before an error is kept as well.
    let saved = restore.save().await;
    done?;
    Ok(saved?)
}

/// Publishes the figures and looks for a wish to cancel, as long as it is polled.
async fn report_until_dropped(session: &Session) {
    loop {
        tokio::time::sleep(session.ctx.settings.progress_every).await;
        match progress::report(&session.ctx, &session.claim, &session.progress, &session.stop).await {
            Err(error) if error.kind() == ErrorKind::Fenced => session.stop.stop(Stop::Fenced),
            Err(error) => tracing::warn!(%error, "progress was not written"),
            Ok(()) => {}
        }
    }
}

/// Conflicts and failures make a restore partial: the product is not as the snapshot says.
fn ending(session: &Session) -> Ending {
    let progress = session.progress.now();
    let sum = |of: fn(&RestoreFigures) -> u64| progress.restored.values().map(of).sum::<u64>();
    let (conflicts, failed) = (sum(|figures| figures.conflicts), sum(|figures| figures.failed));
    let is_whole = conflicts + failed == 0;
    let message = format!("{conflicts} records were left alone as conflicts, {failed} could not be written");
    Ending {
        status: if is_whole { RunStatus::Succeeded } else { RunStatus::Partial },
        error: (!is_whole).then(|| RunError { code: ErrorKind::Conflict.code().to_owned(), message }),
        progress: Some(progress),
    }
}
