//! The MUST lines that show from outside, and what was seen of each.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

/// Numbers of `connectors/README.md` and what each line asks, in a few words.
const LINES: [(u8, &str); 34] = [
    (1, "a failure has the kind that helps"),
    (2, "no error holds a secret"),
    (3, "no read panics"),
    (4, "settings that sign requests are marked as secret"),
    (5, "every missing setting is named, and nothing sent"),
    (7, "a renewed token is stored before it is used"),
    (8, "stream names are unique"),
    (9, "the key is in every record and stays the same"),
    (11, "deletions show as declared"),
    (13, "a record is one JSON object, as it was sent"),
    (14, "what cannot be read is an error, never zero records"),
    (15, "the same page for ever is an error"),
    (16, "a read goes on from its positions, and refuses others"),
    (17, "a read that went on ends like a whole one"),
    (18, "without a state every record is sent"),
    (19, "the state only moves forward"),
    (20, "is_full only when every record was sent"),
    (21, "what was left out is told"),
    (22, "a read ends when its reader goes away"),
    (24, "every request goes through the client and its caps"),
    (25, "Retry-After is honoured"),
    (26, "credentials in headers are marked"),
    (27, "a page names every attachment of its records"),
    (28, "an attachment's id is short, its own, and stays the same"),
    (29, "an attachment's version changes with its content"),
    (30, "an attachment's size is exact"),
    (31, "a download that is cut short is an error, or goes on"),
    (32, "an attachment that cannot be opened is told as what helps"),
    (33, "two tries of one write make one record"),
    (34, "every field that the product sets is read-only"),
    (35, "references name streams with one key field"),
    (36, "one record is read in the form in which all are"),
    (37, "the natural key is shared by no two records"),
    (38, "a write fails as what helps, with the product's reason"),
];

/// What was seen of one line, at most this many things.
const SEEN_MAX: usize = 3;

/// How a line was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Seen, and always kept.
    Kept,
    /// Seen broken.
    Broken,
    /// Nothing of it was seen.
    NotObserved,
}

impl Grade {
    /// The words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Broken => "broken",
            Self::NotObserved => "not observed",
        }
    }
}

/// One line with its grade.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Its number in `connectors/README.md`.
    pub number: u8,
    /// What it asks.
    pub must: &'static str,
    /// How it was kept.
    pub grade: Grade,
    /// What was seen: of a broken line the breaches.
    pub seen: Vec<String>,
}

/// The grades of a connector.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The integration's name.
    pub integration: String,
    /// The streams that were tried.
    pub streams: Vec<String>,
    /// Those of them that a recording does not hold whole, each with what is missing: nothing was seen of them.
    pub unrecorded: Vec<String>,
    /// Lines that were seen and kept.
    pub kept: usize,
    /// Lines that were seen broken.
    pub broken: usize,
    /// Lines of which nothing was seen.
    pub not_observed: usize,
    /// Every line, in the order of the contract.
    pub lines: Vec<Line>,
}

impl Report {
    /// True when no line was broken, and every stream was seen.
    pub fn is_whole(&self) -> bool {
        self.broken == 0 && self.unrecorded.is_empty()
    }

    /// How a line was kept.
    pub fn grade(&self, number: u8) -> Grade {
        self.lines.iter().find(|line| line.number == number).map_or(Grade::NotObserved, |line| line.grade)
    }
}

/// What was seen, by line.
#[derive(Default)]
pub(super) struct Ledger {
    seen: Mutex<BTreeMap<u8, Vec<(bool, String)>>>,
    unrecorded: Mutex<Vec<String>>,
}

impl Ledger {
    /// Notes that a line was kept or broken, with what was seen.
    pub(super) fn note(&self, line: u8, is_kept: bool, seen: &str) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let noted = all.entry(line).or_default();
        if !noted.iter().any(|(kept, words)| *kept == is_kept && words == seen) {
            noted.push((is_kept, seen.to_owned()));
        }
    }

    /// Notes a stream of which nothing can be seen.
    pub(super) fn unrecorded(&self, what: String) {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(super) fn kept(&self, line: u8, seen: &str) {
        self.note(line, true, seen);
    }

    pub(super) fn broken(&self, line: u8, seen: &str) {
        self.note(line, false, seen);
    }

    /// The grades.
    pub(super) fn report(self, integration: &str, streams: Vec<String>) -> Report {
        let noted = self.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
        let lines: Vec<Line> = LINES
            .iter()
            .map(|(number, must)| {
                let all = noted.get(number).map(Vec::as_slice).unwrap_or_default();
                let is_broken = all.iter().any(|(kept, _)| !kept);
                let grade = match all {
                    [] => Grade::NotObserved,
                    _ if is_broken => Grade::Broken,
                    _ => Grade::Kept,
                };
                let told = all.iter().filter(|(kept, _)| *kept != is_broken).map(|(_, seen)| seen.clone());
                Line { number: *number, must, grade, seen: told.take(SEEN_MAX).collect() }
            })
            .collect();
        let count = |grade| lines.iter().filter(|line| line.grade == grade).count();
        Report {
            integration: integration.to_owned(),
            streams,
            unrecorded: self.unrecorded.into_inner().unwrap_or_else(PoisonError::into_inner),
            kept: count(Grade::Kept),
            broken: count(Grade::Broken),
            not_observed: count(Grade::NotObserved),
            lines,
        }
    }
}
