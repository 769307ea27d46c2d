//! The files of the checkout, for tests that read them. Tests run in its root; a path fixed at compile time might be that
//! of another checkout with the same target directory.

#![allow(dead_code, reason = "each test binary uses a part of the kit")]

use std::process::Command;

/// A text file of the tree.
pub struct SourceFile {
    /// From the root of the checkout, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl SourceFile {
    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Lines that are not comments.
    pub fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Lines before the unit tests, which stand last.
    pub fn production_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(_, line)| *line != "#[cfg(test)]")
    }

    /// True for files that only tests and benches use.
    pub fn is_test(&self) -> bool {
        ["tests/", "benches/"]
            .iter()
            .any(|folder| self.path.starts_with(folder) || self.path.contains(&format!("/{folder}")))
            || self.path.ends_with("/tests.rs")
    }
}

/// All Rust files.
pub fn rust_files() -> Vec<SourceFile> {
    text_files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

/// All text files that are, or would be, committed.
pub fn text_files() -> Vec<SourceFile> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(list).output().expect("git lists the tree");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("paths are UTF-8");
    // What is not text, or was removed just now, is left out.
    paths
        .split_terminator('\0')
        .filter_map(|path| Some(SourceFile { path: path.to_owned(), text: std::fs::read_to_string(path).ok()? }))
        .collect()
}
