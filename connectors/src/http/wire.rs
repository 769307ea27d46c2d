//! Where answers come from, the network or a recording, and what happens to them on the way.
//!
//! One seam below everything that a request passes: guard, budget, redirects, caps and trying again work on what comes out
//! of it.

use std::sync::Arc;

use super::{
    HeaderMap, Request, Response, StatusCode,
    injector::Injector,
    tape::{Recorder, Replay},
};
use crate::error::Result;

/// Headers that describe how a body came over the network.
pub(super) const OF_TRANSFER: [&str; 5] =
    ["content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"];

/// How an [`super::HttpClient`] gets its answers. The default is the network, untouched.
#[derive(Clone, Default)]
pub struct Wire {
    replay: Option<Arc<Replay>>,
    recorder: Option<Arc<Recorder>>,
    injector: Option<Arc<Injector>>,
    #[cfg(test)]
    script: Option<Arc<Script>>,
}

/// Answers made up by a test.
#[cfg(test)]
pub(crate) type Script = dyn Fn(&Request) -> (StatusCode, HeaderMap, Vec<u8>) + Send + Sync;

impl Wire {
    /// Answers by a function.
    #[cfg(test)]
    pub(crate) fn scripted(script: Arc<Script>) -> Self {
        Self { script: Some(script), ..Self::default() }
    }

    /// Answers from a recording; no connection is ever opened.
    #[must_use]
    pub fn replaying(mut self, replay: Replay) -> Self {
        self.replay = Some(Arc::new(replay));
        self
    }

    /// Writes down every exchange.
    #[must_use]
    pub fn recording(mut self, recorder: Recorder) -> Self {
        self.recorder = Some(Arc::new(recorder));
        self
    }

    /// Watches every exchange and spoils some.
    #[must_use]
    pub fn injecting(mut self, injector: Arc<Injector>) -> Self {
        self.injector = Some(injector);
        self
    }

    /// An answer that the network is not asked for: a fault, or a recorded one.
    pub(super) fn answer(&self, request: &Request) -> Option<Result<reqwest::Response>> {
        if let Some(fault) = self.injector.as_ref().and_then(|injector| injector.before(request)) {
            return Some(Ok(fault));
        }
        #[cfg(test)]
        if let Some(script) = &self.script {
            let (status, headers, body) = script(request);
            return Some(Ok(answer_of(status, &headers, body)));
        }
        let answer = self.replay.as_ref()?.answer(request);
        if let (Err(_), Some(injector)) = (&answer, &self.injector) {
            injector.note_unrecorded(request);
        }
        Some(answer.and_then(|answer| self.pass(request, answer)))
    }

    /// True when no product is asked.
    pub(super) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// True when answers are looked at whole before they go on.
    pub(super) fn wants_whole(&self) -> bool {
        self.recorder.is_some() || self.injector.is_some()
    }

    /// An answer as it goes on: written down, perhaps spoilt.
    pub(super) fn pass(&self, request: &Request, answer: Response) -> Result<reqwest::Response> {
        if let Some(recorder) = &self.recorder {
            recorder.write(request, &answer)?;
        }
        Ok(match &self.injector {
            Some(injector) => injector.after(request, answer),
            None => answer_of(answer.status, &answer.headers, answer.body),
        })
    }
}

/// An answer from its parts, as if it came over the network; what spoke of its transfer is left out.
pub(super) fn answer_of(status: StatusCode, headers: &HeaderMap, body: impl Into<reqwest::Body>) -> reqwest::Response {
    let mut answer = http::Response::new(body);
    *answer.status_mut() = status;
    let kept = headers.iter().filter(|(name, _)| !OF_TRANSFER.contains(&name.as_str()));
    answer.headers_mut().extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    reqwest::Response::from(answer)
}
