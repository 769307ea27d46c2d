//! What a cron expression means, said a second time and in the plainest way: by walking through the minutes that really pass
//! and looking at the clock on the wall. Shares nothing with the layer but jiff's answer to "what does the wall show now".

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// A field of an expression.
#[derive(Clone, Debug)]
pub enum Field {
    Any,
    Step(i8),
    Only(Vec<i8>),
}

impl Field {
    pub fn one(number: i8) -> Self {
        Self::Only(vec![number])
    }

    pub fn has(&self, number: i8) -> bool {
        match self {
            Self::Any => true,
            Self::Step(step) => number % step == 0,
            Self::Only(numbers) => numbers.contains(&number),
        }
    }

    pub fn is_open(&self) -> bool {
        !matches!(self, Self::Only(_))
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Step(step) => format!("*/{step}"),
            Self::Only(numbers) => numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        }
    }
}

/// An expression, as fields.
#[derive(Clone, Debug)]
pub struct Fields {
    pub second: Field,
    pub minute: Field,
    pub hour: Field,
    pub day: Field,
    pub month: Field,
    /// 0 is Sunday.
    pub weekday: Field,
}

impl Fields {
    /// At those minutes and hours of every day.
    pub fn daily(minute: Field, hour: Field) -> Self {
        let (day, month, weekday) = (Field::Any, Field::Any, Field::Any);
        Self { second: Field::one(0), minute, hour, day, month, weekday }
    }

    pub fn text(&self) -> String {
        let seconds = match &self.second {
            Field::Only(seconds) if seconds == &[0] => None,
            second => Some(second.text()),
        };
        let others = [&self.minute, &self.hour, &self.day, &self.month, &self.weekday].map(Field::text);
        seconds.into_iter().chain(others).collect::<Vec<_>>().join(" ")
    }

    pub fn has_day(&self, wall: DateTime) -> bool {
        let day = self.day.has(wall.day());
        let weekday = self.weekday.has(wall.date().weekday().to_sunday_zero_offset());
        let fits = match (&self.day, &self.weekday) {
            (Field::Only(_), Field::Only(_)) => day || weekday,
            _ => day && weekday,
        };
        fits && self.month.has(wall.month())
    }

    fn has_minute(&self, wall: DateTime) -> bool {
        self.minute.has(wall.minute()) && self.hour.has(wall.hour()) && self.has_day(wall)
    }

    fn seconds(&self) -> impl Iterator<Item = i64> + '_ {
        (0..60i8).filter(|second| self.second.has(*second)).map(i64::from)
    }
}

/// The minutes from one instant to another, as they really pass, with what the wall shows.
pub struct Walk {
    minutes: Vec<(i64, DateTime)>,
    shown_first: BTreeMap<DateTime, i64>,
}

/// What becomes of times that the wall never shows: the first instant after them, or nothing.
pub type InGap<'a> = &'a dyn Fn(DateTime, i64, DateTime) -> bool;

impl Walk {
    /// Whole minutes, both ends included.
    pub fn new(time_zone: &TimeZone, from: Timestamp, until: Timestamp) -> Self {
        let seconds = (from.as_second()..=until.as_second()).step_by(60);
        let minutes: Vec<_> =
            seconds.map(|second| (second, time_zone.to_datetime(Timestamp::from_second(second).unwrap()))).collect();
        assert!(minutes.iter().all(|(_, wall)| wall.second() == 0), "offsets of our days are whole minutes");
        let mut shown_first = BTreeMap::new();
        for (second, wall) in &minutes {
            shown_first.entry(*wall).or_insert(*second);
        }
        Self { minutes, shown_first }
    }

    /// Every instant whose time on the wall fits.
    pub fn rhythm(&self, fields: &Fields) -> BTreeSet<i64> {
        let fitting = self.minutes.iter().filter(|(_, wall)| fields.has_minute(*wall));
        fitting.flat_map(|(minute, _)| fields.seconds().map(move |second| minute + second)).collect()
    }

    /// Every time on the wall that fits, once: at the first instant that shows it, or else at the first after it for which
    /// `takes` says so. It is asked with the time, the instant and what the wall shows then.
    pub fn times(&self, fields: &Fields, takes: InGap) -> BTreeSet<i64> {
        let mut instants = BTreeSet::new();
        let (mut wall, last) = (self.minutes[0].1, self.minutes[self.minutes.len() - 1].1);
        while wall <= last {
            if fields.has_minute(wall) {
                match self.shown_first.get(&wall) {
                    Some(minute) => instants.extend(fields.seconds().map(|second| minute + second)),
                    None => instants.extend(
                        self.first_after(wall).filter(|(then, shown)| takes(wall, *then, *shown)).map(|(then, _)| then),
                    ),
                }
            }
            wall = wall.checked_add(jiff::Span::new().minutes(1)).unwrap();
        }
        instants
    }

    fn first_after(&self, wall: DateTime) -> Option<(i64, DateTime)> {
        self.minutes.iter().find(|(_, shown)| *shown > wall).copied()
    }
}
