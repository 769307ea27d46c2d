//! What can happen: every kind of event, with its word. This table is the one place of both.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$about:meta])+ $name:ident = $word:literal,)+) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ActivityKind {
            $($(#[$about])+ #[serde(rename = $word)] $name,)+
        }

        impl ActivityKind {
            /// The stable word: noun, point, what happened.
            pub fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
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

kinds! {
    /// An account was made.
    AccountCreated = "account.created",
    /// The row of an account that was lost was made anew from what is stored of it.
    AccountRebuilt = "account.rebuilt",
    /// An account, with all below it, was put under another one.
    AccountMoved = "account.moved",
    /// An account's name changed.
    AccountUpdated = "account.updated",
    /// An account got a new data key for what is stored from then on.
    AccountKeyRotated = "account.key_rotated",
    /// An owner asked to delete the account: from `endsAt` on nothing of it can be read any more, unless that is called off.
    AccountDeletionAnnounced = "account.deletion_announced",
    /// The account is not deleted after all.
    AccountDeletionCalledOff = "account.deletion_called_off",
    /// The account was to be deleted now, but waits for snapshots that are held or locked.
    AccountDeletionHeld = "account.deletion_held",
    /// An account was deleted; told to the account above it as well.
    AccountDeleted = "account.deleted",
    /// An account's data keys and credentials were wrapped by another master key, and the old one opens them no more.
    AccountKeyRewrapped = "account.key_rewrapped",
    /// An account's data keys were destroyed, by a person: nothing stored of it can be read any more.
    AccountKeyDestroyed = "account.key_destroyed",
    /// A person became a member of the account.
    MemberAdded = "member.added",
    /// Somebody was invited into the account.
    MemberInvited = "member.invited",
    /// An invitation was taken back.
    MemberInvitationRevoked = "member.invitation_revoked",
    /// A member's role changed.
    MemberUpdated = "member.updated",
    /// A member left or was removed.
    MemberRemoved = "member.removed",
    /// A person signed in.
    UserSignedIn = "user.signed_in",
    /// A person ended all of their sessions.
    UserSignedOut = "user.signed_out",
    /// A person set a new password by a mailed code.
    UserPasswordReset = "user.password_reset",
    /// A person changed their password.
    UserPasswordChanged = "user.password_changed",
    /// A person is asked for a second factor from now on.
    UserSecondFactorEnabled = "user.second_factor_enabled",
    /// A person is not asked for a second factor any more.
    UserSecondFactorDisabled = "user.second_factor_disabled",
    /// An access key was made.
    KeyCreated = "key.created",
    /// An access key was withdrawn.
    KeyDeleted = "key.deleted",
    /// An integration of the account's own was uploaded.
    IntegrationAdded = "integration.added",
    /// A further version of an integration of the account's own was uploaded.
    IntegrationUpdated = "integration.updated",
    /// An integration of the account's own was removed.
    IntegrationRemoved = "integration.removed",
    /// An OAuth app of the account's own was given for an integration, or another one, or its secret or hosts changed.
    IntegrationAppSet = "integration.app_set",
    /// The account's OAuth app for an integration was removed.
    IntegrationAppRemoved = "integration.app_removed",
    /// A source was made.
    SourceCreated = "source.created",
    /// The row of a source that was lost was made anew from its snapshots, or brought up to date with them.
    SourceRebuilt = "source.rebuilt",
    /// A source's settings or name changed.
    SourceUpdated = "source.updated",
    /// A source was removed; its snapshots stay.
    SourceDeleted = "source.deleted",
    /// A source was paused.
    SourcePaused = "source.paused",
    /// A source goes on.
    SourceResumed = "source.resumed",
    /// A source was signed in by OAuth.
    SourceAuthorised = "source.authorised",
    /// A source's sign-in ended, or is not enough any more for some of its streams (`streams`, of a partial run); a person must sign
    /// in again.
    SourceAuthorisationLost = "source.authorisation_lost",
    /// A source became stale: one of its streams is older than it may be.
    SourceStale = "source.stale",
    /// A stale source is fresh again, or nobody expects it to be any more.
    SourceFresh = "source.fresh",
    /// A job was made.
    JobCreated = "job.created",
    /// A job changed.
    JobUpdated = "job.updated",
    /// A job was removed.
    JobDeleted = "job.deleted",
    /// Due times of a job passed while nothing looked at its schedule, and were skipped.
    JobMissed = "job.missed",
    /// A run was ordered.
    RunQueued = "run.queued",
    /// A worker began or resumed a run.
    RunStarted = "run.started",
    /// How far a run is (live followers only; not kept).
    RunProgress = "run.progress",
    /// Somebody asked a run to stop that a worker is busy with.
    RunCancelRequested = "run.cancel_requested",
    /// The order of a run that had failed too often was put back into the queue.
    RunRedriven = "run.redriven",
    /// The row of a run that was lost was made anew from its snapshot, or told of it.
    RunRebuilt = "run.rebuilt",
    /// A run ended well.
    RunSucceeded = "run.succeeded",
    /// A run ended with failed parts.
    RunPartial = "run.partial",
    /// A run failed.
    RunFailed = "run.failed",
    /// A run was cancelled.
    RunCancelled = "run.cancelled",
    /// A run was not begun.
    RunSkipped = "run.skipped",
    /// Backed-up records were looked at.
    DataRead = "data.read",
    /// Backed-up data was exported or downloaded.
    DataExported = "data.exported",
    /// A snapshot was pinned: no rule lets go of it.
    SnapshotPinned = "snapshot.pinned",
    /// A snapshot's pins were taken away.
    SnapshotUnpinned = "snapshot.unpinned",
    /// A snapshot was put under a legal hold.
    SnapshotHeld = "snapshot.held",
    /// A snapshot's legal holds were lifted.
    SnapshotReleased = "snapshot.released",
    /// A run deleted so much of a stream that it looks like a fault; the last snapshot before it was pinned.
    SnapshotSuspicious = "snapshot.suspicious",
    /// A snapshot was let go of, by a rule or by a person.
    SnapshotForgotten = "snapshot.forgotten",
    /// A verification of a snapshot came to its end, or found damage.
    SnapshotVerified = "snapshot.verified",
    /// Segments, or packs of attachments, that nothing refers to were deleted.
    StorageCollected = "storage.collected",
    /// An account has another plan, or its subscription was cancelled, resumed or is over.
    BillingSubscriptionChanged = "billing.subscription_changed",
    /// A second subscription for the same account is cancelled: two checkouts were finished at the same time.
    BillingSecondSubscriptionCancelled = "billing.second_subscription_cancelled",
    /// A payment failed; backups go on for a while.
    BillingPaymentFailed = "billing.payment_failed",
    /// The payment that was missing was made.
    BillingPaymentMade = "billing.payment_made",
    /// Others get letters about payments.
    BillingContactsChanged = "billing.contacts_changed",
    /// A webhook was made: events are sent to another program.
    WebhookCreated = "webhook.created",
    /// A webhook's address, kinds, state or secret changed.
    WebhookUpdated = "webhook.updated",
    /// A webhook was removed.
    WebhookDeleted = "webhook.deleted",
    /// A webhook failed too often, or said that it is gone: nothing is sent to it any more.
    WebhookDisabled = "webhook.disabled",
    /// The log of events was exported.
    ActivityExported = "activity.exported",
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{ActivityKind, FAMILIES};

    #[test]
    fn the_families_are_those_of_all_kinds() {
        let kinds = ActivityKind::ALL.iter().filter_map(|kind| kind.code().split_once('.'));
        assert_eq!(kinds.map(|(family, _)| family).collect::<BTreeSet<_>>(), FAMILIES.into());
    }
}
