//! Finding a record by its key without reading it: fingerprints of many segments, searched together.

mod entry_index;
mod key_tables;
mod rows;
mod scratch;
mod seen;
mod spill_map;
mod tag_index;

pub(crate) use self::{
    key_tables::{Found, KeyTables, LookupSettings},
    scratch::Scratch,
    seen::SeenSet,
    spill_map::SpillMap,
    tag_index::TagIndex,
};
