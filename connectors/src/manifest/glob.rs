//! Patterns of names and paths, as the reference's libraries match them.

/// One step of a path inside a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A member's name.
    Name(String),
    /// An item's index, and how many items there are.
    Index(usize, usize),
}

/// True when `path` fits `pattern`: `*`, `?` and `[…]` inside a step; `**` once for any number of steps.
pub(crate) fn path_matches(path: &[Key], pattern: &[String]) -> bool {
    let Some(at) = pattern.iter().position(|step| step == "**") else {
        return path.len() == pattern.len() && path.iter().zip(pattern).all(|(key, step)| key.matches(step));
    };
    let (before, after) = (&pattern[..at], &pattern[at + 1..]);
    if after.iter().any(|step| step == "**") || path.len() < before.len() + after.len() {
        return false;
    }
    let ending = &path[path.len() - after.len()..];
    path.iter().zip(before).chain(ending.iter().zip(after)).all(|(key, step)| key.matches(step))
}

/// True when `step` may stand for more than one name.
pub(crate) fn is_pattern(step: &str) -> bool {
    step.contains(['*', '?', '['])
}

impl Key {
    fn matches(&self, step: &str) -> bool {
        match self {
            Self::Name(name) => name_matches(name, step),
            Self::Index(index, len) => match step.parse::<i64>() {
                Ok(number) => item_index(number, *len) == Some(*index),
                Err(_) => name_matches(&index.to_string(), step),
            },
        }
    }
}

/// The index that `number` stands for; negative ones count from the end.
pub(crate) fn item_index(number: i64, len: usize) -> Option<usize> {
    let number = if number < 0 { number.checked_add(i64::try_from(len).ok()?)? } else { number };
    usize::try_from(number).ok()
}

/// True when all of `name` fits `pattern`.
fn name_matches(name: &str, pattern: &str) -> bool {
    let (name, pattern): (Vec<char>, Vec<char>) = (name.chars().collect(), pattern.chars().collect());
    // Where to go on when what follows the last `*` does not fit: that `*` takes one character more.
    let (mut at, mut step, mut again) = (0, 0, None);
    loop {
        let next = match pattern.get(step) {
            None if at == name.len() => return true,
            Some('*') => {
                again = Some((at, step));
                step += 1;
                continue;
            }
            Some(_) if at < name.len() => one_matches(name[at], &pattern[step..]),
            _ => None,
        };
        (at, step) = match (next, again) {
            (Some(used), _) => (at + 1, step + used),
            (None, Some((from, star))) if from < name.len() => {
                again = Some((from + 1, star));
                (from + 1, star + 1)
            }
            _ => return false,
        };
    }
}

/// How much of the pattern one character takes up; `None` when it does not fit.
fn one_matches(character: char, pattern: &[char]) -> Option<usize> {
    match pattern[0] {
        '?' => Some(1),
        '[' => match class(pattern) {
            Some((is_not, members, used)) => (is_not != holds(members, character)).then_some(used),
            // Without an end it is the character itself.
            None => (character == '[').then_some(1),
        },
        plain => (plain == character).then_some(1),
    }
}

/// `[abc]` or `[!abc]` at the beginning: whether it is the latter, its members, and its length.
fn class(pattern: &[char]) -> Option<(bool, &[char], usize)> {
    let is_not = pattern.get(1) == Some(&'!');
    let start = if is_not { 2 } else { 1 };
    // A bracket right at the beginning is a member.
    let end = (start + 1..pattern.len()).find(|at| pattern[*at] == ']')?;
    Some((is_not, &pattern[start..end], end + 1))
}

fn holds(members: &[char], character: char) -> bool {
    let mut rest = members;
    while let Some((first, more)) = rest.split_first() {
        if let ['-', last, after @ ..] = more {
            if (*first..=*last).contains(&character) {
                return true;
            }
            rest = after;
        } else if *first == character {
            return true;
        } else {
            rest = more;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_patterns_as_in_the_reference() {
        let facts = [
            ("user_name", "user_*", true),
            ("user", "user_*", false),
            ("abcabd", "*ab?", true),
            ("abcabd", "*ab", false),
            ("", "*", true),
            ("a", "?", true),
            ("", "?", false),
            ("b", "[a-c]", true),
            ("d", "[a-c]", false),
            ("d", "[!a-c]", true),
            ("]", "[]]", true),
            ("[x", "[x", true),
            ("a*b", "a[*]b", true),
            ("über", "?ber", true),
        ];
        for (name, pattern, expected) in facts {
            assert_eq!(name_matches(name, pattern), expected, "{name} {pattern}");
        }
    }

    #[test]
    fn two_stars_stand_for_any_number_of_steps() {
        let path = |steps: &[&str]| steps.iter().map(|step| Key::Name((*step).to_owned())).collect::<Vec<_>>();
        let fits = |steps: &[&str], pattern: &[&str]| {
            path_matches(&path(steps), &pattern.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>())
        };
        assert!(fits(&["a"], &["**"]) && fits(&["a", "b", "c"], &["**"]) && fits(&["a", "c"], &["a", "**", "c"]));
        assert!(fits(&["a", "b", "b", "c"], &["a", "**", "c"]) && !fits(&["a", "b"], &["a", "**", "c"]));
        assert!(
            path_matches(&[Key::Index(2, 3)], &["-1".to_owned()])
                && !path_matches(&[Key::Index(1, 3)], &["-1".to_owned()])
        );
    }
}
