//! Plans and subscriptions as the API shows them.

use jiff::Timestamp;
use listbackup_engine::{
    billing::{Payer, Plan, Plans},
    model::{AccountId, billing::SubscriptionStatus},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{schemas, state::AppState};

/// What accounts may choose from.
#[derive(Serialize, ToSchema)]
pub struct PlansView {
    /// Whether this server takes payments; without them every account has the default plan.
    payments: bool,
    /// The plans, in the operator's order.
    plans: Vec<PlanView>,
}

/// A plan.
#[derive(Serialize, ToSchema)]
pub struct PlanView {
    /// Stable word for programs.
    name: String,
    /// Name for people.
    title: String,
    /// True for the plan of accounts without a subscription.
    is_default: bool,
    /// What it limits.
    limits: LimitsView,
}

/// The limits of a plan, for the account that pays and all that it pays for; what is absent is not limited.
#[derive(Serialize, ToSchema)]
pub struct LimitsView {
    /// Sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<u64>,
    /// Bytes that the segments of the sources' newest snapshots take.
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_bytes: Option<u64>,
    /// Backups ordered in a month of UTC, by people and by schedules.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_a_month: Option<u64>,
    /// People who are members, and open invitations.
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<u64>,
    /// Days for which a source may keep snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    retention_days: Option<u64>,
}

/// The plan of an account, and how it is paid.
#[derive(Serialize, ToSchema)]
pub struct SubscriptionView {
    /// Whether this server takes payments.
    payments: bool,
    /// The account that pays: changes are made there.
    #[schema(value_type = schemas::AccountId)]
    payer_id: AccountId,
    /// Its name.
    payer_name: String,
    /// True when this account pays for itself.
    is_payer: bool,
    /// The plan that holds.
    plan: PlanView,
    /// How the subscription stands; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, examples("trialing", "active", "past_due", "unpaid", "paused"))]
    status: Option<SubscriptionStatus>,
    /// True when it ends with the period that is paid.
    cancels: bool,
    /// When that period ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    period_ends_at: Option<Timestamp>,
    /// Since when a payment is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    unpaid_since: Option<Timestamp>,
    /// No backups begin from then on, until it is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_stop_at: Option<Timestamp>,
}

impl PlansView {
    /// All plans.
    pub fn of(state: &AppState) -> Self {
        let plans = state.plans();
        Self {
            payments: state.stripe.is_some(),
            plans: plans.all().iter().map(|plan| PlanView::of(plan, plans)).collect(),
        }
    }
}

impl PlanView {
    /// A plan among the others.
    pub fn of(plan: &Plan, plans: &Plans) -> Self {
        let limits = plan.limits;
        Self {
            name: plan.name.clone(),
            title: plan.title.clone(),
            is_default: plan == plans.free(),
            limits: LimitsView {
                sources: limits.sources,
                storage_bytes: limits.storage_bytes,
                runs_a_month: limits.runs_a_month,
                members: limits.members,
                retention_days: limits.retention_days,
            },
        }
    }
}

impl SubscriptionView {
    /// What an account has by who pays for it.
    pub fn of(state: &AppState, account_id: AccountId, payer: &Payer) -> Self {
        let subscription = payer.subscription();
        Self {
            payments: state.stripe.is_some(),
            payer_id: payer.account.account_id,
            payer_name: payer.account.name.clone(),
            is_payer: payer.account.account_id == account_id,
            plan: PlanView::of(payer.plan(state.plans()), state.plans()),
            status: subscription.map(|subscription| subscription.status),
            cancels: subscription.is_some_and(|subscription| subscription.cancels),
            period_ends_at: subscription.and_then(|subscription| subscription.period_ends_at),
            unpaid_since: subscription.and_then(|subscription| subscription.unpaid_since),
            runs_stop_at: subscription.and_then(|subscription| subscription.runs_stop_at()),
        }
    }
}
