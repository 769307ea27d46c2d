//! The nouns. Each file holds one noun, its row and its rules; nothing here does I/O.

pub mod account;
pub mod activity;
pub mod activity_kind;
pub mod alert;
pub mod api_key;
pub mod billing;
pub mod chain;
pub mod counter;
pub mod file;
pub mod guard;
pub mod id;
pub mod integration;
pub mod job;
pub mod oauth_app;
pub mod oauth_state;
pub mod restore;
pub mod retention;
pub mod role;
pub mod run;
pub mod scope;
pub mod source;
pub mod user;
pub mod watch;
pub mod webhook;

pub use account::{Account, Ending};
pub use activity::ActivityEvent;
pub use activity_kind::ActivityKind;
pub use alert::Alert;
pub use api_key::{AccessKey, Credential};
pub use chain::ChainHead;
pub use counter::{Counter, Figures};
pub use file::{AttachmentFile, FileEntry};
pub use guard::ReadGuard;
pub use id::{
    AccountId, DeliveryId, EventId, ExportId, FileId, Id, InvitationId, JobId, KeyId, RequestId, RestoreId, RunId,
    SnapshotId, SourceId, UserId, WebhookId, WorkerId,
};
pub use integration::{ManifestVersion, OwnIntegration};
pub use job::{Job, JobState};
pub use oauth_app::OAuthApp;
pub use oauth_state::OAuthState;
pub use restore::{RestoreFigures, RunRestore};
pub use retention::KeepRules;
pub use role::Role;
pub use run::{Run, RunStatus};
pub use source::{Source, SourceState};
pub use user::{Invitation, Membership, User};
pub use watch::Watch;
pub use webhook::{Delivery, Webhook};
