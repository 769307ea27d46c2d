//! Finding a record by its key without reading it: fingerprints of many segments, searched together.

mod key_tables;
mod seen;
mod tag_index;

pub(crate) use self::{key_tables::KeyTables, seen::SeenSet, tag_index::TagIndex};
