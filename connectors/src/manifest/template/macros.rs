//! The functions that templates may call.

use minijinja::{
    Environment, Error, Value,
    value::{Rest, ValueKind, ValueOrKwargs},
};

use super::{
    super::time::{self, Duration, Moment},
    arguments::Arguments,
    operators::{type_error, value_error},
    values::{Clock, Length},
};

/// Registers the language's functions and takes away what it does not have.
pub(super) fn register(env: &mut Environment<'static>) {
    env.remove_global("range");
    env.remove_global("debug");
    env.add_function("now_utc", || clock(Moment::now()));
    env.add_function("today_utc", || date(Moment::now()));
    env.add_function("today_with_timezone", today_with_timezone);
    env.add_function("timestamp", timestamp);
    env.add_function("str_to_datetime", |text: &str| iso(text).map(clock));
    env.add_function("format_datetime", |given: Rest<ValueOrKwargs>| {
        format_datetime(&Arguments::of(&given.into_values(), &["dt", "format", "input_format"])?)
    });
    env.add_function("day_delta", |given: Rest<ValueOrKwargs>| {
        day_delta(&Arguments::of(&given.into_values(), &["num_days", "format"])?)
    });
    env.add_function("duration", |text: &str| {
        Duration::parse(text).map(|length| Value::from_object(Length(length))).map_err(value_error)
    });
    env.add_function("max", |values: Rest<Value>| extreme(&values, true));
    env.add_function("min", |values: Rest<Value>| extreme(&values, false));
    env.add_function("sanitize_url", |text: &str| super::filters::percent_encode(text, "", true));
    env.add_function("camel_case_to_snake_case", camel_case_to_snake_case);
    env.add_function("generate_uuid", generate_uuid);
}

fn clock(moment: Moment) -> Value {
    Value::from_object(Clock { moment, is_date: false })
}

fn date(moment: Moment) -> Value {
    let midnight = moment.local().date().to_datetime(jiff::civil::Time::midnight());
    Value::from_object(Clock { moment: Moment::new(midnight, None), is_date: true })
}

fn iso(text: &str) -> Result<Moment, Error> {
    time::parse_iso(text).map(|moment| moment.or_utc().to_utc()).map_err(value_error)
}

fn today_with_timezone(name: &str) -> Result<Value, Error> {
    let zone = jiff::tz::TimeZone::get(name).map_err(|_| value_error(format!("unknown time zone `{name}`")))?;
    Ok(date(Moment::new(crate::clock::now().to_zoned(zone).datetime(), None)))
}

/// Seconds since 1970: whole for a number, with a point for a text.
fn timestamp(value: &Value) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        return Ok(Value::from(iso(text)?.epoch_us() as f64 / 1e6));
    }
    match f64::try_from(value.clone()) {
        Ok(seconds) => Ok(Value::from(seconds.trunc() as i64)),
        Err(_) => Err(type_error(format!("timestamp() needs a number or text, not {}", value.kind()))),
    }
}

fn format_datetime(given: &Arguments) -> Result<String, Error> {
    let (value, format, input_format) = (given.value(0)?, given.text(1)?, given.optional_text(2)?);
    if let Some(clock) = value.downcast_object_ref::<Clock>() {
        return match clock.is_date {
            false => Ok(time::format_pattern(&clock.moment, format)),
            true => Err(type_error("format_datetime() needs a datetime, text or number, not a date")),
        };
    }
    let moment = if let Some(text) = value.as_str() {
        match input_format {
            Some(pattern) => time::parse_pattern(text, pattern).map(Moment::or_utc).map_err(value_error)?,
            None => iso(text)?,
        }
    } else if value.is_integer() {
        time::parse(&value.to_string(), input_format.unwrap_or("%s")).map_err(value_error)?
    } else {
        return Err(type_error(format!("format_datetime() needs a datetime, text or number, not {}", value.kind())));
    };
    Ok(time::format(&moment, format))
}

fn day_delta(given: &Arguments) -> Result<String, Error> {
    let (days, format) = (given.value(0)?, given.optional_text(1)?);
    let days = days.as_i64().ok_or_else(|| type_error("day_delta() needs a whole number of days"))?;
    let moment = Moment::now().plus(Duration::from_seconds(days.saturating_mul(86_400))).map_err(value_error)?;
    Ok(time::format_pattern(&moment, format.unwrap_or("%Y-%m-%dT%H:%M:%S.%f%z")))
}

/// The largest or smallest of the arguments, or of the one list given.
fn extreme(values: &[Value], is_max: bool) -> Result<Value, Error> {
    let items: Vec<Value> = match values {
        [one] if matches!(one.kind(), ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) => {
            one.try_iter()?.collect()
        }
        [] | [_] => return Err(type_error("max() and min() need a list or several values")),
        several => several.to_vec(),
    };
    let mut best: Option<Value> = None;
    for item in items {
        let replaces = match &best {
            Some(present) if is_max => super::operators::is_greater(&item, present)?,
            Some(present) => super::operators::is_greater(present, &item)?,
            None => true,
        };
        if replaces {
            best = Some(item);
        }
    }
    best.ok_or_else(|| value_error("max() and min() of nothing"))
}

fn camel_case_to_snake_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for (index, character) in text.char_indices() {
        if index > 0 && character.is_ascii_uppercase() {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

#[expect(clippy::disallowed_methods, reason = "the manifest asks for a random value to send; it is no id of ours")]
fn generate_uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
