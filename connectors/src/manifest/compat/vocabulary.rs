//! The words of the language: its component types and their fields, as the reference of version 7.39.1 knows them.

use std::{collections::BTreeMap, sync::OnceLock};

/// One type a line: its name and its fields; `*` for those whose fields their own code names.
const WORDS: &str = include_str!("vocabulary.txt");

/// Fields that every component may have: they name and describe, and nothing is read by them.
const ANYWHERE: [&str; 5] = ["type", "name", "title", "description", "class_name"];

/// Furthest that a word may be from one of the language to be taken for a slip.
const SLIP_MAX: usize = 2;

type Words = BTreeMap<&'static str, Vec<&'static str>>;

fn words() -> &'static Words {
    static PARSED: OnceLock<Words> = OnceLock::new();
    PARSED.get_or_init(|| {
        let lines = WORDS.lines().map(|line| line.split(' ').filter(|word| !word.is_empty()));
        lines.filter_map(|mut words| Some((words.next()?, words.collect()))).collect()
    })
}

/// True for a component type of the language.
pub(super) fn has_type(kind: &str) -> bool {
    words().contains_key(kind)
}

/// True for a field that components of this type have; for unknown types, true.
pub(super) fn has_field(kind: &str, field: &str) -> bool {
    let is_extension = field.starts_with('$') || field.starts_with("x-");
    let fields = words().get(kind);
    is_extension
        || ANYWHERE.contains(&field)
        || fields.is_none_or(|fields| fields.iter().any(|own| [field, "*"].contains(own)))
}

/// The type that was probably meant.
pub(super) fn nearest_type(kind: &str) -> Option<&'static str> {
    nearest(kind, words().keys().copied())
}

/// The field of this type that was probably meant.
pub(super) fn nearest_field(kind: &str, field: &str) -> Option<&'static str> {
    nearest(field, words().get(kind)?.iter().copied())
}

/// The closest of `words`, if it is close enough to be a slip.
pub(super) fn nearest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let most = SLIP_MAX.min(word.chars().count() / 3);
    words
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(far, _)| *far <= most)
        .min()
        .map(|found| found.1)
}

/// How many letters must be changed, added or left out, case aside; letters that changed places count once.
fn distance(one: &str, other: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    let (one, other) = (letters(one), letters(other));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, candidate) in other.iter().enumerate() {
            let replaced = row[j] + usize::from(letter != candidate);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *letter == other[j - 1] && one[i - 1] == *candidate {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        assert_eq!(nearest_type("BearerAuthentcator"), Some("BearerAuthenticator"));
        assert_eq!(nearest_type("SoapRequester"), None);
        assert_eq!(nearest_field("DatetimeBasedCursor", "lookback_windwo"), Some("lookback_window"));
        assert_eq!(nearest_field("HttpRequester", "colour"), None);
        assert!(has_field("CustomRequester", "anything") && !has_field("RecordFilter", "anything"));
    }
}
