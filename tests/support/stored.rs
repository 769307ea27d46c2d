//! The objects of a data directory, as files.

use std::path::{Path, PathBuf};

/// Objects whose name has that ending, in path order.
pub fn objects(data_dir: &Path, ending: &str) -> Vec<PathBuf> {
    let (mut directories, mut found) = (vec![data_dir.join("objects")], Vec::new());
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).expect("objects are there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
