//! Cron expressions: reading them, and the next time on the wall that fits.

use std::str::FromStr;

use cron::TimeUnitSpec;
use jiff::civil::{Date, DateTime, time};

use super::problem;
use crate::connectors::Problem;

/// The calendar repeats itself after 28 years, after 40 across a year such as 2100: what has not come by then never does.
const HORIZON_DAYS: u32 = 41 * 366;

/// The numbers that a field allows, one bit each.
type Set = u64;

/// An expression, read.
#[derive(Clone)]
pub(super) struct Expression {
    seconds: Set,
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    /// Bit 0 is Sunday.
    weekdays: Set,
    /// Day of month and weekday are both given: either is enough.
    either_day: bool,
    /// A wildcard in minute or hour.
    pub(super) follows_real_time: bool,
}

impl Expression {
    /// Reads an expression; tells every problem.
    pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Option<Self> {
        let mut tell = |message: String| problems.push(problem("/expression", message));
        let text = match alias(text.trim()) {
            Ok(text) => text,
            Err(message) => {
                tell(message);
                return None;
            }
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest if rest.len() == 5 => ("0", rest),
            other => {
                tell(format!(
                    "has {} fields; use five (minute, hour, day of month, month, weekday) or six (second first)",
                    other.len()
                ));
                return None;
            }
        };
        let mut set = |unit: &Unit, field: &str| unit.read(field).map_err(&mut tell).unwrap_or_default();
        let expression = Self {
            seconds: set(&SECOND, second),
            minutes: set(&MINUTE, rest[0]),
            hours: set(&HOUR, rest[1]),
            days: set(&DAY, rest[2]),
            months: set(&MONTH, rest[3]),
            weekdays: set(&WEEKDAY, rest[4]),
            either_day: !is_open(rest[2]) && !is_open(rest[4]),
            follows_real_time: is_open(rest[0]) || is_open(rest[1]),
        };
        expression.check(problems)
    }

    fn check(self, problems: &mut Vec<Problem>) -> Option<Self> {
        if !problems.is_empty() {
            return None;
        }
        if self.next_match(Date::constant(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            problems
                .push(problem("/expression", "no such date ever comes; look at the days and the months".to_owned()));
            return None;
        }
        Some(self)
    }

    /// The first time on the wall from `from` on (whole seconds) that fits.
    pub(super) fn next_match(&self, from: DateTime) -> Option<DateTime> {
        let mut date = from.date();
        let mut earliest = from.time();
        for _ in 0..HORIZON_DAYS {
            if self.fits_day(date)
                && let Some((hour, minute, second)) =
                    self.next_time(earliest.hour() as u32, earliest.minute() as u32, earliest.second() as u32)
            {
                return Some(date.at(hour as i8, minute as i8, second as i8, 0));
            }
            date = date.tomorrow().ok()?;
            earliest = time(0, 0, 0, 0);
        }
        None
    }

    fn fits_day(&self, date: Date) -> bool {
        let day = has(self.days, date.day() as u32);
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset() as u32);
        let fits = if self.either_day { day || weekday } else { day && weekday };
        fits && has(self.months, date.month() as u32)
    }

    fn next_time(&self, hour: u32, minute: u32, second: u32) -> Option<(u32, u32, u32)> {
        let (first_minute, first_second) = (next_in(self.minutes, 0)?, next_in(self.seconds, 0)?);
        if has(self.hours, hour) {
            if has(self.minutes, minute)
                && let Some(second) = next_in(self.seconds, second)
            {
                return Some((hour, minute, second));
            }
            if let Some(minute) = next_in(self.minutes, minute + 1) {
                return Some((hour, minute, first_second));
            }
        }
        next_in(self.hours, hour + 1).map(|hour| (hour, first_minute, first_second))
    }
}

fn has(set: Set, number: u32) -> bool {
    set >> number & 1 == 1
}

/// The least member that is not below `from`.
fn next_in(set: Set, from: u32) -> Option<u32> {
    let rest = set.checked_shr(from).unwrap_or(0);
    (rest != 0).then(|| from + rest.trailing_zeros())
}

/// True for a field that asks for no particular number.
fn is_open(field: &str) -> bool {
    field.starts_with(['*', '?'])
}

/// The five fields that a name such as `@daily` stands for; other texts as they are.
fn alias(text: &str) -> Result<&str, String> {
    Ok(match text.to_ascii_lowercase().as_str() {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        name if name.starts_with('@') => {
            return Err(format!("`{text}` is unknown; use @hourly, @daily, @weekly, @monthly or @yearly"));
        }
        _ => text,
    })
}

/// A field of an expression.
struct Unit {
    name: &'static str,
    range: &'static str,
    /// What the crate's parser wants around the field.
    around: (&'static str, &'static str),
    members: fn(&cron::Schedule) -> Set,
}

const SECOND: Unit =
    Unit { name: "second", range: "0 to 59", around: ("", "* * * * *"), members: |read| set_of(read.seconds()) };
const MINUTE: Unit =
    Unit { name: "minute", range: "0 to 59", around: ("0", "* * * *"), members: |read| set_of(read.minutes()) };
const HOUR: Unit =
    Unit { name: "hour", range: "0 to 23", around: ("0 0", "* * *"), members: |read| set_of(read.hours()) };
const DAY: Unit = Unit {
    name: "day of month",
    range: "1 to 31",
    around: ("0 0 0", "* *"),
    members: |read| set_of(read.days_of_month()),
};
const MONTH: Unit = Unit {
    name: "month",
    range: "1 to 12 or JAN to DEC",
    around: ("0 0 0 *", "*"),
    members: |read| set_of(read.months()),
};
const WEEKDAY: Unit = Unit {
    name: "weekday",
    range: "0 to 7 (0 and 7 are Sunday) or SUN to SAT",
    around: ("0 0 0 * *", ""),
    // The crate counts from 1.
    members: |read| set_of(read.days_of_week()) >> 1,
};

impl Unit {
    fn read(&self, field: &str) -> Result<Set, String> {
        let wrong = || {
            format!(
                "{} `{field}` is not understood; use {}, lists (1,3), ranges (2-5), steps (*/2) or *",
                self.name, self.range
            )
        };
        let translated = if self.name == WEEKDAY.name { weekdays_of_the_crate(field) } else { Some(field.to_owned()) };
        let (before, after) = self.around;
        let text = format!("{before} {} {after}", translated.ok_or_else(wrong)?);
        cron::Schedule::from_str(&text).map(|read| (self.members)(&read)).map_err(|_| wrong())
    }
}

fn set_of(unit: &impl TimeUnitSpec) -> Set {
    unit.iter().fold(0, |set, number| set | 1 << number)
}

/// A weekday field in the crate's numbers: every day listed, Sunday as 1.
fn weekdays_of_the_crate(field: &str) -> Option<String> {
    let mut days = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| (1..=7).contains(step))?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => match (weekday(first)?, weekday(last)?) {
                // Sunday at the end of a range is the seventh day.
                (first @ 1.., 0) => (first, 7),
                range => range,
            },
            None if is_open(range) && range.len() == 1 => (0, 6),
            None if part.contains('/') => (weekday(range)?, weekday(range)?.max(6)),
            None => (weekday(range)?, weekday(range)?),
        };
        if first > last {
            return None;
        }
        days.extend((first..=last).step_by(step).map(|day| (day % 7 + 1).to_string()));
    }
    (!days.is_empty()).then(|| days.join(","))
}

/// 0 to 7.
fn weekday(text: &str) -> Option<u32> {
    const NAMES: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
    let text = text.to_ascii_lowercase();
    match text.parse::<u32>() {
        Ok(day) => (day <= 7).then_some(day),
        Err(_) if text.len() >= 3 => {
            NAMES.iter().position(|name| name.starts_with(&text)).and_then(|day| u32::try_from(day).ok())
        }
        Err(_) => None,
    }
}
