//! What becomes of a job's due times: overlap, catch-up, jitter, as the API says them.

use listbackup_engine::model::job::{CatchUp, Overlap, Policies, Schedule};
use listbackup_engine::run::policies::default_jitter_seconds;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What becomes of due times that passed while nothing looked at the schedule. Each gets a run in any case: one that starts late,
/// or one with the status `skipped` and the code `missed`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum CatchUpText {
    /// They are skipped; the job waits for its next time.
    None {},
    /// The newest starts late, the others are skipped.
    Latest {},
    /// Those within the window start late, one after the other; older ones are skipped.
    All {
        /// How late one may start.
        #[schema(minimum = 60, maximum = 2592000)]
        window_seconds: u64,
    },
}

impl CatchUpText {
    /// Shows a policy.
    pub fn of(catch_up: CatchUp) -> Self {
        match catch_up {
            CatchUp::None => Self::None {},
            CatchUp::Latest => Self::Latest {},
            CatchUp::All { window_seconds } => Self::All { window_seconds },
        }
    }

    fn policy(&self) -> CatchUp {
        match *self {
            Self::None {} => CatchUp::None,
            Self::Latest {} => CatchUp::Latest,
            Self::All { window_seconds } => CatchUp::All { window_seconds },
        }
    }
}

/// What a request says of a job's policies.
#[derive(Clone)]
pub struct PolicyChanges {
    /// When a run of the job has not ended.
    pub overlap: Option<Overlap>,
    /// After a time without workers.
    pub catch_up: Option<CatchUpText>,
    /// How much later it may start.
    pub jitter_seconds: Option<u32>,
}

impl PolicyChanges {
    /// The policies of a new job with that schedule.
    pub fn of_new(&self, schedule: &Schedule) -> Policies {
        self.applied(Policies { jitter_seconds: default_jitter_seconds(schedule), ..Policies::default() })
    }

    /// The policies of a job that has others so far.
    pub fn applied(&self, policies: Policies) -> Policies {
        Policies {
            overlap: self.overlap.unwrap_or(policies.overlap),
            catch_up: self.catch_up.as_ref().map_or(policies.catch_up, CatchUpText::policy),
            jitter_seconds: self.jitter_seconds.unwrap_or(policies.jitter_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_bounds_are_those_of_the_engine() {
        assert_eq!(CatchUp::WINDOW_SECONDS, 60..=2_592_000);
        assert_eq!(Policies::JITTER_SECONDS_MAX, 21_600);
    }
}
