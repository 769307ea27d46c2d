//! Record keys: an encoding of the primary key's JSON values whose byte order is a sensible order of the values, and
//! from which the values come back exactly. FORMAT.md has the table.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    codec::{Input, Malformed, hex, unhex},
    digest::KEY_DIGEST_BYTES,
    json,
};
use crate::error::{Error, ErrorKind, Result};

/// A longer key is refused.
pub const MAX_KEY_BYTES: usize = 4096;

const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const NEGATIVE: u8 = 0x10;
const INTEGER: u8 = 0x11;
const NUMBER: u8 = 0x12;
const STRING: u8 = 0x20;
const RAW_STRING: u8 = 0x21;
const COMPOUND: u8 = 0x30;
const DIGEST: u8 = 0x40;

/// The key of a record within its stream. Orders as its bytes do: null, false, true, integers by value, other numbers
/// by text, strings by their UTF-8 bytes, arrays and objects by text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(Vec<u8>);

/// One value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPart {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its text.
    Number(String),
    /// A string.
    Text(String),
    /// A string that no Unicode text can hold (a lone surrogate), as it stood between its quotes.
    RawText(String),
    /// An array or object in canonical form.
    Compound(String),
    /// The digest of a record of a stream without primary key.
    Digest([u8; KEY_DIGEST_BYTES]),
}

impl RecordKey {
    /// From the JSON texts of the key's values, in the order of the primary key.
    ///
    /// # Errors
    /// `Invalid` when a text is no JSON value or the key grows past [`MAX_KEY_BYTES`].
    pub fn from_json<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let mut bytes = Vec::new();
        for value in values {
            encode(value, &mut bytes)?;
        }
        Self::from_encoded(bytes)
    }

    /// The key of a record without primary key.
    pub(crate) fn from_digest(digest: [u8; KEY_DIGEST_BYTES]) -> Self {
        Self(Vec::new()).and_digest(digest)
    }

    /// The key of a record some of whose values are null: its digest tells it from others with the same values.
    pub(crate) fn and_digest(mut self, digest: [u8; KEY_DIGEST_BYTES]) -> Self {
        encode_digest(digest, &mut self.0);
        self
    }

    /// From bytes that [`RecordKey::as_bytes`] gave.
    ///
    /// # Errors
    /// `Invalid` when they are no such encoding.
    pub fn from_encoded(bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() > MAX_KEY_BYTES {
            return Err(too_long(bytes.len()));
        }
        let key = Self(bytes);
        if key.0.is_empty() || key.parts().is_err() {
            return Err(Error::new(ErrorKind::Invalid, "these bytes are no record key").with("bytes", hex(&key.0)));
        }
        Ok(key)
    }

    /// From bytes that this process encoded, or that were authenticated.
    pub(crate) fn trusted(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The values, in the order of the primary key.
    ///
    /// # Errors
    /// `Corrupt` for a key whose bytes were damaged.
    pub fn parts(&self) -> Result<Vec<KeyPart>> {
        let mut input = Input::new(&self.0);
        let mut parts = Vec::new();
        while !input.rest().is_empty() {
            parts.push(decode(&mut input)?);
        }
        Ok(parts)
    }

    /// The values as the text of a JSON array; a digest is its hexadecimal digits as a string.
    pub fn to_json(&self) -> String {
        let parts = self.parts().unwrap_or_default();
        let texts: Vec<String> = parts.iter().map(KeyPart::to_json).collect();
        format!("[{}]", texts.join(","))
    }
}

impl KeyPart {
    /// The value as JSON text.
    pub fn to_json(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(text) | Self::Compound(text) => text.clone(),
            Self::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Self::RawText(text) => format!("\"{text}\""),
            Self::Digest(digest) => format!("\"{}\"", hex(digest)),
        }
    }
}

/// Appends the digest of a record.
pub(crate) fn encode_digest(digest: [u8; KEY_DIGEST_BYTES], out: &mut Vec<u8>) {
    out.push(DIGEST);
    out.extend_from_slice(&digest);
}

/// Appends the encoding of one JSON value.
///
/// # Errors
/// `Invalid` when the text is no JSON value.
pub(crate) fn encode(json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let json = json.trim_ascii();
    match json.first() {
        Some(b'"') => encode_string(json, out),
        Some(b'{' | b'[') => {
            let mut canonical = Vec::with_capacity(json.len());
            json::canonicalise(json, &mut canonical).ok_or_else(|| not_json(json))?;
            out.push(COMPOUND);
            put_escaped(&canonical, out);
            Ok(())
        }
        Some(b'-' | b'0'..=b'9') => encode_number(json, out),
        _ => {
            out.push(match json {
                b"null" => NULL,
                b"false" => FALSE,
                b"true" => TRUE,
                _ => return Err(not_json(json)),
            });
            Ok(())
        }
    }
}

fn encode_string(json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let Some(inner) =
        json.get(1..json.len().saturating_sub(1)).filter(|_| json::value_end(json, 0) == Some(json.len()))
    else {
        return Err(not_json(json));
    };
    if !inner.contains(&b'\\') {
        out.push(STRING);
        put_escaped(inner, out);
    } else if let Ok(text) = serde_json::from_slice::<String>(json) {
        out.push(STRING);
        put_escaped(text.as_bytes(), out);
    } else {
        out.push(RAW_STRING);
        put_escaped(inner, out);
    }
    Ok(())
}

fn encode_number(json: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if json::value_end(json, 0) != Some(json.len()) {
        return Err(not_json(json));
    }
    let Some((is_negative, digits)) = integer_digits(json) else {
        out.push(NUMBER);
        put_escaped(json, out);
        return Ok(());
    };
    let count = u16::try_from(digits.len()).map_err(|_| too_long(digits.len()))?;
    if is_negative {
        out.push(NEGATIVE);
        out.extend_from_slice(&(!count).to_be_bytes());
        out.extend(digits.iter().map(|digit| !digit));
    } else {
        out.push(INTEGER);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend_from_slice(digits);
    }
    Ok(())
}

/// Sign and digits of a JSON integer, or `None` for another text.
pub(crate) fn integer_digits(text: &[u8]) -> Option<(bool, &[u8])> {
    let (is_negative, digits) = text.strip_prefix(b"-").map_or((false, text), |digits| (true, digits));
    let is_integer = digits.iter().all(u8::is_ascii_digit) && !digits.is_empty();
    (is_integer && (digits == b"0" || digits[0] != b'0')).then_some((is_negative, digits))
}

/// Appends bytes, NUL as `00 ff`, and the end mark `00`.
fn put_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(0, rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[0, 0xff]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(0);
}

fn decode(input: &mut Input<'_>) -> Result<KeyPart, Malformed> {
    let [tag] = input.array()?;
    Ok(match tag {
        NULL => KeyPart::Null,
        FALSE => KeyPart::Bool(false),
        TRUE => KeyPart::Bool(true),
        NEGATIVE => {
            let count = !u16::from_be_bytes(input.array()?);
            let digits: Vec<u8> = input.take(count.into())?.iter().map(|digit| !digit).collect();
            KeyPart::Number(format!("-{}", integer(&digits)?))
        }
        INTEGER => {
            let count = u16::from_be_bytes(input.array()?);
            KeyPart::Number(integer(input.take(count.into())?)?.to_owned())
        }
        NUMBER => KeyPart::Number(unescaped(input)?),
        STRING => KeyPart::Text(unescaped(input)?),
        RAW_STRING => KeyPart::RawText(unescaped(input)?),
        COMPOUND => KeyPart::Compound(unescaped(input)?),
        DIGEST => KeyPart::Digest(input.array()?),
        _ => return Err(Malformed("unknown kind of key value")),
    })
}

fn integer(digits: &[u8]) -> Result<&str, Malformed> {
    integer_digits(digits)
        .and_then(|_| std::str::from_utf8(digits).ok())
        .ok_or(Malformed("an integer of a key has other characters than digits"))
}

fn unescaped(input: &mut Input<'_>) -> Result<String, Malformed> {
    let mut bytes = Vec::new();
    loop {
        let at = memchr::memchr(0, input.rest()).ok_or(Malformed("a key's text has no end"))?;
        bytes.extend_from_slice(&input.take(at + 1)?[..at]);
        if input.rest().first() != Some(&0xff) {
            break;
        }
        input.take(1)?;
        bytes.push(0);
    }
    String::from_utf8(bytes).map_err(|_| Malformed("a key's text is not UTF-8"))
}

fn not_json(json: &[u8]) -> Error {
    let start = String::from_utf8_lossy(&json[..json.len().min(80)]).into_owned();
    Error::new(ErrorKind::Invalid, "a primary key's value is not JSON").with("value", start)
}

/// The refusal of a key that takes so many bytes.
pub(crate) fn too_long(len: usize) -> Error {
    Error::new(ErrorKind::Invalid, format!("a record's key takes {len} bytes, more than {MAX_KEY_BYTES}"))
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

impl Serialize for RecordKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for RecordKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = unhex(&text).ok_or_else(|| de::Error::custom("a record key is written in hexadecimal digits"))?;
        Self::from_encoded(bytes).map_err(de::Error::custom)
    }
}
