//! Orders of people over HTTP: as in [`super::order`], as far as the plan of who pays allows. A restore is never refused for that.

use super::order;
use crate::{
    billing::Allowance,
    error::{Error, ErrorKind, Result},
    model::{Job, JobId, Run, RunId, RunStatus, run::Trigger, scope::AccountScope},
    ports::Ports,
    store::key,
};

/// Orders that lose so often in a row against others of the same who pays are not racing, something is wrong.
const ATTEMPTS_MAX: usize = 100;

/// [`order::order_run`].
///
/// # Errors
/// `OverLimit`, `Unpaid`; those of [`order::order_run`].
pub async fn order_run(
    ports: &Ports,
    allowance: Allowance<'_>,
    scope: &AccountScope,
    job: &Job,
    trigger: Trigger,
    idempotency: Option<&str>,
) -> Result<Run> {
    let run = order::new_run(ports, job, trigger, idempotency);
    let (run, is_new) = write(ports, allowance, scope, run).await?;
    if is_new || run.status == RunStatus::Queued {
        order::send(ports, &run).await?;
    }
    Ok(run)
}

/// [`order::retry_run`].
///
/// # Errors
/// `OverLimit`, `Unpaid`; those of [`order::retry_run`].
pub async fn retry_run(
    ports: &Ports,
    allowance: Allowance<'_>,
    scope: &AccountScope,
    job_id: JobId,
    run_id: RunId,
    by: &str,
) -> Result<Run> {
    let again = order::run_again(ports, scope, job_id, run_id, by).await?;
    let (again, _) = write(ports, allowance, scope, again).await?;
    order::send(ports, &again).await?;
    Ok(again)
}

async fn write(ports: &Ports, allowance: Allowance<'_>, scope: &AccountScope, run: Run) -> Result<(Run, bool)> {
    if run.restore.is_some() {
        return order::write_run(ports, scope, run).await;
    }
    for _ in 0..ATTEMPTS_MAX {
        let allowed = allowance.run(scope.account_id()).await;
        let refused = match allowed {
            Ok(gate) if gate.is_empty() => return order::write_run(ports, scope, run).await,
            Ok(gate) => {
                let (run, is_new) = order::try_to_write(ports, scope, allowance.system, run.clone(), gate).await?;
                if is_new {
                    return Ok((run, true));
                }
                None
            }
            Err(error) => Some(error),
        };
        // A repeat of an order finds what the first one made, also where no further one is allowed.
        let there = allowance.store.find::<Run>(scope, key(run.job_id, run.run_id)).await?;
        match (there, refused) {
            (Some(there), _) => return Ok((there.row, false)),
            (None, Some(error)) => return Err(error),
            (None, None) => {}
        }
    }
    Err(Error::new(ErrorKind::Retry, "others order backups all the time; try again"))
}
