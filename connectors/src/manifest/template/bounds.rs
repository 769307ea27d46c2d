//! What templates may make: a short template can name the same list a thousand times inside itself, and printing, comparing
//! or dropping it would then take all memory, or all of the stack.

use minijinja::{
    Environment, Error, State, Value, filters,
    value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs},
};

use super::{
    operators::value_error,
    values::{Lazy, text},
};

/// Most bytes that a list or mapping made by a template may hold, everything inside it counted.
const MAX_BYTES: usize = 80 << 20;
/// Levels of lists and mappings inside each other.
const MAX_LEVELS: usize = 100;
/// Longest text that one operation may make.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// What a value counts as beside its text.
const SLOT_BYTES: usize = 32;
/// Bytes of work that one unit of fuel pays for, as in the engine.
const BYTES_PER_STEP: usize = 64;

/// Registers what the rewritten templates call for `[…]`, `(…)` and `{…}`, and the engine's own makers of lists.
pub(super) fn register(env: &mut Environment<'static>) {
    env.add_function("__list", |state: &State<'_, '_>, items: Rest<Value>| weighed(state, Value::from(items.0)));
    env.add_function("__tuple", |state: &State<'_, '_>, items: Rest<Value>| {
        weighed(state, Value::from(Tuple::from(items.0)))
    });
    env.add_function("__map", |state: &State<'_, '_>, parts: Rest<Value>| {
        // A key is hashed as a whole.
        let pairs: Vec<(Value, Value)> = parts.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        weighed(state, Value::from_pairs(pairs))
    });
    env.add_function("dict", |state: &State<'_, '_>, value: Option<Value>, members: Kwargs| {
        weighed(state, minijinja::functions::dict(value, members)?)
    });
    env.add_filter("map", |state: &mut State<'_, '_>, value: Value, given: Rest<ValueOrKwargs>| {
        let made = Value::from(filters::map(state, value, given)?);
        weighed(state, made)
    });
    env.add_filter("slice", |state: &State<'_, '_>, value: Value, count: usize, fill: Option<Value>| {
        allow_items(count)?;
        weighed(state, filters::slice(state, value, count, fill)?)
    });
    // Neither is in the language; both make lists of lists.
    for name in ["zip", "chain"] {
        env.remove_filter(name);
    }
}

/// `value`, if it is not too large.
///
/// # Errors
/// A `ValueError` for one that holds too much or too deep; out of fuel.
pub(super) fn weighed(state: &State<'_, '_>, value: Value) -> Result<Value, Error> {
    let mut left = MAX_BYTES;
    let is_light = weigh(&value, 0, &mut left);
    state.consume_fuel(((MAX_BYTES - left) / BYTES_PER_STEP / 8) as u64)?;
    if is_light {
        return Ok(value);
    }
    Err(value_error(format!(
        "a template may make lists and mappings of {} MiB and {MAX_LEVELS} levels, not more",
        MAX_BYTES >> 20
    )))
}

/// Takes the weight of `value` from `left`; false when there is not enough left.
fn weigh(value: &Value, level: usize, left: &mut usize) -> bool {
    let own = match value.downcast_object_ref::<Lazy>() {
        Some(lazy) => return take(left, lazy.size_bytes()),
        None => value.as_str().map_or(0, str::len),
    };
    if level > MAX_LEVELS || !take(left, SLOT_BYTES + own) {
        return false;
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter().is_ok_and(|mut items| items.all(|item| weigh(&item, level + 1, left)))
        }
        ValueKind::Map => value.try_iter().is_ok_and(|mut keys| {
            keys.all(|key| {
                let member = value.get_item(&key).unwrap_or_default();
                weigh(&key, level + 1, left) && weigh(&member, level + 1, left)
            })
        }),
        _ => true,
    }
}

fn take(left: &mut usize, bytes: usize) -> bool {
    let rest = left.checked_sub(bytes);
    *left = rest.unwrap_or(0);
    rest.is_some()
}

/// Refuses to make a list of more items.
///
/// # Errors
/// A `ValueError`.
pub(super) fn allow_items(count: usize) -> Result<(), Error> {
    const MAX_ITEMS: usize = 100_000;
    if count <= MAX_ITEMS {
        return Ok(());
    }
    Err(value_error(format!("a template may make {MAX_ITEMS} items at once, not {count}")))
}

/// Refuses to make a longer text.
///
/// # Errors
/// A `ValueError`.
pub(super) fn allow_text(size_bytes: usize) -> Result<(), Error> {
    if size_bytes <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(value_error(format!("a template may make texts of {} MiB, not more", MAX_TEXT_BYTES >> 20)))
}

/// `parts` with `separator` between them.
///
/// # Errors
/// Those of the parts; a `ValueError` for a text that is too long.
pub(super) fn joined(parts: impl Iterator<Item = Result<String, Error>>, separator: &str) -> Result<String, Error> {
    let mut out = String::new();
    for (index, part) in parts.enumerate() {
        let part = part?;
        let separator = if index > 0 { separator } else { "" };
        allow_text(out.len().saturating_add(separator.len()).saturating_add(part.len()))?;
        out.push_str(separator);
        out.push_str(&part);
    }
    Ok(out)
}

/// `own.replace(old, new)`, with `count` at most that many times.
///
/// # Errors
/// A `ValueError` for a text that is too long.
pub(super) fn replaced(own: &str, old: &str, new: &str, count: Option<usize>) -> Result<String, Error> {
    if new.len() > old.len() {
        let found = own.matches(old).count().min(count.unwrap_or(usize::MAX));
        allow_text(own.len().saturating_add(found.saturating_mul(new.len() - old.len())))?;
    }
    Ok(count.map_or_else(|| own.replace(old, new), |count| own.replacen(old, new, count)))
}

/// Refuses `pattern.format(…)` where widths or repeated values would make a long text.
///
/// # Errors
/// A `ValueError`.
pub(super) fn allow_format(pattern: &str, args: &[Value]) -> Result<(), Error> {
    const MAX_WIDTH_DIGITS: u32 = 3;
    let longest_number = pattern.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if longest_number > MAX_WIDTH_DIGITS as usize {
        return Err(value_error("format(): a width may have three digits, not more"));
    }
    let has_inner = pattern.split('{').skip(1).any(|rest| rest.contains(':') && !rest.contains('}'));
    if has_inner {
        return Err(value_error("format(): a width cannot come from another field"));
    }
    // Names lead into the arguments: none gives more than all of its own text.
    let longest = args.iter().map(|arg| text(arg).len()).max().unwrap_or(0).max(10_usize.pow(MAX_WIDTH_DIGITS));
    allow_text(pattern.matches('{').count().saturating_mul(longest))
}
