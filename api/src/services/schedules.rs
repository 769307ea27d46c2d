//! When jobs run: schedules, checked and shown before they are saved.

use actix_web::web::{Data, Json, Path};
use jiff::Timestamp;
use listbackup_engine::{
    Result,
    model::{Job, JobId, job::Schedule},
    run::{
        policies::default_jitter_seconds,
        schedule::{self, Calendar, Due},
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Answer, jobs::find};
use crate::{body::Body, caller::Caller, problem::Problem, state::AppState};

/// Fire times shown for a schedule.
const PREVIEW_TIMES: usize = 5;

/// When a job runs.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum ScheduleText {
    /// Only when asked.
    Manual {},
    /// By a cron expression.
    Cron {
        /// Five or six fields, or `@daily` and the like.
        #[schema(max_length = 200, examples("30 2 * * *", "@daily"))]
        expression: String,
        /// IANA name of the time zone that the expression is read in.
        #[schema(max_length = 64, examples("Europe/Berlin"))]
        time_zone: String,
    },
    /// Every so many seconds, counted from the job's creation: no drift.
    Interval {
        /// At least a minute.
        #[schema(minimum = 60, maximum = 316_224_000)]
        every_seconds: u64,
    },
}

/// A schedule to try out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleTrial {
    /// The schedule.
    schedule: ScheduleText,
    /// Of the job that will have it; what a new job gets when absent.
    #[schema(maximum = 21600)]
    jitter_seconds: Option<u32>,
}

/// When a schedule fires.
#[derive(Serialize, ToSchema)]
pub struct FireTimes {
    /// The schedule.
    schedule: ScheduleText,
    /// The next five times; none for a manual schedule or a paused job.
    next: Vec<FireTime>,
}

/// One time of a schedule.
#[derive(Serialize, ToSchema)]
pub struct FireTime {
    /// When it is due.
    due_at: Timestamp,
    /// When it starts: the same, or a little later by the job's jitter. Absent as long as there is no job.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Timestamp>,
    /// When it starts at the latest; only as long as there is no job.
    #[serde(skip_serializing_if = "Option::is_none")]
    starts_by: Option<Timestamp>,
}

/// The next fire times of a job.
#[utoipa::path(get, path = "/jobs/{id}/schedule", params(("id" = String, Path, description = "The job's id.")),
    responses((status = 200, description = "The schedule and its next times.", body = FireTimes)))]
pub async fn fire_times(state: Data<AppState>, caller: Caller, id: Path<JobId>) -> Answer<FireTimes> {
    let job = find(&state, &caller, *id).await?;
    let next = next_times(&job, state.now())?.into_iter().map(FireTime::of_job).collect();
    Ok(Json(FireTimes { schedule: ScheduleText::of(job.schedule), next }))
}

/// The next fire times of a schedule that is not saved.
#[utoipa::path(post, path = "/jobs/schedule/preview", request_body = ScheduleTrial, responses(
    (status = 200, description = "The schedule and its next times, as if made now.", body = FireTimes)))]
pub async fn preview(state: Data<AppState>, body: Body<ScheduleTrial>) -> Answer<FireTimes> {
    let schedule = checked(body.value.schedule)?;
    let now = state.now();
    let jitter_seconds = body.value.jitter_seconds.unwrap_or_else(|| default_jitter_seconds(&schedule));
    let times = Calendar::latest(&schedule, now, jitter_seconds)?.preview(now, PREVIEW_TIMES)?;
    let next = times.into_iter().map(FireTime::of_trial).collect();
    Ok(Json(FireTimes { schedule: ScheduleText::of(schedule), next }))
}

/// From the one on that has come and not started yet, if there is one.
fn next_times(job: &Job, now: Timestamp) -> Result<Vec<Due>> {
    let Some(pending) = job.pending() else { return Ok(Vec::new()) };
    let calendar = Calendar::of(job)?;
    if calendar.due(pending)?.starts_at > now {
        return calendar.times_from(pending).take(PREVIEW_TIMES).collect();
    }
    calendar.preview(now, PREVIEW_TIMES)
}

impl FireTime {
    fn of_job(due: Due) -> Self {
        Self { due_at: due.due_at, starts_at: Some(due.starts_at), starts_by: None }
    }

    fn of_trial(due: Due) -> Self {
        Self { due_at: due.due_at, starts_at: None, starts_by: Some(due.starts_at) }
    }
}

impl ScheduleText {
    /// Shows a schedule.
    pub fn of(schedule: Schedule) -> Self {
        match schedule {
            Schedule::Manual => Self::Manual {},
            Schedule::Cron { expression, time_zone } => Self::Cron { expression, time_zone },
            Schedule::Interval { every_seconds } => Self::Interval { every_seconds },
        }
    }
}

/// The schedule, when its expression and zone can be read.
///
/// # Errors
/// 422 with every problem, under `/schedule`.
pub fn checked(text: ScheduleText) -> Result<Schedule, Problem> {
    let schedule = match text {
        ScheduleText::Manual {} => Schedule::Manual,
        ScheduleText::Cron { expression, time_zone } => Schedule::Cron { expression, time_zone },
        ScheduleText::Interval { every_seconds } => Schedule::Interval { every_seconds },
    };
    match schedule::validate(&schedule) {
        Ok(()) => Ok(schedule),
        Err(error) => Err(Problem::from(error).under("/schedule")),
    }
}
