//! Answers of bytes that can be asked for in parts (RFC 9110, 13 and 14).

use std::ops::Range;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError as _,
    body::SizedStream,
    http::{
        StatusCode,
        header::{self, ContentEncoding, HeaderName},
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use listbackup_engine::snapshot::{SnapshotReader, StoredAttachment};

use crate::{download, downloads::Place, problem::Problem};

/// An attachment of a snapshot, or the part of it that is asked for. Its first chunk is read before the answer begins, so
/// that what is damaged there is told as a problem; damage further on breaks the answer off.
///
/// # Errors
/// 416 for a range past its end; those of reading, before the first chunk.
pub async fn attachment(
    place: Place,
    request: &HttpRequest,
    reader: &SnapshotReader,
    attachment: &StoredAttachment,
) -> Result<HttpResponse, Problem> {
    let etag = format!("\"{}\"", attachment.digest);
    let size = attachment.size_bytes;
    if text(request, &header::IF_NONE_MATCH)
        .is_some_and(|tags| tags == "*" || tags.split(',').any(|tag| is(tag, &etag)))
    {
        return Ok(HttpResponse::NotModified().insert_header((header::ETAG, etag)).finish());
    }
    let is_same = text(request, &header::IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    let asked = text(request, &header::RANGE).filter(|_| is_same).and_then(|range| Asked::parse(range, size));
    let (status, range) = match asked {
        None => (StatusCode::OK, 0..size),
        Some(Asked::Part(range)) => (StatusCode::PARTIAL_CONTENT, range),
        Some(Asked::Nothing) => return Ok(not_satisfiable(size)),
    };
    let mut answer = HttpResponseBuilder::new(status);
    if status == StatusCode::PARTIAL_CONTENT {
        answer.insert_header((header::CONTENT_RANGE, format!("bytes {}-{}/{size}", range.start, range.end - 1)));
    }
    let media_type = attachment.media_type.as_deref().and_then(|text| header::HeaderValue::from_str(text).ok());
    let unknown = header::HeaderValue::from_static("application/octet-stream");
    answer
        .insert_header((header::CONTENT_TYPE, media_type.unwrap_or(unknown)))
        .insert_header((header::CONTENT_DISPOSITION, download::disposition(attachment.name.clone())))
        // A product's file must not become a page of ours.
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::ETAG, etag))
        .insert_header((header::ACCEPT_RANGES, "bytes"))
        // Compressed, its bytes could no longer be counted.
        .insert_header(ContentEncoding::Identity);
    let length = range.end - range.start;
    let mut bytes = reader.open_attachment(attachment, range).await?;
    let first = bytes.next().await.transpose()?;
    Ok(answer.body(SizedStream::new(length, whole(place, first, bytes))))
}

/// The place is free again when the stream is dropped.
fn whole(
    place: Place,
    first: Option<Bytes>,
    rest: BoxStream<'static, listbackup_engine::Result<Bytes>>,
) -> BoxStream<'static, Result<Bytes, Problem>> {
    let rest = rest.map(move |piece| {
        let _kept = &place;
        piece.map_err(Problem::from)
    });
    futures::stream::iter(first.map(Ok)).chain(rest).boxed()
}

fn text<'a>(request: &'a HttpRequest, name: &HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

fn is(tag: &str, etag: &str) -> bool {
    tag.trim().trim_start_matches("W/") == etag
}

fn not_satisfiable(size: u64) -> HttpResponse {
    let detail = format!("the file has {size} bytes: ask for a range within them");
    let mut answer = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail).error_response();
    if let Ok(value) = header::HeaderValue::from_str(&format!("bytes */{size}")) {
        answer.headers_mut().insert(header::CONTENT_RANGE, value);
    }
    answer
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Bytes that there are; at least one.
    Part(Range<u64>),
    /// Bytes past the end.
    Nothing,
}

impl Asked {
    /// One range of bytes. Others (several, another unit, not understood) may be ignored, and are.
    fn parse(text: &str, size: u64) -> Option<Self> {
        let (first, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
        let range = match (first.trim(), last.trim()) {
            ("", last) => size.saturating_sub(number(last)?)..size,
            (first, "") => number(first)?..size,
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                if last < first {
                    return None;
                }
                first..last.saturating_add(1).min(size)
            }
        };
        Some(if range.start < range.end { Self::Part(range) } else { Self::Nothing })
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |text, range| assert_eq!(Asked::parse(text, 100), Some(Asked::Part(range)), "{text}");
        part("bytes=0-0", 0..1);
        part("bytes=10-19", 10..20);
        part("bytes=90-", 90..100);
        part("bytes=90-1000", 90..100);
        part("bytes=-10", 90..100);
        part("bytes=-1000", 0..100);
        for nothing in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(Asked::parse(nothing, 100), Some(Asked::Nothing), "{nothing}");
        }
        for ignored in
            ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,5-6", "lines=0-1", "bytes=+1-2", "bytes=a-b"]
        {
            assert_eq!(Asked::parse(ignored, 100), None, "{ignored}");
        }
        assert_eq!(Asked::parse("bytes=0-", 0), Some(Asked::Nothing));
    }
}
