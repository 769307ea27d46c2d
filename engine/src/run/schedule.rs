//! When a job is due: cron expressions as people mean them, plain intervals, and never.
//!
//! The `cron` crate reads the fields; which instants they stand for is decided here, because people who write a
//! schedule mean something else than the crate does:
//!
//! | | the crate | here | why |
//! |---|---|---|---|
//! | fields | six or seven | five or six (seconds first) | five is what everybody knows |
//! | weekdays | 1 to 7, Sunday is 1 | 0 to 7, Sunday is 0 and 7, or names | a job for `1` ran on Sundays |
//! | day of month and weekday, both given | both must hold | either is enough, unless one begins with `*` | `0 0 1,15 * 1` is the 1st, the 15th and Mondays, as crontab(5) says |
//! | a time that the clocks jump over | skipped | the first instant after the gap | the nightly backup must not be missing in spring |
//! | a time that comes twice | runs twice | the first of the two | one backup was asked for |
//! | `@annually`, `@midnight` | unknown | as `@yearly`, `@daily` | |
//!
//! A wildcard in the minute or hour (`*`, `*/15`) asks for a rhythm, not for a time of day: then the job follows real time,
//! runs in both passes of a repeated hour, and finds nothing to do in a skipped one.
//!
//! When it is due and when it starts are two things: [`Calendar`] adds the job's own delay, so that not all jobs of a midnight
//! start at once.

mod calendar;
mod expression;
mod zone;

pub use self::calendar::{Calendar, Due, Times};

use jiff::{Timestamp, tz::TimeZone};

use self::expression::Expression;
use crate::{
    connectors::Problem,
    error::{Error, ErrorKind, Result},
    model::job::Schedule,
};

/// The shortest interval.
const MIN_INTERVAL_SECONDS: u64 = 60;
/// The longest interval: ten years.
const MAX_INTERVAL_SECONDS: u64 = 10 * 366 * 24 * 60 * 60;

/// The first due instant after `after`; `None` for a schedule that is never due. Intervals count from `anchor`.
///
/// # Errors
/// `Invalid` with every problem of the schedule; their places are JSON pointers into it.
pub fn next_due(schedule: &Schedule, anchor: Timestamp, after: Timestamp) -> Result<Option<Timestamp>> {
    Plan::of(schedule)?.next(anchor, after)
}

/// The next `n` due instants after `after`; fewer when there are no more.
///
/// # Errors
/// `Invalid` with every problem of the schedule.
pub fn preview(schedule: &Schedule, anchor: Timestamp, after: Timestamp, n: usize) -> Result<Vec<Timestamp>> {
    let plan = Plan::of(schedule)?;
    let mut due = Vec::with_capacity(n.min(64));
    let mut last = after;
    while due.len() < n
        && let Some(next) = plan.next(anchor, last)?
    {
        due.push(next);
        last = next;
    }
    Ok(due)
}

/// Whether a schedule can be kept.
///
/// # Errors
/// `Invalid` with every problem: fields, time zone, a date that never comes, an interval out of range.
pub fn validate(schedule: &Schedule) -> Result<()> {
    Plan::of(schedule).map(|_| ())
}

/// A schedule, read.
#[derive(Clone)]
enum Plan {
    Never,
    Cron { expression: Box<Expression>, time_zone: TimeZone },
    Every { interval_ns: i128 },
}

impl Plan {
    fn of(schedule: &Schedule) -> Result<Self> {
        let (plan, problems) = match schedule {
            Schedule::Manual => (Some(Self::Never), Vec::new()),
            Schedule::Cron { expression, time_zone } => Self::of_cron(expression, time_zone),
            Schedule::Interval { every_seconds } => Self::of_interval(*every_seconds),
        };
        match plan {
            Some(plan) if problems.is_empty() => Ok(plan),
            _ => Err(Error::invalid("this schedule cannot be kept", problems)),
        }
    }

    fn of_cron(expression: &str, time_zone: &str) -> (Option<Self>, Vec<Problem>) {
        let mut problems = Vec::new();
        let expression = Expression::parse(expression, &mut problems);
        let time_zone = TimeZone::get(time_zone).inspect_err(|_| {
            problems.push(problem(
                "/time_zone",
                format!("`{time_zone}` is not a time zone; use an IANA name, such as Europe/Berlin or UTC"),
            ));
        });
        let plan = expression
            .zip(time_zone.ok())
            .map(|(expression, time_zone)| Self::Cron { expression: Box::new(expression), time_zone });
        (plan, problems)
    }

    fn of_interval(every_seconds: u64) -> (Option<Self>, Vec<Problem>) {
        if (MIN_INTERVAL_SECONDS..=MAX_INTERVAL_SECONDS).contains(&every_seconds) {
            return (Some(Self::Every { interval_ns: i128::from(every_seconds) * 1_000_000_000 }), Vec::new());
        }
        let message = format!("must be {MIN_INTERVAL_SECONDS} to {MAX_INTERVAL_SECONDS} seconds, not {every_seconds}");
        (None, vec![problem("/every_seconds", message)])
    }

    fn next(&self, anchor: Timestamp, after: Timestamp) -> Result<Option<Timestamp>> {
        match self {
            Self::Never => Ok(None),
            Self::Cron { expression, time_zone } => zone::next(expression, time_zone, after),
            Self::Every { interval_ns } => next_interval(*interval_ns, anchor, after),
        }
        .map_err(|error| {
            Error::new(ErrorKind::Invalid, "the schedule leaves the years that can be told").caused_by(error)
        })
    }
}

/// The first multiple of the interval after `after`, at least one from the anchor: late runs move nothing.
fn next_interval(interval_ns: i128, anchor: Timestamp, after: Timestamp) -> Result<Option<Timestamp>, jiff::Error> {
    let elapsed_ns = after.as_nanosecond() - anchor.as_nanosecond();
    let rounds = (elapsed_ns.div_euclid(interval_ns) + 1).max(1);
    Timestamp::from_nanosecond(anchor.as_nanosecond() + rounds * interval_ns).map(Some)
}

fn problem(place: &str, message: String) -> Problem {
    Problem { place: place.to_owned(), message }
}

#[cfg(test)]
mod tests;
