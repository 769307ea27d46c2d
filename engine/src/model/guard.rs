//! How a source's reads are watched: for deletions that look like a fault, and for changes that incremental reads missed.

use listbackup_connectors::Problem;
use serde::{Deserialize, Serialize};

/// Most days between two reconcile reads.
const RECONCILE_DAYS_MAX: u32 = 3650;

/// What makes a read suspicious, and how often a stream is read in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadGuard {
    /// A run that deletes more than so many per cent of a stream, or of its attachments, makes a suspicious snapshot; 100
    /// switches the guard off.
    pub absence_share_percent: u8,
    /// Fewer deleted records, or attachments, are never suspicious.
    pub absence_records_min: u64,
    /// A stream that is read incrementally is also read in full after so many days; 0 never.
    pub reconcile_days: u32,
}

impl Default for ReadGuard {
    fn default() -> Self {
        Self { absence_share_percent: 20, absence_records_min: 100, reconcile_days: 7 }
    }
}

impl ReadGuard {
    /// True when deleting `removed` records of a stream that had `before` looks like a fault.
    pub fn is_suspicious(&self, removed: u64, before: u64) -> bool {
        let share = u128::from(removed) * 100;
        removed >= self.absence_records_min && share > u128::from(before) * u128::from(self.absence_share_percent)
    }

    /// All that is wrong with it, each with its JSON pointer.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !(1..=100).contains(&self.absence_share_percent) {
            problems.push(Problem {
                place: "/absence_share_percent".to_owned(),
                message: "must be 1 to 100; 100 switches the guard off".to_owned(),
            });
        }
        if self.reconcile_days > RECONCILE_DAYS_MAX {
            problems.push(Problem {
                place: "/reconcile_days".to_owned(),
                message: format!("must be 0 to {RECONCILE_DAYS_MAX}; 0 never reads such streams in full"),
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_the_share_and_at_least_the_minimum_is_suspicious() {
        let guard = ReadGuard::default();
        assert!(guard.is_suspicious(201, 1000));
        assert!(!guard.is_suspicious(200, 1000));
        assert!(guard.is_suspicious(100, 100));
        assert!(!guard.is_suspicious(99, 99));
        assert!(!guard.is_suspicious(0, 0));
        let off = ReadGuard { absence_share_percent: 100, ..ReadGuard::default() };
        assert!(!off.is_suspicious(u64::MAX, u64::MAX));
    }
}
