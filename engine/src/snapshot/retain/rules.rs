//! Which snapshots are kept, and why: pure functions of the rules, the snapshots and what protects them.

use std::fmt;

use jiff::{Timestamp, Zoned};
use serde::Serialize;

use super::marks::Marks;
use crate::{
    error::Result,
    model::{KeepRules, SnapshotId},
};

/// A snapshot to judge.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Its id.
    pub snapshot_id: SnapshotId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Its pins and holds.
    pub marks: Marks,
    /// It may be the work of a fault: it takes no good snapshot's place in any rule.
    pub is_suspicious: bool,
}

/// Why a snapshot is kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Reason {
    /// It is the newest of the source.
    Head,
    /// The source has no rules: everything is kept.
    NoRules,
    /// It is among the newest so many.
    Last {
        /// Its place, from 1 for the newest.
        place: u32,
    },
    /// It is the newest of an hour.
    Hourly {
        /// The hour, in the rules' time zone.
        period: String,
    },
    /// It is the newest of a day.
    Daily {
        /// The day.
        period: String,
    },
    /// It is the newest of a week.
    Weekly {
        /// The ISO week.
        period: String,
    },
    /// It is the newest of a month.
    Monthly {
        /// The month.
        period: String,
    },
    /// It is the newest of a year.
    Yearly {
        /// The year.
        period: String,
    },
    /// Somebody pinned it.
    Pinned {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// It is under a legal hold.
    Held {
        /// Who holds it.
        by: String,
        /// Why.
        reason: String,
        /// Until when; without end when absent.
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Nobody can delete it before then.
    Locked {
        /// The instant.
        until: Timestamp,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("newest of the source"),
            Self::NoRules => f.write_str("no rules: everything is kept"),
            Self::Last { place } => write!(f, "last {place}"),
            Self::Hourly { period } => write!(f, "hourly {period}"),
            Self::Daily { period } => write!(f, "daily {period}"),
            Self::Weekly { period } => write!(f, "weekly {period}"),
            Self::Monthly { period } => write!(f, "monthly {period}"),
            Self::Yearly { period } => write!(f, "yearly {period}"),
            Self::Pinned { by, reason } => write!(f, "pinned by {by}: {reason}"),
            Self::Held { by, reason, until: None } => write!(f, "held by {by}: {reason}"),
            Self::Held { by, reason, until: Some(until) } => write!(f, "held by {by} until {until:.0}: {reason}"),
            Self::Locked { until } => write!(f, "locked until {until:.0}"),
        }
    }
}

/// What becomes of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// When it was made.
    pub created_at: Timestamp,
    /// Everything that keeps it. Empty: no rule does, and nothing protects it.
    pub kept_by: Vec<Reason>,
}

impl Decision {
    /// True when it stays.
    pub fn is_kept(&self) -> bool {
        !self.kept_by.is_empty()
    }
}

/// Judges the snapshots of a source, given oldest first; the decisions are in the same order.
///
/// Of each period that has snapshots the newest one counts, and a rule takes so many periods from the newest back.
/// A suspicious snapshot counts only beside the good ones: each rule is applied twice, to all and to the good ones alone, and
/// what either keeps stays.
///
/// # Errors
/// `Invalid` when the rules' time zone is not known.
pub fn decide(rules: &KeepRules, snapshots: &[Judged], now: Timestamp) -> Result<Vec<Decision>> {
    let zone = rules.zone()?;
    let times: Vec<Zoned> = snapshots.iter().map(|snapshot| snapshot.created_at.to_zoned(zone.clone())).collect();
    let mut kept_by: Vec<Vec<Reason>> = vec![Vec::new(); snapshots.len()];
    let all: Vec<usize> = (0..snapshots.len()).rev().collect();
    let good: Vec<usize> = all.iter().copied().filter(|index| !snapshots[*index].is_suspicious).collect();
    for newest_first in [&all, &good] {
        for (index, reason) in kept_by_rules(rules, &times, newest_first) {
            if !kept_by[index].contains(&reason) {
                kept_by[index].push(reason);
            }
        }
    }
    let decisions = snapshots.iter().zip(kept_by).enumerate().map(|(index, (snapshot, by_rules))| {
        let is_head = index + 1 == snapshots.len();
        let mut reasons: Vec<Reason> = is_head.then_some(Reason::Head).into_iter().collect();
        reasons.extend(rules.keep_everything().then_some(Reason::NoRules));
        reasons.extend(by_rules);
        reasons.extend(snapshot.marks.protections(now));
        Decision { snapshot_id: snapshot.snapshot_id, created_at: snapshot.created_at, kept_by: reasons }
    });
    Ok(decisions.collect())
}

/// How many periods a rule keeps, the period of a time, and the reason that names it.
type Periods = (u32, fn(&Zoned) -> String, fn(String) -> Reason);

/// What the rules keep of the snapshots `newest_first`.
fn kept_by_rules(rules: &KeepRules, times: &[Zoned], newest_first: &[usize]) -> Vec<(usize, Reason)> {
    let last = newest_first.iter().zip(1..=rules.last).map(|(index, place)| (*index, Reason::Last { place }));
    let mut kept: Vec<(usize, Reason)> = last.collect();
    let periods: [Periods; 5] = [
        (rules.hourly, hour_of, |period| Reason::Hourly { period }),
        (rules.daily, |time| time.strftime("%Y-%m-%d").to_string(), |period| Reason::Daily { period }),
        (rules.weekly, |time| time.strftime("%G-W%V").to_string(), |period| Reason::Weekly { period }),
        (rules.monthly, |time| time.strftime("%Y-%m").to_string(), |period| Reason::Monthly { period }),
        (rules.yearly, |time| time.strftime("%Y").to_string(), |period| Reason::Yearly { period }),
    ];
    for (wanted, period_of, reason) in periods {
        let mut left = wanted;
        let mut current = None;
        for index in newest_first {
            let period = period_of(&times[*index]);
            if left == 0 || current.as_ref() == Some(&period) {
                continue;
            }
            current = Some(period.clone());
            left -= 1;
            kept.push((*index, reason(period)));
        }
    }
    kept
}

/// An hour that the clocks repeat is two hours.
fn hour_of(time: &Zoned) -> String {
    time.strftime("%Y-%m-%d %H:00%:z").to_string()
}
