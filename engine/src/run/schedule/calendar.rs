//! The due times of one job, in order, each with the time at which it starts.

use jiff::{SignedDuration, Timestamp};

use super::Plan;
use crate::{
    error::Result,
    model::{Job, JobId, job::Schedule},
};

/// A due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The instant that the schedule names; a run's id comes from it.
    pub due_at: Timestamp,
    /// The instant at which it starts: never before it, and always before the next due time.
    pub starts_at: Timestamp,
}

/// A job's schedule, read, with its delay.
#[derive(Clone)]
pub struct Calendar {
    plan: Plan,
    anchor: Timestamp,
    delay: Delay,
}

/// How much later than its due times a job starts.
#[derive(Clone, Copy)]
struct Delay {
    /// The most that it may be.
    jitter_ms: i64,
    /// The job's own part of that, in 2^-32: up to 2^32 of them.
    part: u64,
}

impl Calendar {
    /// The calendar of a job. Two readers of one job see the same one.
    ///
    /// # Errors
    /// `Invalid` with every problem of its schedule.
    pub fn of(job: &Job) -> Result<Self> {
        let delay = Delay { jitter_ms: i64::from(job.policies.jitter_seconds) * 1000, part: part_of(job.job_id) };
        Ok(Self { plan: Plan::of(&job.schedule)?, anchor: job.created_at, delay })
    }

    /// The calendar of a schedule that belongs to no job yet: each time starts as late as jitter can make it.
    ///
    /// # Errors
    /// `Invalid` with every problem of the schedule.
    pub fn latest(schedule: &Schedule, anchor: Timestamp, jitter_seconds: u32) -> Result<Self> {
        let delay = Delay { jitter_ms: i64::from(jitter_seconds) * 1000, part: 1 << 32 };
        Ok(Self { plan: Plan::of(schedule)?, anchor, delay })
    }

    /// The same without delay: what is due starts.
    #[must_use]
    pub fn without_delay(&self) -> Self {
        Self { delay: Delay { jitter_ms: 0, ..self.delay }, ..self.clone() }
    }

    /// The first due time after `after`; `None` when there is none.
    ///
    /// # Errors
    /// `Invalid` when the schedule leaves the years that can be told.
    pub fn next(&self, after: Timestamp) -> Result<Option<Due>> {
        self.plan.next(self.anchor, after)?.map(|due_at| self.due(due_at)).transpose()
    }

    /// When the due time at that instant starts.
    ///
    /// # Errors
    /// As [`Calendar::next`].
    pub fn due(&self, due_at: Timestamp) -> Result<Due> {
        if self.delay.jitter_ms == 0 {
            return Ok(Due { due_at, starts_at: due_at });
        }
        let following = self.plan.next(self.anchor, due_at)?;
        Ok(self.delay.applied(due_at, following))
    }

    /// The due times from the one at `first` on.
    pub fn times_from(&self, first: Timestamp) -> Times<'_> {
        Times { calendar: self, upcoming: Ok(Some(first)) }
    }

    /// The next `n` due times after `after`; fewer when there are no more.
    ///
    /// # Errors
    /// As [`Calendar::next`].
    pub fn preview(&self, after: Timestamp, n: usize) -> Result<Vec<Due>> {
        match self.plan.next(self.anchor, after)? {
            Some(first) => self.times_from(first).take(n).collect(),
            None => Ok(Vec::new()),
        }
    }
}

impl Delay {
    /// Half of the time to the next due time stays free, so that delays never change the order of a job's times.
    fn applied(self, due_at: Timestamp, following: Option<Timestamp>) -> Due {
        let room_ms = following.map_or(i64::MAX, |next| (next.as_millisecond() - due_at.as_millisecond()) / 2);
        let most_ms = self.jitter_ms.min(room_ms).max(0);
        let delay_ms = i64::try_from((i128::from(most_ms) * i128::from(self.part)) >> 32).unwrap_or(0);
        Due { due_at, starts_at: due_at.saturating_add(SignedDuration::from_millis(delay_ms)).unwrap_or(due_at) }
    }
}

/// A job's part of the jitter: by chance, and always the same.
fn part_of(job_id: JobId) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key("listbackup delay of job");
    let mut part = [0; 4];
    hasher.update(job_id.as_bytes()).finalize_xof().fill(&mut part);
    u32::from_le_bytes(part).into()
}

/// Due times in order; an error is the last.
pub struct Times<'a> {
    calendar: &'a Calendar,
    upcoming: Result<Option<Timestamp>>,
}

impl Iterator for Times<'_> {
    type Item = Result<Due>;

    fn next(&mut self) -> Option<Self::Item> {
        let due_at = match std::mem::replace(&mut self.upcoming, Ok(None)) {
            Ok(due_at) => due_at?,
            Err(error) => return Some(Err(error)),
        };
        self.upcoming = self.calendar.plan.next(self.calendar.anchor, due_at);
        let following = self.upcoming.as_ref().ok().copied().flatten();
        Some(Ok(self.calendar.delay.applied(due_at, following)))
    }
}
