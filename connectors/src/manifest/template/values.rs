//! What templates see: pages and records looked into lazily, datetimes, and all of it printed as Python prints.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use minijinja::{
    Error, ErrorKind, State, Value,
    value::{Enumerator, Object, ObjectRepr, ValueKind},
};

use super::{
    super::{
        json::{Scanner, Slice},
        time::{self, Duration, Moment},
    },
    operators::value_error,
    python::{self, Python, write_text_repr},
};

/// A JSON object or array inside a page: nothing is parsed but what a template asks for.
#[derive(Clone, Debug)]
pub(crate) struct Lazy {
    body: Bytes,
    range: Range<usize>,
    /// The object's members where they are known already.
    members: Option<Arc<Members>>,
}

/// Names and places of an object's members.
pub(crate) type Members = Vec<(String, Range<usize>)>;

impl Lazy {
    /// The value at `range` of `body`, which must be JSON in UTF-8 that a scanner has passed over.
    pub(crate) fn value(body: &Bytes, range: Range<usize>) -> Value {
        let first = body.get(range.start).copied().unwrap_or(b'n');
        if matches!(first, b'{' | b'[') {
            return Value::from_object(Self { body: body.clone(), range, members: None });
        }
        let text = std::str::from_utf8(&body[range]).unwrap_or("null");
        scalar(Slice::checked(text))
    }

    /// An object whose members are known.
    pub(crate) fn object(body: &Bytes, range: Range<usize>, members: Arc<Members>) -> Value {
        Value::from_object(Self { body: body.clone(), range, members: Some(members) })
    }

    /// How long its text is.
    pub(super) fn size_bytes(&self) -> usize {
        self.range.len()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body[self.range.clone()]).unwrap_or("null")
    }

    fn slice(&self) -> Slice<'_> {
        Slice::checked(self.text())
    }

    fn is_object(&self) -> bool {
        self.body.get(self.range.start) == Some(&b'{')
    }

    fn member(&self, name: &str) -> Option<Range<usize>> {
        if let Some(members) = &self.members {
            return members.iter().rev().find(|(known, _)| known == name).map(|(_, range)| range.clone());
        }
        let mut found = None;
        let start = self.range.start;
        let walked = Scanner::new(self.text()).object(|scanner, key| {
            let range = scanner.value()?;
            if key.is(name) {
                found = Some(start + range.start..start + range.end);
            }
            Ok(())
        });
        walked.ok().and(found)
    }

    fn item(&self, index: i64) -> Option<Range<usize>> {
        let items = self.items();
        let at = if index < 0 { items.len() as i64 + index } else { index };
        items.get(usize::try_from(at).ok()?).cloned()
    }

    fn items(&self) -> Vec<Range<usize>> {
        let mut items = Vec::new();
        let start = self.range.start;
        let walked = Scanner::new(self.text()).array(|scanner, _| {
            let range = scanner.value()?;
            items.push(start + range.start..start + range.end);
            Ok(())
        });
        debug_assert!(walked.is_ok(), "only checked text gets here");
        items
    }
}

/// Where a template that is one expression leaves the container it found, as JSON: printing it and reading it back would cost
/// more and lose what Python's kinds cannot hold.
#[derive(Debug, Default)]
pub(super) struct Capture(std::sync::Mutex<Option<String>>);

impl Capture {
    /// Keeps `value` if it is a container of a page.
    pub(super) fn keep(&self, value: &Value) -> bool {
        let Some(lazy) = value.downcast_object_ref::<Lazy>() else { return false };
        *self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(lazy.text().to_owned());
        true
    }

    /// What was kept.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}

impl Object for Capture {}

impl Object for Lazy {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        if self.is_object() { ObjectRepr::Map } else { ObjectRepr::Seq }
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let range = if self.is_object() { self.member(key.as_str()?)? } else { self.item(key.as_i64()?)? };
        Some(Self::value(&self.body, range))
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        let range = if self.is_object() { self.member(key)? } else { return None };
        Some(Self::value(&self.body, range))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        if self.is_object() {
            let names = self.slice().members().into_iter().map(|(name, _)| Value::from(name));
            Enumerator::Values(names.collect())
        } else {
            Enumerator::Seq(self.items().len())
        }
    }

    fn is_true(self: &Arc<Self>) -> bool {
        !self.slice().is_falsy()
    }
}

/// A JSON scalar as a template value.
fn scalar(slice: Slice<'_>) -> Value {
    match slice.first() {
        b'n' => Value::from(()),
        b't' => Value::from(true),
        b'f' => Value::from(false),
        b'"' => Value::from(slice.as_text().unwrap_or_default().as_ref()),
        _ => from_python(&Python::number(slice.text())),
    }
}

/// A value of our own as a template value.
pub(crate) fn from_python(python: &Python) -> Value {
    match python {
        Python::None => Value::from(()),
        Python::Bool(value) => Value::from(*value),
        Python::Int(value) => i64::try_from(*value).map_or_else(|_| Value::from(*value), Value::from),
        Python::BigInt(digits) => digits.parse::<f64>().map_or_else(|_| Value::from(digits.as_str()), Value::from),
        Python::Float(value) => Value::from(*value),
        Python::Text(text) => Value::from(text.as_str()),
        Python::Bytes(bytes) => Value::from_bytes(bytes.clone()),
        Python::List(items) | Python::Set(items) => Value::from(items.iter().map(from_python).collect::<Vec<_>>()),
        Python::Tuple(items) => {
            Value::from(minijinja::value::Tuple::from(items.iter().map(from_python).collect::<Vec<_>>()))
        }
        Python::Dict(members) => {
            Value::from_pairs(members.iter().map(|(key, value)| (from_python(key), from_python(value))))
        }
    }
}

/// A JSON tree as a template value.
pub(crate) fn from_json(value: &serde_json::Value) -> Value {
    from_python(&Python::from(value))
}

/// A datetime or a date.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) moment: Moment,
    pub(super) is_date: bool,
}

/// A duration.
#[derive(Clone, Debug)]
pub(super) struct Length(pub(super) Duration);

impl Clock {
    /// Later by `duration`; a date moves by whole days.
    pub(super) fn plus(&self, duration: Duration) -> Result<Self, String> {
        let micros = if self.is_date {
            duration.micros.div_euclid(86_400_000_000).saturating_mul(86_400_000_000)
        } else {
            duration.micros
        };
        Ok(Self { moment: self.moment.plus(Duration { micros, ..duration })?, ..self.clone() })
    }

    fn text(&self, separator: char) -> String {
        if self.is_date { time::format_pattern(&self.moment, "%Y-%m-%d") } else { self.moment.iso(separator) }
    }
}

impl Object for Clock {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let local = self.moment.local();
        Some(match key.as_str()? {
            "year" => Value::from(local.year()),
            "month" => Value::from(local.month()),
            "day" => Value::from(local.day()),
            "hour" => Value::from(local.hour()),
            "minute" => Value::from(local.minute()),
            "second" => Value::from(local.second()),
            "microsecond" => Value::from(self.moment.micros()),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        let local = self.moment.local();
        Ok(match (method, args) {
            ("strftime", [format]) => {
                Value::from(time::format_pattern(&self.moment, format.as_str().unwrap_or_default()))
            }
            ("isoformat", []) => Value::from(self.text('T')),
            ("timestamp", []) => Value::from(self.moment.epoch_us() as f64 / 1e6),
            ("date", []) => Value::from_object(Self { is_date: true, ..Self::clone(self) }),
            ("weekday", []) => Value::from(local.weekday().to_monday_zero_offset()),
            ("isoweekday", []) => Value::from(local.weekday().to_monday_one_offset()),
            ("replace", [kwargs]) => {
                let part = |name: &str| kwargs.get_attr(name).ok().and_then(|value| value.as_i64());
                let of = |name: &str, present: i64| part(name).unwrap_or(present);
                let micros = of("microsecond", i64::from(self.moment.micros()));
                let replaced = local
                    .with()
                    .year(of("year", local.year().into()) as i16)
                    .month(of("month", local.month().into()) as i8)
                    .day(of("day", local.day().into()) as i8)
                    .hour(of("hour", local.hour().into()) as i8)
                    .minute(of("minute", local.minute().into()) as i8)
                    .second(of("second", local.second().into()) as i8)
                    .subsec_nanosecond((micros * 1000) as i32)
                    .build()
                    .map_err(|_| value_error("replace() gives no valid datetime"))?;
                Value::from_object(Self {
                    moment: Moment::new(replaced, self.moment.offset_s()),
                    is_date: self.is_date,
                })
            }
            _ => return Err(Error::from(ErrorKind::UnknownMethod)),
        })
    }
}

impl Object for Length {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        const DAY_US: i64 = 86_400_000_000;
        Some(match key.as_str()? {
            "days" => Value::from(self.0.micros.div_euclid(DAY_US)),
            "seconds" => Value::from(self.0.micros.rem_euclid(DAY_US) / 1_000_000),
            "microseconds" => Value::from(self.0.micros.rem_euclid(1_000_000)),
            _ => return None,
        })
    }

    fn call_method(self: &Arc<Self>, _: &mut State<'_, '_>, method: &str, args: &[Value]) -> Result<Value, Error> {
        match (method, args) {
            ("total_seconds", []) => Ok(Value::from(self.0.micros as f64 / 1e6)),
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }
}

/// True for lists, false for tuples.
pub(super) fn is_list(value: &Value) -> bool {
    !value.is_tuple()
}

/// `str(value)`; nothing for a missing value.
pub(super) fn text(value: &Value) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let mut out = String::new();
    if !value.is_undefined() {
        write_repr(value, &mut out);
    }
    out
}

/// Appends `repr(value)`.
pub(super) fn write_repr(value: &Value, out: &mut String) {
    match value.kind() {
        ValueKind::Undefined => out.push_str("Undefined"),
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number if value.is_integer() => out.push_str(&value.to_string()),
        ValueKind::Number => out.push_str(&python::float_text(f64::try_from(value.clone()).unwrap_or(f64::NAN))),
        ValueKind::String => write_text_repr(value.as_str().unwrap_or_default(), out),
        ValueKind::Bytes => out.push_str(&Python::Bytes(value.as_bytes().unwrap_or_default().to_vec()).text()),
        ValueKind::Seq | ValueKind::Iterable => write_items(value, out),
        ValueKind::Map => write_members(value, out),
        _ => write_plain(value, out),
    }
}

fn write_items(value: &Value, out: &mut String) {
    let is_list = is_list(value);
    out.push(if is_list { '[' } else { '(' });
    let mut count = 0;
    for item in value.try_iter().into_iter().flatten() {
        out.push_str(if count > 0 { ", " } else { "" });
        write_repr(&item, out);
        count += 1;
    }
    out.push_str(match (is_list, count) {
        (true, _) => "]",
        (false, 1) => ",)",
        (false, _) => ")",
    });
}

fn write_members(value: &Value, out: &mut String) {
    out.push('{');
    for (index, key) in value.try_iter().into_iter().flatten().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        write_repr(&key, out);
        out.push_str(": ");
        write_repr(&value.get_item(&key).unwrap_or_default(), out);
    }
    out.push('}');
}

fn write_plain(value: &Value, out: &mut String) {
    if let Some(clock) = value.downcast_object_ref::<Clock>() {
        out.push_str(&clock.text(' '));
    } else if let Some(length) = value.downcast_object_ref::<Length>() {
        out.push_str(&length.0.text());
    } else {
        out.push_str(&value.to_string());
    }
}
