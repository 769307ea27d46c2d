//! One job of one slice, from its creation until the product has it ready.

use std::{sync::Arc, time::Duration};

use minijinja::{
    Value,
    value::{Enumerator, Object, ObjectRepr},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    super::{
        headers,
        request::requester::{Call, Requester, Sent},
        session::Session,
        slice::Slice,
        template::{Python, values::Lazy},
    },
    Jobs, Status,
};
use crate::{Error, ErrorKind, Result, http::Response};

/// Between two questions after a job's state.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// After so long without news, whoever reads is told that we still wait.
const TOLD_EVERY: Duration = Duration::from_secs(120);
/// Times that a job is started.
const ATTEMPTS_MAX: u32 = 3;

/// What came of waiting.
#[derive(Debug)]
pub(crate) enum Step {
    /// The job still runs, or waits for its turn.
    Waiting,
    /// Where to download from; a single empty text where the manifest names nothing.
    Ready(Vec<Python>),
    /// There is nothing to download.
    Skipped,
    /// Every try failed.
    Failed(String),
}

/// A job and how far it is.
#[derive(Default)]
pub(crate) struct JobRun {
    turn: Option<OwnedSemaphorePermit>,
    created: Option<Response>,
    polled: Option<Response>,
    started: Option<Instant>,
    attempts: u32,
}

impl JobRun {
    /// Goes on until the job is ready, or for two minutes.
    ///
    /// # Errors
    /// As for requests; `BadAnswer` for a state that the manifest does not name.
    pub(crate) async fn step(&mut self, jobs: &Jobs, session: &Session, slice: &Slice) -> Result<Step> {
        let until = Instant::now() + TOLD_EVERY;
        if self.turn.is_none() {
            let turn = tokio::time::timeout_at(until, session.job_turn()).await;
            match turn {
                Ok(turn) => self.turn = turn.ok(),
                Err(_) => return Ok(Step::Waiting),
            }
        }
        loop {
            if self.created.is_none() {
                self.created = Some(answer(&jobs.creation, session, &self.call(slice)).await?);
                self.started = Some(Instant::now());
                self.attempts += 1;
            }
            let response = answer(&jobs.polling, session, &self.call(slice)).await?;
            let word = jobs
                .status
                .find(session, &jobs.decoder, &response)?
                .first()
                .map_or_else(|| "None".into(), Python::text);
            let mut status = jobs.status_of(&word)?;
            let timeout = jobs.timeout(session)?;
            if status == Status::Running && self.started.is_some_and(|started| started.elapsed() > timeout) {
                status = Status::TimedOut;
            }
            match status {
                Status::Completed => {
                    self.polled = Some(response);
                    self.turn = None;
                    return self.targets(jobs, session).await.map(Step::Ready);
                }
                Status::Skipped => return Ok(Step::Skipped),
                Status::Running => {}
                Status::Failed | Status::TimedOut => {
                    if status == Status::TimedOut {
                        self.abort(jobs, session, slice).await;
                    }
                    if self.attempts >= ATTEMPTS_MAX {
                        return Ok(Step::Failed(format!(
                            "the product's report failed {ATTEMPTS_MAX} times (state `{word}`)"
                        )));
                    }
                    if status == Status::Failed {
                        tokio::time::sleep(jobs.failed_wait(session)?).await;
                    }
                    self.created = None;
                    continue;
                }
            }
            tokio::time::sleep(POLL_EVERY).await;
            if Instant::now() >= until {
                return Ok(Step::Waiting);
            }
        }
    }

    /// A call whose templates see the job.
    pub(crate) fn call(&self, slice: &Slice) -> Call {
        let mut call = Call { slice: slice.clone(), ..Call::default() };
        for (name, response) in [("creation_response", &self.created), ("polling_response", &self.polled)] {
            call.values.extend(response.as_ref().map(|response| (name, shown(response))));
        }
        call
    }

    async fn targets(&self, jobs: &Jobs, session: &Session) -> Result<Vec<Python>> {
        let Some(path) = &jobs.target else { return Ok(vec![Python::Text(String::new())]) };
        match (&jobs.targets_from, &self.polled) {
            (Some(requester), _) => {
                let response = answer(requester, session, &self.call(&Slice::default())).await?;
                path.find(session, &jobs.decoder, &response)
            }
            (None, Some(polled)) => path.find(session, &jobs.decoder, polled),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Best done, but nothing depends on it.
    async fn abort(&self, jobs: &Jobs, session: &Session, slice: &Slice) {
        let Some(requester) = &jobs.abort else { return };
        if let Err(error) = requester.send(session, &self.call(slice)).await {
            tracing::warn!(%error, "a job that took too long could not be ended");
        }
    }

    /// After the download: the product may forget the job.
    ///
    /// # Errors
    /// As for requests.
    pub(crate) async fn delete(&self, jobs: &Jobs, session: &Session, slice: &Slice) -> Result<()> {
        match &jobs.delete {
            Some(requester) => {
                let call = Call {
                    values: self.call(slice).values.into_iter().take(1).collect(),
                    slice: slice.clone(),
                    ..Call::default()
                };
                requester.send(session, &call).await.map(drop)
            }
            None => Ok(()),
        }
    }
}

async fn answer(requester: &Requester, session: &Session, call: &Call) -> Result<Response> {
    match requester.send(session, call).await? {
        Sent::Answer(response) => Ok(*response),
        Sent::Ignored(status) => {
            let message = format!(
                "the product refuses a report (HTTP {}), and without it there is nothing to read",
                status.as_u16()
            );
            Err(Error::new(ErrorKind::Denied, message))
        }
    }
}

/// An answer as templates see it: its members, and `headers` beside them.
fn shown(response: &Response) -> Value {
    let text = std::str::from_utf8(&response.body).unwrap_or("");
    let is_json = super::super::json::Slice::parse(text).is_ok();
    let start = text.len() - text.trim_start().len();
    let body = is_json.then(|| Lazy::value(&response.body, start..text.trim_end().len()));
    Value::from_object(Shown { body: body.unwrap_or_default(), headers: headers::plain(&response.headers) })
}

#[derive(Debug)]
struct Shown {
    body: Value,
    headers: Value,
}

impl Object for Shown {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let own = self.body.get_item(key).ok().filter(|value| !value.is_undefined());
        own.or_else(|| (key.as_str() == Some("headers")).then(|| self.headers.clone()))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let keys: Vec<Value> = self.body.try_iter().into_iter().flatten().collect();
        Enumerator::Values(keys)
    }
}
