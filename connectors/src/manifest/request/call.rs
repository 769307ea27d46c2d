//! One request: what it adds to its requester's own, and what came of it.

use bytes::Bytes;
use minijinja::Value;

use super::{
    super::{
        session::Session,
        slice::Slice,
        template::{Python, Scope, values},
    },
    options::Injections,
};
use crate::http::{Response, StatusCode};

/// What one call adds to a requester's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    /// The slice being read.
    pub(crate) slice: Slice,
    /// The page token.
    pub(crate) token: Option<Python>,
    /// An address that replaces the requester's path.
    pub(crate) path: Option<String>,
    /// Values from pagination and slices.
    pub(crate) injections: Injections,
    /// The record that is written, or its key.
    pub(crate) record: Option<Value>,
    /// A JSON body that replaces the requester's own.
    pub(crate) body: Option<Bytes>,
    /// Further values that templates see.
    pub(crate) values: Vec<(&'static str, Value)>,
    /// Where a credential may go, when the address comes from an answer.
    pub(crate) home: Option<String>,
}

/// What came of a call.
#[derive(Debug)]
pub(crate) enum Sent {
    /// An answer to read.
    Answer(Box<Response>),
    /// A refusal that the manifest wants ignored.
    Ignored(StatusCode),
}

/// What came of asking for a page.
#[derive(Debug)]
pub(crate) enum Tried {
    /// It was answered.
    Sent(Sent),
    /// The product wants it asked for in another way.
    Again(Again),
}

/// How a page is to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// With fewer records.
    Smaller,
    /// From the first one.
    Reset,
    /// For a shorter window of time.
    Split,
}

impl Sent {
    /// Refusals are never read, whatever the manifest calls them.
    pub(super) fn of(response: Response) -> Self {
        if response.status.as_u16() < 400 { Self::Answer(Box::new(response)) } else { Self::Ignored(response.status) }
    }
}

impl Call {
    /// The names that the request's templates see.
    pub(super) fn scope(&self, session: &Session) -> Scope {
        let token = match &self.token {
            Some(token) => Value::from_pairs([("next_page_token", values::from_python(token))]),
            None => Value::from(()),
        };
        let scope = session.scope().clone().with_slice(&self.slice.to_value()).with("next_page_token", token);
        let scope = match &self.record {
            Some(record) => scope.with("record", record.clone()),
            None => scope,
        };
        let scope = self.values.iter().fold(scope, |scope, (name, value)| scope.with(name, value.clone()));
        self.slice.extra.iter().fold(scope, |scope, (name, value)| scope.with(name, values::from_python(value)))
    }
}
