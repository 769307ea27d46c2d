//! Regular expressions as Python writes them.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use regex::{Regex, RegexBuilder};

/// Compiled expressions kept at once; manifests have a handful.
const MAX_PATTERNS: usize = 64;
/// Largest compiled expression.
const MAX_SIZE_BYTES: usize = 4 << 20;

static PATTERNS: LazyLock<Mutex<HashMap<String, Regex>>> = LazyLock::new(Mutex::default);

/// True for an expression that need not be compiled any more.
pub(super) fn is_compiled(source: &str) -> bool {
    PATTERNS.lock().unwrap_or_else(PoisonError::into_inner).contains_key(source)
}

/// Compiles an expression of Python's; without look-around and back references.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn expression(source: &str) -> Result<Regex, String> {
    let mut patterns = PATTERNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = patterns.get(source) {
        return Ok(known.clone());
    }
    let mut builder = RegexBuilder::new(&translated(source));
    let compiled = builder.size_limit(MAX_SIZE_BYTES).dfa_size_limit(MAX_SIZE_BYTES).build();
    let compiled = compiled.map_err(|error| {
        let source: String = source.chars().take(SHOWN_CHARS).collect();
        format!("`{source}` is not a regular expression that can be used: {}", reason(&error))
    })?;
    if patterns.len() >= MAX_PATTERNS {
        patterns.clear();
    }
    patterns.insert(source.to_owned(), compiled.clone());
    Ok(compiled)
}

/// So much of an expression is shown, and of what is wrong with it.
const SHOWN_CHARS: usize = 200;

/// In one line; the library draws the expression with a mark under it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").chars().take(SHOWN_CHARS).collect()
}

/// What is a plain character in Python and means something here is quoted: braces that count nothing, and brackets and
/// doubled signs inside a class.
fn translated(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source;
    // The number of characters since the class began.
    let mut class: Option<usize> = None;
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => character.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match (token, class) {
            ("\\Z", None) => out.push_str("\\z"),
            ("{", None) if !counts(after) => out.push_str("\\{"),
            ("[", None) => {
                out.push('[');
                class = Some(0);
                continue;
            }
            ("^", Some(0)) => {
                out.push('^');
                continue;
            }
            // A bracket right at the beginning is a member.
            ("]", Some(0)) => out.push_str("\\]"),
            ("]", Some(_)) => {
                out.push(']');
                class = None;
                continue;
            }
            ("[", Some(_)) => out.push_str("\\["),
            ("&" | "~", Some(_)) => {
                out.push('\\');
                out.push_str(token);
            }
            _ => out.push_str(token),
        }
        class = class.map(|count| count + 1);
    }
    out
}

/// True when what follows a brace says how often: `3}`, `1,}`, `,5}`, `1,5}`.
fn counts(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    inside.bytes().any(|byte| byte.is_ascii_digit())
        && inside.bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        && inside.matches(',').count() <= 1
        && !inside.starts_with(',')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_are_plain_in_python_are_plain_here() {
        let facts = [
            (r#"{"next":"([^"]+)"}"#, r#"{"next":"abc"}"#, Some("abc")),
            (r"a{2}(b)", "aab", Some("b")),
            (r"a{,}(b)", "a{,}b", Some("b")),
            (r"x{(\d+)}", "x{12}", Some("12")),
            (r"[[](\w+)[]]", "[in]", Some("in")),
            (r"([^]]+)]", "in]", Some("in")),
            (r"([a&&b]+)", "&a&", Some("&a&")),
            (r"\{(a)\}\Z", "{a}", Some("a")),
            (r"([\[\]{}]+)", "[{}]", Some("[{}]")),
            (r"é{2}(.)", "ééx", Some("x")),
        ];
        for (source, text, expected) in facts {
            let found = expression(source).unwrap();
            let group = found.captures(text).and_then(|found| found.get(1)).map(|group| group.as_str());
            assert_eq!(group, expected, "{source}");
        }
    }
}
