//! Finds the records of a page: one pass over the text, no tree.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    extraction::Reshaped,
    json::{Scan, Scanner, Slice},
    template::values::Members,
};
use crate::{Error, ErrorKind, KeySlices, RecordSlice, Result};

/// Where records stand in a page and what is wanted of each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    /// The steps to the records.
    pub(crate) path: Vec<Step>,
    /// What takes records out of a page where a path alone does not.
    pub(crate) reshaped: Option<Arc<Reshaped>>,
    /// Paths of the key's fields.
    pub(crate) key: Vec<Vec<String>>,
    /// The field that moves forward.
    pub(crate) cursor: Option<String>,
    /// Path of the field that marks deleted records.
    pub(crate) deletion: Option<Vec<String>>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A member's name, or an index of a list in decimal.
    Name(String),
    /// An index of a list.
    Index(i128),
    /// Every member or item.
    Each,
    /// No member and no item.
    Nowhere,
}

/// A page with its records.
#[derive(Clone, Debug)]
pub(crate) struct Extracted {
    /// The page's text.
    pub(crate) body: Bytes,
    /// The records in order.
    pub(crate) records: Vec<Found>,
    /// The value that templates call `response`: the page, or its first item when it is a list.
    pub(crate) response: Response,
    /// Empty records that count for the size of the page and for nothing else.
    pub(crate) dropped: usize,
    /// The text that `response` stands in.
    pub(crate) source: Bytes,
}

/// One record with what was wanted of it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// As the engine wants it.
    pub(crate) slice: RecordSlice,
    /// The cursor field's value.
    pub(crate) cursor: Option<Range<usize>>,
}

/// What templates see of a page.
#[derive(Clone, Debug)]
pub(crate) enum Response {
    /// Nothing: an empty list.
    Empty,
    /// An object with its members.
    Object(Range<usize>, Arc<Members>),
    /// Another value.
    Other(Range<usize>),
}

struct Walker<'p> {
    plan: &'p Plan,
    records: Vec<Found>,
    /// What at the record path is no record.
    misplaced: Option<&'static str>,
    is_each: bool,
    members: Members,
}

/// Finds the records of `body`.
///
/// # Errors
/// `BadAnswer` when the body is not JSON, or something else than records stands at the path.
pub(crate) fn extract(body: Bytes, plan: &Plan) -> Result<Extracted> {
    let Some(reshaped) = &plan.reshaped else { return extract_at(body, plan) };
    let seen = extract_at(body.clone(), &Plan { path: vec![Step::Nowhere], ..Plan::default() })?;
    let (list, dropped) = reshaped.rewrite(&body)?;
    let records = extract_at(list, &Plan { reshaped: None, path: Vec::new(), ..plan.clone() })?;
    Ok(Extracted { response: seen.response, source: body, dropped, ..records })
}

fn extract_at(body: Bytes, plan: &Plan) -> Result<Extracted> {
    let too_large = body.len() > u32::MAX as usize;
    let text = std::str::from_utf8(&body)
        .map_err(|error| bad_answer(&format!("the page is not UTF-8 at byte {}", error.valid_up_to())))?;
    if too_large {
        return Err(bad_answer("the page is larger than 4 GiB"));
    }
    let mut walker = Walker {
        plan,
        records: Vec::new(),
        misplaced: None,
        is_each: plan.path.contains(&Step::Each),
        members: Vec::new(),
    };
    let mut scanner = Scanner::new(text);
    let response = walker.page(&mut scanner).and_then(|response| scanner.end().map(|()| response));
    let response = response.map_err(|error| bad_answer(&format!("the page is not JSON: {error}")))?;
    if let Some(kind) = walker.misplaced {
        return Err(bad_answer(&format!("the record path leads to {kind}; a record must be an object")));
    }
    let records = walker.records;
    Ok(Extracted { records, response, source: body.clone(), dropped: 0, body })
}

fn bad_answer(message: &str) -> Error {
    Error::new(ErrorKind::BadAnswer, message.to_owned())
}

impl Walker<'_> {
    fn page(&mut self, scanner: &mut Scanner<'_>) -> Scan<Response> {
        let path = &self.plan.path;
        match scanner.peek() {
            b'{' => {
                let range = self.top_object(scanner)?;
                Ok(Response::Object(range, Arc::new(std::mem::take(&mut self.members))))
            }
            b'[' => {
                let mut first = None;
                scanner.array(|scanner, _| {
                    scanner.peek();
                    let start = scanner.position();
                    self.descend(scanner, path)?;
                    first.get_or_insert(start..scanner.position());
                    Ok(())
                })?;
                Ok(first.map_or(Response::Empty, Response::Other))
            }
            _ => {
                let range = scanner.value()?;
                self.misplaced = Some("a bare value");
                Ok(Response::Other(range))
            }
        }
    }

    /// The page itself, noting its members for templates on the way.
    fn top_object(&mut self, scanner: &mut Scanner<'_>) -> Scan<Range<usize>> {
        let start = scanner.position();
        match self.plan.path.split_first() {
            None => {
                self.descend(scanner, &[])?;
                let range = start..scanner.position();
                Ok(range)
            }
            Some((step, rest)) => {
                scanner.object(|scanner, key| {
                    scanner.peek();
                    let from = scanner.position();
                    if step.takes(&key) {
                        self.descend(scanner, rest)?
                    } else {
                        scanner.value().map(drop)?
                    }
                    self.members.push((key.decode(), from..scanner.position()));
                    Ok(())
                })?;
                Ok(start..scanner.position())
            }
        }
    }

    fn descend(&mut self, scanner: &mut Scanner<'_>, path: &[Step]) -> Scan<()> {
        let Some((step, rest)) = path.split_first() else { return self.records_at(scanner) };
        match scanner.peek() {
            b'{' => {
                scanner.object(
                    |scanner, key| {
                        if step.takes(&key) { self.descend(scanner, rest) } else { scanner.value().map(drop) }
                    },
                )
            }
            b'[' => scanner.array(|scanner, index| {
                if step.takes_index(index) { self.descend(scanner, rest) } else { scanner.value().map(drop) }
            }),
            _ => scanner.value().map(drop),
        }
    }

    /// The value at the end of the path: a list of records, one record, or nothing.
    fn records_at(&mut self, scanner: &mut Scanner<'_>) -> Scan<()> {
        match scanner.peek() {
            b'[' if !self.is_each => scanner.array(|scanner, _| self.record(scanner, true)),
            _ => self.record(scanner, self.is_each),
        }
    }

    fn record(&mut self, scanner: &mut Scanner<'_>, keeps_empty: bool) -> Scan<()> {
        if scanner.peek() != b'{' {
            let first = scanner.peek();
            let range = scanner.value()?;
            let is_nothing = !keeps_empty && (first == b'n' || first == b'f' || range.len() == 2 && first == b'"');
            if !is_nothing {
                self.misplaced = Some(if first == b'[' { "a list inside a list" } else { "a bare value" });
            }
            return Ok(());
        }
        let start = scanner.position();
        let wanted = wanted_of(self.plan, scanner)?;
        let end = scanner.position();
        if wanted.member_count > 0 || keeps_empty {
            self.records.push(wanted.into_found(self.plan, start..end));
        }
        Ok(())
    }
}

impl Step {
    fn takes(&self, key: &super::json::scan::Key<'_>) -> bool {
        match self {
            Self::Name(name) => key.is(name),
            Self::Index(_) => false,
            Self::Each => true,
            Self::Nowhere => false,
        }
    }

    fn takes_index(&self, index: usize) -> bool {
        match self {
            Self::Name(name) => name.parse() == Ok(index),
            Self::Index(wanted) => usize::try_from(*wanted) == Ok(index),
            Self::Each => true,
            Self::Nowhere => false,
        }
    }
}

/// The wanted fields of one record.
#[derive(Default)]
struct Wanted {
    member_count: usize,
    one_key: Option<Range<usize>>,
    keys: Vec<Option<Range<usize>>>,
    cursor: Option<Range<usize>>,
    is_deletion: bool,
}

/// Walks the object at the scanner and notes the wanted fields.
fn wanted_of(plan: &Plan, scanner: &mut Scanner<'_>) -> Scan<Wanted> {
    let mut wanted = Wanted::default();
    let is_single = matches!(plan.key.as_slice(), [path] if path.len() == 1);
    if !is_single {
        wanted.keys = vec![None; plan.key.len()];
    }
    scanner.object(|scanner, key| {
        wanted.member_count += 1;
        let range = scanner.value()?;
        if is_single {
            if key.is(&plan.key[0][0]) {
                wanted.one_key = Some(range.clone());
            }
        } else {
            for (slot, path) in wanted.keys.iter_mut().zip(&plan.key) {
                if path.first().is_some_and(|name| key.is(name)) {
                    *slot = inner(scanner, &range, &path[1..]);
                }
            }
        }
        if plan.cursor.as_deref().is_some_and(|name| key.is(name)) {
            wanted.cursor = Some(range.clone());
        }
        if let Some([name, rest @ ..]) = plan.deletion.as_deref()
            && key.is(name)
        {
            let mark = inner(scanner, &range, rest);
            wanted.is_deletion = mark.is_some_and(|mark| !matches!(scanner.text_at(&mark), "null" | "false"));
        }
        Ok(())
    })?;
    Ok(wanted)
}

/// The value at `path` inside the value at `range`.
fn inner(scanner: &Scanner<'_>, range: &Range<usize>, path: &[String]) -> Option<Range<usize>> {
    if path.is_empty() {
        return Some(range.clone());
    }
    let outer = scanner.text_at(range);
    let found = Slice::checked(outer).at(path)?.text();
    let offset = found.as_ptr() as usize - outer.as_ptr() as usize;
    Some(range.start + offset..range.start + offset + found.len())
}

impl Wanted {
    fn into_found(self, plan: &Plan, body: Range<usize>) -> Found {
        // A record without a part of its key counts as one without a key: two such records must not pass for one.
        let parts: Option<Box<[_]>> = self.keys.iter().map(|part| part.as_ref().map(narrow)).collect();
        let key = match (plan.key.len(), self.one_key, parts) {
            (0, ..) => KeySlices::None,
            (1, Some(range), _) => KeySlices::One(narrow(&range)),
            (_, None, Some(parts)) if !parts.is_empty() => KeySlices::Many(parts),
            _ => KeySlices::None,
        };
        let slice = RecordSlice { body: narrow(&body), key, is_deletion: self.is_deletion };
        Found { slice, cursor: self.cursor }
    }
}

fn narrow(range: &Range<usize>) -> Range<u32> {
    range.start as u32..range.end as u32
}

/// Records written anew by a stream that changes them: one object a line.
///
/// # Errors
/// `BadAnswer` when what was written is no object.
pub(crate) fn rewritten(texts: &[String], plan: &Plan) -> Result<(Bytes, Vec<Found>)> {
    let size = texts.iter().map(|text| text.len() + 1).sum();
    let mut body = String::with_capacity(size);
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        let start = body.len();
        body.push_str(text);
        let mut scanner = Scanner::at(&body, start);
        let wanted = wanted_of(plan, &mut scanner)
            .map_err(|error| bad_answer(&format!("a changed record is no object: {error}")))?;
        let end = scanner.position();
        found.push(wanted.into_found(plan, start..end));
        body.push('\n');
    }
    Ok((Bytes::from(body), found))
}

/// The records of JSON lines: one object a line, blank lines beside. Nothing else may stand in `text`.
///
/// # Errors
/// Where something else than an object begins, or a second value follows on a line.
pub(crate) fn lines(text: &str, plan: &Plan) -> Scan<Vec<Found>> {
    let mut found = Vec::new();
    let mut scanner = Scanner::new(text);
    while scanner.peek() != 0 {
        let start = scanner.position();
        let wanted = wanted_of(plan, &mut scanner)?;
        let end = scanner.position();
        found.push(wanted.into_found(plan, start..end));
        scanner.end_of_line()?;
    }
    scanner.end()?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(path: &[&str]) -> Plan {
        let step = |name: &&str| if *name == "*" { Step::Each } else { Step::Name((*name).to_owned()) };
        Plan {
            path: path.iter().map(step).collect(),
            reshaped: None,
            key: vec![vec!["id".into()]],
            cursor: Some("at".into()),
            deletion: Some(vec!["meta".into(), "gone".into()]),
        }
    }

    fn records(body: &str, path: &[&str]) -> Result<Vec<String>> {
        let found = extract(Bytes::from(body.to_owned()), &plan(path))?;
        let text = |range: Range<u32>| body[range.start as usize..range.end as usize].to_owned();
        Ok(found.records.into_iter().map(|record| text(record.slice.body)).collect())
    }

    #[test]
    fn records_are_found_where_the_path_leads() {
        let facts: [(&str, &[&str], &[&str]); 13] = [
            (r#"[{"id":1},{"id":2}]"#, &[], &[r#"{"id":1}"#, r#"{"id":2}"#]),
            (r#"{"id":1}"#, &[], &[r#"{"id":1}"#]),
            ("{}", &[], &[]),
            ("[{}]", &[], &[]),
            (r#"{"data": [ {"id":1} , {} ]}"#, &["data"], &[r#"{"id":1}"#, "{}"]),
            (r#"{"data": {"id": 1}}"#, &["data"], &[r#"{"id": 1}"#]),
            (r#"{"data": null}"#, &["data"], &[]),
            (r#"{"other": 1}"#, &["data"], &[]),
            (r#"{"a":{"b":[{"id":1}]}}"#, &["a", "b"], &[r#"{"id":1}"#]),
            (r#"{"a":[{"b":{"id":1}},{"b":{"id":2}}]}"#, &["a", "*", "b"], &[r#"{"id":1}"#, r#"{"id":2}"#]),
            (r#"{"x":{"id":1},"y":{"id":2}}"#, &["*"], &[r#"{"id":1}"#, r#"{"id":2}"#]),
            (r#"{"a":[{"id":0},{"id":1}]}"#, &["a", "1"], &[r#"{"id":1}"#]),
            (r#"[{"data":[{"id":1}]},{"data":[{"id":2}]}]"#, &["data"], &[r#"{"id":1}"#, r#"{"id":2}"#]),
        ];
        for (body, path, expected) in facts {
            assert_eq!(records(body, path).unwrap(), expected, "{body} {path:?}");
        }
    }

    #[test]
    fn what_is_not_json_or_not_records_is_an_error_and_never_nothing() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &["data"]),
            ("<html>", &["data"]),
            (r#"{"data":[{"id":1}"#, &["data"]),
            (r#"{"data":5}"#, &["data"]),
            (r#"{"data":[1,2]}"#, &["data"]),
            ("\"x\"", &[]),
            (r#"{"data":[{"id":1}]} trailing"#, &["data"]),
        ];
        for (body, path) in cases {
            assert_eq!(records(body, path).unwrap_err().kind(), ErrorKind::BadAnswer, "{body}");
        }
    }

    #[test]
    fn key_cursor_and_deletion_mark_are_found_in_the_same_pass() {
        let body = r#"{"data":[{"at":"2024","id":12345678901234567890,"x":1.0},{"id":"b","meta":{"gone":"2024"}},{"meta":{"gone":false}}]}"#;
        let found = extract(Bytes::from(body), &plan(&["data"])).unwrap();
        let slice = |range: &Range<u32>| &body[range.start as usize..range.end as usize];
        let keys: Vec<_> = found.records.iter().map(|record| record.slice.key.as_slice().first().map(slice)).collect();
        assert_eq!(keys, [Some("12345678901234567890"), Some("\"b\""), None]);
        assert_eq!(found.records[0].cursor.clone().map(|range| &body[range]), Some("\"2024\""));
        assert_eq!(
            found.records.iter().map(|record| record.slice.is_deletion).collect::<Vec<_>>(),
            [false, true, false]
        );
    }
}
