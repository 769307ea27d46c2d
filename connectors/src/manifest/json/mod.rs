//! JSON as text: slices that are looked into only where somebody asks.

use std::borrow::Cow;

pub(crate) mod scan;

pub(crate) use scan::{Scan, Scanner};

/// A slice of valid JSON text: one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice<'a>(&'a str);

impl<'a> Slice<'a> {
    /// Wraps text that a [`Scanner`] has passed over.
    pub(crate) fn checked(text: &'a str) -> Self {
        Self(text.trim())
    }

    /// Checks that `text` is one JSON value.
    pub(crate) fn parse(text: &'a str) -> Scan<Self> {
        let mut scanner = Scanner::new(text);
        let range = scanner.value()?;
        scanner.end()?;
        Ok(Self(&text[range]))
    }

    /// The text.
    pub(crate) fn text(self) -> &'a str {
        self.0
    }

    /// The first byte, which tells the kind.
    pub(crate) fn first(self) -> u8 {
        self.0.as_bytes().first().copied().unwrap_or(b'n')
    }

    /// True for `{`.
    pub(crate) fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// True for `null`.
    pub(crate) fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// The member called `name`; the last one when it occurs twice, as parsers have it.
    pub(crate) fn get(self, name: &str) -> Option<Slice<'a>> {
        if !self.is_object() {
            return None;
        }
        let mut found = None;
        let walked = Scanner::new(self.0).object(|scanner, key| {
            let range = scanner.value()?;
            if key.is(name) {
                found = Some(range);
            }
            Ok(())
        });
        debug_assert!(walked.is_ok(), "only checked text gets here");
        found.map(|range| Slice(&self.0[range]))
    }

    /// The value at `path`: member names, and indexes of arrays in decimal.
    pub(crate) fn at(self, path: &[String]) -> Option<Slice<'a>> {
        path.iter().try_fold(self, |value, step| match value.first() {
            b'[' => value.items().into_iter().nth(step.parse().ok()?),
            _ => value.get(step),
        })
    }

    /// The items of an array; none for other kinds.
    pub(crate) fn items(self) -> Vec<Slice<'a>> {
        let mut items = Vec::new();
        if self.first() == b'[' {
            let walked = Scanner::new(self.0).array(|scanner, _| {
                items.push(Slice(&self.0[scanner.value()?]));
                Ok(())
            });
            debug_assert!(walked.is_ok(), "only checked text gets here");
        }
        items
    }

    /// The members of an object in order, a repeated name once with its last value; none for other kinds.
    pub(crate) fn members(self) -> Vec<(String, Slice<'a>)> {
        let mut members: Vec<(String, Slice<'a>)> = Vec::new();
        if self.is_object() {
            let walked = Scanner::new(self.0).object(|scanner, key| {
                let value = Slice(&self.0[scanner.value()?]);
                members.push((key.decode(), value));
                Ok(())
            });
            debug_assert!(walked.is_ok(), "only checked text gets here");
        }
        drop_repeated(members)
    }

    /// A string's content in clear; `None` for other kinds.
    pub(crate) fn as_text(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if inner.contains('\\') { Cow::Owned(decode_text(inner)) } else { Cow::Borrowed(inner) })
    }

    /// True for what counts as false in Python: null, false, zero, empty text, empty containers.
    pub(crate) fn is_falsy(self) -> bool {
        match self.first() {
            b'n' | b'f' => true,
            b't' => false,
            b'"' => self.0.len() == 2,
            b'{' | b'[' => self.0[1..self.0.len() - 1].trim().is_empty(),
            _ => self.0.parse::<f64>().is_ok_and(|number| number == 0.0),
        }
    }
}

fn drop_repeated(members: Vec<(String, Slice<'_>)>) -> Vec<(String, Slice<'_>)> {
    let mut places = std::collections::HashMap::with_capacity(members.len());
    let mut kept: Vec<(String, Slice<'_>)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match places.get(&name) {
            Some(&place) => {
                let slot: &mut (String, Slice<'_>) = &mut kept[place];
                slot.1 = value;
            }
            None => {
                places.insert(name.clone(), kept.len());
                kept.push((name, value));
            }
        }
    }
    kept
}

/// Decodes the inside of a JSON string. A lone surrogate becomes the replacement character.
pub(crate) fn decode_text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(kind) = rest.chars().next() else { break };
        rest = &rest[kind.len_utf8()..];
        match kind {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => rest = decode_unit(rest, &mut out),
            other => out.push(other),
        }
    }
    out.push_str(rest);
    out
}

/// Decodes `XXXX`, and a second `\uXXXX` when the first is the upper half of a pair; returns what follows.
fn decode_unit<'a>(rest: &'a str, out: &mut String) -> &'a str {
    let unit = |text: &str| text.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let Some(first) = unit(rest) else { return rest };
    let rest = &rest[4..];
    if (0xD800..0xDC00).contains(&first)
        && let Some(second) = rest.strip_prefix("\\u").and_then(unit)
        && (0xDC00..0xE000).contains(&second)
    {
        let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        return &rest[6..];
    }
    out.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    rest
}

/// Appends `text` as a JSON string.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            plain => out.push(plain),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_without_reading_the_rest_into_memory() {
        let slice = Slice::parse(
            r#" {"a": {"b": [1, {"c": "x\u00e9\ud83d\ude00"}]}, "big": 123456789012345678901, "n": 1.0} "#,
        )
        .unwrap();
        let path = ["a", "b", "1", "c"].map(String::from);
        assert_eq!(slice.at(&path).unwrap().as_text().unwrap(), "xé😀");
        assert_eq!(slice.get("big").unwrap().text(), "123456789012345678901");
        assert_eq!(slice.get("n").unwrap().text(), "1.0");
        assert!(slice.get("missing").is_none());
    }

    #[test]
    fn the_last_of_two_members_with_one_name_counts() {
        let slice = Slice::parse(r#"{"a":1,"b":2,"\u0061":3}"#).unwrap();
        assert_eq!(slice.get("a").unwrap().text(), "3");
        let names: Vec<_> = slice.members().into_iter().map(|(name, value)| (name, value.text().to_owned())).collect();
        assert_eq!(names, [("a".into(), "3".into()), ("b".into(), "2".into())]);
    }

    #[test]
    fn falsy_is_what_python_calls_false() {
        for text in ["null", "false", "0", "0.0", "-0", "\"\"", "{}", "[ ]"] {
            assert!(Slice::parse(text).unwrap().is_falsy(), "{text}");
        }
        for text in ["true", "1", "\"0\"", "[0]", "{\"a\":null}"] {
            assert!(!Slice::parse(text).unwrap().is_falsy(), "{text}");
        }
    }
}
