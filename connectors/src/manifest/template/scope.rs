//! The names that templates see.

use std::sync::Arc;

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};

use super::{CAPTURE, values::Capture};

/// The names that templates see at one place of the language.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    names: Vec<(String, Value)>,
}

impl Scope {
    /// A scope with the settings alone.
    pub(crate) fn new(settings: &Value) -> Self {
        Self { names: vec![("config".into(), settings.clone())] }
    }

    /// Adds a name; a later one hides an earlier one.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.names.push((name.to_owned(), value));
        self
    }

    /// Adds the slice under its three names.
    #[must_use]
    pub(crate) fn with_slice(self, slice: &Value) -> Self {
        ["stream_slice", "stream_interval", "stream_partition"]
            .into_iter()
            .fold(self, |scope, name| scope.with(name, slice.clone()))
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

/// A scope with a template's parameters, as the engine wants it.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) scope: Scope,
    pub(super) parameters: Value,
    pub(super) capture: Option<Arc<Capture>>,
}

impl Object for Names {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "parameters" => Some(self.parameters.clone()),
            CAPTURE => self.capture.as_ref().map(|capture| Value::from_dyn_object(Arc::clone(capture))),
            _ => self.scope.get(key).cloned(),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }
}
