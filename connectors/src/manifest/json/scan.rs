//! One pass over JSON text: checks it strictly (RFC 8259) and tells where each value begins and ends.
//!
//! A tree of a page costs several times what finding its records costs, so nothing here builds one. Positions are byte offsets
//! into the scanned text, which makes a slice of a page as cheap as two numbers.

use std::ops::Range;

/// Deeper nesting than this is refused: no product needs it, and it would use up the stack.
const MAX_DEPTH: u32 = 256;

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {at}")]
pub(crate) struct NotJson {
    /// Byte offset of the first wrong byte.
    pub(crate) at: usize,
    /// What was expected there.
    pub(crate) reason: &'static str,
}

/// Result of a scan.
pub(crate) type Scan<T> = Result<T, NotJson>;

/// A member's name as it stands in the text.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    /// The bytes between the quotes.
    pub(crate) raw: &'a str,
    /// True when `raw` holds a backslash and must be decoded before it can be compared.
    pub(crate) is_escaped: bool,
}

impl Key<'_> {
    /// True when the decoded name equals `name`.
    pub(crate) fn is(&self, name: &str) -> bool {
        if self.is_escaped { self.decode() == name } else { self.raw == name }
    }

    /// The name in clear.
    pub(crate) fn decode(&self) -> String {
        if self.is_escaped { super::decode_text(self.raw) } else { self.raw.to_owned() }
    }
}

/// Walks over one JSON text.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// True for bytes that end the plain run of a string: quote, backslash, control characters.
const fn is_stop(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// The first byte at or after `at` that ends the plain run of a string, or the end.
#[inline]
fn end_of_run(bytes: &[u8], mut at: usize) -> usize {
    const WORD: usize = size_of::<u64>();
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk::<WORD>) {
        let stops = stops_in(u64::from_le_bytes(*word));
        if stops != 0 {
            return at + stops.trailing_zeros() as usize / 8;
        }
        at += WORD;
    }
    while bytes.get(at).is_some_and(|byte| !is_stop(*byte)) {
        at += 1;
    }
    at
}

/// Eight bytes at once: the lowest bit that is set is the top bit of the first stop. Bits above it may be set in error,
/// where a borrow went on.
#[inline]
const fn stops_in(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    const fn zeros(word: u64) -> u64 {
        word.wrapping_sub(ONES) & !word
    }
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (controls | zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64))) & TOPS
}

impl<'a> Scanner<'a> {
    /// Starts at the beginning of `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Starts at `at`, which must be the first byte of a value inside `text`.
    pub(crate) fn at(text: &'a str, at: usize) -> Self {
        Self { text, at, depth: 0 }
    }

    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    fn wrong<T>(&self, reason: &'static str) -> Scan<T> {
        Err(NotJson { at: self.at, reason })
    }

    /// The next byte that is not white space, without taking it; 0 at the end.
    #[inline]
    pub(crate) fn peek(&mut self) -> u8 {
        let bytes = self.bytes();
        while let Some(&byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return byte;
            }
            self.at += 1;
        }
        0
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Scan<()> {
        self.peek();
        if self.at == self.text.len() { Ok(()) } else { self.wrong("expected the end of the text") }
    }

    /// Nothing but white space may follow on this line.
    pub(crate) fn end_of_line(&mut self) -> Scan<()> {
        let bytes = self.bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b'\n' => return Ok(()),
                b' ' | b'\t' | b'\r' => self.at += 1,
                _ => return self.wrong("expected the end of the line"),
            }
        }
        Ok(())
    }

    /// Skips one value and returns where it stands.
    pub(crate) fn value(&mut self) -> Scan<Range<usize>> {
        let first = self.peek();
        let start = self.at;
        match first {
            b'"' => {
                self.string()?;
            }
            b'{' => self.object(|scanner, _| scanner.value().map(drop))?,
            b'[' => self.array(|scanner, _| scanner.value().map(drop))?,
            b'-' | b'0'..=b'9' => self.number()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            _ => return self.wrong("expected a value"),
        }
        Ok(start..self.at)
    }

    /// Walks an object; `member` must take the value (with [`Scanner::value`] or deeper).
    pub(crate) fn object(&mut self, mut member: impl FnMut(&mut Self, Key<'a>) -> Scan<()>) -> Scan<()> {
        self.enter(b'{')?;
        if self.peek() == b'}' {
            return self.leave();
        }
        loop {
            if self.peek() != b'"' {
                return self.wrong("expected a member name in double quotes");
            }
            let key = self.string()?;
            if self.peek() != b':' {
                return self.wrong("expected `:`");
            }
            self.at += 1;
            member(self, key)?;
            match self.peek() {
                b',' => self.at += 1,
                b'}' => return self.leave(),
                _ => return self.wrong("expected `,` or `}`"),
            }
        }
    }

    /// Walks an array; `item` must take the value.
    pub(crate) fn array(&mut self, mut item: impl FnMut(&mut Self, usize) -> Scan<()>) -> Scan<()> {
        self.enter(b'[')?;
        if self.peek() == b']' {
            return self.leave();
        }
        let mut index = 0;
        loop {
            item(self, index)?;
            index += 1;
            match self.peek() {
                b',' => self.at += 1,
                b']' => return self.leave(),
                _ => return self.wrong("expected `,` or `]`"),
            }
        }
    }

    fn enter(&mut self, opening: u8) -> Scan<()> {
        if self.peek() != opening {
            return self.wrong("expected an object or array");
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.wrong("nested too deeply");
        }
        self.at += 1;
        Ok(())
    }

    fn leave(&mut self) -> Scan<()> {
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    fn word(&mut self, word: &str) -> Scan<()> {
        if self.bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.wrong("expected a value")
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> Scan<Key<'a>> {
        let bytes = self.bytes();
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at = end_of_run(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => {
                    let raw = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Key { raw, is_escaped });
                }
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_) => return self.wrong("control character in a string"),
                None => return self.wrong("the text ends inside a string"),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        let bytes = self.bytes();
        match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 2,
            Some(b'u') => {
                let digits = bytes.get(self.at + 2..self.at + 6);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.wrong("expected four hexadecimal digits");
                }
                self.at += 6;
            }
            _ => return self.wrong("unknown escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        let bytes = self.bytes();
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return self.wrong("expected a digit"),
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        let start = self.at;
        while self.bytes().get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at == start { self.wrong("expected a digit") } else { Ok(()) }
    }

    /// The text at `range`.
    pub(crate) fn text_at(&self, range: &Range<usize>) -> &'a str {
        &self.text[range.clone()]
    }

    /// The offset of the next byte.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn is_json(text: &str) -> bool {
        let mut scanner = Scanner::new(text);
        scanner.value().and_then(|_| scanner.end()).is_ok()
    }

    #[test]
    fn the_same_texts_are_json_as_for_serde_json() {
        let texts = [
            "1",
            "-0",
            "-0.0e+7",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "null",
            "nul",
            "true ",
            "tru",
            "\"a\\u00e9\\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"a\nb\"",
            "{}",
            "{\"a\":1,}",
            "{\"a\" : [1, {\"b\":null}] }",
            "[1,2",
            "[]]",
            "[,]",
            "",
            " ",
            "{a:1}",
            "NaN",
            "1 2",
            "\"open",
        ];
        for text in texts {
            assert_eq!(is_json(text), serde_json::from_str::<&RawValue>(text).is_ok(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_judged_as_serde_json_judges_it(text in r#"[\[\]{}:,"\\a0-9eE+.\-ntrue ]{0,24}"#) {
            prop_assert_eq!(is_json(&text), serde_json::from_str::<&RawValue>(&text).is_ok());
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_plain_run_is_where_the_first_stop_is(
            bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(0x1f), Just(0x20), Just(0xa0)], 0..40),
            at in 0usize..8,
        ) {
            let at = at.min(bytes.len());
            let expected = bytes[at..].iter().position(|byte| is_stop(*byte)).map_or(bytes.len(), |found| at + found);
            prop_assert_eq!(end_of_run(&bytes, at), expected);
        }
    }

    #[test]
    fn endless_nesting_is_refused_without_using_up_the_stack() {
        assert!(!is_json(&"[".repeat(100_000)));
    }
}
