//! Python's values as far as templates produce them: how they print, and what a printed text means as a literal.

use std::fmt::Write as _;

mod literal;

pub(crate) use literal::evaluate;

/// The value of an evaluated template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Python {
    /// `None`.
    None,
    /// `True`, `False`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A whole number of more than 38 digits, as text.
    BigInt(String),
    /// A number with a point.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Python>),
    /// A tuple.
    Tuple(Vec<Python>),
    /// A set, in the order it was written.
    Set(Vec<Python>),
    /// A dictionary in order.
    Dict(Vec<(Python, Python)>),
}

impl Python {
    /// True for what counts as true in Python.
    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::BigInt(_) => true,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Bytes(bytes) => !bytes.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => !items.is_empty(),
            Self::Dict(members) => !members.is_empty(),
        }
    }

    /// What the language's conditions make of it: a fixed set of values is false, everything else true.
    pub(crate) fn is_condition_met(&self) -> bool {
        match self {
            Self::Text(text) => !matches!(text.as_str(), "False" | "false" | "{}" | "[]" | "()" | "" | "0" | "0.0"),
            other => other.is_truthy(),
        }
    }

    /// `str(value)`.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => {
                let mut out = String::new();
                other.write_repr(&mut out);
                out
            }
        }
    }

    fn write_repr(&self, out: &mut String) {
        match self {
            Self::None => out.push_str("None"),
            Self::Bool(true) => out.push_str("True"),
            Self::Bool(false) => out.push_str("False"),
            Self::Int(value) => ignore(write!(out, "{value}")),
            Self::BigInt(digits) => out.push_str(digits),
            Self::Float(value) => out.push_str(&float_text(*value)),
            Self::Text(text) => write_text_repr(text, out),
            Self::Bytes(bytes) => write_bytes_repr(bytes, out),
            Self::List(items) => write_items(items, "[", "]", out),
            Self::Tuple(items) if items.len() == 1 => write_items(items, "(", ",)", out),
            Self::Tuple(items) => write_items(items, "(", ")", out),
            Self::Set(items) if items.is_empty() => out.push_str("set()"),
            Self::Set(items) => write_items(items, "{", "}", out),
            Self::Dict(members) => write_members(members, out),
        }
    }

    /// The value as JSON text, as Python's `json.dumps` would have it: tuples are lists, keys are text.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Appends the value as JSON text.
    pub(crate) fn write_json(&self, out: &mut String) {
        use super::super::json::write_text;
        match self {
            Self::None => out.push_str("null"),
            Self::Bool(value) => ignore(write!(out, "{value}")),
            Self::Int(value) => ignore(write!(out, "{value}")),
            Self::BigInt(digits) => out.push_str(digits),
            Self::Float(value) if value.is_finite() => out.push_str(&float_text(*value)),
            Self::Float(_) => out.push_str("null"),
            Self::Text(text) => write_text(text, out),
            Self::Bytes(bytes) => write_text(&String::from_utf8_lossy(bytes), out),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Dict(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    write_text(&key.key_text(), out);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// A dictionary key as JSON names it.
    pub(crate) fn key_text(&self) -> String {
        match self {
            Self::None => "null".into(),
            Self::Bool(value) => value.to_string(),
            other => other.text(),
        }
    }

    /// Reads a JSON value.
    pub(crate) fn from_json(slice: super::super::json::Slice<'_>) -> Self {
        match slice.first() {
            b'n' => Self::None,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Text(slice.as_text().unwrap_or_default().into_owned()),
            b'[' => Self::List(slice.items().into_iter().map(Self::from_json).collect()),
            b'{' => {
                let members = slice.members().into_iter();
                Self::Dict(members.map(|(key, value)| (Self::Text(key), Self::from_json(value))).collect())
            }
            _ => Self::number(slice.text()),
        }
    }

    /// Reads a JSON number: a point or an exponent makes it a float.
    pub(crate) fn number(text: &str) -> Self {
        if text.contains(['.', 'e', 'E']) {
            return Self::Float(text.parse().unwrap_or(f64::NAN));
        }
        text.parse().map_or_else(|_| Self::BigInt(text.to_owned()), Self::Int)
    }
}

impl From<&serde_json::Value> for Python {
    fn from(value: &serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Self::None,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::number(&number.to_string()),
            Value::String(text) => Self::Text(text.clone()),
            Value::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Value::Object(members) => {
                Self::Dict(members.iter().map(|(key, value)| (Self::Text(key.clone()), Self::from(value))).collect())
            }
        }
    }
}

/// Writing to a `String` cannot fail.
fn ignore(written: std::fmt::Result) {
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

fn write_items(items: &[Python], open: &str, close: &str, out: &mut String) {
    out.push_str(open);
    for (index, item) in items.iter().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        item.write_repr(out);
    }
    out.push_str(close);
}

fn write_members(members: &[(Python, Python)], out: &mut String) {
    out.push('{');
    for (index, (key, value)) in members.iter().enumerate() {
        out.push_str(if index > 0 { ", " } else { "" });
        key.write_repr(out);
        out.push_str(": ");
        value.write_repr(out);
    }
    out.push('}');
}

/// `repr` of a text: single quotes unless only double ones save escapes.
pub(crate) fn write_text_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            found if found == quote => {
                out.push('\\');
                out.push(found);
            }
            found if found < ' ' || ('\u{7f}'..='\u{a0}').contains(&found) || found == '\u{ad}' => {
                ignore(write!(out, "\\x{:02x}", u32::from(found)));
            }
            '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{feff}' => {
                ignore(write!(out, "\\u{:04x}", u32::from(character)));
            }
            found => out.push(found),
        }
    }
    out.push(quote);
}

fn write_bytes_repr(bytes: &[u8], out: &mut String) {
    out.push_str("b'");
    for &byte in bytes {
        match byte {
            b'\'' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            other => ignore(write!(out, "\\x{other:02x}")),
        }
    }
    out.push('\'');
}

/// `repr` of a float: the shortest digits, an exponent below 1e-4 and from 1e16.
pub(crate) fn float_text(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_in_python() {
        let facts = [
            (1.0, "1.0"),
            (1e-7, "1e-07"),
            (1e20, "1e+20"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (0.0001, "0.0001"),
            (123_456_789.0, "123456789.0"),
            (-2.5, "-2.5"),
            (1.5e-10, "1.5e-10"),
            (0.0, "0.0"),
            (1e100, "1e+100"),
        ];
        for (value, text) in facts {
            assert_eq!(float_text(value), text);
        }
    }

    #[test]
    fn containers_print_as_in_python_and_as_json() {
        let value = evaluate(r#"[1, "b'c", None, 1.5, 1e-7, True, (1,), {'k': 'v\n'}]"#).unwrap();
        assert_eq!(value.text(), r#"[1, "b'c", None, 1.5, 1e-07, True, (1,), {'k': 'v\n'}]"#);
        assert_eq!(value.to_json(), r#"[1,"b'c",null,1.5,1e-07,true,[1],{"k":"v\n"}]"#);
    }
}
