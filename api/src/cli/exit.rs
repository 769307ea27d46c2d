//! Exit codes, and how an error is told.

use std::process::ExitCode;

use listbackup_engine::{Error, ErrorKind};
use serde_json::json;

use super::output;

/// The codes, as `--help` shows them.
pub const HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong input or settings; 3 partly done (some streams or items failed; for status: a source is stale);
4 the data directory is in use by another process; 5 stored data is damaged; 6 sign in to the product again;
130 interrupted (a backup goes on from its last checkpoint next time).
The log goes to standard error; LISTBACKUP_LOG sets it (error, warn, info, debug, or a filter).";

/// How a command ended.
pub type Outcome = Result<Done, Error>;

/// A command that did what it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// All of it.
    Whole,
    /// Not all of it; the output says what is missing.
    Partly,
    /// Nothing useful; the output says why.
    Failed,
    /// Nothing useful, for wrong input; the output names it.
    Refused,
    /// Damage was found; the output names it.
    Damaged,
    /// A person must sign in to the product again.
    SignInAgain,
    /// Stopped by a signal, in good order.
    Interrupted,
}

impl From<Done> for ExitCode {
    fn from(done: Done) -> Self {
        Self::from(match done {
            Done::Whole => 0,
            Done::Failed => 1,
            Done::Refused => 2,
            Done::Partly => 3,
            Done::Damaged => 5,
            Done::SignInAgain => 6,
            Done::Interrupted => 130,
        })
    }
}

/// Tells an error on standard error, and as the one JSON document when that was asked for.
pub fn report(outcome: Outcome, wants_json: bool) -> ExitCode {
    let error = match outcome {
        Ok(done) => return done.into(),
        Err(error) => error,
    };
    if wants_json {
        output::json(&json!({ "error": {
            "code": error.kind().code(),
            "message": error.to_string(),
            "problems": error.problems(),
        }}));
    }
    output::error(&error);
    ExitCode::from(match error.kind() {
        ErrorKind::Invalid | ErrorKind::NotFound => 2,
        ErrorKind::Conflict => 4,
        ErrorKind::Corrupt => 5,
        ErrorKind::Reauthorise => 6,
        ErrorKind::Retry
        | ErrorKind::RateLimited
        | ErrorKind::Fenced
        | ErrorKind::Denied
        | ErrorKind::Exhausted
        | ErrorKind::Cancelled
        | ErrorKind::Deadline
        | ErrorKind::OverLimit
        | ErrorKind::Unpaid
        | ErrorKind::Bug => 1,
    })
}
