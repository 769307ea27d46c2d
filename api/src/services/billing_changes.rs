//! Changes of what is paid. Each is made at Stripe first; then the account's row is brought up to date with what Stripe says.

use actix_web::{
    http::StatusCode,
    web::{Data, Json},
};
use listbackup_engine::{
    billing::{Payer, Plan, standing::Books},
    model::{Account, User, billing::Subscription},
    store::key1,
    token,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer,
    billing::{books, own_standing, payer_of},
    billing_views::SubscriptionView,
};
use crate::{body::Body, caller::Caller, idempotency::IdempotencyKey, problem::Problem, state::AppState};

/// Another plan.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanChoice {
    /// Its name, of `GET /billing/plans`.
    #[schema(max_length = 40)]
    plan: String,
}

/// What to subscribe to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkout {
    /// The plan's name, of `GET /billing/plans`.
    #[schema(max_length = 40)]
    plan: String,
    /// Subscribe this very account, though another one pays for it now.
    #[serde(default)]
    own: bool,
    /// Where the person comes back to: a path of this server.
    #[serde(default = "root")]
    #[schema(max_length = 500, default = "/")]
    return_path: String,
}

/// Where the person comes back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PortalVisit {
    /// A path of this server.
    #[serde(default = "root")]
    #[schema(max_length = 500, default = "/")]
    return_path: String,
}

/// Where to send the person.
#[derive(Serialize, ToSchema)]
pub struct Visit {
    /// A page of Stripe, for this person, for a while.
    url: String,
}

fn root() -> String {
    "/".to_owned()
}

/// Changes to another plan, or resumes a subscription that was cancelled and has not ended.
///
/// Nothing that is there is taken away by a smaller plan: only more of it is refused.
#[utoipa::path(post, path = "/billing/subscription", request_body = PlanChoice, params(IdempotencyKey), responses(
    (status = 200, description = "The subscription as it is now.", body = SubscriptionView),
    (status = 409, description = "There are no payments here (`payments_off`), another account pays (`paid_elsewhere`), or there is no \
        subscription (`no_subscription`).", body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn change(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<PlanChoice>,
) -> Answer<SubscriptionView> {
    let books = books(&state)?;
    let price_id = price_of(&state, &body.value.plan)?;
    let subscription = own_subscription(&state, &caller).await?;
    stays(&state, &caller).await?;
    let mut form = vec![("cancel_at_period_end", "false".to_owned())];
    if subscription.price_id != price_id {
        form.extend([("items[0][id]", subscription.item_id), ("items[0][price]", price_id)]);
    }
    let key = key_of(&state, &caller, "change", &idempotency);
    books.stripe.change(&subscription.subscription_id, &form, &key).await?;
    refreshed(&state, &caller, &books).await
}

/// Cancels the subscription: it ends with the period that is paid, and can be resumed until then.
#[utoipa::path(delete, path = "/billing/subscription", params(IdempotencyKey), responses(
    (status = 200, description = "The subscription as it is now.", body = SubscriptionView),
    (status = 409, description = "There are no payments here (`payments_off`), another account pays (`paid_elsewhere`), or there is no \
        subscription (`no_subscription`).", body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn cancel(state: Data<AppState>, caller: Caller, idempotency: IdempotencyKey) -> Answer<SubscriptionView> {
    let books = books(&state)?;
    let subscription = own_subscription(&state, &caller).await?;
    let form = [("cancel_at_period_end", "true".to_owned())];
    let key = key_of(&state, &caller, "cancel", &idempotency);
    books.stripe.change(&subscription.subscription_id, &form, &key).await?;
    refreshed(&state, &caller, &books).await
}

/// Begins a subscription: send the person to the page in the answer. The plan holds once it is paid there.
#[utoipa::path(post, path = "/billing/checkout", request_body = Checkout, params(IdempotencyKey), responses(
    (status = 200, description = "Where to pay.", body = Visit),
    (status = 409, description = "There are no payments here (`payments_off`), another account pays (`paid_elsewhere`), or there is a \
        subscription already (`already_subscribed`).", body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn check_out(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<Checkout>,
) -> Answer<Visit> {
    let books = books(&state)?;
    let Checkout { plan, own, return_path } = body.value;
    let (price_id, back) = (price_of(&state, &plan)?, back(&state, &return_path)?);
    let payer = payer_of(&state, &caller).await?;
    if !own {
        paid_here(&caller, &payer)?;
    }
    let account_id = caller.account_id();
    if payer.account.account_id == account_id && payer.subscription().is_some() {
        let detail = "this account has a subscription; change its plan by POST /billing/subscription";
        return Err(Problem::new(StatusCode::CONFLICT, "already_subscribed", detail));
    }
    stays(&state, &caller).await?;
    let user = state.store.get::<User>(&state.system, key1(caller.user_id)).await?.row;
    let customer = books.customer(account_id, &user.name, &user.email).await?;
    let form = [
        ("mode", "subscription".to_owned()),
        ("customer", customer.customer_id),
        ("client_reference_id", account_id.to_string()),
        ("line_items[0][price]", price_id),
        ("line_items[0][quantity]", "1".to_owned()),
        ("subscription_data[metadata][account_id]", account_id.to_string()),
        ("success_url", back.clone()),
        ("cancel_url", back),
    ];
    let key = key_of(&state, &caller, "checkout", &idempotency);
    Ok(Json(Visit { url: books.stripe.session("checkout/sessions", &form, &key).await? }))
}

/// Opens the billing portal: cards, addresses and what is open are changed and paid there.
#[utoipa::path(post, path = "/billing/portal", request_body = PortalVisit, params(IdempotencyKey), responses(
    (status = 200, description = "Where to send the person.", body = Visit),
    (status = 409, description = "There are no payments here (`payments_off`), another account pays (`paid_elsewhere`), or nothing was \
        ever paid (`no_subscription`).", body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn portal(
    state: Data<AppState>,
    caller: Caller,
    idempotency: IdempotencyKey,
    body: Body<PortalVisit>,
) -> Answer<Visit> {
    let books = books(&state)?;
    let back = back(&state, &body.value.return_path)?;
    // Whoever paid once may look at what they paid, also when another account pays now.
    let Some(standing) = own_standing(&state, &caller).await? else {
        paid_here(&caller, &payer_of(&state, &caller).await?)?;
        return Err(no_subscription());
    };
    let form = [("customer", standing.customer_id), ("return_url", back)];
    let key = key_of(&state, &caller, "portal", &idempotency);
    Ok(Json(Visit { url: books.stripe.session("billing_portal/sessions", &form, &key).await? }))
}

/// The subscription that the caller's account pays.
async fn own_subscription(state: &AppState, caller: &Caller) -> Result<Subscription, Problem> {
    let payer = payer_of(state, caller).await?;
    paid_here(caller, &payer)?;
    payer.subscription().cloned().ok_or_else(no_subscription)
}

fn paid_here(caller: &Caller, payer: &Payer) -> Result<(), Problem> {
    if payer.account.account_id == caller.account_id() {
        return Ok(());
    }
    let (name, id) = (&payer.account.name, payer.account.account_id);
    let detail = format!("the account \"{name}\" ({id}) pays for this one; change it there");
    Err(Problem::new(StatusCode::CONFLICT, "paid_elsewhere", detail))
}

/// An account that is to be deleted pays for nothing new.
async fn stays(state: &AppState, caller: &Caller) -> Result<(), Problem> {
    let account = state.store.get::<Account>(caller.scope(), key1(caller.account_id())).await?.row;
    match account.ending {
        Some(_) => Err(Problem::conflict("this account is to be deleted; call that off first")),
        None => Ok(()),
    }
}

fn no_subscription() -> Problem {
    let detail = "this account has no subscription; POST /billing/checkout begins one";
    Problem::new(StatusCode::CONFLICT, "no_subscription", detail)
}

async fn refreshed(state: &AppState, caller: &Caller, books: &Books<'_>) -> Answer<SubscriptionView> {
    books.refresh(caller.account_id(), &caller.actor()).await?;
    let payer = payer_of(state, caller).await?;
    Ok(Json(SubscriptionView::of(state, caller.account_id(), &payer)))
}

fn price_of(state: &AppState, name: &str) -> Result<String, Problem> {
    let plan: &Plan =
        state.plans().named(name).ok_or_else(|| Problem::invalid_field("/plan", "is none of GET /billing/plans"))?;
    plan.price_id.clone().ok_or_else(|| {
        let detail = "is the plan without a subscription; DELETE /billing/subscription leads to it";
        Problem::invalid_field("/plan", detail)
    })
}

/// An address of ours: nobody is sent anywhere else.
fn back(state: &AppState, path: &str) -> Result<String, Problem> {
    let public = &state.settings.public_url;
    let address = public.join(path).ok().filter(|address| path.starts_with('/') && address.origin() == public.origin());
    let wrong = || Problem::invalid_field("/return_path", "must be a path of this server, such as /billing");
    address.map(|address| address.to_string()).ok_or_else(wrong)
}

/// What Stripe knows a repeat by: as the caller's own key does.
fn key_of(state: &AppState, caller: &Caller, what: &str, idempotency: &IdempotencyKey) -> String {
    match &idempotency.0 {
        Some(key) => token::hash(&format!("{}\n{what}\n{key}", caller.account_id())),
        None => token::new("", &*state.ports.random).expose_secret().to_owned(),
    }
}
