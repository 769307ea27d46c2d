//! JSON as text: finding the end of a value, comparing two texts without regard to key order and white space, and
//! putting a text on one line. No tree is built, and number and string text is never changed.

use std::borrow::Cow;

/// Deeper nesting is not compared; serde_json reads no deeper either.
const MAX_DEPTH: usize = 128;

/// Where the value that starts at `start` ends (excluded), or `None` when it has no end. Brackets and strings are
/// followed; the grammar inside is not checked.
pub(crate) fn value_end(text: &[u8], start: usize) -> Option<usize> {
    match text.get(start)? {
        b'"' => string_end(text, start),
        b'{' | b'[' => {
            let mut depth = 0usize;
            let mut at = start;
            loop {
                match text.get(at)? {
                    b'"' => {
                        at = string_end(text, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => {
            let len = text[start..].iter().take_while(|byte| is_scalar(**byte)).count();
            (len > 0).then_some(start + len)
        }
    }
}

fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// Where the string whose opening quote is at `start` ends, closing quote included.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Appends the canonical form of a JSON text: no white space between tokens, the members of every object sorted by the
/// text of their names (equal names keep their order), all other text as it was. `None` when the text is not JSON or
/// is nested too deeply; `out` then holds a part.
pub(crate) fn canonicalise(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut canon = Canon { text, at: 0 };
    canon.value(out, 0)?;
    canon.space();
    (canon.at == text.len()).then_some(())
}

/// True when two texts have the same canonical form. Texts that have none are never equal.
pub(crate) fn is_same_content(one: &[u8], other: &[u8]) -> bool {
    let (mut a, mut b) = (Vec::with_capacity(one.len()), Vec::with_capacity(other.len()));
    canonicalise(one, &mut a).is_some() && canonicalise(other, &mut b).is_some() && a == b
}

/// The text on one line: a line break in JSON can only be white space between tokens, so it becomes a space.
pub(crate) fn one_line(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'\n', b'\r', text).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect())
}

struct Canon<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Canon<'a> {
    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&mut self) -> Option<u8> {
        self.space();
        self.text.get(self.at).copied()
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// The next token: a string or a scalar.
    fn token(&mut self) -> Option<&'a [u8]> {
        self.space();
        let start = self.at;
        self.at = value_end(self.text, start)?;
        Some(&self.text[start..self.at])
    }

    fn value(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        match self.peek()? {
            _ if depth > MAX_DEPTH => None,
            b'{' => self.object(out, depth),
            b'[' => self.array(out, depth),
            _ => {
                out.extend_from_slice(self.token()?);
                Some(())
            }
        }
    }

    /// The canonical form of a member's value; scalars, which are most of them, are not copied.
    fn member(&mut self, depth: usize) -> Option<Cow<'a, [u8]>> {
        if !matches!(self.peek()?, b'{' | b'[') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        self.value(&mut value, depth)?;
        Some(Cow::Owned(value))
    }

    fn array(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        out.push(b'[');
        if self.peek()? != b']' {
            loop {
                self.value(out, depth + 1)?;
                if self.peek()? != b',' {
                    break;
                }
                self.at += 1;
                out.push(b',');
            }
        }
        out.push(b']');
        self.skip(b']')
    }

    fn object(&mut self, out: &mut Vec<u8>, depth: usize) -> Option<()> {
        self.at += 1;
        let mut members: Vec<(&[u8], Cow<'a, [u8]>)> = Vec::new();
        if self.peek()? != b'}' {
            loop {
                if self.peek()? != b'"' {
                    return None;
                }
                let name = self.token()?;
                self.skip(b':')?;
                members.push((name, self.member(depth + 1)?));
                if self.peek()? != b',' {
                    break;
                }
                self.at += 1;
            }
        }
        members.sort_by_key(|(name, _)| *name);
        out.push(b'{');
        for (i, (name, value)) in members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        self.skip(b'}')
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let mut out = Vec::new();
        canonicalise(text.as_bytes(), &mut out)?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn key_order_and_white_space_do_not_matter() {
        assert!(is_same_content(br#"{"b": [1, {"y":2,"x" :3}], "a":null}"#, br#"{"a":null,"b":[1,{"x":3,"y":2}]}"#));
        assert_eq!(
            canonical(" {\r\n\t\"b\" : \"x y\" , \"a\" : [ ] , \"c\" : { } } ").unwrap(),
            r#"{"a":[],"b":"x y","c":{}}"#
        );
    }

    #[test]
    fn everything_else_matters() {
        for (one, other) in [
            (r#"{"a":1.0}"#, r#"{"a":1}"#),
            (r#"{"a":12345678901234567890123}"#, r#"{"a":12345678901234567890124}"#),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
            (r#"{"a":"1"}"#, r#"{"a":1}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":"x y"}"#, r#"{"a":"xy"}"#),
            (r#"{"a":"é"}"#, "{\"a\":\"e\u{301}\"}"),
            (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"c":2},"b":1}"#),
        ] {
            assert!(!is_same_content(one.as_bytes(), other.as_bytes()), "{one} {other}");
            assert!(is_same_content(one.as_bytes(), one.as_bytes()), "{one}");
        }
    }

    #[test]
    fn broken_texts_are_equal_to_nothing() {
        for text in ["", "{", "{\"a\"}", "[1,", "\"a", "{\"a\":1}}", "{1:2}", "nul\u{0}", "[1 2]"] {
            assert!(!is_same_content(text.as_bytes(), text.as_bytes()), "{text}");
        }
        assert!(!is_same_content(&[b'['; 100_000], &[b'['; 100_000]));
    }

    #[test]
    fn a_value_ends_where_it_ends() {
        for (text, value) in [
            (r#""a\"}b", 1"#, r#""a\"}b""#),
            (r#"-1.5e+3,"#, "-1.5e+3"),
            (r#"{"a":"}","b":[{}]} "#, r#"{"a":"}","b":[{}]}"#),
            ("true}", "true"),
        ] {
            assert_eq!(value_end(text.as_bytes(), 0), Some(value.len()), "{text}");
        }
        assert_eq!(value_end(b"\"a\\", 0), None);
        assert_eq!(value_end(b"{\"a\":", 0), None);
        assert_eq!(value_end(b"", 0), None);
        assert_eq!(value_end(b"]", 0), None);
    }

    #[test]
    fn a_pretty_printed_text_becomes_one_line_with_the_same_values() {
        let pretty = "{\r\n  \"a\": \"x\\ny\",\n  \"b\": 1.0\n}";
        let line = one_line(pretty.as_bytes()).into_owned();
        assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
        assert!(is_same_content(pretty.as_bytes(), &line));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, text in "[\\[\\]{}\",:0a\\\\ ]{0,40}") {
            for bytes in [&bytes[..], text.as_bytes()] {
                let _ = canonicalise(bytes, &mut Vec::new());
                let _ = value_end(bytes, 0);
            }
        }
    }
}
