//! ISO-8601 dates and instants, as dateutil's `isoparse` reads them.

use jiff::civil::{Date, DateTime, Time};

use super::Moment;

/// Reads `2024`, `2024-01`, `20240131`, `2024-01-31`, each followed by a time and an offset or not.
pub(super) fn parse(text: &str) -> Result<Moment, String> {
    let wrong = || format!("`{text}` is not an ISO-8601 date or instant");
    if !text.is_ascii() {
        return Err(wrong());
    }
    let (date, used) = date(text).ok_or_else(wrong)?;
    let rest = &text[used..];
    if rest.is_empty() {
        return Ok(Moment::new(date.to_datetime(Time::midnight()), None));
    }
    let (time, offset_s, next_day) = time(&rest[1..]).ok_or_else(wrong)?;
    let local: DateTime = date.to_datetime(time);
    let local = if next_day { local.checked_add(jiff::ToSpan::days(1)).map_err(|_| wrong())? } else { local };
    Ok(Moment::new(local, offset_s))
}

fn digits(text: &str, range: std::ops::Range<usize>) -> Option<i32> {
    let part = text.get(range)?;
    part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?
}

fn date(text: &str) -> Option<(Date, usize)> {
    let year = i16::try_from(digits(text, 0..4)?).ok()?;
    let has_dash = text.as_bytes().get(4) == Some(&b'-');
    let at = if has_dash { 5 } else { 4 };
    if text.len() == 4 {
        return Some((Date::new(year, 1, 1).ok()?, 4));
    }
    let month = i8::try_from(digits(text, at..at + 2)?).ok()?;
    if has_dash && text.len() == 7 {
        return Some((Date::new(year, month, 1).ok()?, 7));
    }
    let day_at = if has_dash { at + 3 } else { at + 2 };
    if has_dash && text.as_bytes().get(at + 2) != Some(&b'-') {
        return None;
    }
    let day = i8::try_from(digits(text, day_at..day_at + 2)?).ok()?;
    Some((Date::new(year, month, day).ok()?, day_at + 2))
}

/// The time, its offset, and whether it was 24:00.
fn time(text: &str) -> Option<(Time, Option<i32>, bool)> {
    let zone_at = text.find(['Z', 'z', '+', '-']).unwrap_or(text.len());
    let (clock, zone) = text.split_at(zone_at);
    let (clock, fraction) = match clock.find(['.', ',']) {
        Some(at) => (&clock[..at], Some(&clock[at + 1..])),
        None => (clock, None),
    };
    let plain: String = clock.split(':').collect();
    let (hour, minute, second) = match plain.len() {
        2 => (digits(&plain, 0..2)?, 0, 0),
        4 => (digits(&plain, 0..2)?, digits(&plain, 2..4)?, 0),
        6 => (digits(&plain, 0..2)?, digits(&plain, 2..4)?, digits(&plain, 4..6)?),
        _ => return None,
    };
    let micros = match fraction {
        Some(part) if plain.len() == 6 && !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{:0<6}", &part[..part.len().min(6)]).parse().ok()?
        }
        Some(_) => return None,
        None => 0,
    };
    let is_midnight_after = hour == 24 && minute == 0 && second == 0 && micros == 0;
    let hour = if is_midnight_after { 0 } else { hour };
    let time =
        Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?, micros * 1000)
            .ok()?;
    Some((time, offset(zone)?, is_midnight_after))
}

/// `Z`, `+02`, `+0200`, `+02:00`; nothing for none. The outer `None` is an error.
fn offset(zone: &str) -> Option<Option<i32>> {
    match zone {
        "" => return Some(None),
        "Z" | "z" => return Some(Some(0)),
        _ => {}
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let plain: String = zone[1..].split(':').collect();
    let seconds = match plain.len() {
        2 => digits(&plain, 0..2)? * 3600,
        4 => digits(&plain, 0..2)? * 3600 + digits(&plain, 2..4)? * 60,
        _ => return None,
    };
    Some(Some(sign * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_texts_are_read_as_the_reference_reads_them() {
        let facts = [
            ("2024", "2024-01-01 00:00:00"),
            ("2024-03", "2024-03-01 00:00:00"),
            ("20240331", "2024-03-31 00:00:00"),
            ("2024-01-01T05:06:07+02:00", "2024-01-01 05:06:07+02:00"),
            ("2024-01-01 05:06", "2024-01-01 05:06:00"),
            ("2024-01-01T05:06:07.5Z", "2024-01-01 05:06:07.500000+00:00"),
            ("2024-01-01T24:00", "2024-01-02 00:00:00"),
            ("2024-01-01T050607,123456789-0330", "2024-01-01 05:06:07.123456-03:30"),
        ];
        for (text, expected) in facts {
            assert_eq!(parse(text).unwrap().iso(' '), expected, "{text}");
        }
        for wrong in ["", "24-01-01", "2024-13-01", "2024-01-01T", "2024-01-01T5", "yesterday", "2024-01-01T05:06:07+2"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
