//! What Stripe tells. The signature over the raw body is checked before anything of it is read; what it says happened is not believed
//! either: it only says whose state to fetch.

use actix_web::{
    HttpRequest,
    http::StatusCode,
    web::{Bytes, Data, Json},
};
use listbackup_engine::billing::stripe::signature;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{Answer, billing::books};
use crate::{problem::Problem, state::AppState};

/// Of these a change of a subscription may follow.
const KINDS: [&str; 4] = ["customer.subscription.", "customer.deleted", "invoice.", "checkout.session."];

/// What became of a notice.
#[derive(Serialize, ToSchema)]
pub struct NoticeTaken {
    /// False for one that came before, or is of no concern here.
    had_effect: bool,
}

/// Takes a notice of Stripe, signed with the endpoint's secret; for Stripe alone. Notices may come late, twice and in any order.
#[utoipa::path(post, path = "/billing/webhooks",
    request_body(content = Object, content_type = "application/json", description = "An event of Stripe."),
    params(("Stripe-Signature" = String, Header, description = "Stripe's signature over the body.")), responses(
    (status = 200, description = "Taken.", body = NoticeTaken),
    (status = 400, description = "The signature is wrong or too old (`bad_signature`), or the body is no event (`malformed`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json"),
    (status = 409, description = "There are no payments here (`payments_off`).",
        body = crate::problem::ProblemDocument, content_type = "application/problem+json")))]
pub async fn take(state: Data<AppState>, request: HttpRequest, body: Bytes) -> Answer<NoticeTaken> {
    let books = books(&state)?;
    let secret = books.stripe.webhook_secret().ok_or_else(|| {
        let detail = "this server takes no webhooks: its operator has set no signing secret of Stripe";
        Problem::new(StatusCode::CONFLICT, "payments_off", detail)
    })?;
    let header = request.headers().get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signature::is_right(secret, header, &body, state.now()) {
        let detail = "the signature is wrong, or older than five minutes";
        return Err(Problem::new(StatusCode::BAD_REQUEST, "bad_signature", detail));
    }
    let event: Value = serde_json::from_slice(&body).map_err(|_| malformed())?;
    let (event_id, kind) = event["id"].as_str().zip(event["type"].as_str()).ok_or_else(malformed)?;
    let customer = customer_of(&event["data"]["object"]).filter(|_| KINDS.iter().any(|start| kind.starts_with(start)));
    let had_effect = match customer {
        Some(customer_id) => books.take(event_id, customer_id).await?,
        None => false,
    };
    tracing::info!(event_id, kind, had_effect, "a notice of Stripe");
    Ok(Json(NoticeTaken { had_effect }))
}

/// Whom an object is of: its customer, by id or whole, or itself.
fn customer_of(object: &Value) -> Option<&str> {
    if object["object"] == "customer" {
        return object["id"].as_str();
    }
    object["customer"].as_str().or_else(|| object["customer"]["id"].as_str())
}

fn malformed() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed", "the body is no event of Stripe")
}
