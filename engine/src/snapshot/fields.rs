//! Which fields of a record differ between two of its versions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::value::RawValue;

use super::json;

/// A field that differs. Values are JSON text as received: numbers keep their digits.
#[derive(Clone, Debug, Serialize)]
pub struct FieldChange {
    /// Where: a JSON Pointer (RFC 6901), such as `/address/city`; empty for the whole record.
    pub path: String,
    /// The value before; absent when the field was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Box<RawValue>>,
    /// The value after; absent when the field is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Box<RawValue>>,
}

type Members<'a> = BTreeMap<String, &'a RawValue>;

/// The fields in which two records differ, by name. Objects are compared member by member, lists as a whole; key order
/// and white space do not count.
pub fn changed_fields(before: &[u8], after: &[u8]) -> Vec<FieldChange> {
    let mut changes = Vec::new();
    match (serde_json::from_slice::<&RawValue>(before), serde_json::from_slice::<&RawValue>(after)) {
        (Ok(before), Ok(after)) => compare(&mut String::new(), Some(before), Some(after), &mut changes),
        // What is not JSON has no fields; that it differs is all that can be said.
        _ => changes.push(FieldChange { path: String::new(), before: None, after: None }),
    }
    changes
}

fn compare(path: &mut String, before: Option<&RawValue>, after: Option<&RawValue>, changes: &mut Vec<FieldChange>) {
    if let (Some(before), Some(after)) = (before, after) {
        if json::is_same_content(before.get().as_bytes(), after.get().as_bytes()) {
            return;
        }
        if let (Some(before), Some(after)) = (members(before), members(after)) {
            return compare_members(path, &before, &after, changes);
        }
    }
    let owned = |value: Option<&RawValue>| value.map(RawValue::to_owned);
    changes.push(FieldChange { path: path.clone(), before: owned(before), after: owned(after) });
}

fn compare_members(path: &mut String, before: &Members<'_>, after: &Members<'_>, changes: &mut Vec<FieldChange>) {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let len = path.len();
        path.push('/');
        path.push_str(&name.replace('~', "~0").replace('/', "~1"));
        compare(path, before.get(name).copied(), after.get(name).copied(), changes);
        path.truncate(len);
    }
}

fn members(value: &RawValue) -> Option<Members<'_>> {
    value.get().starts_with('{').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: &str, after: &str) -> Vec<(String, String, String)> {
        let text =
            |value: &Option<Box<RawValue>>| value.as_ref().map_or("-".to_owned(), |value| value.get().to_owned());
        let changes = changed_fields(before.as_bytes(), after.as_bytes());
        changes.iter().map(|change| (change.path.clone(), text(&change.before), text(&change.after))).collect()
    }

    #[test]
    fn only_the_fields_that_differ_are_told_with_their_text() {
        let before = r#"{"id":1,"name":"A","address":{"city":"X","zip":"1"},"tags":[1,2],"gone":null}"#;
        let after =
            r#"{"tags":[1,3], "id":1.0,"address":{"zip":"1","city":"Y"},"name":"A","a/b":12345678901234567890123}"#;
        let expected = [
            ("/a~1b", "-", "12345678901234567890123"),
            ("/address/city", "\"X\"", "\"Y\""),
            ("/gone", "null", "-"),
            ("/id", "1", "1.0"),
            ("/tags", "[1,2]", "[1,3]"),
        ];
        assert_eq!(told(before, after), expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
        assert_eq!(told(before, before), []);
        assert_eq!(told("1", "{}").len(), 1);
        assert_eq!(told("{", "{}").len(), 1);
    }
}
