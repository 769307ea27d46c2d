//! What an answer means: take it, try again, wait, skip, or fail; and how long to wait.

use std::time::Duration;

use minijinja::Value;

use super::{
    super::{
        headers,
        load::{Take, View},
        session::Session,
        template::{Scope, Template, values::Lazy},
    },
    backoff::Backoff,
};
use crate::{
    Error, ErrorKind, Result, clock,
    http::{self, Response},
};

/// A shorter one is no pause but a try like any other: a product that always says 0 s is not asked for ever.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Retries when the manifest does not say how many.
const MAX_RETRIES: u32 = 5;

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Take it.
    Success,
    /// Try again after a wait.
    Retry,
    /// The product asks for a pause.
    RateLimited,
    /// Go on without it: the slice ends here.
    Ignore,
    /// Ask for the same page, but smaller.
    ReducePage,
    /// Ask for a shorter window of time.
    SplitWindow,
    /// Ask for the pages from the first one.
    ResetPages,
    /// Get a new token, then try again.
    RefreshToken,
    /// End the stream.
    Fail,
}

/// `HttpResponseFilter`: an action for answers of a kind.
#[derive(Clone, Debug)]
struct Filter {
    action: Option<Action>,
    codes: Vec<u16>,
    contains: Option<String>,
    predicate: Option<Template>,
    message: Option<Template>,
}

/// `DefaultErrorHandler`.
#[derive(Clone, Debug, Default)]
struct Handler {
    filters: Vec<Filter>,
    max_retries: Option<Template>,
    backoffs: Vec<Backoff>,
}

/// The handlers of a requester, one or several in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorHandler {
    handlers: Vec<Handler>,
}

/// An action with what the manifest says about it.
#[derive(Clone, Debug)]
pub(crate) struct Resolution {
    /// What to do.
    pub(crate) action: Action,
    /// The manifest's own message.
    pub(crate) message: Option<String>,
    /// No rule of the manifest names the answer.
    pub(crate) is_default: bool,
}

impl ErrorHandler {
    /// Reads the component in the field called `error_handler`.
    pub(crate) fn load(requester: &View<'_>) -> Take<Self> {
        let handlers =
            requester.child("error_handler").map_or(Ok(vec![Handler::default()]), |view| load_handlers(&view))?;
        Ok(Self { handlers })
    }

    /// The rule for one answer.
    ///
    /// # Errors
    /// As for [`Template::value`].
    pub(crate) fn interpret(&self, session: &Session, response: &Response) -> Result<Resolution> {
        let mut last = Resolution { action: default_action(response), message: None, is_default: true };
        for handler in &self.handlers {
            last = handler.interpret(session, response)?;
            if !matches!(last.action, Action::Fail | Action::RateLimited | Action::RefreshToken) {
                break;
            }
        }
        Ok(last)
    }

    /// How many times to try again.
    ///
    /// # Errors
    /// `Invalid` when the manifest's template gives no number.
    pub(crate) fn max_retries(&self, session: &Session) -> Result<u32> {
        let Some(template) = self.handlers.first().and_then(|handler| handler.max_retries.as_ref()) else {
            return Ok(MAX_RETRIES);
        };
        let text = template.text(&session.engine, session.scope())?;
        let parsed = text.parse::<i64>().or_else(|_| text.parse::<f64>().map(|number| number as i64));
        let retries = parsed
            .map_err(|_| Error::new(ErrorKind::Invalid, format!("`max_retries` gives `{text}`, which is no number")))?;
        Ok(u32::try_from(retries.max(0)).unwrap_or(MAX_RETRIES))
    }

    /// The wait before try number `attempt` + 1, lengthened to what `Retry-After` asks for; and whether the product named it.
    ///
    /// # Errors
    /// `RateLimited` when the product asks for a longer wait than the manifest allows.
    pub(crate) fn wait(
        &self,
        session: &Session,
        response: Option<&Response>,
        attempt: u32,
    ) -> Result<(Duration, bool)> {
        let asked = response.and_then(|response| http::retry_after(&response.headers, clock::now()));
        let least = asked.unwrap_or_default();
        let is_pause = least >= PAUSE_MIN;
        for backoff in self.handlers.iter().flat_map(|handler| &handler.backoffs) {
            if let Some(seconds) = backoff.seconds(session, response, attempt)?.filter(|seconds| *seconds > 0.0) {
                let own = Duration::try_from_secs_f64(seconds + 1.0).unwrap_or(Duration::MAX);
                return Ok((own.max(least), is_pause || backoff.is_told_by_the_product()));
            }
        }
        Ok((Duration::from_secs(1 << (attempt.saturating_sub(1)).min(9)).max(least), is_pause))
    }
}

fn load_handlers(view: &View<'_>) -> Take<Vec<Handler>> {
    match view.kind() {
        "DefaultErrorHandler" => Handler::load(view).map(|handler| vec![handler]),
        "CompositeErrorHandler" => {
            let inner: Vec<_> = view.children("error_handlers").iter().map(load_handlers).collect();
            let handlers: Vec<Handler> = inner.into_iter().collect::<Take<Vec<_>>>()?.into_iter().flatten().collect();
            if handlers.is_empty() {
                Err(view.problem("a CompositeErrorHandler needs `error_handlers`"))
            } else {
                Ok(handlers)
            }
        }
        _ => Err(view.unsupported("error handler")),
    }
}

impl Handler {
    fn load(view: &View<'_>) -> Take<Self> {
        let filters: Vec<_> = view.children("response_filters").iter().map(Filter::load).collect();
        let backoffs: Vec<_> = view.children("backoff_strategies").iter().map(Backoff::load).collect();
        Ok(Self {
            max_retries: view.template("max_retries")?,
            filters: filters.into_iter().collect::<Take<_>>()?,
            backoffs: backoffs.into_iter().collect::<Take<_>>()?,
        })
    }

    fn interpret(&self, session: &Session, response: &Response) -> Result<Resolution> {
        for filter in &self.filters {
            if let Some(resolution) = filter.resolve(session, response)? {
                return Ok(resolution);
            }
        }
        Ok(Resolution { action: default_action(response), message: None, is_default: true })
    }
}

/// The rule for answers that no filter names.
fn default_action(response: &Response) -> Action {
    match response.status.as_u16() {
        0..=399 => Action::Success,
        400 | 401 | 403 | 404 | 405 => Action::Fail,
        429 => Action::RateLimited,
        _ => Action::Retry,
    }
}

impl Filter {
    fn load(view: &View<'_>) -> Take<Self> {
        if view.kind() != "HttpResponseFilter" {
            return Err(view.unsupported("response filter"));
        }
        let action = match view.text("action")?.as_deref() {
            None => None,
            Some("SUCCESS") => Some(Action::Success),
            Some("FAIL") => Some(Action::Fail),
            Some("RETRY") => Some(Action::Retry),
            Some("IGNORE") => Some(Action::Ignore),
            Some("RATE_LIMITED") => Some(Action::RateLimited),
            Some("REDUCE_PAGE_SIZE") => Some(Action::ReducePage),
            Some("SPLIT_REQUEST_WINDOW") => Some(Action::SplitWindow),
            Some("RESET_PAGINATION") => Some(Action::ResetPages),
            Some("REFRESH_TOKEN_THEN_RETRY") => Some(Action::RefreshToken),
            Some(other) => return Err(view.problem(format!("the response action `{other}` is not supported"))),
        };
        let codes = view.texts("http_codes")?.unwrap_or_default();
        let codes =
            codes.iter().map(|code| code.parse().map_err(|_| view.problem(format!("`{code}` is no HTTP status"))));
        Ok(Self {
            action,
            codes: codes.collect::<Take<_>>()?,
            contains: view.text("error_message_contains")?.filter(|text| !text.is_empty()),
            predicate: view.template("predicate")?.filter(|template| !template.source().is_empty()),
            message: view.template("error_message")?.filter(|template| !template.source().is_empty()),
        })
    }

    fn resolve(&self, session: &Session, response: &Response) -> Result<Option<Resolution>> {
        let Some(action) = self.action else { return Ok(None) };
        let matches = self.codes.contains(&response.status.as_u16())
            || self
                .predicate
                .as_ref()
                .map_or(Ok(false), |predicate| predicate.is_met(&session.engine, &answer_scope(session, response)))?
            || self.contains.as_ref().is_some_and(|part| told(response).is_some_and(|text| text.contains(part)));
        if !matches {
            return Ok(None);
        }
        let message = self
            .message
            .as_ref()
            .map(|message| message.text(&session.engine, &answer_scope(session, response)))
            .transpose()?;
        Ok(Some(Resolution { action, message: message.filter(|text| !text.is_empty()), is_default: false }))
    }
}

/// The names that templates see of an answer.
pub(super) fn answer_scope(session: &Session, response: &Response) -> Scope {
    session
        .scope()
        .clone()
        .with("response", json_of(response))
        .with("headers", headers::plain(&response.headers))
        .with("request_url", Value::from(http::redact_url(&response.url)))
}

/// The body as JSON; an empty mapping when it is none.
fn json_of(response: &Response) -> Value {
    let text = std::str::from_utf8(&response.body).unwrap_or("");
    let is_json = super::super::json::Slice::parse(text).is_ok();
    if !is_json {
        return Value::from_pairs(Vec::<(String, Value)>::new());
    }
    let start = text.len() - text.trim_start().len();
    Lazy::value(&response.body, start..text.trim_end().len())
}

/// The error message of an answer; an answer that is no JSON is one as a whole.
fn told(response: &Response) -> Option<String> {
    let text = std::str::from_utf8(&response.body).ok()?;
    if super::super::json::Slice::parse(text).is_ok() { error_text(response) } else { Some(text.to_owned()) }
}

/// The error message inside a JSON answer, where products usually put it.
pub(crate) fn error_text(response: &Response) -> Option<String> {
    let text = std::str::from_utf8(&response.body).ok()?;
    message_in(super::super::json::Slice::parse(text).ok()?)
}

fn message_in(value: super::super::json::Slice<'_>) -> Option<String> {
    const NAMES: [&str; 12] = [
        "message",
        "messages",
        "error",
        "errors",
        "failures",
        "failure",
        "detail",
        "err",
        "error_message",
        "msg",
        "reason",
        "status_message",
    ];
    match value.first() {
        b'"' => value.as_text().map(|text| text.into_owned()),
        b'[' => Some(value.items().into_iter().filter_map(message_in).collect::<Vec<_>>().join(", ")),
        b'{' => NAMES.iter().filter_map(|name| value.get(name)).find(|found| !found.is_falsy()).and_then(message_in),
        _ => None,
    }
}

/// The error that a failed answer stands for.
pub(crate) fn failure(response: &Response, message: Option<String>) -> Error {
    let standard = http::failure(response, clock::now());
    let kind = standard.as_ref().map_or(ErrorKind::BadAnswer, Error::kind);
    match (message, standard) {
        (Some(message), _) => {
            let error = Error::new(kind, format!("{message} (HTTP {})", response.status.as_u16()));
            error.with("url", http::redact_url(&response.url))
        }
        (None, Some(error)) => error,
        (None, None) => Error::new(kind, "the manifest counts this answer as a failure")
            .with("url", http::redact_url(&response.url)),
    }
}
