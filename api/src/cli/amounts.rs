//! Amounts as people write them on the command line: `500MB`, `10m`.

use std::time::Duration;

use jiff::SignedDuration;

/// Units of bytes, and how many of them one is.
const UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// A number of bytes: `500MB`, `2 GiB`, or plain digits.
///
/// # Errors
/// What is expected, when it is something else.
pub fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "a number of bytes is expected, such as 500MB or 2GiB".to_owned();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| expected())?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None if unit.is_empty() => 1,
        None => return Err(expected()),
    };
    number.checked_mul(factor).filter(|bytes| *bytes > 0).ok_or_else(expected)
}

/// A time: `90s`, `10m`, `1h 30m`.
///
/// # Errors
/// What is expected, when it is something else.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|duration| Duration::try_from(duration).ok());
    parsed.filter(|duration| !duration.is_zero()).ok_or_else(|| "a time is expected, such as 90s, 10m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("2 GiB"), Ok(2 << 30));
        assert_eq!(bytes("17"), Ok(17));
        assert_eq!(duration("10m"), Ok(Duration::from_mins(10)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        for wrong in ["", "0", "MB", "5 apples", "-1", "99999999999TB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0s", "-1m", "ten"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
