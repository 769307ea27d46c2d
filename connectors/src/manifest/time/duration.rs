//! ISO-8601 durations with months and years.

/// A length of time. Months have no fixed length, so they are kept apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Duration {
    /// Whole months, years included.
    pub(crate) months: i64,
    /// The rest.
    pub(crate) micros: i64,
}

const DAY_US: f64 = 86_400e6;

/// Longer lengths count as this: they lead out of the calendar all the same, and sums of them still fit.
const MAX_MONTHS: i64 = 200_000;
const MAX_US: i64 = 600_000_000_000_000_000;

impl Duration {
    /// A number of seconds.
    pub(crate) const fn from_seconds(seconds: i64) -> Self {
        Self { months: 0, micros: seconds.saturating_mul(1_000_000) }
    }

    /// Reads `P1Y2M3W4DT5H6M7.5S`, with a sign in front if need be.
    ///
    /// # Errors
    /// A sentence that says what does not fit.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an ISO-8601 duration such as P1D, P1M or PT1H");
        let (sign, body) = match text.as_bytes().first() {
            Some(b'-') => (-1, &text[1..]),
            Some(b'+') => (1, &text[1..]),
            _ => (1, text),
        };
        let body = body.strip_prefix('P').ok_or_else(wrong)?;
        let (date, time) = match body.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (body, None),
        };
        let mut duration = Self::default();
        duration
            .add_parts(date, &[('Y', None, 12), ('M', None, 1), ('W', Some(7.0 * DAY_US), 0), ('D', Some(DAY_US), 0)])
            .ok_or_else(wrong)?;
        let clock = [('H', Some(3_600e6), 0), ('M', Some(60e6), 0), ('S', Some(1e6), 0)];
        duration.add_parts(time.unwrap_or(""), &clock).ok_or_else(wrong)?;
        Ok(Self { months: sign * duration.months, micros: sign * duration.micros })
    }

    /// Adds `3W4D`-like parts; each unit at most once and in order.
    fn add_parts(&mut self, mut rest: &str, units: &[(char, Option<f64>, i64)]) -> Option<()> {
        let mut left = units.iter();
        while !rest.is_empty() {
            let at = rest.find(|c: char| c.is_ascii_uppercase())?;
            let unit = rest[at..].chars().next()?;
            let number = rest[..at].replace(',', ".");
            rest = &rest[at + 1..];
            let &(_, micros, months) = left.by_ref().find(|(name, _, _)| *name == unit)?;
            if !number.starts_with(|c: char| c.is_ascii_digit()) {
                return None;
            }
            match micros {
                Some(micros) => {
                    let part = (number.parse::<f64>().ok()? * micros).round() as i64;
                    self.micros = self.micros.saturating_add(part).min(MAX_US);
                }
                None => {
                    let part = number.parse::<i64>().ok()?.saturating_mul(months);
                    self.months = self.months.saturating_add(part).min(MAX_MONTHS);
                }
            }
        }
        Some(())
    }

    /// This length several times; `None` when that is beyond any calendar.
    pub(crate) fn times(self, times: i128) -> Option<Self> {
        let part = |part: i64| i128::from(part).checked_mul(times).and_then(|part| i64::try_from(part).ok());
        Some(Self { months: part(self.months)?, micros: part(self.micros)? })
    }

    /// The same length backwards.
    pub(crate) fn negated(self) -> Self {
        Self { months: self.months.saturating_neg(), micros: self.micros.saturating_neg() }
    }

    /// As Python prints a timedelta (`1 day, 0:00:00`), or isodate a calendar duration (`1 years, 2 months, 0:00:00`).
    pub(crate) fn text(self) -> String {
        let mut parts = Vec::new();
        let (years, months) = (self.months / 12, self.months % 12);
        if years != 0 {
            parts.push(format!("{years} years"));
        }
        if months != 0 {
            parts.push(format!("{months} month{}", if months <= 1 { "" } else { "s" }));
        }
        let (days, rest) = (self.micros.div_euclid(86_400_000_000), self.micros.rem_euclid(86_400_000_000));
        if days != 0 {
            parts.push(format!("{days} day{}", if days.abs() == 1 { "" } else { "s" }));
        }
        let seconds = rest / 1_000_000;
        let mut clock = format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
        if rest % 1_000_000 != 0 {
            clock.push_str(&format!(".{:06}", rest % 1_000_000));
        }
        parts.push(clock);
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_months_apart() {
        let read = |text| Duration::parse(text).map(|duration| (duration.months, duration.micros / 1_000_000));
        assert_eq!(read("P1Y2M"), Ok((14, 0)));
        assert_eq!(read("P1W"), Ok((0, 604_800)));
        assert_eq!(read("P1DT1H30M0.5S"), Ok((0, 91_800)));
        assert_eq!(read("-PT5M"), Ok((0, -300)));
        assert_eq!(Duration::parse("PT0.000001S").unwrap().micros, 1);
        for wrong in ["", "1D", "P1", "PD", "P1D1M", "P1H", "PT1D", "P1.5M"] {
            assert!(Duration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_print_as_in_python() {
        let print = |text| Duration::parse(text).unwrap().text();
        assert_eq!(print("P1D"), "1 day, 0:00:00");
        assert_eq!(print("P1Y2M"), "1 years, 2 months, 0:00:00");
        assert_eq!(print("PT1H30M"), "1:30:00");
    }
}
