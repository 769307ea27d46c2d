//! CSV (RFC 4180): one line a record, one column a field. Members of objects have columns of their own, named with dots;
//! arrays are JSON text. Missing and null are empty, the empty text is `""`. Values are never changed to please
//! spreadsheets: a text that starts with `=` stays one.

use std::{borrow::Cow, collections::HashSet, io::Write};

use super::{
    columns::{DEPTH_MAX, REST, Shape, Survey},
    members::Members,
    output::Output,
    records::Scan,
    text::{self, Rest, members},
};
use crate::error::{Error, ErrorKind, Result};

/// One cell; none for a value that is missing or null.
type Cell<'a> = Option<Cow<'a, str>>;

/// Writes all records of `scan`, after a first pass over them for their columns; returns how many.
pub(super) fn write(scan: &Scan<'_>, out: &mut Output<'_>) -> Result<u64> {
    let mut survey = Survey::new(&scan.state.primary_key, false);
    scan.survey(out, |record| {
        survey.add(text::checked(record)?);
        Ok(())
    })?;
    let mut table = Table::new(survey.finish(), &scan.state.primary_key);
    table.write_header(out)?;
    let mut count = 0;
    scan.each(|record| {
        count += 1;
        table.write_record(text::checked(record)?, out).map_err(|error| error.with("key", &record.key))
    })?;
    Ok(count)
}

/// The columns, and where each value goes.
struct Table {
    root: Place,
    names: Vec<String>,
    /// Columns from left to right.
    order: Vec<usize>,
}

/// One place of the records.
struct Place {
    /// Column of its values that are no objects with members.
    column: Option<usize>,
    /// Column of its members that have none.
    rest: Option<usize>,
    members: Members<Place>,
}

impl Table {
    fn new(shape: Shape, primary_key: &[Vec<String>]) -> Self {
        let mut names = Names::default();
        let root = Place::inside(shape, "", None, &mut names);
        let of_key: Vec<usize> = primary_key.iter().filter_map(|path| root.column_at(path)).collect();
        let mut order: Vec<usize> = (0..names.list.len()).collect();
        order.sort_by_key(|column| of_key.iter().position(|key| key == column).unwrap_or(usize::MAX));
        Self { root, names: names.list, order }
    }

    fn write_header(&self, out: &mut Output<'_>) -> Result<()> {
        let names: Vec<Cell<'_>> = self.names.iter().map(|name| Some(Cow::Borrowed(name.as_str()))).collect();
        write_line(&names, &self.order, out)
    }

    fn write_record(&mut self, record: &str, out: &mut Output<'_>) -> Result<()> {
        let mut cells = vec![None; self.names.len()];
        self.root.fill_members(record, 0, &mut cells)?;
        write_line(&cells, &self.order, out)
    }
}

impl Place {
    fn of(shape: Shape, path: &str, names: &mut Names) -> Self {
        let has_own =
            !shape.kinds.are_within(super::columns::Kinds::OBJECT) || (shape.members.len() == 0 && !shape.has_rest);
        let column = has_own.then(|| names.add(path));
        Self::inside(shape, &format!("{path}."), column, names)
    }

    fn inside(shape: Shape, prefix: &str, column: Option<usize>, names: &mut Names) -> Self {
        let members = shape.members.map(|name, member| Self::of(member, &format!("{prefix}{name}"), names));
        let rest = shape.has_rest.then(|| names.add(&format!("{prefix}{REST}")));
        Self { column, rest, members }
    }

    fn column_at(&self, path: &[String]) -> Option<usize> {
        match path.split_first() {
            Some((name, rest)) => self.members.get(name)?.column_at(rest),
            None => self.column,
        }
    }

    fn fill<'a>(&mut self, value: &'a str, depth: usize, cells: &mut [Cell<'a>]) -> Result<()> {
        let cell = match value.as_bytes().first() {
            Some(b'n') => return Ok(()),
            Some(b'{') if depth < DEPTH_MAX && !text::is_empty(value) => {
                return self.fill_members(value, depth, cells);
            }
            Some(b'"') => text::decode(value).unwrap_or(Cow::Borrowed(value)),
            _ => Cow::Borrowed(value),
        };
        put(cells, self.column, cell)
    }

    fn fill_members<'a>(&mut self, object: &'a str, depth: usize, cells: &mut [Cell<'a>]) -> Result<()> {
        let mut rest = Rest::default();
        self.members.begin();
        for (name, value) in members(object) {
            match self.members.find(&text::name(name)) {
                Ok(member) => member.fill(value, depth + 1, cells)?,
                Err(_) => rest.push(name, value),
            }
        }
        match rest.finish() {
            Some(rest) => put(cells, self.rest, Cow::Owned(rest)),
            None => Ok(()),
        }
    }
}

/// The first pass saw every value; one without column would be lost.
fn put<'a>(cells: &mut [Cell<'a>], column: Option<usize>, value: Cow<'a, str>) -> Result<()> {
    match column.and_then(|column| cells.get_mut(column)) {
        Some(cell) => {
            *cell = Some(value);
            Ok(())
        }
        None => Err(Error::new(ErrorKind::Bug, "a value has no column")),
    }
}

/// Names of columns, each another one: `a` with a member `b` is not `a.b`.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    known: HashSet<String>,
}

impl Names {
    fn add(&mut self, name: &str) -> usize {
        let mut unique = name.to_owned();
        let mut number = 1;
        while !self.known.insert(unique.clone()) {
            number += 1;
            unique = format!("{name} ({number})");
        }
        self.list.push(unique);
        self.list.len() - 1
    }
}

fn write_line(cells: &[Cell<'_>], order: &[usize], out: &mut Output<'_>) -> Result<()> {
    for (i, column) in order.iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        if let Some(text) = &cells[*column] {
            write_cell(text, out)?;
        }
    }
    Ok(out.write_all(b"\r\n")?)
}

fn write_cell(text: &str, out: &mut Output<'_>) -> std::io::Result<()> {
    let bytes = text.as_bytes();
    let is_plain = memchr::memchr3(b'"', b',', b'\n', bytes).is_none() && memchr::memchr(b'\r', bytes).is_none();
    if is_plain && !bytes.is_empty() {
        return out.write_all(bytes);
    }
    out.write_all(b"\"")?;
    for (i, part) in text.split('"').enumerate() {
        if i > 0 {
            out.write_all(b"\"\"")?;
        }
        out.write_all(part.as_bytes())?;
    }
    out.write_all(b"\"")
}
