//! Arguments by place or by name, as Python functions take them.

use minijinja::{
    Error, Value,
    value::{Kwargs, ValueKind},
};

use super::operators::type_error;

/// The arguments of one call, in the order of the function's names.
pub(super) struct Arguments {
    values: Vec<Option<Value>>,
    names: &'static [&'static str],
}

impl Arguments {
    /// Sorts `given` by `names`.
    ///
    /// # Errors
    /// A `TypeError` for too many arguments and for unknown names.
    pub(super) fn of(given: &[Value], names: &'static [&'static str]) -> Result<Self, Error> {
        let (places, named) = match given.split_last() {
            Some((last, rest)) if last.is_kwargs() => (rest, Some(Kwargs::try_from(last.clone())?)),
            _ => (given, None),
        };
        if places.len() > names.len() {
            return Err(type_error(format!("takes {} arguments, {} were given", names.len(), places.len())));
        }
        let mut values: Vec<Option<Value>> = places.iter().cloned().map(Some).collect();
        values.resize(names.len(), None);
        for name in named.iter().flat_map(Kwargs::args) {
            let at = names
                .iter()
                .position(|known| *known == name)
                .ok_or_else(|| type_error(format!("got an unexpected argument `{name}`")))?;
            values[at] = named.as_ref().and_then(|named| named.peek::<Value>(name).ok());
        }
        Ok(Self { values, names })
    }

    /// The argument at `place`, which must be there.
    ///
    /// # Errors
    /// A `TypeError` when it is missing.
    pub(super) fn value(&self, place: usize) -> Result<&Value, Error> {
        self.optional(place).ok_or_else(|| type_error(format!("missing argument `{}`", self.names[place])))
    }

    /// The argument at `place`, unless it is missing or none.
    pub(super) fn optional(&self, place: usize) -> Option<&Value> {
        self.values[place].as_ref().filter(|value| place == 0 || value.kind() != ValueKind::None)
    }

    /// The text at `place`, which must be there.
    ///
    /// # Errors
    /// A `TypeError` when it is missing or no text.
    pub(super) fn text(&self, place: usize) -> Result<&str, Error> {
        let value = self.value(place)?;
        value.as_str().ok_or_else(|| type_error(format!("`{}` must be text, not {}", self.names[place], value.kind())))
    }

    /// The text at `place`, if there is one.
    ///
    /// # Errors
    /// A `TypeError` when it is no text.
    pub(super) fn optional_text(&self, place: usize) -> Result<Option<&str>, Error> {
        self.optional(place).map(|_| self.text(place)).transpose()
    }
}
