//! Record keys as text, for URLs and people.
//!
//! With one value in the primary key, an integer and a string stand for themselves. Where that would be ambiguous (a
//! string that looks like an integer, starts with `[`, or is empty), for every other kind of value, and with several
//! values, the text is a JSON array of the values. The key of a record without primary key is its 32 hexadecimal
//! digits; where a value of the key is null, the array ends with these digits. Every text reads as at most one key, and
//! every key's text reads as that key.

use std::fmt;

use serde_json::value::RawValue;

use super::{
    codec::{hex, unhex},
    digest::KEY_DIGEST_BYTES,
    key::{KeyPart, RecordKey, integer_digits},
};
use crate::error::{Error, ErrorKind, Result};

impl RecordKey {
    /// Reads a key's text; `arity` is the number of values in the stream's primary key.
    ///
    /// # Errors
    /// `Invalid` when no key of that arity has such a text. With one value, every text is a key.
    pub fn parse(text: &str, arity: usize) -> Result<Self> {
        if arity == 0 {
            let digest = digest_of(text).ok_or_else(|| no_key(text, arity))?;
            return Ok(Self::from_digest(digest));
        }
        let values: Option<Vec<&RawValue>> = text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten();
        if let Some((values, digest)) = values.as_ref().and_then(|values| incomplete(values, arity)) {
            let key = Self::from_json(values.iter().map(|value| value.get().as_bytes()))?;
            return Ok(key.and_digest(digest));
        }
        match values.filter(|values| values.len() == arity) {
            Some(values) => Self::from_json(values.iter().map(|value| value.get().as_bytes())),
            None if arity > 1 => Err(no_key(text, arity)),
            None if integer_digits(text.as_bytes()).is_some() => Self::from_json([text.as_bytes()]),
            None => Self::from_text(text),
        }
    }

    /// The keys that a person may mean by `text`, most likely first: what [`RecordKey::parse`] reads, and for digits the
    /// string of these digits, since many products write their ids so.
    ///
    /// # Errors
    /// Those of [`RecordKey::parse`].
    pub fn candidates(text: &str, arity: usize) -> Result<Vec<Self>> {
        let mut keys = vec![Self::parse(text, arity)?];
        if arity == 1 && integer_digits(text.as_bytes()).is_some() {
            keys.push(Self::from_text(text)?);
        }
        Ok(keys)
    }

    fn from_text(text: &str) -> Result<Self> {
        Self::from_json([serde_json::Value::from(text).to_string().as_bytes()])
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts().as_deref() {
            Ok([KeyPart::Digest(digest)]) => f.write_str(&hex(digest)),
            Ok([KeyPart::Number(text)]) if integer_digits(text.as_bytes()).is_some() => f.write_str(text),
            Ok([KeyPart::Text(text)]) if is_plain(text) => f.write_str(text),
            _ => f.write_str(&self.to_json()),
        }
    }
}

fn digest_of(text: &str) -> Option<[u8; KEY_DIGEST_BYTES]> {
    unhex(text)?.try_into().ok()
}

/// The values and the digest of a key that lacks a value: one more than the key has fields, a null among them.
fn incomplete<'a, 'v>(
    values: &'v [&'a RawValue],
    arity: usize,
) -> Option<(&'v [&'a RawValue], [u8; KEY_DIGEST_BYTES])> {
    let (digest, values) = values.split_last()?;
    if values.len() != arity || values.iter().all(|value| value.get() != "null") {
        return None;
    }
    Some((values, digest_of(serde_json::from_str(digest.get()).ok()?)?))
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('[') && integer_digits(text.as_bytes()).is_none()
}

fn no_key(text: &str, arity: usize) -> Error {
    let expected = match arity {
        0 => "32 hexadecimal digits, since the stream has no primary key".to_owned(),
        _ => format!("a JSON array of {arity} values, such as [1,\"a\"]"),
    };
    Error::new(ErrorKind::Invalid, format!("not a record key: expected {expected}")).with("key", text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(values: &[&str]) -> RecordKey {
        RecordKey::from_json(values.iter().map(|value| value.as_bytes())).unwrap()
    }

    #[test]
    fn keys_order_as_their_values_do() {
        let ascending = [
            "null",
            "false",
            "true",
            "-100000000000000000000",
            "-99",
            "-10",
            "-9",
            "-1",
            "-0",
            "0",
            "1",
            "9",
            "10",
            "99",
            "9007199254740992",
            "9007199254740993",
            "100000000000000000000",
            "-1.5",
            "1.5",
            "1e3",
            "\"\"",
            "\"\\u0000\"",
            "\"\\u0000a\"",
            "\"A\"",
            "\"a\"",
            "\"a\\u0000\"",
            "\"a\\u0000b\"",
            "\"a\\u0001\"",
            "\"ab\"",
            "\"é\"",
            "\"\\ud800\"",
            "[1]",
            "{\"a\":1}",
        ];
        for pair in ascending.windows(2) {
            assert!(key(&[pair[0]]) < key(&[pair[1]]), "{} < {}", pair[0], pair[1]);
            assert!(key(&[pair[0], "\"z\""]) < key(&[pair[1], "1"]), "{} < {} in front", pair[0], pair[1]);
            assert!(key(&["\"a\"", pair[0]]) < key(&["\"a\"", pair[1]]), "{} < {} behind", pair[0], pair[1]);
        }
    }

    #[test]
    fn values_come_back_exactly() {
        for value in [
            "123456789012345678901234567890",
            "-0",
            "1.0",
            "1E5",
            "\"a\\\"b\"",
            "\"\\ud800x\"",
            "[1,{\"a\":2}]",
            "null",
        ] {
            assert_eq!(key(&[value]).to_json(), format!("[{value}]"));
        }
        assert_eq!(key(&["\"\\u0061\""]), key(&["\"a\""]));
        assert_eq!(key(&["{\"b\": 1, \"a\": 2}"]), key(&["{\"a\":2,\"b\":1}"]));
    }

    #[test]
    fn what_is_no_json_value_is_refused() {
        for text in ["", "abc", "\"a", "\"a\"b", "{", "1 2", "nul", "\"", "\\"] {
            assert_eq!(RecordKey::from_json([text.as_bytes()]).unwrap_err().kind(), ErrorKind::Invalid, "{text}");
        }
        let long = format!("\"{}\"", "x".repeat(5000));
        assert_eq!(RecordKey::from_json([long.as_bytes()]).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_single_value_is_its_plain_text_when_that_is_unambiguous() {
        for (value, text) in [
            ("42", "42"),
            ("\"a/b ü\"", "a/b ü"),
            ("\"42\"", "[\"42\"]"),
            ("\"[x\"", "[\"[x\"]"),
            ("\"\"", "[\"\"]"),
            ("1.5", "[1.5]"),
            ("null", "[null]"),
            ("\"007\"", "007"),
        ] {
            assert_eq!(key(&[value]).to_string(), text);
            assert_eq!(RecordKey::parse(text, 1).unwrap(), key(&[value]), "{text}");
        }
        assert_eq!(key(&["1", "\"a\""]).to_string(), "[1,\"a\"]");
        assert_eq!(RecordKey::candidates("42", 1).unwrap(), [key(&["42"]), key(&["\"42\""])]);
    }

    #[test]
    fn a_text_of_another_arity_is_refused() {
        assert!(RecordKey::parse("42", 2).is_err());
        assert!(RecordKey::parse("[42]", 2).is_err());
        assert!(RecordKey::parse("42", 0).is_err());
        assert_eq!(RecordKey::parse("[1,2", 1).unwrap(), key(&["\"[1,2\""]));
    }

    proptest! {
        #[test]
        fn every_key_is_read_back_from_its_text(texts in prop::collection::vec(".*|[0-9]{1,30}|-[0-9]+|\\[.*", 1..4)) {
            let values: Vec<String> = texts.iter().map(|text| serde_json::Value::from(text.as_str()).to_string()).collect();
            let key = RecordKey::from_json(values.iter().map(|value| value.as_bytes())).unwrap();
            prop_assert_eq!(RecordKey::parse(&key.to_string(), texts.len()).unwrap(), key);
            if let Ok(parsed) = RecordKey::parse(&texts[0], 1) {
                prop_assert_eq!(RecordKey::parse(&parsed.to_string(), 1).unwrap(), parsed);
            }
        }

        #[test]
        fn string_keys_order_as_strings(a: String, b: String) {
            let of = |text: &str| key(&[&serde_json::Value::from(text).to_string()]);
            prop_assert_eq!(of(&a).cmp(&of(&b)), a.as_bytes().cmp(b.as_bytes()));
        }

        #[test]
        fn integer_keys_order_as_integers(a: i128, b: i128) {
            prop_assert_eq!(key(&[&a.to_string()]).cmp(&key(&[&b.to_string()])), a.cmp(&b));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text: String, arity in 0usize..4) {
            if let Ok(key) = RecordKey::from_encoded(bytes) {
                let _ = key.to_string();
            }
            let _ = RecordKey::from_json([text.as_bytes()]);
            let _ = RecordKey::parse(&text, arity);
        }
    }
}
