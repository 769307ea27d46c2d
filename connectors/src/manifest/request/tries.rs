//! The tries of one request: how many there may be, and the waits between them.

use std::time::Duration;

use super::{
    super::session::Session,
    outcome::{Action, ErrorHandler},
};
use crate::{Error, Result, http::Response};

/// All waits of one request together, and the time of tries without an answer; then the error goes up and the run tries again
/// later. A run gives up a page that takes fifteen minutes.
const MAX_WAIT: Duration = Duration::from_secs(600);

/// What was tried so far.
pub(super) struct Tries {
    retries_max: u32,
    /// Requests that were sent.
    sent: u32,
    /// Those of them that failed, pauses apart.
    failed: u32,
    waited: Duration,
}

impl Tries {
    /// None yet.
    pub(super) fn new(retries_max: u32) -> Self {
        Self { retries_max, sent: 0, failed: 0, waited: Duration::ZERO }
    }

    /// Counts the time of a try that brought no answer.
    pub(super) fn spend(&mut self, time: Duration) {
        self.waited += time;
    }

    /// Waits before the next try. A pause that the product asks for is no try: only the time it takes counts.
    ///
    /// # Errors
    /// `error`, when there is no further try; as for [`ErrorHandler::wait`].
    pub(super) async fn wait(
        &mut self,
        session: &Session,
        errors: &ErrorHandler,
        error: Error,
        refusal: Option<&(Response, Action)>,
    ) -> Result<()> {
        self.sent += 1;
        let response = refusal.map(|(response, _)| response);
        let (wait, is_asked) = errors.wait(session, response, self.failed + 1)?;
        let is_limited =
            refusal.is_some_and(|(response, action)| *action == Action::RateLimited || response.status.as_u16() == 429);
        let is_pause = is_asked && is_limited;
        self.failed += u32::from(!is_pause);
        // Time is no reason to give up after one try: it may have gone in waiting for a turn.
        let is_late = self.sent > 1 && self.waited.saturating_add(wait) > MAX_WAIT;
        if self.failed > self.retries_max || wait > MAX_WAIT || is_late {
            return Err(error.with("attempts", self.sent.to_string()).after(wait));
        }
        tracing::info!(reason = error.message(), wait_s = wait.as_secs_f64(), attempt = self.sent, "trying again");
        tokio::time::sleep(wait).await;
        if is_limited {
            session.http.count_wait(wait);
        }
        self.waited += wait;
        Ok(())
    }
}
