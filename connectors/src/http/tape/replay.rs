//! Answers from a recording.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    super::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode},
    Answered, Exchange, Secrets, recorder,
};
use crate::{
    clock,
    error::{Error, ErrorKind, Problem, Result},
};

/// Recorded answers by what was asked.
pub struct Replay {
    folder: PathBuf,
    answers: Mutex<HashMap<String, VecDeque<Arc<Answered>>>>,
    secrets: Arc<Secrets>,
}

impl Replay {
    /// Reads every file of `folder`.
    ///
    /// # Errors
    /// `Invalid` with each file that is no exchange, or when there is none.
    pub fn read(folder: &Path, secrets: Arc<Secrets>) -> Result<Self> {
        let mut answers: HashMap<String, VecDeque<Arc<Answered>>> = HashMap::new();
        let mut problems = Vec::new();
        let files = files(folder)?;
        for path in &files {
            let problem = |message: String| Problem { place: path.display().to_string(), message };
            let text = fs::read_to_string(path).map_err(|error| error.to_string());
            match text.and_then(|text| serde_json::from_str::<Exchange>(&text).map_err(|error| error.to_string())) {
                Ok(exchange) => {
                    let identity = exchange.request.identity(exchange.at);
                    answers.entry(identity).or_default().push_back(Arc::new(exchange.response));
                }
                Err(message) => {
                    let message = format!("is no recorded exchange, so it does not belong into the folder: {message}");
                    problems.push(problem(message));
                }
            }
        }
        if files.is_empty() {
            let message = "the folder holds no recorded exchange: record some with --record-http";
            return Err(Error::new(ErrorKind::Invalid, message).with("folder", folder.display().to_string()));
        }
        if !problems.is_empty() {
            return Err(Error::invalid("the recording cannot be read", problems));
        }
        Ok(Self { folder: folder.to_owned(), answers: Mutex::new(answers), secrets })
    }

    /// The recorded answer: of several to one request the next, and the last for ever after.
    ///
    /// # Errors
    /// `Invalid` with the request, when it is not in the recording.
    pub(in crate::http) fn answer(&self, request: &Request) -> Result<Response> {
        let asked = recorder::asked(request, &self.secrets);
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = answers.get_mut(&asked.identity(Some(clock::now())));
        let answer = queue.and_then(|queue| if queue.len() > 1 { queue.pop_front() } else { queue.front().cloned() });
        let answer = answer.ok_or_else(|| {
            let body = asked.body.as_ref().map(|body| format!(" with the body {body}")).unwrap_or_default();
            let message =
                format!("the recording has no answer to {}{body}: record it, or mend the request", asked.place());
            Error::new(ErrorKind::Invalid, message).with("recording", self.folder.display().to_string())
        })?;
        response(&answer, request)
    }
}

fn response(answer: &Answered, request: &Request) -> Result<Response> {
    let wrong = |what: &str| Error::new(ErrorKind::Invalid, format!("the recording holds {what}"));
    let mut headers = HeaderMap::new();
    for (name, value) in &answer.headers {
        let name: HeaderName = name.parse().map_err(|_| wrong("a header whose name is none"))?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong("a header whose value is none"))?);
    }
    let text = answer.body.get();
    let body = match &answer.body_base64 {
        Some(coded) => Bytes::from(STANDARD.decode(coded).map_err(|_| wrong("a body that is not base64"))?),
        None if text.starts_with('"') => {
            Bytes::from(serde_json::from_str::<String>(text).map_err(|_| wrong("a body that is no text"))?)
        }
        None => Bytes::copy_from_slice(text.as_bytes()),
    };
    let status = StatusCode::from_u16(answer.status).map_err(|_| wrong("a status that is none"))?;
    Ok(Response { status, headers, body, url: request.url.clone() })
}

/// The files of a recording, in the order of their names.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| {
        let message = format!("the recording cannot be read: {error}; name a folder that --record-http wrote");
        Error::new(ErrorKind::Invalid, message).with("folder", folder.display().to_string())
    })?;
    let is_exchange = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_exchange).collect();
    files.sort();
    Ok(files)
}
