//! What is known of accounts that pay: their customer at Stripe, the subscription, who gets notices, and what their plan's limits are
//! counted under. Several kinds of rows share the table, each under a key of its own.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::AccountId;
use crate::tables::{BILLING, Row, TableSchema};

/// How long runs go on after the first payment that failed.
pub const GRACE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How long an event of Stripe is known to have come: longer than Stripe sends it again.
pub const NOTICE_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An account's standing with Stripe, as it was told last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayingAccount {
    /// Whose.
    pub account_id: AccountId,
    /// [`PayingAccount::KEY`].
    pub billing_key: String,
    /// Its customer at Stripe.
    pub customer_id: String,
    /// The subscription that counts, else the newest; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<Subscription>,
    /// Ids of others that came to count beside it, and are being cancelled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub surplus: Vec<String>,
}

impl PayingAccount {
    /// The key of the row in its account.
    pub const KEY: &'static str = "customer";

    /// An account that is known to Stripe and has no subscription yet.
    pub fn new(account_id: AccountId, customer_id: String) -> Self {
        Self { account_id, billing_key: Self::KEY.to_owned(), customer_id, subscription: None, surplus: Vec::new() }
    }

    /// The subscription that the account has now.
    pub fn current(&self) -> Option<&Subscription> {
        self.subscription.as_ref().filter(|subscription| subscription.status.counts())
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id at Stripe.
    pub subscription_id: String,
    /// The id of the part of it that has the price.
    pub item_id: String,
    /// The price, which names the plan.
    pub price_id: String,
    /// How it stands.
    pub status: SubscriptionStatus,
    /// It ends with the period that is paid.
    pub cancels: bool,
    /// When the period ends that is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period_ends_at: Option<Timestamp>,
    /// Since when a payment is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpaid_since: Option<Timestamp>,
}

impl Subscription {
    /// When runs stop, or stopped, for want of a payment.
    pub fn runs_stop_at(&self) -> Option<Timestamp> {
        self.unpaid_since.and_then(|since| since.checked_add(GRACE).ok())
    }

    /// True when a payment is missing for longer than runs go on.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.runs_stop_at().is_some_and(|end| end <= now)
    }
}

/// How a subscription stands, in Stripe's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionStatus {
    /// In a trial.
    Trialing,
    /// Paid.
    Active,
    /// A payment failed and is tried again.
    PastDue,
    /// A payment failed and is not tried any more.
    Unpaid,
    /// A trial ended without a means of payment.
    Paused,
    /// The first payment has not been made.
    Incomplete,
    /// The first payment was never made.
    IncompleteExpired,
    /// Over.
    Canceled,
    /// One that this version does not know; gives nothing.
    #[serde(other)]
    Unknown,
}

impl SubscriptionStatus {
    /// True while the account has the plan.
    pub fn counts(self) -> bool {
        matches!(self, Self::Trialing | Self::Active) || self.lacks_payment()
    }

    /// True while a payment is missing.
    pub fn lacks_payment(self) -> bool {
        matches!(self, Self::PastDue | Self::Unpaid | Self::Paused)
    }
}

/// Who gets letters about payments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillingContacts {
    /// Whose.
    pub account_id: AccountId,
    /// [`BillingContacts::KEY`].
    pub billing_key: String,
    /// Addresses.
    pub emails: Vec<String>,
}

impl BillingContacts {
    /// The key of the row in its account.
    pub const KEY: &'static str = "contacts";

    /// These addresses.
    pub fn new(account_id: AccountId, emails: Vec<String>) -> Self {
        Self { account_id, billing_key: Self::KEY.to_owned(), emails }
    }
}

/// An event of Stripe that had its effect; there until Stripe sends it no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StripeNotice {
    /// Whose.
    pub account_id: AccountId,
    /// [`StripeNotice::key`].
    pub billing_key: String,
    /// When it goes, in seconds since 1970.
    pub expires_at: i64,
}

impl StripeNotice {
    /// The event of that id, come now.
    pub fn new(account_id: AccountId, event_id: &str, now: Timestamp) -> Self {
        Self { account_id, billing_key: Self::key(event_id), expires_at: (now + NOTICE_LIFE).as_second() }
    }

    /// The key of the row of an event in its account.
    pub fn key(event_id: &str) -> String {
        format!("notice#{event_id}")
    }
}

/// What all take who make something that a plan limits: of two at a time, one finds it changed and counts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanGate {
    /// The account that pays.
    pub account_id: AccountId,
    /// [`PlanGate::KEY`].
    pub billing_key: String,
    /// The month that `runs` are of, such as `2026-11`, in UTC.
    pub month: String,
    /// Backups that were ordered in it.
    pub runs: u64,
    /// Members who came last, whom an index may not show yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lately: Vec<LateMember>,
}

impl PlanGate {
    /// The key of the row in its account.
    pub const KEY: &'static str = "gate";

    /// A gate that nobody went through yet.
    pub fn new(account_id: AccountId) -> Self {
        Self { account_id, billing_key: Self::KEY.to_owned(), month: String::new(), runs: 0, lately: Vec::new() }
    }

    /// Backups that were ordered in a month.
    pub fn runs_in(&self, month: &str) -> u64 {
        if self.month == month { self.runs } else { 0 }
    }
}

/// Somebody who came lately.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LateMember {
    /// The id of the person, or of the invitation.
    pub id: String,
    /// Where.
    pub account_id: AccountId,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

impl Row for PayingAccount {
    const TABLE: &'static TableSchema = &BILLING;
}

impl Row for BillingContacts {
    const TABLE: &'static TableSchema = &BILLING;
}

impl Row for StripeNotice {
    const TABLE: &'static TableSchema = &BILLING;
}

impl Row for PlanGate {
    const TABLE: &'static TableSchema = &BILLING;
}
