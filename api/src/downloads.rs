//! How many downloads and exports are written at a time: each takes a thread for blocking work, memory and bandwidth while it lasts,
//! so one account must not take all there is, nor all accounts together more than the process has.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use actix_web::http::StatusCode;
use listbackup_engine::model::AccountId;

use crate::problem::Problem;

/// Callers are asked to come back after so long.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The most at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DownloadLimits {
    /// In this process.
    pub total: NonZeroUsize,
    /// Of one account.
    pub per_account: NonZeroUsize,
}

impl DownloadLimits {
    /// 32 in a process, 8 of an account.
    pub const DEFAULT: Self =
        Self { total: NonZeroUsize::MIN.saturating_add(31), per_account: NonZeroUsize::MIN.saturating_add(7) };
}

/// The downloads under way.
#[derive(Debug)]
pub struct Downloads {
    limits: DownloadLimits,
    /// By account; none has 0.
    open: Mutex<BTreeMap<AccountId, usize>>,
}

/// A place among them, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    downloads: Arc<Downloads>,
    account_id: AccountId,
}

impl Downloads {
    /// None under way.
    pub fn new(limits: DownloadLimits) -> Arc<Self> {
        Arc::new(Self { limits, open: Mutex::default() })
    }

    /// A place for a download of an account.
    ///
    /// # Errors
    /// 429 when the account has as many as it may, 503 when the process has; both with `Retry-After`.
    pub fn place(self: &Arc<Self>, account_id: AccountId) -> Result<Place, Problem> {
        let mut open = self.lock();
        let of_account = open.get(&account_id).copied().unwrap_or_default();
        let DownloadLimits { total, per_account } = self.limits;
        if of_account >= per_account.get() {
            let detail =
                format!("the account has {of_account} downloads under way, the most at a time; let one end first");
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_downloads", detail);
            return Err(problem.retry_after(RETRY_AFTER));
        }
        if open.values().sum::<usize>() >= total.get() {
            let detail = "as many downloads are under way as this server takes at a time; try again later";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", detail).retry_after(RETRY_AFTER));
        }
        open.insert(account_id, of_account + 1);
        Ok(Place { downloads: self.clone(), account_id })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AccountId, usize>> {
        // Nothing in between can panic: the counts are right.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.downloads.lock();
        match open.get_mut(&self.account_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(open.remove(&self.account_id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_and_the_process_have_their_bounds_and_what_ends_makes_room() {
        let at_most = |count| NonZeroUsize::new(count).unwrap();
        let downloads = Downloads::new(DownloadLimits { total: at_most(3), per_account: at_most(2) });
        let account = |number| AccountId::derived(1, [number; 10]);
        let status = |number| downloads.place(account(number)).map(drop).map_err(|problem| problem.status().as_u16());
        let (first, _second) = (downloads.place(account(1)).unwrap(), downloads.place(account(1)).unwrap());
        assert_eq!(status(1), Err(429));
        let third = downloads.place(account(2)).unwrap();
        assert_eq!((status(2), status(3)), (Err(503), Err(503)));
        drop(third);
        assert_eq!((status(1), status(3)), (Err(429), Ok(())));
        drop(first);
        assert_eq!((status(1), status(1)), (Ok(()), Ok(())));
    }
}
