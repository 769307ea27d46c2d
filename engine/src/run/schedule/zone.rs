//! From times on the wall to instants, across the changes of a time zone.

use jiff::{
    Error, RoundMode, SignedDuration, Timestamp, TimestampRound, Unit,
    civil::DateTime,
    tz::{AmbiguousOffset, TimeZone},
};

use super::expression::Expression;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The first instant after `after` at which the expression is due in the zone.
pub(super) fn next(
    expression: &Expression,
    time_zone: &TimeZone,
    after: Timestamp,
) -> Result<Option<Timestamp>, Error> {
    if expression.follows_real_time {
        next_of_rhythm(expression, time_zone, after)
    } else {
        next_of_times(expression, time_zone, after)
    }
}

/// Times of day. Later times on the wall are never earlier instants here (a gap maps to its end, a repeated time to
/// its first pass), so that the search may start at what the wall shows at `after`.
fn next_of_times(expression: &Expression, time_zone: &TimeZone, after: Timestamp) -> Result<Option<Timestamp>, Error> {
    let mut wall = whole_second(time_zone.to_datetime(after))?;
    while let Some(found) = expression.next_match(wall) {
        let instant = instant_of(time_zone, found)?;
        if instant > after {
            return Ok(Some(instant));
        }
        wall = found.checked_add(SECOND)?;
    }
    Ok(None)
}

fn instant_of(time_zone: &TimeZone, wall: DateTime) -> Result<Timestamp, Error> {
    match time_zone.to_ambiguous_timestamp(wall).offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(wall)
        }
        AmbiguousOffset::Gap { before, .. } => {
            // Read with the offset from before the gap, this is less than the gap's length after it.
            let past = before.to_timestamp(wall)?.checked_add(SECOND)?;
            Ok(time_zone.preceding(past).next().map_or(past, |transition| transition.timestamp()))
        }
    }
}

/// A rhythm: every instant whose time on the wall matches. Between two changes of the zone the offset stands still, so
/// each such stretch is searched by itself.
fn next_of_rhythm(expression: &Expression, time_zone: &TimeZone, after: Timestamp) -> Result<Option<Timestamp>, Error> {
    let mut start =
        after.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor))?.checked_add(SECOND)?;
    loop {
        let offset = time_zone.to_offset(start);
        let Some(found) = expression.next_match(offset.to_datetime(start)) else { return Ok(None) };
        let instant = offset.to_timestamp(found)?;
        match time_zone.following(start).next().map(|transition| transition.timestamp()) {
            Some(change) if instant >= change => start = change,
            _ => return Ok(Some(instant)),
        }
    }
}

fn whole_second(wall: DateTime) -> Result<DateTime, Error> {
    wall.with().subsec_nanosecond(0).build()
}
