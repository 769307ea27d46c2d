//! `AsyncRetriever`: the product is asked for a report, asked again until it is ready, and then it is downloaded.

mod progress;

use std::time::Duration;

pub(crate) use progress::{JobRun, Step};

use super::{
    decode::Decoder,
    load::{Take, View},
    request::requester::{Call, Requester},
    session::Session,
    template::{Python, Template, values::from_python},
    values::ValuePath,
};
use crate::{Error, ErrorKind, Result};

/// Longest wait before a report that failed is asked for again: nobody hears of the stream meanwhile.
const FAILED_WAIT_MAX: Duration = Duration::from_secs(600);

/// What the product's word for a job's state means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Completed,
    Failed,
    TimedOut,
    Skipped,
}

/// The parts of an `AsyncRetriever` before the download.
#[derive(Debug)]
pub(crate) struct Jobs {
    creation: Requester,
    polling: Requester,
    targets_from: Option<Requester>,
    abort: Option<Requester>,
    delete: Option<Requester>,
    decoder: Decoder,
    status: ValuePath,
    target: Option<ValuePath>,
    words: Vec<(String, Status)>,
    timeout_minutes: Option<Template>,
    failed_wait_s: Option<Template>,
}

impl Jobs {
    /// Reads the component.
    pub(crate) fn load(view: &View<'_>) -> Take<Self> {
        let needed = |name: &str| view.required_child(name).and_then(|child| Requester::load(&child));
        let optional = |name: &str| view.child(name).map(|child| Requester::load(&child)).transpose();
        let (creation, polling) = (needed("creation_requester"), needed("polling_requester"));
        let (targets_from, abort, delete) =
            (optional("download_target_requester"), optional("abort_requester"), optional("delete_requester"));
        let status = view.required_child("status_extractor").and_then(|child| ValuePath::load(&child));
        let target = view.child("download_target_extractor").map(|child| ValuePath::load(&child)).transpose();
        let words = load_words(&view.required_child("status_mapping")?);
        let decoder = Decoder::load(view, "decoder");
        let (targets_from, target) = (targets_from?, target?);
        if targets_from.is_some() && target.is_none() {
            return Err(view.problem("`download_target_requester` needs `download_target_extractor`"));
        }
        Ok(Self {
            creation: creation?,
            polling: polling?,
            targets_from,
            abort: abort?,
            delete: delete?,
            decoder: decoder?,
            status: status?,
            target,
            words: words?,
            timeout_minutes: view.template("polling_job_timeout")?,
            failed_wait_s: view.template("failed_retry_wait_time_in_seconds")?,
        })
    }

    /// Lets the templates of a download see the job, and keeps credentials where the job was made.
    ///
    /// # Errors
    /// As for templates.
    pub(crate) fn prepare_download(
        &self,
        job: &JobRun,
        session: &Session,
        target: Option<&Python>,
        call: &mut Call,
    ) -> Result<()> {
        let seen = job.call(&call.slice);
        call.home = Some(self.creation.home(session, &seen)?);
        call.values = seen.values;
        call.values.extend(target.map(|target| ("download_target", from_python(target))));
        Ok(())
    }

    fn status_of(&self, word: &str) -> Result<Status> {
        let found = self.words.iter().find(|(known, _)| known == word).map(|(_, status)| *status);
        found.ok_or_else(|| {
            let message =
                format!("the product tells the state `{word}` of a job, which `status_mapping` does not name");
            Error::new(ErrorKind::BadAnswer, message)
        })
    }

    /// How long a job may run: an hour when the manifest does not say.
    fn timeout(&self, session: &Session) -> Result<Duration> {
        Ok(Duration::from_secs(whole(session, self.timeout_minutes.as_ref())?.unwrap_or(60).saturating_mul(60)))
    }

    fn failed_wait(&self, session: &Session) -> Result<Duration> {
        Ok(Duration::from_secs(whole(session, self.failed_wait_s.as_ref())?.unwrap_or(0)).min(FAILED_WAIT_MAX))
    }
}

fn whole(session: &Session, template: Option<&Template>) -> Result<Option<u64>> {
    let Some(template) = template else { return Ok(None) };
    let text = template.text(&session.engine, session.scope())?;
    let wrong = |_| {
        Error::new(ErrorKind::Invalid, format!("a time of an AsyncRetriever is `{text}`, which is no whole number"))
    };
    text.parse().map(|number| Some(number).filter(|number| *number > 0)).map_err(wrong)
}

fn load_words(view: &View<'_>) -> Take<Vec<(String, Status)>> {
    let kinds = [
        ("running", Status::Running),
        ("completed", Status::Completed),
        ("failed", Status::Failed),
        ("timeout", Status::TimedOut),
        ("skipped", Status::Skipped),
    ];
    let mut words: Vec<(String, Status)> = Vec::new();
    for (name, status) in kinds {
        let Some(listed) = view.texts(name)? else {
            if status == Status::Skipped {
                continue;
            }
            return Err(view
                .problem(format!("`status_mapping` needs `{name}`, an empty list if the product has no such state")));
        };
        for word in listed {
            if words.iter().any(|(known, _)| *known == word) {
                return Err(view.problem(format!("`status_mapping` names the state `{word}` twice")));
            }
            words.push((word, status));
        }
    }
    Ok(words)
}
