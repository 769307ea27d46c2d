//! Which kinds of value a place takes.

use super::Python;

/// The kinds of value that a literal may become; any other stays text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    /// No restriction.
    Any,
    /// Text or a list.
    TextOrList,
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number with a point.
    Number,
    /// A truth value.
    Boolean,
}

impl Only {
    /// True when `value` may be what the literal becomes.
    pub(super) fn allows(self, value: &Python) -> bool {
        match self {
            Self::Any => true,
            Self::TextOrList => matches!(value, Python::Text(_) | Python::List(_)),
            Self::Text => matches!(value, Python::Text(_)),
            Self::Integer => matches!(value, Python::Int(_) | Python::BigInt(_) | Python::Bool(_)),
            Self::Number => matches!(value, Python::Float(_)),
            Self::Boolean => matches!(value, Python::Bool(_)),
        }
    }
}
