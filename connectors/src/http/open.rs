//! Answers whose body is taken piece by piece: files of any size, in bounded memory.

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use tokio::time::timeout;

use super::{HttpClient, Request, Response, StatusCode, redact_url};
use crate::error::{Error, ErrorKind, Result};

/// An answer that began.
pub struct Opened {
    /// Status, headers and address. Of a refusal (400 and up) the body is in here, of others it is empty.
    pub head: Response,
    /// The body of an answer below 400; ends with its first error, also when it is cut short.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl HttpClient {
    /// Sends once, as [`HttpClient::send_once`] does, and leaves the body of a good answer to be read piece by piece. Each
    /// piece must come within the time that an answer's beginning may take; length and total time have no limit. The
    /// answer is asked for as it is, not compressed, so that its bytes can be counted.
    ///
    /// # Errors
    /// As for [`HttpClient::send_once`].
    pub async fn open_once(&self, mut request: Request) -> Result<Opened> {
        request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let first_url = request.url.clone();
        for _ in 0..=self.limits().redirects_max {
            self.before(&request).await?;
            let told = |error: Error| error.with("url", redact_url(&request.url));
            let answer = self.begin(&request).await.map_err(told)?;
            tracing::debug!(url = self.shown(&request.url), status = answer.status().as_u16(), "opened");
            if let Some(next) = self.after(&request, answer.status(), answer.headers())? {
                request = next;
                continue;
            }
            if answer.status().as_u16() >= 400 {
                let head = self.collected(&request, answer).await.map_err(told)?;
                return Ok(Opened { head, body: stream::empty().boxed() });
            }
            let (status, headers) = (answer.status(), answer.headers().clone());
            let head = Response { status, headers, body: Bytes::new(), url: request.url.clone() };
            return Ok(Opened { body: self.pieces(&request, answer), head });
        }
        Err(self.too_many_redirects(&first_url))
    }

    fn pieces(&self, request: &Request, answer: reqwest::Response) -> BoxStream<'static, Result<Bytes>> {
        let (client, url) = (self.clone(), redact_url(&request.url));
        let start = (answer, client, url, false);
        let pieces = stream::unfold(start, |(mut answer, client, url, has_ended)| async move {
            if has_ended {
                return None;
            }
            let piece = match timeout(client.limits().head_timeout, answer.chunk()).await {
                Ok(Ok(piece)) => piece.map(Ok)?,
                Ok(Err(error)) => Err(client.told(error)),
                Err(_) => Err(Error::new(ErrorKind::Retry, "the answer stopped in the middle")),
            };
            let has_ended = piece.is_err();
            let piece = piece.map_err(|error| error.with("url", url.clone()));
            Some((piece, (answer, client, url, has_ended)))
        });
        pieces.boxed()
    }
}

impl Opened {
    /// Where the body begins in the whole: of a 206 what it says, else 0.
    ///
    /// # Errors
    /// `BadAnswer` for a 206 that does not say.
    pub fn offset_bytes(&self) -> Result<u64> {
        if self.head.status != StatusCode::PARTIAL_CONTENT {
            return Ok(0);
        }
        let range = self.head.headers.get("content-range").and_then(|range| range.to_str().ok());
        let first = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok());
        first.ok_or_else(|| Error::new(ErrorKind::BadAnswer, "a partial answer does not say which part it is"))
    }

    /// The strong entity tag of an answer that can be asked for in parts.
    pub fn validator(&self) -> Option<String> {
        let text = |name: &str| self.head.headers.get(name).and_then(|value| value.to_str().ok());
        let is_ranged = self.head.status == StatusCode::PARTIAL_CONTENT
            || text("accept-ranges").is_some_and(|unit| unit == "bytes");
        let is_plain = text("content-encoding").is_none_or(|coding| coding == "identity");
        text("etag").filter(|tag| is_ranged && is_plain && tag.starts_with('"')).map(str::to_owned)
    }

    /// The media type.
    pub fn media_type(&self) -> Option<String> {
        let value = self.head.headers.get("content-type")?.to_str().ok()?;
        value
            .split(';')
            .next()
            .map(|media_type| media_type.trim().to_owned())
            .filter(|media_type| !media_type.is_empty())
    }
}
