//! Every letter that is sent: a function from facts to a [`Letter`](crate::ports::Letter), one file a subject. `draft` makes text and page of one and the same
//! parts, so that both say the same; `words` bounds and cleans what other people wrote, and escaping is the page's own affair.
//!
//! A letter says what happened, to whom, and what to do; if there is nothing to do, it says that. It never has a password or an access
//! token, and a code only where that is its purpose.

mod alerts;
mod billing;
mod draft;
mod families;
mod page;
mod sign_in;
mod webhooks;
mod words;

pub use self::{
    alerts::{Alert, AlertKind, alert},
    billing::{Payment, payment},
    families::{AccountDeletion, DeletionStage, InvitationFacts, account_deletion, invitation},
    sign_in::{
        FactorChange, already_registered, no_account, password_changed, recovery_code_used, reset_code,
        second_factor_changed, verification,
    },
    webhooks::{WebhookDisabled, webhook_disabled},
};
