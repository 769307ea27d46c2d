//! strptime and strftime patterns, with Python's strictness.

use jiff::civil::{Date, Time, Weekday};

use super::{Moment, moment::offset_text};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// What has been read so far.
#[derive(Default)]
struct Parts {
    year: Option<i32>,
    month: Option<i32>,
    day: Option<i32>,
    day_of_year: Option<i32>,
    hour: Option<i32>,
    hour12: Option<i32>,
    is_pm: Option<bool>,
    minute: i32,
    second: i32,
    micros: i32,
    offset_s: Option<i32>,
}

/// Reads `text` by `pattern`; all of it must be used up.
pub(super) fn parse(text: &str, pattern: &str) -> Result<Moment, String> {
    let wrong = || format!("`{text}` does not match the format `{pattern}`");
    let mut parts = Parts::default();
    let mut rest = text;
    let mut symbols = pattern.chars();
    while let Some(symbol) = symbols.next() {
        if symbol.is_whitespace() {
            let trimmed = rest.trim_start();
            if trimmed.len() == rest.len() {
                return Err(wrong());
            }
            rest = trimmed;
        } else if symbol == '%' {
            let directive = symbols.next().ok_or_else(|| format!("the format `{pattern}` ends with a lone %"))?;
            rest = parts
                .take(directive, rest)
                .map_err(|unknown| if unknown { unknown_directive(directive, pattern) } else { wrong() })?;
        } else {
            let mut left = rest.chars();
            let is_same =
                left.next().is_some_and(|found| found == symbol || found.to_lowercase().eq(symbol.to_lowercase()));
            if !is_same {
                return Err(wrong());
            }
            rest = left.as_str();
        }
    }
    if rest.is_empty() { parts.build().ok_or_else(wrong) } else { Err(wrong()) }
}

fn unknown_directive(directive: char, pattern: &str) -> String {
    format!("the format `{pattern}` has the unknown directive %{directive}")
}

/// Up to `most` digits that give at most `limit`, as many as fit.
fn number(text: &str, most: usize, low: i32, limit: i32) -> Option<(i32, &str)> {
    let available = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (1..=available).rev().find_map(|count| {
        let value: i32 = text[..count].parse().ok()?;
        (low..=limit).contains(&value).then(|| (value, &text[count..]))
    })
}

fn exactly(text: &str, count: usize) -> Option<(i32, &str)> {
    let part = text.get(..count)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some((part.parse().ok()?, &text[count..])))?
}

/// The index of the name that `text` starts with; the longest one first.
fn name<'a>(text: &'a str, names: &[&str], length: Option<usize>) -> Option<(i32, &'a str)> {
    names.iter().enumerate().find_map(|(index, name)| {
        let name = &name[..length.unwrap_or(name.len()).min(name.len())];
        let head = text.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then(|| (index as i32, &text[name.len()..]))
    })
}

impl Parts {
    /// Reads one directive; the error is true for an unknown directive, false for text that does not fit.
    fn take<'a>(&mut self, directive: char, text: &'a str) -> Result<&'a str, bool> {
        let known = match directive {
            'Y' => exactly(text, 4).map(|(value, rest)| (self.year = Some(value), rest)),
            'y' => exactly(text, 2)
                .map(|(value, rest)| (self.year = Some(if value < 69 { 2000 } else { 1900 } + value), rest)),
            'm' => number(text, 2, 1, 12).map(|(value, rest)| (self.month = Some(value), rest)),
            'd' => number(text, 2, 1, 31).map(|(value, rest)| (self.day = Some(value), rest)),
            'H' => number(text, 2, 0, 23).map(|(value, rest)| (self.hour = Some(value), rest)),
            'I' => number(text, 2, 1, 12).map(|(value, rest)| (self.hour12 = Some(value), rest)),
            'M' => number(text, 2, 0, 59).map(|(value, rest)| (self.minute = value, rest)),
            'S' => number(text, 2, 0, 59).map(|(value, rest)| (self.second = value, rest)),
            'j' => number(text, 3, 1, 366).map(|(value, rest)| (self.day_of_year = Some(value), rest)),
            'w' => number(text, 1, 0, 6).map(|(_, rest)| ((), rest)),
            'f' => fraction(text).map(|(value, rest)| (self.micros = value, rest)),
            'B' => name(text, &MONTHS, None).map(|(index, rest)| (self.month = Some(index + 1), rest)),
            'b' | 'h' => name(text, &MONTHS, Some(3)).map(|(index, rest)| (self.month = Some(index + 1), rest)),
            'A' => name(text, &DAYS, None).map(|(_, rest)| ((), rest)),
            'a' => name(text, &DAYS, Some(3)).map(|(_, rest)| ((), rest)),
            'p' => name(text, &["AM", "PM"], None).map(|(index, rest)| (self.is_pm = Some(index == 1), rest)),
            'z' => offset(text).map(|(value, rest)| (self.offset_s = Some(value), rest)),
            'Z' => name(text, &["UTC", "GMT"], None).map(|(_, rest)| ((), rest)),
            '%' => text.strip_prefix('%').map(|rest| ((), rest)),
            'F' => return self.take_all("Y-m-d", text),
            'T' => return self.take_all("H:M:S", text),
            _ => return Err(true),
        };
        known.map(|((), rest)| rest).ok_or(false)
    }

    fn take_all<'a>(&mut self, directives: &str, mut text: &'a str) -> Result<&'a str, bool> {
        for symbol in directives.chars() {
            text = match symbol {
                '-' | ':' => text.strip_prefix(symbol).ok_or(false)?,
                directive => self.take(directive, text)?,
            };
        }
        Ok(text)
    }

    fn build(&self) -> Option<Moment> {
        let year = i16::try_from(self.year.unwrap_or(1900)).ok()?;
        let date = match self.day_of_year {
            Some(days) if self.month.is_none() => Date::new(year, 1, 1)
                .ok()?
                .checked_add(jiff::ToSpan::days(days - 1))
                .ok()
                .filter(|date| date.year() == year)?,
            _ => Date::new(year, self.month.unwrap_or(1) as i8, self.day.unwrap_or(1) as i8).ok()?,
        };
        let hour = match (self.hour, self.hour12) {
            (Some(hour), _) => hour,
            (None, Some(hour)) => hour % 12 + if self.is_pm == Some(true) { 12 } else { 0 },
            (None, None) => 0,
        };
        let time = Time::new(hour as i8, self.minute as i8, self.second as i8, self.micros * 1000).ok()?;
        (year > 0).then(|| Moment::new(date.to_datetime(time), self.offset_s))
    }
}

/// One to six digits of a second.
fn fraction(text: &str) -> Option<(i32, &str)> {
    let count = text.bytes().take(6).take_while(u8::is_ascii_digit).count();
    let value: i32 = text.get(..count).filter(|part| !part.is_empty())?.parse().ok()?;
    Some((value * 10_i32.pow(6 - count as u32), &text[count..]))
}

/// `Z`, `+0200`, `+02:00`, with seconds if need be.
fn offset(text: &str) -> Option<(i32, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = exactly(&text[1..], 2)?;
    let has_colon = rest.starts_with(':');
    let (minutes, rest) = exactly(rest.strip_prefix(':').unwrap_or(rest), 2).filter(|(minutes, _)| *minutes < 60)?;
    let after = if has_colon { rest.strip_prefix(':') } else { Some(rest) };
    match after.and_then(|after| exactly(after, 2)).filter(|(seconds, _)| *seconds < 60) {
        Some((seconds, rest)) => Some((sign * (hours * 3600 + minutes * 60 + seconds), rest)),
        None => Some((sign * (hours * 3600 + minutes * 60), rest)),
    }
}

/// Writes `moment` by `pattern`. An unknown directive stays as it is, as in the C library.
pub(super) fn format(moment: &Moment, pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 12);
    let mut symbols = pattern.chars();
    while let Some(symbol) = symbols.next() {
        match symbol {
            '%' => match symbols.next() {
                Some('-') => {
                    let mut part = String::new();
                    directive(moment, symbols.next().unwrap_or('-'), &mut part);
                    let trimmed = part.trim_start_matches('0');
                    out.push_str(if trimmed.is_empty() { "0" } else { trimmed });
                }
                Some(found) => directive(moment, found, &mut out),
                None => out.push('%'),
            },
            plain => out.push(plain),
        }
    }
    out
}

fn directive(moment: &Moment, directive_name: char, out: &mut String) {
    use std::fmt::Write as _;
    let local = moment.local();
    let hour12 = if local.hour() % 12 == 0 { 12 } else { local.hour() % 12 };
    let written = match directive_name {
        'Y' => write!(out, "{}", local.year()),
        'y' => write!(out, "{:02}", local.year() % 100),
        'm' => write!(out, "{:02}", local.month()),
        'd' => write!(out, "{:02}", local.day()),
        'e' => write!(out, "{:>2}", local.day()),
        'H' => write!(out, "{:02}", local.hour()),
        'I' => write!(out, "{hour12:02}"),
        'M' => write!(out, "{:02}", local.minute()),
        'S' => write!(out, "{:02}", local.second()),
        'f' => write!(out, "{:06}", moment.micros()),
        'j' => write!(out, "{:03}", local.day_of_year()),
        'p' => write!(out, "{}", if local.hour() < 12 { "AM" } else { "PM" }),
        'B' => write!(out, "{}", MONTHS[local.month() as usize - 1]),
        'b' | 'h' => write!(out, "{}", &MONTHS[local.month() as usize - 1][..3]),
        'A' => write!(out, "{}", DAYS[local.weekday().to_monday_zero_offset() as usize]),
        'a' => write!(out, "{}", &DAYS[local.weekday().to_monday_zero_offset() as usize][..3]),
        'w' => write!(out, "{}", local.weekday().to_sunday_zero_offset()),
        'u' => write!(out, "{}", local.weekday().to_monday_one_offset()),
        'U' => write!(out, "{:02}", week_of_year(moment, Weekday::Sunday)),
        'W' => write!(out, "{:02}", week_of_year(moment, Weekday::Monday)),
        'V' => write!(out, "{:02}", local.date().iso_week_date().week()),
        'G' => write!(out, "{}", local.date().iso_week_date().year()),
        'z' => write!(out, "{}", moment.offset_s().map(|offset_s| offset_text(offset_s, "")).unwrap_or_default()),
        'Z' => write!(out, "{}", zone_name(moment.offset_s())),
        's' => write!(out, "{}", moment.local_us().div_euclid(1_000_000)),
        'F' => write!(out, "{}", format(moment, "%Y-%m-%d")),
        'T' | 'X' => write!(out, "{}", format(moment, "%H:%M:%S")),
        'R' => write!(out, "{}", format(moment, "%H:%M")),
        'D' | 'x' => write!(out, "{}", format(moment, "%m/%d/%y")),
        'c' => write!(out, "{}", format(moment, "%a %b %e %H:%M:%S %Y")),
        'r' => write!(out, "{}", format(moment, "%I:%M:%S %p")),
        'C' => write!(out, "{:02}", local.year() / 100),
        'n' => writeln!(out),
        't' => write!(out, "\t"),
        '%' => write!(out, "%"),
        unknown => write!(out, "%{unknown}"),
    };
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

fn zone_name(offset_s: Option<i32>) -> String {
    match offset_s {
        None => String::new(),
        Some(0) => "UTC".into(),
        Some(offset_s) => format!("UTC{}", offset_text(offset_s, ":")),
    }
}

/// Weeks begin on `first`; days before the first such day are week 0.
fn week_of_year(moment: &Moment, first: Weekday) -> i16 {
    let date = moment.local().date();
    let day = date.day_of_year() - 1;
    let since_first = i16::from(date.weekday().since(first));
    (day + 7 - since_first) / 7
}

#[cfg(test)]
mod tests {
    use crate::manifest::time;

    /// Facts taken from the reference's own parser, printed with `%Y-%m-%dT%H:%M:%S.%f%z`.
    #[test]
    fn datetimes_are_read_as_the_reference_reads_them() {
        let facts = [
            ("2024-01-31T10:20:30.5Z", "%Y-%m-%dT%H:%M:%S.%fZ", "2024-01-31T10:20:30.500000+0000"),
            ("2024-01-31T10:20:30+02:00", "%Y-%m-%dT%H:%M:%S%z", "2024-01-31T10:20:30.000000+0200"),
            ("2024-01-31T10:20:30Z", "%Y-%m-%dT%H:%M:%S%z", "2024-01-31T10:20:30.000000+0000"),
            ("2024-1-3", "%Y-%m-%d", "2024-01-03T00:00:00.000000+0000"),
            ("1706696430", "%s", "2024-01-31T10:20:30.000000+0000"),
            ("1706696430.25", "%s_as_float", "2024-01-31T10:20:30.250000+0000"),
            ("1706696430123", "%ms", "2024-01-31T10:20:30.123000+0000"),
            ("2024-01-31T10:20:30.123Z", "%Y-%m-%dT%H:%M:%S.%_msZ", "2024-01-31T10:20:30.123000+0000"),
            ("Wed, 31 Jan 2024 10:20 PM", "%a, %d %b %Y %I:%M %p", "2024-01-31T22:20:00.000000+0000"),
            ("20240131", "%Y%m%d", "2024-01-31T00:00:00.000000+0000"),
            ("2024-060", "%Y-%j", "2024-02-29T00:00:00.000000+0000"),
        ];
        for (text, format, expected) in facts {
            let moment = time::parse(text, format).unwrap();
            assert_eq!(time::format(&moment, "%Y-%m-%dT%H:%M:%S.%f%z"), expected, "{text} {format}");
        }
        let wrong = [
            ("2024-02-30", "%Y-%m-%d"),
            ("2024-01-31T10:20:30", "%Y-%m-%d"),
            ("2024-01-31", "%Y-%m-%dT"),
            ("1.5", "%s"),
            ("24-01-31", "%Y-%m-%d"),
            ("2024-01-31T10:20:30.1234567Z", "%Y-%m-%dT%H:%M:%S.%fZ"),
            ("x", "%Q"),
        ];
        for (text, format) in wrong {
            assert!(time::parse(text, format).is_err(), "{text} {format}");
        }
    }

    #[test]
    fn datetimes_are_written_as_the_reference_writes_them() {
        let moment = time::parse("2024-01-31T22:05:09.078900+02:00", "%Y-%m-%dT%H:%M:%S.%f%z").unwrap();
        let facts = [
            ("%s", "1706731509"),
            ("%ms", "1706731509078"),
            ("%s_as_float", "1706731509.0789"),
            ("%epoch_microseconds", "1706731509078900"),
            ("%Y-%m-%dT%H:%M:%S.%_msZ", "2024-01-31T22:05:09.078Z"),
            ("%Y-%m-%dT%H:%M:%S%z", "2024-01-31T22:05:09+0200"),
            ("%d/%b/%y %I:%M %p", "31/Jan/24 10:05 PM"),
            ("%a %j %U %W", "Wed 031 04 05"),
            ("%-d.%-m.", "31.1."),
        ];
        for (format, expected) in facts {
            assert_eq!(time::format(&moment, format), expected, "{format}");
        }
    }
}
