//! Python's operators on template values.

use std::cmp::Ordering;

use minijinja::{Environment, Error, ErrorKind, State, Value, value::ValueKind};

use super::{
    bounds::{allow_text, weighed},
    values::{Clock, Length, is_list, text},
};

/// Texts and lists made by `*` may not grow beyond this.
const MAX_REPEATED: usize = 100_000;

type Outcome = Result<Value, Error>;

/// Registers the operators under the names that the rewritten templates call.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_function("__lt", |a: Value, b: Value| compare(&a, &b, "<").map(|order| order == Some(Ordering::Less)));
    env.add_function("__gt", |a: Value, b: Value| compare(&a, &b, ">").map(|order| order == Some(Ordering::Greater)));
    env.add_function("__le", |a: Value, b: Value| {
        compare(&a, &b, "<=").map(|order| matches!(order, Some(Ordering::Less | Ordering::Equal)))
    });
    env.add_function("__ge", |a: Value, b: Value| {
        compare(&a, &b, ">=").map(|order| matches!(order, Some(Ordering::Greater | Ordering::Equal)))
    });
    env.add_function("__in", |a: Value, b: Value| contains(&b, &a));
    env.add_function("__add", |state: &State<'_, '_>, a: Value, b: Value| made(state, add(&a, &b)?));
    env.add_function("__sub", |a: Value, b: Value| subtract(&a, &b));
    env.add_function("__mul", |state: &State<'_, '_>, a: Value, b: Value| made(state, multiply(&a, &b)?));
    env.add_function("__div", |a: Value, b: Value| divide(&a, &b));
    env.add_function("__floordiv", |a: Value, b: Value| floor_divide(&a, &b));
    env.add_function("__mod", |a: Value, b: Value| remainder(&a, &b));
    env.add_function("__pow", |a: Value, b: Value| power(&a, &b));
    env.add_function("__cat", |a: Value, b: Value| {
        let (a, b) = (text(&a), text(&b));
        allow_text(a.len().saturating_add(b.len())).map(|()| Value::from(a + &b))
    });
    env.add_function("__neg", |a: Value| match Number::of(&a) {
        Some(Number::Int(value)) => value.checked_neg().map(Value::from).ok_or_else(too_large),
        Some(Number::Float(value)) => Ok(Value::from(-value)),
        None => Err(operand_error("-", &a, None)),
    });
}

/// A list that an operator made is not to be larger than any other.
fn made(state: &State<'_, '_>, value: Value) -> Outcome {
    if value.kind() == ValueKind::Seq { weighed(state, value) } else { Ok(value) }
}

/// A `TypeError`: the reference then takes the template's own text as the value.
pub(super) fn type_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("TypeError: {}", message.into()))
}

/// An error that ends the evaluation, such as a `ValueError`.
pub(super) fn value_error(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("ValueError: {}", message.into()))
}

fn too_large() -> Error {
    value_error("the result is too large a number")
}

fn operand_error(operator: &str, a: &Value, b: Option<&Value>) -> Error {
    if a.is_undefined() || b.is_some_and(Value::is_undefined) {
        return Error::new(ErrorKind::UndefinedError, format!("`{operator}` on a missing value"));
    }
    let other = b.map(|b| format!(" and {}", b.kind())).unwrap_or_default();
    type_error(format!("`{operator}` does not work on {}{other}", a.kind()))
}

/// Numbers as Python has them; truth values count as 0 and 1.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value.kind() {
            ValueKind::Bool => Some(Self::Int(i128::from(value.is_true()))),
            ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok().map(Self::Int),
            ValueKind::Number => f64::try_from(value.clone()).ok().map(Self::Float),
            _ => None,
        }
    }

    fn as_float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Both as numbers, for operators that need nothing else.
fn numbers(a: &Value, b: &Value) -> Option<(Number, Number)> {
    Some((Number::of(a)?, Number::of(b)?))
}

fn compare(a: &Value, b: &Value, operator: &str) -> Result<Option<Ordering>, Error> {
    if let Some((a, b)) = numbers(a, b) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.as_float().partial_cmp(&b.as_float()),
        });
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        return Ok(Some(a.cmp(b)));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Clock>(), b.downcast_object_ref::<Clock>())
        && a.is_date == b.is_date
    {
        return Ok(Some(a.moment.cmp(&b.moment)));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Length>(), b.downcast_object_ref::<Length>()) {
        return Ok(Some((a.0.months, a.0.micros).cmp(&(b.0.months, b.0.micros))));
    }
    if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq && is_list(a) == is_list(b) {
        return compare_items(a, b, operator);
    }
    Err(operand_error(operator, a, Some(b)))
}

fn compare_items(a: &Value, b: &Value, operator: &str) -> Result<Option<Ordering>, Error> {
    let (mut left, mut right) = (a.try_iter()?, b.try_iter()?);
    loop {
        match (left.next(), right.next()) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) => return compare(&a, &b, operator),
            (None, None) => return Ok(Some(Ordering::Equal)),
            (None, Some(_)) => return Ok(Some(Ordering::Less)),
            (Some(_), None) => return Ok(Some(Ordering::Greater)),
        }
    }
}

fn contains(container: &Value, item: &Value) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::Undefined => Ok(false),
        ValueKind::String => match (container.as_str(), item.as_str()) {
            (Some(container), Some(item)) => Ok(container.contains(item)),
            _ => Err(operand_error("in", item, Some(container))),
        },
        ValueKind::Map => Ok(container.as_object().is_some_and(|object| object.get_value(item).is_some())),
        ValueKind::Seq | ValueKind::Iterable => Ok(container.try_iter()?.any(|found| found == *item)),
        _ => Err(type_error(format!("{} cannot be searched with `in`", container.kind()))),
    }
}

fn add(a: &Value, b: &Value) -> Outcome {
    if let Some((a, b)) = numbers(a, b) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Value::from(a.saturating_add(b)),
            (a, b) => Value::from(a.as_float() + b.as_float()),
        });
    }
    if let (Some(a), Some(b)) = (a.as_str(), b.as_str()) {
        allow_text(a.len().saturating_add(b.len()))?;
        return Ok(Value::from(format!("{a}{b}")));
    }
    if a.kind() == ValueKind::Seq && b.kind() == ValueKind::Seq && is_list(a) == is_list(b) {
        return sequence(a.try_iter()?.chain(b.try_iter()?).collect(), is_list(a));
    }
    match (a.downcast_object_ref::<Clock>(), b.downcast_object_ref::<Length>()) {
        (Some(clock), Some(length)) => clock.plus(length.0).map(Value::from_object).map_err(value_error),
        _ => match (a.downcast_object_ref::<Length>(), b.downcast_object_ref::<Length>()) {
            (Some(a), Some(b)) => Ok(Value::from_object(Length(sum(a.0, b.0)))),
            (Some(_), None) if b.downcast_object_ref::<Clock>().is_some() => add(b, a),
            _ => Err(operand_error("+", a, Some(b))),
        },
    }
}

fn sum(a: super::super::time::Duration, b: super::super::time::Duration) -> super::super::time::Duration {
    super::super::time::Duration {
        months: a.months.saturating_add(b.months),
        micros: a.micros.saturating_add(b.micros),
    }
}

fn sequence(items: Vec<Value>, is_list: bool) -> Outcome {
    Ok(if is_list { Value::from(items) } else { Value::from(minijinja::value::Tuple::from(items)) })
}

fn subtract(a: &Value, b: &Value) -> Outcome {
    if let Some((a, b)) = numbers(a, b) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Value::from(a.saturating_sub(b)),
            (a, b) => Value::from(a.as_float() - b.as_float()),
        });
    }
    let length = b.downcast_object_ref::<Length>();
    if let (Some(clock), Some(length)) = (a.downcast_object_ref::<Clock>(), length) {
        return clock.plus(length.0.negated()).map(Value::from_object).map_err(value_error);
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Clock>(), b.downcast_object_ref::<Clock>()) {
        let micros = a.moment.epoch_us() - b.moment.epoch_us();
        return Ok(Value::from_object(Length(super::super::time::Duration { months: 0, micros })));
    }
    if let (Some(a), Some(b)) = (a.downcast_object_ref::<Length>(), length) {
        return Ok(Value::from_object(Length(sum(a.0, b.0.negated()))));
    }
    Err(operand_error("-", a, Some(b)))
}

fn multiply(a: &Value, b: &Value) -> Outcome {
    if let Some((a, b)) = numbers(a, b) {
        return Ok(match (a, b) {
            (Number::Int(a), Number::Int(b)) => Value::from(a.saturating_mul(b)),
            (a, b) => Value::from(a.as_float() * b.as_float()),
        });
    }
    let length = |value: &Value| value.downcast_object_ref::<Length>().map(|length| length.0);
    if let (Some(length), Some(Number::Int(times))) = (length(a).or(length(b)), Number::of(a).or(Number::of(b))) {
        return length
            .times(times)
            .map(|length| Value::from_object(Length(length)))
            .ok_or_else(|| value_error("too long"));
    }
    let (thing, times) = match (Number::of(a), Number::of(b)) {
        (None, Some(Number::Int(times))) => (a, times),
        (Some(Number::Int(times)), None) => (b, times),
        _ => return Err(operand_error("*", a, Some(b))),
    };
    let times = usize::try_from(times).unwrap_or(0);
    let size = thing.len().unwrap_or(1).saturating_mul(times);
    if size > MAX_REPEATED {
        return Err(value_error(format!("`*` would make {size} items; {MAX_REPEATED} are allowed")));
    }
    if let Some(text) = thing.as_str() {
        return Ok(Value::from(text.repeat(times)));
    }
    if thing.kind() == ValueKind::Seq {
        let items: Vec<Value> = thing.try_iter()?.collect();
        let repeated = std::iter::repeat_n(items, times).flatten().collect();
        return sequence(repeated, is_list(thing));
    }
    Err(operand_error("*", a, Some(b)))
}

fn checked(operator: &str, a: &Value, b: &Value) -> Result<(Number, Number), Error> {
    let (a, b) = numbers(a, b).ok_or_else(|| operand_error(operator, a, Some(b)))?;
    if b.as_float() == 0.0 { Err(value_error("division by zero")) } else { Ok((a, b)) }
}

fn divide(a: &Value, b: &Value) -> Outcome {
    checked("/", a, b).map(|(a, b)| Value::from(a.as_float() / b.as_float()))
}

fn floor_divide(a: &Value, b: &Value) -> Outcome {
    Ok(match checked("//", a, b)? {
        (Number::Int(a), Number::Int(b)) => {
            let whole = a.checked_div_euclid(b).ok_or_else(too_large)?;
            Value::from(whole - i128::from(b < 0 && a.rem_euclid(b) != 0))
        }
        (a, b) => Value::from((a.as_float() / b.as_float()).floor()),
    })
}

/// The remainder takes the divisor's sign; on text it fills in `%s` and its kin.
fn remainder(a: &Value, b: &Value) -> Outcome {
    if let Some(pattern) = a.as_str() {
        return super::printf::format(pattern, b).map(Value::from);
    }
    Ok(match checked("%", a, b)? {
        (Number::Int(a), Number::Int(b)) => {
            let rest = a.checked_rem(b).ok_or_else(too_large)?;
            Value::from(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
        }
        (a, b) => Value::from(a.as_float() - b.as_float() * (a.as_float() / b.as_float()).floor()),
    })
}

fn power(a: &Value, b: &Value) -> Outcome {
    let (a, b) = numbers(a, b).ok_or_else(|| operand_error("**", a, Some(b)))?;
    if let (Number::Int(base), Number::Int(exponent)) = (a, b)
        && let Ok(exponent) = u32::try_from(exponent)
    {
        return base.checked_pow(exponent).map(Value::from).ok_or_else(too_large);
    }
    Ok(Value::from(a.as_float().powf(b.as_float())))
}

/// True when `a` comes after `b`.
pub(super) fn is_greater(a: &Value, b: &Value) -> Result<bool, Error> {
    compare(a, b, ">").map(|order| order == Some(Ordering::Greater))
}
