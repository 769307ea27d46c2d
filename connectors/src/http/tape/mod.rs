//! Exchanges kept as files, one a request: written while a connector runs, and answered from later without any network.

mod moments;
mod recorder;
mod replay;
mod secrets;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

pub use self::{recorder::Recorder, replay::Replay, secrets::Secrets};

/// One file: a request and its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Exchange {
    /// When it was asked: what was about now then may be about now when it is asked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    request: Asked,
    response: Answered,
}

/// What was asked. Headers are left out: they hold credentials and little else.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
struct Asked {
    method: String,
    url: String,
    /// JSON as it is; any other text as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

/// What was answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Answered {
    status: u16,
    /// Several headers of one name are joined by a comma.
    headers: BTreeMap<String, String>,
    /// A JSON object or list as it came; any other text as a text; `null` for bytes that are no text.
    body: Box<RawValue>,
    /// Bytes that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

impl Asked {
    /// What makes two requests the same: method, address with its query as a set, and body. Times about `now` are equal.
    fn identity(&self, now: Option<Timestamp>) -> String {
        let (address, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let body = match &self.body {
            None => String::new(),
            Some(Value::String(text)) if text.contains('=') => format!("{:?}", pairs(text, now)),
            Some(body) => sorted(body, now).to_string(),
        };
        format!("{} {address} {:?} {body}", self.method, pairs(query, now))
    }

    /// Method and place, for people.
    fn place(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

/// The pairs of a query or form, in the order of their names and values.
fn pairs(text: &str, now: Option<Timestamp>) -> Vec<(String, String)> {
    let parsed = url::form_urlencoded::parse(text.as_bytes());
    let mut pairs: Vec<_> =
        parsed.map(|(name, value)| (name.into_owned(), moments::masked(&value, now).into_owned())).collect();
    pairs.sort();
    pairs
}

/// With the members of objects in the order of their names.
fn sorted(value: &Value, now: Option<Timestamp>) -> Value {
    match value {
        Value::Object(members) => {
            let mut named: Vec<_> = members.iter().collect();
            named.sort_by_key(|(name, _)| name.as_str());
            Value::Object(named.into_iter().map(|(name, value)| (name.clone(), sorted(value, now))).collect())
        }
        Value::Array(items) => items.iter().map(|item| sorted(item, now)).collect(),
        Value::String(text) => Value::String(moments::masked(text, now).into_owned()),
        Value::Number(number) => match moments::masked(&number.to_string(), now) {
            std::borrow::Cow::Owned(masked) if masked != number.to_string() => Value::String(masked),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
