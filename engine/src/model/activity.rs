//! Activity: the append-only log of what happened. A metric, a log line and an event that say the same thing come from
//! one value of this type.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{AccountId, EventId, JobId, RunId, SourceId};
use crate::{
    ports::SortRange,
    tables::{ACTIVITY, Row, TableSchema},
};

/// One event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActivityEvent {
    /// Its id; time-ordered.
    pub event_id: EventId,
    /// When, in milliseconds since 1970, by the clock of whoever wrote it; but never before the event of its run that it
    /// follows, however much their clocks differ.
    pub timestamp: i64,
    /// Whose.
    pub account_id: AccountId,
    /// What.
    pub kind: ActivityKind,
    /// Who: a user's or key's id, or `system`.
    pub actor: String,
    /// The source that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_id: Option<SourceId>,
    /// The job that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Figures and names, by kind; no secrets, no record contents.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// Its place among the events of its account, from 1 and without gaps; absent until it is linked, and in events of
    /// versions without chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Digest of itself and the event before it, in hex: see [`super::chain`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chain_digest: Option<String>,
    /// Index shard of events that have no place yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbox_shard: Option<String>,
}

/// The one partition of the outbox index.
pub const OUTBOX_SHARD: &str = "outbox";

/// Bounds that leave only events, in an index by event id: the head of the chain lies before them.
pub fn only_events() -> SortRange {
    SortRange::Prefix("evt_".to_owned())
}

/// What stands before the point in kinds of events.
pub const FAMILIES: [&str; 14] = [
    "account",
    "member",
    "user",
    "key",
    "integration",
    "source",
    "job",
    "run",
    "data",
    "snapshot",
    "storage",
    "billing",
    "webhook",
    "activity",
];

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ActivityKind {
    /// An account was made.
    #[serde(rename = "account.created")]
    AccountCreated,
    /// The row of an account that was lost was made anew from what is stored of it.
    #[serde(rename = "account.rebuilt")]
    AccountRebuilt,
    /// An account, with all below it, was put under another one.
    #[serde(rename = "account.moved")]
    AccountMoved,
    /// An account's name changed.
    #[serde(rename = "account.updated")]
    AccountUpdated,
    /// An account got a new data key for what is stored from then on.
    #[serde(rename = "account.key_rotated")]
    AccountKeyRotated,
    /// An owner asked to delete the account: from `endsAt` on nothing of it can be read any more, unless that is called off.
    #[serde(rename = "account.deletion_announced")]
    AccountDeletionAnnounced,
    /// The account is not deleted after all.
    #[serde(rename = "account.deletion_called_off")]
    AccountDeletionCalledOff,
    /// The account was to be deleted now, but waits for snapshots that are held or locked.
    #[serde(rename = "account.deletion_held")]
    AccountDeletionHeld,
    /// An account was deleted; told to the account above it as well.
    #[serde(rename = "account.deleted")]
    AccountDeleted,
    /// An account's data keys and credentials were wrapped by another master key, and the old one opens them no more.
    #[serde(rename = "account.key_rewrapped")]
    AccountKeyRewrapped,
    /// An account's data keys were destroyed, by a person: nothing stored of it can be read any more.
    #[serde(rename = "account.key_destroyed")]
    AccountKeyDestroyed,
    /// A person became a member of the account.
    #[serde(rename = "member.added")]
    MemberAdded,
    /// Somebody was invited into the account.
    #[serde(rename = "member.invited")]
    MemberInvited,
    /// An invitation was taken back.
    #[serde(rename = "member.invitation_revoked")]
    MemberInvitationRevoked,
    /// A member's role changed.
    #[serde(rename = "member.updated")]
    MemberUpdated,
    /// A member left or was removed.
    #[serde(rename = "member.removed")]
    MemberRemoved,
    /// A person signed in.
    #[serde(rename = "user.signed_in")]
    UserSignedIn,
    /// A person ended all of their sessions.
    #[serde(rename = "user.signed_out")]
    UserSignedOut,
    /// A person set a new password by a mailed code.
    #[serde(rename = "user.password_reset")]
    UserPasswordReset,
    /// A person changed their password.
    #[serde(rename = "user.password_changed")]
    UserPasswordChanged,
    /// A person is asked for a second factor from now on.
    #[serde(rename = "user.second_factor_enabled")]
    UserSecondFactorEnabled,
    /// A person is not asked for a second factor any more.
    #[serde(rename = "user.second_factor_disabled")]
    UserSecondFactorDisabled,
    /// An access key was made.
    #[serde(rename = "key.created")]
    KeyCreated,
    /// An access key was withdrawn.
    #[serde(rename = "key.deleted")]
    KeyDeleted,
    /// An integration of the account's own was uploaded.
    #[serde(rename = "integration.added")]
    IntegrationAdded,
    /// A further version of an integration of the account's own was uploaded.
    #[serde(rename = "integration.updated")]
    IntegrationUpdated,
    /// An integration of the account's own was removed.
    #[serde(rename = "integration.removed")]
    IntegrationRemoved,
    /// An OAuth app of the account's own was given for an integration, or another one, or its secret or hosts changed.
    #[serde(rename = "integration.app_set")]
    IntegrationAppSet,
    /// The account's OAuth app for an integration was removed.
    #[serde(rename = "integration.app_removed")]
    IntegrationAppRemoved,
    /// A source was made.
    #[serde(rename = "source.created")]
    SourceCreated,
    /// The row of a source that was lost was made anew from its snapshots, or brought up to date with them.
    #[serde(rename = "source.rebuilt")]
    SourceRebuilt,
    /// A source's settings or name changed.
    #[serde(rename = "source.updated")]
    SourceUpdated,
    /// A source was removed; its snapshots stay.
    #[serde(rename = "source.deleted")]
    SourceDeleted,
    /// A source was paused.
    #[serde(rename = "source.paused")]
    SourcePaused,
    /// A source goes on.
    #[serde(rename = "source.resumed")]
    SourceResumed,
    /// A source was signed in by OAuth.
    #[serde(rename = "source.authorised")]
    SourceAuthorised,
    /// A source's sign-in ended, or is not enough any more for some of its streams (`streams`, of a partial run); a person must sign
    /// in again.
    #[serde(rename = "source.authorisation_lost")]
    SourceAuthorisationLost,
    /// A source became stale: one of its streams is older than it may be.
    #[serde(rename = "source.stale")]
    SourceStale,
    /// A stale source is fresh again, or nobody expects it to be any more.
    #[serde(rename = "source.fresh")]
    SourceFresh,
    /// A job was made.
    #[serde(rename = "job.created")]
    JobCreated,
    /// A job changed.
    #[serde(rename = "job.updated")]
    JobUpdated,
    /// A job was removed.
    #[serde(rename = "job.deleted")]
    JobDeleted,
    /// Due times of a job passed while nothing looked at its schedule, and were skipped.
    #[serde(rename = "job.missed")]
    JobMissed,
    /// A run was ordered.
    #[serde(rename = "run.queued")]
    RunQueued,
    /// A worker began or resumed a run.
    #[serde(rename = "run.started")]
    RunStarted,
    /// How far a run is (live followers only; not kept).
    #[serde(rename = "run.progress")]
    RunProgress,
    /// Somebody asked a run to stop that a worker is busy with.
    #[serde(rename = "run.cancel_requested")]
    RunCancelRequested,
    /// The order of a run that had failed too often was put back into the queue.
    #[serde(rename = "run.redriven")]
    RunRedriven,
    /// The row of a run that was lost was made anew from its snapshot, or told of it.
    #[serde(rename = "run.rebuilt")]
    RunRebuilt,
    /// A run ended well.
    #[serde(rename = "run.succeeded")]
    RunSucceeded,
    /// A run ended with failed parts.
    #[serde(rename = "run.partial")]
    RunPartial,
    /// A run failed.
    #[serde(rename = "run.failed")]
    RunFailed,
    /// A run was cancelled.
    #[serde(rename = "run.cancelled")]
    RunCancelled,
    /// A run was not begun.
    #[serde(rename = "run.skipped")]
    RunSkipped,
    /// Backed-up records were looked at.
    #[serde(rename = "data.read")]
    DataRead,
    /// Backed-up data was exported or downloaded.
    #[serde(rename = "data.exported")]
    DataExported,
    /// A snapshot was pinned: no rule lets go of it.
    #[serde(rename = "snapshot.pinned")]
    SnapshotPinned,
    /// A snapshot's pins were taken away.
    #[serde(rename = "snapshot.unpinned")]
    SnapshotUnpinned,
    /// A snapshot was put under a legal hold.
    #[serde(rename = "snapshot.held")]
    SnapshotHeld,
    /// A snapshot's legal holds were lifted.
    #[serde(rename = "snapshot.released")]
    SnapshotReleased,
    /// A run deleted so much of a stream that it looks like a fault; the last snapshot before it was pinned.
    #[serde(rename = "snapshot.suspicious")]
    SnapshotSuspicious,
    /// A snapshot was let go of, by a rule or by a person.
    #[serde(rename = "snapshot.forgotten")]
    SnapshotForgotten,
    /// A verification of a snapshot came to its end, or found damage.
    #[serde(rename = "snapshot.verified")]
    SnapshotVerified,
    /// Segments, or packs of attachments, that nothing refers to were deleted.
    #[serde(rename = "storage.collected")]
    StorageCollected,
    /// An account has another plan, or its subscription was cancelled, resumed or is over.
    #[serde(rename = "billing.subscription_changed")]
    BillingSubscriptionChanged,
    /// A second subscription for the same account is cancelled: two checkouts were finished at the same time.
    #[serde(rename = "billing.second_subscription_cancelled")]
    BillingSecondSubscriptionCancelled,
    /// A payment failed; backups go on for a while.
    #[serde(rename = "billing.payment_failed")]
    BillingPaymentFailed,
    /// The payment that was missing was made.
    #[serde(rename = "billing.payment_made")]
    BillingPaymentMade,
    /// Others get letters about payments.
    #[serde(rename = "billing.contacts_changed")]
    BillingContactsChanged,
    /// A webhook was made: events are sent to another program.
    #[serde(rename = "webhook.created")]
    WebhookCreated,
    /// A webhook's address, kinds, state or secret changed.
    #[serde(rename = "webhook.updated")]
    WebhookUpdated,
    /// A webhook was removed.
    #[serde(rename = "webhook.deleted")]
    WebhookDeleted,
    /// A webhook failed too often, or said that it is gone: nothing is sent to it any more.
    #[serde(rename = "webhook.disabled")]
    WebhookDisabled,
    /// The log of events was exported.
    #[serde(rename = "activity.exported")]
    ActivityExported,
}

impl ActivityKind {
    /// The stable word: noun, point, what happened.
    #[expect(clippy::too_many_lines, reason = "a table, one line a kind")]
    pub fn code(self) -> &'static str {
        match self {
            Self::AccountCreated => "account.created",
            Self::AccountRebuilt => "account.rebuilt",
            Self::AccountMoved => "account.moved",
            Self::AccountUpdated => "account.updated",
            Self::AccountKeyRotated => "account.key_rotated",
            Self::AccountDeletionAnnounced => "account.deletion_announced",
            Self::AccountDeletionCalledOff => "account.deletion_called_off",
            Self::AccountDeletionHeld => "account.deletion_held",
            Self::AccountDeleted => "account.deleted",
            Self::AccountKeyRewrapped => "account.key_rewrapped",
            Self::AccountKeyDestroyed => "account.key_destroyed",
            Self::MemberAdded => "member.added",
            Self::MemberInvited => "member.invited",
            Self::MemberInvitationRevoked => "member.invitation_revoked",
            Self::MemberUpdated => "member.updated",
            Self::MemberRemoved => "member.removed",
            Self::UserSignedIn => "user.signed_in",
            Self::UserSignedOut => "user.signed_out",
            Self::UserPasswordReset => "user.password_reset",
            Self::UserPasswordChanged => "user.password_changed",
            Self::UserSecondFactorEnabled => "user.second_factor_enabled",
            Self::UserSecondFactorDisabled => "user.second_factor_disabled",
            Self::KeyCreated => "key.created",
            Self::KeyDeleted => "key.deleted",
            Self::IntegrationAdded => "integration.added",
            Self::IntegrationUpdated => "integration.updated",
            Self::IntegrationRemoved => "integration.removed",
            Self::IntegrationAppSet => "integration.app_set",
            Self::IntegrationAppRemoved => "integration.app_removed",
            Self::SourceCreated => "source.created",
            Self::SourceRebuilt => "source.rebuilt",
            Self::SourceUpdated => "source.updated",
            Self::SourceDeleted => "source.deleted",
            Self::SourcePaused => "source.paused",
            Self::SourceResumed => "source.resumed",
            Self::SourceAuthorised => "source.authorised",
            Self::SourceAuthorisationLost => "source.authorisation_lost",
            Self::SourceStale => "source.stale",
            Self::SourceFresh => "source.fresh",
            Self::JobCreated => "job.created",
            Self::JobUpdated => "job.updated",
            Self::JobDeleted => "job.deleted",
            Self::JobMissed => "job.missed",
            Self::RunQueued => "run.queued",
            Self::RunStarted => "run.started",
            Self::RunProgress => "run.progress",
            Self::RunCancelRequested => "run.cancel_requested",
            Self::RunRedriven => "run.redriven",
            Self::RunRebuilt => "run.rebuilt",
            Self::RunSucceeded => "run.succeeded",
            Self::RunPartial => "run.partial",
            Self::RunFailed => "run.failed",
            Self::RunCancelled => "run.cancelled",
            Self::RunSkipped => "run.skipped",
            Self::DataRead => "data.read",
            Self::DataExported => "data.exported",
            Self::SnapshotPinned => "snapshot.pinned",
            Self::SnapshotUnpinned => "snapshot.unpinned",
            Self::SnapshotHeld => "snapshot.held",
            Self::SnapshotReleased => "snapshot.released",
            Self::SnapshotSuspicious => "snapshot.suspicious",
            Self::SnapshotForgotten => "snapshot.forgotten",
            Self::SnapshotVerified => "snapshot.verified",
            Self::StorageCollected => "storage.collected",
            Self::BillingSubscriptionChanged => "billing.subscription_changed",
            Self::BillingSecondSubscriptionCancelled => "billing.second_subscription_cancelled",
            Self::BillingPaymentFailed => "billing.payment_failed",
            Self::BillingPaymentMade => "billing.payment_made",
            Self::BillingContactsChanged => "billing.contacts_changed",
            Self::WebhookCreated => "webhook.created",
            Self::WebhookUpdated => "webhook.updated",
            Self::WebhookDeleted => "webhook.deleted",
            Self::WebhookDisabled => "webhook.disabled",
            Self::ActivityExported => "activity.exported",
        }
    }
}

impl Row for ActivityEvent {
    const TABLE: &'static TableSchema = &ACTIVITY;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::FAMILIES;

    #[test]
    fn the_families_are_those_of_all_kinds() {
        let renamed =
            include_str!("activity.rs").lines().filter_map(|line| line.trim().strip_prefix("#[serde(rename = \""));
        let kinds = renamed.filter_map(|line| line.split_once('.').map(|(family, _)| family));
        assert_eq!(kinds.collect::<BTreeSet<_>>(), FAMILIES.into());
    }
}
