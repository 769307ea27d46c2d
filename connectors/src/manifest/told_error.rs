//! Good answers that are none: without records and with an error instead, or the same page again and again.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use super::{
    extract::{Extracted, Plan, Response, Step},
    json::Slice as Json,
};
use crate::{Error, ErrorKind, Result};

/// The members in which products tell errors.
const NAMES: [&str; 6] = ["error", "errors", "Error", "Errors", "fault", "exception"];
/// What a member says that there is no error.
const NOTHING: [&[u8]; 6] = [b"null", b"false", b"0", b"\"\"", b"[]", b"{}"];

/// The same page so many times in a row is no chance.
const TIMES_MAX: u32 = 3;
/// So many pages in a row without a new record are no chance either: more than ten years of them, one a day, may be empty.
const BARREN_MAX: u32 = 5_000;

/// So much of the records' beginning and of their end tells them apart from others of their length.
const TELLING_BYTES: usize = 32 << 10;
/// The same for what stands around them.
const AROUND_BYTES: usize = 4 << 10;

/// The pages before, to notice a product that answers every question with the same one, or with nothing and another question:
/// no token shows that. No page is held.
#[derive(Debug, Default)]
pub(crate) struct Repeated {
    /// Of the last page that had records.
    records: u64,
    around: u64,
    /// How often that page came, in a row.
    times: u32,
    /// Pages since then that had none, or the same.
    barren: u32,
}

impl Repeated {
    /// Notes a page. In a stream `with_key` the same records are the same whatever stands around them; without one, records of
    /// different pages may be alike.
    ///
    /// # Errors
    /// `BadAnswer` when the same page with records came [`TIMES_MAX`] times in a row, or nothing new in [`BARREN_MAX`] pages.
    pub(crate) fn note(&mut self, page: &Extracted, with_key: bool) -> Result<()> {
        self.barren += 1;
        if let (Some(first), Some(last)) = (page.records.first(), page.records.last()) {
            let (start, end) = (first.slice.body.start as usize, last.slice.body.end as usize);
            let records = mark(page.body.get(start..end).unwrap_or_default(), TELLING_BYTES);
            let around = match with_key {
                true => 0,
                false => around(&page.body, start, end),
            };
            if records != self.records {
                self.barren = 0;
            }
            self.times = if (records, around) == (self.records, self.around) { self.times + 1 } else { 1 };
            (self.records, self.around) = (records, around);
        }
        let message = match (self.times, self.barren) {
            (TIMES_MAX.., _) if !page.records.is_empty() => {
                "the product answers with the same page again and again: it would send it for ever. Does it take the page's \
                 number or token from another place than where the paginator puts it?"
            }
            (_, BARREN_MAX..) => {
                "the product names next pages without end, and nothing new is on them: its paging goes in a circle, or the \
                 paginator needs a `stop_condition`"
            }
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::BadAnswer, message))
    }
}

/// A hash of the ends of what stands before and behind the records.
fn around(body: &[u8], start: usize, end: usize) -> u64 {
    let before = body.get(..start).unwrap_or_default();
    let behind = body.get(end..).unwrap_or_default();
    mark(before, AROUND_BYTES) ^ mark(behind, AROUND_BYTES).rotate_left(1)
}

/// A hash of a text's length, beginning and end.
fn mark(text: &[u8], telling_bytes: usize) -> u64 {
    let (beginning, rest) = text.split_at(text.len().min(telling_bytes));
    let end = &rest[rest.len().saturating_sub(telling_bytes)..];
    BuildHasherDefault::<DefaultHasher>::default().hash_one((text.len(), beginning, end))
}

/// Refuses a page that tells an error in place of records: it has nothing at the record path, or is itself the record and has no key.
///
/// # Errors
/// `BadAnswer`, with the member that tells the error.
pub(crate) fn refuse(page: &Extracted, plan: &Plan) -> Result<()> {
    let Response::Object(range, members) = &page.response else { return Ok(()) };
    let (missing, told) = match plan.path.first() {
        Some(Step::Name(first)) if page.records.is_empty() => {
            let members = members.iter().map(|(name, range)| (name.as_str(), page.source.get(range.clone())));
            (first, told(members, first))
        }
        None if page.records.len() == 1 => {
            let Some(first) = plan.key.first().and_then(|path| path.first()) else { return Ok(()) };
            let text = page.source.get(range.clone()).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("{}");
            let members = Json::checked(text).members();
            let members = members.iter().map(|(name, value)| (name.as_ref(), Some(value.text().as_bytes())));
            (first, told(members, first))
        }
        _ => return Ok(()),
    };
    let Some(name) = told else { return Ok(()) };
    let message = format!(
        "the answer has no `{missing}` and tells an error in `{name}`: look at it with --record-http, and say in a \
         response filter what to do about it"
    );
    Err(Error::new(ErrorKind::BadAnswer, message))
}

/// The member that tells an error, where none is called `wanted`.
fn told<'m>(members: impl Iterator<Item = (&'m str, Option<&'m [u8]>)>, wanted: &str) -> Option<String> {
    let mut told = None;
    for (name, value) in members {
        if name == wanted {
            return None;
        }
        let tells = NAMES.contains(&name) && value.is_some_and(|text| !NOTHING.contains(&text));
        told = told.or_else(|| tells.then(|| name.to_owned()));
    }
    told
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{super::extract::extract, *};

    fn page(body: &str, path: &[&str], key: &[&str]) -> (Extracted, Plan) {
        let path = path.iter().map(|name| Step::Name((*name).to_owned())).collect();
        let key = key.iter().map(|name| vec![(*name).to_owned()]).collect();
        let plan = Plan { path, key, ..Plan::default() };
        (extract(Bytes::from(body.to_owned()), &plan).unwrap(), plan)
    }

    #[test]
    fn an_error_in_place_of_records_is_no_empty_page() {
        for (body, path, key, is_page) in [
            (r#"{"error": {"message": "no"}}"#, ["data"].as_slice(), [].as_slice(), false),
            (r#"{"errors": ["no"], "meta": 1}"#, &["data"], &[], false),
            (r#"{"error": null}"#, &["data"], &[], true),
            (r#"{"errors": [], "meta": 1}"#, &["data"], &[], true),
            (r#"{"data": [], "error": "partly"}"#, &["data"], &[], true),
            (r#"{"data": null, "error": "partly"}"#, &["data"], &[], true),
            (r#"{"meta": 1}"#, &["data"], &[], true),
            (r#"{"error": "a field of the record"}"#, &[], &[], true),
            (r#"{"error": "a field of the record", "id": 1}"#, &[], &["id"], true),
            (r#"{"error": "in place of the record"}"#, &[], &["id"], false),
            (r#"{"name": "a record without key"}"#, &[], &["id"], true),
        ] {
            let (page, plan) = page(body, path, key);
            assert_eq!(refuse(&page, &plan).is_ok(), is_page, "{body}");
        }
    }

    /// How many of these pages are taken, at most 9,999.
    fn taken(with_key: bool, body: impl Fn(usize) -> String) -> usize {
        let mut repeated = Repeated::default();
        (0..9_999).take_while(|number| repeated.note(&page(&body(*number), &["data"], &[]).0, with_key).is_ok()).count()
    }

    #[test]
    fn pages_that_bring_nothing_new_for_ever_are_noticed() {
        let same = |_| r#"{"data": [{"id": 1}]}"#.to_owned();
        assert_eq!((taken(true, same), taken(false, same)), (2, 2));
        let in_another_frame = |number| format!(r#"{{"at": {number}, "data": [{{"id": 1}}], "next": {number}}}"#);
        assert_eq!(taken(true, in_another_frame), 2);
        assert_eq!(taken(false, in_another_frame), 5_000, "records without a key may be alike");
        assert_eq!(taken(true, |number| format!(r#"{{"data": [], "next": {number}}}"#)), 4_999);
        let empty_between = |number| format!(r#"{{"data": [{}]}}"#, if number % 2 == 0 { "" } else { r#"{"id": 1}"# });
        assert_eq!(taken(true, empty_between), 5);
        assert_eq!(taken(true, |number| format!(r#"{{"data": [{{"id": {number}}}]}}"#)), 9_999);
        let new_one =
            |number: usize| if number.is_multiple_of(4_000) { format!(r#"{{"id": {number}}}"#) } else { String::new() };
        let rarely_something = |number| format!(r#"{{"data": [{}]}}"#, new_one(number));
        assert_eq!(taken(true, rarely_something), 9_999);
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
}
