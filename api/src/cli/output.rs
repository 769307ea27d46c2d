//! What commands print: the only place that writes to standard output and standard error.

use std::io::{self, IsTerminal, Write};

use listbackup_engine::Error;
use serde::Serialize;

/// One JSON document on standard output.
pub fn json(document: &impl Serialize) {
    if let Ok(text) = serde_json::to_string_pretty(document) {
        line(&text);
    }
}

/// A line on standard output. A reader that went away ends the program's interest in printing, not the program.
pub fn line(text: &str) {
    let _gone = writeln!(io::stdout().lock(), "{text}");
}

/// A line for the person at the terminal, on standard error.
pub fn note(text: &str) {
    let _gone = writeln!(io::stderr().lock(), "{text}");
}

/// An error for the person at the terminal.
pub fn error(error: &Error) {
    note(&format!("error: {error}"));
}

/// True when somebody watches.
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Columns of text, the first to the left, the others to the right.
pub fn table(header: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let text: Vec<String> = cells
            .zip(&widths)
            .enumerate()
            .map(
                |(column, (cell, width))| {
                    if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                },
            )
            .collect();
        line(text.join("  ").trim_end());
    };
    print(&mut header.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// Bytes for people: `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// A count for people: `1,234,567`.
pub fn count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A count with its noun: `1 snapshot`, `2 snapshots`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{} {noun}{}", self::count(count), if count == 1 { "" } else { "s" })
}
