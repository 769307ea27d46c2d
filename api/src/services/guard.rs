//! How a source's reads are watched, as its routes take and show it.

use listbackup_engine::model::{ReadGuard, Source};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// How a source's reads are watched. What a body leaves out stays as it is.
#[derive(Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GuardSettings {
    /// A run that deletes more than so many per cent of a stream, or of its attachments, makes a suspicious snapshot: it is marked, the last good one
    /// is pinned, and an event tells of it. 100 switches that off; 20 at first.
    #[schema(minimum = 1, maximum = 100)]
    absence_share_percent: Option<u8>,
    /// Fewer deleted records are never suspicious; 100 at first.
    #[schema(minimum = 0)]
    absence_records_min: Option<u64>,
    /// A stream that is read incrementally is also read in full after so many days, to find what its product did not tell; 0
    /// never does, 7 at first.
    #[schema(minimum = 0, maximum = 3650)]
    reconcile_days: Option<u32>,
}

impl GuardSettings {
    /// As a source shows them.
    pub fn of(guard: &ReadGuard) -> Self {
        Self {
            absence_share_percent: Some(guard.absence_share_percent),
            absence_records_min: Some(guard.absence_records_min),
            reconcile_days: Some(guard.reconcile_days),
        }
    }

    /// Checks what a body says.
    ///
    /// # Errors
    /// 422 with everything that is wrong with it.
    pub fn check(&self) -> Result<(), Problem> {
        let problems = self.over(&ReadGuard::default()).problems();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Problem::from(listbackup_engine::Error::invalid("reads cannot be watched like this", problems))
            .under("/guard"))
    }

    /// Changes what the body speaks of.
    pub fn apply(&self, source: &mut Source) {
        source.guard = self.over(&source.guard);
    }

    fn over(&self, guard: &ReadGuard) -> ReadGuard {
        ReadGuard {
            absence_share_percent: self.absence_share_percent.unwrap_or(guard.absence_share_percent),
            absence_records_min: self.absence_records_min.unwrap_or(guard.absence_records_min),
            reconcile_days: self.reconcile_days.unwrap_or(guard.reconcile_days),
        }
    }
}
