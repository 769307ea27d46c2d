//! One unit of reading: a partition, a window of time, or both.

use std::sync::Arc;

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use super::template::{Python, values::from_python};

/// Named values in order.
pub(crate) type Named = Vec<(String, Python)>;

/// What the requests of one unit share.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slice {
    /// The partition: one value of each router, with the parents' own under `parent_slice`.
    pub(crate) partition: Named,
    /// The window of time.
    pub(crate) window: Named,
    /// Further fields of the parent record.
    pub(crate) extra: Named,
}

impl Slice {
    /// The value called `name`, of the partition or the window.
    pub(crate) fn get(&self, name: &str) -> Option<&Python> {
        self.partition.iter().chain(&self.window).rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// What templates see.
    pub(crate) fn to_value(&self) -> Value {
        Value::from_object(Shown(self.clone()))
    }

    /// The partition as one text that is the same whatever the order of its fields.
    pub(crate) fn partition_key(&self) -> String {
        canonical(&dict(&self.partition))
    }

    /// The part of a stream that it stands for, for people.
    pub(crate) fn describe(&self, stream: &str) -> String {
        let mut text = format!("stream {stream}");
        for named in [&self.partition, &self.window] {
            if !named.is_empty() {
                text.push(' ');
                text.push_str(&dict(named).to_json());
            }
        }
        text
    }

    /// Partition and window as one text.
    pub(crate) fn identity(&self) -> String {
        format!("{}{}", self.partition_key(), canonical(&dict(&self.window)))
    }
}

/// Named values as a dictionary.
pub(crate) fn dict(named: &Named) -> Python {
    Python::Dict(named.iter().map(|(name, value)| (Python::Text(name.clone()), value.clone())).collect())
}

/// JSON with sorted keys.
pub(crate) fn canonical(value: &Python) -> String {
    sorted(value).to_json()
}

fn sorted(value: &Python) -> Python {
    match value {
        Python::List(items) | Python::Tuple(items) | Python::Set(items) => {
            Python::List(items.iter().map(sorted).collect())
        }
        Python::Dict(members) => {
            let mut members: Vec<_> = members.iter().map(|(key, value)| (key.key_text(), sorted(value))).collect();
            members.sort_by(|(a, _), (b, _)| a.cmp(b));
            Python::Dict(members.into_iter().map(|(key, value)| (Python::Text(key), value)).collect())
        }
        other => other.clone(),
    }
}

/// Every combination, the last list fastest. Where names meet, the first list's value stays. Each is made when it is asked
/// for: a few lists of a thousand would fill the memory.
pub(crate) fn product(lists: &[Vec<Slice>]) -> impl Iterator<Item = Slice> + '_ {
    let join = |one: Slice, other: &Slice| Slice {
        partition: joined(&one.partition, &other.partition),
        window: joined(&one.window, &other.window),
        extra: joined(&one.extra, &other.extra),
    };
    let mut places = lists.iter().all(|list| !list.is_empty()).then(|| vec![0; lists.len()]);
    std::iter::from_fn(move || {
        let chosen = places.take()?;
        let parts = lists.iter().zip(&chosen).map(|(list, at)| &list[*at]);
        let combination = parts.fold(Slice::default(), join);
        places = following(chosen, lists);
        Some(combination)
    })
}

/// The places after `places`; `None` after the last ones.
fn following(mut places: Vec<usize>, lists: &[Vec<Slice>]) -> Option<Vec<usize>> {
    for (at, list) in places.iter_mut().zip(lists).rev() {
        *at += 1;
        if *at < list.len() {
            return Some(places);
        }
        *at = 0;
    }
    None
}

fn joined(first: &Named, second: &Named) -> Named {
    let new = second.iter().filter(|(name, _)| !first.iter().any(|(known, _)| known == name));
    first.iter().chain(new).cloned().collect()
}

/// A slice as templates see it: a mapping with a few attributes beside.
#[derive(Debug)]
struct Shown(Slice);

fn mapping(named: &Named) -> Value {
    Value::from_pairs(named.iter().map(|(name, value)| (name.clone(), from_python(value))))
}

impl Object for Shown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.0.get(key) {
            Some(value) => Some(from_python(value)),
            None => match key {
                "extra_fields" => Some(mapping(&self.0.extra)),
                "partition" | "_partition" => Some(mapping(&self.0.partition)),
                "cursor_slice" => Some(mapping(&self.0.window)),
                _ => None,
            },
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.0.partition.iter().chain(&self.0.window).map(|(name, _)| Value::from(name.as_str()));
        Enumerator::Values(names.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::template::python, *};

    #[test]
    fn combinations_come_one_at_a_time_the_last_list_fastest() {
        let list = |name: &str, count: i128| -> Vec<Slice> {
            let slice = |value| Slice { partition: vec![(name.to_owned(), Python::Int(value))], ..Slice::default() };
            (0..count).map(slice).collect()
        };
        let shown = |lists: &[Vec<Slice>]| product(lists).map(|slice| slice.partition_key()).collect::<Vec<_>>();
        assert_eq!(
            shown(&[list("a", 2), list("b", 2)]).join(" "),
            r#"{"a":0,"b":0} {"a":0,"b":1} {"a":1,"b":0} {"a":1,"b":1}"#
        );
        assert!(shown(&[list("a", 2), list("b", 0)]).is_empty());
        assert_eq!(shown(&[]), ["{}"]);
        // A quadrillion of them.
        let lists = ["a", "b", "c", "d", "e"].map(|name| list(name, 1_000));
        assert_eq!(product(&lists).take(1_001).last().unwrap().partition_key(), r#"{"a":0,"b":0,"c":0,"d":1,"e":0}"#);
    }

    #[test]
    fn a_partition_has_one_key_whatever_the_order_of_its_fields() {
        let field = |name: &str, value: Python| (name.to_owned(), value);
        let one = Slice {
            partition: vec![field("b", Python::Int(1)), field("a", python::evaluate(r#"{"y":1,"x":[2]}"#).unwrap())],
            ..Slice::default()
        };
        let other = Slice {
            partition: vec![field("a", python::evaluate(r#"{"x":[2],"y":1}"#).unwrap()), field("b", Python::Int(1))],
            ..Slice::default()
        };
        assert_eq!(one.partition_key(), other.partition_key());
        assert_eq!(one.partition_key(), r#"{"a":{"x":[2],"y":1},"b":1}"#);
    }
}
