//! Reports in CSV as `pandas.read_csv` reads them when every value is to stay text.

use super::{
    super::json::write_text,
    Source,
    csv::{Cell, Table},
};
use crate::{Error, ErrorKind, Result};

/// Words that stand for nothing.
const NOTHINGS: [&str; 19] = [
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// One object a row; blank lines count for nothing. With `keeps_words` only an empty value is null.
///
/// # Errors
/// `BadAnswer` when the names cannot be read.
pub(super) fn rows(source: Source, keeps_words: bool) -> Result<impl Iterator<Item = Result<String>> + Send + use<>> {
    // Products pad their reports with null bytes.
    let mut table =
        Table::new(Box::new(WithoutNulls(source)), b',').filter(|row| !row.as_ref().is_ok_and(Vec::is_empty));
    let names = names(table.next().transpose()?.unwrap_or_default());
    let is_nothing = move |text: &str| if keeps_words { text.is_empty() } else { NOTHINGS.contains(&text) };
    Ok(table.enumerate().map(move |(number, row)| {
        let row = row?;
        if row.len() > names.len() {
            let message =
                format!("row {} of the report has {} values for {} names", number + 2, row.len(), names.len());
            return Err(Error::new(ErrorKind::BadAnswer, message));
        }
        let mut out = String::from("{");
        for (index, name) in names.iter().enumerate() {
            out.push_str(if index > 0 { "," } else { "" });
            write_text(name, &mut out);
            out.push(':');
            match row.get(index).filter(|cell| !is_nothing(&cell.text)) {
                Some(cell) => write_text(&cell.text, &mut out),
                None => out.push_str("null"),
            }
        }
        out.push('}');
        Ok(out)
    }))
}

/// Names are made different: `a`, `a.1`, `a.2`; one that is empty tells its place.
fn names(row: Vec<Cell>) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(row.len());
    for (index, cell) in row.into_iter().enumerate() {
        let wanted = if cell.text.is_empty() { format!("Unnamed: {index}") } else { cell.text };
        let mut name = wanted.clone();
        let mut count = 0;
        while names.contains(&name) {
            count += 1;
            name = format!("{wanted}.{count}");
        }
        names.push(name);
    }
    names
}

struct WithoutNulls(Source);

impl std::io::Read for WithoutNulls {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = self.0.read(into)?;
            let mut kept = 0;
            for at in 0..read {
                if into[at] != 0 {
                    into[kept] = into[at];
                    kept += 1;
                }
            }
            if kept > 0 || read == 0 {
                return Ok(kept);
            }
        }
    }
}
