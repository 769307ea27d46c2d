//! What a text means as a Python literal: the `literal_eval` of the reference.

use super::Python;

/// Deeper nesting than this stays text.
const MAX_DEPTH: u32 = 100;

/// The value that `text` is a literal of, or `None` when it is not a literal and stays text.
pub(crate) fn evaluate(text: &str) -> Option<Python> {
    // Most rendered texts are words; a literal starts with one of these.
    let text = text.trim_start_matches([' ', '\t']);
    let first = text.trim_start().bytes().next()?;
    let may_be = first.is_ascii_digit() || b"+-.([{'\"TFNsbBrRuU#".contains(&first);
    if !may_be {
        return None;
    }
    let mut reader = Reader { rest: text.as_bytes(), depth: 0, brackets: 1 };
    reader.space();
    reader.brackets = 0;
    let value = reader.top()?;
    reader.brackets = 1;
    reader.space();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: u32,
    /// Inside brackets a line end is white space.
    brackets: u32,
}

impl Reader<'_> {
    fn peek(&self) -> u8 {
        self.rest.first().copied().unwrap_or(0)
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    fn space(&mut self) {
        loop {
            match self.peek() {
                b' ' | b'\t' | 0x0c => self.skip(1),
                b'\n' | b'\r' if self.brackets > 0 => self.skip(1),
                b'#' => {
                    let line_end = self.rest.iter().position(|byte| *byte == b'\n').unwrap_or(self.rest.len());
                    self.skip(line_end);
                    if self.brackets == 0 {
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.peek() == byte;
        if found {
            self.skip(1);
        }
        found
    }

    /// A value, or several with commas: a tuple without parentheses.
    fn top(&mut self) -> Option<Python> {
        let first = self.value()?;
        self.space();
        if self.peek() != b',' {
            return Some(first);
        }
        let mut items = vec![first];
        while self.take(b',') {
            self.space();
            if self.rest.is_empty() || self.peek() == b'\n' || self.peek() == b'#' {
                break;
            }
            items.push(self.value()?);
        }
        Some(Python::Tuple(items))
    }

    fn value(&mut self) -> Option<Python> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        let value = match self.peek() {
            b'0'..=b'9' | b'.' => self.number(),
            sign @ (b'+' | b'-') => {
                self.skip(1);
                self.space();
                matches!(self.peek(), b'0'..=b'9' | b'.').then(|| self.number())?.map(|value| signed(value, sign))
            }
            b'[' => self.items(b']').map(|(items, _)| Python::List(items)),
            b'(' => self.items(b')').map(|(mut items, has_comma)| match (items.len(), has_comma) {
                (1, false) => items.remove(0),
                _ => Python::Tuple(items),
            }),
            b'{' => self.braces(),
            _ => self.word().or_else(|| self.strings()),
        };
        self.depth -= 1;
        value
    }

    fn word(&mut self) -> Option<Python> {
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
        let value = match &self.rest[..length] {
            b"True" => Python::Bool(true),
            b"False" => Python::Bool(false),
            b"None" => Python::None,
            b"set" => {
                self.skip(length);
                return (self.take(b'(') && self.take(b')')).then(|| Python::Set(Vec::new()));
            }
            _ => return None,
        };
        self.skip(length);
        Some(value)
    }

    /// Items up to `close`, and whether a comma was among them.
    fn items(&mut self, close: u8) -> Option<(Vec<Python>, bool)> {
        self.skip(1);
        self.brackets += 1;
        let mut items = Vec::new();
        let mut has_comma = false;
        while !self.take(close) {
            items.push(self.value()?);
            if self.take(b',') {
                has_comma = true;
            } else if self.take(close) {
                break;
            } else {
                return None;
            }
        }
        self.brackets -= 1;
        Some((items, has_comma))
    }

    /// A dictionary or a set.
    fn braces(&mut self) -> Option<Python> {
        self.skip(1);
        self.brackets += 1;
        let mut members: Vec<(Python, Python)> = Vec::new();
        let mut items = Vec::new();
        while !self.take(b'}') {
            let key = self.value().filter(is_hashable)?;
            if self.take(b':') {
                let value = self.value()?;
                match members.iter_mut().find(|(known, _)| *known == key) {
                    Some(slot) => slot.1 = value,
                    None => members.push((key, value)),
                }
            } else if !items.contains(&key) {
                items.push(key);
            }
            if !self.take(b',') {
                if self.take(b'}') {
                    break;
                }
                return None;
            }
        }
        self.brackets -= 1;
        match (members.is_empty(), items.is_empty()) {
            (_, true) => Some(Python::Dict(members)),
            (true, false) => Some(Python::Set(items)),
            (false, false) => None,
        }
    }

    fn number(&mut self) -> Option<Python> {
        let length = number_length(self.rest);
        let text = std::str::from_utf8(&self.rest[..length]).ok()?;
        let follows = self.rest.get(length).copied().unwrap_or(0);
        if follows.is_ascii_alphanumeric() || follows == b'_' || follows == b'.' || follows >= 0x80 {
            return None;
        }
        let value = read_number(text)?;
        self.skip(length);
        Some(value)
    }

    /// One or more adjacent texts, all text or all bytes.
    fn strings(&mut self) -> Option<Python> {
        let mut joined: Option<Python> = None;
        loop {
            let (part, is_bytes) = super::literal::text(&mut self.rest)?;
            joined = Some(match (joined, is_bytes) {
                (None, false) => Python::Text(part),
                (None, true) => Python::Bytes(part.chars().map(|c| c as u32 as u8).collect()),
                (Some(Python::Text(before)), false) => Python::Text(before + &part),
                (Some(Python::Bytes(before)), true) => {
                    Python::Bytes(before.into_iter().chain(part.chars().map(|c| c as u32 as u8)).collect())
                }
                _ => return None,
            });
            self.space();
            let mut next = self.rest;
            if text(&mut next).is_none() {
                return joined;
            }
        }
    }
}

fn signed(value: Python, sign: u8) -> Python {
    match (value, sign) {
        (Python::Int(value), b'-') => Python::Int(-value),
        (Python::Float(value), b'-') => Python::Float(-value),
        (Python::BigInt(digits), b'-') => Python::BigInt(format!("-{digits}")),
        (value, _) => value,
    }
}

fn is_hashable(value: &Python) -> bool {
    match value {
        Python::List(_) | Python::Set(_) | Python::Dict(_) => false,
        Python::Tuple(items) => items.iter().all(is_hashable),
        _ => true,
    }
}

/// How many bytes look like one number token.
fn number_length(bytes: &[u8]) -> usize {
    if bytes.first() == Some(&b'0') && matches!(bytes.get(1), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) {
        return 2 + bytes[2..].iter().take_while(|byte| byte.is_ascii_hexdigit() || **byte == b'_').count();
    }
    let digits =
        |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'_').count();
    let mut length = digits(0);
    if bytes.get(length) == Some(&b'.') {
        length = digits(length + 1);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        if bytes.get(length + 1 + sign).is_some_and(u8::is_ascii_digit) {
            length = digits(length + 1 + sign);
        }
    }
    length
}

/// Reads one number token; underscores only between digits, no leading zeros in whole numbers.
fn read_number(text: &str) -> Option<Python> {
    let lower = text.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| Some((lower.strip_prefix(prefix)?, radix)));
    if let Some((digits, radix)) = radix {
        let digits = digits.strip_prefix('_').unwrap_or(digits);
        return i128::from_str_radix(&without_underscores(digits)?, radix).ok().map(Python::Int);
    }
    let clean = without_underscores(&lower)?;
    if clean.contains(['.', 'e']) {
        return (clean != ".").then(|| clean.parse().ok().map(Python::Float))?;
    }
    if clean.len() > 1 && clean.starts_with('0') && clean.bytes().any(|byte| byte != b'0') {
        return None;
    }
    if clean.len() > 4300 {
        return None;
    }
    Some(clean.parse().map_or_else(|_| Python::BigInt(clean), Python::Int))
}

fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_hexdigit);
    let well_placed = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| at > 0 && is_digit(bytes.get(at - 1)) && is_digit(bytes.get(at + 1)));
    (well_placed && !text.is_empty()).then(|| text.replace('_', ""))
}

/// Reads one text with its prefix and quotes from `rest`; true for bytes.
fn text(rest: &mut &[u8]) -> Option<(String, bool)> {
    let prefix = rest.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let name = rest[..prefix].to_ascii_lowercase();
    let (is_raw, is_bytes) = match name.as_slice() {
        b"" | b"u" => (false, false),
        b"r" => (true, false),
        b"b" => (false, true),
        b"rb" | b"br" => (true, true),
        _ => return None,
    };
    let quote = *rest.get(prefix).filter(|byte| matches!(byte, b'\'' | b'"'))?;
    let is_long = rest[prefix..].starts_with(&[quote; 3]);
    let start = prefix + if is_long { 3 } else { 1 };
    let mut at = start;
    let end = loop {
        match *rest.get(at)? {
            b'\\' => at += 2,
            b'\n' if !is_long => return None,
            byte if byte == quote && (!is_long || rest[at..].starts_with(&[quote; 3])) => break at,
            _ => at += 1,
        }
    };
    let inner = std::str::from_utf8(&rest[start..end]).ok()?;
    if is_bytes && !inner.is_ascii() {
        return None;
    }
    let decoded = if is_raw { inner.to_owned() } else { decode(inner, is_bytes)? };
    *rest = &rest[end + if is_long { 3 } else { 1 }..];
    Some((decoded, is_bytes))
}

/// Resolves backslash escapes; an unknown one keeps its backslash. Named characters (`\N{…}`) are not known here.
fn decode(inner: &str, is_bytes: bool) -> Option<String> {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        let hex_digits = match kind {
            'x' => 2,
            'u' if !is_bytes => 4,
            'U' if !is_bytes => 8,
            _ => 0,
        };
        if hex_digits > 0 {
            let code = u32::from_str_radix(rest.get(..hex_digits)?, 16).ok()?;
            rest = &rest[hex_digits..];
            // Two halves become one character: the reference writes them as JSON, which has it so.
            let low = rest.strip_prefix("\\u").and_then(|low| u32::from_str_radix(low.get(..4)?, 16).ok());
            match low.filter(|low| (0xd800..0xdc00).contains(&code) && (0xdc00..0xe000).contains(low)) {
                Some(low) => {
                    let whole = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                    out.push(char::from_u32(whole).unwrap_or(char::REPLACEMENT_CHARACTER));
                    rest = &rest[6..];
                }
                None => out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
            }
            continue;
        }
        match kind {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(kind),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'N' if !is_bytes => return None,
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                let code = u32::from_str_radix(&format!("{kind}{}", &rest[..more]), 8).ok()?;
                out.push(char::from_u32(code)?);
                rest = &rest[more..];
            }
            other => {
                out.push('\\');
                out.push(other);
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Facts taken from the reference: a text and the literal it is, printed with `str`.
    const FACTS: &[(&str, &str)] = &[
        ("7", "7"),
        ("1e3", "1000.0"),
        ("1_000", "1000"),
        ("0x10", "16"),
        ("[1,2]", "[1, 2]"),
        ("1,2", "(1, 2)"),
        (" 5", "5"),
        ("True", "True"),
        ("None", "None"),
        ("'a'", "a"),
        ("\"a\"", "a"),
        ("5 # x", "5"),
        ("1\n", "1"),
        ("(1)", "1"),
        ("(1,)", "(1,)"),
        ("()", "()"),
        ("{1,2}", "{1, 2}"),
        ("{}", "{}"),
        ("set()", "set()"),
        ("{'a': 1}", "{'a': 1}"),
        ("-5", "-5"),
        ("+5", "5"),
        ("'a' 'b'", "ab"),
        ("b'x'", "b'x'"),
        ("r'\\n'", "\\n"),
        ("'\\x41\\u00e9'", "Aé"),
        ("\"\"\"a\"\"\"", "a"),
        ("u'a'", "a"),
        ("0o17", "15"),
        ("0b11", "3"),
        ("1.", "1.0"),
        ("1.e5", "100000.0"),
        (".5", "0.5"),
        ("00", "0"),
        ("0_0", "0"),
        ("01.5", "1.5"),
        ("1E400", "inf"),
        ("[1, [2, {'x': None}]]", "[1, [2, {'x': None}]]"),
        ("12345678901234567890123456789012345678901234567890", "12345678901234567890123456789012345678901234567890"),
        ("[1,]", "[1]"),
        ("\n5", "5"),
        ("\t5", "5"),
        ("{'a':1,'a':2}", "{'a': 2}"),
        ("1_000.5", "1000.5"),
        ("- 5", "-5"),
        ("1e-7", "1e-07"),
        ("(1\n)", "1"),
        ("''", ""),
        ("'\\q'", "\\q"),
        ("b'a' b'b'", "b'ab'"),
    ];

    #[test]
    fn literals_are_evaluated_as_the_reference_does() {
        for (text, expected) in FACTS {
            assert_eq!(evaluate(text).map(|value| value.text()).as_deref(), Some(*expected), "{text:?}");
        }
        let plain = [
            "007",
            "true",
            "3j",
            "1\n2",
            "{\"a\": true}",
            "--5",
            "-True",
            "1+2",
            "1 + 2j",
            "f'a'",
            "1__0",
            "{[1]: 2}",
            "Ellipsis",
            "nan",
            "inf",
            "'unclosed",
            "'a\nb'",
            "5 5",
            "(1,2",
            "[1,,2]",
            "5;",
            "0xZ",
            "1if",
            "2024-01-01",
            "'a' b'b'",
            "not 1",
            "\\",
            "",
            "abc",
        ];
        for text in plain {
            assert_eq!(evaluate(text), None, "{text:?}");
        }
    }
}
