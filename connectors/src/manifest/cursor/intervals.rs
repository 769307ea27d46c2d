//! What has been read of one partition: closed windows of time.

use serde_json::{Map, Value, json};

use super::Cursor;
use crate::{
    Error, ErrorKind, Result,
    manifest::time::{Duration, Moment},
};

/// Closed windows, and where reading goes on.
#[derive(Clone, Debug)]
pub(crate) struct Intervals {
    closed: Vec<Interval>,
    /// Other members of a state in the old form: they are kept.
    others: Map<String, Value>,
    /// The moment up to which everything had been read before.
    pub(crate) from: Moment,
}

#[derive(Clone, Debug)]
struct Interval {
    start: Moment,
    end: Moment,
    latest: Option<Moment>,
}

impl Intervals {
    /// Reads a state: closed windows, or `{field: value}`. `lookback` moves the latter back.
    ///
    /// # Errors
    /// `Invalid` for values that do not fit the cursor's formats.
    pub(crate) fn from_state(cursor: &Cursor, state: Option<&Value>, lookback: Option<Duration>) -> Result<Self> {
        let empty = Map::new();
        let members = state.and_then(Value::as_object).unwrap_or(&empty);
        if let Some(windows) = members.get("slices").and_then(Value::as_array)
            && members.contains_key("state_type")
        {
            return Self::from_windows(cursor, windows);
        }
        let known = match members.get(&cursor.field) {
            None | Some(Value::Null) => None,
            Some(value) => {
                let moment = read(cursor, value)?;
                let moment = lookback.map_or(Ok(moment), |lookback| moment.minus(lookback).map_err(invalid))?;
                // Through the format and back, as it would have been stored.
                cursor.parse(&cursor.text(&moment)).or(Some(moment))
            }
        };
        let from = known.map_or(cursor.start, |known| known.max(cursor.start));
        let closed = vec![Interval { start: cursor.start, end: from, latest: Some(from) }];
        Ok(Self { closed, others: members.clone(), from })
    }

    fn from_windows(cursor: &Cursor, windows: &[Value]) -> Result<Self> {
        let part = |window: &Value, name: &str| {
            window.get(name).filter(|value| !value.is_null()).map(|value| read(cursor, value)).transpose()
        };
        let closed = windows.iter().map(|window| {
            let wrong = || Error::new(ErrorKind::Invalid, "a window of the state lacks `start` or `end`");
            let (start, end) = (part(window, "start")?.ok_or_else(wrong)?, part(window, "end")?.ok_or_else(wrong)?);
            Ok(Interval { start, end, latest: part(window, "most_recent_cursor_value")? })
        });
        let closed = closed.collect::<Result<Vec<_>>>()?;
        let from = closed.first().map_or(cursor.start, |first| first.latest.unwrap_or(first.end));
        Ok(Self { closed, others: Map::new(), from })
    }

    /// The windows still to be read, in order.
    ///
    /// # Errors
    /// `Invalid` when a date leaves the calendar.
    pub(crate) fn open_windows(&mut self, cursor: &Cursor) -> Result<Vec<(Moment, Moment)>> {
        self.merge(cursor)?;
        let mut windows = Vec::new();
        let Some((first, last)) = self.closed.first().zip(self.closed.last()) else { return Ok(windows) };
        if cursor.start < first.start {
            split(cursor, cursor.start, first.start, false, &mut windows)?;
        }
        for pair in self.closed.windows(2) {
            let lower = cursor.granularity.map_or(Ok(pair[0].end), |unit| pair[0].end.plus(unit).map_err(invalid))?;
            split(cursor, lower, pair[1].start, false, &mut windows)?;
        }
        let lower = cursor.lookback.map_or(Ok(last.end), |lookback| last.end.minus(lookback).map_err(invalid))?;
        split(cursor, lower, cursor.end, true, &mut windows)?;
        Ok(windows)
    }

    /// Notes that a window has been read.
    ///
    /// # Errors
    /// `Invalid` when a date leaves the calendar.
    pub(crate) fn close(&mut self, cursor: &Cursor, start: Moment, end: Moment, latest: Option<Moment>) -> Result<()> {
        self.closed.push(Interval { start, end, latest });
        self.merge(cursor)
    }

    /// Joins windows that touch or overlap within one unit.
    fn merge(&mut self, cursor: &Cursor) -> Result<()> {
        let unit = cursor.granularity.unwrap_or(Duration { months: 0, micros: 1000 });
        self.closed.sort_by_key(|interval| (interval.start, interval.end));
        let mut merged: Vec<Interval> = Vec::with_capacity(self.closed.len());
        for interval in self.closed.drain(..) {
            match merged.last_mut() {
                Some(last) if last.end.plus(unit).map_err(invalid)? >= interval.start => {
                    last.end = last.end.max(interval.end);
                    last.latest = match (interval.latest, last.latest) {
                        (Some(a), Some(b)) => Some(a.max(b)),
                        (a, b) => a.or(b),
                    };
                }
                _ => merged.push(interval),
            }
        }
        self.closed = merged;
        Ok(())
    }

    /// The value from which everything before has been read.
    pub(crate) fn value(&self, cursor: &Cursor) -> String {
        let first = self.closed.first();
        cursor.text(&first.map_or(self.from, |first| first.latest.unwrap_or(first.start)))
    }

    /// The state to keep: `{field: value}` and the old state's other members.
    pub(crate) fn to_state(&self, cursor: &Cursor) -> Value {
        let mut members = self.others.clone();
        members.insert(cursor.field.clone(), cursor.json(&self.value(cursor)));
        Value::Object(members)
    }

    /// Everything, for a position inside a run.
    pub(crate) fn to_position(&self) -> Value {
        let windows = self.closed.iter().map(|interval| {
            json!([interval.start.iso('T'), interval.end.iso('T'), interval.latest.map(|latest| latest.iso('T'))])
        });
        json!({"closed": windows.collect::<Vec<_>>(), "others": self.others, "from": self.from.iso('T')})
    }

    /// Reads what [`Intervals::to_position`] wrote.
    pub(crate) fn from_position(value: &Value) -> Option<Self> {
        let moment = |value: &Value| crate::manifest::time::parse_iso(value.as_str()?).ok();
        let closed = value.get("closed")?.as_array()?.iter().map(|window| {
            Some(Interval {
                start: moment(window.get(0)?)?,
                end: moment(window.get(1)?)?,
                latest: window.get(2).and_then(moment),
            })
        });
        Some(Self {
            closed: closed.collect::<Option<_>>()?,
            others: value.get("others")?.as_object()?.clone(),
            from: moment(value.get("from")?)?,
        })
    }
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::Invalid, reason)
}

fn read(cursor: &Cursor, value: &Value) -> Result<Moment> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    cursor.parse(&text).ok_or_else(|| invalid(format!("the state's value `{text}` fits none of the cursor's formats")))
}

/// Windows that one read may have: a step of seconds over years would fill the memory with them.
const MAX_WINDOWS: usize = 1_000_000;

/// Cuts `lower..upper` into windows of one step.
fn split(
    cursor: &Cursor,
    lower: Moment,
    upper: Moment,
    is_last: bool,
    windows: &mut Vec<(Moment, Moment)>,
) -> Result<()> {
    if lower > upper || (lower == upper && cursor.granularity.is_none()) || upper < cursor.start {
        return Ok(());
    }
    // Edges are moved first: a step shorter than what they are moved to would leave nothing of the first window.
    let lower = cursor.clamp.ceiling(&lower.max(cursor.start))?;
    if lower > upper || (lower == upper && (cursor.is_strict || !is_last)) {
        return Ok(());
    }
    // All but the last window end one unit before the next begins.
    let shortened = |end: Moment, is_end: bool| match cursor.granularity {
        Some(unit) if !(is_last && is_end) => end.minus(unit).map_err(invalid),
        _ => Ok(end),
    };
    let step = cursor.step.filter(|step| *step != Duration::default());
    let next = |from: &Moment| step.and_then(|step| from.plus(step).ok()).unwrap_or(cursor.end);
    if next(&lower) >= upper {
        let is_unit = is_last && cursor.granularity.is_some();
        let end = if is_unit { upper } else { cursor.clamp.ceiling(&upper)? };
        windows.push((lower, shortened(end, true)?));
        return Ok(());
    }
    let mut from = lower;
    loop {
        let step_end = next(&from).min(upper);
        let to = if step_end == upper { upper } else { cursor.clamp.ceiling(&step_end)? };
        if from >= to {
            return Ok(());
        }
        let is_end = step_end >= upper || to == upper;
        if windows.len() >= MAX_WINDOWS {
            let message = format!(
                "the cursor's `step` cuts the time to read into more than {MAX_WINDOWS} windows: choose a longer one"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        windows.push((from, shortened(to, is_end)?));
        if is_end {
            return Ok(());
        }
        from = cursor.clamp.ceiling(&to)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Clamp, *};
    use crate::manifest::time;

    fn moment(text: &str) -> Moment {
        time::parse_iso(text).unwrap().or_utc()
    }

    fn cursor(start: &str, end: &str, step: Option<&str>, granularity: Option<&str>, lookback: Option<&str>) -> Cursor {
        let duration = |text: Option<&str>| text.map(|text| Duration::parse(text).unwrap());
        Cursor {
            field: "at".into(),
            format: "%Y-%m-%d".into(),
            formats: vec!["%Y-%m-%d".into()],
            start: moment(start),
            end: moment(end),
            step: duration(step),
            granularity: duration(granularity),
            lookback: duration(lookback),
            start_name: "start_time".into(),
            end_name: "end_time".into(),
            is_strict: false,
            is_count: false,
            clamp: Clamp::None,
        }
    }

    fn windows(cursor: &Cursor, state: impl Into<Option<Value>>) -> Vec<String> {
        let mut intervals = Intervals::from_state(cursor, state.into().as_ref(), None).unwrap();
        let windows = intervals.open_windows(cursor).unwrap();
        windows.iter().map(|(start, end)| format!("{}..{}", cursor.text(start), cursor.text(end))).collect()
    }

    /// Facts taken from the reference's ConcurrentCursor.
    #[test]
    fn windows_are_cut_as_in_the_reference() {
        let monthly = cursor("2024-01-31", "2024-04-10", Some("P1M"), Some("P1D"), None);
        assert_eq!(
            windows(&monthly, None),
            ["2024-01-31..2024-02-28", "2024-02-29..2024-03-28", "2024-03-29..2024-04-10"]
        );
        let whole = cursor("2024-01-01", "2024-01-10", None, None, None);
        assert_eq!(windows(&whole, None), ["2024-01-01..2024-01-10"]);
        assert_eq!(windows(&whole, Some(json!({"at": "2024-01-05"}))), ["2024-01-05..2024-01-10"]);
        assert_eq!(windows(&whole, Some(json!({"at": "2023-01-05"}))), ["2024-01-01..2024-01-10"]);
        assert_eq!(windows(&whole, Some(json!({"at": "2024-01-10"}))), Vec::<String>::new());
        let daily = cursor("2024-01-01", "2024-01-03", Some("P1D"), Some("P1D"), None);
        assert_eq!(windows(&daily, Some(json!({"at": "2024-01-03"}))), ["2024-01-03..2024-01-03"]);
        let back = cursor("2024-01-01", "2024-01-10", Some("P5D"), Some("P1D"), Some("P3D"));
        assert_eq!(windows(&back, Some(json!({"at": "2024-01-08"}))), ["2024-01-05..2024-01-10"]);
        assert_eq!(
            windows(&back, Some(json!({"at": "2024-01-02"}))),
            ["2024-01-01..2024-01-05", "2024-01-06..2024-01-10"]
        );
    }

    #[test]
    fn a_state_of_windows_reads_the_gaps_and_becomes_one_value() {
        let daily = cursor("2024-01-01", "2024-01-10", Some("P10D"), Some("P1D"), None);
        let state = json!({"state_type": "date-range", "slices": [
            {"start": "2024-01-01", "end": "2024-01-03", "most_recent_cursor_value": "2024-01-02"}, {"start": "2024-01-06", "end": "2024-01-07"}]});
        assert_eq!(windows(&daily, Some(state.clone())), ["2024-01-04..2024-01-05", "2024-01-07..2024-01-10"]);
        let mut intervals = Intervals::from_state(&daily, Some(&state), None).unwrap();
        for (start, end) in intervals.open_windows(&daily).unwrap() {
            intervals.close(&daily, start, end, Some(end.minus(Duration::from_seconds(86_400)).unwrap())).unwrap();
        }
        assert_eq!(intervals.to_state(&daily), json!({"at": "2024-01-09"}));
    }

    #[test]
    fn a_step_that_makes_millions_of_windows_is_refused() {
        let tiny = cursor("2020-01-01", "2024-01-01", Some("PT1S"), Some("PT1S"), None);
        let mut intervals = Intervals::from_state(&tiny, None, None).unwrap();
        let message = intervals.open_windows(&tiny).unwrap_err().to_string();
        assert!(message.contains("choose a longer one"), "{message}");
    }

    #[test]
    fn other_members_of_an_old_state_are_kept() {
        let whole = cursor("2024-01-01", "2024-01-10", None, None, None);
        let intervals = Intervals::from_state(&whole, Some(&json!({"at": "2024-01-05", "x": 1})), None).unwrap();
        assert_eq!(intervals.to_state(&whole), json!({"at": "2024-01-05", "x": 1}));
        let again = Intervals::from_position(&intervals.to_position()).unwrap();
        assert_eq!(again.to_state(&whole), intervals.to_state(&whole));
    }
}
