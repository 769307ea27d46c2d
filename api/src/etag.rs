//! Entity tags: an update can say which state it is based on.
//!
//! A tag comes from what a person last changed, not from the row's version: a live run renews the lease in a source's
//! row every few seconds, and nobody's edit should fail for that.

use std::future::{Ready, ready};

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::{StatusCode, header},
};
use serde::Serialize;

use crate::problem::Problem;

/// An entity tag, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ETag(String);

impl ETag {
    /// From whatever changes with each change by a person: an instant, a version.
    pub fn of(state: impl std::fmt::Display) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, state.to_string().as_bytes());
        Self(format!("\"{}\"", crate::caller::hex(&digest.as_ref()[..8])))
    }

    /// An answer that carries the tag.
    pub fn answer(&self, status: StatusCode, body: &impl Serialize) -> HttpResponse {
        HttpResponse::build(status).insert_header((header::ETAG, self.0.clone())).json(body)
    }
}

/// The `If-Match` header of a request.
#[derive(Clone, Debug)]
pub struct IfMatch(Option<String>);

impl IfMatch {
    /// Lets a change through when the caller named no state or the present one.
    ///
    /// # Errors
    /// 412 when the thing has changed since the caller read it.
    pub fn check(&self, present: &ETag) -> Result<(), Problem> {
        let fits = |wanted: &String| wanted.split(',').any(|tag| tag.trim() == "*" || tag.trim() == present.0);
        if self.0.as_ref().is_none_or(fits) {
            return Ok(());
        }
        let detail = "it has changed since you read it; read it again and repeat your change on what you find";
        Err(Problem::new(StatusCode::PRECONDITION_FAILED, "stale", detail))
    }
}

impl FromRequest for IfMatch {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let value = request.headers().get(header::IF_MATCH).map(|value| value.to_str().map(str::to_owned));
        ready(match value.transpose() {
            Ok(tag) => Ok(Self(tag)),
            Err(_) => Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", "the If-Match header is not text")),
        })
    }
}
