//! `DatetimeBasedCursor`: which windows of time to read, and what is remembered afterwards.

mod clamp;
mod intervals;
mod partitions;

pub(crate) use intervals::Intervals;
pub(crate) use partitions::{Progress, named_from_json, named_json};

use self::clamp::{Clamp, ClampSpec};
use super::{
    load::{Take, View},
    request::options::{Injections, RequestOption},
    session::Session,
    slice::{Named, Slice},
    template::{Python, Template},
    time::{self, Duration, Moment},
};
use crate::{Error, ErrorKind, Result};

/// The format of whole numbers that stand for themselves.
const COUNT: &str = "%epoch_microseconds";
/// The end of a window of numbers: no product counts so far.
const COUNT_MAX: i64 = 200_000_000_000_000_000;

/// The component as the manifest writes it.
#[derive(Debug)]
pub(crate) struct CursorSpec {
    pub(crate) field: Template,
    format: String,
    input_formats: Vec<String>,
    start: MinMax,
    end: Option<MinMax>,
    step: Option<Template>,
    granularity: Option<Duration>,
    lookback: Option<Template>,
    clamping: Option<ClampSpec>,
    start_option: Option<RequestOption>,
    end_option: Option<RequestOption>,
    start_name: Option<Template>,
    end_name: Option<Template>,
    is_strict: bool,
    /// Newest records come first: the first old one ends the pages.
    pub(crate) is_data_feed: bool,
    /// Old records are left out here, not by the product.
    pub(crate) filters_here: bool,
    /// One state for all partitions.
    pub(crate) is_global: bool,
    /// Values are whole numbers and not moments.
    is_count: bool,
}

/// `MinMaxDatetime`, or a plain text.
#[derive(Debug)]
struct MinMax {
    datetime: Template,
    format: Option<String>,
    min: Option<Template>,
    max: Option<Template>,
}

/// The cursor with the settings filled in.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    /// The field that moves forward.
    pub(crate) field: String,
    pub(crate) format: String,
    formats: Vec<String>,
    pub(crate) start: Moment,
    pub(crate) end: Moment,
    step: Option<Duration>,
    pub(crate) granularity: Option<Duration>,
    lookback: Option<Duration>,
    start_name: String,
    end_name: String,
    is_strict: bool,
    /// Values are whole numbers, kept as microseconds.
    pub(crate) is_count: bool,
    clamp: Clamp,
}

impl CursorSpec {
    /// Reads the component in the field called `incremental_sync`.
    pub(crate) fn load(stream: &View<'_>) -> Take<Option<Self>> {
        let Some(view) = stream.child("incremental_sync") else { return Ok(None) };
        if view.kind() == "IncrementingCountCursor" {
            return Self::counting(&view).map(Some);
        }
        if view.kind() != "DatetimeBasedCursor" {
            return Err(view.unsupported("incremental sync"));
        }
        let granularity = match view.text("cursor_granularity")? {
            Some(text) => Some(Duration::parse(&text).map_err(|reason| view.problem(reason))?),
            None => None,
        };
        let step = view.template("step")?;
        if step.is_some() != granularity.is_some() {
            return Err(view.problem("`step` and `cursor_granularity` need each other"));
        }
        // A unit of no length is none.
        let granularity = granularity.filter(|unit| *unit != Duration::default());
        let option = |name: &str| view.child(name).map(|option| RequestOption::load(&option)).transpose();
        let clamping = ClampSpec::load(&view);
        let (field, start) = (view.required_template("cursor_field"), MinMax::load(&view, "start_datetime"));
        let (end, start_option, end_option) =
            (MinMax::load(&view, "end_datetime"), option("start_time_option"), option("end_time_option"));
        Ok(Some(Self {
            field: field?,
            format: view.required_text("datetime_format")?,
            input_formats: view.texts("cursor_datetime_formats")?.unwrap_or_default(),
            start: start?.ok_or_else(|| view.problem("a DatetimeBasedCursor needs `start_datetime`"))?,
            end: end?,
            step,
            granularity,
            lookback: view.template("lookback_window")?.filter(|template| !template.source().is_empty()),
            clamping: clamping?,
            start_option: start_option?,
            end_option: end_option?,
            start_name: view.template("partition_field_start")?,
            end_name: view.template("partition_field_end")?,
            is_strict: view.flag("is_compare_strictly")?.unwrap_or(false),
            is_data_feed: view.flag("is_data_feed")?.unwrap_or(false),
            filters_here: view.flag("is_client_side_incremental")?.unwrap_or(false),
            is_global: view.flag("global_substream_cursor")?.unwrap_or(false),
            is_count: false,
        }))
    }

    /// Reads an `IncrementingCountCursor`: a number that grows is a moment with another name. It has one window without end.
    fn counting(view: &View<'_>) -> Take<Self> {
        let start = view.template("start_value")?;
        let start = start.map_or_else(|| view.template_of("0", view.node(), "start_value"), Ok)?;
        let name = |text: &str| view.template_of(text, view.node(), text).map(Some);
        Ok(Self {
            field: view.required_template("cursor_field")?,
            format: COUNT.to_owned(),
            input_formats: Vec::new(),
            start: MinMax { datetime: start, format: None, min: None, max: None },
            end: None,
            step: None,
            granularity: None,
            lookback: None,
            clamping: None,
            start_option: view.child("start_value_option").map(|option| RequestOption::load(&option)).transpose()?,
            end_option: None,
            start_name: name("start")?,
            end_name: name("end")?,
            is_strict: false,
            is_data_feed: false,
            filters_here: false,
            is_global: false,
            is_count: true,
        })
    }

    /// Fills in the settings. `end` is where an interrupted read was going to stop.
    ///
    /// # Errors
    /// `Invalid` for dates and durations that do not fit their formats.
    pub(crate) fn bind(&self, session: &Session, end: Option<Moment>) -> Result<Cursor> {
        let text = |template: &Option<Template>, default: &str| {
            template.as_ref().map_or(Ok(default.to_owned()), |template| template.text(&session.engine, session.scope()))
        };
        let mut formats = self.input_formats.clone();
        formats.push(self.format.clone());
        let clamp = self.clamping.as_ref().map_or(Ok(Clamp::None), |clamping| clamping.bind(session))?;
        let end = match (end, &self.end) {
            (Some(end), _) => end,
            (None, Some(end)) => clamp.end(&end.evaluate(session, &self.format)?, self.granularity)?,
            (None, None) if self.is_count => {
                Moment::from_epoch_us(COUNT_MAX).map_err(|reason| Error::new(ErrorKind::Invalid, reason))?
            }
            (None, None) => clamp.end(&Moment::now(), self.granularity)?,
        };
        Ok(Cursor {
            field: self.field.text(&session.engine, session.scope())?,
            format: self.format.clone(),
            formats,
            start: self.start.evaluate(session, &self.format)?,
            end,
            step: duration(session, self.step.as_ref())?,
            granularity: self.granularity,
            lookback: duration(session, self.lookback.as_ref())?,
            start_name: text(&self.start_name, "start_time")?,
            end_name: text(&self.end_name, "end_time")?,
            is_strict: self.is_strict,
            is_count: self.is_count,
            clamp,
        })
    }

    /// Puts a slice's window into a request.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn inject(
        &self,
        session: &Session,
        cursor: &Cursor,
        slice: &Slice,
        into: &mut Injections,
    ) -> Result<()> {
        for (option, name) in [(&self.start_option, &cursor.start_name), (&self.end_option, &cursor.end_name)] {
            if let Some(option) = option {
                let value = slice.get(name).cloned().unwrap_or(Python::None);
                option.inject(&session.engine, session.scope(), value, into)?;
            }
        }
        Ok(())
    }
}

fn duration(session: &Session, template: Option<&Template>) -> Result<Option<Duration>> {
    let Some(template) = template else { return Ok(None) };
    let value = template.value(&session.engine, session.scope())?;
    if !value.is_truthy() {
        return Ok(None);
    }
    Duration::parse(&value.text()).map(Some).map_err(|reason| Error::new(ErrorKind::Invalid, reason))
}

impl MinMax {
    fn load(view: &View<'_>, name: &str) -> Take<Option<Self>> {
        let Some(child) = view.child(name) else { return Ok(None) };
        if child.node().as_text().is_some() {
            return Ok(view.template(name)?.map(|datetime| Self { datetime, format: None, min: None, max: None }));
        }
        if child.kind() != "MinMaxDatetime" {
            return Err(child.unsupported("datetime"));
        }
        let set = |template: Option<Template>| template.filter(|template| !template.source().is_empty());
        Ok(Some(Self {
            datetime: child.required_template("datetime")?,
            format: child.text("datetime_format")?.filter(|format| !format.is_empty()),
            min: set(child.template("min_datetime")?),
            max: set(child.template("max_datetime")?),
        }))
    }

    fn evaluate(&self, session: &Session, inherited: &str) -> Result<Moment> {
        let format = self.format.as_deref().unwrap_or(inherited);
        let read = |template: &Template| -> Result<Option<Moment>> {
            let text = template.text(&session.engine, session.scope())?;
            if text.is_empty() {
                return Ok(None);
            }
            time::parse(&text, format).map(Some).map_err(|reason| Error::new(ErrorKind::Invalid, reason))
        };
        let missing = || {
            Error::new(
                ErrorKind::Invalid,
                "a start or end datetime of the manifest is empty: check the settings it is made of",
            )
        };
        let mut moment = read(&self.datetime)?.ok_or_else(missing)?;
        if let Some(min) = self.min.as_ref().map(read).transpose()?.flatten() {
            moment = moment.max(min);
        }
        if let Some(max) = self.max.as_ref().map(read).transpose()?.flatten() {
            moment = moment.min(max);
        }
        Ok(moment)
    }
}

impl Cursor {
    /// Reads a cursor value with the first format that fits.
    pub(crate) fn parse(&self, text: &str) -> Option<Moment> {
        self.formats.iter().find_map(|format| time::parse(text, format).ok())
    }

    /// Reads a cursor value that stands as JSON in a record.
    pub(crate) fn parse_json(&self, json: &str) -> Option<Moment> {
        let slice = super::json::Slice::checked(json);
        match slice.first() {
            b'"' => self.parse(&slice.as_text()?),
            b'0'..=b'9' | b'-' if json.contains(['.', 'e', 'E']) => {
                let number: f64 = json.parse().ok()?;
                self.parse(&number.to_string()).or_else(|| self.parse(&(number.trunc() as i64).to_string()))
            }
            b'0'..=b'9' | b'-' => self.parse(json),
            _ => None,
        }
    }

    /// Writes a cursor value.
    pub(crate) fn text(&self, moment: &Moment) -> String {
        time::format(moment, &self.format)
    }

    /// A cursor value as a state holds it.
    pub(crate) fn json(&self, value: &str) -> serde_json::Value {
        match value.parse::<i64>() {
            Ok(number) if self.is_count => number.into(),
            _ => value.into(),
        }
    }

    /// A window as the fields of a slice.
    pub(crate) fn window(&self, start: &Moment, end: &Moment) -> Named {
        vec![
            (self.start_name.clone(), Python::Text(self.text(start))),
            (self.end_name.clone(), Python::Text(self.text(end))),
        ]
    }

    /// The window of a slice, read back.
    pub(crate) fn window_of(&self, slice: &Slice) -> Option<(Moment, Moment)> {
        let read = |name: &str| {
            slice.window.iter().find(|(known, _)| known == name).and_then(|(_, value)| self.parse(&value.text()))
        };
        Some((read(&self.start_name)?, read(&self.end_name)?))
    }

    /// A slice's window in two halves; none when it is too short, or no longer than `shortest`.
    pub(crate) fn halves(&self, slice: &Slice, shortest: Option<Duration>) -> Option<(Named, Named)> {
        let (start, end) = self.window_of(slice)?;
        let unit = self.granularity.filter(|unit| unit.micros > 0)?;
        let span = end.epoch_us() - start.epoch_us();
        if span <= shortest.map_or(0, |shortest| shortest.micros) {
            return None;
        }
        let half = (span / unit.micros + 1) / 2;
        let first_end = start.plus(Duration { months: 0, micros: (half - 1) * unit.micros }).ok()?;
        let second_start = first_end.plus(unit).ok()?;
        let is_progress = half > 0 && start <= first_end && first_end < second_start && second_start <= end;
        is_progress.then(|| (self.window(&start, &first_end), self.window(&second_start, &end)))
    }

    /// Lets a slice begin at `from`; false when it does already.
    pub(crate) fn restart(&self, slice: &mut Slice, from: &Moment) -> bool {
        let Some((_, start)) = slice.window.iter_mut().find(|(name, _)| *name == self.start_name) else { return false };
        let new = Python::Text(self.text(from));
        let has_moved = *start != new;
        *start = new;
        has_moved
    }

    /// Whether a record with this value is wanted, given the moment from which its partition reads.
    pub(crate) fn wants(&self, value: &Moment, from: &Moment) -> bool {
        let lowest = match self.lookback.and_then(|lookback| from.minus(lookback).ok()) {
            Some(lower) => lower.max(*from.min(&self.start)),
            None => *from,
        };
        lowest <= *value && *value <= self.end
    }
}
