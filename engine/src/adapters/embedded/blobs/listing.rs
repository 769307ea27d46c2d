//! Listings in path order over a tree of directories.

use std::{
    fs::{self, DirEntry},
    io::ErrorKind as Io,
    path::Path,
};

use super::DIRECTORY;
use crate::{adapters::embedded::files, error::Result, model::AccountId, ports::BlobEntry};

/// Objects below `root` whose path starts with `prefix` and is greater than `after`, at most `max`.
pub(in crate::adapters::embedded) fn list(
    root: &Path,
    prefix: &str,
    after: &str,
    max: usize,
) -> Result<Vec<BlobEntry>> {
    let start = prefix.rfind('/').map_or("", |end| &prefix[..=end]);
    let mut walk = Walk { root, prefix, after, max, found: Vec::new() };
    walk.directory(start)?;
    Ok(walk.found)
}

/// The accounts that have objects in a data directory, oldest first.
pub(in crate::adapters::embedded) fn accounts(data_dir: &Path) -> Result<Vec<AccountId>> {
    let root = data_dir.join(DIRECTORY);
    let walk = Walk { root: &root, prefix: "", after: "", max: 0, found: Vec::new() };
    let names = walk.names("accounts/")?;
    Ok(names.iter().filter_map(|name| name.strip_suffix('/')?.parse().ok()).collect())
}

/// True when an account has objects in a data directory.
pub(in crate::adapters::embedded) fn has_accounts(data_dir: &Path) -> Result<bool> {
    Ok(!accounts(data_dir)?.is_empty())
}

struct Walk<'a> {
    root: &'a Path,
    prefix: &'a str,
    after: &'a str,
    max: usize,
    found: Vec<BlobEntry>,
}

impl Walk<'_> {
    /// `dir` ends with a slash.
    fn directory(&mut self, dir: &str) -> Result<()> {
        for name in self.names(dir)? {
            if self.found.len() >= self.max {
                break;
            }
            let path = format!("{dir}{name}");
            if path.ends_with('/') {
                if self.may_hold(&path) {
                    self.directory(&path)?;
                }
            } else if path.starts_with(self.prefix) && path.as_str() > self.after {
                self.object(path)?;
            }
        }
        Ok(())
    }

    fn object(&mut self, path: String) -> Result<()> {
        match fs::metadata(self.root.join(&path)) {
            Ok(metadata) => self.found.push(BlobEntry { path, size_bytes: metadata.len() }),
            // Deleted since its directory was read.
            Err(error) if error.kind() == Io::NotFound => {}
            Err(error) => return Err(files::at(error, &self.root.join(path))),
        }
        Ok(())
    }

    fn may_hold(&self, dir: &str) -> bool {
        let in_prefix = dir.starts_with(self.prefix) || self.prefix.starts_with(dir);
        in_prefix && (dir > self.after || self.after.starts_with(dir))
    }

    /// Names in a directory, those of directories with a slash: sorted so, the walk meets whole paths in byte order
    /// (`a-b` comes before `a/c`, though `a` comes before `a-b`).
    fn names(&self, dir: &str) -> Result<Vec<String>> {
        let path = self.root.join(dir);
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == Io::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(files::at(error, &path)),
        };
        let mut names = entries
            .map(|entry| entry.and_then(|entry| name_of(&entry)))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(|error| files::at(error, &path))?;
        names.sort_unstable();
        Ok(names)
    }
}

fn name_of(entry: &DirEntry) -> std::io::Result<String> {
    let mut name = entry.file_name().to_string_lossy().into_owned();
    if entry.file_type()?.is_dir() {
        name.push('/');
    }
    Ok(name)
}
