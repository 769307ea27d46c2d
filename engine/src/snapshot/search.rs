//! Text search within the records of a snapshot: every value is looked at, names of fields are not.

use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::Value;

use super::{
    key::RecordKey,
    reader::{KeyRange, Record, SnapshotReader},
};
use crate::error::{Error, ErrorKind, Result};

/// A record that holds the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The stream.
    pub stream: String,
    /// The record.
    pub record: Record,
    /// The fields that hold the text: JSON Pointers (RFC 6901).
    pub fields: Vec<String>,
}

/// What is looked for: upper and lower case alike.
#[derive(Clone)]
struct Needle {
    text: String,
    /// True when a body that holds the text in a value surely holds these very bytes, whatever their case.
    is_plain: bool,
}

impl SnapshotReader {
    /// The records of some streams that hold a text in one of their values, in constant memory; every record is read.
    ///
    /// # Errors
    /// `Invalid` for an empty text; `NotFound` for a stream that the snapshot does not have. The stream ends with its
    /// first error.
    pub fn search(&self, streams: &[&str], text: &str) -> Result<impl Stream<Item = Result<Hit>> + Send + use<>> {
        let needle = Needle::of(text)?;
        let scans = streams
            .iter()
            .map(|stream| {
                let (name, needle) = ((*stream).to_owned(), needle.clone());
                let hits =
                    self.scan(stream)?.try_filter_map(move |record| std::future::ready(Ok(needle.hit(&name, record))));
                Ok(hits.boxed())
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(futures::stream::iter(scans).flatten())
    }
}

impl SnapshotReader {
    /// Up to `limit` records of a range of one stream that hold a text, in key order, and the last key that was looked at,
    /// unless nothing is left. A page may hold fewer, or none, before the end: it looks at a bounded number of records.
    ///
    /// # Errors
    /// Those of [`SnapshotReader::search`].
    pub async fn search_page(
        &self,
        stream: &str,
        range: &KeyRange,
        text: &str,
        limit: usize,
    ) -> Result<(Vec<Hit>, Option<RecordKey>)> {
        let needle = Needle::of(text)?;
        self.page(stream, range, limit, |record| needle.hit(stream, record)).await
    }
}

impl Needle {
    fn of(text: &str) -> Result<Self> {
        match text {
            "" => Err(Error::new(ErrorKind::Invalid, "there is no text to search for")),
            text => Ok(Self::new(text)),
        }
    }

    fn hit(&self, stream: &str, record: Record) -> Option<Hit> {
        let fields = self.fields(&record.body);
        (!fields.is_empty()).then(|| Hit { stream: stream.to_owned(), record, fields })
    }

    fn new(text: &str) -> Self {
        let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\');
        Self { text: text.to_lowercase(), is_plain }
    }

    fn fields(&self, body: &[u8]) -> Vec<String> {
        let mut fields = Vec::new();
        if self.may_be_in(body)
            && let Ok(record) = serde_json::from_slice::<Value>(body)
        {
            self.visit(&record, &mut String::new(), &mut fields);
        }
        fields
    }

    /// A quick look that spares reading most bodies. A backslash may hide any character.
    fn may_be_in(&self, body: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        !self.is_plain
            || memchr::memchr(b'\\', body).is_some()
            || !body.is_ascii()
            || memchr::memmem::find(&body.to_ascii_lowercase(), needle).is_some()
    }

    fn visit(&self, value: &Value, path: &mut String, fields: &mut Vec<String>) {
        let len = path.len();
        match value {
            Value::Object(members) => {
                for (name, member) in members {
                    path.push('/');
                    path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                    self.visit(member, path, fields);
                    path.truncate(len);
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    path.push('/');
                    path.push_str(&i.to_string());
                    self.visit(item, path, fields);
                    path.truncate(len);
                }
            }
            Value::String(text) if text.to_lowercase().contains(&self.text) => fields.push(path.clone()),
            Value::Number(number) if number.to_string().contains(&self.text) => fields.push(path.clone()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_however_they_are_written_and_names_are_not() {
        let fields = |needle: &str, body: &str| Needle::new(needle).fields(body.as_bytes());
        assert_eq!(fields("ada", r#"{"name":"ADA","x":["b","Nevada"]}"#), ["/name", "/x/1"]);
        assert_eq!(fields("name", r#"{"name":"x"}"#), Vec::<String>::new());
        assert_eq!(fields("müller", r#"{"n":"M\u00fcller"}"#), ["/n"]);
        assert_eq!(fields("a\"b", r#"{"n":"a\"b"}"#), ["/n"]);
        assert_eq!(fields("ab", r#"{"n":"\u0061b"}"#), ["/n"]);
        assert_eq!(fields("42", r#"{"n":1425}"#), ["/n"]);
        assert_eq!(fields("k", "{\"n\":\"\u{212a}\"}"), ["/n"]);
        assert_eq!(fields("x", "no json x"), Vec::<String>::new());
    }
}
