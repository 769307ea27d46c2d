//! What a store takes on disk.

use std::{io, path::Path};

/// Bytes of all files below a folder.
///
/// # Errors
/// When it cannot be listed.
pub fn size_of(folder: &Path) -> io::Result<u64> {
    let mut size_bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        size_bytes += if meta.is_dir() { size_of(&entry.path())? } else { meta.len() };
    }
    Ok(size_bytes)
}
