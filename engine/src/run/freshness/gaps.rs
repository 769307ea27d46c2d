//! The longest time between two due times of a schedule.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use crate::{model::job::Schedule, run::schedule};

/// So many due times are looked at: a week and more of a job that runs every five minutes of a working day.
const DUE_TIMES: usize = 5_000;
/// So far ahead, whichever is nearer.
const AHEAD: Duration = Duration::from_secs(400 * 24 * 3600);
/// Due times that are computed at a time.
const STEP: usize = 250;
/// A gap that was computed holds for so long.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// Schedules that are remembered.
const KNOWN_MAX: usize = 10_000;

/// Longest gaps by schedule: the same few schedules are asked for again and again.
#[derive(Debug, Default)]
pub struct Gaps {
    known: BTreeMap<(String, String), (Timestamp, Option<Duration>)>,
}

impl Gaps {
    /// The longest gap of a schedule from an instant on; `None` for one that is due less than twice.
    pub fn longest(&mut self, schedule: &Schedule, anchor: Timestamp, now: Timestamp) -> Option<Duration> {
        let (expression, time_zone) = match schedule {
            Schedule::Manual => return None,
            Schedule::Interval { every_seconds, .. } => return Some(Duration::from_secs(*every_seconds)),
            Schedule::Cron { expression, time_zone, .. } => (expression, time_zone),
        };
        let key = (expression.clone(), time_zone.clone());
        if let Some((at, gap)) = self.known.get(&key)
            && *at <= now
            && *at + HOLDS > now
        {
            return *gap;
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let gap = longest(schedule, anchor, now);
        self.known.insert(key, (now, gap));
        gap
    }
}

fn longest(schedule: &Schedule, anchor: Timestamp, from: Timestamp) -> Option<Duration> {
    let end = from.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
    let mut longest = None;
    let mut last: Option<Timestamp> = None;
    for _ in 0..DUE_TIMES / STEP {
        // A schedule that cannot be read is never due.
        let due = schedule::preview(schedule, anchor, last.unwrap_or(from), STEP).unwrap_or_default();
        for at in &due {
            if let Some(last) = last {
                longest = longest.max(Duration::try_from(at.duration_since(last)).ok());
            }
            last = Some(*at);
        }
        if due.len() < STEP || last.is_some_and(|last| last >= end) {
            break;
        }
    }
    longest
}
