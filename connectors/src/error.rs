//! The one error of this crate. Its kind says what the caller should do; its context says where.

use std::{borrow::Cow, fmt, time::Duration};

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Try again later, the same way: a network fault, a 5xx, a time-out.
    Retry,
    /// The product asked for a pause; waiting does not count as an attempt.
    RateLimited,
    /// The credential no longer works; a person must sign in again.
    Reauthorise,
    /// A setting, manifest or argument is wrong; trying again cannot help.
    Invalid,
    /// The product refused this request (403 and the like) although the credential works.
    Denied,
    /// The product says that there is no such thing.
    NotFound,
    /// An answer that breaks the contract: not JSON, cut short, a page loop, over a size cap.
    BadAnswer,
    /// The reader went away or asked to stop.
    Cancelled,
    /// A fault of ours.
    Bug,
}

impl ErrorKind {
    /// The stable word used in logs, reports and the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RateLimited => "rate_limited",
            Self::Reauthorise => "reauthorise",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::BadAnswer => "bad_answer",
            Self::Cancelled => "cancelled",
            Self::Bug => "bug",
        }
    }
}

/// An error of a connector. Never holds a secret: build messages from names and places, not from credentials.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    /// Context pairs, outermost last: `("stream", "contacts")`.
    context: Vec<(&'static str, String)>,
    /// Further problems of the same input, so that all are told at once.
    problems: Vec<Problem>,
}

/// One of several problems of one input.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Where: `manifest.yaml:12:5 streams[0].retriever`, or a JSON pointer into the settings (`/api_key`).
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            message: message.into().into_owned(),
            retry_after: None,
            context: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Invalid input with every problem found.
    pub fn invalid(message: impl Into<Cow<'static, str>>, problems: Vec<Problem>) -> Self {
        Self { problems, ..Self::new(ErrorKind::Invalid, message) }
    }

    /// Adds where it happened, from the inside out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.context.push((name, value.into()));
        self
    }

    /// Adds how long the product asked us to wait.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The same error with each of its texts changed.
    #[must_use]
    pub(crate) fn rewritten(mut self, change: impl Fn(&str) -> String) -> Self {
        self.message = change(&self.message);
        self.context.iter_mut().for_each(|(_, value)| *value = change(value));
        self.problems.iter_mut().for_each(|problem| problem.message = change(&problem.message));
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How long the product asked us to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The context pairs, innermost first.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
    }

    /// Every problem of an invalid input; empty for other errors.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (i, (name, value)) in self.context.iter().enumerate() {
            write!(f, "{}{name} {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.context.is_empty() {
            f.write_str(")")?;
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
