//! Which paths an account may name: one rule for every store of objects.

use crate::{
    error::{Error, ErrorKind, Result},
    invariants,
    model::scope::AccountScope,
};

/// The longest file name of common file systems, in bytes.
const MAX_SEGMENT_BYTES: usize = 255;

/// Passes the path of an object.
///
/// # Errors
/// `Denied` for anything but a plain path inside the account.
pub(super) fn check(scope: &AccountScope, path: &str) -> Result<()> {
    if is_own(scope, path) && path.split('/').all(is_plain) { Ok(()) } else { Err(denied(path)) }
}

/// As [`check`], for the beginning of a path, which may end within a segment.
///
/// # Errors
/// `Denied` for anything else.
pub(super) fn check_prefix(scope: &AccountScope, prefix: &str) -> Result<()> {
    let plain = prefix
        .rsplit_once('/')
        .is_some_and(|(dirs, last)| dirs.split('/').all(is_plain) && (last.is_empty() || is_plain(last)));
    if is_own(scope, prefix) && plain { Ok(()) } else { Err(denied(prefix)) }
}

fn is_own(scope: &AccountScope, path: &str) -> bool {
    invariants::own_path(scope.account_id(), path).is_ok()
}

/// A file name that means itself.
fn is_plain(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.len() <= MAX_SEGMENT_BYTES
        && !segment.chars().any(|letter| letter.is_control() || letter == '\\')
}

fn denied(path: &str) -> Error {
    Error::new(ErrorKind::Denied, "this is not a path of this account").with("path", path.escape_debug())
}
