//! The source's lease: who may write for it. Pure rules; [`super::claim`] and the heartbeat write them.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    error::{Error, ErrorKind, Result},
    invariants,
    model::{RunId, WorkerId, source::Lease},
};

/// Whether somebody may take a lease now.
pub fn is_free(lease: &Lease, worker_id: WorkerId, now: Timestamp, is_sole_worker: bool) -> bool {
    match (lease.owner, lease.expires_at) {
        (None, _) | (_, None) => true,
        (Some(owner), Some(expires_at)) => expires_at <= now || (is_sole_worker && owner != worker_id),
    }
}

/// The lease after `worker_id` takes it: one epoch on.
pub fn taken(lease: &Lease, worker_id: WorkerId, run_id: RunId, now: Timestamp, length: Duration) -> Lease {
    Lease { epoch: lease.epoch + 1, owner: Some(worker_id), run_id: Some(run_id), expires_at: Some(now + length) }
}

/// The lease after a heartbeat of its owner.
///
/// # Errors
/// `Fenced` when the epoch is not the lease's.
pub fn renewed(lease: &Lease, epoch: u64, now: Timestamp, length: Duration) -> Result<Lease> {
    check(lease, epoch)?;
    Ok(Lease { expires_at: Some(now + length), ..lease.clone() })
}

/// The lease after its owner let it go; the epoch stays, so the next owner is one on.
///
/// # Errors
/// `Fenced` when the epoch is not the lease's.
pub fn released(lease: &Lease, epoch: u64) -> Result<Lease> {
    check(lease, epoch)?;
    Ok(Lease { epoch, owner: None, run_id: None, expires_at: None })
}

/// The lease after its owner hands the run back: free, and that run's before any other's.
///
/// # Errors
/// `Fenced` when the epoch is not the lease's.
pub fn handed_back(lease: &Lease, epoch: u64) -> Result<Lease> {
    Ok(Lease { run_id: lease.run_id, ..released(lease, epoch)? })
}

/// The fence.
///
/// # Errors
/// `Fenced` when a newer owner has taken the lease, or it was let go.
pub fn check(lease: &Lease, epoch: u64) -> Result<()> {
    invariants::owns(lease, epoch).map_err(|_| {
        Error::new(ErrorKind::Fenced, "another worker owns the source now")
            .with("epoch", epoch)
            .with("now", lease.epoch)
    })
}
