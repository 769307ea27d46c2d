//! `/oauth/authorize` and `/oauth/token`.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{AUTHORIZATION, CACHE_CONTROL, LOCATION},
    web::{Data, Form, Query},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{
    Shared,
    gate::refusal,
    held,
    oauth::{AuthorizeQuery, TokenForm},
};

/// Approves whoever comes, and sends the browser back.
pub async fn authorize(shared: Data<Shared>, query: Query<AuthorizeQuery>) -> HttpResponse {
    let Ok(mut back) = Url::parse(&query.redirect_uri) else {
        return refusal(400, "redirect_uri is no URL");
    };
    if query.client_id != held(&shared.client).client_id {
        return refusal(400, "client_id is not known");
    }
    match shared.oauth().authorize(&query) {
        Ok(code) => back.query_pairs_mut().append_pair("code", &code),
        Err(why) => back.query_pairs_mut().append_pair("error", why),
    };
    back.query_pairs_mut().append_pair("state", &query.state);
    HttpResponse::SeeOther()
        .insert_header((LOCATION, back.as_str()))
        .content_type("text/html; charset=utf-8")
        .body("<!doctype html><title>Sandbox</title><p>Approved. Your browser is on its way back.</p>")
}

/// Exchanges codes and refresh tokens.
pub async fn token(shared: Data<Shared>, request: HttpRequest, form: Form<TokenForm>) -> HttpResponse {
    shared.stats().count(request.path());
    if !is_our_client(&shared, &request, &form) {
        return HttpResponse::Unauthorized().json(json!({"error": "invalid_client"}));
    }
    let outcome = shared.oauth().exchange(&form);
    match outcome {
        Ok(issued) => {
            shared.stats().tokens_issued += 1;
            HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).json(json!({
                "access_token": issued.access_token,
                "refresh_token": issued.refresh_token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in_s,
            }))
        }
        Err(why) => {
            shared.stats().tokens_refused += 1;
            HttpResponse::BadRequest()
                .json(json!({"error": why, "error_description": "the sandbox refuses this grant"}))
        }
    }
}

/// By HTTP basic or in the form (RFC 6749 section 2.3.1).
fn is_our_client(shared: &Shared, request: &HttpRequest, form: &TokenForm) -> bool {
    let basic = request.headers().get(AUTHORIZATION).and_then(|value| basic_pair(value.to_str().ok()?));
    let (id, secret) = match (basic, &form.client_id, &form.client_secret) {
        (Some(pair), _, _) => pair,
        (None, Some(id), Some(secret)) => (id.clone(), secret.clone()),
        _ => return false,
    };
    let ours = held(&shared.client);
    id == ours.client_id && secret == ours.client_secret
}

fn basic_pair(header: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((decoded(id), decoded(secret)))
}

fn decoded(text: &str) -> String {
    form_urlencoded::parse(format!("v={text}").as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}
