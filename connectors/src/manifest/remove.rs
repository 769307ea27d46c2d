//! `RemoveFields`: what is left of a record without some of its fields.

use bytes::Bytes;

use super::{
    glob::{Key, is_pattern, item_index, path_matches},
    json,
    session::Session,
    template::{Template, values::Lazy},
    transform::Record,
};
use crate::Result;

/// Removes what stands at `path`; nothing happens when it leads nowhere.
///
/// With a condition the path does not count, as in the reference: every text, number, truth value and null of the record
/// that meets it is removed, wherever it stands.
///
/// # Errors
/// As for templates.
pub(super) fn remove(
    session: &Session,
    path: &[String],
    condition: Option<&Template>,
    record: &mut Record,
) -> Result<()> {
    match condition {
        None if !path.iter().any(|step| is_pattern(step)) => {
            remove_one(path, record);
            Ok(())
        }
        None => remove_all(record, |at, _| Ok(path_matches(at, path))),
        Some(condition) => remove_all(record, |_, value| {
            if matches!(value.first(), b'{' | b'[') {
                return Ok(false);
            }
            let body = Bytes::from(value.text().to_owned());
            let range = 0..body.len();
            let scope = session.scope().clone().with("property", Lazy::value(&body, range));
            condition.is_met(&session.engine, &scope)
        }),
    }
}

/// Removes everything at a path or pattern.
pub(super) fn remove_at(path: &[String], record: &mut Record) {
    if path.iter().any(|step| is_pattern(step)) {
        let outcome = remove_all(record, |at, _| Ok(path_matches(at, path)));
        debug_assert!(outcome.is_ok(), "patterns match without templates");
    } else {
        remove_one(path, record);
    }
}

fn remove_all(record: &mut Record, is_meant: impl Fn(&[Key], json::Slice<'_>) -> Result<bool>) -> Result<()> {
    let text = record.text();
    if let Some(changed) = Removal(is_meant).inside(json::Slice::checked(&text), &mut Vec::new())? {
        *record = Record::open(json::Slice::checked(&changed));
    }
    Ok(())
}

fn remove_one(path: &[String], record: &mut Record) {
    match path {
        [] => {}
        [name] => record.remove(name),
        [name, rest @ ..] => {
            if let Some(changed) = record.get(name).and_then(|value| removed_inside(rest, value)) {
                record.set(name, changed);
            }
        }
    }
}

/// The value without what stands at `path` inside it; `None` when nothing changes.
fn removed_inside(path: &[String], value: &str) -> Option<String> {
    let slice = json::Slice::checked(value);
    if slice.is_object() {
        let mut inner = Record::open(slice);
        remove_one(path, &mut inner);
        return Some(inner.text());
    }
    let (step, rest) = path.split_first().filter(|_| slice.first() == b'[')?;
    let mut items: Vec<String> = slice.items().iter().map(|item| item.text().to_owned()).collect();
    let index = item_index(step.parse().ok()?, items.len()).filter(|index| *index < items.len())?;
    if !rest.is_empty() {
        items[index] = removed_inside(rest, &items[index])?;
    } else if index + 1 == items.len() {
        items.pop();
    } else {
        // The items behind it keep their places.
        "null".clone_into(&mut items[index]);
    }
    Some(format!("[{}]", items.join(",")))
}

/// Removes what its function says is meant.
struct Removal<F>(F);

impl<F: Fn(&[Key], json::Slice<'_>) -> Result<bool>> Removal<F> {
    /// The value at `at` without what is meant; `None` when nothing changes.
    fn inside(&self, value: json::Slice<'_>, at: &mut Vec<Key>) -> Result<Option<String>> {
        match value.first() {
            b'{' => self.inside_object(value, at),
            b'[' => self.inside_list(value, at),
            _ => Ok(None),
        }
    }

    fn inside_object(&self, value: json::Slice<'_>, at: &mut Vec<Key>) -> Result<Option<String>> {
        let mut left = Record::open(value);
        let mut is_changed = false;
        for (name, member) in value.members() {
            at.push(Key::Name(name.clone()));
            if (self.0)(at, member)? {
                left.remove(&name);
                is_changed = true;
            } else if let Some(changed) = self.inside(member, at)? {
                left.set(&name, changed);
                is_changed = true;
            }
            at.pop();
        }
        Ok(is_changed.then(|| left.text()))
    }

    fn inside_list(&self, value: json::Slice<'_>, at: &mut Vec<Key>) -> Result<Option<String>> {
        let items = value.items();
        let mut left = Vec::with_capacity(items.len());
        let mut is_changed = false;
        for (index, item) in items.iter().enumerate() {
            at.push(Key::Index(index, items.len()));
            if (self.0)(at, *item)? {
                is_changed = true;
                if index + 1 < items.len() {
                    left.push("null".to_owned());
                }
            } else {
                let changed = self.inside(*item, at)?;
                is_changed |= changed.is_some();
                left.push(changed.unwrap_or_else(|| item.text().to_owned()));
            }
            at.pop();
        }
        Ok(is_changed.then(|| format!("[{}]", left.join(","))))
    }
}
