//! Good answers that are none: without records and with an error instead, or the same page again and again.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    ops::Range,
};

use serde_json::value::RawValue;

use super::extract::{Extracted, Plan, Response, Step};
use crate::{Error, ErrorKind, Result};

/// The members in which products tell errors.
const NAMES: [&str; 6] = ["error", "errors", "Error", "Errors", "fault", "exception"];
/// What a member says that there is no error.
const NOTHING: [&[u8]; 6] = [b"null", b"false", b"0", b"\"\"", b"[]", b"{}"];

/// The same page so many times in a row is no chance.
const TIMES_MAX: u32 = 3;

/// So much of a page's beginning and of its end tells it apart from others of its length.
const TELLING_BYTES: usize = 32 << 10;

/// The page before, to notice a product that answers every number of a page with the same one: no token shows that. The page
/// itself is not held.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    last: u64,
    times: u32,
}

impl Repeated {
    /// Notes a page.
    ///
    /// # Errors
    /// `BadAnswer` when the same page with records came [`TIMES_MAX`] times in a row.
    pub(crate) fn note(&mut self, body: &[u8], records: usize) -> Result<()> {
        let mark = mark(body);
        self.times = if records > 0 && mark == self.last { self.times + 1 } else { 1 };
        self.last = mark;
        if self.times < TIMES_MAX {
            return Ok(());
        }
        let message = "the product answers with the same page again and again: it would send it for ever";
        Err(Error::new(ErrorKind::BadAnswer, message))
    }
}

/// A hash of a page's length, beginning and end.
fn mark(body: &[u8]) -> u64 {
    let (beginning, rest) = body.split_at(body.len().min(TELLING_BYTES));
    let end = &rest[rest.len().saturating_sub(TELLING_BYTES)..];
    BuildHasherDefault::<DefaultHasher>::default().hash_one((body.len(), beginning, end))
}

/// Refuses a page that has nothing at the record path and tells an error: it is no empty page. Where the page itself is the
/// record, one that has nothing of a key and tells an error is none.
///
/// # Errors
/// `BadAnswer`, with the member that tells the error.
pub(crate) fn refuse(page: &Extracted, plan: &Plan) -> Result<()> {
    match plan.path.first() {
        Some(Step::Name(first)) => refuse_list(page, first),
        None => refuse_record(page, plan),
        _ => Ok(()),
    }
}

fn refuse_list(page: &Extracted, first: &str) -> Result<()> {
    let Response::Object(_, members) = &page.response else { return Ok(()) };
    if !page.records.is_empty() || members.iter().any(|(name, _)| **name == *first) {
        return Ok(());
    }
    let tells = |range: &Range<usize>| page.source.get(range.clone()).is_some_and(|text| !NOTHING.contains(&text));
    match members.iter().find(|(name, range)| NAMES.contains(&&**name) && tells(range)) {
        Some((name, _)) => Err(told(first, name)),
        None => Ok(()),
    }
}

/// The page is the record: members are looked at only where the key is missing.
fn refuse_record(page: &Extracted, plan: &Plan) -> Result<()> {
    let ([field, ..], [record]) = (plan.key.as_slice(), page.records.as_slice()) else { return Ok(()) };
    if record.slice.key.as_slice().iter().any(|part| !part.is_empty()) {
        return Ok(());
    }
    let members: HashMap<String, &RawValue> = serde_json::from_slice(&page.source).unwrap_or_default();
    let tells = |name: &&&str| members.get(**name).is_some_and(|value| !NOTHING.contains(&value.get().as_bytes()));
    match NAMES.iter().find(tells) {
        Some(name) if !members.keys().any(|member| field.first().is_some_and(|key| key == member)) => {
            Err(told(&field.join("."), name))
        }
        _ => Ok(()),
    }
}

fn told(lacking: &str, name: &str) -> Error {
    let message = format!(
        "the answer has no `{lacking}` and tells an error in `{name}`: look at it with --record-http, and say in a \
         response filter what to do about it"
    );
    Error::new(ErrorKind::BadAnswer, message)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::extract::extract, *};

    fn outcome(body: &str, path: &[&str]) -> Result<()> {
        let path = path.iter().map(|name| Step::Name((*name).to_owned())).collect();
        let plan = Plan { path, ..Plan::default() };
        refuse(&extract(Bytes::from(body.to_owned()), &plan)?, &plan)
    }

    #[test]
    fn an_error_in_place_of_records_is_no_empty_page() {
        for (body, is_page) in [
            (r#"{"error": {"message": "no"}}"#, false),
            (r#"{"errors": ["no"], "meta": 1}"#, false),
            (r#"{"error": null}"#, true),
            (r#"{"errors": [], "meta": 1}"#, true),
            (r#"{"data": [], "error": "partly"}"#, true),
            (r#"{"data": null, "error": "partly"}"#, true),
            (r#"{"meta": 1}"#, true),
        ] {
            assert_eq!(outcome(body, &["data"]).is_ok(), is_page, "{body}");
        }
        assert!(outcome(r#"{"error": "a field of the record"}"#, &[]).is_ok());
    }

    #[test]
    fn an_error_in_place_of_the_one_record_is_none() {
        let plan = Plan { key: vec![vec!["id".to_owned()]], ..Plan::default() };
        let outcome = |body: &'static str| refuse(&extract(Bytes::from(body), &plan).unwrap(), &plan);
        assert!(outcome(r#"{"error": {"message": "no"}}"#).is_err());
        assert!(outcome(r#"{"id": 1, "error": "a field of the record"}"#).is_ok());
        assert!(outcome(r#"{"name": "a record without key"}"#).is_ok());
        assert!(outcome(r#"[{"error": "one of several"}]"#).is_ok());
    }

    #[test]
    fn a_page_that_comes_for_ever_is_noticed_and_empty_ones_are_not_counted() {
        let mut repeated = Repeated::default();
        let outcomes: Vec<bool> = (0..3).map(|_| repeated.note(b"[1]", 1).is_ok()).collect();
        assert_eq!(outcomes, [true, true, false]);
        assert!((0..9).all(|_| repeated.note(b"[]", 0).is_ok()));
    }
}
