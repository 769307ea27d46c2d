//! The exchange with a token endpoint: our HTTP client as the `oauth2` crate wants it, and its failures in our words.

use futures::future::BoxFuture;
use oauth2::{HttpRequest, HttpResponse, RequestTokenError, basic::BasicErrorResponse};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde_json::Value;

use super::{answer::refusal, flow::absolute};
use crate::{
    clock,
    error::{Error, ErrorKind, Result},
    http::{HttpClient, Request, RetryPolicy, failure},
};

/// How a token request fails in the words of the `oauth2` crate.
pub(super) type Failure = RequestTokenError<Error, BasicErrorResponse>;

/// A failed token request as an error of ours.
pub(super) fn told(failure: Failure) -> Error {
    match failure {
        RequestTokenError::ServerResponse(answer) => refusal(&answer),
        RequestTokenError::Request(error) => error,
        RequestTokenError::Parse(error, _) => {
            let message = format!("the token endpoint's answer holds no token ({} is wrong)", error.path());
            Error::new(ErrorKind::BadAnswer, message)
        }
        RequestTokenError::Other(_) => Error::new(ErrorKind::BadAnswer, "the token endpoint's answer is empty"),
    }
}

/// The HTTP client as the `oauth2` crate wants it.
pub(super) struct Exchange(pub(super) HttpClient);

impl<'c> oauth2::AsyncHttpClient<'c> for Exchange {
    type Error = Error;
    type Future = BoxFuture<'c, Result<HttpResponse>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.exchange(request))
    }
}

impl Exchange {
    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse> {
        let (parts, body) = request.into_parts();
        let url = absolute(&parts.uri.to_string())?;
        let mut headers = parts.headers;
        if let Some(credentials) = headers.get_mut(AUTHORIZATION) {
            credentials.set_sensitive(true);
        }
        let request = Request { method: parts.method, url, headers, body: body.into() };
        let response = RetryPolicy::default()
            .run(async || {
                let response = self.0.send_once(request.clone()).await?;
                match failure(&response, clock::now()) {
                    // A refusal in the standard's form is the caller's to read.
                    Some(error) if matches!(error.kind(), ErrorKind::Retry | ErrorKind::RateLimited) => Err(error),
                    Some(error) if !says_why(&response.body) => Err(unexplained(error)),
                    _ => Ok(response),
                }
            })
            .await?;
        let mut answer = HttpResponse::new(response.body.to_vec());
        // Some products refuse with status 200, and some answer JSON under another type.
        let is_token = response.status.is_success() && !says_why(&response.body);
        *answer.status_mut() = if is_token { StatusCode::OK } else { StatusCode::BAD_REQUEST };
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }
}

fn says_why(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|answer| answer["error"].is_string())
}

/// A refusal that does not say why, in words of its own: by far most often the grant is gone.
fn unexplained(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::Denied | ErrorKind::Reauthorise => {
            let message = format!("the product refuses the token request: sign in again ({})", error.message());
            Error::new(ErrorKind::Reauthorise, message)
        }
        _ => error,
    }
}
