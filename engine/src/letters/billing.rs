//! Letters to who pays for an account.

use jiff::Timestamp;
use url::Url;

use super::{draft::Draft, words};
use crate::ports::Letter;

/// A payment that did not go through.
#[derive(Clone, Copy, Debug)]
pub struct PaymentFailed<'a> {
    /// Name of the account.
    pub account: &'a str,
    /// How much, with its currency, such as `49.00 EUR`.
    pub amount: &'a str,
    /// Number of the invoice.
    pub invoice: &'a str,
    /// Why, as the payment service says.
    pub reason: &'a str,
    /// From when on no new backups are made.
    pub grace_ends_at: Timestamp,
    /// Where another way to pay is given.
    pub link: Option<&'a Url>,
}

/// What became of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscriptionChange {
    /// There is one.
    Started,
    /// It is another one.
    Changed,
    /// It ends.
    Cancelled,
    /// New backups stopped, since it is not paid.
    Suspended,
    /// It is paid again.
    Resumed,
}

/// The subscription of an account.
#[derive(Clone, Copy, Debug)]
pub struct Subscription<'a> {
    /// What became of it.
    pub change: SubscriptionChange,
    /// Name of the account.
    pub account: &'a str,
    /// Name of the plan.
    pub plan: &'a str,
    /// From when on.
    pub from: Timestamp,
    /// Where to look.
    pub link: Option<&'a Url>,
}

/// To who pays.
pub fn payment_failed(to: &str, facts: &PaymentFailed<'_>) -> Letter {
    let account = words::name(facts.account);
    Draft::new(to, &format!("A payment for {account} did not go through"))
        .say("A payment for your ListBackup account did not go through.")
        .facts([
            ("Account", account),
            ("Amount", words::name(facts.amount)),
            ("Invoice", words::name(facts.invoice)),
            ("Reason", words::reason(facts.reason)),
        ])
        .say(format!(
            "It is tried again. If it is not paid by {}, no new backups are made. What is kept stays, and can be read and \
             restored.",
            words::day(facts.grace_ends_at)
        ))
        .link("Pay in another way", facts.link)
        .write()
}

/// To who pays.
pub fn subscription_changed(to: &str, facts: &Subscription<'_>) -> Letter {
    let (account, plan) = (words::name(facts.account), words::name(facts.plan));
    let (subject, what) = match facts.change {
        SubscriptionChange::Started => (format!("{account} has the plan {plan}"), "The subscription has begun."),
        SubscriptionChange::Changed => (
            format!("{account} has the plan {plan} now"),
            "The subscription was changed; the limits are those of the new plan.",
        ),
        SubscriptionChange::Cancelled => (
            format!("The subscription of {account} was cancelled"),
            "The subscription was cancelled. Backups go on until it ends; what is kept can be read and restored afterwards.",
        ),
        SubscriptionChange::Suspended => (
            format!("No new backups are made for {account}"),
            "The subscription is not paid, so no new backups are made. What is kept stays, and can be read and restored.",
        ),
        SubscriptionChange::Resumed => {
            (format!("Backups of {account} go on"), "The subscription is paid. Jobs run again by their schedules.")
        }
    };
    Draft::new(to, &subject)
        .say(what)
        .facts([("Account", account), ("Plan", plan), ("From", words::day(facts.from))])
        .link("Look at the subscription", facts.link)
        .write()
}
