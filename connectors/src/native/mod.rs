//! Hand-written integrations: what the manifest language cannot say.

mod json_lines;

pub use json_lines::{JsonLines, JsonLinesSettings};
