//! How long to wait before a request is tried again.

use std::time::Duration;

use super::{
    super::{
        components::Plugged,
        load::{Take, View},
        session::Session,
        template::{Only, Template, expression},
    },
    outcome::answer_scope,
};
use crate::{BackoffStrategy, Error, ErrorKind, Result, clock, http::Response};

/// How long to wait before the next try.
#[derive(Clone, Debug)]
pub(super) enum Backoff {
    Constant(Template),
    /// `WaitTimeFromResponse`.
    Response {
        seconds: Template,
        max_s: Option<Template>,
    },
    /// `CustomBackoffStrategy`.
    Custom(Plugged<dyn BackoffStrategy>),
    Exponential(Option<Template>),
    Header {
        header: Template,
        regex: Option<Template>,
        max_s: Option<Template>,
    },
    UntilHeader {
        header: Template,
        regex: Option<Template>,
        min_s: Option<Template>,
        max_s: Option<Template>,
    },
}

impl Backoff {
    /// Reads the component.
    pub(super) fn load(view: &View<'_>) -> Take<Self> {
        Ok(match view.kind() {
            _ if view.is_custom() => {
                Self::Custom(view.plug_in("back-off strategy", &view.loader().components.backoffs)?)
            }
            "WaitTimeFromResponse" => Self::Response {
                seconds: view.required_template("wait_time_in_seconds")?,
                max_s: view.template("max_waiting_time_in_seconds")?,
            },
            "ConstantBackoffStrategy" => Self::Constant(view.required_template("backoff_time_in_seconds")?),
            "ExponentialBackoffStrategy" => Self::Exponential(view.template("factor")?),
            "WaitTimeFromHeader" => Self::Header {
                header: view.required_template("header")?,
                regex: view.template("regex")?,
                max_s: view.template("max_waiting_time_in_seconds")?,
            },
            "WaitUntilTimeFromHeader" => Self::UntilHeader {
                header: view.required_template("header")?,
                regex: view.template("regex")?,
                min_s: view.template("min_wait")?,
                max_s: view.template("max_waiting_time_in_seconds")?,
            },
            _ => return Err(view.unsupported("back-off strategy")),
        })
    }

    /// True when the wait stands in the answer.
    pub(super) fn is_told_by_the_product(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::UntilHeader { .. } | Self::Response { .. })
    }

    /// Seconds to wait, if this strategy has an answer.
    ///
    /// # Errors
    /// As for templates; `RateLimited` for a longer wait than the manifest allows.
    pub(super) fn seconds(&self, session: &Session, response: Option<&Response>, attempt: u32) -> Result<Option<f64>> {
        match self {
            Self::Constant(seconds) => number(session, seconds).map(Some),
            Self::Custom(custom) => {
                let wait = custom.part.wait(response, attempt, &session.own_settings())?;
                Ok(wait.map(|wait| wait.as_secs_f64()))
            }
            Self::Response { seconds, max_s } => {
                let Some(response) = response else { return Ok(None) };
                // What cannot be told, or is past, is left to the other strategies.
                let found = seconds.member(&session.engine, &answer_scope(session, response), Only::Any)?.text();
                let found = found.trim().parse().ok().filter(|wait: &f64| wait.is_finite() && *wait >= 0.0);
                capped(session, found, max_s.as_ref())
            }
            Self::Exponential(factor) => {
                let factor = factor.as_ref().map_or(Ok(5.0), |factor| number(session, factor))?;
                Ok(Some(factor * 2_f64.powi(attempt.min(20) as i32)))
            }
            Self::Header { header, regex, max_s } => {
                let seconds = header_number(session, response, header, regex.as_ref())?;
                capped(session, seconds, max_s.as_ref())
            }
            Self::UntilHeader { header, regex, min_s, max_s } => {
                let until = header_number(session, response, header, regex.as_ref())?.filter(|until| *until != 0.0);
                let min_s = min_s.as_ref().map(|min| number(session, min)).transpose()?.filter(|min| *min > 0.0);
                let wait = until.map(|until| until - clock::now().as_millisecond() as f64 / 1000.0);
                let seconds = match (wait, min_s) {
                    (None, min) => min,
                    (Some(wait), Some(min)) => Some(wait.max(min)),
                    (Some(wait), None) => Some(wait).filter(|wait| *wait >= 0.0),
                };
                capped(session, seconds, max_s.as_ref())
            }
        }
    }
}

fn number(session: &Session, template: &Template) -> Result<f64> {
    let text = template.text(&session.engine, session.scope())?;
    text.parse()
        .map_err(|_| Error::new(ErrorKind::Invalid, format!("a back-off strategy gives `{text}`, which is no number")))
}

/// The number in a header, after the pattern if there is one.
fn header_number(
    session: &Session,
    response: Option<&Response>,
    header: &Template,
    regex: Option<&Template>,
) -> Result<Option<f64>> {
    let name = header.text(&session.engine, session.scope())?;
    let Some(found) = response.and_then(|response| response.headers.get(&name)).and_then(|value| value.to_str().ok())
    else {
        return Ok(None);
    };
    let mut text = found.to_owned();
    if let Some(regex) = regex {
        let source = regex.text(&session.engine, session.scope())?;
        let compiled = expression(&format!("^(?:{source})"));
        let compiled = compiled.map_err(|error| {
            Error::new(ErrorKind::Invalid, format!("a back-off strategy has a wrong pattern: {error}"))
        })?;
        if let Some(matched) = compiled.find(found) {
            text = matched.as_str().to_owned();
        }
    }
    Ok(text.trim().parse().ok())
}

fn capped(session: &Session, seconds: Option<f64>, max_s: Option<&Template>) -> Result<Option<f64>> {
    let (Some(seconds), Some(max_s)) = (seconds, max_s) else { return Ok(seconds) };
    if seconds < number(session, max_s)? {
        return Ok(Some(seconds));
    }
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    Err(Error::new(ErrorKind::RateLimited, "the product asks for a longer pause than the manifest allows").after(wait))
}
