//! Taking JSON text apart without building a tree: the members of an object, the elements of an array, the text of a
//! string. Everything but [`checked`] is for text that is known to be JSON.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::{Record, json::value_end},
};

/// The text of a record, which is one JSON object.
///
/// # Errors
/// `Corrupt` when it is no JSON, `Invalid` when it is no object.
pub(super) fn checked(record: &Record) -> Result<&str> {
    let text: &RawValue = serde_json::from_slice(&record.body).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a stored record is not JSON: {error}")).with("key", &record.key)
    })?;
    if text.get().starts_with('{') {
        return Ok(text.get());
    }
    let message = "a record is not a JSON object, so that it has no columns; export the stream as jsonl";
    Err(Error::new(ErrorKind::Invalid, message).with("key", &record.key))
}

/// The members of an object: the name as it stands, in quotes, and the value.
pub(super) fn members(object: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut tokens = Tokens { text: object, at: 1 };
    std::iter::from_fn(move || Some((tokens.next()?, tokens.next()?)))
}

/// The elements of an array.
pub(super) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut tokens = Tokens { text: array, at: 1 };
    std::iter::from_fn(move || tokens.next())
}

/// True for an object without members.
pub(super) fn is_empty(object: &str) -> bool {
    members(object).next().is_none()
}

/// What a string says; `None` when it holds half of a surrogate pair, which no text but JSON's can say.
pub(super) fn decode(string: &str) -> Option<Cow<'_, str>> {
    let inside = &string[1..string.len() - 1];
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str(string).ok().map(Cow::Owned)
}

/// A member's name; one that is no text stays as it is written.
pub(super) fn name(token: &str) -> Cow<'_, str> {
    decode(token).unwrap_or_else(|| Cow::Borrowed(&token[1..token.len() - 1]))
}

/// Members as the text of an object, for those that get no place of their own.
#[derive(Default)]
pub(super) struct Rest(String);

impl Rest {
    /// Adds a member, with its name in quotes.
    pub(super) fn push(&mut self, name: &str, value: &str) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(name);
        self.0.push(':');
        self.0.push_str(value);
    }

    /// The object, or `None` when there were no members.
    pub(super) fn finish(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.push('}');
        Some(self.0)
    }
}

/// Values one after another, inside of brackets.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':') {
            self.at += 1;
        }
        // A closing bracket is no value.
        let end = value_end(bytes, self.at)?;
        let token = self.text.get(self.at..end)?;
        self.at = end;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_and_elements_are_those_of_the_text() {
        let object = "{ \"a\\u0041\" : 1.0 ,\n\"b\":{\"c\":[1,{}]}, \"d\":\"x,}\", \"a\\u0041\":null }";
        let found: Vec<_> = members(object).collect();
        assert_eq!(
            found,
            [("\"a\\u0041\"", "1.0"), ("\"b\"", "{\"c\":[1,{}]}"), ("\"d\"", "\"x,}\""), ("\"a\\u0041\"", "null")]
        );
        assert_eq!(name(found[0].0), "aA");
        assert_eq!(elements("[ ]").count(), 0);
        assert_eq!(elements("[1, [2] ,\"]\"]").collect::<Vec<_>>(), ["1", "[2]", "\"]\""]);
        assert!(is_empty("{ }") && !is_empty(object));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text() {
        assert_eq!(decode("\"\\ud83d\\ude00\"").as_deref(), Some("😀"));
        assert_eq!(decode("\"\\ud83d\""), None);
        assert_eq!(name("\"\\ud83d\""), "\\ud83d");
    }

    #[test]
    fn what_is_left_over_is_an_object_again() {
        let mut rest = Rest::default();
        rest.push("\"a\"", "1");
        rest.push("\"a\"", "[]");
        assert_eq!(rest.finish().as_deref(), Some("{\"a\":1,\"a\":[]}"));
        assert_eq!(Rest::default().finish(), None);
    }
}
