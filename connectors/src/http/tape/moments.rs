//! Times in requests. What asks for everything until now asks for another second each time that it is asked.

use std::{borrow::Cow, sync::LazyLock};

use jiff::Timestamp;
use regex::Regex;

/// This far from now a time still counts as now: a long read begins with a time that grows old.
const NEAR_S: i64 = 3600;

static TIMES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?|\b\d{10}(?:\d{3}){0,2}\b")
        .ok()
});

/// `text` with each time that is about `now` replaced by one word.
pub(super) fn masked(text: &str, now: Option<Timestamp>) -> Cow<'_, str> {
    let (Some(now), Some(times)) = (now, &*TIMES) else { return Cow::Borrowed(text) };
    times.replace_all(text, |found: &regex::Captures<'_>| {
        let time = &found[0];
        if is_near(time, now) { "<now>".to_owned() } else { time.to_owned() }
    })
}

fn is_near(time: &str, now: Timestamp) -> bool {
    if !time.contains('-') {
        let Ok(number) = time.parse::<i64>() else { return false };
        let seconds = match time.len() {
            10 => number,
            13 => number / 1_000,
            _ => number / 1_000_000,
        };
        return (seconds - now.as_second()).abs() <= NEAR_S;
    }
    if time.len() == "2024-01-01".len() {
        let day = |seconds: i64| Timestamp::from_second(seconds).map(|day| day.to_string()[..10].to_owned()).ok();
        return [now.as_second() - NEAR_S, now.as_second()].into_iter().any(|near| day(near).as_deref() == Some(time));
    }
    let written = time.replacen(' ', "T", 1);
    let moment = written.parse::<Timestamp>().or_else(|_| format!("{written}Z").parse());
    moment.is_ok_and(|moment| (moment.as_second() - now.as_second()).abs() <= NEAR_S)
}
