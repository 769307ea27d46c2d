//! Schemas of the engine's small types, which know nothing of OpenAPI: ids and words.

use std::{marker::PhantomData, str::FromStr};

use listbackup_engine::model::{
    Id,
    id::{IdKind, kind},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        KnownFormat, Object, ObjectBuilder, RefOr, SchemaFormat,
        schema::{AdditionalProperties, Schema, SchemaType, Type},
    },
};

/// True when `text` is an id with that prefix.
pub fn is_id(prefix: &str, text: &str) -> bool {
    // All kinds share one form; the prefix alone tells them apart.
    text.strip_prefix(prefix).is_some_and(|rest| Id::<kind::Source>::from_str(&format!("src{rest}")).is_ok())
}

/// The text of an id.
pub struct IdText<K>(PhantomData<K>);

/// An account's id.
pub type AccountId = IdText<kind::Account>;
/// A person's id.
pub type UserId = IdText<kind::User>;
/// An invitation's id.
pub type InvitationId = IdText<kind::Invitation>;
/// A source's id.
pub type SourceId = IdText<kind::Source>;
/// A job's id.
pub type JobId = IdText<kind::Job>;
/// A run's id.
pub type RunId = IdText<kind::Run>;
/// A snapshot's id.
pub type SnapshotId = IdText<kind::Snapshot>;
/// An event's id.
pub type EventId = IdText<kind::Event>;
/// A key's id.
pub type KeyId = IdText<kind::Key>;
/// A file's id.
pub type FileId = IdText<kind::File>;
/// A restore's id.
pub type RestoreId = IdText<kind::Restore>;
/// A webhook's id.
pub type WebhookId = IdText<kind::Webhook>;
/// A delivery's id.
pub type DeliveryId = IdText<kind::Delivery>;
/// An export's id.
pub type ExportId = IdText<kind::Export>;

impl<K: IdKind> PartialSchema for IdText<K> {
    fn schema() -> RefOr<Schema> {
        id(K::PREFIX).into()
    }
}

impl<K: IdKind> ToSchema for IdText<K> {
    fn name() -> std::borrow::Cow<'static, str> {
        let noun = match K::PREFIX {
            "acc" => "Account",
            "inv" => "Invitation",
            "usr" => "User",
            "src" => "Source",
            "job" => "Job",
            "run" => "Run",
            "snap" => "Snapshot",
            "evt" => "Event",
            "key" => "Key",
            "file" => "File",
            "exp" => "Export",
            "rst" => "Restore",
            "hook" => "Webhook",
            "dlv" => "Delivery",
            other => other,
        };
        format!("{noun}Id").into()
    }
}

/// A JSON object with whatever fields; its schema says so, because generators of clients take a bare `object` for an empty one.
pub struct JsonObject;

impl PartialSchema for JsonObject {
    fn schema() -> RefOr<Schema> {
        let object = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object));
        object.additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
    }
}

impl ToSchema for JsonObject {}

/// An e-mail address.
pub struct EmailAddress;

impl PartialSchema for EmailAddress {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).max_length(Some(254));
        text.format(Some(SchemaFormat::KnownFormat(KnownFormat::Email))).into()
    }
}

impl ToSchema for EmailAddress {}

/// Bytes of a file; utoipa would call them a list of numbers.
pub struct Binary;

impl PartialSchema for Binary {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
        text.format(Some(SchemaFormat::Custom("binary".to_owned()))).into()
    }
}

impl ToSchema for Binary {}

fn id(prefix: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(SchemaFormat::Custom(format!("{prefix}-id"))))
        .pattern(Some(format!("^{prefix}_[0-7][0-9a-hjkmnp-tv-z]{{25}}$")))
        .examples([format!("{prefix}_01k9zt4m8x7q3v5n2r6w0y1abc")])
        .build()
}

fn word(words: &[&str]) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    text.enum_values(Some(words.iter().copied())).into()
}

/// A source's id in a query string.
pub fn source_id() -> Object {
    id("src")
}
/// A snapshot's id in a query string.
pub fn snapshot_id() -> Object {
    id("snap")
}
/// A job's id in a query string.
pub fn job_id() -> Object {
    id("job")
}
/// A run's id in a query string.
pub fn run_id() -> Object {
    id("run")
}

/// What a member may do.
pub struct Role;

impl PartialSchema for Role {
    fn schema() -> RefOr<Schema> {
        word(&["owner", "admin", "operator", "viewer", "billing"])
    }
}

impl ToSchema for Role {}

/// Whether a membership counts.
pub struct MembershipStatus;

impl PartialSchema for MembershipStatus {
    fn schema() -> RefOr<Schema> {
        word(&["invited", "active"])
    }
}

impl ToSchema for MembershipStatus {}

/// Whether a source may run.
pub struct SourceState;

impl PartialSchema for SourceState {
    fn schema() -> RefOr<Schema> {
        word(&["active", "paused", "needs_authorisation"])
    }
}

impl ToSchema for SourceState {}

/// Whether a job's schedule counts.
pub struct JobState;

impl PartialSchema for JobState {
    fn schema() -> RefOr<Schema> {
        word(&["active", "paused"])
    }
}

impl ToSchema for JobState {}

/// What becomes of a due time that comes while a run of the job has not ended.
pub struct Overlap;

impl PartialSchema for Overlap {
    fn schema() -> RefOr<Schema> {
        word(&["skip", "queue_one", "cancel_running"])
    }
}

impl ToSchema for Overlap {}

/// Where a run stands.
pub struct RunStatus;

impl PartialSchema for RunStatus {
    fn schema() -> RefOr<Schema> {
        word(&["queued", "running", "succeeded", "partial", "failed", "cancelled", "skipped"])
    }
}

impl ToSchema for RunStatus {}

/// Where one stream of a run stands.
pub struct StreamState;

impl PartialSchema for StreamState {
    fn schema() -> RefOr<Schema> {
        word(&["waiting", "reading", "done", "failed"])
    }
}

impl ToSchema for StreamState {}

/// What became of a record that was to be restored. `create` and `update` are of a dry run.
pub struct RestoreOutcome;

impl PartialSchema for RestoreOutcome {
    fn schema() -> RefOr<Schema> {
        word(&["create", "update", "created", "updated", "linked", "skipped", "conflict", "failed"])
    }
}

impl ToSchema for RestoreOutcome {}

/// What a snapshot is compared with.
pub struct RestoreAgainst;

impl PartialSchema for RestoreAgainst {
    fn schema() -> RefOr<Schema> {
        word(&["product", "head"])
    }
}

impl ToSchema for RestoreAgainst {}

/// How an integration is signed in to.
pub struct SignIn;

impl PartialSchema for SignIn {
    fn schema() -> RefOr<Schema> {
        word(&["none", "settings", "oauth2"])
    }
}

impl ToSchema for SignIn {}

/// Where an integration comes from.
pub struct IntegrationOrigin;

impl PartialSchema for IntegrationOrigin {
    fn schema() -> RefOr<Schema> {
        word(&["builtin", "account"])
    }
}

impl ToSchema for IntegrationOrigin {}

/// Where an OAuth app comes from.
pub struct OAuthAppOrigin;

impl PartialSchema for OAuthAppOrigin {
    fn schema() -> RefOr<Schema> {
        word(&["account", "above", "platform"])
    }
}

impl ToSchema for OAuthAppOrigin {}

/// What an access key is for.
pub struct KeyScope;

impl PartialSchema for KeyScope {
    fn schema() -> RefOr<Schema> {
        let words: Vec<String> = crate::key_scopes::KeyScope::all().map(|scope| scope.to_string()).collect();
        word(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

impl ToSchema for KeyScope {}

/// Whether a snapshot has all streams.
pub struct SnapshotStatus;

impl PartialSchema for SnapshotStatus {
    fn schema() -> RefOr<Schema> {
        word(&["complete", "partial"])
    }
}

impl ToSchema for SnapshotStatus {}

/// The form of an exported stream.
pub struct ExportFormat;

impl PartialSchema for ExportFormat {
    fn schema() -> RefOr<Schema> {
        word(&["jsonl", "csv", "parquet"])
    }
}

impl ToSchema for ExportFormat {}

/// The form of an exported stream in a query string.
pub fn export_format() -> RefOr<Schema> {
    ExportFormat::schema()
}
