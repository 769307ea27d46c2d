//! Real manifests, changed or as they are, read from a product that answers anything: reading gives records or an error, in
//! the end, and never a panic.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::{
    super::ManifestIntegration,
    mutated::{Dice, changed, for_each},
};
use crate::{
    Connector, Integration, Link, ReadRequest, Settings,
    http::{AddressGuard, HeaderMap, HeaderName, HttpClientBuilder, StatusCode, Wire},
    oauth::MemoryCredentials,
};

/// Read manifests in a plain run of the tests.
const COUNT: u64 = 60;
/// After so many requests of one read the product is gone.
const REQUESTS_MAX: u32 = 200;
/// Pages that are taken of one stream.
const PAGES_MAX: usize = 40;

const STATUSES: [u16; 16] = [200, 200, 200, 200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 429, 503];

const TEXTS: [&str; 24] = [
    "",
    "a",
    "2024-01-01",
    "2024-02-30T25:61:61Z",
    "9999-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00Z",
    "-1",
    "99999999999999999999999",
    "1e999",
    "NaN",
    "[1, 2",
    "{'a': 1}",
    "(((((((((((((((((",
    "{{ config }}",
    "{% for x in y %}",
    "http://127.0.0.1/next?x=1",
    "https://elsewhere.example/\u{0}",
    "/things?page=2",
    "//[",
    "é\u{2028}\u{feff}🦀",
    "\u{1F468}\u{200D}\u{1F469}",
    "running",
    "completed",
    "None",
];

const BODIES: [&str; 14] = [
    "",
    "<html><body>Sign in</body></html>",
    "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\"><!ENTITY d \"&b;&b;\">]><a x='1'>&d;<b/><b>1</b></a>",
    "null",
    "[",
    "{\"a\": tru",
    "{\"a\": \"\\ud83e\"}",
    "{\"a\": 1, \"a\": [2], \"\": {}}",
    "id,name\n1,\"a\nb\n2,c,d,e\n",
    "{\"id\": 1}\n{\"id\": 2}\nnonsense\n",
    "\u{feff}{\"data\": []}",
    "1.5e+400",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
    "PK\u{3}\u{4}",
];

const HEADERS: [(&str, &str); 12] = [
    ("retry-after", "0"),
    ("retry-after", "18446744073709551615"),
    ("retry-after", "1e300"),
    ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
    ("link", "<https://api.example.com/?p=2>; rel=\"next\", <;;>; rel=next; =;\",\""),
    ("link", "</things>; rel=next"),
    ("location", "/again"),
    ("location", "http://["),
    ("x-ratelimit-reset", "99999999999999999999"),
    ("x-ratelimit-remaining", "-1"),
    ("content-type", "text/csv; charset=\"\u{7f}"),
    ("x-rate-limit", "1e308"),
];

/// A value made of the words of a manifest: its paths lead somewhere now and then.
fn value(words: &[String], dice: &mut Dice, depth: usize) -> Value {
    let kinds = if depth > 5 { 8 } else { 14 };
    match dice.below(kinds) {
        0 => Value::Null,
        1 => json!(dice.below(2) == 0),
        2 => json!(dice.below(9)),
        3 => json!(-1.5e300),
        4 => json!(u64::MAX),
        5 | 6 => json!(dice.one_of(&TEXTS)),
        7 => json!(words[dice.below(words.len())]),
        8..=10 => {
            let count = dice.below(5);
            (0..count).map(|_| value(words, dice, depth + 1)).collect()
        }
        _ => {
            let count = dice.below(9);
            let member = |_| (words[dice.below(words.len())].clone(), value(words, dice, depth + 1));
            (0..count).map(member).collect::<Map<_, _>>().into()
        }
    }
}

fn answer(words: &[String], dice: &mut Dice) -> (StatusCode, HeaderMap, Vec<u8>) {
    let status = StatusCode::from_u16(STATUSES[dice.below(STATUSES.len())]).unwrap();
    let mut headers = HeaderMap::new();
    for _ in 0..dice.below(3) {
        let (name, value) = HEADERS[dice.below(HEADERS.len())];
        headers.extend(value.parse().ok().map(|value| (HeaderName::from_static(name), value)));
    }
    let mut body = match dice.below(6) {
        0 => dice.one_of(&BODIES).as_bytes().to_vec(),
        _ => value(words, dice, 0).to_string().into_bytes(),
    };
    if dice.below(12) == 0 {
        body.truncate(dice.below(body.len() + 1));
    }
    if dice.below(20) == 0 && !body.is_empty() {
        let at = dice.below(body.len());
        body[at] = dice.below(256) as u8;
    }
    (status, headers, body)
}

/// Settings that fit a schema, more or less.
fn settings(schema: &Value, dice: &mut Dice, depth: usize) -> Value {
    if let Some(choices) = schema.get("oneOf").and_then(Value::as_array).filter(|choices| !choices.is_empty()) {
        return settings(&choices[dice.below(choices.len())].clone(), dice, depth + 1);
    }
    if let Some(fixed) = schema.get("const") {
        return fixed.clone();
    }
    if let Some(choices) = schema.get("enum").and_then(Value::as_array).filter(|choices| !choices.is_empty()) {
        return choices[dice.below(choices.len())].clone();
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        Some(kind) => kind.as_str(),
        None => None,
    };
    match kind {
        _ if depth > 8 => Value::Null,
        Some("integer" | "number") => json!(dice.below(40)),
        Some("boolean") => json!(dice.below(2) == 0),
        Some("array") => json!([settings(schema.get("items").unwrap_or(&Value::Null), dice, depth + 1)]),
        Some("string") if schema.get("format").is_some() || schema.get("pattern").is_some() => {
            json!(["2024-01-01", "2024-01-01T00:00:00Z"][dice.below(2)])
        }
        Some("string") => json!(["2024-01-01T00:00:00Z", "x", "https://api.example.com"][dice.below(3)]),
        _ => {
            let members = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
            let members = members.iter().map(|(name, inner)| (name.clone(), settings(inner, dice, depth + 1)));
            Value::Object(members.collect())
        }
    }
}

async fn read(connector: &Arc<dyn Connector>, dice: &mut Dice) {
    let _checked = connector.check().await;
    let Ok(catalog) = connector.discover().await else { return };
    for _ in 0..3 {
        let Some(stream) = catalog.streams.get(dice.below(catalog.streams.len().max(1))) else { return };
        let state = (dice.below(2) == 0).then(|| {
            let field = stream.cursor_field.first().cloned().unwrap_or_else(|| "updated_at".to_owned());
            json!({ field: dice.one_of(&TEXTS) })
        });
        let mut position = None;
        for _ in 0..2 {
            let request = ReadRequest { stream: Arc::new(stream.clone()), state: state.clone(), position };
            let (to, mut from) = mpsc::channel(1);
            let reading = connector.read(request, to);
            let taking = async {
                let mut last = None;
                for _ in 0..PAGES_MAX {
                    let Some(page) = from.recv().await else { break };
                    for record in &page.records {
                        page.record_body(record);
                    }
                    last = page.position.or(last);
                }
                drop(from);
                last
            };
            position = tokio::join!(reading, taking).1;
            if position.is_none() {
                break;
            }
        }
    }
}

#[test]
fn no_answer_makes_reading_a_manifest_panic() {
    for_each("reading it", COUNT, |text, dice| {
        let text = if dice.below(3) == 0 { changed(text, dice) } else { text.to_owned() };
        let Ok(integration) = ManifestIntegration::parse("changed", "changed.yaml", &text) else { return false };
        let mut words: Vec<String> =
            text.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
        words.extend(["data", "next", "items", "results", "id", "error"].map(str::to_owned));
        let (asked, answers) = (AtomicU32::new(0), Mutex::new(Dice(dice.roll())));
        let script = move |_: &crate::http::Request| {
            if asked.fetch_add(1, Ordering::SeqCst) >= REQUESTS_MAX {
                return (StatusCode::GONE, HeaderMap::new(), Vec::new());
            }
            answer(&words, &mut answers.lock().unwrap())
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let wire = Wire::scripted(Arc::new(script));
            let link = Link {
                settings: Settings::new(settings(&integration.spec.settings_schema, dice, 0)),
                http: HttpClientBuilder { wire, ..HttpClientBuilder::new(AddressGuard::person()) }.build().unwrap(),
                credentials: Arc::new(MemoryCredentials::empty()),
            };
            if let Ok(connector) = integration.connect(link) {
                read(&connector, dice).await;
            }
        });
        true
    });
}
