//! Runs connectors written in the published low-code manifest language.

mod json;
mod template;
mod time;
mod yaml;
