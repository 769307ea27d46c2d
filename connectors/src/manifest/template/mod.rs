//! Templates.
pub(crate) mod python;
