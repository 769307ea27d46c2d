//! Tables of schedules and the instants that people expect of them.

mod delays;
mod oracle;
mod zones;

use super::*;

fn cron(expression: &str, time_zone: &str) -> Schedule {
    Schedule::Cron { expression: expression.to_owned(), time_zone: time_zone.to_owned() }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The due instants after `after`, with the zone's own clock.
fn due(expression: &str, time_zone: &str, after: &str, n: usize) -> Vec<String> {
    let zone = TimeZone::get(time_zone).unwrap();
    preview(&cron(expression, time_zone), Timestamp::UNIX_EPOCH, at(after), n)
        .unwrap()
        .into_iter()
        .map(|instant| instant.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M:%S %z").to_string())
        .collect()
}

#[test]
fn expressions_mean_what_crontab_says() {
    let from = "2026-11-22T12:00:00Z"; // A Sunday.
    let cases: [(&str, &[&str]); 21] = [
        ("30 2 * * *", &["Mon 2026-11-23 02:30:00 +0000", "Tue 2026-11-24 02:30:00 +0000"]),
        ("15 30 2 * * *", &["Mon 2026-11-23 02:30:15 +0000", "Tue 2026-11-24 02:30:15 +0000"]),
        ("0 0 * * 0", &["Sun 2026-11-29 00:00:00 +0000", "Sun 2026-12-06 00:00:00 +0000"]),
        ("0 0 * * 7", &["Sun 2026-11-29 00:00:00 +0000", "Sun 2026-12-06 00:00:00 +0000"]),
        ("0 0 * * sun-sun", &["Sun 2026-11-29 00:00:00 +0000", "Sun 2026-12-06 00:00:00 +0000"]),
        ("0 0 * * 0-0", &["Sun 2026-11-29 00:00:00 +0000", "Sun 2026-12-06 00:00:00 +0000"]),
        ("0 0 * * 7/2", &["Sun 2026-11-29 00:00:00 +0000", "Sun 2026-12-06 00:00:00 +0000"]),
        ("0 0 * * 5/1", &["Fri 2026-11-27 00:00:00 +0000", "Sat 2026-11-28 00:00:00 +0000"]),
        ("0 0 * * 1", &["Mon 2026-11-23 00:00:00 +0000", "Mon 2026-11-30 00:00:00 +0000"]),
        ("0 0 * * MON-fri", &["Mon 2026-11-23 00:00:00 +0000", "Tue 2026-11-24 00:00:00 +0000"]),
        (
            "0 0 * * 5-7",
            &["Fri 2026-11-27 00:00:00 +0000", "Sat 2026-11-28 00:00:00 +0000", "Sun 2026-11-29 00:00:00 +0000"],
        ),
        (
            "0 0 * * fri-sun",
            &["Fri 2026-11-27 00:00:00 +0000", "Sat 2026-11-28 00:00:00 +0000", "Sun 2026-11-29 00:00:00 +0000"],
        ),
        ("0 0 * JAN mon", &["Mon 2027-01-04 00:00:00 +0000", "Mon 2027-01-11 00:00:00 +0000"]),
        (
            "0 0 1,15 * 1",
            &["Mon 2026-11-23 00:00:00 +0000", "Mon 2026-11-30 00:00:00 +0000", "Tue 2026-12-01 00:00:00 +0000"],
        ),
        ("0 0 13 * ?", &["Sun 2026-12-13 00:00:00 +0000", "Wed 2027-01-13 00:00:00 +0000"]),
        ("0 0 29 2 *", &["Tue 2028-02-29 00:00:00 +0000", "Sun 2032-02-29 00:00:00 +0000"]),
        ("@yearly", &["Fri 2027-01-01 00:00:00 +0000"]),
        ("@MONTHLY", &["Tue 2026-12-01 00:00:00 +0000"]),
        ("@weekly", &["Sun 2026-11-29 00:00:00 +0000"]),
        ("@midnight", &["Mon 2026-11-23 00:00:00 +0000"]),
        ("@hourly", &["Sun 2026-11-22 13:00:00 +0000", "Sun 2026-11-22 14:00:00 +0000"]),
    ];
    for (expression, expected) in cases {
        assert_eq!(due(expression, "UTC", from, expected.len()), expected, "{expression}");
    }
}

#[test]
fn a_time_that_the_clocks_jump_over_fires_at_the_first_instant_after() {
    // Berlin: 02:00 becomes 03:00 on 2027-03-28.
    let expected = ["Sat 2027-03-27 02:30:00 +0100", "Sun 2027-03-28 03:00:00 +0200", "Mon 2027-03-29 02:30:00 +0200"];
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2027-03-26T12:00:00Z", 3), expected);
    // Three times in the gap, and one that is its end, are one run.
    let expected = ["Sun 2027-03-28 03:00:00 +0200", "Mon 2027-03-29 02:00:00 +0200"];
    assert_eq!(due("0,20,40 2,3 * * *", "Europe/Berlin", "2027-03-28T00:30:00Z", 1), expected[..1]);
    assert_eq!(due("0 2 * * *", "Europe/Berlin", "2027-03-28T00:30:00Z", 2), expected);
    // Samoa had no 2011-12-30.
    let expected = ["Sat 2011-12-31 00:00:00 +1400", "Sat 2011-12-31 09:00:00 +1400"];
    assert_eq!(due("0 9 * * *", "Pacific/Apia", "2011-12-30T09:00:00Z", 2), expected);
}

#[test]
fn a_time_that_comes_twice_fires_once() {
    // Berlin: 03:00 becomes 02:00 on 2026-10-25; New York: 02:00 becomes 01:00 on 2026-11-01.
    let expected = ["Sun 2026-10-25 02:30:00 +0200", "Mon 2026-10-26 02:30:00 +0100"];
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2), expected);
    let expected = ["Sun 2026-11-01 01:30:00 -0400", "Mon 2026-11-02 01:30:00 -0500"];
    assert_eq!(due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2), expected);
    // Asked between the two passes, the second is still not due.
    assert_eq!(due("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", 1), expected_next_day());
}

fn expected_next_day() -> Vec<String> {
    vec!["Mon 2026-10-26 02:30:00 +0100".to_owned()]
}

#[test]
fn a_rhythm_follows_real_time_across_both_changes() {
    let expected = [
        "Sun 2026-10-25 01:00:00 +0200",
        "Sun 2026-10-25 02:00:00 +0200",
        "Sun 2026-10-25 02:00:00 +0100",
        "Sun 2026-10-25 03:00:00 +0100",
    ];
    assert_eq!(due("0 * * * *", "Europe/Berlin", "2026-10-24T22:30:00Z", 4), expected);
    let expected = ["Sun 2027-03-28 01:45:00 +0100", "Sun 2027-03-28 03:00:00 +0200", "Sun 2027-03-28 03:15:00 +0200"];
    assert_eq!(due("*/15 * * * *", "Europe/Berlin", "2027-03-28T00:30:00Z", 3), expected);
    let expected = ["Mon 2027-03-29 02:00:00 +0200"];
    assert_eq!(due("*/30 2 * * *", "Europe/Berlin", "2027-03-28T00:00:00Z", 1), expected);
    // Lord Howe changes by half an hour.
    let expected = ["Sun 2027-04-04 01:30:00 +1100", "Sun 2027-04-04 01:30:00 +1030", "Sun 2027-04-04 02:00:00 +1030"];
    assert_eq!(due("*/30 * * * *", "Australia/Lord_Howe", "2027-04-03T14:15:00Z", 3), expected);
}

#[test]
fn due_instants_are_strictly_after_and_start_at_whole_seconds() {
    assert_eq!(due("0 12 * * *", "UTC", "2026-11-22T12:00:00Z", 1), ["Mon 2026-11-23 12:00:00 +0000"]);
    assert_eq!(due("0 12 * * *", "UTC", "2026-11-22T11:59:59.999Z", 1), ["Sun 2026-11-22 12:00:00 +0000"]);
    assert_eq!(due("* * * * *", "UTC", "2026-11-22T12:00:00.5Z", 1), ["Sun 2026-11-22 12:01:00 +0000"]);
    assert_eq!(due("* * * * *", "UTC", "1969-12-31T23:58:30.5Z", 1), ["Wed 1969-12-31 23:59:00 +0000"]);
}

#[test]
fn intervals_are_anchored_and_do_not_drift() {
    let schedule = Schedule::Interval { every_seconds: 3600 };
    let anchor = at("2026-11-22T12:34:56.789Z");
    let next = |after: &str| next_due(&schedule, anchor, at(after)).unwrap().unwrap();
    assert_eq!(next("2026-11-22T12:34:56.789Z"), at("2026-11-22T13:34:56.789Z"));
    assert_eq!(next("2026-11-25T00:00:00Z"), at("2026-11-25T00:34:56.789Z"), "late by days, and still on its beat");
    assert_eq!(next("2020-01-01T00:00:00Z"), at("2026-11-22T13:34:56.789Z"), "never before the first");
}

#[test]
fn a_manual_schedule_is_never_due() {
    assert_eq!(next_due(&Schedule::Manual, at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")).unwrap(), None);
}

#[test]
fn every_problem_is_told_at_once() {
    let error = validate(&cron("61 25 0 JANUAR 8", "Europe/Berlyn")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let places: Vec<&str> = error.problems().iter().map(|problem| problem.place.as_str()).collect();
    assert_eq!(places, ["/expression", "/expression", "/expression", "/expression", "/expression", "/time_zone"]);
    let text = error.to_string();
    for word in ["minute `61`", "hour `25`", "day of month `0`", "month `JANUAR`", "weekday `8`", "Europe/Berlyn"] {
        assert!(text.contains(word), "{word} is missing in: {text}");
    }
}

#[test]
fn what_cannot_be_kept_is_refused() {
    for expression in [
        "",
        "* * *",
        "* * * * * * *",
        "@reboot",
        "0 0 30 2 *",
        "*/0 * * * *",
        "0 0 * * 6-1",
        "0 0 * * x",
        "5-1 * * * *",
        "0 0 L * *",
        "0 0 * * 1/8",
    ] {
        let error = validate(&cron(expression, "UTC")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{expression}");
        assert!(!error.problems().is_empty(), "{expression}");
    }
    for every_seconds in [0, 59, u64::MAX] {
        assert_eq!(validate(&Schedule::Interval { every_seconds }).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
