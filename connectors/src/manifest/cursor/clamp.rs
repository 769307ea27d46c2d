//! `clamping`: windows end at whole days, weeks or months.

use jiff::civil::{Time, Weekday};

use super::super::{
    load::{Take, View},
    session::Session,
    template::Template,
    time::{Duration, Moment},
};
use crate::{Error, ErrorKind, Result};

const DAY: Duration = Duration::from_seconds(86_400);

/// The component as the manifest writes it.
#[derive(Debug)]
pub(super) struct ClampSpec {
    target: Template,
    weekday: Option<Weekday>,
}

/// What the edges of windows are moved to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clamp {
    /// Nothing.
    #[default]
    None,
    /// The beginning of a day.
    Day,
    /// The beginning of this day of a week.
    Week(Weekday),
    /// The first day of a month.
    Month,
}

impl ClampSpec {
    /// Reads the component in the field called `clamping`.
    pub(super) fn load(cursor: &View<'_>) -> Take<Option<Self>> {
        let Some(view) = cursor.child("clamping") else { return Ok(None) };
        let weekday = match view.child("target_details") {
            None => None,
            Some(details) => details
                .text("weekday")?
                .map(|name| weekday(&name).ok_or(name))
                .transpose()
                .map_err(|name| details.problem(format!("`weekday` must be a day such as MONDAY, not `{name}`")))?,
        };
        Ok(Some(Self { target: view.required_template("target")?, weekday }))
    }

    /// Fills in the settings.
    ///
    /// # Errors
    /// `Invalid` for anything but a day, a week with its first day, or a month.
    pub(super) fn bind(&self, session: &Session) -> Result<Clamp> {
        match (self.target.text(&session.engine, session.scope())?.as_str(), self.weekday) {
            ("DAY", _) => Ok(Clamp::Day),
            ("MONTH", _) => Ok(Clamp::Month),
            ("WEEK", Some(weekday)) => Ok(Clamp::Week(weekday)),
            ("WEEK", None) => Err(Error::new(ErrorKind::Invalid, "`clamping` to WEEK needs `target_details.weekday`")),
            (other, _) => {
                Err(Error::new(ErrorKind::Invalid, format!("`clamping` must be to DAY, WEEK or MONTH, not `{other}`")))
            }
        }
    }
}

fn weekday(name: &str) -> Option<Weekday> {
    Some(match name {
        "MONDAY" => Weekday::Monday,
        "TUESDAY" => Weekday::Tuesday,
        "WEDNESDAY" => Weekday::Wednesday,
        "THURSDAY" => Weekday::Thursday,
        "FRIDAY" => Weekday::Friday,
        "SATURDAY" => Weekday::Saturday,
        "SUNDAY" => Weekday::Sunday,
        _ => return None,
    })
}

impl Clamp {
    /// The next edge; the moment itself when it is one.
    ///
    /// # Errors
    /// `Invalid` when the date leaves the calendar.
    pub(super) fn ceiling(self, moment: &Moment) -> Result<Moment> {
        let day = midnight(moment);
        match self {
            Self::None => Ok(*moment),
            Self::Day if day == *moment => Ok(day),
            Self::Day => later(&day, DAY),
            Self::Week(first) => later(&day, days((7 - since(&day, first)) % 7)),
            // As in the reference, any hour of a first day counts as the edge.
            Self::Month if day.local().day() == 1 => Ok(day),
            Self::Month => later(&first_of_month(&day), Duration { months: 1, micros: 0 }),
        }
    }

    /// The end up to which is read: the edge before `end`, less one unit (or a day; a second for days).
    ///
    /// # Errors
    /// As for [`Clamp::ceiling`].
    pub(super) fn end(self, end: &Moment, unit: Option<Duration>) -> Result<Moment> {
        let day = midnight(end);
        let (edge, default) = match self {
            Self::None => return Ok(*end),
            Self::Day => (day, Duration::from_seconds(1)),
            Self::Week(first) => (later(&day, days(since(&day, first)).negated())?, DAY),
            Self::Month => (first_of_month(&day), DAY),
        };
        later(&edge, unit.unwrap_or(default).negated())
    }
}

fn days(count: i64) -> Duration {
    Duration::from_seconds(count * 86_400)
}

/// Days since the last `first`.
fn since(day: &Moment, first: Weekday) -> i64 {
    i64::from(day.local().weekday().since(first))
}

fn midnight(moment: &Moment) -> Moment {
    Moment::new(moment.local().date().to_datetime(Time::midnight()), moment.offset_s())
}

fn first_of_month(day: &Moment) -> Moment {
    Moment::new(day.local().date().first_of_month().to_datetime(Time::midnight()), day.offset_s())
}

fn later(moment: &Moment, duration: Duration) -> Result<Moment> {
    moment.plus(duration).map_err(|reason| Error::new(ErrorKind::Invalid, reason))
}
