//! `StateDelegatingStream`: one stream for the first read, another one for those after it.

use std::sync::Arc;

use serde_json::Value;

use super::{
    load::{Take, View},
    session::Session,
    stream::Stream,
    template::Template,
    time::{Duration, Moment},
};
use crate::{Error, ErrorKind, Result};

/// What reads a stream once it has a state.
#[derive(Debug)]
pub(crate) struct Delegate {
    incremental: Arc<Stream>,
    /// How long the product can tell of changes: an older state is worth nothing.
    retention: Option<Template>,
}

impl Delegate {
    /// Reads the component; the stream is the one that reads in full.
    pub(crate) fn load(view: &View<'_>) -> Take<Stream> {
        let full = view.required_child("full_refresh_stream").and_then(|child| Stream::read(&child));
        let incremental = view.required_child("incremental_stream").and_then(|child| Stream::load(&child));
        let (mut full, incremental) = (full?, incremental?);
        let name = view.required_text("name")?;
        if full.name != name || incremental.name != name {
            return Err(view.problem("a StateDelegatingStream and both of its streams must have the same name"));
        }
        let retention = view.template("api_retention_period")?.filter(|template| !template.source().is_empty());
        full.delegate = Some(Self { incremental, retention });
        Ok(full)
    }
}

impl Stream {
    /// The stream that reads from `state`, and the state if it is still worth something.
    ///
    /// # Errors
    /// As for templates; `Invalid` for a retention period that is no duration.
    pub(crate) fn for_state(
        self: &Arc<Self>,
        session: &Session,
        state: Option<Value>,
    ) -> Result<(Arc<Self>, Option<Value>)> {
        let Some(delegate) = &self.delegate else { return Ok((Arc::clone(self), state)) };
        let Some(state) = state.filter(|state| state.as_object().is_some_and(|members| !members.is_empty())) else {
            return Ok((Arc::clone(self), None));
        };
        let period =
            delegate.retention.as_ref().map(|period| period.text(&session.engine, session.scope())).transpose()?;
        if let Some(period) = period.filter(|period| !period.is_empty()) {
            let period = Duration::parse(&period).map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
            let oldest = Moment::now().minus(period).map_err(|reason| Error::new(ErrorKind::Invalid, reason))?;
            let reached = match self.reached(session, &state)? {
                Some(reached) => Some(reached),
                None => delegate.incremental.reached(session, &state)?,
            };
            if reached.is_none_or(|reached| reached < oldest) {
                tracing::warn!(
                    stream = self.name,
                    "the state is older than what the product can tell of: everything is read"
                );
                return Ok((Arc::clone(self), None));
            }
        }
        Ok((Arc::clone(&delegate.incremental), Some(state)))
    }

    /// The moment up to which `state` says that everything was read.
    fn reached(&self, session: &Session, state: &Value) -> Result<Option<Moment>> {
        let Some(cursor) = self.cursor.as_ref().map(|cursor| cursor.bind(session, None)).transpose()? else {
            return Ok(None);
        };
        let own = state.get("state").unwrap_or(state).get(&cursor.field);
        Ok(own.and_then(|value| cursor.parse_json(&value.to_string())))
    }
}
