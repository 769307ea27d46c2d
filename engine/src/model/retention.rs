//! Retention: which snapshots of a source are kept.

use jiff::tz::TimeZone;
use listbackup_connectors::Problem;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How many snapshots to keep of each kind; 0 keeps none of that kind. With all of them 0 everything is kept: there are no
/// rules that delete everything. The newest snapshot of a source is always kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeepRules {
    /// The newest so many.
    pub last: u32,
    /// The newest of each of so many hours that have one.
    pub hourly: u32,
    /// The newest of each of so many days that have one.
    pub daily: u32,
    /// The newest of each of so many ISO weeks (Monday to Sunday) that have one.
    pub weekly: u32,
    /// The newest of each of so many months that have one.
    pub monthly: u32,
    /// The newest of each of so many years that have one.
    pub yearly: u32,
    /// IANA time zone in which hours, days, weeks, months and years begin.
    pub time_zone: String,
}

impl Default for KeepRules {
    fn default() -> Self {
        Self { last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, time_zone: "UTC".to_owned() }
    }
}

impl KeepRules {
    /// True when nothing is ever let go of.
    pub fn keep_everything(&self) -> bool {
        [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly] == [0; 6]
    }

    /// The time zone.
    ///
    /// # Errors
    /// `Invalid` for a name that is not known.
    pub fn zone(&self) -> Result<TimeZone> {
        TimeZone::get(&self.time_zone).map_err(|_| {
            let message =
                format!("`{}` is not a time zone; use an IANA name, such as Europe/Berlin or UTC", self.time_zone);
            let problem = Problem { place: "/time_zone".to_owned(), message };
            Error::invalid("these retention rules cannot be kept", vec![problem])
        })
    }
}
