//! What must never get into a recording, and the words that stand for it.

use std::sync::{Mutex, PoisonError};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::http::HttpClient;

/// A shorter secret is replaced only where it stands alone: `x` is in many words.
const INSIDE_MIN_BYTES: usize = 6;
/// A text of a sign-in's answer that is at least this long and has no space looks like a token.
const TOKEN_MIN_BYTES: usize = 12;

/// So many are kept: a product may give a new one with every answer.
const FOUND_MAX: usize = 1_000;

/// Members of answers that are always secret.
const SECRET_NAMES: [&str; 12] = [
    "access_token",
    "accesstoken",
    "refresh_token",
    "refreshtoken",
    "id_token",
    "session_token",
    "sessiontoken",
    "client_secret",
    "api_key",
    "apikey",
    "password",
    "jwt",
];

/// Words in the names of headers that hold no credential, whoever marks them.
const OPEN_WORDS: [&str; 8] =
    ["accept", "content-", "agent", "version", "range", "idempotency", "request-id", "prefer"];

/// Live secrets by the word that stands for each. Words are the same in a recording and when it is replayed, although the
/// secrets may be others then.
#[derive(Default)]
pub struct Secrets(Mutex<Vec<(String, String)>>);

impl Secrets {
    /// The secret ones of `settings`, as their `schema` marks them.
    pub fn of_settings(schema: &Value, settings: &Value) -> Self {
        let mut found = Vec::new();
        collect(schema, settings, "", &mut found);
        let secrets = Self(Mutex::default());
        for (name, value) in found {
            secrets.add(&format!("SECRET-{name}"), &value);
        }
        secrets
    }

    /// The same, with the secret that `http` guards, whatever the schema says of it.
    pub(crate) fn of_connection(schema: &Value, settings: &Value, http: &HttpClient) -> Self {
        let secrets = Self::of_settings(schema, settings);
        if let Some(guarded) = http.guarded() {
            secrets.add("SECRET-oauth-app", guarded.expose());
        }
        secrets
    }

    /// One more. What is known keeps its word.
    pub fn add(&self, word: &str, value: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if value.is_empty() || value.starts_with("SECRET-") || known.iter().any(|(_, held)| held == value) {
            return;
        }
        known.push((word.to_owned(), value.to_owned()));
        if value.len() >= INSIDE_MIN_BYTES {
            known.push((format!("{word}-BASE64"), STANDARD.encode(value)));
        }
        // Longest first: a secret may be a part of another.
        known.sort_by_key(|(_, value)| std::cmp::Reverse(value.len()));
    }

    /// A secret that came along: from a header, or an answer.
    pub(crate) fn add_found(&self, value: &str) {
        let number = self.0.lock().unwrap_or_else(PoisonError::into_inner).len() + 1;
        if number <= FOUND_MAX {
            self.add(&format!("SECRET-token-{number}"), value);
        }
    }

    /// Every value that is known, with its word.
    pub fn values(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Learns the credentials in a request's headers: those that are marked, which a manifest does with all of its own.
    pub(crate) fn learn_headers(&self, headers: &super::super::HeaderMap) {
        let is_open = |name: &str| OPEN_WORDS.iter().any(|word| name.contains(word));
        for (name, value) in headers.iter().filter(|(name, _)| !is_open(name.as_str())) {
            let is_secret =
                value.is_sensitive() || ["authorization", "proxy-authorization", "cookie"].contains(&name.as_str());
            let Some(text) = value.to_str().ok().filter(|_| is_secret) else { continue };
            let (scheme, credential) = text.split_once(' ').unwrap_or(("", text));
            if scheme.eq_ignore_ascii_case("basic") {
                let decoded = STANDARD.decode(credential).ok().and_then(|bytes| String::from_utf8(bytes).ok());
                let parts = decoded.unwrap_or_default();
                parts.split(':').filter(|part| part.len() >= INSIDE_MIN_BYTES).for_each(|part| self.add_found(part));
            }
            if credential.len() >= INSIDE_MIN_BYTES {
                self.add_found(credential);
            }
        }
    }

    /// Learns the tokens in an answer; of a sign-in, everything that looks like one.
    pub(super) fn learn_answer(&self, is_sign_in: bool, body: &Value) {
        match body {
            Value::Object(members) => {
                for (name, value) in members {
                    let is_named = SECRET_NAMES.contains(&name.to_lowercase().as_str());
                    match value {
                        Value::String(text) if is_named || is_sign_in && looks_like_token(text) => self.add_found(text),
                        inner => self.learn_answer(is_sign_in, inner),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.learn_answer(is_sign_in, item)),
            Value::String(text) if is_sign_in && looks_like_token(text) => self.add_found(text),
            _ => {}
        }
    }

    /// `text` with every secret in it replaced by its word.
    pub(crate) fn hide(&self, text: &str) -> String {
        let known = self.values();
        if let Some((word, _)) = known.iter().find(|(_, value)| value == text) {
            return word.clone();
        }
        let mut hidden = text.to_owned();
        for (word, value) in known.iter().filter(|(_, value)| value.len() >= INSIDE_MIN_BYTES) {
            let quoted = Value::String(value.clone()).to_string();
            for form in [
                value.clone(),
                // As a part of a host's name.
                value.to_lowercase(),
                url::form_urlencoded::byte_serialize(value.as_bytes()).collect(),
                quoted[1..quoted.len() - 1].to_owned(),
            ] {
                if hidden.contains(&form) {
                    hidden = hidden.replace(&form, word);
                }
            }
        }
        hidden
    }

    /// The pairs of a query or form, without secrets.
    pub(super) fn hide_pairs(&self, text: &str) -> String {
        let mut hidden = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            hidden.append_pair(&self.hide(&name), &self.hide(&value));
        }
        hidden.finish()
    }

    /// A JSON value without secrets.
    pub(super) fn hide_json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide(text)),
            Value::Array(items) => items.iter().map(|item| self.hide_json(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(name, value)| (self.hide(name), self.hide_json(value))).collect()
            }
            other => other.clone(),
        }
    }
}

fn looks_like_token(text: &str) -> bool {
    let is_address = text.contains("://");
    let is_date =
        text.get(..5).is_some_and(|start| start.ends_with('-') && start[..4].bytes().all(|b| b.is_ascii_digit()));
    text.len() >= TOKEN_MIN_BYTES && !text.contains(char::is_whitespace) && !is_address && !is_date
}

/// The values of the fields that `schema` marks as secret, by their path.
fn collect(schema: &Value, settings: &Value, path: &str, found: &mut Vec<(String, String)>) {
    if schema.get("airbyte_secret") == Some(&Value::Bool(true)) {
        match settings {
            Value::String(text) => found.push((path.to_owned(), text.clone())),
            Value::Null => {}
            other => found.push((path.to_owned(), other.to_string())),
        }
        return;
    }
    for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(value) = settings.get(name) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(inner, value, &path, found);
        }
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        for choice in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            collect(choice, settings, path, found);
        }
    }
}
