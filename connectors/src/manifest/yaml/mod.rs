//! YAML into a tree that knows where each of its parts stands.
//!
//! Scalars are read as PyYAML's safe loader reads them (YAML 1.1), because published manifests were written against it.

use std::sync::Arc;

mod events;
mod scalar;

pub(crate) use events::parse;

/// Where something stands in the manifest's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u32,
    /// From 1, in characters.
    pub(crate) column: u32,
}

/// One part of the manifest. Shared wherever it is referenced, so that large manifests stay small.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// What it is.
    pub(crate) data: Data,
    /// Where it stands.
    pub(crate) place: Place,
    /// Levels of lists and mappings in it.
    pub(super) depth: u32,
    /// Parts of it, each counted as often as it is used: aliases and references share them.
    pub(super) size: u64,
}

/// Deeper nesting than this is refused, whether it is written out or comes of aliases and references: every reader goes
/// through it step by step, and the stack has an end.
pub(super) const MAX_DEPTH: u32 = 200;

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    /// `null`, `~`, nothing.
    Null,
    /// A YAML 1.1 boolean.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A number with a point.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A sequence.
    List(Vec<Arc<Node>>),
    /// A mapping in the order of the text; a repeated key has its last value.
    Map(Vec<(Arc<str>, Arc<Node>)>),
}

impl Node {
    /// A node without a place of its own.
    pub(crate) fn new(data: Data, place: Place) -> Arc<Self> {
        let with =
            |(depth, size): (u32, u64), inner: &Arc<Self>| (depth.max(inner.depth), size.saturating_add(inner.size));
        let (depth, size) = match &data {
            Data::List(items) => items.iter().fold((0, 0), with),
            Data::Map(members) => members.iter().map(|(_, member)| member).fold((0, 0), with),
            _ => return Arc::new(Self { data, place, depth: 0, size: 1 }),
        };
        Arc::new(Self { data, place, depth: depth.saturating_add(1), size: size.saturating_add(1) })
    }

    /// The member called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<Node>> {
        match &self.data {
            Data::Map(members) => members.iter().find(|(key, _)| &**key == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// The text of a text node.
    pub(crate) fn as_text(&self) -> Option<&Arc<str>> {
        match &self.data {
            Data::Text(text) => Some(text),
            _ => None,
        }
    }

    /// True for what counts as false in Python.
    pub(crate) fn is_falsy(&self) -> bool {
        match &self.data {
            Data::Null => true,
            Data::Bool(value) => !value,
            Data::Int(value) => *value == 0,
            Data::Float(value) => *value == 0.0,
            Data::Text(text) => text.is_empty(),
            Data::List(items) => items.is_empty(),
            Data::Map(members) => members.is_empty(),
        }
    }

    /// The node as JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Int(value) => serde_json::Number::from_i128(*value).map_or(Value::Null, Value::Number),
            Data::Float(value) => serde_json::Number::from_f64(*value).map_or(Value::Null, Value::Number),
            Data::Text(text) => Value::String(text.to_string()),
            Data::List(items) => items.iter().map(|item| item.to_json()).collect(),
            Data::Map(members) => members.iter().map(|(key, node)| (key.to_string(), node.to_json())).collect(),
        }
    }

    /// The word for its kind, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a yes/no value",
            Data::Int(_) | Data::Float(_) => "a number",
            Data::Text(_) => "text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }
}
