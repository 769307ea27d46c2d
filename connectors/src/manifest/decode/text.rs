//! Character sets by the names that Python knows them by.

use std::io::Read;

use encoding_rs::{CoderResult, Decoder};

use super::{
    super::load::{Take, View},
    Source,
};

/// A character set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// UTF-8, a mark at its beginning being a character like any other.
    #[default]
    Utf8,
    /// UTF-8 without the mark at its beginning.
    Utf8Marked,
    /// Each byte is the character of that number.
    Latin1,
    /// Another one.
    Other(&'static encoding_rs::Encoding),
}

impl Encoding {
    /// Reads the field called `encoding`.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let Some(name) = view.text("encoding")? else { return Ok(Self::Utf8) };
        Self::named(&name).ok_or_else(|| view.problem(format!("the encoding `{name}` is not known")))
    }

    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().replace(['_', ' '], "-").as_str() {
            "utf-8" | "utf8" | "u8" | "ascii" | "us-ascii" => Self::Utf8,
            "utf-8-sig" => Self::Utf8Marked,
            "latin-1" | "latin1" | "latin" | "l1" | "iso-8859-1" | "iso8859-1" | "8859" | "cp819" => Self::Latin1,
            "utf-16" | "utf16" | "utf-16-le" => Self::Other(encoding_rs::UTF_16LE),
            "utf-16-be" => Self::Other(encoding_rs::UTF_16BE),
            other => {
                let label =
                    other.strip_prefix("cp125").map_or_else(|| other.to_owned(), |page| format!("windows-125{page}"));
                Self::Other(encoding_rs::Encoding::for_label(label.as_bytes())?)
            }
        })
    }

    /// The same text in UTF-8. What is wrong in UTF-8 is left to its reader to find.
    pub(crate) fn recode(self, source: Source) -> Source {
        let decoder = match self {
            Self::Utf8 => return source,
            Self::Utf8Marked => return Box::new(Unmarked { inner: source, is_begun: false }),
            Self::Latin1 => None,
            // The mark of UTF-16 chooses the order of bytes and is taken away.
            Self::Other(encoding) => Some(encoding.new_decoder()),
        };
        Box::new(Recoded { inner: source, decoder, raw: vec![0; 8 << 10], ready: Vec::new(), at: 0, is_over: false })
    }
}

/// UTF-8 without its mark.
struct Unmarked {
    inner: Source,
    is_begun: bool,
}

impl Read for Unmarked {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if std::mem::replace(&mut self.is_begun, true) {
            return self.inner.read(into);
        }
        let mut head = Vec::with_capacity(3);
        self.inner.by_ref().take(3).read_to_end(&mut head)?;
        if head == b"\xef\xbb\xbf" {
            head.clear();
        }
        let rest = std::mem::replace(&mut self.inner, Box::new(std::io::empty()));
        self.inner = Box::new(std::io::Cursor::new(head).chain(rest));
        self.inner.read(into)
    }
}

/// Another character set, turned into UTF-8 on the way.
struct Recoded {
    inner: Source,
    /// None for Latin-1.
    decoder: Option<Decoder>,
    raw: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    is_over: bool,
}

impl Read for Recoded {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.at == self.ready.len() && !self.is_over {
            let read = self.inner.read(&mut self.raw)?;
            self.is_over = read == 0;
            self.at = 0;
            self.ready = match &mut self.decoder {
                None => self.raw[..read].iter().copied().map(char::from).collect::<String>().into_bytes(),
                Some(decoder) => decoded(decoder, &self.raw[..read], self.is_over)?.into_bytes(),
            };
        }
        let length = into.len().min(self.ready.len() - self.at);
        into[..length].copy_from_slice(&self.ready[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

fn decoded(decoder: &mut Decoder, raw: &[u8], is_last: bool) -> std::io::Result<String> {
    let room = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(raw.len() * 4 + 16);
    let mut text = String::with_capacity(room);
    let (result, _, had_errors) = decoder.decode_to_string(raw, &mut text, is_last);
    if had_errors || result == CoderResult::OutputFull {
        return Err(std::io::Error::other("it holds bytes that its character set does not have"));
    }
    Ok(text)
}
