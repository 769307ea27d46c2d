//! What other people wrote, made fit for a letter: one line, of bounded length, that reads in the direction of the rest. Names of accounts and
//! sources, and what a product answered, come from people who may mean ill with whoever reads the letter.

use jiff::{Timestamp, tz::TimeZone};

/// The most characters of a name.
const NAME_CHARS: usize = 60;
/// The most characters of a reason.
const REASON_CHARS: usize = 400;
/// The most characters of a subject.
const SUBJECT_CHARS: usize = 150;

/// A name, in one short line; never empty.
pub(super) fn name(text: &str) -> String {
    let name = line(text, NAME_CHARS);
    if name.is_empty() { "(no name)".to_owned() } else { name }
}

/// What somebody or something gave as a reason, in one line.
pub(super) fn reason(text: &str) -> String {
    line(text, REASON_CHARS)
}

/// A subject.
pub(super) fn subject(text: &str) -> String {
    line(text, SUBJECT_CHARS)
}

/// What a letter begins with. A name that a mail program might make a link of is left out: letters go to addresses of people who may not
/// know who caused them.
pub(super) fn greeting(of: &str) -> String {
    let of = line(of, NAME_CHARS);
    let inner_dot = |at: usize| of[at + 1..].starts_with(char::is_alphanumeric);
    let is_like_a_link = of.contains([':', '/', '@']) || of.match_indices('.').any(|(at, _)| inner_dot(at));
    if of.is_empty() || is_like_a_link { "Hello,".to_owned() } else { format!("Hello {of},") }
}

/// `28 November 2026, 07:59 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// `28 November 2026`.
pub(super) fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%-d %B %Y").to_string()
}

fn line(text: &str, chars_max: usize) -> String {
    let plain = text.chars().filter(|letter| !is_unseen(*letter));
    let spaced = plain.map(|letter| if letter.is_whitespace() || letter.is_control() { ' ' } else { letter });
    let (mut line, mut count, mut gap) = (String::new(), 0, false);
    for letter in spaced {
        if letter == ' ' {
            gap = count > 0;
            continue;
        }
        if count + 1 + usize::from(gap) > chars_max {
            line.push('…');
            break;
        }
        if std::mem::take(&mut gap) {
            line.push(' ');
            count += 1;
        }
        line.push(letter);
        count += 1;
    }
    line
}

/// Marks that change the direction of what follows, and letters without a shape. Joiners stay: words of several scripts need them.
fn is_unseen(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_short_line_that_reads_in_the_direction_of_the_rest() {
        assert_eq!(name(" Müller\r\n & \u{202e}Söhne\u{2028}GmbH "), "Müller & Söhne GmbH");
        assert_eq!(name("\u{200b}\n"), "(no name)");
        assert_eq!(name(&"x".repeat(60)), "x".repeat(60));
        // A space that nothing follows is not kept: 59 letters and the mark that it goes on.
        assert_eq!(name(&"ä b ".repeat(10_000)).chars().count(), 60);
        assert_eq!(name(&"ä".repeat(10_000)).chars().count(), 61);
    }

    #[test]
    fn a_greeting_is_no_link() {
        assert_eq!(greeting("Dr. Ada B. Lovelace"), "Hello Dr. Ada B. Lovelace,");
        for name in ["", "win.example now", "http://x", "a@b", "see /x"] {
            assert_eq!(greeting(name), "Hello,");
        }
    }

    #[test]
    fn times_are_written_out() {
        let at = "2026-11-08T07:05:09Z".parse().unwrap();
        assert_eq!((time(at), day(at)), ("8 November 2026, 07:05 UTC".to_owned(), "8 November 2026".to_owned()));
    }
}
