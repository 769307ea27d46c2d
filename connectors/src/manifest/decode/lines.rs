//! Bodies of lines, and the items of a list inside a document.

use std::io::{BufRead as _, BufReader};

use bytes::Bytes;

use super::{
    super::json::{Scanner, Slice, write_text},
    Source, damaged,
};
use crate::{Error, ErrorKind, Result};

fn bad_answer(message: String) -> Error {
    Error::new(ErrorKind::BadAnswer, message)
}

/// One value a line; blank lines count for nothing.
pub(super) fn json(source: Source) -> impl Iterator<Item = Result<String>> + Send {
    let mut number = 0_u64;
    BufReader::new(source).split(b'\n').filter_map(move |line| {
        number += 1;
        let line = match line {
            Ok(line) => line,
            Err(error) => return Some(Err(damaged(&error))),
        };
        let Ok(text) = String::from_utf8(line) else {
            return Some(Err(bad_answer(format!("line {number} is not UTF-8"))));
        };
        if text.trim().is_empty() {
            return None;
        }
        Some(match Slice::parse(&text) {
            Ok(value) => Ok(value.text().to_owned()),
            Err(error) => Err(bad_answer(format!("line {number} is not JSON: {error}"))),
        })
    })
}

/// `{"record": line}` for each line, blank ones too.
pub(super) fn plain(source: Source) -> impl Iterator<Item = Result<String>> + Send {
    BufReader::new(source).split(b'\n').flat_map(|line| {
        let line = match line {
            Ok(line) => line,
            Err(error) => return vec![Err(damaged(&error))],
        };
        let Ok(text) = std::str::from_utf8(&line) else { return vec![Err(bad_answer("a line is not UTF-8".into()))] };
        // A line may end with `\r\n`, and `\r` alone ends one as well.
        text.strip_suffix('\r').unwrap_or(text).split('\r').map(record_of).collect()
    })
}

fn record_of(line: &str) -> Result<String> {
    let mut record = String::with_capacity(line.len() + 16);
    record.push_str("{\"record\":");
    write_text(line, &mut record);
    record.push('}');
    Ok(record)
}

/// The items of every list at `path`, as they stand in the document.
pub(super) fn items(document: &Bytes, path: &[String]) -> Result<Vec<String>> {
    let text = std::str::from_utf8(document).map_err(|_| bad_answer("the answer is not UTF-8".into()))?;
    let mut found = Vec::new();
    let mut scanner = Scanner::new(text);
    let walked = descend(&mut scanner, path, &mut found).and_then(|()| scanner.end());
    walked.map_err(|error| bad_answer(format!("the answer is not JSON: {error}")))?;
    Ok(found)
}

/// `item` as a step stands for every item of a list.
fn descend(scanner: &mut Scanner<'_>, path: &[String], found: &mut Vec<String>) -> super::super::json::Scan<()> {
    match (path, scanner.peek()) {
        ([], b'[') => scanner.array(|scanner, _| {
            let range = scanner.value()?;
            found.push(scanner.text_at(&range).to_owned());
            Ok(())
        }),
        ([step, rest @ ..], b'[') if step == "item" => scanner.array(|scanner, _| descend(scanner, rest, found)),
        ([step, rest @ ..], b'{') => {
            scanner.object(
                |scanner, key| {
                    if key.is(step) { descend(scanner, rest, found) } else { scanner.value().map(drop) }
                },
            )
        }
        _ => scanner.value().map(drop),
    }
}
