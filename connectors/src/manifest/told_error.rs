//! Good answers that tell an error: without records where they should be, and with an error instead.

use super::extract::{Extracted, Plan, Response, Step};
use crate::{Error, ErrorKind, Result};

/// The members in which products tell errors.
const NAMES: [&str; 6] = ["error", "errors", "Error", "Errors", "fault", "exception"];
/// What a member says that there is no error.
const NOTHING: [&[u8]; 6] = [b"null", b"false", b"0", b"\"\"", b"[]", b"{}"];

/// Refuses a page that has nothing at the record path and tells an error: it is no empty page.
///
/// # Errors
/// `BadAnswer`, with the member that tells the error.
pub(crate) fn refuse(page: &Extracted, plan: &Plan) -> Result<()> {
    let (Some(Step::Name(first)), Response::Object(_, members)) = (plan.path.first(), &page.response) else {
        return Ok(());
    };
    if !page.records.is_empty() || members.iter().any(|(name, _)| **name == **first) {
        return Ok(());
    }
    let tells = |range: &std::ops::Range<usize>| page.body.get(range.clone()).is_some_and(|text| !NOTHING.contains(&text));
    let told = members.iter().find(|(name, range)| NAMES.contains(&&**name) && tells(range));
    let Some((name, _)) = told else { return Ok(()) };
    let message = format!(
        "the answer has no `{first}` and tells an error in `{name}`: look at it with --record-http, and say in a \
         response filter what to do about it"
    );
    Err(Error::new(ErrorKind::BadAnswer, message))
}
