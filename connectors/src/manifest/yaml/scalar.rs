//! Plain scalars as YAML 1.1 reads them.

use super::Data;

/// What a plain (unquoted) scalar means.
///
/// Dates stay text: the published manifests never need them as dates, and JSON has none.
pub(super) fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Data::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Data::Bool(false),
        _ => {
            int(text).map(Data::Int).or_else(|| float(text).map(Data::Float)).unwrap_or_else(|| Data::Text(text.into()))
        }
    }
}

fn split_sign(text: &str) -> (i128, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    }
}

/// Binary, octal (leading zero), decimal, hexadecimal and base 60, all with `_` anywhere.
fn int(text: &str) -> Option<i128> {
    let (sign, digits) = split_sign(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if digits.contains(':') {
        return sexagesimal(digits).map(|value| sign * value);
    }
    let clean = digits.replace('_', "");
    let value = if let Some(binary) = clean.strip_prefix("0b") {
        i128::from_str_radix(binary, 2).ok()?
    } else if let Some(hex) = clean.strip_prefix("0x") {
        i128::from_str_radix(hex, 16).ok()?
    } else if clean.len() > 1 && clean.starts_with('0') {
        i128::from_str_radix(&clean, 8).ok()?
    } else {
        clean.parse().ok()?
    };
    Some(sign * value)
}

/// `1:30` is 90; the first part starts with 1 to 9, the others are below 60.
fn sexagesimal(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let first = parts.next()?.replace('_', "");
    if !first.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return None;
    }
    parts.try_fold(first.parse::<i128>().ok()?, |value, part| {
        let is_short = matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        let part: i128 = is_short.then(|| part.parse().ok())??;
        (part < 60).then_some(value * 60 + part)
    })
}

/// A point is required, and an exponent needs its sign: `1e3` is text.
fn float(text: &str) -> Option<f64> {
    let (sign, digits) = split_sign(text);
    let sign = sign as f64;
    match digits {
        ".inf" | ".Inf" | ".INF" => return Some(sign * f64::INFINITY),
        ".nan" | ".NaN" | ".NAN" if digits.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    let (whole, rest) = digits.split_once('.')?;
    if whole.is_empty() && !rest.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (fraction, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let digits_only = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let exponent_ok = exponent.is_none_or(|part| {
        part.len() > 1 && part.starts_with(['+', '-']) && part[1..].bytes().all(|byte| byte.is_ascii_digit())
    });
    let whole_ok = whole.is_empty() || whole.starts_with(|c: char| c.is_ascii_digit());
    if !(whole_ok && exponent_ok && digits_only(whole) && digits_only(fraction)) {
        return None;
    }
    digits.replace('_', "").parse::<f64>().ok().map(|value| sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts taken from PyYAML 6.0 (`safe_load`), as JSON.
    #[test]
    fn scalars_read_as_the_published_manifests_expect() {
        let facts = [
            ("yes", "true"),
            ("No", "false"),
            ("on", "true"),
            ("OFF", "false"),
            ("y", "\"y\""),
            ("n", "\"n\""),
            ("TRUE", "true"),
            ("~", "null"),
            ("NULL", "null"),
            ("nUll", "\"nUll\""),
            ("12", "12"),
            ("+12", "12"),
            ("-1_000", "-1000"),
            ("017", "15"),
            ("08", "\"08\""),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("0o17", "\"0o17\""),
            ("1:30", "90"),
            ("1e3", "\"1e3\""),
            ("1.0", "1.0"),
            ("1.5e+3", "1500.0"),
            ("1.5e3", "\"1.5e3\""),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("6.0.0", "\"6.0.0\""),
            ("2024-01-01", "\"2024-01-01\""),
            ("12a", "\"12a\""),
            ("-", "\"-\""),
            (".", "\".\""),
            ("1_0.0_1", "10.01"),
        ];
        for (text, json) in facts {
            let node = super::super::Node::new(plain(text), super::super::Place::default());
            assert_eq!(node.to_json().to_string(), json, "{text}");
        }
    }
}
