//! Problem documents (RFC 9457): every error answer of the API, and the one place that maps the engine's errors to them.
//!
//! A handler returns a [`Problem`]; [`crate::gate::finish`] writes its document, because only it knows the request's id.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use listbackup_engine::{Error, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

/// Media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with a request.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    problems: Vec<FieldProblem>,
    retry_after: Option<Duration>,
}

/// An error answer (RFC 9457, `application/problem+json`).
#[derive(Serialize, ToSchema)]
#[schema(title = "Problem")]
pub struct ProblemDocument {
    /// `urn:listbackup:problem:<code>`.
    pub r#type: String,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// Stable word for programs.
    #[schema(examples("not_found", "invalid", "stale"))]
    pub code: &'static str,
    /// What is wrong here, and what to do.
    pub detail: String,
    /// Names this request in the server's log.
    pub request_id: String,
    /// Every problem of an invalid input; absent otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub problems: Vec<FieldProblem>,
}

/// One of several problems of one input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// JSON pointer (RFC 6901) into the body, or `?name` for a query parameter.
    #[schema(examples("/schedule/expression", "?limit"))]
    pub pointer: String,
    /// What is wrong and what to do.
    pub detail: String,
}

impl Problem {
    /// A problem of this status and code.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), problems: Vec::new(), retry_after: None }
    }

    /// Wrong input, with every problem found (422).
    pub fn invalid(problems: Vec<FieldProblem>) -> Self {
        let detail = "the input is not valid; `problems` lists everything that is wrong with it";
        Self { problems, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
    }

    /// One wrong field (422).
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::invalid(vec![Self::field(pointer, detail)])
    }

    /// One of several problems of an input.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> FieldProblem {
        FieldProblem { pointer: pointer.into(), detail: detail.into() }
    }

    /// 500 for a mistake of ours in building the server.
    pub fn without_state() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "bug", "the server was built without its state")
    }

    /// No such thing in this account (404). Says nothing of other accounts.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is no such thing here")
    }

    /// The caller did not prove who they are (401).
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
    }

    /// The caller's role does not allow this (403). Only for things in the caller's own account.
    pub fn denied(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "denied", detail)
    }

    /// The state does not allow this now (409).
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// The same problem, of a part of the input at `pointer`.
    #[must_use]
    pub fn under(mut self, pointer: &str) -> Self {
        if self.problems.is_empty() && self.status == StatusCode::UNPROCESSABLE_ENTITY {
            self.problems.push(FieldProblem { pointer: String::new(), detail: self.detail.clone() });
        }
        for problem in &mut self.problems {
            problem.pointer.insert_str(0, pointer);
        }
        self
    }

    /// The same problem, over after so long.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The stable word.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The document of this problem for one request.
    pub fn document(&self, request_id: String) -> ProblemDocument {
        ProblemDocument {
            r#type: format!("urn:listbackup:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            request_id,
            problems: self.problems.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status.as_u16(), self.code, self.detail)?;
        self.problems.iter().try_for_each(|problem| write!(f, "; {}: {}", problem.pointer, problem.detail))
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        if let Some(wait) = self.retry_after {
            answer.insert_header((header::RETRY_AFTER, wait.as_secs().max(1).to_string()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((header::WWW_AUTHENTICATE, r#"Bearer realm="listbackup""#));
        }
        let mut answer = answer.finish();
        answer.extensions_mut().insert(self.clone());
        answer
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, code) = match error.kind() {
            ErrorKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            ErrorKind::Denied => (StatusCode::FORBIDDEN, "denied"),
            ErrorKind::Conflict | ErrorKind::Fenced => (StatusCode::CONFLICT, "conflict"),
            ErrorKind::Reauthorise => (StatusCode::CONFLICT, "reauthorise"),
            ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "rate_limited"),
            ErrorKind::Retry | ErrorKind::Cancelled | ErrorKind::Deadline => (StatusCode::SERVICE_UNAVAILABLE, "retry"),
            ErrorKind::Exhausted => (StatusCode::INSUFFICIENT_STORAGE, "exhausted"),
            ErrorKind::OverLimit => (StatusCode::PAYMENT_REQUIRED, "plan_limit"),
            ErrorKind::Unpaid => (StatusCode::PAYMENT_REQUIRED, "payment_overdue"),
            ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
            ErrorKind::Bug => (StatusCode::INTERNAL_SERVER_ERROR, "bug"),
        };
        if status.is_server_error() {
            tracing::error!(%error, code, "a request failed");
        }
        let detail = match error.kind() {
            ErrorKind::NotFound => return Self::not_found(),
            ErrorKind::Bug => "a fault of ours; the server's log has more under this request_id".to_owned(),
            _ => error.message().to_owned(),
        };
        let problems = error
            .problems()
            .iter()
            .map(|problem| FieldProblem { pointer: problem.place.clone(), detail: problem.message.clone() })
            .collect();
        let retry_after = error.retry_after().or((code == "retry").then_some(Duration::from_secs(1)));
        Self { status, code, detail, problems, retry_after }
    }
}
