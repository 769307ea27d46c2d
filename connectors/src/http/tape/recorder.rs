//! Writes exchanges down.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, value::RawValue};

use super::{
    super::{Method, Request, Response, wire::OF_TRANSFER},
    Answered, Asked, Exchange, Secrets,
};
use crate::{
    clock,
    error::{Error, ErrorKind, Result},
};

/// Longest part of a path in a file's name.
const NAME_MAX_CHARS: usize = 60;
/// Words in the address of a sign-in.
const SIGN_IN_WORDS: [&str; 7] = ["oauth", "token", "login", "signin", "sign_in", "session", "auth"];
/// Headers of answers that hold credentials.
const SECRET_HEADERS: [&str; 3] = ["set-cookie", "authorization", "www-authenticate"];

/// Writes every exchange as a file of its own into one folder; numbers go on where the folder's files end.
pub struct Recorder {
    folder: PathBuf,
    next: AtomicU64,
    secrets: Arc<Secrets>,
}

impl Recorder {
    /// Records into `folder`, which is made when it is missing.
    ///
    /// # Errors
    /// `Invalid` when the folder cannot be made or read.
    pub fn new(folder: &Path, secrets: Arc<Secrets>) -> Result<Self> {
        if folder.is_file() {
            let message =
                "the recording cannot be written: this is a file; name a folder, which is made when it is missing";
            return Err(Error::new(ErrorKind::Invalid, message).with("path", folder.display().to_string()));
        }
        fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))?;
        let names = super::replay::files(folder)?;
        let last = names.last().and_then(|path| number(path)).unwrap_or(0);
        Ok(Self { folder: folder.to_owned(), next: AtomicU64::new(last + 1), secrets })
    }

    /// Writes one exchange. Secrets are replaced before anything is written.
    ///
    /// # Errors
    /// `Invalid` when the file cannot be written.
    pub(in crate::http) fn write(&self, request: &Request, answer: &Response) -> Result<()> {
        self.secrets.learn_headers(&request.headers);
        let text = std::str::from_utf8(&answer.body).ok();
        let json = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(json) = &json {
            self.secrets.learn_answer(is_sign_in(request), json);
        }
        let asked = asked(request, &self.secrets);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path =
            self.folder.join(format!("{number:04}-{}-{}.json", asked.method, name(request.url.path(), &self.secrets)));
        let exchange =
            Exchange { at: Some(clock::now()), request: asked, response: self.answered(answer, text, json.as_ref()) };
        let written = serde_json::to_vec_pretty(&exchange).map_err(std::io::Error::from);
        written.and_then(|bytes| fs::write(&path, bytes)).map_err(|error| wrong(&path, &error))
    }

    fn answered(&self, answer: &Response, text: Option<&str>, json: Option<&Value>) -> Answered {
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &answer.headers {
            if OF_TRANSFER.contains(&name.as_str()) || SECRET_HEADERS.contains(&name.as_str()) {
                continue;
            }
            let value = self.secrets.hide(&String::from_utf8_lossy(value.as_bytes()));
            let held = headers.entry(name.to_string()).or_default();
            *held = if held.is_empty() { value } else { format!("{held}, {value}") };
        }
        let is_structured = json.is_some_and(|json| json.is_object() || json.is_array());
        let body = match text {
            Some(text) if is_structured => RawValue::from_string(self.secrets.hide(text)).ok(),
            Some(text) => serde_json::value::to_raw_value(&self.secrets.hide(text)).ok(),
            None => None,
        };
        Answered {
            status: answer.status.as_u16(),
            headers,
            body_base64: body.is_none().then(|| STANDARD.encode(&answer.body)),
            body: body.unwrap_or_else(|| RawValue::NULL.to_owned()),
        }
    }
}

/// A request as it is written and compared: without secrets.
pub(super) fn asked(request: &Request, secrets: &Secrets) -> Asked {
    let mut url = request.url.clone();
    let query = url.query().map(|query| secrets.hide_pairs(query));
    url.set_query(query.as_deref());
    url.set_fragment(None);
    let hides_user = url.password().is_some() || !url.username().is_empty();
    if hides_user {
        // Both fail only for addresses that cannot carry a user, which then have none.
        let _ = url.set_username("SECRET");
        let _ = url.set_password(None);
    }
    let path: Vec<String> = url.path().split('/').map(|step| secrets.hide(step)).collect();
    url.set_path(&path.join("/"));
    Asked { method: request.method.to_string(), url: url.into(), body: body(request, secrets) }
}

fn body(request: &Request, secrets: &Secrets) -> Option<Value> {
    if request.body.is_empty() {
        return None;
    }
    let text = String::from_utf8_lossy(&request.body);
    if let Ok(json) = serde_json::from_str::<Value>(&text) {
        return Some(secrets.hide_json(&json));
    }
    let is_form =
        request.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/x-www-form"));
    Some(Value::String(if is_form { secrets.hide_pairs(&text) } else { secrets.hide(&text) }))
}

/// A request that is answered with tokens, by its address; tokens are not asked for by GET.
fn is_sign_in(request: &Request) -> bool {
    let path = request.url.path().to_lowercase();
    request.method != Method::GET && SIGN_IN_WORDS.iter().any(|word| path.contains(word))
}

/// A path as a part of a file's name.
fn name(path: &str, secrets: &Secrets) -> String {
    let shown: Vec<String> = path.split('/').filter(|step| !step.is_empty()).map(|step| secrets.hide(step)).collect();
    let shown = shown.join("-");
    let kept =
        shown.chars().map(|letter| if letter.is_ascii_alphanumeric() || ".-_".contains(letter) { letter } else { '_' });
    let kept: String = kept.take(NAME_MAX_CHARS).collect();
    if kept.is_empty() { "root".to_owned() } else { kept }
}

/// The number at the start of a file's name.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.split('-').next()?.parse().ok()
}

fn wrong(path: &Path, error: &std::io::Error) -> Error {
    let message = format!("the recording cannot be written: {error}");
    Error::new(ErrorKind::Invalid, message).with("path", path.display().to_string())
}
