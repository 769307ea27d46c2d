//! Plans, the subscription and what is used. Changes are in [`super::billing_changes`].

use actix_web::{
    http::StatusCode,
    web::{Data, Json},
};
use listbackup_engine::{
    billing::{Payer, standing::Books},
    model::{AccountId, billing::PayingAccount},
    store::key,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Answer,
    billing_views::{PlanView, PlansView, SubscriptionView},
};
use crate::{caller::Caller, problem::Problem, schemas, state::AppState};

/// What an account uses, with all others that the same one pays for.
#[derive(Serialize, ToSchema)]
pub struct PlanUsageView {
    /// Whether this server takes payments.
    payments: bool,
    /// The account that pays.
    #[schema(value_type = schemas::AccountId)]
    payer_id: AccountId,
    /// The plan that holds, with its limits.
    plan: PlanView,
    /// Sources.
    sources: u64,
    /// Bytes that the segments of the sources' newest snapshots take. What only older snapshots hold, and attachments, is not in it.
    storage_bytes: u64,
    /// People who are members, and open invitations.
    members: u64,
    /// Backups ordered in this month of UTC; absent where no plan limits them.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_this_month: Option<u64>,
}

/// What accounts may choose from.
#[utoipa::path(get, path = "/billing/plans", responses((status = 200, description = "The plans.", body = PlansView)))]
pub async fn plans(state: Data<AppState>) -> Json<PlansView> {
    Json(PlansView::of(&state))
}

/// The account's plan, and how it is paid.
#[utoipa::path(get, path = "/billing/subscription", responses(
    (status = 200, description = "The plan that holds.", body = SubscriptionView)))]
pub async fn subscription(state: Data<AppState>, caller: Caller) -> Answer<SubscriptionView> {
    let payer = payer_of(&state, &caller).await?;
    Ok(Json(SubscriptionView::of(&state, caller.account_id(), &payer)))
}

/// What is used of what plans limit.
#[utoipa::path(get, path = "/billing/usage", responses((status = 200, description = "What is used.", body = PlanUsageView)))]
pub async fn usage(state: Data<AppState>, caller: Caller) -> Answer<PlanUsageView> {
    let payer = payer_of(&state, &caller).await?;
    let used = state.allowance().used(&payer).await?;
    Ok(Json(PlanUsageView {
        payments: state.stripe.is_some(),
        payer_id: payer.account.account_id,
        plan: PlanView::of(payer.plan(state.plans()), state.plans()),
        sources: used.sources,
        storage_bytes: used.storage_bytes,
        members: used.members,
        runs_this_month: used.runs_this_month,
    }))
}

/// Who pays for the caller's account.
///
/// # Errors
/// 503 when the store cannot be reached.
pub async fn payer_of(state: &AppState, caller: &Caller) -> Result<Payer, Problem> {
    Ok(Payer::of(&state.store, &state.system, caller.account_id()).await?)
}

/// What keeps rows and Stripe together.
///
/// # Errors
/// 409 where there are no payments.
pub fn books(state: &AppState) -> Result<Books<'_>, Problem> {
    let stripe = state.stripe.as_ref().ok_or_else(|| {
        let detail = "this server takes no payments: its operator has set no key of Stripe; the default plan holds";
        Problem::new(StatusCode::CONFLICT, "payments_off", detail)
    })?;
    Ok(Books { ports: &state.ports, store: &state.store, system: &state.system, plans: state.plans(), stripe })
}

/// The caller's own account, as Stripe knows it; `None` before its first checkout.
///
/// # Errors
/// 503 when the store cannot be reached.
pub async fn own_standing(state: &AppState, caller: &Caller) -> Result<Option<PayingAccount>, Problem> {
    let place = key(caller.account_id(), PayingAccount::KEY);
    Ok(state.store.find::<PayingAccount>(caller.scope(), place).await?.map(|found| found.row))
}
