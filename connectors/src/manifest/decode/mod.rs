//! Decoders: what stands in an answer's body becomes JSON, in pieces of bounded size.
//!
//! A piece is what [`super::extract`] takes: a JSON value, or a list of the values that a decoder finds in the body. Plain JSON
//! is handed on as it was received.

mod csv;
mod lines;
mod report;
mod text;
mod xml;

use std::io::{Cursor, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use self::{csv::CsvFormat, text::Encoding};
use super::{
    components::Plugged,
    load::{Take, View},
};
use crate::{BodyDecoder, Error, ErrorKind, Result};

/// Longest text that is decoded as a whole: JSON and XML have no place to cut them.
const WHOLE_MAX_BYTES: u64 = 64 << 20;
/// Most bytes that come out of a compressed body which is read row by row.
const UNPACKED_MAX_BYTES: u64 = 1 << 30;
/// A piece ends at the first row that makes it this long.
const PIECE_BYTES: usize = 1 << 20;

/// The pieces of a body, in order; ends with its first error.
pub(crate) type Pieces = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

/// Bytes being decoded.
type Source = Box<dyn Read + Send>;

/// How a body is read.
#[derive(Clone, Debug, Default)]
pub(crate) enum Decoder {
    /// `JsonDecoder`.
    #[default]
    Json,
    /// `JsonlDecoder`: one value a line.
    JsonLines,
    /// `JsonItemsDecoder`: the items of a list inside one document.
    JsonItems { path: Vec<String>, encoding: Encoding },
    /// `CsvDecoder`: one object a row.
    Csv(CsvFormat),
    /// `GzipDecoder`: compressed or not, the same inside.
    Gzip(Box<Decoder>),
    /// `ZipfileDecoder`: every file of an archive.
    Zip(Box<Decoder>),
    /// `XmlDecoder`: one object, as `xmltodict` makes it.
    Xml,
    /// `IterableDecoder`: `{"record": line}` for each line.
    Lines,
    /// `CustomDecoder`.
    Custom(Plugged<dyn BodyDecoder>),
    /// `ResponseToFileExtractor`: a report in CSV, compressed or not, in which some words mean nothing.
    Report { keeps_words: bool },
}

impl Decoder {
    /// Reads the component in the field called `name`; JSON when there is none.
    pub(crate) fn load(holder: &View<'_>, name: &str) -> Take<Self> {
        holder.child(name).map_or(Ok(Self::Json), |view| Self::read(&view))
    }

    fn read(view: &View<'_>) -> Take<Self> {
        Ok(match view.kind() {
            _ if view.is_custom() => Self::Custom(view.plug_in("decoder", &view.loader().components.decoders)?),
            "JsonDecoder" => Self::Json,
            "JsonlDecoder" => Self::JsonLines,
            "JsonItemsDecoder" => {
                let path = view.required_text("items_path")?.split('.').map(str::to_owned).collect();
                Self::JsonItems { path, encoding: Encoding::load(view)? }
            }
            "CsvDecoder" => Self::Csv(CsvFormat::load(view)?),
            "GzipDecoder" => Self::Gzip(Box::new(Self::inner(view)?)),
            "ZipfileDecoder" => Self::Zip(Box::new(Self::inner(view)?)),
            "XmlDecoder" => Self::Xml,
            "IterableDecoder" => Self::Lines,
            _ => return Err(view.unsupported("decoder")),
        })
    }

    fn inner(view: &View<'_>) -> Take<Self> {
        let inner = view.required_child("decoder")?;
        match Self::read(&inner)? {
            Self::Zip(_) | Self::Xml | Self::Lines | Self::Custom(_) => {
                Err(inner.unsupported("decoder inside another one"))
            }
            decoder => Ok(decoder),
        }
    }

    /// True where finding the next page sees nothing of the body.
    pub(crate) fn is_opaque(&self) -> bool {
        !matches!(self, Self::Json | Self::Xml | Self::Custom(_))
    }

    /// The pieces of `body`; an error inside it comes in their place.
    ///
    /// # Errors
    /// `BadAnswer` for a body that is not what the manifest says.
    pub(crate) fn open(&self, body: Bytes) -> Result<Pieces> {
        match self {
            Self::Json => Ok(Box::new(std::iter::once(Ok(body)))),
            Self::Xml => Ok(Box::new(std::iter::once(xml::decode(&body)))),
            Self::Zip(inner) => unpacked(body, inner),
            Self::Custom(custom) => Ok(pieces(custom.part.decode(&body)?.into_iter().map(Ok))),
            _ => self.parse(Box::new(Cursor::new(body))),
        }
    }

    fn parse(&self, mut source: Source) -> Result<Pieces> {
        match self {
            Self::Json => Ok(Box::new(std::iter::once(whole(source)))),
            Self::JsonLines => Ok(pieces(lines::json(source))),
            Self::JsonItems { path, encoding } => {
                let text = whole(encoding.recode(source))?;
                Ok(pieces(lines::items(&text, path)?.into_iter().map(Ok)))
            }
            Self::Csv(format) => Ok(pieces(format.rows(source)?)),
            Self::Lines => Ok(pieces(lines::plain(source))),
            Self::Report { keeps_words } => Ok(pieces(report::rows(gunzipped(source)?, *keeps_words)?)),
            Self::Gzip(inner) => {
                source = gunzipped(source)?;
                inner.parse(source)
            }
            Self::Zip(_) | Self::Xml | Self::Custom(_) => {
                Err(Error::new(ErrorKind::Bug, "a decoder stands where none can"))
            }
        }
    }
}

/// What is inside, if `source` is compressed by gzip; else `source` itself.
fn gunzipped(mut source: Source) -> Result<Source> {
    let mut head = [0; 2];
    let mut length = 0;
    while length < head.len() {
        match source.read(&mut head[length..]).map_err(|error| damaged(&error))? {
            0 => break,
            read => length += read,
        }
    }
    let restored = Cursor::new(head[..length].to_vec()).chain(source);
    if head == [0x1f, 0x8b] {
        Ok(Box::new(Capped { inner: MultiGzDecoder::new(restored), left: UNPACKED_MAX_BYTES }))
    } else {
        Ok(Box::new(restored))
    }
}

/// The pieces of every file of a zip archive, in its order.
fn unpacked(body: Bytes, inner: &Decoder) -> Result<Pieces> {
    let broken = |error| Error::new(ErrorKind::BadAnswer, format!("the answer is no zip archive: {error}"));
    let mut archive = zip::ZipArchive::new(Cursor::new(body)).map_err(broken)?;
    let (inner, mut left) = (inner.clone(), UNPACKED_MAX_BYTES);
    let mut next = 0;
    let files = std::iter::from_fn(move || {
        if next >= archive.len() {
            return None;
        }
        next += 1;
        let mut read = || -> Result<Pieces> {
            let mut file = archive.by_index(next - 1).map_err(broken)?;
            // One file at a time is held, in memory as in the reference.
            let mut text = Vec::new();
            Capped { inner: &mut file, left: WHOLE_MAX_BYTES.min(left) }
                .read_to_end(&mut text)
                .map_err(|error| damaged(&error))?;
            left -= text.len() as u64;
            inner.parse(Box::new(Cursor::new(text)))
        };
        Some(read().unwrap_or_else(|error| Box::new(std::iter::once(Err(error)))))
    });
    Ok(Box::new(files.flatten()))
}

/// Everything that is left of `source`.
fn whole(source: impl Read) -> Result<Bytes> {
    let mut text = Vec::new();
    let read = Capped { inner: source, left: WHOLE_MAX_BYTES }.read_to_end(&mut text);
    read.map_err(|error| damaged(&error))?;
    Ok(Bytes::from(text))
}

fn damaged(error: &std::io::Error) -> Error {
    Error::new(ErrorKind::BadAnswer, format!("the answer is damaged: {error}"))
}

/// Refuses to give more than so many bytes: a small body can unpack to any size.
struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(into)?;
        self.left = self
            .left
            .checked_sub(read as u64)
            .ok_or_else(|| std::io::Error::other("it unpacks to more than is read at once"))?;
        Ok(read)
    }
}

/// Rows of JSON text as lists of about a megabyte; one empty list when there is no row.
fn pieces(rows: impl Iterator<Item = Result<String>> + Send + 'static) -> Pieces {
    let mut rows = rows.fuse();
    let mut is_first = true;
    Box::new(std::iter::from_fn(move || {
        let mut list = String::new();
        while list.len() < PIECE_BYTES {
            match rows.next() {
                None => break,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(row)) => {
                    list.push(if list.is_empty() { '[' } else { ',' });
                    list.push_str(&row);
                }
            }
        }
        if list.is_empty() && !std::mem::take(&mut is_first) {
            return None;
        }
        is_first = false;
        list.push_str(if list.is_empty() { "[]" } else { "]" });
        Some(Ok(Bytes::from(list)))
    }))
}

#[cfg(test)]
mod tests;
