//! What surrounds every handler: [`admit`] lets the right callers in, [`finish`] names, measures and logs each request
//! and writes problem documents.

use std::net::IpAddr;

use actix_web::{
    Error, HttpMessage, HttpResponse, ResponseError,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{StatusCode, header},
    middleware::Next,
    web::Data,
};
use listbackup_engine::model::RequestId;
use listbackup_engine::token;
use secrecy::ExposeSecret;
use tokio::time::Instant;

use crate::{
    caller::{Guard, authenticate, bearer, no_right},
    key_scopes::KeyScope,
    problem::{MEDIA_TYPE, Problem},
    state::AppState,
};

/// Names the request in answers and logs.
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");

/// Lets a request through when its caller satisfies the guard and, if an access key calls, the key is for `scope`; leaves the caller for the
/// handler.
///
/// # Errors
/// None of its own: a refusal is an answer.
pub async fn admit<B: MessageBody + 'static>(
    guard: Guard,
    scope: Option<KeyScope>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match check(guard, scope, &request).await {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

async fn check(guard: Guard, scope: Option<KeyScope>, request: &ServiceRequest) -> Result<(), Problem> {
    let state = state_of(request)?;
    let action = match guard {
        Guard::Open => return Ok(()),
        Guard::Operator => return operator(state, request),
        Guard::Member | Guard::Person => None,
        Guard::May(action) | Guard::PersonMay(action) => Some(action),
    };
    let caller = authenticate(state, request.request()).await?;
    if action.is_some_and(|action| !caller.allows(action)) {
        return Err(no_right());
    }
    if matches!(guard, Guard::Person | Guard::PersonMay(_)) && caller.key.is_some() {
        return Err(Problem::denied("an access key may not do this; sign in as a person"));
    }
    if let Some(scope) = scope.filter(|scope| !caller.has_scope(*scope)) {
        return Err(Problem::denied(format!("this access key is not for {scope}; make one with that scope")));
    }
    request.extensions_mut().insert(caller);
    Ok(())
}

/// Without a token only a direct connection from this machine counts: behind a proxy, everybody would seem local.
fn operator(state: &AppState, request: &ServiceRequest) -> Result<(), Problem> {
    let is_allowed = match &state.settings.metrics_token {
        Some(expected) => bearer(request.request()).map(token::hash) == Some(token::hash(expected.expose_secret())),
        None => {
            let is_forwarded = request.headers().contains_key(header::FORWARDED)
                || request.headers().contains_key(header::X_FORWARDED_FOR);
            !is_forwarded && request.peer_addr().is_some_and(|peer| is_this_machine(peer.ip()))
        }
    };
    if is_allowed { Ok(()) } else { Err(Problem::not_found()) }
}

fn is_this_machine(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn state_of(request: &ServiceRequest) -> Result<&AppState, Problem> {
    request.app_data::<Data<AppState>>().map(|state| &***state).ok_or_else(Problem::without_state)
}

/// Gives the request its id, writes the document of a problem, sets the headers that every answer has, and counts.
///
/// # Errors
/// Those of the inner service that are no answers.
pub async fn finish<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Instant::now();
    let request_id: RequestId = match state_of(&request) {
        Ok(state) => state.new_id(),
        Err(problem) => return Ok(request.into_response(problem.error_response())),
    };
    request.extensions_mut().insert(request_id);
    let answer = next.call(request).await?.map_into_boxed_body();
    let mut answer = write_problem(answer, request_id);
    set_headers(&mut answer, request_id);
    measure(&answer, begun, request_id);
    Ok(answer)
}

fn write_problem(mut answer: ServiceResponse<BoxBody>, request_id: RequestId) -> ServiceResponse<BoxBody> {
    let told = answer.response_mut().extensions_mut().remove::<Problem>();
    let status = answer.status();
    let problem = match told {
        Some(problem) => problem,
        // Refusals of the framework itself, such as a body over the limit.
        None if status.is_client_error() || status.is_server_error() => of_status(status),
        None => return answer,
    };
    let document = serde_json::to_vec(&problem.document(request_id.to_string())).unwrap_or_default();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
    headers.remove(header::CONTENT_LENGTH);
    answer.map_body(|_, _| BoxBody::new(document))
}

fn of_status(status: StatusCode) -> Problem {
    let detail = status.canonical_reason().unwrap_or("the request could not be served");
    let code = match status {
        StatusCode::NOT_FOUND => return Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        StatusCode::REQUEST_TIMEOUT => "timeout",
        _ if status.is_client_error() => "bad_request",
        _ => "bug",
    };
    Problem::new(status, code, detail)
}

fn set_headers(answer: &mut ServiceResponse<BoxBody>, request_id: RequestId) {
    let headers = answer.headers_mut();
    if let Ok(value) = header::HeaderValue::from_str(&request_id.to_string()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, header::HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    }
}

fn measure(answer: &ServiceResponse<BoxBody>, begun: Instant, request_id: RequestId) {
    let route = answer.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let method = answer.request().method().to_string();
    let status = answer.status().as_u16();
    let seconds = begun.elapsed().as_secs_f64();
    metrics::counter!("listbackup_http_requests_total", "route" => route.clone(), "method" => method.clone(),
        "status" => status.to_string())
    .increment(1);
    metrics::histogram!("listbackup_http_request_seconds", "route" => route.clone()).record(seconds);
    tracing::info!(%request_id, method, route, status, seconds, "request");
}

/// The answer to a path that is not in the table.
pub async fn no_such_route() -> HttpResponse {
    Problem::not_found().error_response()
}

/// The answer to a path that is in the table, but not with this method: `Allow` says which it has.
pub async fn no_such_method(allowed: &str) -> HttpResponse {
    let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path has no such method");
    let mut answer = problem.error_response();
    if let Ok(methods) = header::HeaderValue::from_str(allowed) {
        answer.headers_mut().insert(header::ALLOW, methods);
    }
    answer
}
