//! Two versions of an export of contacts.

use crate::contacts::{Draw, contact};

/// Contacts, one a line, in the order of their ids. Version 2 is version 1 with 1 % changed, 0.5 % inserted and 0.1 % deleted, scattered.
///
/// # Errors
/// Those of `take`.
pub fn lines(records: u64, version: u32, mut take: impl FnMut(&str) -> std::io::Result<()>) -> std::io::Result<()> {
    let mut line = String::new();
    let mut give = |id: u64, edit: u64| {
        line.clear();
        contact(&mut line, id, edit);
        line.push('\n');
        take(&line)
    };
    for id in 0..records {
        let lot = if version == 2 { Draw(id ^ 0xC0FF_EE00).below(100_000) } else { 100_000 };
        match lot {
            0..100 => {}
            100..1_100 => give(id, 1)?,
            1_100..1_600 => [id, 1_000_000_000 + id].into_iter().try_for_each(|id| give(id, 0))?,
            _ => give(id, 0)?,
        }
    }
    Ok(())
}
