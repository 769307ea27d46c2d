//! What every data request passes: who is it, may it come now, and does a fault strike it.

use actix_web::{
    Error, HttpResponse,
    body::{BoxBody, SizedStream},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{AUTHORIZATION, HeaderName, HeaderValue, RETRY_AFTER},
    middleware::Next,
    web::Data,
};
use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::json;

use super::{Shared, fault::Fault, held};

/// The wrapper around the data routes.
pub async fn pass(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse, Error> {
    let Some(shared) = request.app_data::<Data<Shared>>().cloned() else {
        return Ok(request.into_response(HttpResponse::InternalServerError().finish()));
    };
    shared.stats().count(request.path());
    let Some(credential) = credential(&request).filter(|credential| is_known(&shared, credential)) else {
        shared.stats().unauthorised += 1;
        return Ok(request.into_response(refusal(401, "the credential is missing, wrong or expired")));
    };
    let verdict = held(&shared.limit).count(&credential);
    if !verdict.is_allowed {
        shared.stats().rate_limited += 1;
        let mut answer = refusal(429, "too many requests in this second");
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        return Ok(request.into_response(answer));
    }
    let fault = held(&shared.faults).strike(request.path());
    let delay = fault.as_ref().map(Fault::delay).unwrap_or_default() + shared.settings.page_latency;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let mut answer = next.call(request).await?;
    if let Some(remaining) = verdict.remaining {
        let headers = answer.headers_mut();
        headers.insert(HeaderName::from_static("x-ratelimit-limit"), shared.settings.rate_limit_per_second.into());
        headers.insert(HeaderName::from_static("x-ratelimit-remaining"), remaining.into());
        headers.insert(HeaderName::from_static("x-ratelimit-reset"), HeaderValue::from_static("1"));
    }
    match fault {
        Some(fault) => strike(answer, &fault).await,
        None => Ok(answer),
    }
}

fn credential(request: &ServiceRequest) -> Option<String> {
    let headers = request.headers();
    let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let key = headers.get("x-api-key").and_then(|value| value.to_str().ok());
    bearer.or(key).map(str::to_owned)
}

fn is_known(shared: &Shared, credential: &str) -> bool {
    credential == shared.settings.api_key || shared.oauth().accepts(credential)
}

/// An answer that is an error, in the product's own form.
pub fn refusal(status: u16, message: &str) -> HttpResponse {
    let status = actix_web::http::StatusCode::from_u16(status).unwrap_or_default();
    HttpResponse::build(status).json(json!({"message": message, "status": status.as_u16()}))
}

async fn strike(answer: ServiceResponse, fault: &Fault) -> Result<ServiceResponse, Error> {
    let (request, answer) = answer.into_parts();
    let struck = match fault {
        Fault::Slow { .. } => answer,
        Fault::Status { status, retry_after_s } => {
            let mut struck = refusal(*status, "a fault was ordered");
            if let Some(seconds) = retry_after_s {
                struck.headers_mut().insert(RETRY_AFTER, (*seconds).into());
            }
            struck
        }
        Fault::NotJson => HttpResponse::Ok().content_type("application/json").body("<html>We'll be back soon</html>"),
        Fault::Empty => HttpResponse::Ok().content_type("application/json").finish(),
        Fault::Cut => cut(answer).await?,
    };
    Ok(ServiceResponse::new(request, struck))
}

/// The whole length announced, half of it sent.
async fn cut(answer: HttpResponse) -> Result<HttpResponse, Error> {
    let (head, body) = answer.into_parts();
    let whole = actix_web::body::to_bytes(body).await.map_err(actix_web::error::ErrorInternalServerError)?;
    let half = whole.slice(..whole.len() / 2);
    let first = stream::once(async move { Ok::<Bytes, std::io::Error>(half) });
    let then = stream::once(async {
        // Lets the server send the first half before it learns of the break.
        tokio::task::yield_now().await;
        Err(std::io::ErrorKind::BrokenPipe.into())
    });
    let broken = Box::pin(first.chain(then));
    Ok(head.set_body(SizedStream::new(whole.len() as u64, broken)).map_into_boxed_body())
}
