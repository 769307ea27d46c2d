//! The members of a record, with every value's text as it was received: what is sent back keeps all its digits.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    error::{Error, ErrorKind, Result},
    snapshot::json::is_same_content,
};

/// Members by name.
pub(super) type Members = BTreeMap<String, Box<RawValue>>;

/// The members of a record.
///
/// # Errors
/// `Corrupt` for what is no JSON object.
pub(super) fn parse(body: &[u8]) -> Result<Members> {
    serde_json::from_slice(body)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "a record is no JSON object").caused_by(error))
}

/// The JSON object of these members.
///
/// # Errors
/// `Bug`, never seen: texts that were JSON are JSON.
pub(super) fn text(members: &Members) -> Result<Bytes> {
    let text = serde_json::to_vec(members);
    text.map(Bytes::from).map_err(|error| Error::new(ErrorKind::Bug, "a record does not serialise").caused_by(error))
}

/// Takes the value at `path` away.
pub(super) fn remove(members: &mut Members, path: &[String]) {
    match path {
        [] => {}
        [name] => drop(members.remove(name)),
        [name, rest @ ..] => change_inner(members, name, |inner| remove(inner, rest)),
    }
}

/// The keys at `path`: one, or those of a list. Null is none.
pub(super) fn keys_at(members: &Members, path: &[String]) -> Vec<String> {
    let Some((name, rest)) = path.split_first() else { return Vec::new() };
    let Some(value) = members.get(name) else { return Vec::new() };
    if !rest.is_empty() {
        return inner(value).map_or_else(Vec::new, |inner| keys_at(&inner, rest));
    }
    let list: Option<Vec<Box<RawValue>>> =
        value.get().starts_with('[').then(|| serde_json::from_str(value.get()).ok()).flatten();
    let values = list.unwrap_or_else(|| vec![value.clone()]);
    values.iter().map(|value| value.get().to_owned()).filter(|text| text != "null").collect()
}

/// The value at `path` as JSON text in one spelling, where it is a text, a number or a truth value.
pub(super) fn scalar_at(members: &Members, path: &[String]) -> Option<String> {
    let (name, rest) = path.split_first()?;
    let value = members.get(name)?;
    if !rest.is_empty() {
        return scalar_at(&inner(value)?, rest);
    }
    match value.get().as_bytes().first()? {
        b'"' => Some(serde_json::Value::from(serde_json::from_str::<String>(value.get()).ok()?).to_string()),
        b'{' | b'[' | b'n' => None,
        _ => Some(value.get().to_owned()),
    }
}

/// Puts other keys in the place of those at `path`.
pub(super) fn replace_keys(members: &mut Members, path: &[String], new: &dyn Fn(&str) -> Option<String>) {
    let Some((name, rest)) = path.split_first() else { return };
    if !rest.is_empty() {
        return change_inner(members, name, |inner| replace_keys(inner, rest, new));
    }
    let Some(value) = members.get_mut(name) else { return };
    let replaced = match serde_json::from_str::<Vec<Box<RawValue>>>(value.get()) {
        Ok(list) => {
            let texts: Vec<String> =
                list.iter().map(|item| new(item.get()).unwrap_or_else(|| item.get().to_owned())).collect();
            Some(format!("[{}]", texts.join(",")))
        }
        Err(_) => new(value.get()),
    };
    if let Some(raw) = replaced.and_then(|text| RawValue::from_string(text).ok()) {
        *value = raw;
    }
}

/// Names of the members of `wanted` that `current` does not have so. Null and missing are the same; what only `current`
/// has does not count.
pub(super) fn differing(wanted: &Members, current: &Members) -> Vec<String> {
    let is_same = |name: &String, value: &RawValue| match current.get(name) {
        Some(current) => is_same_content(value.get().as_bytes(), current.get().as_bytes()),
        None => value.get() == "null",
    };
    wanted.iter().filter(|(name, value)| !is_same(name, value)).map(|(name, _)| name.clone()).collect()
}

fn inner(value: &RawValue) -> Option<Members> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

fn change_inner(members: &mut Members, name: &str, change: impl FnOnce(&mut Members)) {
    let Some(value) = members.get_mut(name) else { return };
    let Some(mut inner) = inner(value) else { return };
    change(&mut inner);
    if let Ok(raw) = serde_json::value::to_raw_value(&inner) {
        *value = raw;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn keys_are_replaced_where_they_are_and_all_else_keeps_its_text() {
        let mut members = parse(br#"{"n":1.50,"big":12345678901234567890123,"a":{"id":7,"x":1.0},"l":[7,8]}"#).unwrap();
        assert_eq!(keys_at(&members, &path("a.id")), ["7"]);
        assert_eq!(keys_at(&members, &path("l")), ["7", "8"]);
        assert!(keys_at(&members, &path("a.none")).is_empty());
        let new = |key: &str| (key == "7").then(|| "107".to_owned());
        for field in ["a.id", "l", "none"] {
            replace_keys(&mut members, &path(field), &new);
        }
        remove(&mut members, &path("a.x"));
        let expected = br#"{"a":{"id":107},"big":12345678901234567890123,"l":[107,8],"n":1.50}"#;
        assert_eq!(text(&members).unwrap(), &expected[..]);
    }

    #[test]
    fn only_what_is_wanted_and_not_there_differs() {
        let wanted = parse(br#"{"a":1,"b":null,"c":{"x":1,"y":2},"d":1.0}"#).unwrap();
        let current = parse(br#"{"c":{"y":2, "x":1},"a":2,"d":1.0,"new":5}"#).unwrap();
        assert_eq!(differing(&wanted, &current), ["a"]);
    }
}
