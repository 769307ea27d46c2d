//! How long a stream and a run may take.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{claim::Claim, settings::RunSettings};
use crate::error::{Error, ErrorKind};

/// How much of a run's time is left.
pub fn left(claim: &Claim, settings: &RunSettings, now: Timestamp) -> Duration {
    remaining(claim.run.started_at.unwrap_or(now), settings.run_deadline, now)
}

/// How much of the time is left of a stream that was begun then, within its run.
pub fn left_of_stream(claim: &Claim, settings: &RunSettings, began_at: Timestamp, now: Timestamp) -> Duration {
    remaining(began_at, settings.stream_deadline, now).min(left(claim, settings, now))
}

/// What a stream has come to whose time is over.
pub fn passed(settings: &RunSettings) -> Error {
    let hours = |limit: Duration| limit.as_secs() / 3_600;
    let message = format!(
        "the time that it may take is over ({} hours a stream, {} a run); the next run reads it from the beginning",
        hours(settings.stream_deadline),
        hours(settings.run_deadline),
    );
    Error::new(ErrorKind::Deadline, message)
}

fn remaining(since: Timestamp, limit: Duration, now: Timestamp) -> Duration {
    let elapsed = now.duration_since(since).max(SignedDuration::ZERO);
    limit.saturating_sub(Duration::try_from(elapsed).unwrap_or_default())
}
