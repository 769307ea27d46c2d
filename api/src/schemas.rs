//! Schemas of the engine's small types, which know nothing of OpenAPI: ids and words.

use std::str::FromStr;

use listbackup_engine::model::{Id, id::kind};
use utoipa::openapi::{
    Object, ObjectBuilder, SchemaFormat,
    schema::{SchemaType, Type},
};

/// True when `text` is an id with that prefix.
pub fn is_id(prefix: &str, text: &str) -> bool {
    // All kinds share one form; the prefix alone tells them apart.
    text.strip_prefix(prefix).is_some_and(|rest| Id::<kind::Source>::from_str(&format!("src{rest}")).is_ok())
}

fn id(prefix: &str, description: &str) -> Object {
    ObjectBuilder::new()
        .description(Some(description))
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(SchemaFormat::Custom(format!("{prefix}-id"))))
        .examples([format!("{prefix}_01k9zt4m8x7q3v5n2r6w0y1abc")])
        .build()
}

fn word(words: &[&str]) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(words.iter().copied())).build()
}

/// An account's id.
pub fn account_id() -> Object {
    id("acc", "An account's id.")
}
/// A person's id.
pub fn user_id() -> Object {
    id("usr", "A person's id.")
}
/// A source's id.
pub fn source_id() -> Object {
    id("src", "A source's id.")
}
/// A job's id.
pub fn job_id() -> Object {
    id("job", "A job's id.")
}
/// A run's id.
pub fn run_id() -> Object {
    id("run", "A run's id.")
}
/// A snapshot's id.
pub fn snapshot_id() -> Object {
    id("snap", "A snapshot's id.")
}
/// An event's id.
pub fn event_id() -> Object {
    id("evt", "An event's id.")
}
/// A key's id.
pub fn key_id() -> Object {
    id("key", "A key's id.")
}
/// A file's id.
pub fn file_id() -> Object {
    id("file", "A file's id.")
}

/// A role.
pub fn role() -> Object {
    word(&["owner", "admin", "operator", "viewer", "billing"])
}
/// Whether a membership counts.
pub fn membership_status() -> Object {
    word(&["invited", "active"])
}
/// Whether a source may run.
pub fn source_state() -> Object {
    word(&["active", "paused", "needs_authorisation"])
}
/// Whether a job's schedule counts.
pub fn job_state() -> Object {
    word(&["active", "paused"])
}
/// Where a run stands.
pub fn run_status() -> Object {
    word(&["queued", "running", "succeeded", "partial", "failed", "cancelled", "skipped"])
}
/// Where one stream of a run stands.
pub fn stream_state() -> Object {
    word(&["waiting", "reading", "done", "failed"])
}
/// How an integration is signed in to.
pub fn sign_in() -> Object {
    word(&["none", "settings", "oauth2"])
}
/// Whether a snapshot has all streams.
pub fn snapshot_status() -> Object {
    word(&["complete", "partial"])
}
