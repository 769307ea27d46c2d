//! What follows from how an attempt ended. Decisions only; [`super::commit`] and [`super::claim`] write.

use std::{sync::Arc, time::Duration};

use super::{
    RunContext,
    claim::{self, Claim, Ending},
    commit::{self, Outcomes},
    deadline,
    pipeline::StreamOutcome,
    session::Session,
    stop::Stop,
    tries,
};
use crate::{
    error::{Error, ErrorKind, Result},
    model::{
        Run, RunStatus,
        run::{Progress, RunError},
    },
    store::key,
};

/// How an attempt ended.
#[derive(Debug)]
pub enum AttemptEnd {
    /// The run has ended.
    Ended(Box<Run>),
    /// The run is live and free for another worker.
    HandedBack,
}

/// Ends an attempt whose streams have all been read or stopped. A store that takes no more fails the run as a whole: what
/// could be kept of it would only look like a backup.
///
/// # Errors
/// As [`commit::commit`]; `Fenced` when another worker owns the source.
pub async fn conclude(session: &Session, outcomes: &Outcomes) -> Result<AttemptEnd> {
    let stopped = outcomes.values().find_map(|outcome| match outcome {
        StreamOutcome::Stopped(stop) => Some(*stop),
        _ => None,
    });
    let refused = outcomes.values().find_map(|outcome| match outcome {
        StreamOutcome::Failed(error) if error.kind() == ErrorKind::Exhausted => Some(error),
        _ => None,
    });
    let progress = Some(session.progress.now());
    match (session.stop.reason(), refused) {
        (Some(Stop::Exhausted), Some(error)) => {
            fail(&session.ctx, &session.claim, error, progress).await.map(|run| AttemptEnd::Ended(Box::new(run)))
        }
        (Some(stop), _) if stopped.is_some() || refused.is_some() => {
            stop_run(&session.ctx, &session.claim, stop, progress).await
        }
        _ => commit::commit(session, outcomes).await.map(|run| AttemptEnd::Ended(Box::new(run))),
    }
}

/// Ends or hands back a run that must stop. `progress` is what the attempt came to.
///
/// # Errors
/// `Fenced` when another worker owns the source; `Retry` from the stores.
pub async fn stop_run(ctx: &RunContext, claim: &Claim, stop: Stop, progress: Option<Progress>) -> Result<AttemptEnd> {
    match stop {
        Stop::Fenced | Stop::Exhausted => Err(stop.into()),
        Stop::Draining | Stop::HandOver => claim::hand_back(ctx, claim).await.map(|()| AttemptEnd::HandedBack),
        Stop::Cancelled => {
            let ending = Ending { status: RunStatus::Cancelled, error: None, progress };
            claim::end_without_snapshot(ctx, claim, ending).await.map(|run| AttemptEnd::Ended(Box::new(run)))
        }
    }
}

/// What to do after an attempt that ended with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again, after this.
    TryAgain(Duration),
    /// The run has failed.
    Fail,
    /// It is another worker's run now.
    LetGo,
}

/// Judges the error of attempt number `attempt` (from 1) of this worker. What broke off is tried again as well: what was on its
/// way then may be another thing the next time.
pub fn judge(ctx: &RunContext, claim: &Claim, error: &Error, attempt: u32) -> Verdict {
    let settings = &ctx.settings;
    let wait = match error.kind() {
        ErrorKind::Fenced => return Verdict::LetGo,
        ErrorKind::RateLimited => {
            // Every attempt so far waited as long, or nearly so.
            let wait = error.retry_after().unwrap_or(settings.retry_cap).max(settings.retry_base);
            Some(wait).filter(|wait| wait.saturating_mul(attempt) <= settings.pauses_max)
        }
        ErrorKind::Retry | ErrorKind::Conflict | ErrorKind::Bug if attempt < settings.run_attempts_max => {
            Some(tries::doubled(settings.retry_base, attempt).min(settings.retry_cap))
        }
        _ => None,
    };
    let left = deadline::left(claim, settings, ctx.ports.clock.now());
    wait.filter(|wait| *wait < left).map_or(Verdict::Fail, Verdict::TryAgain)
}

/// Ends a run as failed. `progress` is what its last attempt came to.
///
/// # Errors
/// `Fenced`, `Retry`, `Exhausted` from the stores.
pub async fn fail(ctx: &RunContext, claim: &Claim, error: &Error, progress: Option<Progress>) -> Result<Run> {
    let ending = Ending { status: RunStatus::Failed, error: Some(RunError::from(error)), progress };
    claim::end_without_snapshot(ctx, claim, ending).await
}

/// The claim with the run as it stands now, for another attempt under the same lease.
///
/// # Errors
/// `Retry` when the store cannot be reached.
pub async fn refreshed(ctx: &RunContext, claim: &Claim) -> Result<Claim> {
    let run = ctx.store.get::<Run>(&claim.scope, key(claim.order.job_id, claim.order.run_id)).await?.row;
    Ok(Claim { run: Arc::new(run), taken: None, ..claim.clone() })
}
