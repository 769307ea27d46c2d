//! Instants, dates and durations as the manifest language has them: Python's rules, not our own.

mod duration;
mod iso;
mod moment;
mod pattern;

pub(crate) use duration::Duration;
pub(crate) use moment::Moment;

/// Reads `text` with one of the language's datetime formats (`%s`, `%ms`, … or a pattern).
///
/// # Errors
/// A sentence that says what does not fit.
pub(crate) fn parse(text: &str, format: &str) -> Result<Moment, String> {
    let whole =
        || text.trim().parse::<i64>().map_err(|_| format!("`{text}` is not a whole number, as `{format}` wants"));
    match format {
        "%s" => Moment::from_epoch_us(whole()?.checked_mul(1_000_000).ok_or("out of range")?),
        "%ms" => Moment::from_epoch_us(whole()?.checked_mul(1_000).ok_or("out of range")?),
        "%epoch_microseconds" => Moment::from_epoch_us(whole()?),
        "%s_as_float" => {
            let seconds: f64 =
                text.trim().parse().map_err(|_| format!("`{text}` is not a number, as `{format}` wants"))?;
            Moment::from_epoch_us((seconds * 1e6).round() as i64)
        }
        _ if format.contains("%_ms") => pattern::parse(text, &format.replace("%_ms", "%f")).map(Moment::or_utc),
        _ => pattern::parse(text, format).map(Moment::or_utc),
    }
}

/// Writes `moment` with one of the language's datetime formats.
pub(crate) fn format(moment: &Moment, format: &str) -> String {
    let epoch_us = moment.epoch_us();
    match format {
        "%s" => (epoch_us / 1_000_000).to_string(),
        "%ms" => (epoch_us / 1_000).to_string(),
        "%epoch_microseconds" => epoch_us.to_string(),
        "%s_as_float" => super::template::python::float_text(epoch_us as f64 / 1e6),
        _ if format.contains("%_ms") => {
            let millis = format!("{:03}", moment.micros() / 1000);
            pattern::format(moment, &format.replace("%_ms", &millis))
        }
        _ => pattern::format(moment, format),
    }
}

/// Reads a pattern that the standard library of the reference reads; the result may be without a zone.
///
/// # Errors
/// A sentence that says what does not fit.
pub(crate) fn parse_pattern(text: &str, pattern: &str) -> Result<Moment, String> {
    pattern::parse(text, pattern)
}

/// Writes by pattern alone.
pub(crate) fn format_pattern(moment: &Moment, pattern: &str) -> String {
    pattern::format(moment, pattern)
}

/// Reads an ISO-8601 date or instant.
///
/// # Errors
/// A sentence that says what does not fit.
pub(crate) fn parse_iso(text: &str) -> Result<Moment, String> {
    iso::parse(text)
}
