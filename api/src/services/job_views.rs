//! Jobs as the API shows and takes them.

use jiff::Timestamp;
use listbackup_engine::model::{Job, JobId, JobState, SourceId, job::Overlap};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{policies::CatchUpText, schedules::ScheduleText};
use crate::schemas;

/// A job.
#[derive(Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    #[schema(value_type = schemas::JobId)]
    id: JobId,
    /// The source that it backs up.
    #[schema(value_type = schemas::SourceId)]
    source_id: SourceId,
    /// Name for people.
    name: String,
    /// When it runs.
    schedule: ScheduleText,
    /// When one of its times comes while a run of it has not ended: `skip` it, `queue_one` behind what runs, or `cancel_running`.
    #[schema(value_type = schemas::Overlap)]
    overlap: Overlap,
    /// When times passed while nothing looked at its schedule.
    catch_up: CatchUpText,
    /// Its times start up to so many seconds later, always equally many, and before the next time.
    #[schema(maximum = 21600)]
    jitter_seconds: u32,
    /// Whether its schedule counts; a paused job can still be run by hand.
    #[schema(value_type = schemas::JobState)]
    state: JobState,
    /// When it is due next by its schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_due_at: Option<Timestamp>,
    /// When that starts, by its jitter.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_start_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
    /// When a person last changed it.
    updated_at: Timestamp,
}

/// A job to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewJob {
    /// The source to back up.
    #[schema(value_type = schemas::SourceId)]
    pub source_id: SourceId,
    /// Name for people.
    #[schema(min_length = 1, max_length = 200)]
    pub name: String,
    /// When it runs.
    pub schedule: ScheduleText,
    /// When one of its times comes while a run of it has not ended: `skip` it, `queue_one` behind what runs, or `cancel_running` [default: queue_one].
    #[schema(value_type = Option<schemas::Overlap>)]
    pub overlap: Option<Overlap>,
    /// When times passed while nothing looked at its schedule [default: latest].
    pub catch_up: Option<CatchUpText>,
    /// Its times start up to so many seconds later, always equally many, and before the next time [default: 300 for cron expressions, 0 otherwise].
    #[schema(maximum = 21600)]
    pub jitter_seconds: Option<u32>,
}

/// Changes to a job.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobChanges {
    /// A new name.
    #[schema(min_length = 1, max_length = 200)]
    pub name: Option<String>,
    /// Another schedule.
    pub schedule: Option<ScheduleText>,
    /// When one of its times comes while a run of it has not ended: `skip` it, `queue_one` behind what runs, or `cancel_running`.
    #[schema(value_type = Option<schemas::Overlap>)]
    pub overlap: Option<Overlap>,
    /// When times passed while nothing looked at its schedule.
    pub catch_up: Option<CatchUpText>,
    /// Its times start up to so many seconds later, always equally many, and before the next time.
    #[schema(maximum = 21600)]
    pub jitter_seconds: Option<u32>,
}

/// Which jobs.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct JobParams {
    /// At most so many jobs.
    #[param(minimum = 1, maximum = 200, default = 50)]
    pub limit: Option<usize>,
    /// `next_cursor` of the page before; none for the first page.
    pub cursor: Option<String>,
    /// Only of this source.
    #[param(schema_with = schemas::source_id, required = false)]
    pub source_id: Option<SourceId>,
}

impl JobView {
    /// A job as it is shown.
    pub fn of(job: Job) -> Self {
        let instant = |ms: Option<i64>| ms.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self {
            next_due_at: job.pending(),
            next_start_at: instant(job.next_due_ms),
            overlap: job.policies.overlap,
            catch_up: CatchUpText::of(job.policies.catch_up),
            jitter_seconds: job.policies.jitter_seconds,
            id: job.job_id,
            source_id: job.source_id,
            name: job.name,
            schedule: ScheduleText::of(job.schedule),
            state: job.state,
            created_at: job.created_at,
            updated_at: job.updated_at,
        }
    }
}
