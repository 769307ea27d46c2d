//! An answer being taken apart: piece by piece where its decoder gives several.

use bytes::Bytes;
use url::Url;

use super::{
    decode::{Decoder, Pieces},
    extract::{self, Extracted, Plan, Response as Shown},
};
use crate::{
    Result,
    http::{HeaderMap, Response, StatusCode, redact_url},
};

/// An answer and how much of it was read.
pub(crate) struct Answer {
    /// Its headers.
    pub(crate) headers: HeaderMap,
    url: Url,
    pieces: Pieces,
    /// The piece after the last one taken: it tells whether there is one.
    next: Option<Bytes>,
    is_opaque: bool,
    is_begun: bool,
    /// Bytes received that no piece has told yet.
    received: u64,
    /// Records found so far, before any was left out.
    pub(crate) found: usize,
    /// Records kept so far.
    pub(crate) kept: usize,
}

impl Answer {
    /// Begins to read `response`.
    ///
    /// # Errors
    /// `BadAnswer` for a body that is not what `decoder` reads.
    pub(crate) fn open(response: Response, decoder: &Decoder) -> Result<Self> {
        let no_content = response.status.as_u16() == 204 && response.body.is_empty();
        let received = response.body.len() as u64;
        let mut answer = Self {
            headers: response.headers,
            url: response.url,
            pieces: Box::new(std::iter::empty()),
            next: Some(Bytes::from_static(b"[]")),
            is_opaque: decoder.is_opaque(),
            is_begun: false,
            received,
            found: 0,
            kept: 0,
        };
        if !no_content {
            answer.pieces = decoder.open(response.body).map_err(|error| answer.at(error))?;
            answer.advance()?;
        }
        Ok(answer)
    }

    /// Begins to read a page that came with something else.
    ///
    /// # Errors
    /// As for [`Answer::open`].
    pub(crate) fn given(body: Bytes, decoder: &Decoder) -> Result<Self> {
        let url = Url::parse("data:parent")
            .map_err(|_| crate::Error::new(crate::ErrorKind::Bug, "the address of a page of a parent is wrong"))?;
        let response = Response { status: StatusCode::OK, headers: HeaderMap::new(), body, url };
        Self::open(response, decoder)
    }

    /// Says in an error which answer it is about.
    pub(crate) fn at(&self, error: crate::Error) -> crate::Error {
        error.with("url", redact_url(&self.url))
    }

    fn advance(&mut self) -> Result<()> {
        self.next = self.pieces.next().transpose().map_err(|error| self.at(error))?;
        Ok(())
    }

    /// True when every piece was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// The records of the next piece.
    ///
    /// # Errors
    /// As for [`extract::extract`], and for the piece after it.
    pub(crate) fn piece(&mut self, plan: &Plan) -> Result<Extracted> {
        let body = self.next.take().unwrap_or_else(|| Bytes::from_static(b"[]"));
        let mut page = extract::extract(body, plan).map_err(|error| self.at(error))?;
        self.advance()?;
        self.found += page.records.len() + page.dropped;
        if self.is_opaque {
            page.response = Shown::Empty;
        }
        Ok(page)
    }

    /// True at the first call: what one answer holds several times is no page that came again.
    pub(crate) fn begins(&mut self) -> bool {
        !std::mem::replace(&mut self.is_begun, true)
    }

    /// Bytes received since the last call.
    pub(crate) fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }
}
