//! [`LiveProgress`] of a run, written to its row with each checkpoint and at least once a `progress_every`, and published to live
//! followers.

use serde_json::{Map, json};

use super::{
    RunContext,
    claim::Claim,
    event::{self, Subject, event},
    live_progress::LiveProgress,
    stop::{Stop, StopSwitch},
    update::{Decision, update},
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{ActivityEvent, ActivityKind, Run},
    ports::Ports,
    store::key,
};

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
    // Progress is for those who watch now; it is not kept.
    if let Err(error) = ctx.ports.events.publish(&[told(&ctx.ports, &Run { progress: now, ..run })]).await {
        tracing::debug!(%error, "progress was not published");
    }
    Ok(())
}

/// The event that tells how far a run is, as its row says.
pub fn told(ports: &Ports, run: &Run) -> ActivityEvent {
    let details = Map::from_iter([("progress".to_owned(), json!(run.progress))]);
    event(ports, run.account_id, ActivityKind::RunProgress, event::SYSTEM, Subject::run(run), details)
}

/// The sweeper looks at runs whose time has come; a quiet run must move its own on.
fn needs_renewal(ctx: &RunContext, run: &Run) -> bool {
    let soon = ctx.ports.clock.now() + ctx.settings.lease / 2;
    run.lease_expires_ms.is_none_or(|expires_ms| expires_ms < soon.as_millisecond())
}
