//! CSV as Python's `csv.DictReader` reads it: the first row names the fields of the others.

use std::io::{BufReader, Read};

use super::{
    super::{
        json::write_text,
        load::{Take, View},
    },
    Source, damaged,
    text::Encoding,
};
use crate::{Error, ErrorKind, Result};

/// How the member with surplus values begins: Python's `None` as JSON writes it.
const SURPLUS: &str = "\"null\":";

/// `CsvDecoder`.
#[derive(Clone, Debug)]
pub(crate) struct CsvFormat {
    encoding: Encoding,
    delimiter: u8,
    /// Values that mean nothing.
    nothings: Vec<String>,
}

impl CsvFormat {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let text = view.text("delimiter")?.unwrap_or_else(|| ",".into());
        let delimiter = match text.as_bytes() {
            [] => b',',
            [one] if one.is_ascii() && !matches!(one, b'\n' | b'\r' | b'"') => *one,
            b"\\t" => b'\t',
            b"\\\\" => b'\\',
            _ => {
                return Err(
                    view.problem(format!("the delimiter `{text}` is not supported; it must be one ASCII character"))
                );
            }
        };
        Ok(Self {
            encoding: Encoding::load(view)?,
            delimiter,
            nothings: view.texts("set_values_to_none")?.unwrap_or_default(),
        })
    }

    #[cfg(test)]
    pub(super) fn of(encoding: Encoding, delimiter: u8, nothings: Vec<String>) -> Self {
        Self { encoding, delimiter, nothings }
    }

    /// One object a row.
    ///
    /// # Errors
    /// `BadAnswer` when the names cannot be read.
    pub(super) fn rows(&self, source: Source) -> Result<impl Iterator<Item = Result<String>> + Send + use<>> {
        let mut table = Table::new(self.encoding.recode(source), self.delimiter);
        let names = table.next().transpose()?.unwrap_or_default();
        let fields = Fields::of(&names);
        let nothings = self.nothings.clone();
        let rows = table.filter(|row| !row.as_ref().is_ok_and(Vec::is_empty));
        Ok(rows.map(move |row| Ok(fields.object(&row?, &nothings))))
    }
}

/// The names of a table's fields.
struct Fields {
    /// Each as it begins a member, with the place of its value: of two fields with one name the last counts.
    members: Vec<(String, usize)>,
    count: usize,
}

impl Fields {
    fn of(names: &[Cell]) -> Self {
        let mut members: Vec<(String, usize)> = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let mut start = String::new();
            write_text(&name.text, &mut start);
            start.push(':');
            match members.iter_mut().find(|(known, _)| *known == start) {
                Some((_, place)) => *place = index,
                None => members.push((start, index)),
            }
        }
        Self { members, count: names.len() }
    }

    /// A row as an object; what it lacks is null.
    fn object(&self, row: &[Cell], nothings: &[String]) -> String {
        let mut out = String::from("{");
        for (start, place) in &self.members {
            out.push_str(if out.len() > 1 { "," } else { "" });
            out.push_str(start);
            match row.get(*place).filter(|cell| !nothings.contains(&cell.text)) {
                Some(cell) => write_text(&cell.text, &mut out),
                None => out.push_str("null"),
            }
        }
        if let Some(surplus) = row.get(self.count..).filter(|surplus| !surplus.is_empty()) {
            out.push_str(if out.len() > 1 { "," } else { "" });
            out.push_str(SURPLUS);
            for (index, cell) in surplus.iter().enumerate() {
                out.push(if index > 0 { ',' } else { '[' });
                write_text(&cell.text, &mut out);
            }
            out.push(']');
        }
        out.push('}');
        out
    }
}

/// A value of a row.
#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
}

/// The rows of a text; a blank line is a row without values.
pub(super) struct Table {
    bytes: std::io::Bytes<BufReader<Source>>,
    delimiter: u8,
    /// A byte that was looked at and not taken.
    peeked: Option<u8>,
    number: u64,
    is_over: bool,
}

impl Table {
    /// The table in `source`, which is UTF-8.
    pub(super) fn new(source: Source, delimiter: u8) -> Self {
        Self { bytes: BufReader::new(source).bytes(), delimiter, peeked: None, number: 0, is_over: false }
    }

    /// The next byte; every way to end a line reads as `\n`.
    fn byte(&mut self) -> Result<Option<u8>> {
        let next = match self.peeked.take() {
            Some(byte) => Some(byte),
            None => self.bytes.next().transpose().map_err(|error| damaged(&error))?,
        };
        if next == Some(b'\r') {
            let after = self.bytes.next().transpose().map_err(|error| damaged(&error))?;
            self.peeked = after.filter(|byte| *byte != b'\n');
            return Ok(Some(b'\n'));
        }
        Ok(next)
    }

    fn row(&mut self) -> Result<Option<Vec<Cell>>> {
        let mut row = Vec::new();
        let mut value = Vec::new();
        let (mut is_quoted, mut was_quoted, mut is_begun) = (false, false, false);
        loop {
            let byte = self.byte()?;
            match byte {
                None if !is_begun => return Ok(None),
                None => {
                    self.is_over = true;
                    break;
                }
                Some(byte) if is_quoted => {
                    if byte != b'"' {
                        value.push(byte);
                        continue;
                    }
                    // Two quotes are one; one alone ends the quoted part.
                    match self.byte()? {
                        Some(b'"') => value.push(b'"'),
                        next => {
                            is_quoted = false;
                            self.peeked = next;
                        }
                    }
                }
                Some(b'\n') if !is_begun => return Ok(Some(row)),
                Some(b'\n') => break,
                Some(b'"') if value.is_empty() && !was_quoted => (is_quoted, was_quoted, is_begun) = (true, true, true),
                Some(byte) if byte == self.delimiter => {
                    row.push(self.cell(&mut value)?);
                    (was_quoted, is_begun) = (false, true);
                }
                Some(byte) => {
                    value.push(byte);
                    is_begun = true;
                }
            }
        }
        row.push(self.cell(&mut value)?);
        Ok(Some(row))
    }

    fn cell(&self, value: &mut Vec<u8>) -> Result<Cell> {
        let text = String::from_utf8(std::mem::take(value)).map_err(|_| {
            Error::new(
                ErrorKind::BadAnswer,
                format!("row {} of the answer is not in the encoding of the manifest", self.number),
            )
        })?;
        Ok(Cell { text })
    }
}

impl Iterator for Table {
    type Item = Result<Vec<Cell>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.number += 1;
        let row = self.row().transpose();
        self.is_over |= !matches!(row, Some(Ok(_)));
        row
    }
}
