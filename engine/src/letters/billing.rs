//! Letters to who sees to the payments of an account.

use jiff::Timestamp;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// What happened to what an account pays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payment {
    /// A payment failed; from then on no new backups begin, if it is still missing.
    Failed {
        /// `None` where that is not known.
        stops_at: Option<Timestamp>,
    },
    /// What was missing was paid.
    Made,
    /// This plan holds from now on.
    Plan {
        /// Its name.
        plan: String,
    },
    /// The subscription of this plan was cancelled, and can be resumed until it ends.
    Cancelled {
        /// The plan's name.
        plan: String,
        /// `None`: with the period that is paid.
        ends_at: Option<Timestamp>,
    },
    /// The subscription is over.
    Over {
        /// Name of the plan that holds from now on.
        plan: String,
    },
}

/// To a contact.
pub fn payment(to: &str, what: &Payment) -> Letter {
    match what {
        Payment::Failed { stops_at } => Draft::new(to, "A payment for ListBackup failed")
            .say("A payment for your ListBackup account failed. It is tried again.")
            .facts([("New backups stop", stops_at.map(words::time).unwrap_or_default())])
            .say(
                "What is stored is kept, and can be read, restored and exported all the time. The billing portal of your account leads \
                 to the payment.",
            )
            .write(),
        Payment::Made => Draft::new(to, "Your payment for ListBackup was made")
            .say("The missing payment for ListBackup was made. Backups go on.")
            .write(),
        Payment::Plan { plan } => changed(to)
            .say(format!("From now on the plan {} holds.", words::name(plan)))
            .write(),
        Payment::Cancelled { plan, ends_at } => changed(to)
            .say(format!("The subscription of the plan {} was cancelled. Until it ends it can be resumed.", words::name(plan)))
            .facts([("Ends", ends_at.map_or_else(|| "with the period that is paid".to_owned(), words::time))])
            .write(),
        Payment::Over { plan } => changed(to)
            .say(format!(
                "The subscription is over. From now on the plan {} holds; nothing stored is deleted for that.",
                words::name(plan)
            ))
            .write(),
    }
}

fn changed(to: &str) -> Draft {
    Draft::new(to, "Your subscription of ListBackup changed")
}
