//! A wall-clock time with or without an offset from UTC, to the microsecond.

use std::cmp::Ordering;

use jiff::{Span, ToSpan, civil::DateTime};

use super::Duration;

/// A point in time. Two moments compare by instant; one without an offset counts as UTC.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    local: DateTime,
    offset_s: Option<i32>,
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl Moment {
    /// The present, in UTC.
    pub(crate) fn now() -> Self {
        let now = crate::clock::now();
        Self { local: now.to_zoned(jiff::tz::TimeZone::UTC).datetime(), offset_s: Some(0) }.truncated()
    }

    /// Microseconds since 1970, in UTC.
    ///
    /// # Errors
    /// Outside the years 1 to 9999.
    pub(crate) fn from_epoch_us(epoch_us: i64) -> Result<Self, String> {
        let span = Span::new().try_microseconds(epoch_us);
        let local =
            span.and_then(|span| EPOCH.checked_add(span)).map_err(|_| "the instant is out of range".to_owned())?;
        Self { local, offset_s: Some(0) }.in_range()
    }

    /// A local time with its offset, if it has one.
    pub(crate) fn new(local: DateTime, offset_s: Option<i32>) -> Self {
        Self { local, offset_s }
    }

    fn in_range(self) -> Result<Self, String> {
        if (1..=9999).contains(&self.local.year()) { Ok(self) } else { Err("the instant is out of range".into()) }
    }

    fn truncated(self) -> Self {
        let nanos = self.local.subsec_nanosecond() / 1000 * 1000;
        let local = self.local.with().subsec_nanosecond(nanos).build().unwrap_or(self.local);
        Self { local, ..self }
    }

    /// The same local time, in UTC if it had no zone.
    pub(crate) fn or_utc(self) -> Self {
        Self { offset_s: self.offset_s.or(Some(0)), ..self }
    }

    /// The same instant, told in UTC.
    pub(crate) fn to_utc(self) -> Self {
        match self.offset_s {
            Some(offset_s) if offset_s != 0 => {
                let local = self.local.saturating_sub(i64::from(offset_s).seconds());
                Self { local, offset_s: Some(0) }
            }
            _ => self.or_utc(),
        }
    }

    /// Microseconds since 1970.
    pub(crate) fn epoch_us(&self) -> i64 {
        self.local_us() - i64::from(self.offset_s.unwrap_or(0)) * 1_000_000
    }

    /// Microseconds since 1970 as if the local time were UTC.
    pub(crate) fn local_us(&self) -> i64 {
        let elapsed = self.local.duration_since(EPOCH);
        i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX)
    }

    /// Microseconds within the second.
    pub(crate) fn micros(&self) -> i32 {
        self.local.subsec_nanosecond() / 1000
    }

    /// The local time.
    pub(crate) fn local(&self) -> DateTime {
        self.local
    }

    /// The offset from UTC, if the moment has one.
    pub(crate) fn offset_s(&self) -> Option<i32> {
        self.offset_s
    }

    /// Later by `duration`: months first (the day is cut to the month's length), then the rest.
    ///
    /// # Errors
    /// Outside the years 1 to 9999.
    pub(crate) fn plus(&self, duration: Duration) -> Result<Self, String> {
        let out_of_range = |_| "the instant is out of range".to_owned();
        let months = Span::new().try_months(duration.months).map_err(out_of_range)?;
        let rest = Span::new().try_microseconds(duration.micros).map_err(out_of_range)?;
        let local = self.local.checked_add(months).and_then(|local| local.checked_add(rest)).map_err(out_of_range)?;
        Self { local, ..*self }.in_range()
    }

    /// Earlier by `duration`.
    ///
    /// # Errors
    /// Outside the years 1 to 9999.
    pub(crate) fn minus(&self, duration: Duration) -> Result<Self, String> {
        self.plus(duration.negated())
    }

    /// As Python prints it: `2024-01-31 10:00:00.500000+00:00`, with `separator` between date and time.
    pub(crate) fn iso(&self, separator: char) -> String {
        let local = self.local;
        let mut text = format!(
            "{:04}-{:02}-{:02}{separator}{:02}:{:02}:{:02}",
            local.year(),
            local.month(),
            local.day(),
            local.hour(),
            local.minute(),
            local.second()
        );
        if self.micros() != 0 {
            text.push_str(&format!(".{:06}", self.micros()));
        }
        if let Some(offset_s) = self.offset_s {
            text.push_str(&offset_text(offset_s, ":"));
        }
        text
    }
}

/// `+02:00`, or `+0200` with an empty `colon`.
pub(super) fn offset_text(offset_s: i32, colon: &str) -> String {
    let sign = if offset_s < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (offset_s.abs() / 3600, offset_s.abs() / 60 % 60, offset_s.abs() % 60);
    let mut text = format!("{sign}{hours:02}{colon}{minutes:02}");
    if seconds != 0 {
        text.push_str(&format!("{colon}{seconds:02}"));
    }
    text
}

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Moment {}

impl PartialOrd for Moment {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Moment {
    fn cmp(&self, other: &Self) -> Ordering {
        self.epoch_us().cmp(&other.epoch_us())
    }
}
