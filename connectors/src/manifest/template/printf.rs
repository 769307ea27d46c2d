//! `'…%s…' % values`.

use minijinja::{Error, Value, value::ValueKind};

use super::{
    bounds::allow_text,
    operators::{type_error, value_error},
    values::{is_list, text, write_repr},
};

/// Digits behind a point that can be asked for.
const MAX_DIGITS: usize = 1000;

/// Fills the placeholders of `pattern` with `values`: a tuple's items, a mapping's members, or one value.
pub(super) fn format(pattern: &str, values: &Value) -> Result<String, Error> {
    let is_tuple = values.kind() == ValueKind::Seq && !is_list(values);
    let mut left = if is_tuple { values.try_iter()?.collect() } else { vec![values.clone()] }.into_iter();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, after) = name(rest);
        let flags_end = after
            .find(|c: char| c.is_ascii_alphabetic() || c == '%')
            .ok_or_else(|| value_error("incomplete format"))?;
        let (flags, kind) = (&after[..flags_end], after.as_bytes()[flags_end]);
        rest = &after[flags_end + 1..];
        if kind == b'%' {
            out.push('%');
            continue;
        }
        let value = match name {
            Some(name) => values.get_attr(name)?,
            None => left.next().ok_or_else(|| type_error("not enough arguments for format string"))?,
        };
        out.push_str(&placed(&value, kind, flags)?);
        allow_text(out.len())?;
    }
    out.push_str(rest);
    let is_used_up = left.next().is_none() || values.kind() == ValueKind::Map;
    if is_used_up { Ok(out) } else { Err(type_error("not all arguments converted during string formatting")) }
}

/// `(name)` in front of the flags.
fn name(rest: &str) -> (Option<&str>, &str) {
    match rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
        Some((name, after)) => (Some(name), after),
        None => (None, rest),
    }
}

fn placed(value: &Value, kind: u8, flags: &str) -> Result<String, Error> {
    let number =
        || f64::try_from(value.clone()).map_err(|_| type_error(format!("a number is required, not {}", value.kind())));
    let (width, precision) =
        flags.split_once('.').map_or((flags, None), |(width, precision)| (width, precision.parse::<usize>().ok()));
    let body = match kind {
        b's' => text(value),
        b'r' => {
            let mut out = String::new();
            write_repr(value, &mut out);
            out
        }
        b'd' | b'i' | b'u' => match i128::try_from(value.clone()) {
            Ok(whole) => whole.to_string(),
            Err(_) => format!("{:.0}", number()?.trunc()),
        },
        b'f' | b'F' if precision.is_some_and(|digits| digits > MAX_DIGITS) => {
            return Err(value_error(format!("a number may have {MAX_DIGITS} digits behind the point, not more")));
        }
        b'f' | b'F' => format!("{:.*}", precision.unwrap_or(6), number()?),
        b'x' => format!("{:x}", number()? as i64),
        _ => return Err(value_error(format!("unsupported format character `{}`", char::from(kind)))),
    };
    let is_left = width.starts_with('-');
    let fill = if width.starts_with('0') { '0' } else { ' ' };
    let missing = width
        .trim_start_matches(['-', '0', '+', ' '])
        .parse::<usize>()
        .unwrap_or(0)
        .saturating_sub(body.chars().count());
    let padding: String = std::iter::repeat_n(fill, missing.min(1000)).collect();
    Ok(if is_left { body + &padding } else { padding + &body })
}
