//! The one error of the engine. Its kind says what the caller should do; the API maps kinds to answers in one place.

use std::{borrow::Cow, fmt, time::Duration};

use listbackup_connectors as connectors;
pub use listbackup_connectors::Problem;

/// What the caller should do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again later, the same way.
    Retry,
    /// A product asked for a pause; waiting does not count as an attempt.
    RateLimited,
    /// The source's credential no longer works; a person must sign in again.
    Reauthorise,
    /// Somebody else owns this now (a newer epoch): stop, and change nothing.
    Fenced,
    /// A condition of a write did not hold: read again and decide anew.
    Conflict,
    /// The input is wrong; trying again cannot help.
    Invalid,
    /// There is no such thing in this account.
    NotFound,
    /// The caller may not do this.
    Denied,
    /// Stored bytes are damaged or are not where they belong.
    Corrupt,
    /// No space left, or another limit of this machine.
    Exhausted,
    /// The run was cancelled, or the process is draining.
    Cancelled,
    /// The time that was set for it is over.
    Deadline,
    /// The plan of who pays for the account allows no more.
    OverLimit,
    /// A payment is missing for longer than work goes on.
    Unpaid,
    /// A fault of ours.
    Bug,
}

impl ErrorKind {
    /// The stable word used in logs, rows and the API.
    pub fn code(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RateLimited => "rate_limited",
            Self::Reauthorise => "reauthorise",
            Self::Fenced => "fenced",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Denied => "denied",
            Self::Corrupt => "corrupt",
            Self::Exhausted => "exhausted",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::OverLimit => "plan_limit",
            Self::Unpaid => "payment_overdue",
            Self::Bug => "bug",
        }
    }
}

/// An error with its kind, a message for people, and where it happened. Never holds a secret.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    context: Vec<(&'static str, String)>,
    problems: Vec<Problem>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into().into_owned(),
            retry_after: None,
            context: Vec::new(),
            problems: Vec::new(),
            source: None,
        }))
    }

    /// Invalid input with every problem found.
    pub fn invalid(message: impl Into<Cow<'static, str>>, problems: Vec<Problem>) -> Self {
        let mut error = Self::new(ErrorKind::Invalid, message);
        error.0.problems = problems;
        error
    }

    /// Adds where it happened, from the inside out; what was said already is not said again.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        let pair = (name, value.to_string());
        if !self.0.context.contains(&pair) {
            self.0.context.push(pair);
        }
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds how long to wait before the next try.
    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What to do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The message without its context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// How long to wait before the next try, if somebody said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The context pairs, innermost first.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// Every problem of an invalid input; empty for other errors.
    pub fn problems(&self) -> &[Problem] {
        &self.0.problems
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (name, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{name} {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        for problem in &self.0.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<connectors::Error> for Error {
    fn from(error: connectors::Error) -> Self {
        use connectors::ErrorKind as From;
        let kind = match error.kind() {
            From::Retry | From::BadAnswer => ErrorKind::Retry,
            From::RateLimited => ErrorKind::RateLimited,
            From::Reauthorise => ErrorKind::Reauthorise,
            From::Invalid => ErrorKind::Invalid,
            From::Denied => ErrorKind::Denied,
            From::NotFound => ErrorKind::NotFound,
            From::Cancelled => ErrorKind::Cancelled,
            From::Bug => ErrorKind::Bug,
        };
        let mut ours = Self::invalid(error.message().to_owned(), error.problems().to_vec());
        ours.0.kind = kind;
        ours.0.retry_after = error.retry_after();
        ours.0.context = error.context().to_vec();
        ours
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge => {
                ErrorKind::Exhausted
            }
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Invalid,
            _ => ErrorKind::Retry,
        };
        Self::new(kind, error.to_string()).caused_by(error)
    }
}
